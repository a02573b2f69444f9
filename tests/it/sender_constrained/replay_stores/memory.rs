//! The store in memory.

use std::{
    collections::HashMap,
    env, fs,
    hash::{BuildHasher as _, RandomState},
    num::NonZeroUsize,
    process::Command,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use tower_oauth::{
    dpop::{MemoryReplayStore, Sighting},
    testing::replay_store_conformance,
};

use super::{NOW, insert};
use crate::{log::Log, support::test_name};

fn with_capacity(proofs: usize) -> MemoryReplayStore {
    MemoryReplayStore::with_capacity(NonZeroUsize::new(proofs).unwrap())
}

/// True if the store had no entry for this number.
fn is_first(store: &MemoryReplayStore, number: u64, expires_at: u64, now: u64) -> bool {
    insert(store, number, expires_at, now).unwrap() == Sighting::First
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_conforms() {
    for capacity in [200, 20_000, 1_000_000] {
        let store = Arc::new(with_capacity(capacity));
        replay_store_conformance(async || Arc::clone(&store)).await;
    }
}

#[test]
fn of_fifty_threads_with_one_proof_one_is_first() {
    let (store, start) = (with_capacity(100_000), Barrier::new(50));
    for round in 0..100 {
        let firsts = thread::scope(|scope| {
            let insert = || {
                start.wait();
                is_first(&store, round, NOW + 60, NOW)
            };
            let threads: Vec<_> = (0..50).map(|_| scope.spawn(insert)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|first| *first).count()
        });
        assert_eq!(firsts, 1, "round {round}");
    }
}

#[test]
fn an_entry_lives_exactly_until_it_expires() {
    let store = MemoryReplayStore::new();
    for (number, life) in [1, 2, 61, 91, 301].into_iter().enumerate() {
        let number = number as u64;
        assert!(is_first(&store, number, NOW + life, NOW));
        for now in [NOW, NOW + life / 2, NOW + life - 1, NOW] {
            assert!(!is_first(&store, number, NOW + life, now), "{life} s");
        }
        assert!(is_first(&store, number, NOW + life + 60, NOW + life), "it has expired");
        assert!(!is_first(&store, number, NOW + life, NOW), "the clock was set back");
        assert!(!is_first(&store, number, NOW + life, NOW + life + 59), "it was inserted again");
    }
    // The ends of the range.
    for (number, expires_at) in [(100, u64::MAX), (101, u64::MAX - 1), (102, 1 << 32)] {
        assert!(is_first(&store, number, expires_at, NOW));
        assert!(!is_first(&store, number, expires_at, expires_at - 1));
    }
    assert!(is_first(&store, 103, 0, 0) && is_first(&store, 103, 0, NOW));
}

/// Fills a store so that it is built again, and so deletes what has expired.
fn fill(store: &MemoryReplayStore, from: u64, count: u64, expires_at: u64, now: u64) {
    for number in from..from + count {
        assert!(is_first(store, number, expires_at, now), "{number}");
    }
}

#[test]
fn a_clock_that_is_set_back_opens_no_deleted_proof() {
    let store = with_capacity(1_000);
    fill(&store, 0, 500, NOW + 90, NOW);
    // The clock is set ahead by an hour: all of these have expired and are deleted.
    fill(&store, 10_000, 900, NOW + 3690, NOW + 3600);
    // It is set back. Nothing that may have been used is accepted, and nothing is 401 that may be new.
    for number in 0..500 {
        let error = insert(&store, number, NOW + 90, NOW + 1).unwrap_err();
        assert!(error.to_string().contains("the clock was set back"), "{error}");
    }
    insert(&store, 5_000, NOW + 80, NOW + 1).unwrap_err();
    assert!(is_first(&store, 5_000, NOW + 91, NOW + 1), "a proof that expires later can't have been deleted");
    assert!(!is_first(&store, 5_000, NOW + 91, NOW + 1));
    assert!(is_first(&store, 5_001, NOW + 151, NOW + 90), "it works again as soon as these have expired");
    // Two threads read the clock in one order and insert in the other one: that is no clock that was set back.
    let store = with_capacity(1_000);
    fill(&store, 0, 500, NOW + 90, NOW);
    fill(&store, 1_000, 500, NOW + 180, NOW + 91);
    assert!(!is_first(&store, 3, NOW + 90, NOW + 89));
    fill(&store, 2_000, 500 - 1, NOW + 180, NOW + 92);
    assert!(is_first(&store, 3_000, NOW + 91, NOW + 90));
}

/// RFC 9449 §11.1 a (derived, refuses)
#[test]
fn a_full_store_refuses_new_proofs_until_entries_expire_and_still_knows_the_others() {
    for capacity in [1, 2, 3, 7, 64, 1_000, 2_950, 2_951, 50_000] {
        let store = with_capacity(capacity);
        let inserted = (0..2 * capacity as u64 + 9)
            .take_while(|number| insert(&store, *number, NOW + 60 + number % 2, NOW).is_ok())
            .count();
        // Several shards: one of them is full first.
        assert!((capacity..=capacity + capacity / 9).contains(&inserted), "{capacity}: {inserted}");
        let inserted = inserted as u64;
        for number in [0, inserted / 2, inserted - 1] {
            assert!(
                !is_first(&store, number, NOW + 60, NOW + 59),
                "a replay is refused as such, also when the store is full"
            );
        }
        let error = insert(&store, inserted, NOW + 120, NOW + 59).unwrap_err();
        assert!(error.to_string().contains(&format!("the memory of {capacity} used proofs is full")), "{error}");
        // Half of them have expired two seconds ago. This makes room in each shard.
        if inserted > 1 {
            let again =
                (0..inserted / 4).filter(|number| insert(&store, 1_000_000 + number, NOW + 200, NOW + 62).is_ok());
            assert_eq!(again.count() as u64, inserted / 4, "{capacity}");
            assert!(!is_first(&store, 1, NOW + 61, NOW + 60), "the other half is there");
        }
        let again =
            (0..capacity as u64).filter(|number| insert(&store, 2_000_000 + number, NOW + 600, NOW + 300).is_ok());
        assert_eq!(again.count(), capacity, "all have expired");
    }
}

#[test]
fn a_full_store_is_logged_once_in_a_minute() {
    let (log, store) = (Log::default(), with_capacity(10));
    let installed = log.install();
    fill(&store, 0, 10, NOW + 60, NOW);
    for number in 10..500 {
        insert(&store, number, NOW + 60, NOW).unwrap_err();
    }
    drop(installed);
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    for words in [
        "ERROR tower_oauth: used DPoP proofs can't be recorded",
        "store=\"memory\"",
        "of 10 used proofs is full",
        "failures=1",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[cfg(feature = "metrics")]
#[test]
fn each_proof_that_a_full_store_refuses_is_counted() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    let (recorder, store) = (DebuggingRecorder::new(), with_capacity(10));
    metrics::with_local_recorder(&recorder, || {
        fill(&store, 0, 10, NOW + 60, NOW);
        (10..25).for_each(|number| drop(insert(&store, number, NOW + 60, NOW).unwrap_err()));
    });
    let counted = recorder.snapshotter().snapshot().into_vec();
    let [(key, _, _, DebugValue::Counter(15))] = counted.as_slice() else { panic!("{counted:?}") };
    let labels: Vec<_> = key.key().labels().map(|label| (label.key(), label.value())).collect();
    assert_eq!((key.key().name(), labels), ("tower_oauth_replay_store_errors_total", vec![("store", "memory")]));
}

/// The memory of the process, in bytes, without the pages of its program file, which the kernel loads as it likes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: Vec<usize> = pages.split(' ').skip(1).take(2).map(|count| count.parse().unwrap()).collect();
    4096 * (pages[0] - pages[1])
}

/// Runs in a process of its own, whose memory nothing else uses.
///
/// RFC 9449 §11.1 a (derived, accepts)
#[cfg(target_os = "linux")]
#[test]
fn a_flood_of_proofs_needs_less_than_50_bytes_each_however_long_it_lasts() {
    if env::var_os("REPLAY_MEMORY").is_none() {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(test_name(module_path!(), "a_flood_of_proofs_needs_less_than_50_bytes_each_however_long_it_lasts"))
            .env("REPLAY_MEMORY", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&child.stderr)
        );
        return println!("{said}");
    }
    let store = with_capacity(300_000);
    let (before, mut inserted, mut longest) = (resident(), 0, Duration::ZERO);
    // For two minutes, more in each second than the store has room for.
    for second in 0..120 {
        for _ in 0..4_000 {
            let start = Instant::now();
            inserted += u64::from(insert(&store, rand(second, inserted), NOW + second + 91, NOW + second).is_ok());
            longest = longest.max(start.elapsed());
        }
    }
    let bytes = (resident() - before) / 300_000;
    println!("{inserted} inserted, {bytes} bytes for each of 300 000, longest insertion {longest:?}");
    assert!(inserted > 400_000, "{inserted}");
    assert!((20..=48).contains(&bytes), "{bytes}");
}

/// A number that differs for each pair.
fn rand(second: u64, inserted: u64) -> u64 {
    second << 32 | inserted & 0xffff_ffff
}

#[derive(Debug, Clone)]
enum Step {
    Insert {
        number: u64,
        life: u64,
    },
    Ahead(u64),
    /// A second or two, as two threads that read the clock in another order.
    Back(u64),
    /// The clock is set.
    SetBack(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        30 => (0..300_u64, 1..120_u64).prop_map(|(number, life)| Step::Insert { number, life }),
        3 => (0..5_u64).prop_map(Step::Ahead),
        1 => (10..150_u64).prop_map(Step::Ahead),
        1 => (0..=2_u64).prop_map(Step::Back),
        1 => (3..100_u64).prop_map(Step::SetBack),
    ];
    proptest::collection::vec(step, 1..1500)
}

/// The model deletes nothing. An entry is a replay until its expiry; the store may refuse with an error only if it is full, or if
/// the clock has been ahead of the expiry.
fn agrees_with_the_model(capacity: usize, steps: Vec<Step>) -> Result<(usize, usize), TestCaseError> {
    let (store, mut model, mut now, mut latest) = (with_capacity(capacity), HashMap::new(), NOW, NOW);
    let (mut replays, mut errors) = (0, 0);
    for step in steps {
        match step {
            Step::Ahead(seconds) => now += seconds,
            Step::Back(seconds) | Step::SetBack(seconds) => now -= seconds,
            Step::Insert { number, life } => {
                let (expires_at, known) = (now + life, model.get(&number).copied().unwrap_or_default());
                let inserted = insert(&store, number, expires_at, now);
                // The store keeps an expired entry for two more seconds.
                let is_full = model.values().filter(|expires_at| **expires_at + 2 > now).count() >= capacity;
                match inserted {
                    Ok(Sighting::Before) => prop_assert!(known > now, "{number} is new at {now}"),
                    Ok(_) => {
                        // After the clock was set back, a deleted entry is known by its expiry: a proof has always the same.
                        let is_another_proof = known + 2 <= latest && expires_at > known;
                        prop_assert!(known <= now || is_another_proof, "{number} is known until {known} at {now}");
                        model.insert(number, expires_at.max(known));
                    }
                    Err(error) if error.to_string().contains("full") => prop_assert!(is_full, "{error}"),
                    Err(error) => {
                        errors += 1;
                        prop_assert!(expires_at + 2 <= latest, "{error}: {expires_at} at {now}, after {latest}");
                    }
                }
                replays += usize::from(known > now);
            }
        }
        latest = latest.max(now);
    }
    Ok((replays, errors))
}

#[test]
fn the_store_in_memory_agrees_with_a_model_that_deletes_nothing() {
    let chosen = env::var("PROPTEST_RNG_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = chosen.unwrap_or_else(|| RandomState::new().hash_one(0));
    let config =
        ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Default::default() };
    let (replays, errors) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    TestRunner::new(config)
        .run(&(20..400_usize, steps()), |(capacity, steps)| {
            let (more_replays, more_errors) = agrees_with_the_model(capacity, steps)?;
            replays.set(replays.get() + more_replays);
            errors.set(errors.get() + more_errors);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("PROPTEST_RNG_SEED={seed}: {failure}"));
    assert!(replays.get() > 1_000 && errors.get() > 10, "{replays:?} replays, {errors:?} errors");
}
