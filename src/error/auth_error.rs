//! [`AuthError`]: why a request was refused.
//!
//! *In*: the exact reason. *Out*: the kind, which decides the status; a fixed text for the client; texts for logs and
//! metrics.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::{AuthErrorKind, Finding, Reason};
use crate::scope::Scopes;

/// Why a request was refused.
///
/// The [`kind`](Self::kind) decides the status of the response. [`description`](Self::description) is the text for the
/// client, [`reason`](Self::reason) a stable name for metrics. `Display` and [`finding`](Self::finding) are for logs; their
/// texts are not API and may change. None of them contains a token, a secret or the value of a personal claim.
/// [`guide::refusals`](crate::guide::refusals) explains each reason and what to do.
///
/// The layer puts the error into the response's extensions, so that a layer further out can count or log it:
///
/// ```
/// # use tower_oauth::{AuthError, error::AuthErrorKind};
/// fn count(response: &http::Response<String>) {
///     if let Some(error) = response.extensions().get::<AuthError>() {
///         println!("refused: {} ({}): {error}", error.kind(), error.reason());
///     }
/// }
/// # assert_eq!(AuthError::invalid_token().kind(), AuthErrorKind::InvalidToken);
/// ```
#[derive(Clone)]
pub struct AuthError {
    reason: Reason,
    detail: Option<Box<Detail>>,
    finding: Option<Arc<Finding>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Clone)]
enum Detail {
    Scopes(Scopes<'static>),
    RetryAfter(Duration),
    NotResponsible,
    Authentication { acr_values: Option<String>, max_age: Option<Duration> },
}

impl AuthError {
    /// Returns the error for a token that is not valid, for a [`Verify`](crate::verify::Verify) of your own.
    #[must_use]
    pub fn invalid_token() -> Self {
        Reason::RefusedByVerifier.into()
    }

    /// Returns the error for a request without credentials, for a [`Verify`](crate::verify::Verify) of your own.
    #[must_use]
    pub fn missing_credentials() -> Self {
        Reason::NoCredentials.into()
    }

    /// Returns the error for a token that could not be checked. The response has `Retry-After`, rounded up to whole seconds.
    #[must_use]
    pub fn unavailable(retry_after: Duration) -> Self {
        Self::with_detail(Reason::Unavailable, Detail::RetryAfter(retry_after))
    }

    /// Returns the error for a token that does not grant the required scopes. `required` lists all scopes that the request
    /// needs, also those that the token has. If one of several lists is enough, give one of them, because clients ask for
    /// everything that the challenge names.
    #[must_use]
    pub fn insufficient_scope(required: Scopes<'static>) -> Self {
        Self::with_detail(Reason::Scope, Detail::Scopes(required))
    }

    /// Returns the error of a handler that refuses the request for a reason that no scope would change: 403 without a
    /// challenge.
    ///
    /// The layer renders it like every other refusal. `description` is sent to the client. It may contain printable ASCII
    /// except quotes and backslashes (RFC 6750 §3); any other text is replaced by "The request is not allowed".
    ///
    /// ```
    /// use tower_oauth::{AuthError, Token};
    ///
    /// fn check_tenant(token: &Token, tenant: &str) -> Result<(), AuthError> {
    ///     if token.groups().iter().any(|group| group == tenant) {
    ///         Ok(())
    ///     } else {
    ///         Err(AuthError::forbidden("This order belongs to another tenant"))
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn forbidden(description: &'static str) -> Self {
        let legal = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let legal = !description.is_empty() && description.bytes().all(legal);
        Reason::Forbidden(if legal { description } else { "The request is not allowed" }).into()
    }

    /// Returns the error for a token that is bound to a key and was sent as a bearer token.
    pub(crate) fn sender_constrained() -> Self {
        let change =
            "let the client prove its key (DPoP) or use its certificate, and call dpop or mutual_tls on the server";
        Reason::SenderConstrained.because("cnf: the token is bound", "a plain bearer token", change)
    }

    pub(crate) fn insufficient_authentication(acr_values: Option<String>, max_age: Option<Duration>) -> Self {
        Self::with_detail(Reason::Authentication, Detail::Authentication { acr_values, max_age })
    }

    /// Returns the error with its cause, for logs. The cause is never sent to the client.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    pub(crate) fn with_finding(self, finding: impl Into<Arc<Finding>>) -> Self {
        Self { finding: Some(finding.into()), ..self }
    }

