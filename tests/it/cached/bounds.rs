//! How much a cache stores at most, and that many tokens that come once don't evict tokens that come often.

use super::{
    AuthErrorKind, Cached, Clock as _, Duration, HOUR, Server, ServerResponse, Verdict, Verify, authenticate, clock,
    json, seconds_from_now, subject,
};
use crate::support::verifier_from;

/// Accepts every token at once. Its claims have about this many bytes; those of tokens named `small…` have fewer.
fn accepts_all(bytes: usize) -> impl Verify {
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
async fn stores_at_most_max_entries_tokens() {
    for entries in [1, 2, 7, 31, 32, 100, 1000] {
        let cached = Cached::builder(accepts_all(0), HOUR).max_entries(entries).build();
        fill(&cached, "token", 3 * entries + 10).await;
        assert!(cached.len() <= entries, "{} of {entries}", cached.len());
        assert!(cached.len() >= entries.div_ceil(2), "{} of {entries}", cached.len());
    }
}

#[tokio::test]
async fn stores_at_most_max_bytes_of_claims() {
    let (kilobyte, bytes) = (1024, 1024 * 1024);
    for size in [0, 1, 4, 12] {
        let cached = Cached::builder(accepts_all(size * kilobyte), HOUR).max_bytes(bytes).build();
        fill(&cached, "token", 2500).await;
        let claims = (size * kilobyte).max(300);
        assert!(cached.len() * claims <= bytes, "{} of {size} KiB", cached.len());
        assert!(cached.len() * (claims + 1500) >= bytes / 3, "{} of {size} KiB", cached.len());
    }
}

#[tokio::test]
async fn a_large_token_evicts_many_small_ones_within_max_bytes() {
    let cached = Cached::builder(accepts_all(12 * 1024), HOUR).max_bytes(256 * 1024).build();
    fill(&cached, "small", 1000).await;
    let small = cached.len();
    assert!(small > 100, "{small}");
    fill(&cached, "large", 100).await;
    assert!(cached.len() < small);
    assert!(cached.len() * 300 <= 256 * 1024);
}

#[tokio::test]
async fn stores_as_many_tokens_as_a_small_max_bytes_allows() {
    // On any number of processors: the cache must not be split into so many parts that no token fits into one.
    let cached = Cached::builder(accepts_all(0), HOUR).max_bytes(64 * 1024).build();
    fill(&cached, "token", 500).await;
    assert!((30..=200).contains(&cached.len()), "{}", cached.len());
    let cached = Cached::builder(accepts_all(12 * 1024), HOUR).max_bytes(64 * 1024).build();
    fill(&cached, "token", 20).await;
    assert!((1..=5).contains(&cached.len()), "{}", cached.len());
}

#[tokio::test]
async fn accepts_and_does_not_store_a_token_larger_than_max_bytes() {
    let cached = Cached::builder(accepts_all(12 * 1024), HOUR).max_bytes(4096).build();
    fill(&cached, "token", 3).await;
    assert!(cached.is_empty());
    fill(&cached, "small", 1).await;
    assert_eq!(cached.len(), 1);
}

#[tokio::test]
async fn a_cache_of_size_zero_accepts_tokens_and_stores_none() {
    for cached in [
        Cached::builder(accepts_all(0), HOUR).max_entries(0).build(),
        Cached::builder(accepts_all(0), HOUR).max_bytes(0).build(),
        Cached::builder(accepts_all(0), HOUR).max_entries(0).max_bytes(0).build(),
        Cached::builder(accepts_all(0), HOUR).max_entries(0).max_bytes(usize::MAX).build(),
        Cached::builder(accepts_all(0), HOUR).max_entries(usize::MAX).max_bytes(0).build(),
    ] {
        fill(&cached, "token", 50).await;
        assert!(cached.is_empty());
    }
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).max_entries(0).build();
    for _ in 0..2 {
        assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn an_unlimited_bound_leaves_the_other_bound_in_force() {
    for entries in [1, 3, 10, 100] {
        let cached = Cached::builder(accepts_all(0), HOUR).max_entries(entries).max_bytes(usize::MAX).build();
        fill(&cached, "token", 300).await;
        assert!((1..=entries).contains(&cached.len()), "{} of {entries}", cached.len());
    }
    let cached = Cached::builder(accepts_all(0), HOUR).max_entries(usize::MAX).max_bytes(64 * 1024).build();
    fill(&cached, "token", 1000).await;
    assert!(cached.len() * 300 <= 64 * 1024, "{}", cached.len());
    let cached = Cached::builder(accepts_all(0), HOUR).max_entries(usize::MAX).max_bytes(usize::MAX).build();
    fill(&cached, "token", 1000).await;
    assert_eq!(cached.len(), 1000);
}

/// Sends 500 stored tokens again and again, and between them tokens that come once each. Returns the hit rate of the 500,
/// in per cent. `cargo bench --bench cached` measures the case in which the tokens that come once are first.
async fn hit_rate(flood: usize) -> usize {
    let (calls, hits) = (std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)), std::cell::Cell::new(0));
    let counting = std::sync::Arc::clone(&calls);
    let verifier = verifier_from(move |presented| {
        counting.fetch_add(1, super::Ordering::SeqCst);
        Verdict::Now(presented.permit().token(&json!({"sub": presented.token()})))
    });
    let cached = Cached::builder(verifier, HOUR).max_entries(1000).build();
    let rounds = 40;
    fill(&cached, "known", 500).await;
    let mut one_time = 0;
    for round in 0..rounds {
        for known in 0..500 {
            let before = calls.load(super::Ordering::SeqCst);
            authenticate(&cached, &format!("known-{known}")).await.unwrap();
            // The first half of the rounds warms the cache.
            if round >= rounds / 2 && calls.load(super::Ordering::SeqCst) == before {
                hits.set(hits.get() + 1);
            }
            fill(&cached, &format!("one-time-{one_time}"), flood).await;
            one_time += 1;
        }
    }
    hits.get() * 100 / (500 * rounds / 2)
}

