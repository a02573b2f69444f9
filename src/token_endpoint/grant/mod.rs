//! Grants: for what a client can get a token (RFC 6749 §1.3).
//!
//! *In*: a request whose client is known and may use the grant. *Out*: [`Granted`]: for whom, for what, how much.
//!
//! One grant, one file. The endpoint makes and remembers the tokens. `password` and `implicit` are not here and never will
//! be: RFC 9700 §2.4 and §2.1.2. Who asks for them is told `unsupported_grant_type`.

mod client_credentials;

use std::{fmt, pin::Pin, time::SystemTime};

pub use self::client_credentials::ClientCredentials;
use super::{
    client::Client,
    error::{TokenError, TokenErrorKind},
    request::Parameters,
};

/// Decides on one `grant_type`. For a grant of your own:
///
/// ```
/// use tower_oauth::token_endpoint::{Grant, Granted, TokenError, TokenErrorKind, TokenRequest};
///
/// struct Voucher;
///
/// impl Grant for Voucher {
///     fn grant_type(&self) -> &str {
///         "urn:example:voucher"
///     }
///
///     async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
///         // A real one looks the voucher up, and uses it up in the same step.
///         match request.required("voucher")? {
///             "2026-ada" => request.grant_to("ada"),
///             _ => Err(TokenError::new(TokenErrorKind::InvalidGrant, "The voucher is unknown")),
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
    now: SystemTime,
}

impl<'r> TokenRequest<'r> {
    pub(crate) fn new(client: &'r Client, parameters: &'r Parameters, now: SystemTime) -> Self {
        Self { client, parameters, now }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &'r Client {
        self.client
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// A parameter; without a value it counts as absent (RFC 6749 §3.2).
    ///
    /// # Errors
    /// [`InvalidRequest`](TokenErrorKind::InvalidRequest): it is repeated.
    pub fn parameter(&self, name: &str) -> Result<Option<&'r str>, TokenError> {
        self.parameters.get(name)
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// [`InvalidRequest`](TokenErrorKind::InvalidRequest): it is missing or repeated.
    pub fn required(&self, name: &str) -> Result<&'r str, TokenError> {
        let missing = || TokenError::new(TokenErrorKind::InvalidRequest, "A required parameter is missing");
        self.parameter(name)?.ok_or_else(missing)
    }

    /// Grants the scopes and the resource that were asked for, within what the client is registered for, to `subject`.
    ///
    /// # Errors
    /// [`InvalidScope`](TokenErrorKind::InvalidScope) and [`InvalidTarget`](TokenErrorKind::InvalidTarget): more was asked for.
    pub fn grant_to(&self, subject: impl Into<String>) -> Result<Granted, TokenError> {
        let scope = self.client.scopes(self.parameter("scope")?)?;
        let audience = self.client.audience(&self.resources())?.to_owned();
        Ok(Granted { subject: subject.into(), scope, audience })
    }

    /// `resource` (RFC 8707 §2), and `audience`, as others write it.
    pub(crate) fn resources(&self) -> Vec<&'r str> {
        self.parameters.all("resource").chain(self.parameters.all("audience")).collect()
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
#[derive(Debug, Clone)]
pub struct Granted {
    pub(crate) subject: String,
    pub(crate) scope: String,
    pub(crate) audience: String,
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
