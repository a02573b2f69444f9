//! A callback that is slow, hangs or panics, and clients that disconnect while it runs.

use tower_oauth::{Cached, JwtOrOpaque, verify::Verdict};

use super::{
    Arc, AtomicBool, AtomicUsize, AuthErrorKind, Duration, DynamicIssuers, IssuerInquiry, ManualClock, MockIssuer,
    Ordering, SECOND, accepts, approve, forged, join_all, present, settle, spawn_present, token, unsigned, wait_until,
    waiting_tenants,
};
use crate::support::verifier_from;

/// Threat D3
#[tokio::test]
async fn a_slow_callback_delays_only_the_requests_that_need_its_decision() {
    let (verifier, calls, released) = waiting_tenants(&ManualClock::default());
    let waiting = spawn_present(&verifier, token("a"));
    wait_until(|| calls.load(Ordering::SeqCst) == 1).await;
    settle().await;
    assert!(!waiting.is_finished());
    released.send_replace(true);
    assert!(accepts(&verifier, &token("b")).await);
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// Threat D3
#[tokio::test]
async fn a_callback_that_hangs_is_given_up_after_5_seconds_and_called_again() {
    let clock = ManualClock::default();
    let (verifier, calls, released) = waiting_tenants(&clock);
    let waiting: Vec<_> = (0..10).map(|_| spawn_present(&verifier, token("a"))).collect();
    wait_until(|| calls.load(Ordering::SeqCst) == 1).await;
    settle().await;
    clock.advance(Duration::from_millis(4_999));
    settle().await;
    assert!(waiting.iter().all(|request| !request.is_finished()));
    clock.advance(Duration::from_millis(1));
    for result in join_all(waiting).await {
        assert_eq!(result.unwrap().unwrap_err(), AuthErrorKind::Unavailable);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    released.send_replace(true);
    assert!(accepts(&verifier, &token("a")).await);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// Threat D3
#[tokio::test]
async fn a_callback_that_panics_gives_503_and_is_called_again() {
    let (broken, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    for at_once in [true, false] {
        let (panics, counter) = (Arc::clone(&broken), Arc::clone(&calls));
        broken.store(true, Ordering::SeqCst);
        calls.store(0, Ordering::SeqCst);
        let verifier = DynamicIssuers::new(move |inquiry: IssuerInquiry| {
            counter.fetch_add(1, Ordering::SeqCst);
            let panics = panics.load(Ordering::SeqCst);
            assert!(!(panics && at_once), "a mistake in the callback, on purpose");
            async move {
                settle().await;
                assert!(!panics, "a mistake in the callback, on purpose");
                approve(inquiry.issuer())
            }
        });
        for _ in 0..20 {
            let requests = (0..20).map(|_| spawn_present(&verifier, token("a")));
            for result in join_all(requests).await {
                assert_eq!(result.unwrap().unwrap_err(), AuthErrorKind::Unavailable);
            }
        }
        assert!((20..=400).contains(&calls.load(Ordering::SeqCst)));
        broken.store(false, Ordering::SeqCst);
        assert!(accepts(&verifier, &token("a")).await);
    }
}

/// Threat D3
#[tokio::test]
async fn a_client_that_disconnects_neither_cancels_nor_repeats_the_call() {
    let (verifier, calls, released) = waiting_tenants(&ManualClock::default());
    let first = spawn_present(&verifier, token("a"));
    wait_until(|| calls.load(Ordering::SeqCst) == 1).await;
    let others: Vec<_> = (0..5).map(|_| spawn_present(&verifier, token("a"))).collect();
    settle().await;
    first.abort();
    others[0].abort();
    assert!(first.await.unwrap_err().is_cancelled());
    settle().await;
    released.send_replace(true);
    for (number, result) in join_all(others).await.into_iter().enumerate() {
        assert!(number == 0 || result.unwrap().is_ok());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // Also without any client that waits, the decision is stored.
    released.send_replace(false);
    let alone = spawn_present(&verifier, token("b"));
    wait_until(|| calls.load(Ordering::SeqCst) == 2).await;
    alone.abort();
    released.send_replace(true);
    settle().await;
    assert!(accepts(&verifier, &token("b")).await);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// Threat D2
#[tokio::test]
async fn at_most_16_calls_for_newcomers_run_at_a_time_and_others_wait_250_ms() {
    let clock = ManualClock::default();
    let (verifier, calls, released) = waiting_tenants(&clock);
    let running: Vec<_> = (0..16).map(|name| spawn_present(&verifier, token(name))).collect();
    wait_until(|| calls.load(Ordering::SeqCst) == 16).await;
    let waiting = spawn_present(&verifier, token("late"));
    settle().await;
    clock.advance(Duration::from_millis(249));
    settle().await;
    assert!(!waiting.is_finished());
    clock.advance(Duration::from_millis(1));
    assert_eq!(waiting.await.unwrap().unwrap_err(), AuthErrorKind::Unavailable);
    let waiting = spawn_present(&verifier, token("later"));
    settle().await;
    assert_eq!(calls.load(Ordering::SeqCst), 16);
    released.send_replace(true);
    assert!(waiting.await.unwrap().is_ok(), "gets the slot of a call that has ended");
    assert!(join_all(running).await.into_iter().all(|result| result.unwrap().is_ok()));
}

#[tokio::test]
async fn a_jwt_of_a_refused_issuer_goes_to_the_second_verifier_if_configured_also_after_a_wait() {
    let introspect = || {
        verifier_from(|presented| Verdict::Now(presented.permit().token(&serde_json::json!({"sub": "introspected"}))))
    };
    let foreign = MockIssuer::new("https://untrusted.test").token("ada").sign();
    let slow = || {
        DynamicIssuers::new(|inquiry: IssuerInquiry| async move {
            settle().await;
            approve(inquiry.issuer())
        })
    };
    let subject = async |verifier: &JwtOrOpaque<_, _>, token: &str| {
        present(verifier, token).await.map(|token| token.subject().unwrap().to_owned())
    };
    let strict = JwtOrOpaque::new(slow(), introspect());
    let foreign_too = JwtOrOpaque::builder(slow(), introspect()).introspect_foreign_jwts().build();
    let both = JwtOrOpaque::builder(slow(), introspect()).introspect_foreign_jwts().require_both().build();
    let introspected = Ok("introspected".to_owned());
    // The first round waits for decisions, the second one finds them.
    for _ in 0..2 {
        assert_eq!(subject(&strict, &foreign).await, Err(AuthErrorKind::InvalidToken));
        for (verifier, ours) in [(&foreign_too, "ada"), (&both, "introspected")] {
            assert_eq!(subject(verifier, &foreign).await, introspected);
            assert_eq!(subject(verifier, &token("a")).await, Ok(ours.to_owned()));
            for bad in [forged("b"), forged("a"), unsigned("a")] {
                assert_eq!(subject(verifier, &bad).await, Err(AuthErrorKind::InvalidToken), "no second chance");
            }
        }
    }
}

/// Threat D5
#[tokio::test]
async fn a_jwt_of_a_refused_issuer_goes_to_the_second_verifier_also_through_a_cache() {
    let slow = DynamicIssuers::new(|inquiry: IssuerInquiry| async move {
        settle().await;
        approve(inquiry.issuer())
    });
    let other = MockIssuer::new("https://another.test");
    let hour = Duration::from_secs(3600);
    let verifier = JwtOrOpaque::new(Cached::new(slow, hour), other.verifier(super::API));
    for _ in 0..2 {
        assert!(accepts(&verifier, &other.token("ada").sign()).await);
        assert!(accepts(&verifier, &token("a")).await);
    }
}

#[test]
fn decides_without_a_runtime() {
    let verifier = DynamicIssuers::builder(|inquiry: IssuerInquiry| async move { approve(inquiry.issuer()) });
    let verifier = verifier.clock(ManualClock::default()).approval_age(SECOND).build();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let (good, untrusted) = (token("a"), token("/"));
    let std::task::Poll::Ready(Ok(_)) = std::pin::pin!(present(&verifier, &good)).poll(&mut context) else {
        panic!("not accepted at once");
    };
    let std::task::Poll::Ready(Err(_)) = std::pin::pin!(present(&verifier, &untrusted)).poll(&mut context) else {
        panic!("not refused at once");
    };
}
