//! What an application adds to a token and to the response with it.
//!
//! *In*: claims, a lifetime, scopes and response parameters, from the application's hook or from a grant. *Out*: checked values,
//! or the mistake. What is stored of them is in a record, so the JWT and the introspection response have the same claims.

use std::{error::Error, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    http::error::{TokenError, TokenErrorKind},
    signer::MAX_LIFETIME,
};

/// What an application adds to an access token and to the response with it. A hook of
/// [`customize_tokens`](super::TokenEndpointBuilder::customize_tokens) returns it, and a
/// [`Grant`](super::Grant) sets it with [`Granted::with_content`](super::Granted::with_content).
///
/// The claims are equal in the JWT and in the introspection response. A mistake, such as a claim that the endpoint itself sets,
/// refuses the request with 503; the log event names the claim.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth::token_endpoint::TokenContent;
///
/// let content = TokenContent::new()
///     .claim("roles", ["editor"])
///     .lifetime(Duration::from_secs(300))
///     .response_parameter("member", "ada");
/// # let _ = content;
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct TokenContent {
    pub(super) kept: ContentRecord,
    pub(super) lifetime: Option<Duration>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) response: Map<String, Value>,
    /// The first mistake. The request is refused when the content is used.
    mistake: Option<ContentMistake>,
}

/// The part of the content that is stored: with an access token, and with a session.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContentRecord {
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) claims: Map<String, Value>,
    #[serde(default, skip_serializing_if = "ScopeForm::is_text")]
    pub(crate) scope_form: ScopeForm,
    /// `username` of the introspection response (RFC 7662 §2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
}

/// The form of `scope` in a JWT and in an introspection response.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScopeForm {
    /// Names separated by spaces (RFC 9068 §2.2.3, RFC 7662 §2.2).
    #[default]
    Text,
    Array,
}

/// A mistake of the application.
#[derive(Debug, Clone)]
pub(crate) enum ContentMistake {
    /// The endpoint itself sets the claim.
    RegisteredClaim(String),
    /// The endpoint itself sets the parameter.
    RegisteredParameter(String),
    /// The value of the member can't be written as JSON.
    Unserializable(String),
    NoObject,
    /// The scope was not granted.
    ForeignScope(String),
    /// The hook did not return in time.
    NoAnswer,
    /// The hook panicked.
    Panicked,
}

