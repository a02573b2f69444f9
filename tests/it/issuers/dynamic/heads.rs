//! Decisions that depend on the head of a request: they hold for this request only, and only the verifier is used again.

use tower_oauth::{
    AuthError, Cached, Token,
    verify::{CacheKey, PresentedToken, Verdict, Verify},
};

use super::{
    API, Arc, AtomicUsize, AuthErrorKind, DynamicIssuers, FakeIssuer, Issuer, IssuerInquiry, JwtVerifier, ManualClock,
    Ordering, SECOND, TestRequest, approve, forged, join_all, ready, settle, tenants, token,
};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// Approves a tenant if the header `x-tenant` has its name. Waits a little, so that requests run at the same time.
fn by_header() -> (DynamicIssuers, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let verifier = DynamicIssuers::new(move |inquiry: IssuerInquiry| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            settle().await;
            let named = inquiry.head().headers.get("x-tenant")?.to_str().ok()?;
            (inquiry.issuer() == format!("https://tenant-{named}.test")).then(|| approve(inquiry.issuer())).flatten()
        }
    });
    (verifier, calls)
}

async fn present_at(verifier: &impl Verify, named: &str, token: &str) -> Result<Token, AuthError> {
    TestRequest::new(token).header("x-tenant", named).verify(verifier).await
}

/// Threats C16, D5
#[tokio::test]
async fn a_decision_by_the_head_holds_for_its_request_only() {
    let (verifier, calls) = by_header();
    let tokens = [token("a"), token("b")];
    for round in 1..=3 {
        // All at once: requests with different heads wait for decisions about the same issuer.
        let requests = (0..40).map(|number| {
            let (named, token) = (["a", "b"][number % 2], &tokens[number / 2 % 2]);
            let verifier = &verifier;
            async move { (number % 2 == number / 2 % 2, present_at(verifier, named, token).await) }
        });
        for (same, result) in join_all(requests).await {
            match result {
                Ok(_) => assert!(same, "a token of one tenant was accepted at another"),
                Err(error) => assert_eq!((same, error.kind()), (false, AuthErrorKind::InvalidToken)),
            }
        }
        assert_eq!(calls.load(Ordering::SeqCst), 40 * round, "the callback runs once for each request");
    }
}

#[tokio::test]
async fn the_verifier_of_a_decision_by_the_head_keeps_its_keys() {
    let fake = FakeIssuer::start().await;
    let verifier = DynamicIssuers::new(|inquiry: IssuerInquiry| async move {
        inquiry.head().headers.contains_key("x-tenant").then_some(())?;
        JwtVerifier::new(Issuer::builder(inquiry.issuer()).build().ok()?, API).ok()
    });
    let token = fake.valid_token();
    for _ in 0..3 {
        let requests = (0..5).map(|_| present_at(&verifier, "a", &token));
        assert!(join_all(requests).await.into_iter().all(|result| result.is_ok()));
        assert!(TestRequest::new(&*token).verify(&verifier).await.is_err(), "the decision of another request");
    }
    assert_eq!(fake.fetches(), 1);
}

/// Threat D5
#[tokio::test]
async fn a_refusal_by_the_head_is_not_stored() {
    let (verifier, _) = by_header();
    for named in ["b", "a", "b", "a"] {
        assert_eq!(present_at(&verifier, named, &token("a")).await.is_ok(), named == "a");
    }
}

/// Threat D2
#[tokio::test]
async fn a_forged_token_of_an_established_issuer_causes_no_decision_by_the_head() {
    let (verifier, calls) = by_header();
    assert!(present_at(&verifier, "a", &token("a")).await.is_ok());
    let before = calls.load(Ordering::SeqCst);
    for _ in 0..100 {
        assert!(present_at(&verifier, "a", &forged("a")).await.is_err());
    }
    assert_eq!(calls.load(Ordering::SeqCst), before);
    assert!(present_at(&verifier, "a", &token("a")).await.is_ok());
}

#[tokio::test]
async fn a_panic_during_a_decision_by_the_head_gives_503() {
    let verifier = DynamicIssuers::new(|inquiry: IssuerInquiry| async move {
        assert!(inquiry.head().headers["x-tenant"] != "broken", "a mistake in the callback, on purpose");
        approve(inquiry.issuer())
    });
    for named in ["broken", "a", "broken", "a"] {
        let result = present_at(&verifier, named, &token("a")).await.map_err(|error| error.kind());
        assert_eq!(result.err(), (named == "broken").then_some(AuthErrorKind::Unavailable));
    }
}

#[tokio::test]
async fn an_invalidated_issuer_gets_a_new_verifier_also_by_the_head() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let verifier = DynamicIssuers::new(move |inquiry: IssuerInquiry| {
        let _ = inquiry.head();
        let audience = if counter.fetch_add(1, Ordering::SeqCst) < 2 { API } else { "https://other-api.test" };
        ready(Some(super::MockIssuer::new(inquiry.issuer()).verifier(audience)))
    });
    for accepted in [true, true, false, false] {
        if calls.load(Ordering::SeqCst) == 2 {
            verifier.invalidate("https://tenant-a.test");
        }
        assert_eq!(present_at(&verifier, "a", &token("a")).await.is_ok(), accepted);
    }
}

