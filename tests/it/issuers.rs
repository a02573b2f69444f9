//! Several trusted issuers behind one layer.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_oauth::{
    Issuer, JwtVerifier, OAuthLayer,
    keys::Algorithm,
    testing::{ManualClock, MockIssuer},
    verify::{DynamicIssuers, DynamicIssuersBuilder, TrustedIssuers},
};

use crate::{
    fake_issuer::FakeIssuer,
    support::{API, get_with_token, issuer, router},
};

#[tokio::test]
async fn verifies_each_issuer_with_its_own_settings_and_keys() {
    let (strict, lenient) = (issuer(), MockIssuer::new("https://lenient.test").with_algorithm(Algorithm::EdDSA));
    let lenient_verifier =
        lenient.verifier_builder("https://lenient-api.test").accept_plain_jwt_type().build().unwrap();
    let app = router().layer(OAuthLayer::new(TrustedIssuers::new([strict.verifier(API), lenient_verifier]).unwrap()));
    let lenient_token = lenient.token("bob").audience("https://lenient-api.test");
    for good in
        [strict.token("ada").sign(), lenient_token.clone().sign(), lenient_token.clone().header("typ", "JWT").sign()]
    {
        assert_eq!(get_with_token(&app, "/me", &good).await.status, 200);
    }
    for (bad, case) in [
        (strict.token("ada").header("typ", "JWT").sign(), "typ JWT, which only the lenient issuer may use"),
        (strict.token("ada").audience("https://lenient-api.test").sign(), "the audience of the lenient issuer"),
        (strict.token("ada").sign_with(&lenient), "the key of the lenient issuer"),
        (lenient_token.clone().claim("iss", strict.identifier()).audience(API).sign(), "the iss of the strict issuer"),
        (
            lenient_token.clone().header("kid", strict.key_id()).sign_with(&strict),
            "the key and kid of the strict issuer",
        ),
        (MockIssuer::new("https://untrusted.test").token("eve").sign(), "an issuer that is not on the list"),
        (lenient_token.clone().without_claim("iss").sign(), "no issuer"),
        (lenient_token.claim("iss", serde_json::json!(["https://lenient.test"])).sign(), "a list of issuers"),
        ("a.b".to_owned(), "not a JWS"),
    ] {
        assert_eq!(get_with_token(&app, "/me", &bad).await.status, 401, "{case}");
    }
    for forgery in strict.token("ada").forgeries() {
        let value = http::HeaderValue::from_bytes(format!("Bearer {}", forgery.token()).as_bytes()).unwrap();
        let request = http::Request::get("/me").header("authorization", value).body(axum::body::Body::empty());
        let answer = crate::support::send(&app, request.unwrap()).await;
        assert!([400, 401].contains(&answer.status.as_u16()), "{forgery}: {}", answer.status);
    }
}

#[tokio::test]
async fn never_fetches_keys_of_an_issuer_not_on_the_list() {
    let (trusted, untrusted) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let verifier = JwtVerifier::new(trusted.builder().build().unwrap(), API).unwrap();
    let app = router().layer(OAuthLayer::new(TrustedIssuers::new([verifier]).unwrap()));
    assert_eq!(get_with_token(&app, "/me", &untrusted.valid_token()).await.status, 401);
    assert_eq!((trusted.requests().len(), untrusted.requests().len()), (0, 0));
    assert_eq!(get_with_token(&app, "/me", &trusted.valid_token()).await.status, 200);
}

#[test]
fn refuses_an_empty_list_and_a_repeated_issuer() {
    assert!(TrustedIssuers::new([]).unwrap_err().to_string().contains("the list is empty"));
    let twice = TrustedIssuers::new([issuer().verifier(API), issuer().verifier("https://other.test")]);
    assert!(twice.unwrap_err().to_string().contains("\"https://auth.test\" has two verifiers"));
}

/// A verifier that approves `https://tenant-….test`, and the number of calls of its callback.
fn tenants(clock: &ManualClock) -> (DynamicIssuers, Arc<AtomicUsize>) {
    let (builder, calls) = tenants_builder(clock);
    (builder.build(), calls)
}

fn tenants_builder(clock: &ManualClock) -> (DynamicIssuersBuilder, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let builder = DynamicIssuers::builder(move |issuer: &str| {
        counter.fetch_add(1, Ordering::SeqCst);
        DynamicIssuers::match_template("https://tenant-{name}.test", issuer)?;
        Some(MockIssuer::new(issuer).verifier(API))
    });
    (builder.clock(clock.clone()), calls)
}

