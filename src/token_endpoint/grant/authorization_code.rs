//! `authorization_code`: a user allowed it (RFC 6749 §4.1.3, RFC 7636 §4.5).

use super::{Grant, Granted, Refresh, TokenRequest, pkce::challenge_of};
use crate::token_endpoint::{
    client::{Client, invalid_target, secret::TokenHash, subset},
    endpoints::authorize::binding,
    http::error::{TokenError, TokenErrorKind},
    store::{CodeTaken, Family},
};

/// `authorization_code`.
pub(crate) struct AuthorizationCode;

impl Grant for AuthorizationCode {
    fn grant_type(&self) -> &'static str {
        "authorization_code"
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let (client, now) = (request.client(), request.seconds());
        let code = request.required("code")?;
        let redirect_uri = request.parameter("redirect_uri")?;
        // A missing verifier is as good as a wrong one.
        let challenge = request.parameter("code_verifier")?.and_then(challenge_of).ok_or_else(invalid)?;
        // A resource that the client may never have costs it no code.
        client.audience(&request.resources())?;
        // §4.1.3: issued to this client, for this redirect URI; §4.6 of RFC 7636: and this verifier. A request that is not
        // "otherwise valid" finds no code, and so can't revoke what the right one gave.
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

/// The one resource of the token, of those that were approved (RFC 8707 §2.2) and that the client still may have.
pub(super) fn audience(family: &Family, client: &Client, requested: &[&str]) -> Result<String, TokenError> {
    let approved = match requested {
        [] => family.audiences.first(),
        [first, ..] => family.audiences.iter().find(|own| own == first),
    };
    let approved = approved.ok_or_else(invalid_target)?.as_str();
    client.audience(&[&[approved], requested].concat()).map(str::to_owned)
}

/// What was asked for, within what the user allowed (RFC 6749 §6) and the client still may have; all of that if nothing was.
/// The refresh token keeps what the user allowed.
pub(super) fn scope(family: &Family, client: &Client, requested: Option<&str>) -> Result<String, TokenError> {
    let kept: Vec<&str> = family.scope.split(' ').filter(|name| client.may_have(name)).collect();
    match requested {
        // None is not told to the client (§5.1), which would believe that it has them all.
        None if kept.is_empty() && !family.scope.is_empty() => {
            Err(TokenError::new(TokenErrorKind::InvalidScope, "The requested scope exceeds what may be granted"))
        }
        None => Ok(kept.join(" ")),
        Some(requested) => subset(requested, |name| kept.contains(&name)),
    }
}

pub(super) fn invalid() -> TokenError {
    TokenError::new(TokenErrorKind::InvalidGrant, "The code or refresh token is not good")
}

impl TokenRequest<'_> {
    /// A first refresh token, where the client may have one.
    fn first_refresh(&self, family: &Family) -> Result<Refresh, TokenError> {
        match self.refresh_tokens() {
            Some(settings) => Refresh::first(settings.idle_end(family, self.seconds())),
            None => Ok(Refresh::None),
        }
    }
}
