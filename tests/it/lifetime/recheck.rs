//! A verifier that is asked again while a stream goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::sync::Semaphore;
use tower_oauth::{
    AuthError, Cached, IntrospectionVerifier,
    error::AuthErrorKind,
    lifetime::Ended,
    verify::{BearerMethod, CacheKey, PresentedToken, Verdict, Verify},
};

use super::{Chosen, SECOND, clock, has_ended, lifetime, reach_the_events, reason_of, server};
use crate::{
    fake_issuer::{Answer, FakeIssuer},
    introspection::client,
    log::Log,
    support::{API, verifier_from},
};

fn unavailable() -> AuthError {
    AuthError::unavailable(SECOND)
}

/// Lets the tasks that are ready run. Only for what must *not* happen.
async fn others_run() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Stream 1 (own, accepts)
#[tokio::test]
async fn a_revoked_token_ends_at_the_next_interval_and_not_before() {
    let (clock, chosen) = (clock(), Chosen::ada());
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await.recheck_every(60 * SECOND);
    let waiting = tokio::spawn(lifetime.ended());
    chosen.choose(Err(AuthError::invalid_token()));
    clock.advance(59 * SECOND);
    others_run().await;
    assert!(!waiting.is_finished() && chosen.asked().len() == 1, "the interval is not over");
    clock.advance(SECOND);
    let ended = waiting.await.unwrap();
    assert_eq!((reason_of(&ended), ended.description()), ("refused_by_verifier", "The access token is invalid"));
    chosen.choose(Ok(json!({"sub": "ada"})));
    assert!(matches!(lifetime.ended().await, Ended::Refused(_)), "the refusal is final");
    assert_eq!(chosen.asked().len(), 2);
}

/// Stream 1 (own, accepts)
#[tokio::test]
async fn the_verifier_sees_the_request_again_but_not_the_header_with_the_token() {
    let (clock, chosen) = (clock(), Chosen::ada());
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await.recheck_every(SECOND);
    let waiting = tokio::spawn(lifetime.ended());
    others_run().await;
    clock.advance(SECOND);
    chosen.asked_times(2).await;
    let [first, second] = &chosen.asked()[..] else { panic!("asked once for each interval") };
    assert_eq!((&*second.token, second.method), ("a", BearerMethod::Authorization));
    assert_eq!(second.method, first.method);
    assert_eq!(second.headers.get("x-tenant").unwrap(), "acme");
    assert!(first.headers.contains_key("authorization") && !second.headers.contains_key("authorization"));
    waiting.abort();
}

