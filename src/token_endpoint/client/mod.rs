//! Who may ask for tokens, and for which (RFC 6749 §2, RFC 7591 §2).
//!
//! *In*: what the host says about each client. *Out*: a [`Client`], complete and checked.
//!
//! There is no dynamic registration. How a client proves that it is the one is `authenticate`'s business.

pub(crate) mod authenticate;
pub(crate) mod builder;
pub(crate) mod registry;
pub(crate) mod secret;
pub(crate) mod throttle;

use std::{fmt, time::Duration};

use self::{builder::ClientBuilder, secret::ClientSecret};
use super::http::error::{TokenError, TokenErrorKind};
use crate::{keys::KeySet, scope::is_scope_name};

/// A registered client.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::token_endpoint::{Client, ClientSecret, TokenFormat};
///
/// let reports = Client::with_secret("reports", ClientSecret::new("7Fjfp0ZBr1KtDRbnfVdmIw7Fjfp0ZBr1KtDRbnfVdmIw"))
///     .grant_types(["client_credentials"])
///     .default_scopes(["orders:read"])
///     .optional_scopes(["orders:write"])
///     .audience("https://api.example.com", TokenFormat::Jwt)
///     .build()?;
/// assert_eq!(reports.id(), "reports");
/// # Ok(())
/// # }
/// ```
pub struct Client {
    id: String,
    pub(crate) credential_kind: ClientCredential,
    grant_types: Vec<String>,
    pub(crate) redirect_uris: Vec<String>,
    default_scopes: Vec<String>,
    optional_scopes: Vec<String>,
    audiences: Vec<(String, TokenFormat)>,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) max_active_tokens: Option<u32>,
    introspects: Introspects,
}

/// How a client proves that it is the one.
pub(crate) enum ClientCredential {
    Secret(ClientSecret),
    /// `private_key_jwt` (RFC 7523 §2.2).
    Keys(KeySet),
    /// A public client can't (RFC 6749 §2.1).
    None,
}

/// Whose tokens a client may introspect beside its own.
enum Introspects {
    Audiences(Vec<String>),
    Any,
}

/// What an access token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFormat {
    /// A signed JWT (RFC 9068), which an API checks by itself. That it was revoked is told by introspection only.
    Jwt,
    /// Random text, which an API asks about (RFC 7662).
    Opaque,
}

impl Client {
    /// A confidential client with a secret, which it sends by Basic or in the body (RFC 6749 §2.3.1).
    pub fn with_secret(id: impl Into<String>, secret: ClientSecret) -> ClientBuilder {
        ClientBuilder::new(id.into(), ClientCredential::Secret(secret))
    }

    /// A confidential client that signs assertions, `private_key_jwt` (RFC 7523 §2.2), with one of these keys.
    pub fn with_keys(id: impl Into<String>, keys: KeySet) -> ClientBuilder {
        ClientBuilder::new(id.into(), ClientCredential::Keys(keys))
    }

    /// A public client, which can keep no secret (RFC 6749 §2.1): an app, a page.
    pub fn public(id: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(id.into(), ClientCredential::None)
    }

    /// `client_id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the client may use this grant.
    #[must_use]
    pub fn may_use(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|own| own == grant_type)
    }

    /// The grants it may use.
    #[must_use]
    pub fn grant_types(&self) -> &[String] {
        &self.grant_types
    }

    pub(crate) fn is_public(&self) -> bool {
        matches!(self.credential_kind, ClientCredential::None)
    }

    /// The scopes to be granted (RFC 6749 §3.3): those asked for, if the client may have them; the default ones if it asked
    /// for none.
    pub(crate) fn scopes(&self, requested: Option<&str>) -> Result<String, TokenError> {
        let Some(requested) = requested else {
            // A client that has scopes, but none by default, must say which.
            if self.default_scopes.is_empty() && !self.optional_scopes.is_empty() {
                return Err(TokenError::new(TokenErrorKind::InvalidScope, "The scope must be named"));
            }
            return Ok(self.default_scopes.join(" "));
        };
        subset(requested, |name| self.may_have(name))
    }

    /// Whether a scope is registered for it, by default or not.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        self.default_scopes.iter().chain(&self.optional_scopes).any(|own| own == name)
    }

    /// The one audience of the token (RFC 8707 §2, RFC 9068 §3): what was asked for, if the client may have it; otherwise
    /// its first.
    pub(crate) fn audience(&self, requested: &[&str]) -> Result<&str, TokenError> {
        let own = |name: &str| self.audiences.iter().find(|(audience, _)| audience == name);
        let found = match requested {
            [] => self.audiences.first(),
            // One token for one resource: what its scopes mean is then never in doubt (RFC 9068 §5).
            [first, rest @ ..] if rest.iter().all(|other| other == first) => own(first),
            _ => return Err(TokenError::new(TokenErrorKind::InvalidTarget, "One token is for one resource")),
        };
        found.map(|(audience, _)| audience.as_str()).ok_or_else(invalid_target)
    }

    pub(crate) fn format(&self, audience: &str) -> TokenFormat {
        let found = self.audiences.iter().find(|(own, _)| own == audience);
        found.map_or(TokenFormat::Jwt, |(_, format)| *format)
    }

    /// Whether it may be told about a token (RFC 7662 §4): its own, one for an API that it is, or any.
    pub(crate) fn may_introspect(&self, client_id: &str, audience: &str) -> bool {
        match &self.introspects {
            Introspects::Any => true,
            Introspects::Audiences(own) => client_id == self.id || own.iter().any(|own| own == audience),
        }
    }

    /// Names the secret that the client has now, without telling it: what was issued under another one is dead.
    pub(crate) fn credential(&self) -> String {
        match &self.credential_kind {
            ClientCredential::Secret(secret) => secret.fingerprint().to_owned(),
            // Keys come and go without anybody's having lost one. But what was given to who could sign is nothing for who
            // need prove nothing.
            ClientCredential::Keys(_) => "keys".to_owned(),
            ClientCredential::None => String::new(),
        }
    }

    pub(crate) fn with_new_secret(&self, secret: &ClientSecret) -> Self {
        Self {
            id: self.id.clone(),
            credential_kind: ClientCredential::Secret(secret.clone()),
            grant_types: self.grant_types.clone(),
            redirect_uris: self.redirect_uris.clone(),
            default_scopes: self.default_scopes.clone(),
            optional_scopes: self.optional_scopes.clone(),
            audiences: self.audiences.clone(),
            lifetime: self.lifetime,
            max_active_tokens: self.max_active_tokens,
            introspects: match &self.introspects {
                Introspects::Audiences(own) => Introspects::Audiences(own.clone()),
                Introspects::Any => Introspects::Any,
            },
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("grant_types", &self.grant_types).finish_non_exhaustive()
    }
}

/// The names of a `scope` parameter, each once, if all of them are allowed. Only U+0020 separates (RFC 6749 §3.3).
pub(crate) fn subset(requested: &str, allowed: impl Fn(&str) -> bool) -> Result<String, TokenError> {
    let mut names: Vec<&str> = Vec::new();
    for name in requested.split(' ') {
        if !is_scope_name(name) {
            return Err(TokenError::new(TokenErrorKind::InvalidScope, "The scope is malformed"));
        }
        if !allowed(name) {
            return Err(TokenError::new(TokenErrorKind::InvalidScope, "The scope is more than may be granted"));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names.join(" "))
}

pub(crate) fn invalid_target() -> TokenError {
    TokenError::new(TokenErrorKind::InvalidTarget, "The resource is not one that may be granted")
}
