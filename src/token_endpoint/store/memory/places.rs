//! How many places of the store are used, by client and by user.
//!
//! *In*: entries that are added and removed. *Out*: whether there is room for another one.

use super::{super::StoreError, fast_map::FastMap};
use crate::token_endpoint::client::secret::TokenHash;

/// Maximum numbers of places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub(super) all: usize,
    pub(super) client: usize,
    pub(super) user: usize,
}

impl Shares {
    /// Returns the shares with a tenth more, for the `jti`s of requests that must pass.
    fn extended(self) -> Self {
        let extend = |places: usize| places.saturating_add(places.div_ceil(10));
        Self { all: extend(self.all), client: extend(self.client), user: self.user }
    }
}

/// The client, and perhaps the user, to whom an entry belongs.
#[derive(Clone, Copy)]
pub(super) struct Holder {
    pub(super) client: TokenHash,
    pub(super) subject: Option<TokenHash>,
}

pub(super) struct Places {
    shares: Shares,
    used: usize,
    clients: FastMap<TokenHash, usize>,
    /// By client and subject.
    users: FastMap<(TokenHash, TokenHash), usize>,
}

impl Places {
    pub(super) fn new(shares: Shares) -> Self {
        Self { shares, used: 0, clients: FastMap::default(), users: FastMap::default() }
    }

    /// Checks that there is room for this number of places.
    pub(super) fn check(&self, holder: Holder, places: usize) -> Result<(), StoreError> {
        self.check_shares(self.shares, holder, places)
    }

    /// Checks that there is room for the `jti` of a request that must pass.
    pub(super) fn check_extended(&self, holder: Holder, places: usize) -> Result<(), StoreError> {
        self.check_shares(self.shares.extended(), holder, places)
    }

    fn check_shares(&self, shares: Shares, holder: Holder, places: usize) -> Result<(), StoreError> {
        let of_client = self.clients.get(&holder.client).copied().unwrap_or_default();
        let of_user = |subject| self.users.get(&(holder.client, subject)).copied().unwrap_or_default();
        if self.used.saturating_add(places) > shares.all {
            return Err(StoreError::not_executed("the store in memory is full"));
        }
        if of_client.saturating_add(places) > shares.client {
            return Err(StoreError::not_executed("the client has no place left in the store in memory"));
        }
        if holder.subject.is_some_and(|subject| of_user(subject).saturating_add(places) > shares.user) {
            return Err(StoreError::not_executed("the user has no place left in the store in memory"));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, holder: Holder, places: usize) {
        self.used += places;
        *self.clients.entry(holder.client).or_default() += places;
        if let Some(subject) = holder.subject {
            *self.users.entry((holder.client, subject)).or_default() += places;
        }
    }

    pub(super) fn free(&mut self, holder: Holder, places: usize) {
        self.used = self.used.saturating_sub(places);
        subtract(&mut self.clients, &holder.client, places);
        if let Some(subject) = holder.subject {
            subtract(&mut self.users, &(holder.client, subject), places);
        }
    }
}

fn subtract<K: std::hash::Hash + Eq>(counts: &mut FastMap<K, usize>, key: &K, places: usize) {
    let Some(count) = counts.get_mut(key) else { return };
    *count = count.saturating_sub(places);
    if *count == 0 {
        counts.remove(key);
    }
}
