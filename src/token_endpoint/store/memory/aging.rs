//! The entries of owners, found by age and by expiry.
//!
//! *In*: entries with numbers that grow. *Out*: which entry of an owner is removed first if there are too many.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::Timestamp, fast_map::FastMap};
use crate::token_endpoint::client::secret::TokenHash;

/// The entries of owners. Each operation takes O(log n).
pub(super) struct Aging<T> {
    by_age: BTreeMap<(TokenHash, u64), (Timestamp, T)>,
    by_expiry: BTreeSet<(TokenHash, Timestamp, u64)>,
    counts: FastMap<TokenHash, usize>,
}

impl<T> Default for Aging<T> {
    fn default() -> Self {
        Self { by_age: BTreeMap::new(), by_expiry: BTreeSet::new(), counts: FastMap::default() }
    }
}

impl<T: Copy> Aging<T> {
    pub(super) fn insert(&mut self, owner: TokenHash, number: u64, expires_at: Timestamp, entry: T) {
        self.by_age.insert((owner, number), (expires_at, entry));
        self.by_expiry.insert((owner, expires_at, number));
        *self.counts.entry(owner).or_default() += 1;
    }

    pub(super) fn remove(&mut self, owner: TokenHash, number: u64) {
        let Some((expires_at, _)) = self.by_age.remove(&(owner, number)) else { return };
        self.by_expiry.remove(&(owner, expires_at, number));
        if let Some(count) = self.counts.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&owner);
            }
        }
    }

    /// Returns the entry to remove, so that one more is within the limit: an expired one, or else the oldest. `None` if there is
    /// room for one more.
    pub(super) fn first_to_remove(&self, owner: TokenHash, limit: u32, now: Timestamp) -> Option<T> {
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        if self.counts.get(&owner).is_none_or(|count| *count < limit) {
            return None;
        }
        let all = (owner, Timestamp::from_secs(0), 0)..=(owner, Timestamp::from_secs(u64::MAX), u64::MAX);
        let (_, expires_at, expired) = self.by_expiry.range(all).next()?;
        if *expires_at <= now {
            return self.by_age.get(&(owner, *expired)).map(|(_, entry)| *entry);
        }
        self.by_age.range((owner, 0)..=(owner, u64::MAX)).next().map(|(_, (_, entry))| *entry)
    }
}
