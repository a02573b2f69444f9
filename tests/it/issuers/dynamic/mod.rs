//! Issuers that a callback approves: which decisions are stored, for how long, and for which requests.

mod attacks;
mod callback;
mod heads;
mod model;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::sync::watch;
use tower_oauth::{
    Issuer, JwtVerifier, OAuthLayer, Token,
    clock::Clock,
    error::AuthErrorKind,
    keys::Algorithm,
    testing::{ManualClock, MockIssuer, TestRequest},
    verify::{DynamicIssuers, DynamicIssuersBuilder, IssuerInquiry, Verify},
};

use crate::{
    fake_issuer::FakeIssuer,
    support::{API, get_with_token, issuer, router},
};

const SECOND: Duration = Duration::from_secs(1);

fn tenant(name: impl std::fmt::Display) -> MockIssuer {
    MockIssuer::new(&format!("https://tenant-{name}.test"))
}

fn token(name: impl std::fmt::Display) -> String {
    tenant(name).token("ada").sign()
}

/// A well-formed token of a tenant that another key signed.
fn forged(name: impl std::fmt::Display) -> String {
    tenant(name).token("eve").sign_with(&MockIssuer::new("https://forger.test"))
}

/// A token of a tenant without the last segment.
fn unsigned(name: impl std::fmt::Display) -> String {
    let token = forged(name);
    token[..=token.rfind('.').unwrap()].to_owned()
}

/// The verifier of a tenant, and `None` for any other issuer.
fn approve(named: &str) -> Option<JwtVerifier> {
    DynamicIssuers::match_template("https://tenant-{name}.test", named)?;
    Some(MockIssuer::new(named).verifier(API))
}

/// A builder whose callback approves all tenants, and the number of its calls.
fn tenants_builder(clock: &ManualClock) -> (DynamicIssuersBuilder, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let builder = DynamicIssuers::builder(move |inquiry: IssuerInquiry| {
        counter.fetch_add(1, Ordering::SeqCst);
        ready(approve(inquiry.issuer()))
    });
    (builder.clock(clock.clone()), calls)
}

fn tenants(clock: &ManualClock) -> (DynamicIssuers, Arc<AtomicUsize>) {
    let (builder, calls) = tenants_builder(clock);
    (builder.build(), calls)
}

/// A verifier whose callback waits until the channel has `true`. Counts the calls.
fn waiting_tenants(clock: &ManualClock) -> (DynamicIssuers, Arc<AtomicUsize>, watch::Sender<bool>) {
    let (calls, released) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
    let (counter, receiver) = (Arc::clone(&calls), released.subscribe());
    let builder = DynamicIssuers::builder(move |inquiry: IssuerInquiry| {
        counter.fetch_add(1, Ordering::SeqCst);
        let mut receiver = receiver.clone();
        async move {
            receiver.wait_for(|released| *released).await.unwrap();
            approve(inquiry.issuer())
        }
    });
    (builder.clock(clock.clone()).build(), calls, released)
}

async fn present(verifier: &impl Verify, token: &str) -> Result<Token, AuthErrorKind> {
    TestRequest::new(token).verify(verifier).await.map_err(|error| error.kind())
}

async fn accepts(verifier: &impl Verify, token: &str) -> bool {
    present(verifier, token).await.is_ok()
}

/// A task that presents the token.
fn spawn_present(verifier: &DynamicIssuers, token: String) -> tokio::task::JoinHandle<Result<Token, AuthErrorKind>> {
    let verifier = verifier.clone();
    tokio::spawn(async move { present(&verifier, &token).await })
}

/// Waits until this is true. No test sleeps for a fixed time.
async fn wait_until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the condition was false for 10 s");
}

/// Lets all other tasks run until they wait.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// RFC 8414 §3.3 (MUST, refuses)
/// RFC 7519 §4.1.1 b (derived, refuses)
#[tokio::test]
async fn keys_are_fetched_only_for_identifiers_in_their_normal_form() {
    let fake = FakeIssuer::start().await;
    let jwks_uri = fake.jwks_uri();
    let verifier = DynamicIssuers::new(move |inquiry: IssuerInquiry| {
        let issuer = Issuer::builder(inquiry.issuer()).jwks_uri(jwks_uri.clone()).danger_accept_plain_http().build();
        ready(Some(JwtVerifier::new(issuer.unwrap(), API).unwrap()))
    });
    let names = |identifier: &str| fake.signer(Algorithm::ES256).token("ada").claim("iss", identifier).sign();
    for identifier in ["https://AUTH.test", "https://auth.test:443", "https://auth.test/a/../b", "auth.test", "urn:a"] {
        assert_eq!(present(&verifier, &names(identifier)).await.unwrap_err(), AuthErrorKind::InvalidToken);
    }
    assert_eq!(fake.fetches(), 0);
    assert!(accepts(&verifier, &names("https://auth.test/b")).await);
    assert_eq!(fake.fetches(), 1);
}

