//! `refresh_token`: once more, what a user allowed (RFC 6749 §6, RFC 9700 §4.14.2).
//!
//! Each refresh token is used once and has one successor. One that is used again tells that two have it: then all that came
//! of the approval is revoked.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Grant, Granted, Refresh, TokenRequest,
    authorization_code::{audience, invalid, scope},
};
use crate::{
    jws::{random, sha256},
    token_endpoint::{
        client::secret::TokenHash,
        http::error::TokenError,
        store::{Family, Rotated, Successor},
    },
};

/// How refresh tokens live and die; for [`TokenEndpointBuilder::refresh_token`](super::super::TokenEndpointBuilder::refresh_token).
///
/// ```
/// use std::time::Duration;
/// use tower_oauth::token_endpoint::RefreshToken;
///
/// let settings = RefreshToken::new()
///     .idle_lifetime(Duration::from_secs(7 * 86_400))
///     .absolute_lifetime(Duration::from_secs(30 * 86_400));
/// # let _ = settings;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RefreshToken {
    idle: Duration,
    pub(crate) absolute: Duration,
    grace: Duration,
}

impl RefreshToken {
    /// A token that is not used for 14 days is dead, and after 30 days the user is asked again.
    #[must_use]
    pub fn new() -> Self {
        Self { idle: 14 * DAY, absolute: 30 * DAY, grace: Duration::ZERO }
    }

    /// How long a token that is not used lives, in whole seconds.
    #[must_use]
    pub fn idle_lifetime(self, lifetime: Duration) -> Self {
        Self { idle: lifetime, ..self }
    }

    /// When the user is asked again at the latest, in whole seconds.
    #[must_use]
    pub fn absolute_lifetime(self, lifetime: Duration) -> Self {
        Self { absolute: lifetime, ..self }
    }

    /// For ten seconds after a token was used, it is answered with the same successor again, as long as that was not used: for
    /// clients that lose an answer, or refresh in two places at once.
    ///
    /// What is lost: whoever stole a token and uses it within these seconds is not noticed then, but when one of the two uses
    /// the successor a second time.
    #[must_use]
    pub fn accept_reuse_for_ten_seconds(self) -> Self {
        Self { grace: Duration::from_secs(10), ..self }
    }

    /// What is wrong with the times.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        (self.idle.as_secs() == 0 || self.absolute < self.idle)
            .then_some("no idle lifetime, or more than the absolute one")
    }

    pub(crate) fn idle_end(&self, family: &Family, now: u64) -> u64 {
        family.expires_at.min(now.saturating_add(self.idle.as_secs()))
    }
}

impl Default for RefreshToken {
    fn default() -> Self {
        Self::new()
    }
}

impl Grant for RefreshToken {
    fn grant_type(&self) -> &'static str {
        "refresh_token"
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let (client, now) = (request.client(), request.seconds());
        let token = request.required("refresh_token")?;
        let hash = TokenHash::of(token);
        // First everything that can be wrong with the request, so that a mistake in it costs no token.
        let family = request.store().find_refresh(&hash, now).await?.ok_or_else(invalid)?;
        if family.client_id != client.id() || family.credential != client.credential_fingerprint() {
            return Err(invalid());
        }
        let scope = scope(&family, client, request.parameter("scope")?)?;
        let audience = audience(&family, client, &request.resources())?;

        let salt = random::<32>().map_err(TokenError::unavailable)?;
        let next = successor(token, &salt);
        let successor = Successor { hash: TokenHash::of(&next), salt, expires_at: self.idle_end(&family, now) };
        let grace = self.grace.as_secs();
        let rotated = request.store().rotate(&hash, client.id(), &successor, grace, now).await?;
        let (family, text) = match rotated {
            Rotated::First(family) => (family, next),
            Rotated::Again { family, salt } => (family, self::successor(token, &salt)),
            Rotated::Reused | Rotated::Unknown => return Err(invalid()),
        };
        Ok(Granted {
            subject: family.subject.clone(),
            scope,
            audience,
            family: Some(family),
            refresh: Refresh::Rotated(text),
        })
    }
}

/// The text of the token that follows `token`: made of 32 random bytes, and to be made again by whoever has the token and the
/// salt. The client has the first, the store the second.
fn successor(token: &str, salt: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(sha256([b"tower-oauth successor".as_slice(), salt, token.as_bytes()]))
}

const DAY: Duration = Duration::from_secs(86_400);
