//! Limits how often a client's secret can be guessed (RFC 6749 §2.3.1).
//!
//! *In*: failed authentications. *Out*: whether the failure is within the budget, or the time to wait.
//!
//! Failures are counted for each client id and [`Peer`], in this process. A right secret is not counted and not refused, unless
//! the application asks for it. Otherwise an attacker who knows a client's id, which is no secret, could lock the client out.
//! Clients that sign assertions are not throttled, because there is nothing to guess.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Mutex,
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{peer::Peer, secret::ClientSecret};
use crate::{clock::Clock, sync::lock};

/// The budgets of all pairs of client id and peer.
pub(crate) struct Throttle {
    /// The time after which one failure no longer counts.
    cost: Duration,
    /// The cost of all failures that are allowed at once.
    budget: Duration,
    right_secrets: RightSecrets,
    table: FailureTable,
    delayed: Semaphore,
}

/// What happens to right secrets while the budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RightSecrets {
    Pass,
    /// They are refused, except generated ones.
    Throttle,
}

impl Throttle {
    /// Allows at most `failures` in any `window`.
    pub(crate) fn new(failures: u32, window: Duration, right_secrets: RightSecrets) -> Self {
        let cost = window / failures.max(1);
        Self {
            cost,
            budget: cost * failures.max(1),
            right_secrets,
            table: FailureTable::new(),
            delayed: Semaphore::new(MAX_DELAYED),
        }
    }

    /// Counts an authentication. `right` is the registered secret, if the presented one equals it. The error is the time to
    /// wait.
    pub(crate) fn record_attempt(
        &self,
        client_id: &str,
        peer: Option<&Peer>,
        right: Option<&ClientSecret>,
        now: Duration,
    ) -> Result<(), Duration> {
        let passes = |right: &ClientSecret| self.right_secrets == RightSecrets::Pass || right.is_generated();
        if right.is_some_and(passes) {
            return Ok(());
        }
        let cost = if right.is_some() { Duration::ZERO } else { self.cost };
        // The whole cost is required of a right secret too, so that its refusal equals that of a wrong one.
        self.table.add(client_id, peer, (self.cost, cost), (now, now.saturating_add(self.budget)))
    }

    /// Delays the refusal of an authentication beyond the budget, by at most a second, so that a client that repeats it at once
    /// causes less work. Only a bounded number of refusals waits at a time; further ones are sent at once.
    pub(crate) async fn delay(&self, clock: &dyn Clock, wait: Duration) {
        if let Ok(_slot) = self.delayed.try_acquire() {
            clock.sleep(wait.min(MAX_DELAY)).await;
        }
    }
}

/// When the whole budget of each pair of client id and peer is available again, by the generic cell rate algorithm (GCRA).
///
/// An attacker can invent any number of ids, and may have many addresses, so the table has a fixed size. Each pair has two cells,
/// chosen by a hash with a random key, and the earlier time counts. Pairs can share cells, so a pair may have used up its budget
/// too early in a table that is nearly full, but no number of other pairs restores it.
struct FailureTable {
    cells: Mutex<Vec<u64>>,
    hasher: RandomState,
}

impl FailureTable {
    fn new() -> Self {
        Self { cells: Mutex::new(vec![0; CELLS]), hasher: RandomState::new() }
    }

    /// Adds `added` to the time of the pair if `required` is within the limit. Checks and adds under one lock, so that
    /// concurrent attempts are limited as consecutive ones are. The error is the time to wait.
    fn add(
        &self,
        client_id: &str,
        peer: Option<&Peer>,
        (required, added): (Duration, Duration),
        (now, limit): (Duration, Duration),
    ) -> Result<(), Duration> {
        let positions = self.positions(client_id, peer);
        let mut cells = lock(&self.cells);
        let restored_at = positions.iter().filter_map(|at| cells.get(*at)).min().copied().unwrap_or_default();
        let before = restored_at.max(nanoseconds(now));
        let after = before.saturating_add(nanoseconds(required));
        let excess = after.saturating_sub(nanoseconds(limit));
        if excess > 0 {
            return Err(Duration::from_nanos(excess));
        }
        for at in positions {
            if let Some(cell) = cells.get_mut(at) {
                *cell = (*cell).max(before.saturating_add(nanoseconds(added)));
            }
        }
        Ok(())
    }

    fn positions(&self, client_id: &str, peer: Option<&Peer>) -> [usize; 2] {
        let hash = self.hasher.hash_one((client_id, peer));
        [hash, hash.rotate_right(32)].map(|half| usize::try_from(half & 0xffff_ffff).unwrap_or_default() % CELLS)
    }
}

/// Returns a duration in nanoseconds: at most 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Number of cells, of 8 bytes each.
const CELLS: usize = 65_536;
/// Maximum delay of a refusal.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Maximum number of refusals that are delayed at a time.
const MAX_DELAYED: usize = 100;

#[cfg(test)]
mod tests {
    use super::{CELLS, ClientSecret, Duration, Peer, RightSecrets, Throttle};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn refuses_failures_when_the_budget_is_used_up_until_it_is_restored() {
        let throttle = Throttle::new(3, MINUTE, RightSecrets::Throttle);
        let secret = ClientSecret::new("chosen");
        let attempt =
            |id, right: bool, at| throttle.record_attempt(id, None, right.then_some(&secret), Duration::from_secs(at));
        for _ in 0..3 {
            assert_eq!(attempt("a", false, 0), Ok(()));
        }
        assert_eq!(attempt("a", false, 0), Err(Duration::from_secs(20)));
        assert_eq!(attempt("a", true, 19), Err(Duration::from_secs(1)), "the right secret is refused too");
        assert_eq!(attempt("b", true, 0), Ok(()), "another client");
        assert_eq!(attempt("a", true, 20), Ok(()));
        assert_eq!(attempt("a", false, 20), Ok(()));
        assert!(attempt("a", true, 20).is_err());
        assert_eq!(attempt("a", true, 80), Ok(()));
    }

    /// RFC 6749 §2.3.1 c (MUST, refuses)
    /// Threat T7
    #[test]
    fn a_full_table_restores_no_budget() {
        let throttle = Throttle::new(1, MINUTE, RightSecrets::Pass);
        assert!(throttle.record_attempt("a", None, None, Duration::ZERO).is_ok());
        for number in 0..300_000 {
            let peer = Peer::new(number.to_string());
            let (id, peer) = if number % 2 == 0 { ("a", Some(&peer)) } else { (peer.as_str(), None) };
            let _ = throttle.record_attempt(id, peer, None, Duration::ZERO);
        }
        assert!(throttle.record_attempt("a", None, None, Duration::ZERO).is_err());
        assert_eq!(throttle.table.cells.lock().unwrap().len(), CELLS);
        assert!(throttle.record_attempt("a", None, None, MINUTE).is_ok(), "time restores it");
    }

    /// Threat T33
    #[test]
    fn a_flood_of_other_ids_uses_up_no_budget_before_the_table_is_nearly_full() {
        let throttle = Throttle::new(10, MINUTE, RightSecrets::Pass);
        for number in 0..60_000 {
            let _ = throttle.record_attempt(&number.to_string(), None, None, Duration::ZERO);
        }
        let refused = (0..1000)
            .filter(|number| throttle.record_attempt(&format!("honest {number}"), None, None, Duration::ZERO).is_err());
        assert_eq!(refused.count(), 0);
    }
}
