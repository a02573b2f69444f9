//! Key sets that are fetched from the issuer: every rule of the refresh policy, with a clock that the test advances.

mod clocks;
pub(crate) mod rotation;
mod times;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use tower_oauth::{
    AuthError, Issuer, JwtVerifier, ResourceServer, Token,
    error::AuthErrorKind,
    fetch::{Fetch, FetchFuture},
    issuer::IssuerBuilder,
    keys::{Algorithm, KeySet},
    testing::ManualClock,
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    support::API,
};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) struct RemoteKeysFixture {
    pub(crate) fake: FakeIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) issuer: Issuer,
    pub(crate) server: ResourceServer,
}

impl RemoteKeysFixture {
    /// A fixture that has fetched the key set once.
    pub(crate) async fn warm() -> Self {
        let fixture = Self::cold().await;
        fixture.issuer.warm_up().await.unwrap();
        assert_eq!(fixture.fake.fetches(), 1);
        fixture
    }

    pub(crate) async fn cold() -> Self {
        Self::cold_with(|builder| builder).await
    }

    pub(crate) async fn cold_with(configure: impl FnOnce(IssuerBuilder) -> IssuerBuilder) -> Self {
        let fake = FakeIssuer::start().await;
        let clock = ManualClock::default();
        let issuer = configure(fake.builder().clock(clock.clone())).build().unwrap();
        let server = server(&issuer);
        Self { fake, clock, issuer, server }
    }

    pub(crate) async fn authenticate(&self, token: &str) -> Result<Token, AuthError> {
        authenticate(&self.server, token).await
    }

    pub(crate) async fn kind(&self, token: &str) -> Option<AuthErrorKind> {
        self.authenticate(token).await.err().map(|error| error.kind())
    }

    /// A token of the issuer with a `kid` that is in no key set.
    pub(crate) fn with_unknown_kid(&self, kid: &str) -> String {
        self.fake.signer(Algorithm::ES256).token("eve").header("kid", kid).sign()
    }

    /// Makes everything that is cached older, and leaves the time of day, so that no token expires.
    pub(crate) fn wait(&self, time: Duration) {
        let now = tower_oauth::clock::Clock::now(&self.clock);
        self.clock.advance(time);
        self.clock.set(now);
    }

    /// Waits until the issuer has received this number of requests for the key set.
    pub(crate) async fn wait_for_fetches(&self, count: usize) {
        let reached = async {
            while self.fake.fetches() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached).await.expect("the issuer received too few requests");
        assert_eq!(self.fake.fetches(), count);
    }
}

pub(crate) fn server(issuer: &Issuer) -> ResourceServer {
    ResourceServer::new(JwtVerifier::new(issuer.clone(), API).unwrap())
}

pub(crate) async fn authenticate(server: &ResourceServer, token: &str) -> Result<Token, AuthError> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    server.authenticate(&request.into_parts().0).await
}

/// RFC 8725 §3.10 b (MUST, accepts)
/// Threat J9
#[tokio::test]
async fn accepts_the_first_token_with_a_new_key() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    let token = fixture.fake.signer(Algorithm::EdDSA).token("ada").sign();
    assert_eq!(fixture.authenticate(&token).await.unwrap().subject(), Some("ada"));
    assert_eq!(fixture.fake.fetches(), 2);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
}

#[tokio::test]
async fn accepts_a_key_that_is_published_right_after_a_regular_fetch() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    assert_eq!(fixture.kind(&fixture.fake.signer(Algorithm::EdDSA).token("ada").sign()).await, None);
    assert_eq!(fixture.fake.fetches(), 2);
}

