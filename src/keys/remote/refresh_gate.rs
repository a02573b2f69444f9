//! Decides when an attempt may start: one at a time, not during a cooldown, and not too soon after a failure.
//!
//! *In*: the reason for a refresh. *Out*: the id of a new attempt, or that one is running, or the error for the token.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
    time::Duration,
};

use super::RefreshPolicy;
use crate::{
    error::{AuthError, Reason},
    fetch::FetchError,
};

/// The state of the attempts. Its lock is never held during I/O, and a request with a known key doesn't need it.
#[derive(Default)]
pub(super) struct RefreshGate {
    /// The running attempt, and when it started.
    running: Option<(AttemptId, Duration)>,
    next_id: u64,
    /// When the last attempt started, by `Clock::elapsed`, as all times here.
    last_attempt: Option<Duration>,
    /// When the last attempt for an unknown `kid` started.
    last_for_unknown_kid: Option<Duration>,
    /// Consecutive failures.
    failures: u32,
    last_error: Option<FetchError>,
    /// Hashes of unknown `kid`s, and when a fresh set lacked them.
    unknown_kids: VecDeque<(u64, Duration)>,
}

/// Identifies an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct AttemptId(u64);

/// The reason to fetch the set.
#[derive(Clone, Copy)]
pub(super) enum RefreshReason<'k> {
    /// There is no set, or it is stale or soon will be.
    Stale,
    /// A token has a `kid` that isn't in the set.
    UnknownKid(&'k str),
}

impl RefreshGate {
    /// Returns the id of a new attempt, or `None` if one is running.
    ///
    /// # Errors
    /// A recent set lacked the `kid`; or no attempt is running, and none may start now.
    pub(super) fn request_attempt(
        &mut self,
        reason: RefreshReason<'_>,
        now: Duration,
        policy: &RefreshPolicy,
    ) -> Result<Option<AttemptId>, AuthError> {
        if let RefreshReason::UnknownKid(key_id) = reason
            && self.was_unknown(key_id, now, policy)
        {
            return Err(Reason::UnknownKey.into());
        }
        // The attempt's runtime may have stopped. Abandon it after the deadline.
        let max_duration = policy.deadline.saturating_add(FIRST_BACK_OFF);
        match self.running {
            Some((_, started)) if now.saturating_sub(started) <= max_duration => return Ok(None),
            Some((abandoned, _)) => self.end(abandoned, Err(FetchError::new("the attempt was abandoned"))),
            None => {}
        }
        let for_unknown_kid = matches!(reason, RefreshReason::UnknownKid(_));
        // The refresh of a stale set doesn't start the cooldown: the issuer may have changed its keys right after it.
        let cooldown_end = self
            .last_for_unknown_kid
            .filter(|_| for_unknown_kid)
            .map(|last| last.saturating_add(policy.unknown_kid_cooldown));
        let next = self.next_attempt().max(cooldown_end).unwrap_or(now);
        if now < next {
            // The key is unknown if the last attempt succeeded. After a failure, nothing is known about it.
            let unknown = self.failures == 0 && for_unknown_kid;
            return Err(if unknown { Reason::UnknownKey.into() } else { self.unavailable_until(next, now) });
        }
        // Recorded before the fetch, so that a failed attempt counts too.
        let id = AttemptId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.running = Some((id, now));
        self.last_attempt = Some(now);
        if for_unknown_kid {
            self.last_for_unknown_kid = Some(now);
        }
        Ok(Some(id))
    }

    /// False for an abandoned attempt.
    pub(super) fn is_running(&self, id: AttemptId) -> bool {
        self.running.is_some_and(|(running, _)| running == id)
    }

    /// Records the result of an attempt. That of an abandoned attempt doesn't count.
    pub(super) fn end(&mut self, id: AttemptId, result: Result<(), FetchError>) {
        if !self.is_running(id) {
            return;
        }
        self.running = None;
        match result {
            Ok(()) => (self.failures, self.last_error) = (0, None),
            Err(error) => (self.failures, self.last_error) = (self.failures.saturating_add(1), Some(error)),
        }
    }

    /// True if the last completed attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Returns when the next attempt may start, if there has been one.
    pub(super) fn next_attempt(&self) -> Option<Duration> {
        Some(self.last_attempt?.saturating_add(self.back_off()))
    }

    /// Returns the error for a token that can't be verified now.
    pub(super) fn unavailable(&self, now: Duration) -> AuthError {
        self.unavailable_until(self.next_attempt().unwrap_or(now), now)
    }

    fn unavailable_until(&self, next: Duration, now: Duration) -> AuthError {
        let error = AuthError::unavailable(next.saturating_sub(now).max(FIRST_BACK_OFF));
        match &self.last_error {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }

    fn back_off(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => MAX_BACK_OFF.min(FIRST_BACK_OFF.saturating_mul(1 << (failures - 1).min(10))),
        }
    }

    /// True if a fresh set lacked this `kid`. For one cooldown only, because the issuer may publish the key later.
    fn was_unknown(&mut self, key_id: &str, now: Duration, policy: &RefreshPolicy) -> bool {
        self.unknown_kids.retain(|(_, since)| now.saturating_sub(*since) < policy.unknown_kid_cooldown);
        let hash = hash(key_id);
        self.unknown_kids.iter().any(|(unknown, _)| *unknown == hash)
    }

    pub(super) fn record_unknown_kid(&mut self, key_id: &str, now: Duration) {
        if self.unknown_kids.len() >= MAX_UNKNOWN_KIDS {
            self.unknown_kids.pop_front();
        }
        self.unknown_kids.push_back((hash(key_id), now));
    }
}

/// Hashes with a random key of the process, so that an attacker can't choose two `kid`s with the same hash.
fn hash(key_id: &str) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(key_id)
}

/// Maximum number of unknown `kid`s that are stored.
const MAX_UNKNOWN_KIDS: usize = 256;
pub(super) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);
