//! Checks of audience and times, for JWTs and introspection responses.
//!
//! *In*: the facts of a token. *Out*: nothing, or why the token is refused.

use std::{sync::Arc, time::Duration};

use crate::{
    claims::{Facts, NumericDate},
    clock::{Clock, SystemClock},
    config_error::MistakeCollector,
    error::{AuthError, Reason},
};

/// The expected audience, and the tolerance for clocks.
#[derive(Debug)]
pub(super) struct Expected {
    /// The identifiers of this API.
    pub(super) audience: Vec<String>,
    /// Tolerance for the difference between our clock and the issuer's.
    pub(super) leeway: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl Expected {
    pub(super) fn new(audience: String) -> Self {
        Self { audience: vec![audience], leeway: Duration::from_secs(30), clock: Arc::new(SystemClock::new()) }
    }

    /// Checks the configuration.
    pub(super) fn check(&self, mistakes: &mut MistakeCollector) {
        for audience in &self.audience {
            if audience.trim().is_empty() {
                mistakes.add("audience", "it is empty", "give this API's identifier, as in the tokens' aud");
            }
        }
        if self.leeway > MAX_LEEWAY {
            let found = format!("{} s", self.leeway.as_secs());
            mistakes.add("leeway", found, "give at most 300 s (RFC 9068 §4: no more than a few minutes)");
        }
    }

    /// Checks that the token's audience includes this API (RFC 7519 §4.1.3).
    pub(super) fn check_audience<'f>(&self, audience: impl Iterator<Item = &'f str>) -> Result<(), AuthError> {
        let mut audience = audience.peekable();
        if audience.peek().is_none() {
            return Err(Reason::MissingClaim("aud").into());
        }
        if !audience.any(|named| self.audience.iter().any(|ours| ours == named)) {
            return Err(Reason::WrongAudience.into());
        }
        Ok(())
    }

    /// Checks those of `exp`, `nbf` and `iat` that are present (RFC 7519 §4.1.4, §4.1.5, §4.1.6).
    pub(super) fn check_times(&self, facts: &Facts) -> Result<(), AuthError> {
        let NumericDate(now) = NumericDate::of(self.clock.now());
        let leeway = self.leeway.as_secs_f64();
        if facts.expires_at.is_some_and(|expires| expires > LAST_DATE) {
            return Err(Reason::MalformedClaims.into());
        }
        if facts.expires_at.is_some_and(|expires| now >= expires.0 + leeway) {
            return Err(Reason::Expired.into());
        }
        if facts.not_before.is_some_and(|from| now < from.0 - leeway) {
            return Err(Reason::NotYetValid.into());
        }
        match facts.issued_at {
            Some(NumericDate(issued)) if issued < 0.0 => Err(Reason::MalformedClaims.into()),
            Some(NumericDate(issued)) if issued > now + leeway => Err(Reason::IssuedInTheFuture.into()),
            _ => Ok(()),
        }
    }
}

/// The last second of the year 9999. A later date is malformed.
const LAST_DATE: NumericDate = NumericDate(253_402_300_799.0);
const MAX_LEEWAY: Duration = Duration::from_secs(300);
