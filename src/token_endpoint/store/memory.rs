//! A store in memory: for one instance, and lost when the process ends.
//!
//! *In*: the operations of a [`Store`]. *Out*: their results, decided under one lock.
//!
//! Nothing is written to disk and nothing is shared with other processes.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    AccessRecord, CodeRecord, CodeTaken, Family, Issued, NewAccess, NewRefresh, Revoked, Rotated, Store, StoreError,
    Successor,
};
use crate::{sync::lock, token_endpoint::client::secret::TokenHash};

/// A store in memory. Clones share it.
///
/// Expired entries are removed when new ones are added. When the store is full, nothing more is issued (503). One client can
/// fill it, unless the client has a
/// [`max_active_tokens`](crate::token_endpoint::ClientBuilder::max_active_tokens).
///
/// For each approval, the store keeps the last hundred used refresh tokens. If one of them is used again, the store revokes
/// everything from that approval. An older one is only refused.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<MemoryState>>,
    capacity: usize,
}

impl MemoryStore {
    /// Returns a store with the default capacity.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder for further settings.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { capacity: 100_000 }
    }

    fn lock(&self) -> MutexGuard<'_, MemoryState> {
        lock(&self.state)
    }

    /// Locks the store for an operation that adds an entry. The error is that the store is full.
    fn lock_to_add(&self, now: u64) -> Result<MutexGuard<'_, MemoryState>, StoreError> {
        let mut state = self.lock();
        state.sweep(now);
        self.check_room(&state)?;
        Ok(state)
    }

    fn check_room(&self, state: &MemoryState) -> Result<(), StoreError> {
        if state.deadlines.len() < self.capacity { Ok(()) } else { Err(StoreError::new("the store in memory is full")) }
    }
}

/// Builder for a [`MemoryStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryStoreBuilder {
    capacity: usize,
}

impl MemoryStoreBuilder {
    /// Maximum number of codes, tokens and assertions that are stored at the same time. Default: 100 000, which need about
    /// 70 MB.
    pub fn capacity(self, entries: usize) -> Self {
        Self { capacity: entries }
    }