/// Threats J6, J8
#[tokio::test]
async fn a_thousand_unknown_kids_cause_one_fetch_per_cooldown() {
    let fixture = RemoteKeysFixture::warm().await;
    for round in 1..=3 {
        fixture.wait(Duration::from_secs(30));
        let tokens: Vec<_> = (0..1000).map(|index| fixture.with_unknown_kid(&format!("{round}-{index}"))).collect();
        let kinds = futures_util::future::join_all(tokens.iter().map(|token| fixture.kind(token))).await;
        let refused = kinds.iter().filter(|kind| **kind == Some(AuthErrorKind::InvalidToken)).count();
        let unavailable = kinds.iter().filter(|kind| **kind == Some(AuthErrorKind::Unavailable)).count();
        assert_eq!(
            (refused, unavailable),
            (1, 999),
            "only the first kid was looked for in a set fetched after it arrived"
        );
        assert_eq!(fixture.fake.fetches(), 1 + round);
        fixture.wait(Duration::from_secs(29));
        assert_eq!(fixture.kind(&fixture.with_unknown_kid("late")).await, Some(AuthErrorKind::Unavailable));
        assert_eq!(fixture.fake.fetches(), 1 + round, "still within the cooldown");
        fixture.wait(Duration::from_secs(1));
    }
}

/// Threat J6
#[tokio::test]
async fn a_kid_that_a_fresh_key_set_lacks_is_refused_without_waiting() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(Duration::from_secs(590));
    fixture.fake.jwks_headers("Cache-Control: max-age=60\r\n");
    assert_eq!(fixture.kind(&fixture.with_unknown_kid("x")).await, Some(AuthErrorKind::InvalidToken));
    let fetches = fixture.fake.fetches();
    // A refresh is in flight and hangs: a request that waits for it would never end, because the clock stands still.
    fixture.fake.answer(Answer::Hang);
    fixture.wait(Duration::from_millis(29_900));
    assert_eq!(fixture.kind(&fixture.with_unknown_kid("x")).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.fetches(), fetches);
    fixture.fake.answer(Answer::Keys);
    fixture.wait(Duration::from_millis(100));
    assert_eq!(fixture.kind(&fixture.with_unknown_kid("x")).await, Some(AuthErrorKind::InvalidToken));
    fixture.wait_for_fetches(fetches + 1).await;
}

/// Threat J8
#[tokio::test]
async fn a_token_that_arrives_before_its_key_is_accepted_after_one_cooldown() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    let token = fixture.fake.signer(Algorithm::EdDSA).token("ada").sign();
    assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    fixture.wait(Duration::from_secs(30));
    assert_eq!(fixture.kind(&token).await, None);
}

#[tokio::test]
async fn a_readiness_probe_alone_starts_the_first_fetch() {
    let fixture = RemoteKeysFixture::cold().await;
    let ready = async {
        while !fixture.issuer.is_ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ready).await.expect("the issuer was not ready after 10 s");
    assert_eq!(fixture.fake.fetches(), 1);
}

#[tokio::test]
async fn debug_of_an_issuer_causes_no_fetch() {
    let fixture = RemoteKeysFixture::cold().await;
    for _ in 0..3 {
        assert!(format!("{:?} {:?}", fixture.issuer, fixture.server).contains("Issuer"));
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(fixture.fake.fetches(), 0);
}

#[tokio::test]
async fn max_stale_limits_a_longer_max_age_of_the_issuer() {
    let fake = FakeIssuer::start().await;
    fake.jwks_headers("Cache-Control: max-age=3600\r\n");
    let clock = ManualClock::default();
    let issuer = fake.builder().clock(clock.clone()).max_stale(MINUTE).build().unwrap();
    issuer.warm_up().await.unwrap();
    fake.answer(Answer::Reset);
    clock.advance(Duration::from_secs(59));
    assert!(issuer.is_ready());
    clock.advance(Duration::from_secs(1));
    assert!(!issuer.is_ready());
}

#[tokio::test]
async fn a_refresh_that_shortens_the_lifetime_reschedules_the_background_task() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.jwks_headers("Cache-Control: max-age=3600\r\n");
    fixture.issuer.warm_up().await.unwrap();
    fixture.wait(MINUTE);
    fixture.fake.jwks_headers("Cache-Control: max-age=60\r\n");
    assert_eq!(fixture.kind(&fixture.with_unknown_kid("x")).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.fetches(), 2);
    // The background task gets the new lifetime and restarts its timer.
    tokio::time::sleep(Duration::from_millis(20)).await;
    fixture.wait(MINUTE);
    fixture.wait_for_fetches(3).await;
}

