//! A circuit breaker: requests don't wait for a server that is down.
//!
//! *In*: the results of calls. *Out*: a permit for the next call, or the time until the next permit.
//!
//! After several consecutive failures the breaker opens: it permits no call for a pause, which grows with each failure. Then
//! it permits one call, the probe. A success of the probe closes the breaker; a failure begins the next pause.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{clock::Clock, sync::lock};

#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<BreakerState>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct BreakerState {
    /// Consecutive failures.
    failures: u32,
    /// When the next probe is permitted, by [`Clock::elapsed`]. Each probe moves it by a pause, so that no second probe runs.
    next_probe: Duration,
}

/// Permission for one call. If the permit of a probe is dropped unused, because the client disconnected, the next caller
/// probes.
#[must_use]
pub(super) struct Permit<'b> {
    breaker: &'b Breaker,
    /// Consecutive failures before the call.
    failures: u32,
    /// The value of `next_probe`, if this is the probe.
    probe_until: Option<Duration>,
}

impl Breaker {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), clock }
    }

    /// Returns a permit, or the time to wait.
    pub(super) fn acquire(&self) -> Result<Permit<'_>, Duration> {
        let now = self.clock.elapsed();
        let mut state = lock(&self.state);
        let failures = state.failures;
        if failures < FAILURES {
            return Ok(Permit { breaker: self, failures, probe_until: None });
        }
        if now < state.next_probe {
            return Err(state.next_probe.saturating_sub(now));
        }
        // The probe. If it never ends, the next one is permitted after the pause.
        state.next_probe = now.saturating_add(state.pause());
        Ok(Permit { breaker: self, failures, probe_until: Some(state.next_probe) })
    }
}

impl Permit<'_> {
    pub(super) fn succeeded(mut self) {
        self.probe_until = None;
        lock(&self.breaker.state).failures = 0;
    }

    pub(super) fn failed(mut self) {
        self.probe_until = None;
        let now = self.breaker.clock.elapsed();
        let mut state = lock(&self.breaker.state);
        // Many calls may run when the breaker opens, and a probe may end after a later one. Their failures say nothing new.
        if state.failures >= FAILURES && self.failures != state.failures {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            state.next_probe = now.saturating_add(state.pause());
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Some(until) = self.probe_until else { return };
        let now = self.breaker.clock.elapsed();
        let mut state = lock(&self.breaker.state);
        // Unless another probe was permitted since.
        if state.next_probe == until {
            state.next_probe = now;
        }
    }
}

impl BreakerState {
    fn pause(&self) -> Duration {
        MAX_PAUSE.min(FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(FAILURES).min(10)))
    }
}

/// Consecutive failures before the breaker opens.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
