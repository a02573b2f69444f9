//! Grants: for what a client can get a token (RFC 6749 §1.3).
//!
//! *In*: a request whose client is known and may use the grant. *Out*: [`Granted`]: for whom, for what, how much.
//!
//! One grant, one file. The endpoint makes and remembers the tokens. `password` and `implicit` are not here and never will
//! be: RFC 9700 §2.4 and §2.1.2. Who asks for them is told `unsupported_grant_type`.

mod authorization_code;
mod client_credentials;
pub(crate) mod pkce;
mod refresh_token;

use std::{fmt, pin::Pin, time::SystemTime};

pub(crate) use self::authorization_code::AuthorizationCode;
pub use self::{client_credentials::ClientCredentials, refresh_token::RefreshToken};
use crate::token_endpoint::{
    client::{
        Client,
        secret::{TokenHash, draw},
    },
    endpoints::ServerState,
    http::{error::TokenError, request::Parameters},
    store::{ErasedStore, Family, NewRefresh},
};

/// Decides on one `grant_type`. For a grant of your own:
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
///         // A real one finds the gift card and marks it as used in one step.
///         match request.required("gift_card")? {
///             "2026-ada" => request.grant_to("ada"),
///             _ => Err(TokenError::new(TokenErrorKind::InvalidGrant, "The gift card is unknown")),
///         }
///     }
/// }
/// ```
pub trait Grant: Send + Sync + 'static {
    /// The value of `grant_type`. One that is no registered name is an absolute URI (RFC 6749 §4.5).
    fn grant_type(&self) -> &str;

    /// Decides on a request. The client has authenticated and is registered for this grant.
    ///
    /// # Errors
    /// Whatever speaks against it, by the codes of RFC 6749 §5.2.
    fn decide(&self, request: &TokenRequest<'_>) -> impl Future<Output = Result<Granted, TokenError>> + Send;
}

/// A request for a token, from a client that is who it says.
pub struct TokenRequest<'r> {
    client: &'r Client,
    parameters: &'r Parameters,
    inner: &'r ServerState,
}

impl<'r> TokenRequest<'r> {
    pub(crate) fn new(client: &'r Client, parameters: &'r Parameters, inner: &'r ServerState) -> Self {
        Self { client, parameters, inner }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &'r Client {
        self.client
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.inner.services.now()
    }

    /// A parameter; without a value it counts as absent (RFC 6749 §3.2).
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::token_endpoint::TokenErrorKind::InvalidRequest): it is repeated.
    pub fn parameter(&self, name: &str) -> Result<Option<&'r str>, TokenError> {
        self.parameters.get(name)
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::token_endpoint::TokenErrorKind::InvalidRequest): it is missing or repeated.
    pub fn required(&self, name: &str) -> Result<&'r str, TokenError> {
        self.parameters.required(name)
    }

    /// Grants the scopes and the resource that were asked for, within what the client is registered for, to `subject`.
    ///
    /// # Errors
    /// [`InvalidScope`](crate::token_endpoint::TokenErrorKind::InvalidScope) and [`InvalidTarget`](crate::token_endpoint::TokenErrorKind::InvalidTarget): more was asked for.
    pub fn grant_to(&self, subject: impl Into<String>) -> Result<Granted, TokenError> {
        let scope = self.client.scopes(self.parameter("scope")?)?;
        let audience = self.client.audience(&self.resources())?.to_owned();
        Ok(Granted { subject: subject.into(), scope, audience, family: None, refresh: Refresh::None })
    }

    /// `resource` (RFC 8707 §2), and `audience`, as others write it.
    pub(crate) fn resources(&self) -> Vec<&'r str> {
        self.parameters.all("resource").chain(self.parameters.all("audience")).collect()
    }

    fn store(&self) -> &'r dyn ErasedStore {
        &*self.inner.services.store
    }

    fn seconds(&self) -> u64 {
        self.inner.services.unix_seconds()
    }

    /// How refresh tokens live, if this client may have any.
    fn refresh_tokens(&self) -> Option<&'r RefreshToken> {
        self.inner.refresh_tokens(self.client)
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

/// What a token shall say.
#[derive(Clone)]
pub struct Granted {
    pub(crate) subject: String,
    pub(crate) scope: String,
    pub(crate) audience: String,
    /// What the token belongs to, where a user approved.
    pub(crate) family: Option<Family>,
    pub(crate) refresh: Refresh,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").finish_non_exhaustive()
    }
}

/// The refresh token that goes with an access token.
#[derive(Clone)]
pub(crate) enum Refresh {
    None,
    /// To be remembered together with the access token.
    First {
        text: String,
        token: NewRefresh,
    },
    /// Remembered already.
    Rotated(String),
}

impl Refresh {
    fn first(expires_at: u64) -> Result<Self, TokenError> {
        let text = draw().map_err(TokenError::unavailable)?;
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

/// [`Grant`] behind a pointer.
pub(crate) trait ErasedGrant: Send + Sync {
    fn grant_type(&self) -> &str;
    fn decide<'a>(&'a self, request: &'a TokenRequest<'_>) -> Deciding<'a>;
}

pub(crate) type Deciding<'a> = Pin<Box<dyn Future<Output = Result<Granted, TokenError>> + Send + 'a>>;

impl<G: Grant> ErasedGrant for G {
    fn grant_type(&self) -> &str {
        Grant::grant_type(self)
    }

    fn decide<'a>(&'a self, request: &'a TokenRequest<'_>) -> Deciding<'a> {
        Box::pin(Grant::decide(self, request))
    }
}
