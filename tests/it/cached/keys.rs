//! A JWT's verdict lives no longer than its key.

use std::time::Duration;

use tower_oauth::{Issuer, JwtVerifier, keys::Algorithm, testing::TokenBuilder};

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
    /// With a set of two keys, fetched.
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

    /// Has the key set fetched anew, with the time of day unchanged.
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

    async fn asked_for(&self, token: &str) -> (usize, bool) {
        let before = self.verifier.asked();
        let accepted = authenticate(&self.cached, token).await.is_ok();
        (self.verifier.asked() - before, accepted)
    }
}

#[tokio::test]
async fn a_token_dies_with_its_key_however_long_it_might_have_been_kept() {
    let fixture = KeysFixture::new().await;
    let (old, kept) = (fixture.token(Algorithm::EdDSA).sign(), fixture.token(Algorithm::ES256).sign());
    for token in [&old, &kept] {
        assert_eq!(fixture.asked_for(token).await, (1, true));
        assert_eq!(fixture.asked_for(token).await, (0, true));
    }
    fixture.fake.publish(&[Algorithm::ES256]);
    fixture.refetch().await;
    assert_eq!(fixture.asked_for(&old).await, (1, false), "its key is withdrawn");
    assert_eq!(fixture.asked_for(&kept).await, (1, true), "judged anew, and good");
    assert_eq!(fixture.asked_for(&kept).await, (0, true), "and kept again");
}

#[tokio::test]
async fn a_token_whose_key_comes_back_is_judged_anew() {
    let fixture = KeysFixture::new().await;
    let token = fixture.token(Algorithm::EdDSA).sign();
    assert_eq!(fixture.asked_for(&token).await, (1, true));
    fixture.fake.publish(&[Algorithm::ES256]);
    fixture.refetch().await;
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    fixture.refetch().await;
    assert_eq!(fixture.asked_for(&token).await, (1, true), "nobody saw it in between, but its key was gone");
}

#[tokio::test]
async fn a_key_that_is_added_costs_nobody_anything() {
    let fixture = KeysFixture::new().await;
    fixture.fake.publish(&[Algorithm::EdDSA]);
    fixture.refetch().await;
    let token = fixture.token(Algorithm::EdDSA).sign();
    assert_eq!(fixture.asked_for(&token).await, (1, true));
    fixture.fake.publish(&[Algorithm::EdDSA, Algorithm::ES256]);
    fixture.refetch().await;
    assert_eq!(fixture.asked_for(&token).await, (0, true));
    fixture.refetch().await;
    assert_eq!(fixture.asked_for(&token).await, (0, true), "nor does the same set once more");
}

#[tokio::test]
async fn a_key_that_is_another_under_the_same_name_ends_its_tokens() {
    let fixture = KeysFixture::new().await;
    let token = fixture.token(Algorithm::EdDSA).sign();
    assert_eq!(fixture.asked_for(&token).await, (1, true));
    let mut stranger =
        tower_oauth::testing::MockIssuer::new("https://other.test").with_algorithm(Algorithm::EdDSA).jwk();
    stranger["kid"] = fixture.fake.signer(Algorithm::EdDSA).jwk()["kid"].clone();
    fixture.fake.publish_raw(vec![fixture.fake.signer(Algorithm::ES256).jwk(), stranger]);
    fixture.refetch().await;
    assert_eq!(fixture.asked_for(&token).await, (1, false));
}

