//! What can go wrong: at start-up ([`ConfigError`]), and while a request is judged ([`AuthError`]).
//!
//! *In*: the reason, from any module inside. *Out*: a value that the layer turns into a status and a challenge.
//!
//! Neither type ever holds a token, a secret or a claim's value. A token that could not be judged is
//! [`AuthErrorKind::Unavailable`], which is answered with 503 and never with 401: a 401 makes good clients throw
//! their tokens away.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::scope::Scopes;

/// Why a request was refused. The [`kind`](Self::kind) decides the status; its `Display` is for your log.
///
/// The layer puts it into the response's extensions, so that an outer layer can count or log it:
///
/// ```
/// # use tower_oauth::{AuthError, AuthErrorKind};
/// fn count(response: &http::Response<String>) {
///     if let Some(error) = response.extensions().get::<AuthError>() {
///         println!("refused: {:?}: {error}", error.kind());
///     }
/// }
/// # assert_eq!(AuthError::invalid_token().kind(), AuthErrorKind::InvalidToken);
/// ```
#[derive(Clone)]
pub struct AuthError {
    reason: Reason,
    detail: Option<Box<Detail>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Clone)]
enum Detail {
    Scopes(Scopes<'static>),
    RetryAfter(Duration),
    Authentication { acr_values: Option<String>, max_age: Option<Duration> },
}

/// What an [`AuthError`] means to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthErrorKind {
    /// Nothing that we understand was presented: 401 without an error code (RFC 6750 §3.1).
    MissingCredentials,
    /// Malformed, repeated or doubled credentials: 400 `invalid_request`.
    InvalidRequest,
    /// The token is not good: 401 `invalid_token`.
    InvalidToken,
    /// The token is good but may not do this: 403 `insufficient_scope`.
    InsufficientScope,
    /// The person authenticated too long ago or too weakly: 401 `insufficient_user_authentication` (RFC 9470).
    InsufficientUserAuthentication,
    /// The token could not be judged, through no fault of its own: 503 with `Retry-After`.
    Unavailable,
    /// A handler asks for a token on a route that no layer protects: 500. A mistake in the program.
    MissingLayer,
}

impl AuthErrorKind {
    /// A stable name, for counting.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingCredentials => "missing_credentials",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::Unavailable => "unavailable",
            Self::MissingLayer => "missing_layer",
        }
    }
}

/// The precise reason. Texts for the client come from here only, so they are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "some are the extractors' reasons"))]
pub(crate) enum Reason {
    NoCredentials,
    UnsupportedScheme,
    RepeatedHeader,
    TwoWays,
    MalformedCredentials,
    TooLarge,
    NotAJws,
    MalformedHeader,
    CriticalHeader,
    TypeNotAccepted,
    AlgorithmNotAccepted,
    UnknownKey,
    BadSignature,
    MalformedClaims,
    MissingClaim(&'static str),
    WrongIssuer,
    WrongAudience,
    Expired,
    NotYetValid,
    IssuedInTheFuture,
    SenderConstrained,
    UnsuitableClaims,
    RefusedByVerifier,
    Inactive,
    NotAnAccessToken,
    Scope,
    Role,
    ActsForNoUser,
    ActsForAUser,
    Authentication,
    Unavailable,
    MissingLayer,
}

impl Reason {
    fn kind(self) -> AuthErrorKind {
        match self {
            Self::NoCredentials | Self::UnsupportedScheme => AuthErrorKind::MissingCredentials,
            Self::RepeatedHeader | Self::TwoWays | Self::MalformedCredentials => AuthErrorKind::InvalidRequest,
            Self::Scope | Self::Role | Self::ActsForNoUser | Self::ActsForAUser => AuthErrorKind::InsufficientScope,
            Self::Authentication => AuthErrorKind::InsufficientUserAuthentication,
            Self::Unavailable => AuthErrorKind::Unavailable,
            Self::MissingLayer => AuthErrorKind::MissingLayer,
            _ => AuthErrorKind::InvalidToken,
        }
    }

    /// `error_description`. Says nothing about a token whose signature isn't good but that it is not good.
    fn description(self) -> &'static str {
        match self {
            Self::NoCredentials | Self::UnsupportedScheme => "An access token is needed",
            Self::RepeatedHeader => "The header with the access token must be sent once",
            Self::TwoWays => "The access token must be sent in one way only",
            Self::MalformedCredentials => "The credentials are malformed",
            Self::Expired => "The access token expired",
            Self::NotYetValid | Self::IssuedInTheFuture => "The access token is not valid yet",
            Self::WrongAudience => "The access token is meant for another resource",
            Self::SenderConstrained => "The access token is bound to a key and cannot be used as a plain bearer token",
            Self::MissingClaim(_) | Self::UnsuitableClaims => "The access token lacks claims that are needed here",
            Self::Scope => "The access token's permission is not enough",
            Self::Role => "A role that the access token's subject lacks is needed",
            Self::ActsForNoUser => "An access token that acts for a user is needed",
            Self::ActsForAUser => "An access token of a client acting for itself is needed",
            Self::Authentication => "A fresher or stronger authentication is needed",
            Self::Unavailable => "The access token cannot be checked at the moment",
            Self::MissingLayer => "The server is misconfigured",
            _ => "The access token is invalid",
        }
    }

