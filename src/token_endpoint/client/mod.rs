//! Clients: identity, credentials, and what each may request (RFC 6749 §2, RFC 7591 §2).
//!
//! *In*: what the application registers. *Out*: a checked [`Client`].
//!
//! There is no dynamic registration; `documents` reads what a client publishes about itself. Credentials are checked in `authenticate`.

pub(crate) mod authenticate;
pub(crate) mod builder;
pub(crate) mod change_error;
#[cfg(feature = "http-client")]
pub(crate) mod documents;
mod mistakes;
pub(crate) mod peer;
mod record;
pub(crate) mod registry;
pub(crate) mod secret;
pub(crate) mod stored;
pub(crate) mod throttle;

use std::{fmt, time::Duration};

use serde_json::{Map, Value};

use self::{builder::ClientBuilder, secret::ClientSecret};
use super::http::{
    error::{TokenError, TokenErrorKind},
    redirect::{LocalhostPort, has_origin, matching_redirect_uri},
};
use crate::{keys::KeySet, scope::is_scope_name};

/// A registered client.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::token_endpoint::{Client, ClientCredential, ClientSecret, TokenFormat};
///
/// let secret = ClientSecret::new("7Fjfp0ZBr1KtDRbnfVdmIw7Fjfp0ZBr1KtDRbnfVdmIw");
/// let reports = Client::builder("reports", secret)
///     .grant_types(["client_credentials"])
///     .default_scopes(["orders:read"])
///     .optional_scopes(["orders:write"])
///     .audience("https://api.example.com", TokenFormat::Jwt)
///     .build()?;
/// assert_eq!(reports.id(), "reports");
///
/// let app = Client::builder("app", ClientCredential::None) // a public client
///     .grant_types(["authorization_code"])
///     .redirect_uri("https://app.example.com/callback")
///     .default_scopes(["orders:read"])
///     .audience("https://api.example.com", TokenFormat::Jwt)
///     .build()?;
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
pub struct Client {
    id: String,
    pub(crate) credential: ClientCredential,
    /// The old secret, while the client changes to the new one.
    previous_secret: Option<ClientSecret>,
    generation: u32,
    grant_types: Vec<String>,
    redirect_uris: Vec<String>,
    localhost_port: LocalhostPort,
    pub(crate) pkce: Pkce,
    default_scopes: Vec<String>,
    optional_scopes: Vec<String>,
    excess: ExcessScopes,
    audiences: Vec<(String, TokenFormat)>,
    /// The scopes that belong to an audience. An audience without an entry has all scopes.
    audience_scopes: Vec<(String, Vec<String>)>,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) max_active_tokens: Option<u32>,
    pub(crate) max_sessions: Option<u32>,
    introspects: Introspects,
    /// RFC 9449 §5.2.
    pub(crate) dpop_bound_access_tokens: bool,
    pub(crate) certificate_bound: bool,
    /// `client_name` of the client's metadata document.
    pub(crate) name: Option<String>,
    /// Host of the client's id, if that is the URL of its metadata document.
    pub(crate) host: Option<String>,
    /// Members of the stored record that this version does not know.
    unknown: Map<String, Value>,
}

/// The credential that a client authenticates with.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientCredential {
    /// A secret, which the client sends in a `Basic` header or in the body (RFC 6749 §2.3.1).
    Secret(ClientSecret),
    /// Keys, one of which signs the client's assertions: `private_key_jwt` (RFC 7523 §2.2).
    Keys(KeySet),
    /// None: a public client, such as an app or a web page, which can't keep a secret (RFC 6749 §2.1). It sends only its id. An
    /// empty secret counts as none (§2.3.1).
    None,
}

impl From<ClientSecret> for ClientCredential {
    fn from(secret: ClientSecret) -> Self {
        Self::Secret(secret)
    }
}

impl From<KeySet> for ClientCredential {
    fn from(keys: KeySet) -> Self {
        Self::Keys(keys)
    }
}

/// What happens to requested scopes that may not be granted (RFC 6749 §3.3 allows both).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExcessScopes {
    Refuse,
    Drop,
}

/// Whether an authorization request needs a PKCE challenge (RFC 7636).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pkce {
    Required,
    Optional,
}

/// The tokens that a client may introspect, besides its own.
#[derive(Clone)]
enum Introspects {
    Audiences(Vec<String>),
    Any,
}

/// The form of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFormat {
    /// A signed JWT (RFC 9068), which an API verifies without calling the token endpoint. Only introspection reports that it
    /// was revoked.
    Jwt,
    /// Random text, which an API verifies by introspection (RFC 7662).
    Opaque,
}

