//! A JWT's verdict is valid only while its key is in the key set.

use std::time::Duration;

use tower_oauth::{
    Issuer, JwtVerifier,
    keys::Algorithm,
    testing::{MockIssuer, TokenBuilder},
};

use super::{
    AuthErrorKind, Cached, Clock as _, Counting, HOUR, ManualClock, PresentedToken, SECOND, Token, Verdict, Verify,
    authenticate, subject,
};
use crate::{
    fake_issuer::{Answer, FakeIssuer},
    support::API,
};

struct KeysFixture {
    fake: FakeIssuer,
    clock: ManualClock,
    issuer: Issuer,
    verifier: Counting<JwtVerifier>,
    cached: Cached<Counting<JwtVerifier>>,
}

impl KeysFixture {
    /// A fixture whose issuer has fetched a key set of two keys.
    async fn new() -> Self {
        let fake = FakeIssuer::start().await;
        fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
        let clock = ManualClock::default();
        let issuer = fake.builder().clock(clock.clone()).max_stale(2 * HOUR).build().unwrap();
        issuer.warm_up().await.unwrap();
        let verifier = Counting::new(JwtVerifier::new(issuer.clone(), API).unwrap());
        let cached = Cached::builder(verifier.clone(), 24 * HOUR).clock(clock.clone()).build();
        Self { fake, clock, issuer, verifier, cached }
    }

    fn token(&self, algorithm: Algorithm) -> TokenBuilder {
        self.fake.signer(algorithm).token("ada").expires_in(24 * HOUR)
    }

    /// Fetches the key set again, and leaves the time of day unchanged.
    async fn refetch(&self) {
        let fetched = self.fake.fetches();
        self.wait(Duration::from_secs(601));
        self.issuer.warm_up().await.unwrap();
        assert_eq!(self.fake.fetches(), fetched + 1);
    }

    fn wait(&self, time: Duration) {
        let now = self.clock.now();
        self.clock.advance(time);
        self.clock.set(now);
    }

    /// Sends this token. Returns the number of calls of the verifier, and whether the token was accepted.
    async fn calls_for(&self, token: &str) -> (usize, bool) {
        let before = self.verifier.calls();
        let accepted = authenticate(&self.cached, token).await.is_ok();
        (self.verifier.calls() - before, accepted)
    }
}

#[tokio::test]
async fn a_cached_token_is_refused_when_its_key_is_withdrawn() {
    let fixture = KeysFixture::new().await;
    let (withdrawn, current) = (fixture.token(Algorithm::EdDSA).sign(), fixture.token(Algorithm::ES256).sign());
    for token in [&withdrawn, &current] {
        assert_eq!(fixture.calls_for(token).await, (1, true));
        assert_eq!(fixture.calls_for(token).await, (0, true));
    }
    fixture.fake.publish(&[Algorithm::ES256]);
    fixture.refetch().await;
    assert_eq!(fixture.calls_for(&withdrawn).await, (1, false), "its key is withdrawn");
    assert_eq!(fixture.calls_for(&current).await, (1, true), "verified again, and accepted");
    assert_eq!(fixture.calls_for(&current).await, (0, true), "and cached again");
}

#[tokio::test]
async fn a_token_whose_key_was_withdrawn_and_returned_is_verified_again() {
    let fixture = KeysFixture::new().await;
    let token = fixture.token(Algorithm::EdDSA).sign();
    assert_eq!(fixture.calls_for(&token).await, (1, true));
    fixture.fake.publish(&[Algorithm::ES256]);
    fixture.refetch().await;
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    fixture.refetch().await;
    assert_eq!(fixture.calls_for(&token).await, (1, true), "no request came in between, but its key was withdrawn");
}

#[tokio::test]
async fn an_added_key_invalidates_no_verdict() {
    let fixture = KeysFixture::new().await;
    fixture.fake.publish(&[Algorithm::EdDSA]);
    fixture.refetch().await;
    let token = fixture.token(Algorithm::EdDSA).sign();
    assert_eq!(fixture.calls_for(&token).await, (1, true));
    fixture.fake.publish(&[Algorithm::EdDSA, Algorithm::ES256]);
    fixture.refetch().await;
    assert_eq!(fixture.calls_for(&token).await, (0, true));
    fixture.refetch().await;
    assert_eq!(fixture.calls_for(&token).await, (0, true), "an unchanged key set invalidates nothing either");
}

#[tokio::test]
async fn a_different_key_with_the_same_kid_invalidates_cached_tokens() {
    let fixture = KeysFixture::new().await;
    let token = fixture.token(Algorithm::EdDSA).sign();
    assert_eq!(fixture.calls_for(&token).await, (1, true));
    let mut other_key = MockIssuer::new("https://other.test").with_algorithm(Algorithm::EdDSA).jwk();
    other_key["kid"] = fixture.fake.signer(Algorithm::EdDSA).jwk()["kid"].clone();
    fixture.fake.publish_raw(vec![fixture.fake.signer(Algorithm::ES256).jwk(), other_key]);
    fixture.refetch().await;
    assert_eq!(fixture.calls_for(&token).await, (1, false));
}