    /// Returns the error with the trusted issuer whose verifier refused the token.
    pub(crate) fn of_issuer(self, issuer: &Arc<str>) -> Self {
        match self.finding {
            Some(finding) => Self { finding: Some(Arc::new(Arc::unwrap_or_clone(finding).of_issuer(issuer))), ..self },
            None => self,
        }
    }

    fn with_detail(reason: Reason, detail: Detail) -> Self {
        Self { detail: Some(Box::new(detail)), ..reason.into() }
    }

    /// Returns what the error means to the client.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.reason.kind()
    }

    /// Returns a stable name of the exact reason, such as `expired` or `unknown_key`, for metrics and tests.
    /// [`guide::refusals`](crate::guide::refusals) lists all names. A later version may add names.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason.as_str()
    }

    /// Returns what was found, what was expected, and what to change. For logs: it must not be sent to the client. `None` if
    /// the reason says everything.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        self.finding.as_deref()
    }

    /// Returns the text for the client (RFC 6750 §3 `error_description`): one of a fixed list, or that of
    /// [`forbidden`](Self::forbidden).
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.reason.description()
    }

    /// Returns the gRPC status code of the refusal, for a gRPC method that refuses a request itself. It is the code that the
    /// layer sends with [`grpc_status`](crate::server::ResourceServerBuilder::grpc_status). [`guide::grpc`](crate::guide::grpc)
    /// has the table of codes.
    ///
    /// ```
    /// use tonic::{Code, Status};
    /// use tower_oauth::AuthError;
    ///
    /// fn status(error: impl Into<AuthError>) -> Status {
    ///     let error = error.into();
    ///     Status::new(Code::from_i32(error.grpc_code()), error.description())
    /// }
    ///
    /// assert_eq!(status(AuthError::invalid_token()).code(), Code::Unauthenticated);
    /// ```
    #[must_use]
    pub fn grpc_code(&self) -> i32 {
        match self.kind() {
            AuthErrorKind::InvalidRequest => 3,
            AuthErrorKind::InsufficientScope | AuthErrorKind::Forbidden => 7,
            AuthErrorKind::MissingLayer => 13,
            AuthErrorKind::Unavailable => 14,
            AuthErrorKind::MissingCredentials
            | AuthErrorKind::InvalidToken
            | AuthErrorKind::InvalidDpopProof
            | AuthErrorKind::UseDpopNonce
            | AuthErrorKind::InsufficientUserAuthentication => 16,
        }
    }

    pub(crate) fn exact_reason(&self) -> Reason {
        self.reason
    }

    /// True if the request had no credentials at all. An unsupported scheme counts as credentials.
    pub(crate) fn is_missing_credentials(&self) -> bool {
        self.reason == Reason::NoCredentials
    }

    /// True if the key is unknown. A refresh of the key set may find it.
    pub(crate) fn is_unknown_key(&self) -> bool {
        self.reason == Reason::UnknownKey
    }

    /// Returns the error for a token of an issuer that the verifier isn't responsible for.
    pub(crate) fn not_responsible() -> Self {
        Self::with_detail(Reason::WrongIssuer, Detail::NotResponsible).with_finding(Finding::new(
            "an iss that the callback does not trust",
            "the iss of a trusted issuer",
            "let the callback trust the issuer, if it is one of yours",
        ))
    }

    /// True if another verifier may be responsible for the token.
    pub(crate) fn is_not_responsible(&self) -> bool {
        matches!(self.detail.as_deref(), Some(Detail::NotResponsible))
    }

    pub(crate) fn scopes(&self) -> Option<&Scopes<'static>> {
        match self.detail.as_deref() {
            Some(Detail::Scopes(scopes)) => Some(scopes),
            _ => None,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.detail.as_deref() {
            Some(Detail::RetryAfter(after)) => Some(*after),
            _ => None,
        }
    }

    pub(crate) fn authentication(&self) -> (Option<&str>, Option<Duration>) {
        match self.detail.as_deref() {
            Some(Detail::Authentication { acr_values, max_age }) => (acr_values.as_deref(), *max_age),
            _ => (None, None),
        }
    }
}

impl From<Reason> for AuthError {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None, finding: None, source: None }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::MissingClaim(name) => write!(f, "the token lacks {name}"),
            reason => f.write_str(reason.log_text()),
        }
    }
}

impl fmt::Debug for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthError").field("kind", &self.kind()).field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl Error for AuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Returns the causes of an error as one text, outermost first. `None` if there is no cause.
pub(crate) fn causes(error: &dyn Error) -> Option<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    (!causes.is_empty()).then(|| causes.join(": "))
}