/// Stream 1 (own, refuses)
#[tokio::test]
async fn a_token_that_cannot_be_checked_does_not_end_and_is_checked_again() {
    reach_the_events().await;
    let (clock, chosen, log) = (clock(), Chosen::ada(), Log::default());
    let _guard = log.install();
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await.recheck_every(60 * SECOND);
    let waiting = tokio::spawn(lifetime.ended());
    chosen.choose(Err(unavailable()));
    for times in 2..5 {
        others_run().await;
        assert!(!waiting.is_finished());
        clock.advance(60 * SECOND);
        chosen.asked_times(times).await;
    }
    others_run().await;
    assert!(!waiting.is_finished());
    chosen.choose(Err(AuthError::invalid_token()));
    clock.advance(60 * SECOND);
    assert_eq!(reason_of(&waiting.await.unwrap()), "refused_by_verifier");
    let text = log.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("the token of a stream was refused")).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines.iter().all(|line| line.contains("DEBUG") && line.contains(r#"occasion="recheck""#)), "{text}");
    assert!(
        lines[0].contains(r#"kind="unavailable""#) && lines[3].contains(r#"reason="refused_by_verifier""#),
        "{text}"
    );
}

/// Stream 1 (own, refuses)
#[tokio::test]
async fn an_interval_below_one_second_is_one_second() {
    let (clock, chosen) = (clock(), Chosen::ada());
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await.recheck_every(Duration::ZERO);
    let waiting = tokio::spawn(lifetime.ended());
    others_run().await;
    clock.advance(Duration::from_millis(999));
    others_run().await;
    assert_eq!(chosen.asked().len(), 1);
    clock.advance(Duration::from_millis(1));
    chosen.asked_times(2).await;
    others_run().await;
    assert_eq!(chosen.asked().len(), 2);
    waiting.abort();
}

/// Stream 1 (own, accepts)
#[tokio::test]
async fn clones_share_each_check_and_all_of_them_end() {
    let (clock, chosen) = (clock(), Chosen::ada());
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await.recheck_every(60 * SECOND);
    let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(lifetime.clone().ended())).collect();
    others_run().await;
    clock.advance(60 * SECOND);
    chosen.asked_times(2).await;
    others_run().await;
    assert_eq!(chosen.asked().len(), 2, "one check for all");
    chosen.choose(Err(AuthError::invalid_token()));
    clock.advance(60 * SECOND);
    for waiting in waiting {
        assert_eq!(reason_of(&waiting.await.unwrap()), "refused_by_verifier");
    }
    assert_eq!(chosen.asked().len(), 3);
}

/// Stream 1 (own, accepts)
#[tokio::test]
async fn a_check_ends_also_if_each_future_is_dropped_before_it() {
    let (clock, gate) = (clock(), Arc::new(Semaphore::new(0)));
    let calls = Arc::new(AtomicUsize::new(0));
    let verifier = {
        let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
        verifier_from(move |presented| {
            let permit = presented.permit();
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                return Verdict::Now(permit.token(&json!({"sub": "ada"})));
            }
            let gate = Arc::clone(&gate);
            Verdict::later(async move {
                drop(gate.acquire().await);
                Err(AuthError::invalid_token())
            })
        })
    };
    let lifetime = lifetime(server(verifier, &clock), "a").await.recheck_every(SECOND);
    clock.advance(SECOND);
    // A client whose messages come faster than the verdict: the loop of the handler drops the future each time.
    for _ in 0..5 {
        for _ in 0..20 {
            assert!(!has_ended(&lifetime));
            tokio::task::yield_now().await;
        }
        // The check takes longer than the interval.
        clock.advance(SECOND);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2, "no second check begins before the first one has ended");
    gate.add_permits(1);
    others_run().await;
    assert!(has_ended(&lifetime), "the check went on without a future");
}

/// Stream 1 (own, refuses)
#[tokio::test]
async fn a_verifier_that_panics_is_asked_again() {
    let (clock, broken) = (clock(), Arc::new(AtomicBool::new(false)));
    let calls = Arc::new(AtomicUsize::new(0));
    let verifier = {
        let (broken, calls) = (Arc::clone(&broken), Arc::clone(&calls));
        verifier_from(move |presented| {
            let (permit, broken) = (presented.permit(), broken.load(Ordering::SeqCst));
            let refused = calls.fetch_add(1, Ordering::SeqCst) == 2;
            Verdict::later(async move {
                assert!(!broken, "this panic belongs to the test");
                if refused { Err(AuthError::invalid_token()) } else { permit.token(&json!({"sub": "ada"})) }
            })
        })
    };
    let lifetime = lifetime(server(verifier, &clock), "a").await.recheck_every(SECOND);
    let waiting = tokio::spawn(lifetime.ended());
    others_run().await;
    broken.store(true, Ordering::SeqCst);
    clock.advance(SECOND);
    others_run().await;
    assert!(!waiting.is_finished() && calls.load(Ordering::SeqCst) == 2);
    broken.store(false, Ordering::SeqCst);
    clock.advance(SECOND);
    assert_eq!(reason_of(&waiting.await.unwrap()), "refused_by_verifier");
}

/// A verifier that says what its verdict depends on, so that it can be cached.
struct Keyed<V>(V);

impl<V: Verify> Verify for Keyed<V> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.0.verify(presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add(presented.parts().headers.get("x-tenant").unwrap().as_bytes());
        key.add(format!("{:?}", presented.bearer_method()));
    }
}