#[tokio::test]
async fn a_key_set_without_kids_is_refreshed_for_a_token_with_a_kid() {
    let fixture = RemoteKeysFixture::cold().await;
    let mut unnamed = fixture.fake.signer(Algorithm::ES256).jwk();
    unnamed.as_object_mut().unwrap().remove("kid");
    fixture.fake.publish_raw(vec![unnamed]);
    fixture.issuer.warm_up().await.unwrap();
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
    let other = tower_oauth::testing::MockIssuer::new("https://other.test");
    fixture.fake.publish_raw(vec![other.jwk()]);
    fixture.wait(MINUTE);
    let named = fixture.fake.signer(Algorithm::ES256).token("ada").header("kid", other.key_id()).sign_with(&other);
    assert_eq!(fixture.kind(&named).await, None, "the new set has the new key");
}

#[tokio::test]
async fn a_panic_of_the_fetch_counts_as_a_failure() {
    struct Panics(Arc<AtomicUsize>);
    impl Fetch for Panics {
        fn fetch(&self, _: Request<bytes::Bytes>) -> FetchFuture {
            self.0.fetch_add(1, Ordering::SeqCst);
            FetchFuture::new(async { panic!("on purpose") })
        }
    }
    let (calls, clock) = (Arc::new(AtomicUsize::new(0)), ManualClock::default());
    let fetch = Panics(Arc::clone(&calls));
    let builder = Issuer::builder("https://auth.test").jwks_uri("https://auth.test/jwks");
    let issuer = builder.fetch(fetch).clock(clock.clone()).build().unwrap();
    let (server, token) =
        (server(&issuer), tower_oauth::testing::MockIssuer::new("https://auth.test").token("ada").sign());
    for round in 1..=3 {
        for _ in 0..5 {
            assert_eq!(authenticate(&server, &token).await.unwrap_err().kind(), AuthErrorKind::Unavailable);
        }
        assert_eq!(calls.load(Ordering::SeqCst), round, "one call in each back-off");
        clock.advance(Duration::from_secs(1 << (round - 1)));
    }
}

#[test]
fn a_stopped_runtime_blocks_neither_a_fetch_nor_the_background_refresh() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let fixture = second.block_on(RemoteKeysFixture::cold());
    let token = fixture.fake.valid_token();
    // The attempt starts in a runtime that doesn't run any more.
    let ready = first.block_on(async { fixture.issuer.is_ready() });
    assert!(!ready);
    second.block_on(async {
        let (server, waiting) = (fixture.server.clone(), token.clone());
        let waiting = tokio::spawn(async move { authenticate(&server, &waiting).await });
        tokio::task::yield_now().await;
        fixture.wait(Duration::from_secs(3));
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), AuthErrorKind::Unavailable);
        fixture.fake.answer(Answer::Hang);
        fixture.wait(Duration::from_millis(3_001));
        let (server, waiting) = (fixture.server.clone(), token.clone());
        let waiting = tokio::spawn(async move { authenticate(&server, &waiting).await });
        fixture.wait_for_fetches(1).await;
        // The first attempt is cancelled here, but the request waits for another one.
        first.shutdown_background();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        fixture.fake.answer(Answer::Keys);
        fixture.wait(Duration::from_secs(5));
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), AuthErrorKind::Unavailable);
        fixture.wait(Duration::from_secs(2));
        assert_eq!(fixture.kind(&token).await, None, "this runtime made another attempt");
    });
    second.block_on(async {
        fixture.wait(Duration::from_secs(601));
        assert_eq!(fixture.kind(&token).await, None);
        fixture.wait_for_fetches(3).await;
        wait_for_attempt(&fixture).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        fixture.wait(Duration::from_secs(511));
        fixture.wait_for_fetches(4).await;
    });
}