#[tokio::test]
async fn caches_an_approval_and_caches_a_refusal_for_30_seconds() {
    let clock = ManualClock::default();
    let (verifier, calls) = tenants(&clock);
    let app = router().layer(OAuthLayer::new(verifier.clone()));
    let token = |issuer: &str| MockIssuer::new(issuer).token("ada").sign();
    for _ in 0..3 {
        assert_eq!(get_with_token(&app, "/me", &token("https://tenant-a.test")).await.status, 200);
        assert_eq!(get_with_token(&app, "/me", &token("https://untrusted.test")).await.status, 401);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    clock.advance(Duration::from_secs(29));
    assert_eq!(get_with_token(&app, "/me", &token("https://untrusted.test")).await.status, 401);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    clock.advance(Duration::from_secs(1));
    assert_eq!(get_with_token(&app, "/me", &token("https://untrusted.test")).await.status, 401);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let forged =
        MockIssuer::new("https://tenant-a.test").token("ada").sign_with(&MockIssuer::new("https://tenant-b.test"));
    assert_eq!(get_with_token(&app, "/me", &forged).await.status, 401, "a key of another tenant is not valid");
    verifier.invalidate("https://tenant-a.test");
    assert_eq!(get_with_token(&app, "/me", &token("https://tenant-a.test")).await.status, 200);
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn does_not_cache_a_decision_if_forget_runs_during_the_callback() {
    for approved in [true, false] {
        let calls = Arc::new(AtomicUsize::new(0));
        let (counter, cell) = (Arc::clone(&calls), Arc::new(OnceLock::<DynamicIssuers>::new()));
        let cell_in_callback = Arc::clone(&cell);
        let verifier = DynamicIssuers::new(move |issuer: &str| {
            // The application calls `invalidate` while the callback makes its first decision.
            if counter.fetch_add(1, Ordering::SeqCst) == 0 {
                cell_in_callback.get().unwrap().invalidate(issuer);
            }
            approved.then(|| MockIssuer::new(issuer).verifier(API))
        });
        cell.set(verifier.clone()).unwrap();
        let app = router().layer(OAuthLayer::new(verifier));
        let token = MockIssuer::new("https://tenant-a.test").token("ada").sign();
        let status = if approved { 200 } else { 401 };
        for expected_calls in [1, 2, 2] {
            assert_eq!(get_with_token(&app, "/me", &token).await.status, status);
            assert_eq!(calls.load(Ordering::SeqCst), expected_calls);
        }
    }
}

#[tokio::test]
async fn thousands_of_unknown_issuers_do_not_evict_an_approved_tenant() {
    let (verifier, calls) = tenants(&ManualClock::default());
    let app = router().layer(OAuthLayer::new(verifier));
    let tenant = MockIssuer::new("https://tenant-a.test").token("ada").sign();
    assert_eq!(get_with_token(&app, "/me", &tenant).await.status, 200);
    let good = MockIssuer::new("https://untrusted.test").token("eve");
    for number in 0..5_000 {
        let unknown = good.clone().claim("iss", format!("https://unknown-{number}.test")).sign();
        assert_eq!(get_with_token(&app, "/me", &unknown).await.status, 401);
    }
    let before = calls.load(Ordering::SeqCst);
    assert_eq!(get_with_token(&app, "/me", &tenant).await.status, 200);
    assert_eq!(calls.load(Ordering::SeqCst), before, "the cache still has the verifier of the tenant");
    let long = good.claim("iss", format!("https://{}.test", "x".repeat(600))).sign();
    assert_eq!(get_with_token(&app, "/me", &long).await.status, 401);
    assert_eq!(calls.load(Ordering::SeqCst), before, "never calls the callback for an issuer of this length");
}

#[tokio::test]
async fn refuses_a_verifier_for_another_issuer_than_requested() {
    let verifier = DynamicIssuers::new(|_: &str| Some(issuer().verifier(API)));
    let app = router().layer(OAuthLayer::new(verifier));
    let token = MockIssuer::new("https://untrusted.test").token("eve").sign();
    assert_eq!(get_with_token(&app, "/me", &token).await.status, 401);
    assert_eq!(get_with_token(&app, "/me", &issuer().token("ada").sign()).await.status, 200);
}

#[tokio::test]
async fn repeats_the_approval_and_keeps_the_keys_of_an_approved_issuer() {
    let (clock, fake) = (ManualClock::default(), FakeIssuer::start().await);
    let approved = Arc::new(AtomicUsize::new(1));
    let (answer, builder_clock, identifier) = (Arc::clone(&approved), clock.clone(), fake.identifier.clone());
    let verifier = DynamicIssuers::builder(move |issuer: &str| {
        (answer.load(Ordering::SeqCst) == 1 && issuer == identifier).then_some(())?;
        JwtVerifier::new(Issuer::builder(issuer).clock(builder_clock.clone()).build().ok()?, API).ok()
    });
    let app = router().layer(OAuthLayer::new(verifier.clock(clock.clone()).build()));
    assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 200);
    clock.advance(Duration::from_secs(300));
    assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 200);
    assert_eq!(fake.fetches(), 1, "the approved issuer keeps its keys");
    approved.store(0, Ordering::SeqCst);
    clock.advance(Duration::from_secs(299));
    assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 401);
}

#[tokio::test]
async fn creates_at_most_max_issuers_verifiers_in_30_seconds() {
    let clock = ManualClock::default();
    let (builder, _) = tenants_builder(&clock);
    let app = router().layer(OAuthLayer::new(builder.max_issuers(3).build()));
    let token = |number: u32| MockIssuer::new(&format!("https://tenant-{number}.test")).token("ada").sign();
    for number in 0..3 {
        assert_eq!(get_with_token(&app, "/me", &token(number)).await.status, 200);
    }
    let answer = get_with_token(&app, "/me", &token(3)).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("30")));
    assert_eq!(get_with_token(&app, "/me", &token(0)).await.status, 200);
    clock.advance(Duration::from_secs(30));
    assert_eq!(get_with_token(&app, "/me", &token(3)).await.status, 200);
}
