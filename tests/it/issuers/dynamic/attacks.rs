//! Clients without a valid token: they may make new tenants wait, but never an established one.

use super::{
    AuthErrorKind, Duration, DynamicIssuers, IssuerInquiry, ManualClock, MockIssuer, OAuthLayer, Ordering, SECOND,
    accepts, approve, forged, get_with_token, present, router, spawn_present, tenants, tenants_builder, token,
    unsigned, wait_until,
};

/// A token that names an issuer of which the callback knows nothing.
fn invented(number: usize) -> String {
    MockIssuer::new("https://untrusted.test").token("eve").claim("iss", format!("https://unknown-{number}.test")).sign()
}

/// For 20 s, ten tokens a second name tenants, and ten requests a second are honest.
async fn honest_requests_succeed_during(attack: impl Fn(usize) -> String) {
    let clock = ManualClock::default();
    let (builder, _) = tenants_builder(&clock);
    // Short, so that the callback is called again for each established issuer during the attack.
    let verifier = builder.max_issuers(5).approval_age(2 * SECOND).build();
    let honest: Vec<_> = (0..5).map(token).collect();
    for token in &honest {
        assert!(accepts(&verifier, token).await);
    }
    let app = router().layer(OAuthLayer::new(verifier));
    let mut succeeded = 0;
    for number in 0..200 {
        clock.advance(Duration::from_millis(100));
        let bad = get_with_token(&app, "/me", &attack(number)).await;
        assert!([401, 503].contains(&bad.status.as_u16()), "{}", bad.status);
        succeeded += usize::from(get_with_token(&app, "/me", &honest[number % 5]).await.status == 200);
    }
    assert_eq!(succeeded, 200);
}

/// Threat D1
#[tokio::test]
async fn unsigned_tokens_that_name_tenants_refuse_no_honest_request() {
    honest_requests_succeed_during(|number| unsigned(number % 40)).await;
}

/// Threat D1
#[tokio::test]
async fn tokens_with_garbage_signatures_refuse_no_honest_request() {
    honest_requests_succeed_during(|number| forged(number % 40)).await;
    honest_requests_succeed_during(|number| forged(number % 5)).await;
}

/// Threat D1
#[tokio::test]
async fn tokens_of_invented_issuers_refuse_no_honest_request() {
    honest_requests_succeed_during(invented).await;
}

/// RFC 8725 §3.10 b (MUST, refuses)
#[tokio::test]
async fn thousands_of_unknown_issuers_do_not_evict_an_approved_tenant() {
    let (verifier, calls) = tenants(&ManualClock::default());
    assert!(accepts(&verifier, &token("a")).await);
    for number in 0..5_000 {
        assert_eq!(present(&verifier, &invented(number)).await.unwrap_err(), AuthErrorKind::InvalidToken);
    }
    let before = calls.load(Ordering::SeqCst);
    assert!(accepts(&verifier, &token("a")).await);
    assert_eq!(calls.load(Ordering::SeqCst), before, "the verifier of the tenant is still stored");
    assert!(accepts(&verifier, &token("b")).await, "invented issuers spend no budget");
}

/// Threat D1
#[tokio::test]
async fn forged_tokens_of_tenants_evict_no_established_issuer() {
    let (builder, calls) = tenants_builder(&ManualClock::default());
    let verifier = builder.max_issuers(2).newcomer_budget(1_000, SECOND).build();
    assert!(accepts(&verifier, &token("a")).await && accepts(&verifier, &token("b")).await);
    for number in 0..200 {
        assert_eq!(present(&verifier, &forged(number)).await.unwrap_err(), AuthErrorKind::InvalidToken);
    }
    let before = calls.load(Ordering::SeqCst);
    assert!(accepts(&verifier, &token("a")).await && accepts(&verifier, &token("b")).await);
    assert_eq!(calls.load(Ordering::SeqCst), before);
    // A valid token of a third tenant does, because there are more tenants than places.
    assert!(accepts(&verifier, &token("c")).await && accepts(&verifier, &token("a")).await);
    assert!(calls.load(Ordering::SeqCst) > before + 1);
}