#[tokio::test]
async fn valid_tokens_that_come_once_do_not_evict_tokens_that_come_often() {
    for flood in [1, 10] {
        let rate = hit_rate(flood).await;
        assert!(rate >= 90, "{rate} % with {flood} tokens that come once for each known one");
    }
}

/// Threat I11
#[tokio::test]
async fn invalid_tokens_do_not_evict_valid_ones() {
    let server = Server::with_ada();
    let cached = Cached::builder(server.clone(), HOUR).max_entries(10).build();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    for index in 0..2000 {
        assert_eq!(subject(&cached, &format!("bad-{index}")).await, Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(cached.len(), 1);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 2001);
}

/// Threat I11
#[tokio::test]
async fn the_number_of_stored_refusals_is_bounded() {
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).max_entries(10).build();
    for _ in 0..2 {
        for index in 0..100 {
            assert_eq!(subject(&cached, &format!("bad-{index}")).await, Err(AuthErrorKind::InvalidToken));
        }
    }
    assert!(server.calls() >= 190, "{} calls: at most ten refusals were stored in the second round", server.calls());
}

#[tokio::test]
async fn an_expired_token_is_replaced_by_its_new_verdict() {
    let clock = clock();
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).clock(clock.clone()).build();
    for _ in 0..20 {
        let exp = seconds_from_now(&clock, Duration::from_secs(1));
        server.set_response("ada", ServerResponse::Active(json!({"sub": "ada", "exp": exp})));
        assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!((cached.len(), server.calls()), (1, 20));
    assert!(clock.elapsed() > Duration::from_secs(19));
}

#[tokio::test]
async fn each_build_makes_a_cache_and_its_clones_share_it() {
    let server = Server::with_ada();
    let one = Cached::new(server.clone(), HOUR);
    let other = Cached::builder(server.clone(), HOUR).max_entries(5).build();
    let clone = one.clone();
    assert_eq!(subject(&one, "ada").await.as_deref(), Ok("ada"));
    assert_eq!((one.len(), clone.len(), other.len()), (1, 1, 0));
    assert_eq!(subject(&clone, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 1);
    clone.invalidate("ada");
    assert_eq!((one.len(), clone.len(), other.len()), (0, 0, 0));
}

#[tokio::test]
async fn setters_can_be_called_in_any_order() {
    let server = Server::with_ada();
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
        let before = server.calls();
        for _ in 0..2 {
            subject(&cached, "bad").await.unwrap_err();
        }
        clock.advance(Duration::from_secs(1));
        subject(&cached, "bad").await.unwrap_err();
        assert_eq!(server.calls() - before, 2);
        for index in 0..10 {
            server.set_response(&format!("t-{index}"), ServerResponse::Active(json!({"sub": "x"})));
            subject(&cached, &format!("t-{index}")).await.unwrap();
        }
        assert!((1..=3).contains(&cached.len()));
    }
}
