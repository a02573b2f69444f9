//! The tests that every [`ReplayStore`] must pass.
//!
//! *In*: a store, opened twice on the same data. *Out*: a panic if the store does not conform.
//!
//! Not tested: what a store does when it is full or when its server fails.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::task::JoinSet;

use crate::{
    dpop::{ReplayKey, ReplayStore, Sighting},
    jws::random,
};

/// Tests a store of used DPoP proofs. `open` opens it on the same data each time: every instance must see what another one has
/// inserted.
///
/// Call it from a test, in a tokio runtime, on a separate database or prefix. It inserts about 200 keys that expire within ten
/// minutes. `now` moves by up to five minutes, and back.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::sync::Arc;
/// use tower_oauth::{dpop::MemoryReplayStore, testing::replay_store_conformance};
///
/// let store = Arc::new(MemoryReplayStore::new());
/// replay_store_conformance(async || Arc::clone(&store)).await;
/// # }
/// ```
///
/// # Panics
/// The store does not conform; the message describes the difference.
pub async fn replay_store_conformance<S: ReplayStore>(open: impl AsyncFn() -> S) {
    let stores = [Arc::new(open().await), Arc::new(open().await)];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs();
    let suite = ReplaySuite { stores, now };
    suite.one_use().await;
    suite.other_keys().await;
    suite.at_the_same_time().await;
    suite.until_expiry().await;
}

/// Returns a key for a test of a [`ReplayStore`].
#[must_use]
pub fn replay_key(hash: [u8; 32]) -> ReplayKey {
    ReplayKey::new(hash)
}

struct ReplaySuite<S> {
    stores: [Arc<S>; 2],
    now: u64,
}

impl<S: ReplayStore> ReplaySuite<S> {
    async fn insert(&self, instance: usize, key: &ReplayKey, expires_at: u64, now: u64) -> Sighting {
        let inserted = self.stores[instance].insert_if_absent(key, expires_at, now).resolve().await;
        inserted.unwrap_or_else(|error| panic!("insert_if_absent failed: {error:?}"))
    }

    async fn one_use(&self) {
        let (key, now) = (new_key(), self.now);
        assert_eq!(self.insert(0, &key, now + 60, now).await, Sighting::First, "a new key");
        for (instance, whose) in [(0, "the same"), (1, "the other")] {
            let replay = self.insert(instance, &key, now + 60, now).await;
            assert_eq!(replay, Sighting::Before, "the key again, at {whose} instance");
            let other_expiry = self.insert(instance, &key, now + 90, now).await;
            assert_eq!(other_expiry, Sighting::Before, "the key again with a later expiry, at {whose} instance");
        }
    }

    /// Keys that differ in one bit.
    async fn other_keys(&self) {
        let key = new_key();
        assert_eq!(self.insert(0, &key, self.now + 60, self.now).await, Sighting::First, "a new key");
        for byte in 0..32 {
            let mut other = *key.as_bytes();
            other[byte] ^= 1;
            let inserted = self.insert(0, &ReplayKey::new(other), self.now + 60, self.now).await;
            assert_eq!(inserted, Sighting::First, "a key that differs from another one in byte {byte}");
        }
    }

    async fn until_expiry(&self) {
        let (now, keys) = (self.now, [60, 91, 300].map(|life| (life, new_key())));
        for (life, key) in &keys {
            assert_eq!(self.insert(0, key, now + life, now).await, Sighting::First, "a new key");
        }
        for (life, key) in &keys {
            // Clocks of two instances, and one that is set back.
            for later in [0, 1, life / 2, life - 1, 10, 0] {
                let replay = self.insert(1, key, now + life, now + later).await;
                assert_eq!(replay, Sighting::Before, "a key that lives for {life} s, after {later} s");
            }
            let replay = self.insert(1, key, now + life, now - 30).await;
            assert_eq!(replay, Sighting::Before, "a key that lives for {life} s, and a clock that was set back");
        }
    }

    async fn at_the_same_time(&self) {
        for round in 0..4 {
            let (key, now, mut calls) = (new_key(), self.now, JoinSet::new());
            for call in 0..50 {
                let store = Arc::clone(&self.stores[call % 2]);
                calls.spawn(async move { store.insert_if_absent(&key, now + 60, now).resolve().await });
            }
            let sightings: Vec<_> = calls.join_all().await.into_iter().map(|s| s.expect("insert_if_absent")).collect();
            let first = sightings.iter().filter(|sighting| **sighting == Sighting::First).count();
            assert_eq!(first, 1, "First, of 50 insertions of one key at the same time (round {round})");
        }
    }
}

fn new_key() -> ReplayKey {
    ReplayKey::new(random().expect("the system gives random bytes"))
}