#[tokio::test]
async fn a_failed_refresh_starts_the_cooldown_and_the_token_gets_503() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    fixture.fake.answer(Answer::Status(500));
    for _ in 0..5 {
        let error = fixture.authenticate(&fixture.with_unknown_kid("new")).await.unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Unavailable);
        assert!(fixture.server.challenge(&error).status() == 503);
    }
    assert_eq!(fixture.fake.fetches(), 2);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None, "known keys stay valid");
}

/// RFC 8725 §3.10 b (MUST, refuses)
/// Threat J6
#[tokio::test]
async fn a_token_that_no_new_key_can_make_valid_causes_no_fetch() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    let mint = fixture.fake.signer(Algorithm::ES256);
    let other_issuer = tower_oauth::testing::MockIssuer::new("https://evil.test");
    let good = mint.token("ada");
    for token in [
        other_issuer.token("eve").sign(),
        good.clone().claim("iss", "https://evil.test").header("kid", "new").sign(),
        good.clone().claim("iss", "https://evil.test").sign_with(&other_issuer),
        good.clone().header("kid", "new").header("typ", "JWT").sign(),
        "garbage".to_owned(),
    ] {
        assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
    }
    assert_eq!(fixture.fake.fetches(), 1);
}

/// Threat J11
#[tokio::test]
async fn a_thousand_requests_without_a_key_set_cause_one_fetch() {
    let fixture = RemoteKeysFixture::cold().await;
    assert!(!fixture.issuer.is_ready());
    let token = fixture.fake.valid_token();
    let kinds = futures_util::future::join_all((0..1000).map(|_| fixture.kind(&token))).await;
    assert!(kinds.iter().all(Option::is_none));
    assert_eq!(fixture.fake.fetches(), 1);
    assert!(fixture.issuer.is_ready());
}

/// Threat J12
#[tokio::test]
async fn while_the_issuer_hangs_only_unknown_kids_wait_at_most_3_seconds() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    fixture.fake.answer(Answer::Hang);
    let token = fixture.with_unknown_kid("new");
    let server = fixture.server.clone();
    let waiting = tokio::spawn(async move { authenticate(&server, &token).await });
    fixture.wait_for_fetches(2).await;
    for _ in 0..100 {
        // The clock stands still: a request that waits would never end.
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
    }
    fixture.wait(Duration::from_millis(2_900));
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
    assert!(!waiting.is_finished());
    fixture.wait(Duration::from_millis(100));
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::Unavailable);
}

#[tokio::test]
async fn cancelling_a_request_does_not_cancel_the_fetch() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.answer(Answer::Hang);
    let (server, token) = (fixture.server.clone(), fixture.fake.valid_token());
    let first = tokio::spawn(async move { authenticate(&server, &token).await });
    fixture.wait_for_fetches(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // The attempt is still in flight: the next request joins it instead of starting another.
    let (server, token) = (fixture.server.clone(), fixture.fake.valid_token());
    let second = tokio::spawn(async move { authenticate(&server, &token).await });
    tokio::task::yield_now().await;
    assert_eq!(fixture.fake.fetches(), 1);
    fixture.wait(Duration::from_secs(5));
    assert_eq!(second.await.unwrap().unwrap_err().kind(), AuthErrorKind::Unavailable);
}

/// Threat J7
#[tokio::test]
async fn the_last_key_set_is_used_during_an_outage_for_at_most_a_day() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.fake.answer(Answer::Reset);
    let mut fetches = 1;
    for _ in 0..23 {
        fixture.wait(HOUR);
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
        fetches += 1;
        fixture.wait_for_fetches(fetches).await;
        wait_for_attempt(&fixture).await;
        fetches = fixture.fake.fetches();
    }
    fixture.wait(HOUR);
    let error = fixture.authenticate(&fixture.fake.valid_token()).await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::Unavailable);
    assert!(!fixture.issuer.is_ready());
    fixture.fake.answer(Answer::Keys);
    fixture.wait(MINUTE);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None, "it recovers by itself");
}