impl TokenContent {
    /// Returns content that adds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a claim, such as `roles` or `act`. A `null` is left out. The last value of a name counts.
    ///
    /// The claims that the endpoint sets can't be changed: `iss`, `sub`, `aud`, `exp`, `nbf`, `iat`, `jti`, `client_id`, `scope`,
    /// `cnf`, `auth_time`, `acr`, `active`, `token_type` and `username`.
    pub fn claim(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => self.add_claim(name, value),
            Err(_) => self.note(ContentMistake::Unserializable(name)),
        }
        self
    }

    /// Adds the members of an object as [claims](Self::claim).
    pub fn claims(mut self, object: impl Serialize) -> Self {
        for (name, value) in self.members(object) {
            self.add_claim(name, value);
        }
        self
    }

    /// Lifetime of the token, in whole seconds: at least one, at most a day, and never longer than the session. Default: that of
    /// the client or of the endpoint.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    /// Leaves only these of the granted scopes in the token. Default: all of them. Another scope is a mistake: 503. If none is
    /// left, the request is refused with `invalid_scope`.
    pub fn scopes<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { scopes: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Writes `scope` in the JWT and in the introspection response as an array of strings. Default: one string with spaces.
    ///
    /// The cost: RFC 9068 §2.2.3 and RFC 7662 §2.2 have a string, so an API that reads only that refuses the token, or finds no
    /// scopes. This crate reads both. The token response always has a string.
    pub fn scope_as_array(mut self) -> Self {
        self.kept.scope_form = ScopeForm::Array;
        self
    }

    /// `username` of the introspection response: a name for people (RFC 7662 §2.2). A JWT doesn't have it. Default: none.
    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.kept.username = Some(name.into());
        self
    }

    /// Adds a parameter to the token response, such as `created_at` or `issued_token_type` (RFC 8693 §2.2.1). A `null` is left out.
    ///
    /// The parameters that the endpoint sets can't be changed: `access_token`, `token_type`, `expires_in`, `scope`, `refresh_token`,
    /// `error`, `error_description` and `error_uri`.
    pub fn response_parameter(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => self.add_parameter(name, value),
            Err(_) => self.note(ContentMistake::Unserializable(name)),
        }
        self
    }

    /// Adds the members of an object as [response parameters](Self::response_parameter).
    pub fn response_parameters(mut self, object: impl Serialize) -> Self {
        for (name, value) in self.members(object) {
            self.add_parameter(name, value);
        }
        self
    }

    /// Returns this content with that of `over`, which counts more.
    pub(super) fn overlaid(mut self, over: Self) -> Self {
        self.kept.claims.extend(over.kept.claims);
        self.response.extend(over.response);
        Self {
            kept: ContentRecord {
                claims: self.kept.claims,
                scope_form: if over.kept.scope_form.is_text() { self.kept.scope_form } else { over.kept.scope_form },
                username: over.kept.username.or(self.kept.username),
            },
            lifetime: over.lifetime.or(self.lifetime),
            scopes: over.scopes,
            response: self.response,
            mistake: self.mistake.or(over.mistake),
        }
    }

    /// # Errors
    /// The application made a mistake.
    pub(super) fn check(&mut self) -> Result<(), TokenError> {
        self.mistake.take().map_or(Ok(()), |mistake| Err(TokenError::unavailable(mistake)))
    }

    /// Returns those of the `granted` scopes that the content leaves in the token.
    ///
    /// # Errors
    /// A scope was not granted, or none is left.
    pub(super) fn narrowed(&self, granted: &str) -> Result<Option<String>, TokenError> {
        let Some(names) = &self.scopes else { return Ok(None) };
        let is_granted = |name: &str| granted.split(' ').any(|granted| granted == name && !name.is_empty());
        if let Some(foreign) = names.iter().find(|name| !is_granted(name)) {
            return Err(TokenError::unavailable(ContentMistake::ForeignScope(foreign.clone())));
        }
        let kept: Vec<&str> = granted.split(' ').filter(|name| names.iter().any(|kept| kept == name)).collect();
        // A response without `scope` means all requested scopes (RFC 6749 §5.1).
        if kept.is_empty() && !granted.is_empty() {
            return Err(TokenError::new(TokenErrorKind::InvalidScope, "None of the granted scopes may be used now"));
        }
        Ok(Some(kept.join(" ")))
    }

    /// Returns the lifetime within its limits.
    pub(super) fn checked_lifetime(&self) -> Option<Duration> {
        self.lifetime.map(|lifetime| lifetime.clamp(Duration::from_secs(1), MAX_LIFETIME))
    }

    fn members(&mut self, object: impl Serialize) -> Map<String, Value> {
        let mistake = match serde_json::to_value(object) {
            Ok(Value::Object(members)) => return members,
            Ok(_) => ContentMistake::NoObject,
            Err(_) => ContentMistake::Unserializable("an object".to_owned()),
        };
        self.note(mistake);
        Map::new()
    }

    fn add_claim(&mut self, name: String, value: Value) {
        if REGISTERED_CLAIMS.contains(&name.as_str()) {
            self.note(ContentMistake::RegisteredClaim(name));
        } else if value.is_null() {
            self.kept.claims.remove(&name);
        } else {
            self.kept.claims.insert(name, value);
        }
    }

    fn add_parameter(&mut self, name: String, value: Value) {
        // A `null` is an absent value of the application's type.
        if value.is_null() {
            self.response.remove(&name);
        } else if REGISTERED_PARAMETERS.contains(&name.as_str()) {
            self.note(ContentMistake::RegisteredParameter(name));
        } else {
            self.response.insert(name, value);
        }
    }

    fn note(&mut self, mistake: ContentMistake) {
        self.mistake.get_or_insert(mistake);
    }
}

impl From<ContentRecord> for TokenContent {
    fn from(kept: ContentRecord) -> Self {
        Self { kept, ..Self::default() }
    }
}

impl ContentRecord {
    /// Returns nothing if there is nothing to store.
    pub(super) fn unless_empty(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

impl ScopeForm {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_text(&self) -> bool {
        *self == Self::Text
    }
}

impl fmt::Debug for TokenContent {
    /// Shows names and no values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.kept.claims.keys().collect::<Vec<_>>();
        f.debug_struct("TokenContent").field("claims", &names).finish_non_exhaustive()
    }
}

impl fmt::Display for ContentMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RegisteredClaim(name) => write!(f, "the application may not set the claim {name:?}"),
            Self::RegisteredParameter(name) => write!(f, "the application may not set the response parameter {name:?}"),
            Self::Unserializable(name) => write!(f, "the application's value of {name:?} can't be written as JSON"),
            Self::NoObject => f.write_str("the application's claims or response parameters are not an object"),
            Self::ForeignScope(name) => write!(f, "the application chose the scope {name:?}, which was not granted"),
            Self::NoAnswer => f.write_str("the hook of customize_tokens did not return within 2 s"),
            Self::Panicked => f.write_str("the hook of customize_tokens panicked"),
        }
    }
}

impl Error for ContentMistake {}

/// The claims that the endpoint sets, and those that mean something only if it does.
const REGISTERED_CLAIMS: [&str; 15] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "cnf",
    "auth_time",
    "acr",
    "active",
    "token_type",
    "username",
];

/// The parameters of a response that specifications define. A grant may set `issued_token_type`.
const REGISTERED_PARAMETERS: [&str; 8] =
    ["access_token", "token_type", "expires_in", "scope", "refresh_token", "error", "error_description", "error_uri"];
