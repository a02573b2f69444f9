//! A circuit breaker: a server that is down is not waited for by every request.
//!
//! After a few failures in a row nobody is asked for a while, longer each time. Then one question goes out as a probe; its
//! answer opens the way for all, or ends it for another while.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Clock;

/// So many failures in a row.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<BreakerState>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct BreakerState {
    /// In a row.
    failures: u32,
    /// Until when nobody is asked, by [`Clock::elapsed`]. A probe moves it on by a pause, so that it stays the only one.
    closed_until: Duration,
}

/// Somebody may be asked. Dropped without a word, because the client went away, it leaves the next one to probe.
#[must_use]
pub(super) struct Permit<'b> {
    breaker: &'b Breaker,
    /// So many had failed in a row when it was given.
    failures: u32,
    /// Until when the others wait for this one, if it is the probe.
    probe_until: Option<Duration>,
}

impl Breaker {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), clock }
    }

    /// Whether somebody may be asked now; otherwise, how long to wait.
    pub(super) fn acquire(&self) -> Result<Permit<'_>, Duration> {
        let now = self.clock.elapsed();
        let mut state = self.lock();
        let failures = state.failures;
        if failures < FAILURES {
            return Ok(Permit { breaker: self, failures, probe_until: None });
        }
        if now < state.closed_until {
            return Err(state.closed_until.saturating_sub(now));
        }
        // The probe. Should it never end, the next one goes out after the pause.
        state.closed_until = now.saturating_add(state.pause());
        Ok(Permit { breaker: self, failures, probe_until: Some(state.closed_until) })
    }

    fn lock(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    pub(super) fn succeeded(mut self) {
        self.probe_until = None;
        self.breaker.lock().failures = 0;
    }

    pub(super) fn failed(mut self) {
        self.probe_until = None;
        let now = self.breaker.clock.elapsed();
        let mut state = self.breaker.lock();
        // Of many that were asked at once, those beyond the fifth tell nothing new; nor does a probe that another outran.
        if state.failures >= FAILURES && self.failures != state.failures {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            state.closed_until = now.saturating_add(state.pause());
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Some(until) = self.probe_until else { return };
        let now = self.breaker.clock.elapsed();
        let mut state = self.breaker.lock();
        // Unless another probe has gone out since.
        if state.closed_until == until {
            state.closed_until = now;
        }
    }
}

impl BreakerState {
    fn pause(&self) -> Duration {
        MAX_PAUSE.min(FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(FAILURES).min(10)))
    }
}