/// Threat D2
#[tokio::test]
async fn newcomers_have_a_small_place_of_their_own() {
    let (builder, calls) = tenants_builder(&ManualClock::default());
    let verifier = builder.max_newcomers(3).build();
    let calls_for = async |name: u32| {
        let before = calls.load(Ordering::SeqCst);
        assert!(!accepts(&verifier, &forged(name)).await);
        calls.load(Ordering::SeqCst) - before
    };
    for (name, expected) in [(1, 1), (2, 1), (3, 1), (1, 0), (2, 0), (3, 0), (4, 1), (2, 0), (3, 0), (4, 0), (1, 1)] {
        assert_eq!(calls_for(name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_newcomer_is_established_by_its_first_good_token_even_without_a_place_for_newcomers() {
    let (builder, calls) = tenants_builder(&ManualClock::default());
    let verifier = builder.max_newcomers(0).build();
    for _ in 0..3 {
        assert!(accepts(&verifier, &token("a")).await);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// Threat D2
#[tokio::test]
async fn newcomers_above_their_budget_get_503_and_established_issuers_do_not() {
    let clock = ManualClock::default();
    let (verifier, _) = tenants(&clock);
    assert!(accepts(&verifier, &token("established")).await);
    for number in 1..20 {
        assert_eq!(present(&verifier, &forged(number)).await.unwrap_err(), AuthErrorKind::InvalidToken);
    }
    let app = router().layer(OAuthLayer::new(verifier.clone()));
    let steps = [(0, false), (499, false), (1, true), (0, false), (1_000, true), (0, true), (0, false)];
    for (number, (advance, admitted)) in steps.into_iter().enumerate() {
        clock.advance(Duration::from_millis(advance));
        let name = format!("new-{number}");
        let answer = get_with_token(&app, "/me", &token(&name)).await;
        let expected = if admitted { (200, None) } else { (503, Some("1")) };
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), expected, "{name}");
        assert_eq!(get_with_token(&app, "/me", &token("established")).await.status, 200);
    }
}

#[tokio::test]
async fn a_new_decision_about_an_established_issuer_needs_no_budget() {
    let clock = ManualClock::default();
    let (builder, calls) = tenants_builder(&clock);
    let verifier = builder.newcomer_budget(1, Duration::from_secs(1_000_000)).build();
    assert!(accepts(&verifier, &token("a")).await);
    assert_eq!(present(&verifier, &token("b")).await.unwrap_err(), AuthErrorKind::Unavailable);
    clock.advance(300 * SECOND);
    assert!(accepts(&verifier, &token("a")).await);
    verifier.invalidate("https://tenant-a.test");
    assert!(accepts(&verifier, &token("a")).await, "an invalidated issuer stays established");
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    assert_eq!(present(&verifier, &token("b")).await.unwrap_err(), AuthErrorKind::Unavailable);
}

/// Threat D3
#[tokio::test]
async fn calls_that_hang_for_newcomers_do_not_delay_an_established_issuer() {
    let clock = ManualClock::default();
    let verifier = DynamicIssuers::builder(|inquiry: IssuerInquiry| async move {
        if inquiry.issuer() != "https://tenant-a.test" {
            std::future::pending::<()>().await;
        }
        approve(inquiry.issuer())
    });
    let verifier = verifier.clock(clock.clone()).build();
    assert!(accepts(&verifier, &token("a")).await);
    clock.advance(300 * SECOND);
    let attack: Vec<_> = (0..400).map(|number| spawn_present(&verifier, forged(number))).collect();
    wait_until(|| attack.iter().filter(|request| request.is_finished()).count() == 400 - 16 - 256).await;
    assert!(accepts(&verifier, &token("a")).await, "a new decision while all slots are taken");
    clock.advance(Duration::from_millis(250));
    wait_until(|| attack.iter().filter(|request| request.is_finished()).count() == 400 - 16).await;
    for request in attack {
        if request.is_finished() {
            assert_eq!(request.await.unwrap().unwrap_err(), AuthErrorKind::Unavailable);
        }
    }
}
