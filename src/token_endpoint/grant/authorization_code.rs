//! `authorization_code`: a client redeems a user's approval (RFC 6749 §4.1.3, RFC 7636 §4.5).
//!
//! *In*: a token request with a code. *Out*: [`Granted`], within what the user approved and the client still may have.

use super::{Grant, Granted, Refresh, TokenRequest, pkce::challenge_of};
use crate::token_endpoint::{
    client::{Client, invalid_target, secret::TokenHash, subset},
    endpoints::authorize::binding,
    http::error::{TokenError, TokenErrorKind},
    store::{CodeTaken, Family},
};

/// The grant `authorization_code`, with PKCE (RFC 7636). The only `code_challenge_method` is `S256`.
///
/// ```
/// use tower_oauth::token_endpoint::{AuthorizationCodeGrant, RefreshTokenGrant, TokenEndpointBuilder};
///
/// fn with_users(builder: TokenEndpointBuilder) -> TokenEndpointBuilder {
///     builder
///         .grant(AuthorizationCodeGrant::new("https://auth.example.com/authorize"))
///         .grant(RefreshTokenGrant::new())
/// }
/// # let _ = with_users;
/// ```
#[derive(Debug, Clone)]
pub struct AuthorizationCodeGrant {
    authorization_endpoint: String,
}

impl AuthorizationCodeGrant {
    /// Returns the grant. `authorization_endpoint` is the URL of the application's own page, which handles an
    /// [`AuthorizationRequest`](crate::token_endpoint::AuthorizationRequest): an `https` URL, or plain `http` on a loopback
    /// address.
    #[must_use]
    pub fn new(authorization_endpoint: impl Into<String>) -> Self {
        Self { authorization_endpoint: authorization_endpoint.into() }
    }
}

impl Grant for AuthorizationCodeGrant {
    fn grant_type(&self) -> &'static str {
        "authorization_code"
    }

    fn authorization_endpoint(&self) -> Option<&str> {
        Some(&self.authorization_endpoint)
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let (client, now) = (request.client(), request.seconds());
        let code = request.required("code")?;
        let redirect_uri = request.parameter("redirect_uri")?;
        // A missing verifier is treated as a wrong one.
        let challenge = request.parameter("code_verifier")?.and_then(challenge_of).ok_or_else(invalid)?;
        // Checked before the code is consumed: a wrong resource must not cost the client its code.
        client.audience(&request.resources())?;
        // The code was issued to this client, for this redirect URI (§4.1.3) and this verifier (RFC 7636 §4.6). A request with
        // another binding finds no code, so a thief of the code can't revoke the tokens of the valid client.
        let binding = binding(client.id(), redirect_uri, &challenge);
        let taken = request.store().take_code(&TokenHash::of(code), &binding, now).await?;
        let CodeTaken::First(family) = taken else { return Err(invalid()) };
        if family.credential != client.credential_fingerprint() {
            return Err(invalid());
        }
        let audience = audience(&family, client, &request.resources())?;
        let scope = scope(&family, client, None)?;
        let refresh = request.first_refresh(&family)?;
        Ok(Granted { subject: family.subject.clone(), scope, audience, family: Some(family), refresh })
    }
}

/// Returns the audience of the token: one that the user approved (RFC 8707 §2.2) and that the client still may have.
pub(super) fn audience(family: &Family, client: &Client, requested: &[&str]) -> Result<String, TokenError> {
    let approved = match requested {
        [] => family.audiences.first(),
        [first, ..] => family.audiences.iter().find(|audience| audience == first),
    };
    let approved = approved.ok_or_else(invalid_target)?.as_str();
    client.audience(&[&[approved], requested].concat()).map(str::to_owned)
}

/// Returns the requested scopes, if the user approved them (RFC 6749 §6) and the client still may have them; all such scopes
/// if none are requested. The scopes of the family don't change, so a later refresh can request all of them again.
pub(super) fn scope(family: &Family, client: &Client, requested: Option<&str>) -> Result<String, TokenError> {
    let allowed: Vec<&str> = family.scope.split(' ').filter(|name| client.may_have(name)).collect();
    match requested {
        // A response without `scope` means all requested scopes (§5.1), so a token with none can't be issued.
        None if allowed.is_empty() && !family.scope.is_empty() => {
            Err(TokenError::new(TokenErrorKind::InvalidScope, "The requested scope exceeds what may be granted"))
        }
        None => Ok(allowed.join(" ")),
        Some(requested) => subset(requested, |name| allowed.contains(&name)),
    }
}

pub(super) fn invalid() -> TokenError {
    TokenError::new(TokenErrorKind::InvalidGrant, "The code or refresh token is invalid")
}

impl TokenRequest<'_> {
    /// Returns the first refresh token of a family, if the client may have one.
    fn first_refresh(&self, family: &Family) -> Result<Refresh, TokenError> {
        match self.refresh_tokens() {
            Some(settings) => Refresh::first(settings.idle_end(family, self.seconds())),
            None => Ok(Refresh::None),
        }
    }
}
