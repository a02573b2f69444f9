//! `client_credentials`: a client requests a token for itself (RFC 6749 §4.4).
//!
//! *In*: a token request of a confidential client. *Out*: [`Granted`], with the client as the subject.

use super::{Grant, Granted, TokenRequest};
use crate::token_endpoint::http::error::{TokenError, TokenErrorKind};

/// The grant `client_credentials`. The token's subject is the client (RFC 9068 §2.2). There is no refresh token (RFC 6749
/// §4.4.3).
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ClientCredentialsGrant;

impl ClientCredentialsGrant {
    /// Returns the grant.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Grant for ClientCredentialsGrant {
    fn grant_type(&self) -> &'static str {
        "client_credentials"
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let client = request.client();
        // §4.4: confidential clients only. `ClientBuilder` refuses others; a registry of the application may not.
        if client.is_public() {
            let description = "A public client may not use this grant type";
            return Err(TokenError::new(TokenErrorKind::UnauthorizedClient, description));
        }
        request.grant_to(client.id())
    }
}
