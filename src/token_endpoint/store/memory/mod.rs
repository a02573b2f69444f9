//! A store in memory: for one instance, and lost when the process ends.
//!
//! *In*: the operations of a [`Store`]. *Out*: their results, decided under one lock.
//!
//! Nothing is written to disk and nothing is shared with other processes.

mod aging;
mod clients;
mod fast_map;
mod places;
mod published;
mod sessions;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use self::{
    places::{Places, Shares},
    state::State,
};
use super::{
    AddCode, EndSession, FindAccess, FindCode, FindSession, FoundAccess, FoundCode, FoundSession, InsertSeen, Issue,
    Issued, KeyPublished, ListKeys, ListSessions, ListedSession, PublishKey, PublishedKey, Redeem, Redeemed, Refresh,
    Refreshed, RevokeAccess, Store, StoreError, Timestamp, WithdrawKey, Written,
};
use crate::sync::lock;

/// A store in memory. Clones share it.
///
/// The store has a number of places. An unused code and a session need one for the row and one for each access token, at least
/// two. An access token without a session needs one, and so does the `jti` of an assertion. Expired entries are removed little by
/// little with each operation. Ending a session frees its places at once.
///
/// # Shares
/// When the store is full, or a client or user has all of its places, nothing further is issued for it: the request is refused
/// with 503. Other clients and users are not affected until the store is full. What was begun goes on: a stored code can be
/// redeemed and a session can be refreshed. If there is no place, the new access token replaces the oldest one of its session.
/// For the `jti` that comes with such a request, there is a tenth more than the places.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    shares: Shares,
}

impl MemoryStore {
    /// Returns a store with the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder for further settings.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { capacity: DEFAULT_CAPACITY, client_capacity: None, user_capacity: None }
    }

    /// Locks the store and removes some expired entries.
    fn lock(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        state.sweep(now);
        state
    }

    /// Locks the store for a write; `None` if the deadline has passed.
    fn lock_in_time(&self, now: Timestamp, deadline: Instant) -> Option<MutexGuard<'_, State>> {
        let state = self.lock(now);
        // The time of waiting for the lock counts.
        (Instant::now() <= deadline).then_some(state)
    }
}

/// Builder for a [`MemoryStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryStoreBuilder {
    capacity: usize,
    client_capacity: Option<usize>,
    user_capacity: Option<usize>,
}

impl MemoryStoreBuilder {
    /// Number of places. Default: 250 000.
    pub fn capacity(self, places: usize) -> Self {
        Self { capacity: places, ..self }
    }

    /// Maximum number of places of one client, with those of its users. Default: a tenth of the capacity, at least 100.
    pub fn client_capacity(self, places: usize) -> Self {
        Self { client_capacity: Some(places), ..self }
    }

    /// Maximum number of places of one user at one client. Default: a hundredth of the capacity, at least 50.
    pub fn user_capacity(self, places: usize) -> Self {
        Self { user_capacity: Some(places), ..self }
    }

    /// Builds the store.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        let shares = Shares {
            all: self.capacity,
            client: self.client_capacity.unwrap_or_else(|| MIN_CLIENT_CAPACITY.max(self.capacity / 10)),
            user: self.user_capacity.unwrap_or_else(|| MIN_USER_CAPACITY.max(self.capacity / 100)),
        };
        MemoryStore { state: Arc::new(Mutex::new(State::new(Places::new(shares)))), shares }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    async fn add_code(&self, request: &AddCode) -> Result<Written, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(Written::Late) };
        state.add_code(request)?;
        Ok(Written::Done)
    }

    async fn find_code(&self, request: &FindCode) -> Result<Option<FoundCode>, StoreError> {
        Ok(self.lock(request.now).find_code(request))
    }

    async fn redeem(&self, request: &Redeem) -> Result<Redeemed, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(Redeemed::Late) };
        state.redeem(request)
    }

    async fn find_session(&self, request: &FindSession) -> Result<Option<FoundSession>, StoreError> {
        Ok(self.lock(request.now).find_session(request))
    }

    async fn refresh(&self, request: &Refresh) -> Result<Refreshed, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(Refreshed::Late) };
        state.refresh(request)
    }

    async fn issue(&self, request: &Issue) -> Result<Issued, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(Issued::Late) };
        state.issue(request)
    }

    async fn find_access(&self, request: &FindAccess) -> Result<Option<FoundAccess>, StoreError> {
        Ok(self.lock(request.now).find_access(request))
    }

    async fn revoke_access(&self, request: &RevokeAccess) -> Result<Written, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(Written::Late) };
        state.revoke_access(request);
        Ok(Written::Done)
    }

    async fn end_session(&self, request: &EndSession) -> Result<Written, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(Written::Late) };
        state.end_session(request.session);
        Ok(Written::Done)
    }

    async fn list_sessions(&self, request: &ListSessions) -> Result<Vec<ListedSession>, StoreError> {
        Ok(self.lock(request.now).list_sessions(request))
    }

    async fn insert_seen(&self, request: &InsertSeen) -> Result<Issued, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(Issued::Late) };
        state.insert_seen(request)
    }

    async fn publish_key(&self, request: &PublishKey) -> Result<KeyPublished, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(KeyPublished::Late) };
        state.keys.publish(request)
    }

    async fn withdraw_key(&self, request: &WithdrawKey) -> Result<Written, StoreError> {
        let Some(mut state) = self.lock_in_time(request.now, request.deadline) else { return Ok(Written::Late) };
        state.keys.withdraw(request)?;
        Ok(Written::Done)
    }

    async fn list_keys(&self, request: &ListKeys) -> Result<Vec<PublishedKey>, StoreError> {
        Ok(self.lock(request.now).keys.list(request))
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("capacity", &self.shares.all).finish_non_exhaustive()
    }
}

const DEFAULT_CAPACITY: usize = 250_000;
/// A small store is for tests and for few clients, where a tenth would be too little.
const MIN_CLIENT_CAPACITY: usize = 100;
const MIN_USER_CAPACITY: usize = 50;
