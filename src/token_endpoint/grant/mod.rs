//! Grants: the ways in which a client gets a token (RFC 6749 §1.3).
//!
//! *In*: a request whose client is authenticated and may use the grant. *Out*: [`Granted`]: the subject, scope and audience
//! of the token.
//!
//! Each grant has its own file. The token endpoint makes and stores the tokens.

mod authorization_code;
mod client_credentials;
pub(crate) mod pkce;
mod refresh_token;

use std::{fmt, pin::Pin, time::SystemTime};

pub use self::{
    authorization_code::AuthorizationCodeGrant, client_credentials::ClientCredentialsGrant,
    refresh_token::RefreshTokenGrant,
};
use crate::token_endpoint::{
    client::{
        Client,
        secret::{TokenHash, random_text},
    },
    endpoints::ServerState,
    http::{error::TokenError, request::Parameters},
    store::{ErasedStore, Family, NewRefresh},
};

/// Decides on the requests of one `grant_type`. Implement it for a grant of your own:
///
/// ```
/// use tower_oauth::token_endpoint::{Grant, Granted, TokenError, TokenErrorKind, TokenRequest};
///
/// struct GiftCard;
///
/// impl Grant for GiftCard {
///     fn grant_type(&self) -> &str {
///         "urn:example:gift-card"
///     }
///
///     async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
///         // A real grant finds the gift card and marks it as used in one step.
///         match request.required("gift_card")? {
///             "2026-ada" => request.grant_to("ada"),
///             _ => Err(TokenError::new(TokenErrorKind::InvalidGrant, "The gift card is unknown")),
///         }
///     }
/// }
/// ```
///
/// A wrapper of another grant forwards every method, the provided ones included.
pub trait Grant: Send + Sync + 'static {
    /// Returns the value of `grant_type`. If it is not a registered name, it is an absolute URI (RFC 6749 §4.5).
    fn grant_type(&self) -> &str;

    /// Decides on a request. The client is authenticated, and registered for this grant.
    ///
    /// # Errors
    /// The request is refused, with an error code of RFC 6749 §5.2.
    fn decide(&self, request: &TokenRequest<'_>) -> impl Future<Output = Result<Granted, TokenError>> + Send;

    /// Returns the lifetimes of refresh tokens. The grant `refresh_token` must return them.
    fn refresh_token_settings(&self) -> Option<&RefreshTokenGrant> {
        None
    }

    /// Returns the URL of the authorization endpoint. The grant `authorization_code` must return it.
    fn authorization_endpoint(&self) -> Option<&str> {
        None
    }
}

/// A request for a token, from an authenticated client.
pub struct TokenRequest<'r> {
    client: &'r Client,
    parameters: &'r Parameters,
    server: &'r ServerState,
}

impl<'r> TokenRequest<'r> {
    pub(crate) fn new(client: &'r Client, parameters: &'r Parameters, server: &'r ServerState) -> Self {
        Self { client, parameters, server }
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &'r Client {
        self.client
    }

    /// Returns the time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.server.services.now()
    }

    /// Returns a parameter. An empty value counts as absent (RFC 6749 §3.2).
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::token_endpoint::TokenErrorKind::InvalidRequest): the parameter is repeated.
    pub fn parameter(&self, name: &str) -> Result<Option<&'r str>, TokenError> {
        self.parameters.get(name)
    }

    /// Returns a required parameter.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::token_endpoint::TokenErrorKind::InvalidRequest): the parameter is missing or repeated.
    pub fn required(&self, name: &str) -> Result<&'r str, TokenError> {
        self.parameters.required(name)
    }

    /// Grants the requested scopes and resource to `subject`, within what the client is registered for.
    ///
    /// # Errors
    /// [`InvalidScope`](crate::token_endpoint::TokenErrorKind::InvalidScope) or
    /// [`InvalidTarget`](crate::token_endpoint::TokenErrorKind::InvalidTarget): the request exceeds the registration.
    pub fn grant_to(&self, subject: impl Into<String>) -> Result<Granted, TokenError> {
        let scope = self.client.scopes(self.parameter("scope")?)?;
        let audience = self.client.audience(&self.resources())?.to_owned();
        Ok(Granted { subject: subject.into(), scope, audience, family: None, refresh: Refresh::None })
    }

    /// Returns the values of `resource` (RFC 8707 §2) and `audience`, its name in RFC 8693 §2.1.
    pub(crate) fn resources(&self) -> Vec<&'r str> {
        self.parameters.all("resource").chain(self.parameters.all("audience")).collect()
    }

    fn store(&self) -> &'r dyn ErasedStore {
        &*self.server.services.store
    }

    /// Returns the time of day in whole seconds, as the store counts it.
    fn seconds(&self) -> u64 {
        self.server.services.unix_seconds()
    }

    /// Returns the settings of refresh tokens, if this client may have any.
    fn refresh_tokens(&self) -> Option<&'r RefreshTokenGrant> {
        self.server.refresh_tokens(self.client)
    }
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("client", &self.client)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// The decision of a grant: the content of an access token, and whether a refresh token is issued too.
#[derive(Clone)]
pub struct Granted {
    pub(crate) subject: String,
    pub(crate) scope: String,
    pub(crate) audience: String,
    /// The family of the token, if a user approved it.
    pub(crate) family: Option<Family>,
    pub(crate) refresh: Refresh,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").finish_non_exhaustive()
    }
}

/// The refresh token that is issued with an access token.
#[derive(Clone)]
pub(crate) enum Refresh {
    None,
    /// The first one of a family, to store together with the access token.
    First {
        text: String,
        token: NewRefresh,
    },
    /// The text of a successor, which [`Store::rotate`](crate::token_endpoint::Store::rotate) has stored.
    Rotated(String),
}

impl Refresh {
    fn first(expires_at: u64) -> Result<Self, TokenError> {
        let text = random_text().map_err(TokenError::unavailable)?;
        let token = NewRefresh { hash: TokenHash::of(&text), expires_at };
        Ok(Self::First { text, token })
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::First { text, .. } | Self::Rotated(text) => Some(text),
        }
    }

    pub(crate) fn new_token(&self) -> Option<&NewRefresh> {
        match self {
            Self::First { token, .. } => Some(token),
            Self::None | Self::Rotated(_) => None,
        }
    }
}

/// [`Grant`] as a trait object.
pub(crate) trait ErasedGrant: Send + Sync {
    fn grant_type(&self) -> &str;
    fn decide<'a>(&'a self, request: &'a TokenRequest<'_>) -> GrantFuture<'a>;
    fn refresh_token_settings(&self) -> Option<&RefreshTokenGrant>;
    fn authorization_endpoint(&self) -> Option<&str>;
}

pub(crate) type GrantFuture<'a> = Pin<Box<dyn Future<Output = Result<Granted, TokenError>> + Send + 'a>>;

impl<G: Grant> ErasedGrant for G {
    fn grant_type(&self) -> &str {
        Grant::grant_type(self)
    }

    fn decide<'a>(&'a self, request: &'a TokenRequest<'_>) -> GrantFuture<'a> {
        Box::pin(Grant::decide(self, request))
    }

    fn refresh_token_settings(&self) -> Option<&RefreshTokenGrant> {
        Grant::refresh_token_settings(self)
    }

    fn authorization_endpoint(&self) -> Option<&str> {
        Grant::authorization_endpoint(self)
    }
}
