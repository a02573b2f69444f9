//! `refresh_token`: a client gets another token within a user's approval (RFC 6749 §6, RFC 9700 §4.14.2).
//!
//! *In*: a token request with a refresh token. *Out*: [`Granted`], with the successor of the refresh token.
//!
//! Each refresh token is used once and has one successor. If it is used again, two parties have it, so everything that was
//! issued from the approval is revoked.

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

/// The grant `refresh_token`, and the lifetimes of refresh tokens. A client that is registered for it gets a refresh token
/// when it redeems an authorization code, so the endpoint must also offer
/// [`AuthorizationCodeGrant`](super::AuthorizationCodeGrant).
///
/// ```
/// use std::time::Duration;
/// use tower_oauth::token_endpoint::RefreshTokenGrant;
///
/// let grant = RefreshTokenGrant::new()
///     .idle_lifetime(Duration::from_secs(7 * 86_400))
///     .absolute_lifetime(Duration::from_secs(30 * 86_400));
/// # let _ = grant;
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct RefreshTokenGrant {
    idle: Duration,
    pub(crate) absolute: Duration,
    reuse_window: Duration,
}

impl RefreshTokenGrant {
    /// Returns the grant with the default lifetimes.
    pub fn new() -> Self {
        Self { idle: 14 * DAY, absolute: 30 * DAY, reuse_window: Duration::ZERO }
    }

    /// Lifetime of a refresh token that is not used, in whole seconds. Default: 14 days.
    pub fn idle_lifetime(self, lifetime: Duration) -> Self {
        Self { idle: lifetime, ..self }
    }

    /// Maximum time from the user's approval to the last token, in whole seconds. After that, the user must approve again.
    /// Default: 30 days.
    pub fn absolute_lifetime(self, lifetime: Duration) -> Self {
        Self { absolute: lifetime, ..self }
    }

    /// Accepts a used refresh token again within ten seconds, and returns the same successor. After the successor was used, its
    /// predecessor is no longer accepted. This helps clients that lose a response, or that refresh concurrently.
    ///
    /// The cost: if an attacker uses a stolen refresh token within these seconds, it is detected only when the successor is
    /// used a second time.
    pub fn accept_reuse_for_ten_seconds(self) -> Self {
        Self { reuse_window: Duration::from_secs(10), ..self }
    }

    /// Returns the lifetimes, if they are a mistake.
    pub(crate) fn mistake(&self) -> Option<String> {
        let wrong = self.idle.as_secs() == 0 || self.absolute < self.idle;
        wrong.then(|| format!("idle lifetime {:?}, absolute lifetime {:?}", self.idle, self.absolute))
    }

    /// Returns when a refresh token expires that is issued now.
    pub(crate) fn idle_end(&self, family: &Family, now: u64) -> u64 {
        family.expires_at.min(now.saturating_add(self.idle.as_secs()))
    }
}

impl Default for RefreshTokenGrant {
    fn default() -> Self {
        Self::new()
    }
}

impl Grant for RefreshTokenGrant {
    fn grant_type(&self) -> &'static str {
        "refresh_token"
    }

    fn refresh_token_settings(&self) -> Option<&RefreshTokenGrant> {
        Some(self)
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let (client, now) = (request.client(), request.seconds());
        let token = request.required("refresh_token")?;
        let hash = TokenHash::of(token);
        // Check everything else before the token is consumed, so that a mistake in the request costs no token.
        let family = request.store().find_refresh(&hash, now).await?.ok_or_else(invalid)?;
        if family.client_id != client.id() || family.credential != client.credential_generation().to_string() {
            return Err(invalid());
        }
        let scope = scope(&family, client, request.parameter("scope")?)?;
        let audience = audience(&family, client, &request.resources())?;

        let salt = random::<32>().map_err(TokenError::unavailable)?;
        let next = derive_successor(token, &salt);
        let successor = Successor { hash: TokenHash::of(&next), salt, expires_at: self.idle_end(&family, now) };
        let grace = self.reuse_window.as_secs();
        let rotated = request.store().rotate(&hash, client.id(), &successor, grace, now).await?;
        let (family, text) = match rotated {
            Rotated::First(family) => (family, next),
            Rotated::Again { family, salt } => (family, derive_successor(token, &salt)),
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

/// Derives the text of a refresh token's successor from `token` and 32 random bytes. The text can be derived again, from the
/// token, which only the client has, and the salt, which the store has.
fn derive_successor(token: &str, salt: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(sha256([b"tower-oauth successor".as_slice(), salt, token.as_bytes()]))
}

const DAY: Duration = Duration::from_secs(86_400);
