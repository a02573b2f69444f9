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
    clock::Moment,
    error::{AuthError, Reason},
    fetch::FetchError,
};

/// The state of the attempts. Its lock is never held during I/O, and a request with a known key doesn't need it.
#[derive(Default)]
pub(super) struct RefreshGate {
    running: Option<RunningAttempt>,
    next_id: u64,
    /// When the last attempt started.
    last_attempt: Option<Moment>,
    /// When the last attempt for an unknown `kid` started, unless it found a changed set.
    last_for_unknown_kid: Option<Moment>,
    /// When the last attempt for a mismatch started, unless it found a changed set.
    last_for_mismatch: Option<Moment>,
    /// When the last attempt for a token that found a changed set started.
    last_change: Option<Moment>,
    /// Consecutive failures.
    failures: u32,
    last_error: Option<FetchError>,
    /// When the last attempt failed, and the `Retry-After` of its response.
    retry_after: Option<(Moment, Duration)>,
    /// Hashes of `kid`s that were looked for in a new set, and when its fetch started.
    unknown_kids: VecDeque<(u64, Moment)>,
}

/// Identifies an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct AttemptId(u64);

struct RunningAttempt {
    id: AttemptId,
    started: Moment,
    reason: RefreshReason,
    /// The hash of the `kid` that it looks for.
    key_id: Option<u64>,
}

/// The reason to fetch the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefreshReason {
    /// There is no set, or it is stale or soon will be.
    Stale,
    /// A token has a `kid` that isn't in the set.
    UnknownKid,
    /// No key of the set fits the signature of a token that has no `kid`, or one that is in the set.
    Mismatch,
}

/// Whether an attempt found other keys than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyChange {
    Changed,
    Unchanged,
}

impl RefreshGate {
    /// Returns the id of a new attempt, or `None` if one is running.
    ///
    /// # Errors
    /// A recent set lacked the `kid`; or no attempt is running, and none may start now.
    pub(super) fn request_attempt(
        &mut self,
        reason: RefreshReason,
        key_id: Option<&str>,
        now: Moment,
        policy: &RefreshPolicy,
    ) -> Result<Option<AttemptId>, AuthError> {
        let key_id = key_id.map(hash);
        if reason == RefreshReason::UnknownKid && key_id.is_some_and(|key_id| self.was_unknown(key_id, &now, policy)) {
            return Err(Reason::UnknownKey.into());
        }
        // The attempt's runtime may have stopped. Abandon it after the deadline.
        let max_duration = policy.deadline.saturating_add(FIRST_BACK_OFF);
        match &self.running {
            Some(running) if running.started.age(&now) <= max_duration => return Ok(None),
            Some(RunningAttempt { id, .. }) => self.end(*id, Err(FetchError::new("the attempt was abandoned")), now),
            None => {}
        }
        let pause = self.pause(reason, &now, policy);
        if !pause.is_zero() {
            // Nothing is known about a `kid` that was not looked for in a newer set.
            return Err(self.unavailable_for(pause));
        }
        // Recorded before the fetch, so that a failed attempt counts too.
        let id = AttemptId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.running = Some(RunningAttempt { id, started: now, reason, key_id });
        self.last_attempt = Some(now);
        if let Some(last) = self.last_for(reason) {
            *last = Some(now);
        }
        Ok(Some(id))
    }

    /// Returns when this attempt started, or `None` for an abandoned attempt.
    pub(super) fn started(&self, id: AttemptId) -> Option<Moment> {
        self.running.as_ref().filter(|running| running.id == id).map(|running| running.started)
    }

    /// Records the result of an attempt. That of an abandoned attempt doesn't count.
    pub(super) fn end(&mut self, id: AttemptId, result: Result<KeyChange, FetchError>, now: Moment) {
        let Some(attempt) = self.running.take_if(|running| running.id == id) else { return };
        match result {
            Ok(change) => {
                (self.failures, self.last_error, self.retry_after) = (0, None, None);
                if let Some(key_id) = attempt.key_id {
                    self.record_unknown_kid(key_id, attempt.started);
                }
                // A client can't make a set change, so the next rotation doesn't have to wait for the end of the cooldown.
                if change == KeyChange::Changed
                    && let Some(last) = self.last_for(attempt.reason)
                {
                    *last = None;
                    self.last_change = Some(attempt.started);
                }
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.retry_after = error.retry_after().map(|pause| (now, pause));
                self.last_error = Some(error);
            }
        }
    }

