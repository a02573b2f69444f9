//! Which failures of an outage are logged.
//!
//! *In*: failures and successes of the same kind. *Out*: the lines to log: one at the beginning, one every few seconds, and one
//! at the end.

use std::{
    mem,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{clock::Moment, sync::lock};

/// Decides which failures of an outage are logged: the first one, then one every few seconds with their number, and the end.
#[derive(Debug)]
pub(crate) struct Outage {
    failing: AtomicBool,
    state: Mutex<OutageState>,
    /// Minimum time between two lines.
    interval: Duration,
}

impl Default for Outage {
    fn default() -> Self {
        Self::with_interval(LINE_INTERVAL)
    }
}

#[derive(Debug, Default)]
struct OutageState {
    /// True if a line was logged since the last success.
    reported: bool,
    last_line: Option<Moment>,
    /// Number of failures since the last line.
    failures: u64,
}

/// A line to log about an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutageLine {
    /// Number of failures since the last line.
    Failing {
        failures: u64,
    },
    Ended,
}

impl Outage {
    /// Returns an outage with another minimum time between two lines.
    pub(crate) fn with_interval(interval: Duration) -> Self {
        Self { failing: AtomicBool::new(false), state: Mutex::default(), interval }
    }

    /// True if the last result was a failure. Then a success must be recorded.
    #[cfg(feature = "redis-replay")]
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Records a failure.
    pub(crate) fn failed(&self, now: &Moment) -> Option<OutageLine> {
        let mut state = lock(&self.state);
        self.failing.store(true, Ordering::Relaxed);
        state.failures = state.failures.saturating_add(1);
        if state.last_line.is_some_and(|last| last.age(now) < self.interval) {
            return None;
        }
        state.last_line = Some(*now);
        state.reported = true;
        Some(OutageLine::Failing { failures: mem::take(&mut state.failures) })
    }

    /// Records a success.
    pub(crate) fn succeeded(&self, now: &Moment) -> Option<OutageLine> {
        // Most successes need no lock.
        if !self.failing.load(Ordering::Relaxed) {
            return None;
        }
        let mut state = lock(&self.state);
        self.failing.store(false, Ordering::Relaxed);
        state.failures = 0;
        // An end is logged only if the outage was. So a client that causes short outages causes few lines.
        let reported = mem::take(&mut state.reported);
        if reported {
            state.last_line = Some(*now);
        }
        reported.then_some(OutageLine::Ended)
    }
}

/// Default of the minimum time between two lines about failures of the same kind.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