/// Stream 1 (own, accepts)
#[tokio::test]
async fn a_check_goes_through_the_cache_of_the_server() {
    let (clock, chosen) = (clock(), Chosen::ada());
    let cached = Cached::builder(Keyed(chosen.verifier()), 90 * SECOND).clock(clock.clone()).build();
    let lifetime = lifetime(server(cached, &clock), "a").await.recheck_every(60 * SECOND);
    let waiting = tokio::spawn(lifetime.ended());
    others_run().await;
    chosen.choose(Err(AuthError::invalid_token()));
    clock.advance(60 * SECOND);
    others_run().await;
    assert_eq!(chosen.asked().len(), 1, "the cached verdict is 60 s old");
    assert!(!waiting.is_finished());
    clock.advance(60 * SECOND);
    assert_eq!(reason_of(&waiting.await.unwrap()), "refused_by_verifier");
}

/// Stream 1 (own, refuses)
#[tokio::test]
async fn a_token_that_now_has_another_end_or_fewer_scopes_or_another_owner() {
    let ada =
        |exp: u64, scope: &str| json!({"sub": "ada", "client_id": "web", "scope": scope, "exp": super::NOW + exp});
    let (clock, chosen) = (clock(), Chosen::new(ada(3_600, "a b")));
    let server = server(chosen.verifier(), &clock);
    let lifetimes = async || lifetime(server.clone(), "a").await.recheck_every(60 * SECOND);

    let shorter = lifetimes().await;
    let waiting = tokio::spawn(shorter.ended());
    others_run().await;
    chosen.choose(Ok(ada(90, "b a c")));
    clock.advance(60 * SECOND);
    others_run().await;
    assert!(!waiting.is_finished() && shorter.token().scopes().contains("c"));
    clock.advance(30 * SECOND);
    assert!(matches!(waiting.await.unwrap(), Ended::Expired));

    chosen.choose(Ok(ada(3_600, "a b")));
    let narrower = lifetimes().await;
    chosen.choose(Ok(ada(3_600, "b")));
    clock.advance(60 * SECOND);
    let Ended::Refused(error) = narrower.ended().await else { panic!("not expired") };
    assert_eq!(error.kind(), AuthErrorKind::InsufficientScope);

    chosen.choose(Ok(ada(3_600, "a b")));
    let another = lifetimes().await;
    chosen.choose(Ok(json!({"sub": "eve", "client_id": "web", "scope": "a b", "exp": super::NOW + 3_600})));
    clock.advance(60 * SECOND);
    assert_eq!(reason_of(&another.ended().await), "other_identity");
}

/// Stream 1 (own, accepts)
#[tokio::test]
async fn a_token_that_its_issuer_revokes_ends_by_introspection() {
    let (clock, fake) = (clock(), FakeIssuer::start().await);
    let active = json!({"active": true, "iss": fake.identifier, "sub": "ada", "client_id": "web", "aud": API,
        "exp": super::NOW + 86_400});
    let issuer = fake.builder().clock(clock.clone()).build().unwrap();
    let verifier = IntrospectionVerifier::builder(issuer, client(), API).clock(clock.clone()).build().unwrap();
    fake.introspection(Answer::Document(active));
    let lifetime = lifetime(server(verifier, &clock), "opaque").await.recheck_every(60 * SECOND);
    let waiting = tokio::spawn(lifetime.ended());
    others_run().await;
    fake.introspection(Answer::Status(500));
    clock.advance(60 * SECOND);
    while fake.introspection_requests().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!waiting.is_finished(), "an issuer that fails ends nothing");
    fake.introspection(Answer::Document(json!({"active": false})));
    // The failed check may still be running; the one after it finds the token inactive.
    let ended = tokio::time::timeout(10 * SECOND, async {
        loop {
            clock.advance(60 * SECOND);
            tokio::time::sleep(Duration::from_millis(20)).await;
            if waiting.is_finished() {
                break waiting.await.unwrap();
            }
        }
    });
    assert_eq!(reason_of(&ended.await.unwrap()), "inactive");
}
