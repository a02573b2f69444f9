//! Limits how often a client's secret can be guessed (RFC 6749 §2.3.1).
//!
//! *In*: whether the secret was right. *Out*: whether the attempt is allowed, or the time to wait.
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
    /// The time after which one failure no longer counts.
    cost: Duration,
    /// The cost of all failures that are allowed at once.
    budget: Duration,
    restored_at: Mutex<RestoreTimes>,
}

/// When the whole budget of each id is available again. A missing id has its whole budget now.
#[derive(Default)]
struct RestoreTimes {
    clients: HashMap<TokenHash, Duration>,
    /// Separate and bounded, because an attacker can invent any number of ids.
    unknown_ids: HashMap<TokenHash, Duration>,
}

impl Throttle {
    /// Allows at most `failures` in any `window`.
    pub(crate) fn new(failures: u32, window: Duration) -> Self {
        let cost = window / failures.max(1);
        Self { cost, budget: cost * failures.max(1), restored_at: Mutex::default() }
    }

    /// Counts one authentication. Checks and counts under one lock, so that concurrent attempts are limited as consecutive ones
    /// are. The error is the time to wait.
    pub(crate) fn record_attempt(
        &self,
        client_id: &str,
        is_client: bool,
        is_right: bool,
        now: Duration,
    ) -> Result<(), Duration> {
        let key = TokenHash::of(client_id);
        let mut restored_at = lock(&self.restored_at);
        let RestoreTimes { clients, unknown_ids } = &mut *restored_at;
        let times = if is_client { clients } else { unknown_ids };
        let before = times.get(&key).map_or(now, |at| (*at).max(now));
        let after = before + self.cost;
        let limit = now + self.budget;
        if after > limit {
            return Err(after.saturating_sub(limit));
        }
        if is_right {
            return Ok(());
        }
        if !is_client && times.len() >= MAX_UNKNOWN_IDS {
            times.retain(|_, at| *at > now);
            if times.len() >= MAX_UNKNOWN_IDS {
                times.clear();
            }
        }
        times.insert(key, after);
        Ok(())
    }
}

/// Maximum number of unknown ids that are counted. When the table is full of them, all are forgiven.
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
        assert!(throttle.restored_at.lock().unwrap().unknown_ids.len() <= super::MAX_UNKNOWN_IDS);
    }
}