    /// True if the last completed attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Returns the time until the next attempt may start, without the cooldowns.
    pub(super) fn back_off(&self, now: &Moment) -> Duration {
        let back_off = match self.failures {
            0 => Duration::ZERO,
            failures => MAX_BACK_OFF.min(FIRST_BACK_OFF.saturating_mul(1 << (failures - 1).min(10))),
        };
        let asked = self.retry_after.map_or(Duration::ZERO, |(since, pause)| remaining(Some(since), pause, now));
        remaining(self.last_attempt, back_off, now).max(asked)
    }

    /// Returns the error for a token that can't be verified now.
    pub(super) fn unavailable(&self, now: &Moment) -> AuthError {
        self.unavailable_for(self.back_off(now))
    }

    /// Returns the error for a token whose `kid` is not in the set after an attempt.
    pub(super) fn error_for_unknown_kid(&mut self, key_id: &str, now: &Moment, policy: &RefreshPolicy) -> AuthError {
        if self.was_unknown(hash(key_id), now, policy) {
            return Reason::UnknownKey.into();
        }
        // The attempt began for another token, perhaps before the key was published.
        self.unavailable_for(self.pause(RefreshReason::UnknownKid, now, policy))
    }

    fn unavailable_for(&self, pause: Duration) -> AuthError {
        let error = AuthError::unavailable(pause.max(FIRST_BACK_OFF));
        match &self.last_error {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }

    /// Returns the time until an attempt for this reason may start.
    fn pause(&self, reason: RefreshReason, now: &Moment, policy: &RefreshPolicy) -> Duration {
        let last = match reason {
            // The refresh of a stale set has no cooldown, and starts none: the issuer may change its keys right after it.
            RefreshReason::Stale => return self.back_off(now),
            RefreshReason::UnknownKid => self.last_for_unknown_kid,
            RefreshReason::Mismatch => self.last_for_mismatch,
        };
        let cooldown = remaining(last, policy.unknown_kid_cooldown, now);
        let after_change = remaining(self.last_change, FIRST_BACK_OFF, now);
        self.back_off(now).max(cooldown).max(after_change)
    }

    /// Returns where the last attempt for a token is recorded, by its reason.
    fn last_for(&mut self, reason: RefreshReason) -> Option<&mut Option<Moment>> {
        match reason {
            RefreshReason::Stale => None,
            RefreshReason::UnknownKid => Some(&mut self.last_for_unknown_kid),
            RefreshReason::Mismatch => Some(&mut self.last_for_mismatch),
        }
    }

    /// True if this `kid` was looked for in a new set. For one cooldown only, because the issuer may publish the key later.
    fn was_unknown(&mut self, key_id: u64, now: &Moment, policy: &RefreshPolicy) -> bool {
        self.unknown_kids.retain(|(_, since)| since.age(now) < policy.unknown_kid_cooldown);
        self.unknown_kids.iter().any(|(unknown, _)| *unknown == key_id)
    }

    /// Records a `kid` whose search has ended. If the new set has it, the record has no effect, because no token with a known
    /// `kid` reads it.
    fn record_unknown_kid(&mut self, key_id: u64, started: Moment) {
        if self.unknown_kids.len() >= MAX_UNKNOWN_KIDS {
            self.unknown_kids.pop_front();
        }
        self.unknown_kids.push_back((key_id, started));
    }
}

/// Returns the rest of a pause that began at `since`.
fn remaining(since: Option<Moment>, pause: Duration, now: &Moment) -> Duration {
    since.map_or(Duration::ZERO, |since| pause.saturating_sub(since.age(now)))
}

/// Hashes with a random key of the process, so that an attacker can't choose two `kid`s with the same hash.
fn hash(key_id: &str) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(key_id)
}

/// Maximum number of unknown `kid`s that are stored.
const MAX_UNKNOWN_KIDS: usize = 256;
/// The first pause after a failure, and the minimum interval between two attempts for tokens after a changed set.
pub(super) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);
