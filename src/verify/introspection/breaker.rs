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
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Until when nobody is asked, by [`Clock::elapsed`]. A probe moves it on by a pause, so that it stays the only one.
    closed_until: Duration,
}

/// Somebody may be asked.
#[must_use]
pub(super) struct Permit {
    /// So many had failed in a row when it was given.
    failures: u32,
}

impl Breaker {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), clock }
    }

    /// Whether somebody may be asked now; otherwise, how long to wait.
    pub(super) fn admit(&self) -> Result<Permit, Duration> {
        let now = self.clock.elapsed();
        let mut state = self.lock();
        let permit = Permit { failures: state.failures };
        if state.failures < FAILURES {
            return Ok(permit);
        }
        if now < state.closed_until {
            return Err(state.closed_until.saturating_sub(now));
        }
        // The probe. Should it never end, the next one goes out after the pause.
        state.closed_until = now.saturating_add(state.pause());
        Ok(permit)
    }

    pub(super) fn succeeded(&self) {
        self.lock().failures = 0;
    }

    pub(super) fn failed(&self, permit: &Permit) {
        let now = self.clock.elapsed();
        let mut state = self.lock();
        // Of many that were asked at once, those beyond the fifth tell nothing new; nor does a probe that another outran.
        if state.failures >= FAILURES && permit.failures != state.failures {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            state.closed_until = now.saturating_add(state.pause());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&self) -> Duration {
        MAX_PAUSE.min(FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(FAILURES).min(10)))
    }
}
