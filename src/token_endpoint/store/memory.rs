//! Everything in this process: for one instance, and gone with it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    AccessRecord, CodeRecord, CodeTaken, Family, Issued, NewAccess, NewRefresh, Revoked, Rotated, Store, StoreError,
    Successor,
};
use crate::token_endpoint::client::secret::TokenHash;

/// A store in memory. Clones share it. What has expired is swept out as new things come; when it is full, nothing new is
/// remembered, and so nothing is issued (503). One client can fill it, unless it has
/// [`max_active_tokens`](crate::token_endpoint::ClientBuilder::max_active_tokens).
///
/// Of each approval it knows the last hundred refresh tokens that were used, and revokes everything when one of them comes
/// again. An older one is refused, and that is all.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<MemoryState>>,
    capacity: usize,
}

impl MemoryStore {
    /// Room for a hundred thousand codes, tokens and assertions that live at the same time: some 70 MB.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(100_000)
    }

    /// Room for `capacity` of them.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { state: Arc::default(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For an operation that adds: sweeps, and says if there is no room.
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
        let (family, first) = (found.record.family.clone(), found.record.expires_at);
        if found.used {
            state.revoke_family(&family.id);
            return Ok(CodeTaken::Again);
        }
        if now >= first {
            return Ok(CodeTaken::Unknown);
        }
        // Before it is used up: it can be tried again when there is room for what it gives.
        self.check_room(&state)?;
        if let Some(found) = state.codes.get_mut(code) {
            found.used = true;
        }
        state.deadlines.remove(&(first, ExpiryKey::Code(*code)));
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
        // A code or refresh token that was used up for it had room, and can't be used again.
        if record.family.is_none() {
            self.check_room(&state)?;
        }
        if !state.is_alive(record.family.as_deref(), now) {
            return Ok(Issued::FamilyDead);
        }
        if let Some(limit) = limit {
            state.make_room(record, limit, now);
            let owner = (record.client_id.clone(), record.subject.clone());
            state.counted.entry(owner).or_default().push_back(*hash);
        }
        state.deadlines.insert((record.expires_at, ExpiryKey::Access(*hash)));
        state.access.insert(*hash, record.clone());
        if let (Some(refresh), Some(family)) = (refresh, &record.family) {
            state.add_refresh(refresh.hash, refresh.expires_at, family);
        }
        Ok(Issued::Remembered)
    }

    async fn find_access(&self, token: &TokenHash, now: u64) -> Result<Option<AccessRecord>, StoreError> {
        let state = self.lock();
        let found = state.access.get(token).filter(|record| state.is_living(record, now));
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
            let fresh = state.refresh.get(&used.successor).is_some_and(|next| next.used.is_none());
            if fresh && now.abs_diff(used.at) < grace {
                return Ok(Rotated::Again { salt: used.salt, family });
            }
            state.revoke_family(&family.id);
            return Ok(Rotated::Reused);
        }
        if let Some(refresh) = state.refresh.get_mut(token) {
            refresh.used = Some(Use { at: now, salt: successor.salt, successor: successor.hash });
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
            if record.client_id != client_id && state.is_living(record, now) {
                return Ok(Revoked::NotYours);
            }
            if record.client_id == client_id {
                state.forget_access(token);
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
    seen: HashMap<TokenHash, u64>,
    /// The access tokens of clients with a limit, the oldest first, by client and subject.
    counted: HashMap<(String, String), VecDeque<TokenHash>>,
    /// When which of them can be forgotten.
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
    /// Its refresh tokens that were used, the oldest first.
    used: VecDeque<TokenHash>,
}

struct RefreshEntry {
    family: String,
    expires_at: u64,
    used: Option<Use>,
}

struct Use {
    at: u64,
    salt: [u8; 32],
    successor: TokenHash,
}

impl MemoryState {
    /// Forgets what has expired, a little at a time, so that nobody waits for a great cleaning.
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
                // It may have been remembered anew after its time.
                ExpiryKey::Seen(hash) if self.seen.get(&hash) == Some(&deadline) => drop(self.seen.remove(&hash)),
                ExpiryKey::Seen(_) => {}
            }
        }
    }

    fn family(&self, id: &str, now: u64) -> Option<&Family> {
        let found = self.families.get(id).filter(|found| !found.revoked && now < found.family.expires_at);
        found.map(|found| &found.family)
    }

    fn is_alive(&self, family: Option<&str>, now: u64) -> bool {
        family.is_none_or(|id| self.family(id, now).is_some())
    }

    fn is_living(&self, record: &AccessRecord, now: u64) -> bool {
        now < record.expires_at && self.is_alive(record.family.as_deref(), now)
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

    /// One more refresh token of a family was used; the oldest such one is forgotten, so that no session fills the store.
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

    /// Room for one more among the client's tokens for this subject.
    fn make_room(&mut self, record: &AccessRecord, limit: u32, now: u64) {
        let owner = (record.client_id.clone(), record.subject.clone());
        let Some(mut hashes) = self.counted.remove(&owner) else { return };
        hashes.retain(|hash| self.access.get(hash).is_some_and(|record| self.is_living(record, now)));
        while hashes.len() >= limit.max(1) as usize {
            let Some(oldest) = hashes.pop_front() else { break };
            self.forget_access(&oldest);
        }
        self.counted.insert(owner, hashes);
    }

    fn forget_access(&mut self, hash: &TokenHash) {
        if let Some(record) = self.take_access(hash) {
            self.deadlines.remove(&(record.expires_at, ExpiryKey::Access(*hash)));
        }
    }

    /// Takes a token out, and out of its owner's count.
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

const SWEPT_AT_ONCE: usize = 32;
/// A day's worth, where access tokens live for 15 minutes.
const USED_KEPT: usize = 100;
