//! The stores of used DPoP proofs: each proof is accepted once, until it expires.

mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt as _;
use tower_oauth::{
    dpop::{Insertion, MemoryReplayStore, ReplayError, ReplayKey, ReplayStore, Sighting},
    testing::{replay_key, replay_store_conformance},
};

const NOW: u64 = 1_800_000_000;

/// A key that differs for each number.
fn key(number: u64) -> ReplayKey {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    replay_key(hash)
}

/// Inserts into a store that does not wait.
fn insert(store: &impl ReplayStore, number: u64, expires_at: u64, now: u64) -> Result<Sighting, ReplayError> {
    match store.insert_if_absent(&key(number), expires_at, now) {
        Insertion::Now(result) => result,
        other => panic!("{other:?}"),
    }
}

/// A store with one defect.
#[derive(Clone)]
struct Defective {
    defect: Defect,
    entries: Arc<Mutex<HashMap<Vec<u8>, u64>>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    /// Looks up and inserts in two steps.
    TwoSteps,
    /// Reads only half of the key.
    HalfOfTheKey,
    /// Deletes entries ten seconds early.
    Early,
    /// Deletes the entry when it refuses a replay.
    DeletesOnReplay,
    /// Uses the expiry as a part of the key.
    ExpiryInTheKey,
    Fails,
}

impl ReplayStore for Defective {
    fn insert_if_absent(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Insertion {
        let mut key = key.as_bytes().to_vec();
        match self.defect {
            Defect::HalfOfTheKey => key.truncate(16),
            Defect::ExpiryInTheKey => key.extend(expires_at.to_be_bytes()),
            Defect::Fails => return Insertion::Now(Err(ReplayError::new("it failed"))),
            _ => {}
        }
        let early = if self.defect == Defect::Early { 10 } else { 0 };
        let store = self.clone();
        Insertion::later(async move {
            store.entries.lock().unwrap().retain(|_, expires_at| *expires_at > now + early);
            let known = store.entries.lock().unwrap().contains_key(&key);
            if store.defect == Defect::TwoSteps {
                tokio::task::yield_now().await;
            } else if known || store.entries.lock().unwrap().contains_key(&key) {
                if store.defect == Defect::DeletesOnReplay {
                    store.entries.lock().unwrap().remove(&key);
                }
                return Ok(Sighting::Before);
            }
            store.entries.lock().unwrap().insert(key, expires_at);
            Ok(if known { Sighting::Before } else { Sighting::First })
        })
    }
}

/// Returns the text of a panic of the conformance tests.
async fn conforms<S: ReplayStore>(open: impl Fn() -> S) -> Result<(), String> {
    let suite = AssertUnwindSafe(replay_store_conformance(async || open())).catch_unwind();
    suite.await.map_err(|panic| *panic.downcast::<String>().unwrap())
}

#[tokio::test]
async fn the_conformance_tests_find_each_defect_of_a_replay_store() {
    // On a runtime with one thread only the defect decides.
    let conforms_with = async |defect| {
        let store = Defective { defect, entries: Arc::default() };
        conforms(|| store.clone()).await
    };
    conforms_with(Defect::None).await.unwrap();
    for (defect, words) in [
        (Defect::TwoSteps, "50 insertions of one key at the same time"),
        (Defect::HalfOfTheKey, "in byte 16"),
        (Defect::Early, "a key that lives for 60 s, after 59 s"),
        (Defect::DeletesOnReplay, "the key again"),
        (Defect::ExpiryInTheKey, "with a later expiry"),
        (Defect::Fails, "it failed"),
    ] {
        let found = conforms_with(defect).await.expect_err(&format!("{defect:?}"));
        assert!(found.contains(words), "{defect:?}: {found}");
    }
    // Two instances that share nothing.
    let found = conforms(MemoryReplayStore::new).await.unwrap_err();
    assert!(found.contains("at the other instance"), "{found}");
}

#[test]
fn neither_key_nor_store_shows_the_hash() {
    assert_eq!(format!("{:?}", key(1)), "ReplayKey { .. }");
    let store = MemoryReplayStore::new();
    insert(&store, 1, NOW + 60, NOW).unwrap();
    assert_eq!(format!("{store:?}"), "MemoryReplayStore { capacity: 1000000, .. }");
    let error = ReplayError::new("short").with_source(std::io::Error::other("the cause"));
    assert_eq!(
        (error.to_string(), std::error::Error::source(&error).unwrap().to_string()),
        ("short".to_owned(), "the cause".to_owned())
    );
}