/// Waits until no attempt is in flight.
pub(crate) async fn wait_for_attempt(fixture: &RemoteKeysFixture) {
    fixture.issuer.warm_up().await.ok();
}

/// RFC 8414 §3.2 (MUST, refuses)
/// Threats J7, J12, J13
#[tokio::test]
async fn an_unusable_response_does_not_replace_a_usable_key_set() {
    let fixture = RemoteKeysFixture::warm().await;
    let many: Vec<_> = (0..101).map(|_| fixture.fake.signer(Algorithm::ES256).jwk()).collect();
    let large = format!("{{\"keys\":[],\"padding\":\"{}\"}}", "x".repeat(600 * 1024));
    let responses = [
        Answer::Body("{\"keys\":[]}".to_owned()),
        Answer::Body("<html>Sign in</html>".to_owned()),
        Answer::Body(String::new()),
        Answer::Body("[1]".to_owned()),
        Answer::Body("[".repeat(200_000)),
        Answer::Body("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}".to_owned()),
        Answer::Body(serde_json::json!({"keys": many}).to_string()),
        Answer::Body(large),
        Answer::Status(404),
        Answer::Status(429),
        Answer::StatusWithKeys(500),
        Answer::StatusWithKeys(304),
        Answer::Redirect("/elsewhere".to_owned()),
        Answer::Reset,
    ];
    for response in responses {
        fixture.wait(HOUR);
        fixture.fake.answer(response);
        let before = fixture.fake.fetches();
        fixture.issuer.warm_up().await.unwrap();
        assert_eq!(fixture.fake.fetches(), before + 1);
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
        assert_eq!(fixture.fake.hits("/elsewhere"), 0, "no redirect is followed");
        fixture.fake.answer(Answer::Keys);
        fixture.wait(MINUTE);
        wait_for_attempt(&fixture).await;
    }
}

