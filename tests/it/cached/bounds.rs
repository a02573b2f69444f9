//! How much is kept at the most, and that a flood drives out nobody.

use super::{
    Answer, AuthErrorKind, Cached, Clock as _, Duration, HOUR, Server, Verdict, Verify, authenticate, clock, json,
    later, subject,
};
use crate::support::verifier_from;

/// Accepts every token at once, with claims of about so many bytes, and fewer for `small…`.
fn generous(bytes: usize) -> impl Verify {
    let large = "x".repeat(bytes);
    verifier_from(move |presented| {
        let padding = if presented.token().starts_with("small") { "" } else { &large };
        Verdict::Now(presented.permit().token(&json!({"sub": presented.token(), "padding": padding})))
    })
}

async fn fill<V: Verify>(cached: &Cached<V>, name: &str, count: usize) {
    for index in 0..count {
        assert_eq!(subject(cached, &format!("{name}-{index}")).await.unwrap(), format!("{name}-{index}"));
    }
}

#[tokio::test]
async fn no_more_tokens_are_kept_than_was_said() {
    for entries in [1, 2, 7, 31, 32, 100, 1000] {
        let cached = Cached::builder(generous(0), HOUR).max_entries(entries).build();
        fill(&cached, "token", 3 * entries + 10).await;
        assert!(cached.len() <= entries, "{} of {entries}", cached.len());
        assert!(cached.len() >= entries.div_ceil(2), "{} of {entries}", cached.len());
    }
}

#[tokio::test]
async fn no_more_bytes_are_kept_than_was_said() {
    let (kilobyte, bytes) = (1024, 1024 * 1024);
    for size in [0, 1, 4, 12] {
        let cached = Cached::builder(generous(size * kilobyte), HOUR).max_bytes(bytes).build();
        fill(&cached, "token", 2500).await;
        let claims = (size * kilobyte).max(300);
        assert!(cached.len() * claims <= bytes, "{} of {size} KiB", cached.len());
        assert!(cached.len() * (claims + 1500) >= bytes / 3, "{} of {size} KiB", cached.len());
    }
}

#[tokio::test]
async fn a_large_token_takes_the_place_of_many_small_ones_and_not_more() {
    let cached = Cached::builder(generous(12 * 1024), HOUR).max_bytes(256 * 1024).build();
    fill(&cached, "small", 1000).await;
    let small = cached.len();
    assert!(small > 100, "{small}");
    fill(&cached, "large", 100).await;
    assert!(cached.len() < small);
    assert!(cached.len() * 300 <= 256 * 1024);
}

#[tokio::test]
async fn with_few_bytes_for_many_entries_what_fits_is_kept() {
    // However many processors there are: the places must not become so many that nothing fits into one.
    let cached = Cached::builder(generous(0), HOUR).max_bytes(64 * 1024).build();
    fill(&cached, "token", 500).await;
    assert!((30..=200).contains(&cached.len()), "{}", cached.len());
    let cached = Cached::builder(generous(12 * 1024), HOUR).max_bytes(64 * 1024).build();
    fill(&cached, "token", 20).await;
    assert!((1..=5).contains(&cached.len()), "{}", cached.len());
}

#[tokio::test]
async fn a_token_that_is_larger_than_all_the_room_is_accepted_and_not_kept() {
    let cached = Cached::builder(generous(12 * 1024), HOUR).max_bytes(4096).build();
    fill(&cached, "token", 3).await;
    assert!(cached.is_empty());
    fill(&cached, "small", 1).await;
    assert_eq!(cached.len(), 1);
}

