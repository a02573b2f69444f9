//! In whose name a token acts (RFC 9068 §2.2, RFC 9700 §4.15).
//!
//! *In*: `sub`, the client, and the marks by which an issuer tells its kinds of tokens apart. *Out*: [`ActsFor`].
//!
//! RFC 9068 §2.2 lets a client's own token be known by `sub`, which is then the client. Some issuers give the client a
//! subject of its own, and the rule of RFC 9068 would take it for a person. Their rules are here; a
//! [`Preset`](crate::Preset) chooses one. Whenever it can't be told, the answer is [`ActsFor::Unknown`].
//!
//! Nothing is read before somebody asks, and nothing here refuses a token.

use serde::Deserialize;
use serde_json::Value;

use crate::claims::Facts;

/// In whose name a token acts (RFC 9068 §2.2, RFC 9700 §4.15). A [`Preset`](crate::Preset) may have a rule of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActsFor {
    /// A person: there is a subject, and it isn't the client.
    User,
    /// The client itself: `sub` equals `client_id`, or there is no `sub`.
    Client,
    /// Not to be told: there is a subject but no client, or the issuer's tokens don't say. Neither
    /// [`UserToken`](crate::UserToken) nor [`ClientToken`](crate::ClientToken) accepts it.
    Unknown,
}

/// By what an issuer's tokens tell a person from a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ActorRule {
    /// `sub` is the client or a person.
    #[default]
    Rfc9068,
    /// As RFC 9068, but a token without `sub` may be anybody's: RFC 7662 §2.2 leaves it to the server.
    Introspected,
    /// A client's own `sub` is its id and `@clients`.
    Auth0,
    /// `uid` is there for people only.
    Okta,
    /// `scp` is there for people only; `idtyp`, or `roles` and a `sub` equal to `oid`, for applications.
    EntraId,
    /// `username` is there for people only.
    Cognito,
    /// A service account has a `sub` of its own.
    Keycloak,
    /// A `sub` that isn't the client may be a person or a machine.
    SubjectMayBeMachine,
}

/// What issuers put beside `sub`. A member of another type than expected is no mark of anything.
#[derive(Deserialize)]
struct Marks {
    gty: Option<Value>,
    uid: Option<Value>,
    scp: Option<Value>,
    roles: Option<Value>,
    idtyp: Option<Value>,
    oid: Option<Value>,
    username: Option<Value>,
    preferred_username: Option<Value>,
    sid: Option<Value>,
    client_id: Option<Value>,
    #[serde(rename = "clientId")]
    client_id_of_old: Option<Value>,
    #[serde(rename = "clientHost")]
    client_host: Option<Value>,
    #[serde(rename = "clientAddress")]
    client_address: Option<Value>,
}

impl ActorRule {
    pub(crate) fn judge(self, facts: &Facts) -> ActsFor {
        let (subject, client) = (facts.text(facts.subject.as_ref()), facts.text(facts.client_id.as_ref()));
        match (self, subject, client) {
            (_, Some(blank), _) | (_, _, Some(blank)) if blank.trim().is_empty() => ActsFor::Unknown,
            (Self::Rfc9068, None, _) => ActsFor::Client,
            (_, Some(subject), Some(client)) => self.compare(subject, client, facts),
            // An issuer that has a rule of its own always names both.
            _ => ActsFor::Unknown,
        }
    }

    fn compare(self, subject: &str, client: &str, facts: &Facts) -> ActsFor {
        match self {
            Self::Rfc9068 | Self::Introspected | Self::SubjectMayBeMachine if subject == client => {
                return ActsFor::Client;
            }
            Self::Rfc9068 | Self::Introspected => return ActsFor::User,
            Self::SubjectMayBeMachine => return ActsFor::Unknown,
            _ => {}
        }
        let Ok(marks) = serde_json::from_str::<Marks>(facts.claims()) else { return ActsFor::Unknown };
        match self {
            Self::Auth0 => marks.auth0(subject, client),
            Self::Okta => told_by(marks.uid.as_ref(), subject == client),
            Self::EntraId => marks.entra_id(subject),
            Self::Cognito => told_by(marks.username.as_ref(), subject == client),
            Self::Keycloak => marks.keycloak(client),
            Self::Rfc9068 | Self::Introspected | Self::SubjectMayBeMachine => ActsFor::Unknown,
        }
    }
}

/// Exactly one of the two: the mark of a person, or a subject that is the client.
fn told_by(person: Option<&Value>, is_client: bool) -> ActsFor {
    match (person, is_client) {
        (Some(Value::String(_)), false) => ActsFor::User,
        (None, true) => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}

impl Marks {
    fn auth0(&self, subject: &str, client: &str) -> ActsFor {
        match subject.strip_suffix("@clients") {
            Some(named) if named == client => ActsFor::Client,
            Some(_) => ActsFor::Unknown,
            None if subject == client || self.gty.as_ref().is_some_and(|gty| gty == "client-credentials") => {
                ActsFor::Unknown
            }
            None => ActsFor::User,
        }
    }

    /// A person's `sub` is made for the application, so it is never the `oid`.
    fn entra_id(&self, subject: &str) -> ActsFor {
        match (&self.scp, &self.idtyp) {
            (Some(scp), None) if holds_any(Some(scp)) => ActsFor::User,
            (Some(scp), Some(kind)) if holds_any(Some(scp)) && kind == "user" => ActsFor::User,
            (None, Some(kind)) if kind == "app" => ActsFor::Client,
            (None, None) if holds_any(self.roles.as_ref()) && self.oid.as_ref().is_some_and(|oid| oid == subject) => {
                ActsFor::Client
            }
            _ => ActsFor::Unknown,
        }
    }

    /// Keycloak writes `client_id` (once `clientId`) and the client's address from the session of a service account.
    /// One mark alone may be an administrator's mapper, or a name that a person chose.
    fn keycloak(&self, client: &str) -> ActsFor {
        let named = self.client_id.as_ref().or(self.client_id_of_old.as_ref());
        let account = self.preferred_username.as_ref().and_then(Value::as_str).and_then(|name| {
            name.strip_prefix("service-account-") // user names are in lower case there
        });
        let no_mark = named.is_none() && self.client_host.is_none() && self.client_address.is_none();
        match (named, account) {
            (Some(named), Some(account)) if named == client && account == client.to_lowercase() => ActsFor::Client,
            (None, None) if no_mark && self.sid.as_ref().is_some_and(Value::is_string) => ActsFor::User,
            _ => ActsFor::Unknown,
        }
    }
}

/// A string with something in it, or an array with an element: what Entra ID writes as `scp` and `roles`.
pub(crate) fn holds_any(member: Option<&Value>) -> bool {
    match member {
        Some(Value::String(names)) => !names.trim().is_empty(),
        Some(Value::Array(names)) => !names.is_empty(),
        _ => false,
    }
}
