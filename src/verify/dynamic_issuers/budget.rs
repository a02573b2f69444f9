//! A budget for the verifiers of newcomers, because each of them may fetch keys.
//!
//! *In*: a new verifier. *Out*: whether it may be made now, or in how long.

use std::time::Duration;

use crate::clock::Moment;

/// Refills by one unit each `interval`, up to `at_once` units.
pub(super) struct NewcomerBudget {
    interval: Duration,
    /// The time in which an empty budget becomes full.
    full: Duration,
    /// The time in which the budget becomes full again, at the moment of `updated`.
    missing: Duration,
    updated: Option<Moment>,
}

impl NewcomerBudget {
    /// Returns a full budget.
    pub(super) fn new(at_once: u32, interval: Duration) -> Self {
        Self { interval, full: interval.saturating_mul(at_once), missing: Duration::ZERO, updated: None }
    }

    /// Spends one unit, or returns the time after which there is one.
    pub(super) fn spend(&mut self, now: Moment) -> Result<(), Duration> {
        let refilled = self.updated.map_or(Duration::ZERO, |updated| updated.age(&now));
        self.missing = self.missing.saturating_sub(refilled);
        self.updated = Some(now);
        let missing = self.missing.saturating_add(self.interval);
        if missing > self.full {
            return Err(missing.saturating_sub(self.full));
        }
        self.missing = missing;
        Ok(())
    }
}