    /// For the log: what exactly, in words of our own.
    fn for_the_log(self) -> &'static str {
        match self {
            Self::NoCredentials => "no credentials",
            Self::UnsupportedScheme => "an authentication scheme that is not spoken here",
            Self::TooLarge => "the token is larger than the limit",
            Self::NotAJws => "the token is not a JWS in compact form",
            Self::MalformedHeader => "the token's header is malformed",
            Self::CriticalHeader => "the token's header has crit, b64 or zip",
            Self::TypeNotAccepted => "the token's typ is not accepted",
            Self::AlgorithmNotAccepted => "the token's alg is not accepted",
            Self::UnknownKey => "no key of the issuer fits the token's kid and alg",
            Self::BadSignature => "the signature does not verify",
            Self::MalformedClaims => "the claims are malformed",
            Self::WrongIssuer => "the token is of another issuer",
            Self::NotAnAccessToken => "the token is no access token, by its issuer's marks",
            Self::UnsuitableClaims => "the claims do not fit the handler's type",
            Self::Inactive => "the issuer says that the token is not active",
            Self::RefusedByVerifier => "the verifier refused the token",
            Self::IssuedInTheFuture => "the token was issued in the future",
            Self::MissingLayer => "a handler asks for a token, but no OAuthLayer is on its route",
            _ => self.description(),
        }
    }
}

impl AuthError {
    /// The token is not good. For your own [`Verify`](crate::Verify).
    #[must_use]
    pub fn invalid_token() -> Self {
        Reason::RefusedByVerifier.into()
    }

    /// Nothing was presented. For your own [`Verify`](crate::Verify).
    #[must_use]
    pub fn missing_credentials() -> Self {
        Reason::NoCredentials.into()
    }

    /// The token could not be judged; `retry_after` is rounded up to whole seconds.
    #[must_use]
    pub fn unavailable(retry_after: Duration) -> Self {
        Self::with(Reason::Unavailable, Detail::RetryAfter(retry_after))
    }

    /// The token may not do this; `needed` is all that the request needs.
    #[must_use]
    pub fn insufficient_scope(needed: Scopes<'static>) -> Self {
        Self::with(Reason::Scope, Detail::Scopes(needed))
    }

    pub(crate) fn insufficient_authentication(acr_values: Option<String>, max_age: Option<Duration>) -> Self {
        Self::with(Reason::Authentication, Detail::Authentication { acr_values, max_age })
    }

    /// Keeps the cause for the log; it never reaches the client.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    fn with(reason: Reason, detail: Detail) -> Self {
        Self { reason, detail: Some(Box::new(detail)), source: None }
    }

    /// What it means to the client.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.reason.kind()
    }

    /// The text for the client, one of a fixed list (RFC 6750 §3 `error_description`).
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.reason.description()
    }

    /// Nothing at all was presented: what anonymous routes let through. A scheme that is not ours is not nothing.
    pub(crate) fn is_absence(&self) -> bool {
        self.reason == Reason::NoCredentials
    }

    /// The key that signed it may be here in a moment.
    pub(crate) fn is_for_want_of_a_key(&self) -> bool {
        self.reason == Reason::UnknownKey
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
        Self { reason, detail: None, source: None }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::MissingClaim(name) => write!(f, "the token lacks {name}"),
            reason => f.write_str(reason.for_the_log()),
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

/// Everything that is wrong with a configuration, found at start-up and told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    mistakes: Vec<ConfigMistake>,
}

/// One mistake: which setting, what was found, what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMistake {
    setting: &'static str,
    found: String,
    change: &'static str,
}

impl ConfigMistake {
    pub(crate) fn new(setting: &'static str, found: impl Into<String>, change: &'static str) -> Self {
        Self { setting, found: found.into(), change }
    }

    /// The setting that is wrong.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for ConfigMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.setting, self.found, self.change)
    }
}

impl ConfigError {
    /// The mistakes, in the order of the settings.
    #[must_use]
    pub fn mistakes(&self) -> &[ConfigMistake] {
        &self.mistakes
    }

    pub(crate) fn unless_empty(mistakes: Vec<ConfigMistake>) -> Result<(), Self> {
        if mistakes.is_empty() { Ok(()) } else { Err(Self { mistakes }) }
    }

    pub(crate) fn and(mut self, more: Vec<ConfigMistake>) -> Self {
        self.mistakes.splice(0..0, more);
        self
    }

    pub(crate) fn into_mistakes(self) -> Vec<ConfigMistake> {
        self.mistakes
    }
}

impl From<ConfigMistake> for ConfigError {
    fn from(mistake: ConfigMistake) -> Self {
        Self { mistakes: vec![mistake] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}