#[tokio::test]
async fn with_no_room_at_all_tokens_are_accepted_and_not_kept() {
    for cached in [
        Cached::builder(generous(0), HOUR).max_entries(0).build(),
        Cached::builder(generous(0), HOUR).max_bytes(0).build(),
        Cached::builder(generous(0), HOUR).max_entries(0).max_bytes(0).build(),
        Cached::builder(generous(0), HOUR).max_entries(0).max_bytes(usize::MAX).build(),
        Cached::builder(generous(0), HOUR).max_entries(usize::MAX).max_bytes(0).build(),
    ] {
        fill(&cached, "token", 50).await;
        assert!(cached.is_empty());
    }
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).max_entries(0).build();
    for _ in 0..2 {
        assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn room_without_end_on_one_side_is_bounded_by_the_other() {
    for entries in [1, 3, 10, 100] {
        let cached = Cached::builder(generous(0), HOUR).max_entries(entries).max_bytes(usize::MAX).build();
        fill(&cached, "token", 300).await;
        assert!((1..=entries).contains(&cached.len()), "{} of {entries}", cached.len());
    }
    let cached = Cached::builder(generous(0), HOUR).max_entries(usize::MAX).max_bytes(64 * 1024).build();
    fill(&cached, "token", 1000).await;
    assert!(cached.len() * 300 <= 64 * 1024, "{}", cached.len());
    let cached = Cached::builder(generous(0), HOUR).max_entries(usize::MAX).max_bytes(usize::MAX).build();
    fill(&cached, "token", 1000).await;
    assert_eq!(cached.len(), 1000);
}

/// A working set that is there comes again and again while strangers come once each; how many of its requests were hits, of
/// a hundred. How it fares where the strangers were first, `cargo fixture --fixture cached` tells.
async fn hit_rate(flood: usize) -> usize {
    let (asked, hits) = (std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)), std::cell::Cell::new(0));
    let counting = std::sync::Arc::clone(&asked);
    let verifier = verifier_from(move |presented| {
        counting.fetch_add(1, super::Ordering::SeqCst);
        Verdict::Now(presented.permit().token(&json!({"sub": presented.token()})))
    });
    let cached = Cached::builder(verifier, HOUR).max_entries(1000).build();
    let rounds = 40;
    fill(&cached, "known", 500).await;
    let mut stranger = 0;
    for round in 0..rounds {
        for known in 0..500 {
            let before = asked.load(super::Ordering::SeqCst);
            authenticate(&cached, &format!("known-{known}")).await.unwrap();
            // The first half is for getting to know each other.
            if round >= rounds / 2 && asked.load(super::Ordering::SeqCst) == before {
                hits.set(hits.get() + 1);
            }
            fill(&cached, &format!("stranger-{stranger}"), flood).await;
            stranger += 1;
        }
    }
    hits.get() * 100 / (500 * rounds / 2)
}

#[tokio::test]
async fn a_flood_of_good_tokens_that_come_once_does_not_drive_out_those_that_are_there_and_come_often() {
    for flood in [1, 10] {
        let rate = hit_rate(flood).await;
        assert!(rate >= 90, "{rate} % at {flood} strangers to one");
    }
}

#[tokio::test]
async fn a_flood_of_bad_tokens_drives_out_no_good_one() {
    let server = Server::of_ada();
    let cached = Cached::builder(server.clone(), HOUR).max_entries(10).build();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    for index in 0..2000 {
        assert_eq!(subject(&cached, &format!("bad-{index}")).await, Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(cached.len(), 1);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 2001);
}

#[tokio::test]
async fn refusals_are_bounded_too() {
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).max_entries(10).build();
    for _ in 0..2 {
        for index in 0..100 {
            assert_eq!(subject(&cached, &format!("bad-{index}")).await, Err(AuthErrorKind::InvalidToken));
        }
    }
    assert!(server.asked() >= 190, "{}: no more than ten of them were known in the second round", server.asked());
}

#[tokio::test]
async fn a_token_that_dies_early_makes_room_for_itself() {
    let clock = clock();
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).clock(clock.clone()).build();
    for _ in 0..20 {
        let exp = later(&clock, Duration::from_secs(1));
        server.says("ada", Answer::Active(json!({"sub": "ada", "exp": exp})));
        assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!((cached.len(), server.asked()), (1, 20));
    assert!(clock.elapsed() > Duration::from_secs(19));
}

#[tokio::test]
async fn each_build_makes_a_cache_and_its_clones_share_it() {
    let server = Server::of_ada();
    let one = Cached::new(server.clone(), HOUR);
    let other = Cached::builder(server.clone(), HOUR).max_entries(5).build();
    let clone = one.clone();
    assert_eq!(subject(&one, "ada").await.as_deref(), Ok("ada"));
    assert_eq!((one.len(), clone.len(), other.len()), (1, 1, 0));
    assert_eq!(subject(&clone, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 1);
    clone.invalidate("ada");
    assert_eq!((one.len(), clone.len(), other.len()), (0, 0, 0));
}

#[tokio::test]
async fn builder_methods_can_be_said_in_any_order() {
    let server = Server::of_ada();
    let clock = clock();
    let one = Cached::builder(server.clone(), HOUR)
        .max_entries(3)
        .refusal_age(Duration::from_secs(1))
        .clock(clock.clone())
        .build();
    let other = Cached::builder(server.clone(), HOUR)
        .clock(clock.clone())
        .refusal_age(Duration::from_secs(1))
        .max_entries(3)
        .build();
    for cached in [one, other] {
        let before = server.asked();
        for _ in 0..2 {
            subject(&cached, "bad").await.unwrap_err();
        }
        clock.advance(Duration::from_secs(1));
        subject(&cached, "bad").await.unwrap_err();
        assert_eq!(server.asked() - before, 2);
        for index in 0..10 {
            server.says(&format!("t-{index}"), Answer::Active(json!({"sub": "x"})));
            subject(&cached, &format!("t-{index}")).await.unwrap();
        }
        assert!((1..=3).contains(&cached.len()));
    }
}
