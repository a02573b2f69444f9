//! `refresh_token`: a client gets another token within a user's approval (RFC 6749 §6, RFC 9700 §4.14.2).
//!
//! *In*: a token request with a refresh token. *Out*: [`Granted`], with the successor of the refresh token.
//!
//! The refresh tokens of public clients rotate: each is used once and has one successor. If an older one is used again, two
//! parties have it, so the session ends.

use std::time::Duration;

use super::{
    Grant, Granted, PlannedRefresh, PlannedWrite, TokenRequest,
    authorization_code::{audience, invalid, scope, unreadable},
};
use crate::token_endpoint::{
    client::Client,
    events::EventKind,
    http::error::TokenError,
    record::{self, SessionRecord},
    store::{FindSession, Presented, Timestamp},
};

/// The grant `refresh_token`, and the lifetimes of refresh tokens. A client that is registered for it gets a refresh token
/// when it redeems an authorization code, so the endpoint must also offer
/// [`AuthorizationCodeGrant`](super::AuthorizationCodeGrant), or a grant of the application that
/// [issues refresh tokens](Grant::issues_refresh_tokens).
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
    grace: Duration,
    rotation: Rotation,
}

/// For which clients refresh tokens are replaced when they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotation {
    PublicClients,
    AllClients,
}

impl RefreshTokenGrant {
    /// Returns the grant with the default lifetimes.
    pub fn new() -> Self {
        Self { idle: 14 * DAY, absolute: 30 * DAY, grace: Duration::from_secs(60), rotation: Rotation::PublicClients }
    }

    /// Lifetime of a refresh token that is not used, in whole seconds. Default: 14 days.
    pub fn idle_lifetime(self, lifetime: Duration) -> Self {
        Self { idle: lifetime, ..self }
    }

    /// Maximum time from the user's approval, and the minute in which its code can be used, to the last token, in whole seconds. After that, the user must approve again.
    /// Default: 30 days.
    pub fn absolute_lifetime(self, lifetime: Duration) -> Self {
        Self { absolute: lifetime, ..self }
    }

    /// Time in which the last refresh token gets the same successor again, as long as the successor was not used, in whole seconds.
    /// This helps clients that lose a response, or that refresh concurrently. Default: 60 seconds. Zero turns it off.
    ///
    /// The cost: if an attacker uses a stolen refresh token within this time, that is detected only when the successor is used
    /// a second time.
    pub fn grace_period(self, time: Duration) -> Self {
        Self { grace: time, ..self }
    }

    /// Replaces the refresh tokens of all clients when they are used. Default: only those of public clients, which must be
    /// replaced (RFC 9700 §2.2.2).
    ///
    /// The cost: a client that loses a response later than the [grace period](Self::grace_period) loses its session. A client that
    /// authenticates needs no rotation, because a stolen refresh token is of no use without its credential. FAPI 2.0 §5.3.2.1
    /// forbids it.
    pub fn rotate_for_all_clients(self) -> Self {
        Self { rotation: Rotation::AllClients, ..self }
    }

    /// Returns the lifetimes, if they are a mistake.
    pub(crate) fn mistake(&self) -> Option<String> {
        let wrong = self.idle.as_secs() == 0 || self.absolute < self.idle;
        wrong.then(|| format!("idle lifetime {:?}, absolute lifetime {:?}", self.idle, self.absolute))
    }

    /// Returns when a refresh token expires that is issued or used now.
    pub(crate) fn idle_end(&self, session_end: Timestamp, now: Timestamp) -> Timestamp {
        session_end.min(now.saturating_add(self.idle))
    }

    pub(crate) fn grace_seconds(&self) -> u64 {
        self.grace.as_secs()
    }

    /// True if the refresh tokens of this client are replaced when they are used.
    pub(crate) fn rotates(&self, client: &Client) -> bool {
        client.is_public() || self.rotation == Rotation::AllClients
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
        let (client, services) = (request.client(), request.services());
        let text = request.required("refresh_token")?;
        let presented = services.texts.read_refresh(text).ok_or_else(|| invalid("this is not a refresh token"))?;
        // Before the session is looked up, so that a sender without the key neither uses the token up nor ends the session.
        let binding = request.proof.next_binding(presented.binding, client)?;
        let find = FindSession { session: presented.session, presented: presented.hash, now: services.timestamp() };
        let unknown = || invalid("the session is unknown, has expired or has ended");
        let found = services.store.find_session(&find).await?.ok_or_else(unknown)?;
        let record: SessionRecord = record::read(&found.record).ok_or_else(unreadable)?;
        // Another client can't end the session.
        if !record.owner.belongs_to(client) {
            return Err(invalid("the refresh token was issued to another client, or before its secret leaked"));
        }
        if found.presented == Presented::Other {
            return Err(request.end_replayed(EventKind::ReuseDetected, &record, presented.session).await);
        }
        // A mistake in the rest of the request must not cost the client its token.
        let scope = scope(&record.scope, client, request.parameter("scope")?)?;
        let audience = audience(&record.audiences, client, &request.resources())?;
        Ok(Granted {
            subject: record.owner.subject.clone(),
            scope,
            audience,
            resources: Vec::new(),
            write: PlannedWrite::Refresh(Box::new(PlannedRefresh {
                presented,
                text: text.to_owned(),
                record,
                expires_at: found.expires_at,
                binding,
            })),
            content: None,
        })
    }
}

const DAY: Duration = Duration::from_secs(86_400);
