//! Who may start an attempt, and when: rules 3 and 4.

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

/// How many unknown `kid`s are remembered.
const MAX_UNKNOWN_KIDS: usize = 256;
pub(super) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// What is known of the attempts. Held for moments only, never over I/O, and not by readers of a known key.
#[derive(Default)]
pub(super) struct RefreshGate {
    /// The attempt under way, and since when.
    running: Option<(AttemptId, Duration)>,
    issued: u64,
    last_attempt: Option<Duration>,
    /// The last attempt that an unknown `kid` caused.
    last_forced: Option<Duration>,
    failures: u32,
    last_error: Option<FetchError>,
    /// Unknown `kid`s, hashed, and when a fresh set lacked them.
    unknown_kids: VecDeque<(u64, Duration)>,
}

/// The right to make one attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct AttemptId(u64);

/// Why somebody wants the set.
#[derive(Clone, Copy)]
pub(super) enum RefreshReason<'k> {
    /// There is none, or it is due.
    Renewal,
    /// A token names a key that isn't in it.
    UnknownKid(&'k str),
}

impl RefreshGate {
    /// A attempt for an attempt, or nothing where one is under way; an error if there is nothing to wait for either.
    pub(super) fn admit(
        &mut self,
        reason: RefreshReason<'_>,
        now: Duration,
        policy: &RefreshPolicy,
    ) -> Result<Option<AttemptId>, AuthError> {
        if let RefreshReason::UnknownKid(key_id) = reason
            && self.is_known_unknown(key_id, now, policy)
        {
            return Err(Reason::UnknownKey.into());
        }
        // A runtime that nobody drives any more may have taken an attempt with it.
        let refresh_timeout = policy.deadline.saturating_add(FIRST_BACK_OFF);
        match self.running {
            Some((_, since)) if now.saturating_sub(since) <= refresh_timeout => return Ok(None),
            Some((lost, _)) => _ = self.end(lost, Err(FetchError::new("the attempt was given up"))),
            None => {}
        }
        let forced = matches!(reason, RefreshReason::UnknownKid(_));
        // A renewal doesn't start the cool-down: the issuer may have changed its keys right after it.
        let cooled_down =
            self.last_forced.filter(|_| forced).map(|last| last.saturating_add(policy.unknown_kid_cooldown));
        let next = self.next_attempt().max(cooled_down).unwrap_or(now);
        if now < next {
            // With a set that was fetched just now the key is unknown; without, we can't tell.
            let fresh = self.failures == 0 && forced;
            return Err(if fresh { Reason::UnknownKey.into() } else { self.unavailable_until(next, now) });
        }
        // Claimed before the fetch, so that a failure counts too.
        let attempt = AttemptId(self.issued);
        self.issued = self.issued.wrapping_add(1);
        self.running = Some((attempt, now));
        self.last_attempt = Some(now);
        if forced {
            self.last_forced = Some(now);
        }
        Ok(Some(attempt))
    }

    /// Whether this is the attempt that counts, and not one that was given up long ago.
    pub(super) fn is_running(&self, attempt: AttemptId) -> bool {
        self.running.is_some_and(|(running, _)| running == attempt)
    }

    /// The attempt with this attempt is over, however it ended. Says whether it counted.
    pub(super) fn end(&mut self, attempt: AttemptId, result: Result<(), FetchError>) -> bool {
        if !self.is_running(attempt) {
            return false;
        }
        self.running = None;
        match result {
            Ok(()) => (self.failures, self.last_error) = (0, None),
            Err(error) => (self.failures, self.last_error) = (self.failures.saturating_add(1), Some(error)),
        }
        true
    }

    /// Whether the last attempt that ended was a failure.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// When the next attempt may be made, if there has been one.
    pub(super) fn next_attempt(&self) -> Option<Duration> {
        Some(self.last_attempt?.saturating_add(self.back_off()))
    }

    /// What to answer as long as nobody can judge.
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

    /// For one cool-down, and not longer: the issuer may publish this very key.
    fn is_known_unknown(&mut self, key_id: &str, now: Duration, policy: &RefreshPolicy) -> bool {
        self.unknown_kids.retain(|(_, since)| now.saturating_sub(*since) < policy.unknown_kid_cooldown);
        let hash = hash(key_id);
        self.unknown_kids.iter().any(|(unknown_kid, _)| *unknown_kid == hash)
    }

    pub(super) fn record_unknown_kid(&mut self, key_id: &str, now: Duration) {
        if self.unknown_kids.len() >= MAX_UNKNOWN_KIDS {
            self.unknown_kids.pop_front();
        }
        self.unknown_kids.push_back((hash(key_id), now));
    }
}

/// Random per process: a unknown_kid can't choose two `kid`s that look alike.
fn hash(key_id: &str) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(key_id)
}
