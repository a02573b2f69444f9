//! Limits how often a client's secret can be guessed (RFC 6749 §2.3.1).
//!
//! *In*: whether an authentication was right. *Out*: whether it counts, or how long to wait.
//!
//! Failures are counted for each client, in this process. While a client's budget is used up, its right secret is refused
//! too; otherwise an attacker could continue to guess. An attacker who knows a client's id can lock it out in this way.
//! Clients that sign assertions are not throttled, because there is nothing to guess.
//!
//! Unknown ids are counted separately, in a bounded table. An attacker who fills this table with thousands of ids can find
//! out which ids belong to clients; an id is not a secret (RFC 6749 §2.2).

use std::{collections::HashMap, sync::Mutex, time::Duration};

use super::secret::TokenHash;
use crate::sync::lock;

/// The budgets, by the generic cell rate algorithm (GCRA): one number for each client, the time at which its whole budget is
/// available again.
pub(crate) struct Throttle {
    /// The cost of one failure.
    cost: Duration,
    /// The whole budget.
    budget: Duration,
    debts: Mutex<Debts>,
}

#[derive(Default)]
struct Debts {
    of_clients: HashMap<TokenHash, Duration>,
    /// Treated as clients are, but an attacker can invent any number of ids.
    of_unknown_ids: HashMap<TokenHash, Duration>,
}

impl Throttle {
    /// Allows at most `failures` in any `window`.
    pub(crate) fn new(failures: u32, window: Duration) -> Self {
        let cost = window / failures.max(1);
        Self { cost, budget: cost * failures.max(1), debts: Mutex::default() }
    }

    /// Counts one authentication. It is one step, so that concurrent attempts get no further than consecutive ones. The error is
    /// how long to wait.
    pub(crate) fn record_attempt(
        &self,
        client_id: &str,
        known: bool,
        right: bool,
        now: Duration,
    ) -> Result<(), Duration> {
        let key = TokenHash::of(client_id);
        let mut debts = lock(&self.debts);
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
    fn refuses_when_the_budget_is_used_up_until_it_is_restored() {
        let throttle = Throttle::new(3, Duration::from_secs(60));
        let attempt = |id, right, at| throttle.record_attempt(id, true, right, Duration::from_secs(at));
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

    #[test]
    fn unknown_ids_do_not_displace_clients() {
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
