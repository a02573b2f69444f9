//! How often a secret may be guessed (RFC 6749 §2.3.1).
//!
//! *In*: whether an authentication was right. *Out*: whether it counts.
//!
//! Failures are counted for each client, in this process. While a client's budget is used up, its right secret is refused
//! too: otherwise guessing would go on. Whoever knows a client's id can hold it off in this way; clients that sign
//! assertions can't be, because there is nothing to guess.
//!
//! Names that no client has are counted in a place of their own, which is bounded. Who fills it with thousands of them can
//! tell afterwards which ones are clients; an id is no secret (RFC 6749 §2.2).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::secret::TokenHash;

/// The budgets. GCRA: one number for each client, the time at which it has its whole budget again.
pub(crate) struct Throttle {
    /// What one failure costs.
    cost: Duration,
    /// The whole budget.
    budget: Duration,
    debts: Mutex<Debts>,
}

#[derive(Default)]
struct Debts {
    of_clients: HashMap<TokenHash, Duration>,
    /// Of names that no client has: they are treated alike, but anybody can make up any number of them.
    of_unknown_ids: HashMap<TokenHash, Duration>,
}

impl Throttle {
    /// At most `failures` in any `window`.
    pub(crate) fn new(failures: u32, window: Duration) -> Self {
        let cost = window / failures.max(1);
        Self { cost, budget: cost * failures.max(1), debts: Mutex::default() }
    }

    /// Counts one authentication; in one step, so that no number of them at once gets further than one by one. The error is
    /// how long to wait.
    pub(crate) fn record_attempt(
        &self,
        client_id: &str,
        known: bool,
        right: bool,
        now: Duration,
    ) -> Result<(), Duration> {
        let key = TokenHash::of(client_id);
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        let Debts { of_clients, of_unknown_ids } = &mut *debts;
        let debts = if known { of_clients } else { of_unknown_ids };
        let paid_off = debts.get(&key).map_or(now, |at| (*at).max(now));
        let after = paid_off + self.cost;
        let limit = now + self.budget;
        if after > limit {
            return Err(after.saturating_sub(limit));
        }
        if right {
            return Ok(());
        }
        if !known && debts.len() >= MAX_UNKNOWN_IDS {
            debts.retain(|_, at| *at > now);
            if debts.len() >= MAX_UNKNOWN_IDS {
                debts.clear();
            }
        }
        debts.insert(key, after);
        Ok(())
    }
}

const MAX_UNKNOWN_IDS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::{Duration, Throttle};

    #[test]
    fn a_budget_is_used_up_and_comes_back() {
        let throttle = Throttle::new(3, Duration::from_secs(60));
        let judge = |id, right, at| throttle.record_attempt(id, true, right, Duration::from_secs(at));
        for _ in 0..3 {
            assert_eq!(judge("a", false, 0), Ok(()));
        }
        assert_eq!(judge("a", false, 0), Err(Duration::from_secs(20)));
        assert_eq!(judge("a", true, 19), Err(Duration::from_secs(1)), "the right one too");
        assert_eq!(judge("b", true, 0), Ok(()), "another client");
        assert_eq!(judge("a", true, 20), Ok(()));
        assert_eq!(judge("a", false, 20), Ok(()));
        assert!(judge("a", true, 20).is_err());
        assert_eq!(judge("a", true, 80), Ok(()));
    }

    #[test]
    fn strangers_take_no_place_from_clients() {
        let throttle = Throttle::new(1, Duration::from_secs(60));
        let now = Duration::ZERO;
        assert!(throttle.record_attempt("a", true, false, now).is_ok());
        for name in 0..30_000 {
            let _ = throttle.record_attempt(&name.to_string(), false, false, now);
        }
        assert!(throttle.record_attempt("a", true, true, now).is_err());
        assert!(throttle.debts.lock().unwrap().of_unknown_ids.len() <= super::MAX_UNKNOWN_IDS);
    }
}