impl Client {
    /// Returns a builder for a client with this id and credential: a [`ClientSecret`], a [`KeySet`], or
    /// [`ClientCredential::None`] for a public client.
    pub fn builder(id: impl Into<String>, credential: impl Into<ClientCredential>) -> ClientBuilder {
        ClientBuilder::new(id.into(), credential.into())
    }

    /// Returns the `client_id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns whether the client is registered for this grant type.
    #[must_use]
    pub fn may_use(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|own| own == grant_type)
    }

    /// Returns the grant types that the client may use.
    #[must_use]
    pub fn grant_types(&self) -> &[String] {
        &self.grant_types
    }

    /// Returns the client's secret, if it has one. Its [`hash`](ClientSecret::hash) can be stored.
    #[must_use]
    pub fn secret(&self) -> Option<&ClientSecret> {
        match &self.credential {
            ClientCredential::Secret(secret) => Some(secret),
            ClientCredential::Keys(_) | ClientCredential::None => None,
        }
    }

    /// Returns the [previous secret](ClientBuilder::previous_secret), if it is still valid.
    #[must_use]
    pub fn previous_secret(&self) -> Option<&ClientSecret> {
        self.previous_secret.as_ref()
    }

    /// Returns the [generation](ClientBuilder::credential_generation) of the client's credential.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn is_public(&self) -> bool {
        matches!(self.credential, ClientCredential::None)
    }

    /// Returns where to send the response to an authorization request (RFC 6749 §3.1.2.3).
    ///
    /// # Errors
    /// The requested URI is not registered, or none is requested and several are registered. The error is a text for the user.
    pub(crate) fn redirect_uri<'u>(&'u self, requested: Option<&'u str>) -> Result<&'u str, &'static str> {
        matching_redirect_uri(&self.redirect_uris, requested, self.localhost_port)
    }

    /// True if the origin is that of a redirect URI of the client.
    pub(crate) fn has_redirect_origin(&self, origin: &str) -> bool {
        has_origin(&self.redirect_uris, origin, self.localhost_port)
    }

    /// Returns the scopes to grant (RFC 6749 §3.3): the requested scopes, or the default scopes if none are requested.
    ///
    /// # Errors
    /// A requested scope is malformed, one that is not registered for the client must be refused or none is left, or there is
    /// no default scope.
    pub(crate) fn scopes(&self, requested: Option<&str>) -> Result<String, TokenError> {
        let Some(requested) = requested else {
            // A client with scopes, none of which is a default, must request some.
            if self.default_scopes.is_empty() && !self.optional_scopes.is_empty() {
                return Err(TokenError::new(
                    TokenErrorKind::InvalidScope,
                    "The scope is missing, and the client has no default scope",
                ));
            }
            return Ok(self.default_scopes.join(" "));
        };
        self.subset(requested, |name| self.may_have(name))
    }

    /// Returns the names of a `scope` parameter that are allowed. The client's registration decides whether others are dropped.
    ///
    /// # Errors
    /// A scope is malformed, another one must be refused, or none is left.
    pub(crate) fn subset(&self, requested: &str, allowed: impl Fn(&str) -> bool) -> Result<String, TokenError> {
        subset(requested, self.excess, allowed)
    }

    /// True if the scope is registered, as default or optional.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        self.default_scopes.iter().chain(&self.optional_scopes).any(|own| own == name)
    }

    /// True if any scope is registered, as default or optional.
    pub(crate) fn has_scopes(&self) -> bool {
        !self.default_scopes.is_empty() || !self.optional_scopes.is_empty()
    }

    /// Returns the audience of the token (RFC 8707 §2, RFC 9068 §3): the requested one, or the client's first one if none is
    /// requested.
    ///
    /// # Errors
    /// The requested audience is not registered for the client, or several are requested.
    pub(crate) fn audience(&self, requested: &[&str]) -> Result<&str, TokenError> {
        let mut own = self.audiences.iter().map(|(audience, _)| audience.as_str());
        let found = match requested {
            [] => own.next(),
            // One resource per token, so that the meaning of its scopes is unambiguous (RFC 9068 §5).
            [first, rest @ ..] if rest.iter().all(|other| is_same_resource(other, first)) => find_resource(own, first),
            _ => {
                return Err(TokenError::new(
                    TokenErrorKind::InvalidTarget,
                    "A token can be requested for one resource only",
                ));
            }
        };
        found.ok_or_else(invalid_target)
    }

    /// Returns those of the scopes that [belong to this audience](ClientBuilder::audience_scopes): all if the audience has no
    /// scopes of its own.
    pub(crate) fn scope_at(&self, audience: &str, scope: &str) -> String {
        let Some((_, own)) = self.audience_scopes.iter().find(|(other, _)| other == audience) else {
            return scope.to_owned();
        };
        let names = scope.split(' ').filter(|name| own.iter().any(|own| own == name));
        names.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn format(&self, audience: &str) -> TokenFormat {
        let found = self.audiences.iter().find(|(own, _)| own == audience);
        found.map_or(TokenFormat::Jwt, |(_, format)| *format)
    }

    /// True if the client may introspect this token (RFC 7662 §4). `client_id` and `audience` are those of the token.
    pub(crate) fn may_introspect(&self, client_id: &str, audience: &str) -> bool {
        match &self.introspects {
            Introspects::Any => true,
            Introspects::Audiences(own) => client_id == self.id || own.iter().any(|own| own == audience),
        }
    }

    /// Returns generation and kind of the credential as one number. What was issued under another number is invalid.
    pub(crate) fn credential_generation(&self) -> u64 {
        let kind = match &self.credential {
            ClientCredential::Secret(_) => 0,
            ClientCredential::Keys(_) => 1,
            ClientCredential::None => 2,
        };
        (u64::from(self.generation) << 2) | kind
    }

    /// Returns a copy with other secrets.
    pub(crate) fn with_secrets(&self, secret: ClientSecret, previous: Option<ClientSecret>) -> Self {
        Self {
            id: self.id.clone(),
            credential: ClientCredential::Secret(secret),
            previous_secret: previous,
            generation: self.generation,
            grant_types: self.grant_types.clone(),
            redirect_uris: self.redirect_uris.clone(),
            localhost_port: self.localhost_port,
            pkce: self.pkce,
            default_scopes: self.default_scopes.clone(),
            optional_scopes: self.optional_scopes.clone(),
            excess: self.excess,
            audiences: self.audiences.clone(),
            audience_scopes: self.audience_scopes.clone(),
            lifetime: self.lifetime,
            max_active_tokens: self.max_active_tokens,
            max_sessions: self.max_sessions,
            introspects: self.introspects.clone(),
            dpop_bound_access_tokens: self.dpop_bound_access_tokens,
            certificate_bound: self.certificate_bound,
            name: self.name.clone(),
            host: self.host.clone(),
            unknown: self.unknown.clone(),
        }
    }

    /// Returns a copy with the next generation of its credential.
    pub(crate) fn with_next_generation(self) -> Self {
        Self { generation: self.generation.wrapping_add(1) & MAX_GENERATION, ..self }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("grant_types", &self.grant_types).finish_non_exhaustive()
    }
}