/// Threat D4
#[tokio::test]
async fn stores_an_approval_and_a_refusal_for_the_documented_times() {
    for (approval, refusal) in [(None, None), (Some(50), Some(7))] {
        let clock = ManualClock::default();
        let (mut builder, calls) = tenants_builder(&clock);
        if let (Some(approval), Some(refusal)) = (approval, refusal) {
            builder = builder.approval_age(approval * SECOND).refusal_age(refusal * SECOND);
        }
        let app = router().layer(OAuthLayer::new(builder.build()));
        let untrusted = MockIssuer::new("https://untrusted.test").token("ada").sign();
        for (token, status, age) in
            [(token("a"), 200, approval.unwrap_or(300)), (untrusted, 401, refusal.unwrap_or(30))]
        {
            let before = calls.load(Ordering::SeqCst);
            for (advance, expected_calls) in [(0, 1), (0, 1), (age - 1, 1), (1, 2), (age - 1, 2), (1, 3)] {
                clock.advance(advance * SECOND);
                assert_eq!(get_with_token(&app, "/me", &token).await.status, status);
                assert_eq!(calls.load(Ordering::SeqCst) - before, expected_calls, "after {advance} s");
            }
        }
    }
}

/// Threat D4
#[tokio::test]
async fn a_suspended_machine_or_a_changed_time_of_day_lengthens_no_decision() {
    let clock = ManualClock::default();
    let (verifier, calls) = tenants(&clock);
    let untrusted = MockIssuer::new("https://untrusted.test").token("ada").sign();
    let calls_for = async |token: &str| {
        let before = calls.load(Ordering::SeqCst);
        let _ = present(&verifier, token).await;
        calls.load(Ordering::SeqCst) - before
    };
    let token = token("a");
    assert_eq!((calls_for(&token).await, calls_for(&untrusted).await), (1, 1));
    clock.suspend(30 * SECOND);
    assert_eq!((calls_for(&token).await, calls_for(&untrusted).await), (0, 1));
    clock.suspend(270 * SECOND);
    assert_eq!((calls_for(&token).await, calls_for(&untrusted).await), (1, 1));
    clock.set(clock.now() - 1000 * SECOND);
    clock.advance(300 * SECOND);
    assert_eq!((calls_for(&token).await, calls_for(&untrusted).await), (1, 1));
}

/// Threat D4
#[tokio::test]
async fn does_not_store_a_decision_if_invalidate_runs_during_the_callback() {
    for approved in [true, false] {
        let (calls, released) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
        let (counter, receiver) = (Arc::clone(&calls), released.subscribe());
        let verifier = DynamicIssuers::new(move |inquiry: IssuerInquiry| {
            let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            let mut receiver = receiver.clone();
            async move {
                if first {
                    receiver.wait_for(|released| *released).await.unwrap();
                }
                (approved == first).then(|| MockIssuer::new(inquiry.issuer()).verifier(API))
            }
        });
        let outdated = spawn_present(&verifier, token("a"));
        wait_until(|| calls.load(Ordering::SeqCst) == 1).await;
        verifier.invalidate("https://tenant-a.test");
        assert_eq!(accepts(&verifier, &token("a")).await, !approved, "joined a decision from before the invalidation");
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        released.send_replace(true);
        assert_eq!(outdated.await.unwrap().is_ok(), approved);
        for _ in 0..2 {
            assert_eq!(accepts(&verifier, &token("a")).await, !approved, "the outdated decision was stored");
            assert_eq!(calls.load(Ordering::SeqCst), 2, "the decision after the invalidation was removed");
        }
    }
}

/// Threat D4
#[tokio::test]
async fn invalidate_ends_an_approval_and_a_refusal() {
    let answer = Arc::new(AtomicBool::new(true));
    let current = Arc::clone(&answer);
    let verifier = DynamicIssuers::new(move |inquiry: IssuerInquiry| {
        ready(current.load(Ordering::SeqCst).then(|| approve(inquiry.issuer())).flatten())
    });
    for approved in [true, false, true, true, false] {
        answer.store(approved, Ordering::SeqCst);
        verifier.invalidate("https://tenant-a.test");
        assert_eq!(accepts(&verifier, &token("a")).await, approved);
        answer.store(!approved, Ordering::SeqCst);
        assert_eq!(accepts(&verifier, &token("a")).await, approved, "the new decision was not stored");
    }
}

