//! `authorization_code`: a client redeems a user's approval (RFC 6749 §4.1.3, RFC 7636 §4.5).
//!
//! *In*: a token request with a code. *Out*: [`Granted`], within what the user approved and the client still may have.

use super::{Grant, Granted, Refresh, TokenRequest, pkce::challenge_of};
use crate::token_endpoint::{
    client::{Client, find_resource, invalid_target, secret::TokenHash},
    endpoints::authorize::{binding, is_code_for},
    http::error::{TokenError, TokenErrorKind},
    store::{CodeTaken, Family},
};

/// The grant `authorization_code`, with PKCE (RFC 7636). The only `code_challenge_method` is `S256`.
///
/// The token request may leave out `redirect_uri`, as in OAuth 2.1 §4.1.3. If it is sent, it must be that of the authorization
/// request (RFC 6749 §4.1.3).
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
        // A missing verifier is treated as a wrong one. Every code has a challenge.
        let challenge = request.parameter("code_verifier")?.and_then(challenge_of).ok_or_else(invalid)?;
        // §4.1.3: if it is sent, it is that of the authorization request. OAuth 2.1 §4.1.3 leaves it out, because the verifier
        // protects against a code that was issued for another redirect URI. A code without a challenge would need it.
        if redirect_uri.is_some_and(|redirect_uri| !is_code_for(code, redirect_uri)) {
            return Err(invalid());
        }
        // Checked before the code is consumed: a wrong resource must not cost the client its code.
        client.audience(&request.resources())?;
        // The code was issued to this client (§4.1.3) and for this verifier (RFC 7636 §4.6). A request with another binding finds
        // no code, so a thief of the code can't revoke the tokens of the valid client.
        let binding = binding(client.id(), &challenge);
        let taken = request.store().take_code(&TokenHash::of(code), &binding, now).await?;
        let CodeTaken::First(family) = taken else { return Err(invalid()) };
        if family.credential != client.credential_generation().to_string() {
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
    let mut approved = family.audiences.iter().map(String::as_str);
    let found = match requested {
        [] => approved.next(),
        [first, ..] => find_resource(approved, first),
    };
    let approved = found.ok_or_else(invalid_target)?;
    client.audience(&[&[approved], requested].concat()).map(str::to_owned)
}

/// Returns the requested scopes, if the user approved them (RFC 6749 §6) and the client still may have them; all such scopes
/// if none are requested. Others are refused or dropped, as the client is registered. The scopes of the family don't change, so
/// a later refresh can request all of them again.
pub(super) fn scope(family: &Family, client: &Client, requested: Option<&str>) -> Result<String, TokenError> {
    let allowed: Vec<&str> = family.scope.split(' ').filter(|name| client.may_have(name)).collect();
    match requested {
        // A response without `scope` means all requested scopes (§5.1), so a token with none can't be issued.
        None if allowed.is_empty() && !family.scope.is_empty() => {
            Err(TokenError::new(TokenErrorKind::InvalidScope, "The requested scope exceeds what may be granted"))
        }
        None => Ok(allowed.join(" ")),
        Some(requested) => client.subset(requested, |name| allowed.contains(&name)),
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
