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
async fn each_issuer_is_judged_by_its_own_rules_and_keys() {
    let (strict, lax) = (issuer(), MockIssuer::new("https://lax.test").with_algorithm(Algorithm::EdDSA));
    let lax_verifier = lax.verifier_builder("https://lax-api.test").accept_plain_jwt_type().build().unwrap();
    let app = router().layer(OAuthLayer::new(TrustedIssuers::new([strict.verifier(API), lax_verifier]).unwrap()));
    let lax_token = lax.token("bob").audience("https://lax-api.test");
    for good in [strict.token("ada").sign(), lax_token.clone().sign(), lax_token.clone().header("typ", "JWT").sign()] {
        assert_eq!(get_with_token(&app, "/me", &good).await.status, 200);
    }
    for (bad, why) in [
        (strict.token("ada").header("typ", "JWT").sign(), "the other's relaxation"),
        (strict.token("ada").audience("https://lax-api.test").sign(), "the other's audience"),
        (strict.token("ada").sign_with(&lax), "the other's key"),
        (lax_token.clone().claim("iss", strict.identifier()).audience(API).sign(), "the other's name"),
        (lax_token.clone().header("kid", strict.key_id()).sign_with(&strict), "the other's key and kid"),
        (MockIssuer::new("https://stranger.test").token("eve").sign(), "nobody's issuer"),
        (lax_token.clone().without("iss").sign(), "no issuer"),
        (lax_token.claim("iss", serde_json::json!(["https://lax.test"])).sign(), "a list of issuers"),
        ("a.b".to_owned(), "not a JWS"),
    ] {
        assert_eq!(get_with_token(&app, "/me", &bad).await.status, 401, "{why}");
    }
    for forgery in strict.token("ada").forgeries() {
        let value = http::HeaderValue::from_bytes(format!("Bearer {}", forgery.token()).as_bytes()).unwrap();
        let request = http::Request::get("/me").header("authorization", value).body(axum::body::Body::empty());
        let answer = crate::support::send(&app, request.unwrap()).await;
        assert!([400, 401].contains(&answer.status.as_u16()), "{forgery}: {}", answer.status);
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_on_the_list_asks_nobody_for_keys() {
    let (trusted, stranger) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let verifier = JwtVerifier::new(trusted.builder().build().unwrap(), API).unwrap();
    let app = router().layer(OAuthLayer::new(TrustedIssuers::new([verifier]).unwrap()));
    assert_eq!(get_with_token(&app, "/me", &stranger.good_token()).await.status, 401);
    assert_eq!((trusted.requests().len(), stranger.requests().len()), (0, 0));
    assert_eq!(get_with_token(&app, "/me", &trusted.good_token()).await.status, 200);
}

#[test]
fn the_list_names_each_issuer_once_and_at_least_one() {
    assert!(TrustedIssuers::new([]).unwrap_err().to_string().contains("the list is empty"));
    let twice = TrustedIssuers::new([issuer().verifier(API), issuer().verifier("https://other.test")]);
    assert!(twice.unwrap_err().to_string().contains("\"https://auth.test\" has two verifiers"));
}

/// Approves `https://tenant-….test`, and counts the calls.
fn tenants(clock: &ManualClock) -> (DynamicIssuers, Arc<AtomicUsize>) {
    let (builder, asked) = tenants_builder(clock);
    (builder.build(), asked)
}

fn tenants_builder(clock: &ManualClock) -> (DynamicIssuersBuilder, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let builder = DynamicIssuers::builder(move |issuer: &str| {
        counter.fetch_add(1, Ordering::SeqCst);
        DynamicIssuers::match_template("https://tenant-{name}.test", issuer)?;
        Some(MockIssuer::new(issuer).verifier(API))
    });
    (builder.clock(clock.clone()), asked)
}

#[tokio::test]
async fn a_callback_approves_tenants_once_and_its_refusal_holds_for_thirty_seconds() {
    let clock = ManualClock::default();
    let (verifier, asked) = tenants(&clock);
    let app = router().layer(OAuthLayer::new(verifier.clone()));
    let token = |issuer: &str| MockIssuer::new(issuer).token("ada").sign();
    for _ in 0..3 {
        assert_eq!(get_with_token(&app, "/me", &token("https://tenant-a.test")).await.status, 200);
        assert_eq!(get_with_token(&app, "/me", &token("https://stranger.test")).await.status, 401);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    clock.advance(Duration::from_secs(29));
    assert_eq!(get_with_token(&app, "/me", &token("https://stranger.test")).await.status, 401);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    clock.advance(Duration::from_secs(1));
    assert_eq!(get_with_token(&app, "/me", &token("https://stranger.test")).await.status, 401);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let forged =
        MockIssuer::new("https://tenant-a.test").token("ada").sign_with(&MockIssuer::new("https://tenant-b.test"));
    assert_eq!(get_with_token(&app, "/me", &forged).await.status, 401, "keys are never pooled");
    verifier.invalidate("https://tenant-a.test");
    assert_eq!(get_with_token(&app, "/me", &token("https://tenant-a.test")).await.status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn what_is_forgotten_while_the_callback_is_asked_is_not_kept() {
    for approved in [true, false] {
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, whole) = (Arc::clone(&asked), Arc::new(OnceLock::<DynamicIssuers>::new()));
        let inside = Arc::clone(&whole);
        let verifier = DynamicIssuers::new(move |issuer: &str| {
            // Somebody changes his mind after the callback has looked.
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                inside.get().unwrap().invalidate(issuer);
            }
            approved.then(|| MockIssuer::new(issuer).verifier(API))
        });
        whole.set(verifier.clone()).unwrap();
        let app = router().layer(OAuthLayer::new(verifier));
        let token = MockIssuer::new("https://tenant-a.test").token("ada").sign();
        let status = if approved { 200 } else { 401 };
        for asks in [1, 2, 2] {
            assert_eq!(get_with_token(&app, "/me", &token).await.status, status);
            assert_eq!(asked.load(Ordering::SeqCst), asks);
        }
    }
}

#[tokio::test]
async fn a_flood_of_invented_issuers_drives_no_tenant_out_and_is_bounded() {
    let (verifier, asked) = tenants(&ManualClock::default());
    let app = router().layer(OAuthLayer::new(verifier));
    let tenant = MockIssuer::new("https://tenant-a.test").token("ada").sign();
    assert_eq!(get_with_token(&app, "/me", &tenant).await.status, 200);
    let good = MockIssuer::new("https://stranger.test").token("eve");
    for number in 0..5_000 {
        let invented = good.clone().claim("iss", format!("https://invented-{number}.test")).sign();
        assert_eq!(get_with_token(&app, "/me", &invented).await.status, 401);
    }
    let before = asked.load(Ordering::SeqCst);
    assert_eq!(get_with_token(&app, "/me", &tenant).await.status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), before, "the tenant's verifier is still there");
    let long = good.claim("iss", format!("https://{}.test", "x".repeat(600))).sign();
    assert_eq!(get_with_token(&app, "/me", &long).await.status, 401);
    assert_eq!(asked.load(Ordering::SeqCst), before, "nobody is asked about a name that long");
}

#[tokio::test]
async fn a_verifier_of_another_issuer_than_asked_for_is_a_refusal() {
    let verifier = DynamicIssuers::new(|_: &str| Some(issuer().verifier(API)));
    let app = router().layer(OAuthLayer::new(verifier));
    let token = MockIssuer::new("https://stranger.test").token("eve").sign();
    assert_eq!(get_with_token(&app, "/me", &token).await.status, 401);
    assert_eq!(get_with_token(&app, "/me", &issuer().token("ada").sign()).await.status, 200);
}

#[tokio::test]
async fn an_approval_is_asked_for_again_and_a_verifier_that_is_still_approved_keeps_its_keys() {
    let (clock, fake) = (ManualClock::default(), FakeIssuer::start().await);
    let approved = Arc::new(AtomicUsize::new(1));
    let (answer, builder_clock, identifier) = (Arc::clone(&approved), clock.clone(), fake.identifier.clone());
    let verifier = DynamicIssuers::builder(move |issuer: &str| {
        (answer.load(Ordering::SeqCst) == 1 && issuer == identifier).then_some(())?;
        JwtVerifier::new(Issuer::builder(issuer).clock(builder_clock.clone()).build().ok()?, API).ok()
    });
    let app = router().layer(OAuthLayer::new(verifier.clock(clock.clone()).build()));
    assert_eq!(get_with_token(&app, "/me", &fake.good_token()).await.status, 200);
    clock.advance(Duration::from_secs(300));
    assert_eq!(get_with_token(&app, "/me", &fake.good_token()).await.status, 200);
    assert_eq!(fake.fetches(), 1, "approved again, with the keys it had");
    approved.store(0, Ordering::SeqCst);
    clock.advance(Duration::from_secs(299));
    assert_eq!(get_with_token(&app, "/me", &fake.good_token()).await.status, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(get_with_token(&app, "/me", &fake.good_token()).await.status, 401);
}

#[tokio::test]
async fn no_more_verifiers_are_made_in_half_a_minute_than_there_is_room_for() {
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
