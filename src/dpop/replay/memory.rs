//! Used proofs in memory: for one instance of an API.
//!
//! *In*: the keys of proofs. *Out*: whether each is new. Memory is bounded, and a full store refuses.
//!
//! No cache of the crate's dependencies is suitable: `quick_cache` and `moka` make room by evicting entries that have not
//! expired, and the proof of an evicted entry would be accepted again.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    num::NonZeroUsize,
    sync::Mutex,
    time::Duration,
};

use super::{Insertion, ReplayError, ReplayKey, ReplayStore, Sighting};
use crate::{
    clock::{Moment, SystemClock},
    log::{self, Outage},
    sync::lock,
};

/// The used proofs of one instance of an API, in memory.
///
/// It has room for 1 000 000 proofs, or for the number given to [`with_capacity`](Self::with_capacity). A proof needs room until
/// it has expired, at most 91 seconds with the default settings and 5 minutes with nonces, so the default is enough for 10 000
/// requests in each second, or 3 000 with nonces. Only a client with a valid token that is bound to its key can insert a proof.
///
/// A full store needs 34 bytes for each proof, and a little more while it grows: a process with 1 000 000 proofs was measured to
/// need at most 37 MB. An empty store needs 0.03 MB. There is no limit for each client.
///
/// # Errors
/// When the store is full, requests with a new proof are refused with 503 until entries expire; no entry is deleted earlier. The
/// same happens for a few minutes after the clock was set back: a proof whose entry may have been deleted is not accepted.
/// Both are counted (`tower_oauth_replay_store_errors_total`), and logged once a minute.
///
/// ```
/// use std::num::NonZeroUsize;
/// use tower_oauth::dpop::MemoryReplayStore;
///
/// const PROOFS: NonZeroUsize = NonZeroUsize::new(5_000_000).unwrap();
/// let store = MemoryReplayStore::with_capacity(PROOFS);
/// ```
pub struct MemoryReplayStore {
    capacity: NonZeroUsize,
    shards: Box<[Mutex<ReplayShard>]>,
    /// Their seeds are random: a client that chooses its `jti` can't search for keys of one shard or one place.
    hashers: [RandomState; 2],
    outage: Outage,
}

impl MemoryReplayStore {
    /// Returns a store for 1 000 000 proofs.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }

    /// Returns a store with room for this number of proofs. It may store up to a tenth more.
    #[must_use]
    pub fn with_capacity(proofs: NonZeroUsize) -> Self {
        let shards = proofs.get().div_ceil(MEAN_OF_SHARD);
        // Hashes spread the keys over the shards with small differences, for which each shard has room.
        let limit = if shards == 1 { proofs.get() } else { proofs.get().div_ceil(shards) * 11 / 10 };
        Self {
            capacity: proofs,
            shards: (0..shards).map(|_| Mutex::new(ReplayShard::new(limit))).collect(),
            hashers: [RandomState::new(), RandomState::new()],
            outage: Outage::with_interval(LINE_INTERVAL),
        }
    }

    fn insert(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Result<Sighting, ReplayError> {
        let [choice, position] = self.hashers.each_ref().map(|hasher| hasher.hash_one(key.as_bytes()));
        let shard = self.shards.get(scaled(choice, self.shards.len())).ok_or_else(|| ReplayError::new("no shard"))?;
        // Bound to a name, so that the lock is released before an error is logged.
        let inserted = lock(shard).insert([position, choice], expires_at, now);
        inserted.map_err(|refused| {
            let error = ReplayError::new(match refused {
                NotInserted::Full => {
                    let capacity = self.capacity;
                    format!("the memory of {capacity} used proofs is full; give MemoryReplayStore more capacity")
                }
                NotInserted::MayBeDeleted => "the clock was set back, and the proof may have been used".to_owned(),
            });
            log::replay_store_failed("memory", &error, self.outage.failed(&Moment::now(&SystemClock::new())));
            error
        })
    }
}

impl Default for MemoryReplayStore {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplayStore for MemoryReplayStore {
    fn insert_if_absent(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Insertion {
        Insertion::Now(self.insert(key, expires_at, now))
    }
}

impl fmt::Debug for MemoryReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReplayStore").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// A hash table with linear probing. Expired entries stay until the table has no room: then it is built again without them. The
/// table has at most 4096 slots, so this takes less than a tenth of a millisecond.
struct ReplayShard {
    /// A power of two, or none before the first insertion.
    slots: Box<[ReplaySlot]>,
    used: usize,
    /// Maximum number of used slots.
    limit: usize,
    /// No entry expires before this time.
    earliest: u64,
    /// No entry that expires after this time was deleted.
    deleted_until: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct ReplaySlot {
    /// 128 bits, by two hashes with secret seeds, of a key of 256 bits: an accidental match has a probability of 2^-108 in a
    /// full store, and would refuse one proof.
    fingerprint: [u64; 2],
    /// 0 marks an empty slot.
    expires_at: u64,
}

enum NotInserted {
    Full,
    MayBeDeleted,
}

impl ReplayShard {
    fn new(limit: usize) -> Self {
        Self { slots: Box::default(), used: 0, limit, earliest: u64::MAX, deleted_until: 0 }
    }