#[tokio::test]
async fn invalidate_holds_against_a_token_that_is_being_verified() {
    let (fake, answer) = (FakeIssuer::start().await, Arc::new(AtomicBool::new(true)));
    let current = Arc::clone(&answer);
    let verifier = DynamicIssuers::new(move |inquiry: IssuerInquiry| {
        let approved = current.load(Ordering::SeqCst);
        let issuer = || Issuer::builder(inquiry.issuer()).build().ok();
        ready(approved.then(issuer).flatten().and_then(|issuer| JwtVerifier::new(issuer, API).ok()))
    });
    let forged = fake.signer(Algorithm::ES256).token("eve").sign_with(&issuer());
    // Waits for the keys, because the verdict is `Later`. The issuer is then approved but not established.
    let token = fake.valid_token();
    let verifying = TestRequest::new(token.clone()).with_presented(|presented| verifier.verify(presented));
    assert!(!accepts(&verifier, &forged).await);
    answer.store(false, Ordering::SeqCst);
    verifier.invalidate(&fake.identifier);
    let _ = verifying.resolve().await;
    assert!(!accepts(&verifier, &token).await);
}

/// RFC 8725 §3.8 b (MUST, refuses)
#[tokio::test]
async fn refuses_a_verifier_for_another_issuer_than_requested() {
    let verifier = DynamicIssuers::new(|_: IssuerInquiry| ready(Some(issuer().verifier(API))));
    let app = router().layer(OAuthLayer::new(verifier));
    let token = MockIssuer::new("https://untrusted.test").token("eve").sign();
    assert_eq!(get_with_token(&app, "/me", &token).await.status, 401);
    assert_eq!(get_with_token(&app, "/me", &issuer().token("ada").sign()).await.status, 200);
}

#[tokio::test]
async fn refuses_a_token_that_the_key_of_another_tenant_signed() {
    let (verifier, _) = tenants(&ManualClock::default());
    for _ in 0..2 {
        assert!(accepts(&verifier, &token("a")).await && accepts(&verifier, &token("b")).await);
        let swapped = tenant("a").token("ada").header("kid", tenant("b").key_id()).sign_with(&tenant("b"));
        assert_eq!(present(&verifier, &swapped).await.unwrap_err(), AuthErrorKind::InvalidToken);
    }
}

#[tokio::test]
async fn repeats_the_approval_and_keeps_the_keys_of_an_approved_issuer() {
    let (clock, fake) = (ManualClock::default(), FakeIssuer::start().await);
    let approved = Arc::new(AtomicBool::new(true));
    let (answer, builder_clock, identifier) = (Arc::clone(&approved), clock.clone(), fake.identifier.clone());
    let verifier = DynamicIssuers::builder(move |inquiry: IssuerInquiry| {
        let approved = answer.load(Ordering::SeqCst) && inquiry.issuer() == identifier;
        let issuer = || Issuer::builder(inquiry.issuer()).clock(builder_clock.clone()).build().ok();
        ready(approved.then(issuer).flatten().and_then(|issuer| JwtVerifier::new(issuer, API).ok()))
    });
    let app = router().layer(OAuthLayer::new(verifier.clock(clock.clone()).build()));
    assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 200);
    clock.advance(Duration::from_secs(300));
    assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 200);
    assert_eq!(fake.fetches(), 1, "the approved issuer keeps its keys");
    approved.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(299));
    assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 401);
}

/// Threat D2
#[tokio::test]
async fn only_a_token_with_three_segments_causes_a_call() {
    let (verifier, calls) = tenants(&ManualClock::default());
    let good = token("a");
    let (message, _) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    for malformed in [
        unsigned("a"),
        message.to_owned(),
        format!(".{payload}.c2ln"),
        format!("{header}..c2ln"),
        format!("{good}.c2ln"),
        format!("{good}.c2ln.c2ln"),
        tenant("a").token("ada").without_claim("iss").sign(),
        tenant("a").token("ada").claim("iss", format!("https://tenant-{}.test", "x".repeat(600))).sign(),
    ] {
        assert_eq!(present(&verifier, &malformed).await.unwrap_err(), AuthErrorKind::InvalidToken, "{malformed}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert!(accepts(&verifier, &good).await);
}

/// Threat D2
#[tokio::test]
async fn requests_that_need_the_same_decision_share_one_call() {
    let clock = ManualClock::default();
    let (verifier, calls, released) = waiting_tenants(&clock);
    for round in 1..=2 {
        let untrusted = MockIssuer::new("https://untrusted.test").token("eve").sign();
        let requests: Vec<_> = (0..50).map(|_| spawn_present(&verifier, token("a"))).collect();
        let refused: Vec<_> = (0..50).map(|_| spawn_present(&verifier, untrusted.clone())).collect();
        wait_until(|| calls.load(Ordering::SeqCst) >= 2 * round).await;
        settle().await;
        released.send_replace(true);
        assert!(join_all(requests).await.into_iter().all(|result| result.unwrap().is_ok()));
        assert!(join_all(refused).await.into_iter().all(|result| result.unwrap().is_err()));
        assert_eq!(calls.load(Ordering::SeqCst), 2 * round);
        // The second round is a repeated approval.
        released.send_replace(false);
        clock.advance(300 * SECOND);
    }
}