#[tokio::test]
async fn with_a_key_set_that_is_too_old_nothing_comes_from_the_cache() {
    let fixture = KeysFixture::new().await;
    let token = fixture.token(Algorithm::ES256).sign();
    assert_eq!(fixture.asked_for(&token).await, (1, true));
    fixture.fake.answer(Answer::Status(500));
    fixture.wait(2 * HOUR - SECOND);
    assert_eq!(fixture.asked_for(&token).await, (0, true), "an outage that the last good set bridges");
    fixture.wait(SECOND);
    assert_eq!(subject(&fixture.cached, &token).await, Err(AuthErrorKind::Unavailable), "503: nothing is known of it");
    fixture.fake.answer(Answer::Keys);
    fixture.wait(HOUR);
    assert_eq!(subject(&fixture.cached, &token).await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn a_refusal_for_want_of_a_key_is_not_kept() {
    let fixture = KeysFixture::new().await;
    fixture.wait(Duration::from_secs(60));
    fixture.fake.publish(&[Algorithm::ES256]);
    fixture.refetch().await;
    let token = fixture.token(Algorithm::EdDSA).sign();
    fixture.wait(Duration::from_secs(60));
    let fetched = fixture.fake.fetches();
    assert_eq!(fixture.asked_for(&token).await, (1, false));
    assert_eq!(fixture.fake.fetches(), fetched + 1, "this one waited for an answer, as refusals do that are kept");
    assert_eq!(
        fixture.asked_for(&token).await,
        (1, false),
        "but the verifier is asked again, who knows when there is hope"
    );
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    fixture.refetch().await;
    assert_eq!(fixture.asked_for(&token).await, (1, true));
}

#[tokio::test]
async fn a_token_that_waited_for_its_key_is_kept_like_any_other() {
    let fixture = KeysFixture::new().await;
    fixture.fake.publish(&[Algorithm::ES256]);
    fixture.refetch().await;
    fixture.wait(Duration::from_secs(60));
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    let token = fixture.token(Algorithm::EdDSA).sign();
    let fetched = fixture.fake.fetches();
    let requests = futures_util::future::join_all((0..100).map(|_| authenticate(&fixture.cached, &token))).await;
    assert!(requests.iter().all(Result::is_ok));
    assert_eq!(fixture.verifier.asked(), 1, "they shared one verdict");
    assert_eq!(fixture.fake.fetches(), fetched + 1);
    assert_eq!(fixture.asked_for(&token).await, (0, true));
}

#[tokio::test]
async fn a_bad_signature_is_judged_each_time() {
    let fixture = KeysFixture::new().await;
    let mut token = fixture.token(Algorithm::ES256).sign();
    let place = token.rfind('.').unwrap() + 1;
    let bent = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
    token.replace_range(place..=place, bent);
    for _ in 0..3 {
        assert_eq!(fixture.asked_for(&token).await, (1, false), "nobody was asked, so there is nothing to spare");
    }
    assert!(fixture.cached.is_empty());
}

#[tokio::test]
async fn who_wraps_a_verifier_and_forgets_to_hand_the_question_on_never_has_a_jwt_from_the_cache() {
    #[derive(Clone)]
    struct Forgetful(Counting<JwtVerifier>);
    impl Verify for Forgetful {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            self.0.verify(presented)
        }
    }
    let fixture = KeysFixture::new().await;
    let cached = Cached::builder(Forgetful(fixture.verifier.clone()), HOUR).clock(fixture.clock.clone()).build();
    let token = fixture.token(Algorithm::ES256).sign();
    for asked in 1..4 {
        assert!(authenticate(&cached, &token).await.is_ok());
        assert_eq!(fixture.verifier.asked(), asked, "slow, but never wrong");
    }
}

#[tokio::test]
async fn two_issuers_with_the_same_key_names_have_their_own_key_sets() {
    /// Judges by the first and asks the second.
    #[derive(Clone)]
    struct Crossed(JwtVerifier, JwtVerifier);
    impl Verify for Crossed {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            self.0.verify(presented)
        }
        fn still_holds(&self, token: &Token) -> bool {
            self.1.still_holds(token)
        }
    }
    let mock = crate::support::issuer();
    let verifier = Crossed(mock.verifier(API), mock.verifier(API));
    let token = mock.token("ada").sign();
    let first = Counting::new(verifier);
    let cached = Cached::new(first.clone(), HOUR);
    for asked in 1..3 {
        assert!(authenticate(&cached, &token).await.is_ok());
        assert_eq!(first.asked(), asked, "each set has an epoch of its own, though the keys are equal");
    }
}