    fn insert(&mut self, fingerprint: [u64; 2], expires_at: u64, now: u64) -> Result<Sighting, NotInserted> {
        let new = ReplaySlot { fingerprint, expires_at: expires_at.max(1) };
        if let Some(known) = find(&mut self.slots, fingerprint).filter(|slot| slot.expires_at != 0) {
            if known.expires_at > now {
                return Ok(Sighting::Before);
            }
            known.expires_at = known.expires_at.max(new.expires_at);
            return Ok(Sighting::First);
        }
        if new.expires_at > now && new.expires_at <= self.deleted_until {
            return Err(NotInserted::MayBeDeleted);
        }
        if self.used >= self.room() {
            self.rebuild(now);
        }
        if self.used >= self.room() {
            return Err(NotInserted::Full);
        }
        let slot = find(&mut self.slots, fingerprint).ok_or(NotInserted::Full)?;
        *slot = new;
        self.used += 1;
        self.earliest = self.earliest.min(new.expires_at);
        Ok(Sighting::First)
    }

    /// Number of slots that may be used: with more than four fifths, probing takes long.
    fn room(&self) -> usize {
        self.limit.min(self.slots.len() * 4 / 5)
    }

    /// Deletes what has expired, and changes the size. A table of the largest size is built again only if something can be deleted:
    /// at most once in each second.
    fn rebuild(&mut self, now: u64) {
        let largest = (self.limit + self.limit.div_ceil(4)).next_power_of_two();
        let is_kept = |slot: &ReplaySlot| slot.expires_at != 0 && slot.expires_at.saturating_add(GRACE) > now;
        if self.slots.len() == largest && self.earliest.saturating_add(GRACE) > now {
            return;
        }
        let kept = self.slots.iter().filter(|slot| is_kept(slot)).count();
        // Twice the room, so that the number of insertions until the next time grows with the work.
        let size = ((kept + 1) * 5 / 2).next_power_of_two().clamp(SMALLEST.min(largest), largest);
        let mut slots = vec![ReplaySlot::default(); size].into_boxed_slice();
        (self.used, self.earliest) = (kept, u64::MAX);
        for slot in &self.slots {
            if !is_kept(slot) {
                self.deleted_until = self.deleted_until.max(slot.expires_at);
            } else if let Some(place) = find(&mut slots, slot.fingerprint) {
                *place = *slot;
                self.earliest = self.earliest.min(slot.expires_at);
            }
        }
        self.slots = slots;
    }
}

/// Returns the slot with this fingerprint, or else the empty one for it.
fn find(slots: &mut [ReplaySlot], fingerprint: [u64; 2]) -> Option<&mut ReplaySlot> {
    let [position, _] = fingerprint;
    let (before, after) = slots.split_at_mut_checked(scaled(position, slots.len()))?;
    after.iter_mut().chain(before).find(|slot| slot.expires_at == 0 || slot.fingerprint == fingerprint)
}

/// Returns a number below `count`, from a hash.
fn scaled(hash: u64, count: usize) -> usize {
    let product = u128::from(hash) * u128::try_from(count).unwrap_or_default();
    usize::try_from(product >> 64).unwrap_or_default()
}

const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();
/// With a tenth more, a shard of this size fits into 4096 slots. The number of a shard's keys deviates from the mean by a tenth
/// with a probability below 10^-7.
const MEAN_OF_SHARD: usize = 2_950;
/// Slots after the first insertion.
const SMALLEST: usize = 64;
/// Seconds for which an expired entry is kept: two threads may read the clock in another order than they come here.
const GRACE: u64 = 2;
const LINE_INTERVAL: Duration = Duration::from_secs(60);