/// Returns the allowed names of a `scope` parameter, each once. Only U+0020 separates names (RFC 6749 §3.3).
///
/// # Errors
/// A name is malformed, or is not allowed and must be refused, or no name is left.
pub(crate) fn subset(
    requested: &str,
    excess: ExcessScopes,
    allowed: impl Fn(&str) -> bool,
) -> Result<String, TokenError> {
    let refuse = |description| Err(TokenError::new(TokenErrorKind::InvalidScope, description));
    let (mut names, mut exceeds): (Vec<&str>, bool) = (Vec::new(), false);
    // The grammar has one space between two names. Some clients send more, which changes no name.
    for name in requested.split(' ').filter(|name| !name.is_empty()) {
        if !is_scope_name(name) {
            return refuse("The scope is malformed");
        }
        if !allowed(name) {
            exceeds = true;
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    if exceeds && (excess == ExcessScopes::Refuse || names.is_empty()) {
        return refuse("The requested scope exceeds what may be granted");
    }
    if names.is_empty() {
        return refuse("The scope has only spaces");
    }
    Ok(names.join(" "))
}

/// Returns the resource that is requested: the same text, or else the same resource. The result is the text in `resources`.
pub(crate) fn find_resource<'r>(
    mut resources: impl Iterator<Item = &'r str> + Clone,
    requested: &str,
) -> Option<&'r str> {
    let same = resources.clone().find(|own| is_same_resource(own, requested));
    resources.find(|own| *own == requested).or(same)
}

/// True if two identifiers of resources differ at most in an empty path or the path `/`, which many clients add to a URL
/// (RFC 3986 §6.2.3).
fn is_same_resource(one: &str, other: &str) -> bool {
    one == other || origin_only(one).is_some_and(|origin| origin_only(other) == Some(origin))
}

/// Returns an `https` or `http` URL without the slash at its end, if it has neither another path nor a query.
fn origin_only(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.is_empty() || authority.contains(['/', '?', '#', '\\']) {
        return None;
    }
    Some(url.strip_suffix('/').unwrap_or(url))
}

pub(crate) fn invalid_target() -> TokenError {
    TokenError::new(TokenErrorKind::InvalidTarget, "The requested resource may not be granted")
}

/// The greatest generation, so that a number of 32 bits has room for the kind of the credential too.
pub(crate) const MAX_GENERATION: u32 = u32::MAX >> 2;