    /// Builds the store.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        MemoryStore { state: Arc::default(), capacity: self.capacity }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    async fn add_code(&self, code: &TokenHash, record: &CodeRecord, now: u64) -> Result<(), StoreError> {
        let mut state = self.lock_to_add(now)?;
        state.deadlines.insert((record.expires_at, ExpiryKey::Code(*code)));
        state.codes.insert(*code, CodeEntry { record: record.clone(), used: false });
        Ok(())
    }

    async fn take_code(&self, code: &TokenHash, binding: &TokenHash, now: u64) -> Result<CodeTaken, StoreError> {
        let mut state = self.lock();
        state.sweep(now);
        let Some(found) = state.codes.get(code).filter(|found| found.record.binding.matches(binding)) else {
            return Ok(CodeTaken::Unknown);
        };
        let (family, code_expires_at) = (found.record.family.clone(), found.record.expires_at);
        if found.used {
            state.revoke_family(&family.id);
            return Ok(CodeTaken::Again);
        }
        if now >= code_expires_at {
            return Ok(CodeTaken::Unknown);
        }
        // Checked before the code is consumed, so that it can be used again when there is room.
        self.check_room(&state)?;
        if let Some(found) = state.codes.get_mut(code) {
            found.used = true;
        }
        state.deadlines.remove(&(code_expires_at, ExpiryKey::Code(*code)));
        state.deadlines.insert((family.expires_at, ExpiryKey::Code(*code)));
        state.deadlines.insert((family.expires_at, ExpiryKey::Family(family.id.clone())));
        state
            .families
            .insert(family.id.clone(), FamilyEntry { family: family.clone(), revoked: false, used: VecDeque::new() });
        Ok(CodeTaken::First(family))
    }

    async fn issue(
        &self,
        access: &NewAccess,
        refresh: Option<&NewRefresh>,
        limit: Option<u32>,
        now: u64,
    ) -> Result<Issued, StoreError> {
        let mut state = self.lock();
        state.sweep(now);
        let NewAccess { hash, record } = access;
        // If there is a family, a code or refresh token was consumed for it. That step has checked the room, and the client
        // can't repeat it, so this step must not fail.
        if record.family.is_none() {
            self.check_room(&state)?;
        }
        if !state.is_family_active(record.family.as_deref(), now) {
            return Ok(Issued::FamilyRevoked);
        }
        if let Some(limit) = limit {
            state.enforce_limit(record, limit, now);
            let owner = (record.client_id.clone(), record.subject.clone());
            state.counted.entry(owner).or_default().push_back(*hash);
        }
        state.deadlines.insert((record.expires_at, ExpiryKey::Access(*hash)));
        state.access.insert(*hash, record.clone());
        if let (Some(refresh), Some(family)) = (refresh, &record.family) {
            state.add_refresh(refresh.hash, refresh.expires_at, family);
        }
        Ok(Issued::Stored)
    }

    async fn find_access(&self, token: &TokenHash, now: u64) -> Result<Option<AccessRecord>, StoreError> {
        let state = self.lock();
        let found = state.access.get(token).filter(|record| state.is_active(record, now));
        Ok(found.cloned())
    }

    async fn find_refresh(&self, token: &TokenHash, now: u64) -> Result<Option<Family>, StoreError> {
        let state = self.lock();
        let found = state.refresh.get(token).filter(|refresh| now < refresh.expires_at);
        Ok(found.and_then(|refresh| state.family(&refresh.family, now)).cloned())
    }

    async fn rotate(
        &self,
        token: &TokenHash,
        client_id: &str,
        successor: &Successor,
        grace: u64,
        now: u64,
    ) -> Result<Rotated, StoreError> {
        let mut state = self.lock_to_add(now)?;
        let Some(refresh) = state.refresh.get(token).filter(|refresh| now < refresh.expires_at) else {
            return Ok(Rotated::Unknown);
        };
        let Some(family) = state.family(&refresh.family, now).filter(|family| family.client_id == client_id) else {
            return Ok(Rotated::Unknown);
        };
        let family = family.clone();
        if let Some(used) = &refresh.used {
            let successor_unused = state.refresh.get(&used.successor).is_some_and(|next| next.used.is_none());
            if successor_unused && now.abs_diff(used.at) < grace {
                return Ok(Rotated::Again { salt: used.salt, family });
            }
            state.revoke_family(&family.id);
            return Ok(Rotated::Reused);
        }
        if let Some(refresh) = state.refresh.get_mut(token) {
            refresh.used = Some(RefreshUse { at: now, salt: successor.salt, successor: successor.hash });
        }
        state.add_refresh(successor.hash, successor.expires_at, &family.id);
        state.add_used(*token, &family.id);
        Ok(Rotated::First(family))
    }

    async fn revoke(&self, token: &TokenHash, client_id: &str, now: u64) -> Result<Revoked, StoreError> {
        let mut state = self.lock();
        if let Some(refresh) = state.refresh.get(token) {
            let id = refresh.family.clone();
            match state.family(&id, now).map(|family| family.client_id == client_id) {
                Some(true) => state.revoke_family(&id),
                Some(false) => return Ok(Revoked::NotYours),
                None => {}
            }
        } else if let Some(record) = state.access.get(token) {
            if record.client_id != client_id && state.is_active(record, now) {
                return Ok(Revoked::NotYours);
            }
            if record.client_id == client_id {
                state.remove_access(token);
            }
        }
        Ok(Revoked::Gone)
    }

    async fn insert_if_absent(&self, key: &TokenHash, expires_at: u64, now: u64) -> Result<bool, StoreError> {
        let mut state = self.lock_to_add(now)?;
        if state.seen.get(key).is_some_and(|until| now < *until) {
            return Ok(false);
        }
        state.seen.insert(*key, expires_at);
        state.deadlines.insert((expires_at, ExpiryKey::Seen(*key)));
        Ok(true)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct MemoryState {
    codes: HashMap<TokenHash, CodeEntry>,
    families: HashMap<String, FamilyEntry>,
    access: HashMap<TokenHash, AccessRecord>,
    refresh: HashMap<TokenHash, RefreshEntry>,
    /// The keys of `insert_if_absent`, and when they expire.
    seen: HashMap<TokenHash, u64>,
    /// The access tokens of clients with a limit, the oldest first, by client and subject.
    counted: HashMap<(String, String), VecDeque<TokenHash>>,
    /// When each entry can be removed.
    deadlines: BTreeSet<(u64, ExpiryKey)>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ExpiryKey {
    Code(TokenHash),
    Family(String),
    Access(TokenHash),
    Refresh(TokenHash),
    Seen(TokenHash),
}

struct CodeEntry {
    record: CodeRecord,
    used: bool,
}

struct FamilyEntry {
    family: Family,
    revoked: bool,
    /// The used refresh tokens of the family, the oldest first.
    used: VecDeque<TokenHash>,
}

struct RefreshEntry {
    family: String,
    expires_at: u64,
    used: Option<RefreshUse>,
}

struct RefreshUse {
    at: u64,
    salt: [u8; 32],
    successor: TokenHash,
}

impl MemoryState {
    /// Removes expired entries in small batches, to bound the pause.
    fn sweep(&mut self, now: u64) {
        for _ in 0..SWEPT_AT_ONCE {
            let Some((deadline, _)) = self.deadlines.first() else { return };
            if *deadline > now {
                return;
            }
            let Some((deadline, key)) = self.deadlines.pop_first() else { return };
            match key {
                ExpiryKey::Code(hash) => drop(self.codes.remove(&hash)),
                ExpiryKey::Family(id) => drop(self.families.remove(&id)),
                ExpiryKey::Access(hash) => drop(self.take_access(&hash)),
                ExpiryKey::Refresh(hash) => drop(self.refresh.remove(&hash)),
                // The key may have been added again after it had expired.
                ExpiryKey::Seen(hash) if self.seen.get(&hash) == Some(&deadline) => drop(self.seen.remove(&hash)),
                ExpiryKey::Seen(_) => {}
            }
        }
    }

    fn family(&self, id: &str, now: u64) -> Option<&Family> {
        let found = self.families.get(id).filter(|found| !found.revoked && now < found.family.expires_at);
        found.map(|found| &found.family)
    }

    fn is_family_active(&self, family: Option<&str>, now: u64) -> bool {
        family.is_none_or(|id| self.family(id, now).is_some())
    }

    fn is_active(&self, record: &AccessRecord, now: u64) -> bool {
        now < record.expires_at && self.is_family_active(record.family.as_deref(), now)
    }

    fn revoke_family(&mut self, id: &str) {
        if let Some(found) = self.families.get_mut(id) {
            found.revoked = true;
        }
    }

    fn add_refresh(&mut self, hash: TokenHash, expires_at: u64, family: &str) {
        self.deadlines.insert((expires_at, ExpiryKey::Refresh(hash)));
        self.refresh.insert(hash, RefreshEntry { family: family.to_owned(), expires_at, used: None });
    }

    /// Records that a refresh token of a family was used. Removes the oldest used one beyond the maximum, so that one family
    /// can't fill the store.
    fn add_used(&mut self, hash: TokenHash, family: &str) {
        let Some(found) = self.families.get_mut(family) else { return };
        found.used.push_back(hash);
        if found.used.len() <= USED_KEPT {
            return;
        }
        let Some(oldest) = found.used.pop_front() else { return };
        if let Some(refresh) = self.refresh.remove(&oldest) {
            self.deadlines.remove(&(refresh.expires_at, ExpiryKey::Refresh(oldest)));
        }
    }

    /// Revokes the client's oldest tokens for this subject, so that one more is within the limit.
    fn enforce_limit(&mut self, record: &AccessRecord, limit: u32, now: u64) {
        let owner = (record.client_id.clone(), record.subject.clone());
        let Some(mut hashes) = self.counted.remove(&owner) else { return };
        hashes.retain(|hash| self.access.get(hash).is_some_and(|record| self.is_active(record, now)));
        while hashes.len() >= limit.max(1) as usize {
            let Some(oldest) = hashes.pop_front() else { break };
            self.remove_access(&oldest);
        }
        self.counted.insert(owner, hashes);
    }

    fn remove_access(&mut self, hash: &TokenHash) {
        if let Some(record) = self.take_access(hash) {
            self.deadlines.remove(&(record.expires_at, ExpiryKey::Access(*hash)));
        }
    }

    /// Removes a token from the store and from its owner's count.
    fn take_access(&mut self, hash: &TokenHash) -> Option<AccessRecord> {
        let record = self.access.remove(hash)?;
        let owner = (record.client_id.clone(), record.subject.clone());
        if let Some(hashes) = self.counted.get_mut(&owner) {
            hashes.retain(|other| other != hash);
            if hashes.is_empty() {
                self.counted.remove(&owner);
            }
        }
        Some(record)
    }
}

/// Maximum number of expired entries that one operation removes.
const SWEPT_AT_ONCE: usize = 32;
/// Maximum number of used refresh tokens for each family: about those of one day, with access tokens of 15 minutes.
const USED_KEPT: usize = 100;
