//! Error responses (RFC 6749 §5.2).
//!
//! *In*: the cause, from any step. *Out*: a status, a JSON body with `error` and `error_description`, and the required
//! headers.
//!
//! Descriptions are fixed texts; no part of the request is repeated.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::response::{ResponseBody, json};
use crate::{
    dpop::DPOP_NONCE,
    log,
    token_endpoint::{client::Client, store::StoreError},
};

/// The refusal of a request to one of the endpoints. A [`Grant`](crate::token_endpoint::Grant) returns it.
///
/// ```
/// use tower_oauth::token_endpoint::{TokenError, TokenErrorKind};
///
/// let error = TokenError::new(TokenErrorKind::InvalidGrant, "The device code has expired");
/// assert_eq!(error.kind().as_str(), "invalid_grant");
/// ```
#[derive(Clone)]
pub struct TokenError {
    kind: TokenErrorKind,
    description: &'static str,
    /// The exact reason, for events.
    reason: Option<&'static str>,
    /// The registered client that the request names, if its authentication failed. For events.
    client: Option<Arc<Client>>,
    retry_after: Option<Duration>,
    /// In a box, so that an error stays small.
    dpop_nonce: Option<Box<HeaderValue>>,
    /// True if a client can cause the failure.
    by_client: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The error codes. [`as_str`](Self::as_str) and `Display` return the registered name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// A parameter is missing, repeated or malformed: 400 (RFC 6749 §5.2).
    InvalidRequest,
    /// The request's body did not arrive within ten seconds: 408. The code is `invalid_request`.
    RequestTimeout,
    /// The client is unknown, or its authentication is missing or wrong: 401 with `WWW-Authenticate` (RFC 6749 §5.2).
    InvalidClient,
    /// The code or refresh token is unknown, expired, used, revoked, or was issued to another client: 400 (RFC 6749 §5.2).
    InvalidGrant,
    /// The client may not use this grant: 400 (RFC 6749 §5.2).
    UnauthorizedClient,
    /// The server doesn't offer this grant: 400 (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// The scope is malformed, unknown, or exceeds what the client or the grant has: 400 (RFC 6749 §5.2).
    InvalidScope,
    /// The resource is malformed, unknown, or not for this client: 400 (RFC 8707 §2).
    InvalidTarget,
    /// The user has not decided yet: 400. For a device grant (RFC 8628 §3.5).
    AuthorizationPending,
    /// The client polls too often: 400. For a device grant (RFC 8628 §3.5).
    SlowDown,
    /// The user refused the access: 400 (RFC 8628 §3.5).
    AccessDenied,
    /// The device code has expired: 400 (RFC 8628 §3.5).
    ExpiredToken,
    /// The DPoP proof is missing, invalid or was used before: 400 (RFC 9449 §5).
    InvalidDpopProof,
    /// The DPoP proof has no nonce of this server, or an old one: 400 with `DPoP-Nonce` (RFC 9449 §8).
    UseDpopNonce,
    /// An error code of the application or of an extension: 400 (RFC 6749 §8.5). Characters that §5.2 excludes from `error` are
    /// sent as `?`.
    Other(&'static str),
    /// Too many failed authentications: 429 with `Retry-After`. The code is that of RFC 6749 §4.1.2.1.
    TooManyAttempts,
    /// The server can't process requests now; the request may be correct: 503 with `Retry-After`.
    Unavailable,
}

impl TokenErrorKind {
    /// Returns the value of `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::RequestTimeout => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::AccessDenied => "access_denied",
            Self::ExpiredToken => "expired_token",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::Other(code) => code,
            Self::TooManyAttempts | Self::Unavailable => "temporarily_unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for TokenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TokenError {
    /// Returns an error with a text for the client's developer.
    ///
    /// Characters that RFC 6749 §5.2 excludes from `error_description` (quote, backslash, everything but printable ASCII) are
    /// sent as `?`.
    #[must_use]
    pub fn new(kind: TokenErrorKind, description: &'static str) -> Self {
        let retry_after = (kind.status().as_u16() >= 429).then_some(RETRY_AFTER);
        Self {
            kind,
            description,
            reason: None,
            client: None,
            retry_after,
            dpop_nonce: None,
            by_client: false,
            source: None,
        }
    }

    pub(crate) fn unavailable(source: impl Error + Send + Sync + 'static) -> Self {
        let error = Self::new(TokenErrorKind::Unavailable, "The server is temporarily unavailable");
        Self { source: Some(Arc::new(source)), ..error }
    }

    /// Sets the exact reason, which events have and the client doesn't get.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Sets the registered client that the request names.
    pub(crate) fn of_client(self, client: Arc<Client>) -> Self {
        Self { client: Some(client), ..self }
    }

    /// Sets the nonce for the client's next proof.
    pub(crate) fn with_dpop_nonce(self, nonce: Option<HeaderValue>) -> Self {
        Self { dpop_nonce: nonce.map(Box::new), ..self }
    }

    /// Returns the registered client that the request names, if its authentication failed.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client.as_deref().map(Client::id)
    }

    /// Returns the exact reason.
    pub(crate) fn reason(&self) -> &'static str {
        self.reason.unwrap_or(self.description)
    }

    /// Returns the refusal of a request that the store got too late. Nothing was done, so the client may repeat it.
    pub(crate) fn late() -> Self {
        Self::unavailable(StoreError::not_executed("the store got to the operation after its deadline"))
    }

    /// Logs why a request could not be processed: as an error, unless a client can cause it.
    pub(crate) fn log_failure(&self) {
        if self.by_client {
            log::client_unavailable(self);
        } else {
            log::token_endpoint_failed(self);
        }
    }

    /// Removes `Retry-After`, if a repeated request could end the client's session.
    pub(crate) fn without_retry(self) -> Self {
        Self { retry_after: None, ..self }
    }

    pub(crate) fn too_many_attempts(retry_after: Duration) -> Self {
        let error = Self::new(TokenErrorKind::TooManyAttempts, "Too many failed authentications");
        Self { retry_after: Some(retry_after), ..error }
    }

    /// Returns the error code.
    #[must_use]
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }

    /// Returns the text for the client's developer.
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.description
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        #[derive(Serialize)]
        struct ErrorMembers<'e> {
            error: Cow<'e, str>,
            error_description: Cow<'e, str>,
        }
        if self.kind == TokenErrorKind::Unavailable {
            self.log_failure();
        }
        let members =
            ErrorMembers { error: sanitized(self.kind.as_str()), error_description: sanitized(self.description) };
        let mut response = json(self.kind.status(), &members);
        let headers = response.headers_mut();
        if self.kind == TokenErrorKind::InvalidClient {
            // Required if the client used Authorization (§5.2), and in every 401 (RFC 9110 §15.5.2).
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, whole_seconds(after).into());
        }
        if let Some(nonce) = &self.dpop_nonce {
            headers.insert(DPOP_NONCE, HeaderValue::clone(nonce));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.description)
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        Self { by_client: error.is_caused_by_client(), ..Self::unavailable(error) }
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenError")
            .field("kind", &self.kind)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Replaces everything but `%x20-21 / %x23-5B / %x5D-7E` (§5.2).
fn sanitized(text: &str) -> Cow<'_, str> {
    let allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
    if text.chars().all(allowed) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if allowed(c) { c } else { '?' }).collect())
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1)
}

const RETRY_AFTER: Duration = Duration::from_secs(5);
/// `charset`: ids and secrets are read as UTF-8 (RFC 7617 §2.1).
const CHALLENGE: &str = r#"Basic realm="token endpoint", charset="UTF-8""#;