/// After an invalidation there is no verifier to check a token with before the callback runs.
///
/// Threat D5
#[tokio::test]
async fn forged_tokens_of_an_invalidated_issuer_cause_few_calls_at_a_time() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let removed = Arc::new(AtomicUsize::new(0));
    let gone = Arc::clone(&removed);
    let clock = ManualClock::default();
    let verifier = DynamicIssuers::builder(move |inquiry: IssuerInquiry| {
        let (now, peak, gone) = (Arc::clone(&now), Arc::clone(&peak), Arc::clone(&gone));
        async move {
            let _ = inquiry.head();
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            settle().await;
            now.fetch_sub(1, Ordering::SeqCst);
            if gone.load(Ordering::SeqCst) == 0 { approve(inquiry.issuer()) } else { None }
        }
    });
    let verifier = verifier.clock(clock.clone()).build();
    assert!(present_at(&verifier, "a", &token("a")).await.is_ok());
    removed.store(1, Ordering::SeqCst);
    verifier.invalidate("https://tenant-a.test");
    let forged = forged("a");
    let results = join_all((0..300).map(|_| present_at(&verifier, "a", &forged))).await;
    assert!(results.iter().all(Result::is_err));
    // One for all requests, and 16 for single ones.
    assert!((2..=17).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

/// A head that makes the callback fail is the fault of its own request only.
///
/// Threat D5
#[tokio::test]
async fn a_failure_by_the_head_is_not_shared_with_other_heads() {
    let verifier = DynamicIssuers::new(|inquiry: IssuerInquiry| async move {
        let broken = inquiry.head().headers["x-tenant"] == "broken";
        settle().await;
        assert!(!broken, "a mistake in the callback, on purpose");
        approve(inquiry.issuer())
    });
    let (forged, good) = (forged("a"), token("a"));
    let (attack, honest) = tokio::join!(present_at(&verifier, "broken", &forged), present_at(&verifier, "a", &good));
    assert_eq!(attack.unwrap_err().kind(), AuthErrorKind::Unavailable);
    assert!(honest.is_ok(), "{honest:?}");
}

/// Adds the host to the key, as a verifier does that chooses another one by the host.
#[derive(Clone)]
struct ByHost(DynamicIssuers);

impl Verify for ByHost {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.0.verify(presented)
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        self.0.verify_if_responsible(presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add(presented.parts().headers.get("host").map_or(&[][..], |host| host.as_bytes()));
        self.0.cache_key(presented, key);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        self.0.is_still_valid(token)
    }
}

async fn never_caches<V: Verify>(cached: Cached<V>, calls: &AtomicUsize) {
    let good = token("a");
    for round in 0..3 {
        for named in ["a", "b", "a"] {
            let before = calls.load(Ordering::SeqCst);
            let results = join_all((0..3).map(|_| present_at(&cached, named, &good))).await;
            assert!(results.into_iter().all(|result| result.is_ok() == (named == "a")), "round {round}");
            assert!(named == "b" || calls.load(Ordering::SeqCst) == before + 3, "found again, or joined");
        }
    }
    assert_eq!(cached.len(), 0);
}

/// Threat D5
#[tokio::test]
async fn no_cache_finds_a_verdict_again_that_depends_on_the_head() {
    let (verifier, calls) = by_header();
    never_caches(Cached::new(verifier, HOUR), &calls).await;
    let (verifier, calls) = by_header();
    never_caches(Cached::new(ByHost(verifier), HOUR), &calls).await;
    let (verifier, calls) = by_header();
    never_caches(Cached::new(Cached::new(verifier, HOUR), HOUR), &calls).await;
}

#[tokio::test]
async fn a_verdict_of_a_stored_approval_is_cached_and_asks_for_no_decision() {
    let clock = ManualClock::default();
    let (verifier, calls) = tenants(&clock);
    let cached = Cached::new(verifier.clone(), HOUR);
    let good = token("a");
    let accepts = async || TestRequest::new(&*good).verify(&cached).await.is_ok();
    let token = TestRequest::new(&*good).verify(&verifier).await.unwrap();
    assert!(verifier.is_still_valid(&token));
    assert!(accepts().await && accepts().await);
    assert_eq!((calls.load(Ordering::SeqCst), cached.len()), (1, 1));
    clock.advance(300 * SECOND);
    assert!(!verifier.is_still_valid(&token), "the approval is too old");
    assert_eq!(calls.load(Ordering::SeqCst), 1, "this check calls no callback");
    assert!(accepts().await);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert!(verifier.is_still_valid(&token));
    verifier.invalidate("https://tenant-a.test");
    assert!(!verifier.is_still_valid(&token));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let (by_header, _) = by_header();
    let token = present_at(&by_header, "a", &super::token("a")).await.unwrap();
    assert!(!by_header.is_still_valid(&token));
}

#[tokio::test]
async fn debug_of_an_inquiry_shows_no_credentials() {
    let verifier = DynamicIssuers::new(|inquiry: IssuerInquiry| {
        let text = format!("{inquiry:?}");
        assert!(text.contains("tenant-a") && !text.contains("hidden"), "{text}");
        assert_eq!(inquiry.head().headers["x-tenant"], "hidden");
        ready(approve(inquiry.issuer()))
    });
    assert!(present_at(&verifier, "hidden", &token("a")).await.is_ok());
}
