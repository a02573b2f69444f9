//! `client_credentials`: a client asks for itself (RFC 6749 §4.4).

use super::{Grant, Granted, TokenRequest};
use crate::token_endpoint::http::error::{TokenError, TokenErrorKind};

/// `client_credentials`. The token's subject is the client (RFC 9068 §2.2); there is no refresh token (RFC 6749 §4.4.3).
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ClientCredentials;

impl ClientCredentials {
    /// The grant.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Grant for ClientCredentials {
    fn grant_type(&self) -> &'static str {
        "client_credentials"
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let client = request.client();
        // §4.4: confidential clients only. The registration says so too, but a registry may be the host's own.
        if client.is_public() {
            return Err(TokenError::new(TokenErrorKind::UnauthorizedClient, "A public client has no credentials"));
        }
        request.grant_to(client.id())
    }
}