/// Threat J10
#[tokio::test]
async fn a_refresh_removes_withdrawn_keys_and_skips_only_invalid_ones() {
    let fixture = RemoteKeysFixture::warm().await;
    let mint = fixture.fake.signer(Algorithm::EdDSA);
    fixture.fake.publish_raw(vec![serde_json::json!({"kty": "AKP"}), serde_json::json!(7), mint.jwk()]);
    fixture.wait(11 * MINUTE);
    wait_for_attempt(&fixture).await;
    assert_eq!(fixture.kind(&mint.token("ada").sign()).await, None);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, Some(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn refreshes_early_in_the_background_until_the_last_handle_is_dropped() {
    let RemoteKeysFixture { fake, clock, issuer, server } = RemoteKeysFixture::warm().await;
    let fixture = RemoteKeysFixture { fake, clock, issuer: issuer.clone(), server };
    for round in 2..5 {
        fixture.wait(Duration::from_secs(449));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(fixture.fake.fetches(), round - 1, "not before 75 % of ten minutes");
        fixture.wait(Duration::from_secs(61));
        fixture.wait_for_fetches(round).await;
        // The background task starts its next timer after the response.
        wait_for_attempt(&fixture).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let RemoteKeysFixture { fake, clock, issuer: other, server } = fixture;
    drop((issuer, other, server));
    tokio::time::sleep(Duration::from_millis(5)).await;
    clock.advance(HOUR);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fake.fetches(), 4);
}

/// Threats J10, J19
#[tokio::test]
async fn follows_cache_control_within_bounds() {
    for (header, at_least, at_most) in [
        ("Cache-Control: max-age=5", 45, 51),
        ("Cache-Control: no-store", 45, 51),
        ("Cache-Control: public, max-age=1200", 900, 1020),
        ("Cache-Control: max-age=999999999", 2700, 3060),
        ("Cache-Control: max-age=x", 450, 510),
    ] {
        let fixture = RemoteKeysFixture::cold().await;
        fixture.fake.jwks_headers(&format!("{header}\r\n"));
        fixture.issuer.warm_up().await.unwrap();
        fixture.wait(Duration::from_secs(at_least - 1));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(fixture.fake.fetches(), 1, "{header}: too early");
        fixture.wait(Duration::from_secs(at_most - at_least + 2));
        fixture.wait_for_fetches(2).await;
    }
}

#[tokio::test]
async fn sends_the_etag_of_the_key_set_in_a_refresh() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.jwks_headers("ETag: \"v1\"\r\n");
    fixture.issuer.warm_up().await.unwrap();
    let saved = fixture.issuer.key_set_json().unwrap();
    fixture.wait(11 * MINUTE);
    wait_for_attempt(&fixture).await;
    fixture.wait_for_fetches(2).await;
    assert!(fixture.fake.requests().last().unwrap().contains("if-none-match: \"v1\""));
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
    assert_eq!(fixture.issuer.key_set_json().unwrap(), saved);
}

/// Threat J18
#[tokio::test]
async fn an_api_that_starts_while_its_issuer_is_down_recovers_by_itself() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.answer(Answer::Status(503));
    let error = fixture.authenticate(&fixture.fake.valid_token()).await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::Unavailable);
    let mut headers = http::HeaderMap::new();
    fixture.server.challenge(&error).write_to(&mut headers);
    assert_eq!(headers["retry-after"], "1");
    assert!(!headers.contains_key("www-authenticate"));
    assert_eq!(fixture.kind("garbage").await, Some(AuthErrorKind::InvalidToken), "no key set could make it valid");
    for (failures, back_off) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30)] {
        assert_eq!(fixture.fake.fetches(), failures);
        fixture.wait(Duration::from_millis(back_off * 1000 - 1));
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, Some(AuthErrorKind::Unavailable));
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(fixture.fake.fetches(), failures, "the back-off of {back_off} s is not over");
        fixture.wait(Duration::from_millis(1));
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, Some(AuthErrorKind::Unavailable));
        fixture.wait_for_fetches(failures + 1).await;
    }
    fixture.fake.answer(Answer::Keys);
    fixture.wait(Duration::from_secs(30));
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
}

#[tokio::test]
async fn initial_keys_are_used_until_the_first_fetch_succeeds() {
    let fake = FakeIssuer::start().await;
    fake.answer(Answer::Hang);
    let initial_keys = fake.signer(Algorithm::EdDSA).key_set();
    let issuer = fake.builder().clock(ManualClock::default()).initial_keys(initial_keys).build().unwrap();
    assert!(issuer.is_ready());
    let token = fake.signer(Algorithm::EdDSA).token("ada").sign();
    assert!(authenticate(&server(&issuer), &token).await.is_ok());
}

#[tokio::test]
async fn a_saved_key_set_can_be_loaded_as_fixed_keys() {
    let fixture = RemoteKeysFixture::warm().await;
    let saved = KeySet::from_json(fixture.issuer.key_set_json().unwrap()).unwrap();
    let issuer = Issuer::from_keys(&fixture.fake.identifier, saved).unwrap();
    assert!(authenticate(&server(&issuer), &fixture.fake.valid_token()).await.is_ok());
}

/// Threat J12
#[tokio::test]
async fn times_out_if_the_key_set_arrives_too_slowly() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.answer(Answer::Drip);
    let (server, token) = (fixture.server.clone(), fixture.fake.valid_token());
    let waiting = tokio::spawn(async move { authenticate(&server, &token).await });
    fixture.wait_for_fetches(1).await;
    fixture.wait(Duration::from_secs(3));
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), AuthErrorKind::Unavailable);
    fixture.wait(Duration::from_secs(2));
    fixture.fake.answer(Answer::Keys);
    wait_for_attempt(&fixture).await;
    fixture.wait(Duration::from_secs(2));
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
}