#[tokio::test]
async fn with_a_stale_key_set_there_are_no_cache_hits() {
    let fixture = KeysFixture::new().await;
    let token = fixture.token(Algorithm::ES256).sign();
    assert_eq!(fixture.calls_for(&token).await, (1, true));
    fixture.fake.answer(Answer::Status(500));
    fixture.wait(2 * HOUR - SECOND);
    assert_eq!(fixture.calls_for(&token).await, (0, true), "the last fetched key set may still be used");
    fixture.wait(SECOND);
    assert_eq!(
        subject(&fixture.cached, &token).await,
        Err(AuthErrorKind::Unavailable),
        "503: there is no usable key set"
    );
    fixture.fake.answer(Answer::Keys);
    fixture.wait(HOUR);
    assert_eq!(subject(&fixture.cached, &token).await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn a_refusal_because_of_an_unknown_key_is_not_cached() {
    let fixture = KeysFixture::new().await;
    fixture.wait(Duration::from_secs(60));
    fixture.fake.publish(&[Algorithm::ES256]);
    fixture.refetch().await;
    let token = fixture.token(Algorithm::EdDSA).sign();
    fixture.wait(Duration::from_secs(60));
    let fetched = fixture.fake.fetches();
    assert_eq!(fixture.calls_for(&token).await, (1, false));
    assert_eq!(fixture.fake.fetches(), fetched + 1, "this refusal waited for a fetch, as cached refusals do");
    assert_eq!(
        fixture.calls_for(&token).await,
        (1, false),
        "but the verifier is called again, because it knows when a fetch can help"
    );
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    fixture.refetch().await;
    assert_eq!(fixture.calls_for(&token).await, (1, true));
}

#[tokio::test]
async fn a_token_that_waited_for_its_key_is_cached() {
    let fixture = KeysFixture::new().await;
    fixture.fake.publish(&[Algorithm::ES256]);
    fixture.refetch().await;
    fixture.wait(Duration::from_secs(60));
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    let token = fixture.token(Algorithm::EdDSA).sign();
    let fetched = fixture.fake.fetches();
    let requests = futures_util::future::join_all((0..100).map(|_| authenticate(&fixture.cached, &token))).await;
    assert!(requests.iter().all(Result::is_ok));
    assert_eq!(fixture.verifier.calls(), 1, "the requests shared one verdict");
    assert_eq!(fixture.fake.fetches(), fetched + 1);
    assert_eq!(fixture.calls_for(&token).await, (0, true));
}

#[tokio::test]
async fn a_bad_signature_is_verified_each_time() {
    let fixture = KeysFixture::new().await;
    let mut token = fixture.token(Algorithm::ES256).sign();
    let place = token.rfind('.').unwrap() + 1;
    let changed = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
    token.replace_range(place..=place, changed);
    // The first bad signature in a cooldown waits for a refresh of the key set, and its refusal is cached.
    let first = fixture.token(Algorithm::ES256).sign_with(&MockIssuer::new("https://untrusted.test"));
    assert_eq!(fixture.calls_for(&first).await, (1, false));
    assert_eq!(fixture.calls_for(&first).await, (0, false));
    for _ in 0..3 {
        assert_eq!(
            fixture.calls_for(&token).await,
            (1, false),
            "the refusal needed no call, so the cache saves nothing"
        );
    }
    assert!(fixture.cached.is_empty());
}

#[tokio::test]
async fn a_wrapper_without_still_holds_never_gets_a_jwt_from_the_cache() {
    #[derive(Clone)]
    struct WithoutStillHolds(Counting<JwtVerifier>);
    impl Verify for WithoutStillHolds {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            self.0.verify(presented)
        }
    }
    let fixture = KeysFixture::new().await;
    let cached =
        Cached::builder(WithoutStillHolds(fixture.verifier.clone()), HOUR).clock(fixture.clock.clone()).build();
    let token = fixture.token(Algorithm::ES256).sign();
    for calls in 1..4 {
        assert!(authenticate(&cached, &token).await.is_ok());
        assert_eq!(fixture.verifier.calls(), calls, "slow, but correct");
    }
}

#[tokio::test]
async fn two_issuers_with_equal_keys_have_separate_key_sets() {
    /// Verifies with the first verifier, and checks hits with the second.
    #[derive(Clone)]
    struct Crossed(JwtVerifier, JwtVerifier);
    impl Verify for Crossed {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            self.0.verify(presented)
        }
        fn is_still_valid(&self, token: &Token) -> bool {
            self.1.is_still_valid(token)
        }
    }
    let mock = crate::support::issuer();
    let verifier = Crossed(mock.verifier(API), mock.verifier(API));
    let token = mock.token("ada").sign();
    let first = Counting::new(verifier);
    let cached = Cached::new(first.clone(), HOUR);
    for calls in 1..3 {
        assert!(authenticate(&cached, &token).await.is_ok());
        assert_eq!(first.calls(), calls, "each key set has its own epoch, though the keys are equal");
    }
}
