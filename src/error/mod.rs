//! Errors: why a request was refused ([`AuthError`]), and what is wrong with a configuration
//! ([`ConfigError`](crate::ConfigError)).
//!
//! *In*: the reason, from any module. *Out*: a value that the layer turns into a status and a challenge.
//!
//! Neither type ever holds a token, a secret or a claim's value. A token that could not be checked is
//! [`AuthErrorKind::Unavailable`]: the response is 503, never 401, because correct clients discard their tokens after a
//! 401.

pub(crate) mod auth_error;
mod finding;
mod reason;

use std::fmt;

pub use self::finding::Finding;
pub(crate) use self::{
    auth_error::{AuthError, causes},
    finding::{differ_by_trailing_slash, likely_slip, quoted, quoted_list},
    reason::Reason,
};
pub use crate::config_error::ConfigMistake;

/// What an [`AuthError`] means to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthErrorKind {
    /// No supported credentials were presented: 401 without an error code (RFC 6750 §3.1).
    MissingCredentials,
    /// The credentials are malformed, repeated, or sent by two bearer methods: 400 `invalid_request`.
    InvalidRequest,
    /// The token is not valid: 401 `invalid_token`.
    InvalidToken,
    /// The proof of the request is missing or not good: 401 `invalid_dpop_proof` (RFC 9449 §7.1).
    InvalidDpopProof,
    /// The proof lacks the current nonce of this server: 401 `use_dpop_nonce` (RFC 9449 §9).
    UseDpopNonce,
    /// The token is valid but does not grant what the request needs: 403 `insufficient_scope`.
    InsufficientScope,
    /// A handler refused the request for a reason of its own, or another site made a request with the user's cookie: 403
    /// without a challenge.
    Forbidden,
    /// The user authenticated too long ago or too weakly: 401 `insufficient_user_authentication` (RFC 9470).
    InsufficientUserAuthentication,
    /// The token could not be checked. It may be valid: 503 with `Retry-After`.
    Unavailable,
    /// A handler requires a token on a route without the layer, which is a mistake in the program: 500.
    MissingLayer,
}

impl AuthErrorKind {
    /// Returns a stable name, for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingCredentials => "missing_credentials",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InsufficientScope => "insufficient_scope",
            Self::Forbidden => "forbidden",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::Unavailable => "unavailable",
            Self::MissingLayer => "missing_layer",
        }
    }
}

impl fmt::Display for AuthErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
