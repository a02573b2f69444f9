//! Key sets that follow their issuer: every rule of the refresh policy, by a clock that is turned by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use tower_oauth::{
    AuthError, Issuer, JwtVerifier, ResourceServer, Token,
    error::AuthErrorKind,
    fetch::{Fetch, FetchFuture, HttpClient},
    keys::{Algorithm, KeySet},
    testing::ManualClock,
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    support::API,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

struct RemoteKeysFixture {
    fake: FakeIssuer,
    clock: ManualClock,
    issuer: Issuer,
    server: ResourceServer,
}

impl RemoteKeysFixture {
    /// With the keys of the fake issuer fetched once.
    async fn warm() -> Self {
        let fixture = Self::cold().await;
        fixture.issuer.warm_up().await.unwrap();
        assert_eq!(fixture.fake.fetches(), 1);
        fixture
    }

    async fn cold() -> Self {
        let fake = FakeIssuer::start().await;
        let clock = ManualClock::default();
        let issuer = fake.builder().clock(clock.clone()).build().unwrap();
        let server = server(&issuer);
        Self { fake, clock, issuer, server }
    }

    async fn authenticate(&self, token: &str) -> Result<Token, AuthError> {
        authenticate(&self.server, token).await
    }

    async fn kind(&self, token: &str) -> Option<AuthErrorKind> {
        self.authenticate(token).await.err().map(|error| error.kind())
    }

    /// A token of the issuer under a `kid` that nobody has.
    fn stranger(&self, kid: &str) -> String {
        self.fake.signer(Algorithm::ES256).token("eve").header("kid", kid).sign()
    }

    /// Turns the clock without letting the tokens' dates run out: only what is remembered grows older.
    fn wait(&self, time: Duration) {
        let now = tower_oauth::clock::Clock::now(&self.clock);
        self.clock.advance(time);
        self.clock.set(now);
    }

    /// Until the issuer has been asked so often.
    async fn fetches(&self, count: usize) {
        let asked = async {
            while self.fake.fetches() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asked).await.expect("the issuer was not asked");
        assert_eq!(self.fake.fetches(), count);
    }
}

fn server(issuer: &Issuer) -> ResourceServer {
    ResourceServer::new(JwtVerifier::new(issuer.clone(), API).unwrap())
}

async fn authenticate(server: &ResourceServer, token: &str) -> Result<Token, AuthError> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    server.authenticate(&request.into_parts().0).await
}

#[tokio::test]
async fn a_new_key_is_accepted_with_the_very_request_that_brings_it() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    let token = fixture.fake.signer(Algorithm::EdDSA).token("ada").sign();
    assert_eq!(fixture.authenticate(&token).await.unwrap().subject(), Some("ada"));
    assert_eq!(fixture.fake.fetches(), 2);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
}

#[tokio::test]
async fn a_key_that_appears_right_after_a_regular_fetch_is_accepted_at_once() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    assert_eq!(fixture.kind(&fixture.fake.signer(Algorithm::EdDSA).token("ada").sign()).await, None);
    assert_eq!(fixture.fake.fetches(), 2);
    assert_eq!(fixture.kind(&fixture.stranger("x")).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.fetches(), 2, "but that was the one forced fetch of the cool-down");
}

#[tokio::test]
async fn a_thousand_unknown_kids_cost_one_fetch_per_cool_down() {
    let fixture = RemoteKeysFixture::warm().await;
    for round in 1..=3 {
        fixture.wait(Duration::from_secs(30));
        let tokens: Vec<_> = (0..1000).map(|index| fixture.stranger(&format!("{round}-{index}"))).collect();
        let kinds = futures_util::future::join_all(tokens.iter().map(|token| fixture.kind(token))).await;
        assert!(kinds.iter().all(|kind| *kind == Some(AuthErrorKind::InvalidToken)), "{kinds:?}");
        assert_eq!(fixture.fake.fetches(), 1 + round);
        fixture.wait(Duration::from_secs(29));
        assert_eq!(fixture.kind(&fixture.stranger("late")).await, Some(AuthErrorKind::InvalidToken));
        assert_eq!(fixture.fake.fetches(), 1 + round, "still within the cool-down");
        fixture.wait(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_kid_that_a_fresh_set_lacked_is_remembered_for_one_cool_down_and_does_not_even_wait() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(Duration::from_secs(590));
    fixture.fake.jwks_headers("Cache-Control: max-age=60\r\n");
    assert_eq!(fixture.kind(&fixture.stranger("x")).await, Some(AuthErrorKind::InvalidToken));
    let asked = fixture.fake.fetches();
    // A renewal that hangs is under way: whoever waited for it would wait for ever, for the clock stands.
    fixture.fake.answer(Answer::Hang);
    fixture.wait(Duration::from_millis(29_900));
    assert_eq!(fixture.kind(&fixture.stranger("x")).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.fetches(), asked);
    fixture.fake.answer(Answer::Keys);
    fixture.wait(Duration::from_millis(100));
    assert_eq!(fixture.kind(&fixture.stranger("x")).await, Some(AuthErrorKind::InvalidToken));
    fixture.fetches(asked + 1).await;
}

#[tokio::test]
async fn a_token_that_came_before_its_key_waits_for_one_cool_down_at_most() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    let token = fixture.fake.signer(Algorithm::EdDSA).token("ada").sign();
    assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    fixture.wait(Duration::from_secs(30));
    assert_eq!(fixture.kind(&token).await, None);
}

#[tokio::test]
async fn a_readiness_probe_alone_brings_the_keys() {
    let fixture = RemoteKeysFixture::cold().await;
    let ready = async {
        while !fixture.issuer.is_ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ready).await.expect("it never becomes ready");
    assert_eq!(fixture.fake.fetches(), 1);
}

#[tokio::test]
async fn printing_an_issuer_asks_for_nothing() {
    let fixture = RemoteKeysFixture::cold().await;
    for _ in 0..3 {
        assert!(format!("{:?} {:?}", fixture.issuer, fixture.server).contains("Issuer"));
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(fixture.fake.fetches(), 0);
}

#[tokio::test]
async fn the_hard_cap_counts_however_fresh_the_issuer_calls_its_set() {
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
async fn a_forced_refresh_that_shortens_the_lifetime_moves_the_background_task_too() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.jwks_headers("Cache-Control: max-age=3600\r\n");
    fixture.issuer.warm_up().await.unwrap();
    fixture.wait(MINUTE);
    fixture.fake.jwks_headers("Cache-Control: max-age=60\r\n");
    assert_eq!(fixture.kind(&fixture.stranger("x")).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.fetches(), 2);
    // The background task hears of it, and sets its alarm anew.
    tokio::time::sleep(Duration::from_millis(20)).await;
    fixture.wait(MINUTE);
    fixture.fetches(3).await;
}

#[tokio::test]
async fn a_set_without_kids_is_renewed_for_a_kid_that_is_new() {
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
async fn an_attempt_that_panics_is_a_failure_like_any_other() {
    struct Panics(Arc<AtomicUsize>);
    impl Fetch for Panics {
        fn fetch(&self, _: Request<bytes::Bytes>) -> FetchFuture {
            self.0.fetch_add(1, Ordering::SeqCst);
            FetchFuture::new(async { panic!("on purpose") })
        }
    }
    let (asked, clock) = (Arc::new(AtomicUsize::new(0)), ManualClock::default());
    let fetch = Panics(Arc::clone(&asked));
    let builder = Issuer::builder("https://auth.test").jwks_uri("https://auth.test/jwks");
    let issuer = builder.fetch(fetch).clock(clock.clone()).build().unwrap();
    let (server, token) =
        (server(&issuer), tower_oauth::testing::MockIssuer::new("https://auth.test").token("ada").sign());
    for round in 1..=3 {
        for _ in 0..5 {
            assert_eq!(authenticate(&server, &token).await.unwrap_err().kind(), AuthErrorKind::Unavailable);
        }
        assert_eq!(asked.load(Ordering::SeqCst), round, "it backs off");
        clock.advance(Duration::from_secs(1 << (round - 1)));
    }
}

#[test]
fn an_attempt_that_its_runtime_forgot_is_given_up_and_so_is_a_background_task_without_a_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let fixture = second.block_on(RemoteKeysFixture::cold());
    let token = fixture.fake.valid_token();
    // Taken by a runtime that is never driven again.
    let asked = first.block_on(async { fixture.issuer.is_ready() });
    assert!(!asked);
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
        fixture.fetches(1).await;
        // The lost attempt ends at last; it is not the one that anybody waits for.
        first.shutdown_background();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        fixture.fake.answer(Answer::Keys);
        fixture.wait(Duration::from_secs(5));
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), AuthErrorKind::Unavailable);
        fixture.wait(Duration::from_secs(2));
        assert_eq!(fixture.kind(&token).await, None, "another attempt was made here");
    });
    second.block_on(async {
        fixture.wait(Duration::from_secs(601));
        assert_eq!(fixture.kind(&token).await, None);
        fixture.fetches(3).await;
        settle(&fixture).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        fixture.wait(Duration::from_secs(511));
        fixture.fetches(4).await;
    });
}

#[tokio::test]
async fn a_failed_refresh_counts_for_the_cool_down_and_the_token_cannot_be_judged() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    fixture.fake.answer(Answer::Status(500));
    for _ in 0..5 {
        let error = fixture.authenticate(&fixture.stranger("new")).await.unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Unavailable);
        assert!(fixture.server.challenge(&error).status() == 503);
    }
    assert_eq!(fixture.fake.fetches(), 2);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None, "known keys go on");
}

#[tokio::test]
async fn what_can_never_bring_a_key_asks_for_none() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    let mint = fixture.fake.signer(Algorithm::ES256);
    let stranger = tower_oauth::testing::MockIssuer::new("https://stranger.test");
    let good = mint.token("ada");
    for token in [
        stranger.token("eve").sign(),
        good.clone().claim("iss", "https://stranger.test").header("kid", "new").sign(),
        good.sign_with(&stranger),
        good.clone().header("alg", "ES384").sign(),
        good.clone().header("kid", "new").header("typ", "JWT").sign(),
        "garbage".to_owned(),
    ] {
        assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
    }
    fixture.fake.publish(&[Algorithm::EdDSA]);
    let unnamed = fixture.fake.signer(Algorithm::EdDSA).token("ada").without_header("kid").sign();
    assert_eq!(fixture.kind(&unnamed).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.fetches(), 1);
}

#[tokio::test]
async fn a_thousand_requests_on_a_cold_cache_cost_one_fetch() {
    let fixture = RemoteKeysFixture::cold().await;
    assert!(!fixture.issuer.is_ready());
    let token = fixture.fake.valid_token();
    let answers = futures_util::future::join_all((0..1000).map(|_| fixture.kind(&token))).await;
    assert!(answers.iter().all(Option::is_none));
    assert_eq!(fixture.fake.fetches(), 1);
    assert!(fixture.issuer.is_ready());
}

#[tokio::test]
async fn while_the_issuer_hangs_known_keys_do_not_wait_and_unknown_ones_only_three_seconds() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.wait(MINUTE);
    fixture.fake.answer(Answer::Hang);
    let token = fixture.stranger("new");
    let server = fixture.server.clone();
    let waiting = tokio::spawn(async move { authenticate(&server, &token).await });
    fixture.fetches(2).await;
    for _ in 0..100 {
        // The clock stands: whoever waited for anything would wait for ever.
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
async fn a_client_that_goes_away_cancels_nobodys_fetch() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.answer(Answer::Hang);
    let (server, token) = (fixture.server.clone(), fixture.fake.valid_token());
    let first = tokio::spawn(async move { authenticate(&server, &token).await });
    fixture.fetches(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // The attempt is still under way: the next request joins it instead of starting another.
    let (server, token) = (fixture.server.clone(), fixture.fake.valid_token());
    let second = tokio::spawn(async move { authenticate(&server, &token).await });
    tokio::task::yield_now().await;
    assert_eq!(fixture.fake.fetches(), 1);
    fixture.wait(Duration::from_secs(5));
    assert_eq!(second.await.unwrap().unwrap_err().kind(), AuthErrorKind::Unavailable);
}

#[tokio::test]
async fn the_last_good_set_serves_through_an_outage_of_a_day_and_no_longer() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.fake.answer(Answer::Reset);
    let mut asked = 1;
    for _ in 0..23 {
        fixture.wait(HOUR);
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
        asked += 1;
        fixture.fetches(asked).await;
        settle(&fixture).await;
        asked = fixture.fake.fetches();
    }
    fixture.wait(HOUR);
    let error = fixture.authenticate(&fixture.fake.valid_token()).await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::Unavailable);
    assert!(!fixture.issuer.is_ready());
    fixture.fake.answer(Answer::Keys);
    fixture.wait(MINUTE);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None, "and it recovers by itself");
}

/// Until no attempt is under way any more.
async fn settle(fixture: &RemoteKeysFixture) {
    fixture.issuer.warm_up().await.ok();
}

#[tokio::test]
async fn nothing_unusable_replaces_a_usable_set() {
    let fixture = RemoteKeysFixture::warm().await;
    let many: Vec<_> = (0..101).map(|_| fixture.fake.signer(Algorithm::ES256).jwk()).collect();
    let large = format!("{{\"keys\":[],\"padding\":\"{}\"}}", "x".repeat(600 * 1024));
    let answers = [
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
    for answer in answers {
        fixture.wait(HOUR);
        fixture.fake.answer(answer);
        let before = fixture.fake.fetches();
        fixture.issuer.warm_up().await.unwrap();
        assert_eq!(fixture.fake.fetches(), before + 1);
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
        assert_eq!(fixture.fake.hits("/elsewhere"), 0, "no redirect is followed");
        fixture.fake.answer(Answer::Keys);
        fixture.wait(MINUTE);
        settle(&fixture).await;
    }
}

#[tokio::test]
async fn a_withdrawn_key_dies_with_the_next_refresh_and_bad_keys_are_skipped_one_by_one() {
    let fixture = RemoteKeysFixture::warm().await;
    let mint = fixture.fake.signer(Algorithm::EdDSA);
    fixture.fake.publish_raw(vec![serde_json::json!({"kty": "AKP"}), serde_json::json!(7), mint.jwk()]);
    fixture.wait(11 * MINUTE);
    settle(&fixture).await;
    assert_eq!(fixture.kind(&mint.token("ada").sign()).await, None);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, Some(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn it_is_renewed_ahead_of_time_in_the_background_until_the_last_handle_is_gone() {
    let RemoteKeysFixture { fake, clock, issuer, server } = RemoteKeysFixture::warm().await;
    let fixture = RemoteKeysFixture { fake, clock, issuer: issuer.clone(), server };
    for round in 2..5 {
        fixture.wait(Duration::from_secs(449));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(fixture.fake.fetches(), round - 1, "not before 75 % of ten minutes");
        fixture.wait(Duration::from_secs(61));
        fixture.fetches(round).await;
        // The background task sets its next alarm when the answer is in.
        settle(&fixture).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let RemoteKeysFixture { fake, clock, issuer: other, server } = fixture;
    drop((issuer, other, server));
    tokio::time::sleep(Duration::from_millis(5)).await;
    clock.advance(HOUR);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fake.fetches(), 4);
}

#[tokio::test]
async fn cache_control_counts_within_its_bounds() {
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
        fixture.fetches(2).await;
    }
}

#[tokio::test]
async fn an_unchanged_set_is_asked_for_by_its_etag() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.jwks_headers("ETag: \"v1\"\r\n");
    fixture.issuer.warm_up().await.unwrap();
    let saved = fixture.issuer.key_set_json().unwrap();
    fixture.wait(11 * MINUTE);
    settle(&fixture).await;
    fixture.fetches(2).await;
    assert!(fixture.fake.requests().last().unwrap().contains("if-none-match: \"v1\""));
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
    assert_eq!(fixture.issuer.key_set_json().unwrap(), saved);
}

#[tokio::test]
async fn an_api_starts_while_its_issuer_is_down_and_recovers_by_itself() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.answer(Answer::Status(503));
    let error = fixture.authenticate(&fixture.fake.valid_token()).await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::Unavailable);
    let mut headers = http::HeaderMap::new();
    fixture.server.challenge(&error).write_to(&mut headers);
    assert_eq!(headers["retry-after"], "1");
    assert!(!headers.contains_key("www-authenticate"));
    assert_eq!(fixture.kind("garbage").await, Some(AuthErrorKind::InvalidToken), "garbage is still garbage");
    for (failures, back_off) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30)] {
        assert_eq!(fixture.fake.fetches(), failures);
        fixture.wait(Duration::from_millis(back_off * 1000 - 1));
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, Some(AuthErrorKind::Unavailable));
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(fixture.fake.fetches(), failures, "the back-off of {back_off} s is not over");
        fixture.wait(Duration::from_millis(1));
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, Some(AuthErrorKind::Unavailable));
        fixture.fetches(failures + 1).await;
    }
    fixture.fake.answer(Answer::Keys);
    fixture.wait(Duration::from_secs(30));
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
}

#[tokio::test]
async fn a_seed_serves_until_the_issuers_own_keys_are_here() {
    let fake = FakeIssuer::start().await;
    fake.answer(Answer::Hang);
    let seed = fake.signer(Algorithm::EdDSA).key_set();
    let issuer = fake.builder().clock(ManualClock::default()).initial_keys(seed).build().unwrap();
    assert!(issuer.is_ready());
    let token = fake.signer(Algorithm::EdDSA).token("ada").sign();
    assert!(authenticate(&server(&issuer), &token).await.is_ok());
}

#[tokio::test]
async fn a_saved_set_is_a_seed() {
    let fixture = RemoteKeysFixture::warm().await;
    let saved = KeySet::from_json(fixture.issuer.key_set_json().unwrap()).unwrap();
    let issuer = Issuer::from_keys(&fixture.fake.identifier, saved).unwrap();
    assert!(authenticate(&server(&issuer), &fixture.fake.valid_token()).await.is_ok());
}

#[tokio::test]
async fn a_set_that_drips_in_is_given_up() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.answer(Answer::Drip);
    let (server, token) = (fixture.server.clone(), fixture.fake.valid_token());
    let waiting = tokio::spawn(async move { authenticate(&server, &token).await });
    fixture.fetches(1).await;
    fixture.wait(Duration::from_secs(3));
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), AuthErrorKind::Unavailable);
    fixture.wait(Duration::from_secs(2));
    fixture.fake.answer(Answer::Keys);
    settle(&fixture).await;
    fixture.wait(Duration::from_secs(2));
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
}

/// Real HTTP, but for metadata that falls silent.
struct SilentMetadata {
    client: HttpClient,
    silent: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Fetch for SilentMetadata {
    fn fetch(&self, request: Request<bytes::Bytes>) -> FetchFuture {
        if self.silent.load(Ordering::SeqCst) && request.uri().path().starts_with("/.well-known/") {
            self.asked.fetch_add(1, Ordering::SeqCst);
            return FetchFuture::new(std::future::pending());
        }
        self.client.fetch(request)
    }
}

#[tokio::test]
async fn metadata_that_falls_silent_costs_nobody_a_set_that_is_still_where_it_was() {
    let (fake, clock) = (FakeIssuer::start().await, ManualClock::default());
    let (silent, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = HttpClient::new().unwrap();
    let fetch = SilentMetadata { client, silent: Arc::clone(&silent), asked: Arc::clone(&asked) };
    let issuer = fake.builder().fetch(fetch).clock(clock.clone()).discover().await.unwrap();
    silent.store(true, Ordering::SeqCst);
    clock.advance(2 * HOUR);
    let renewed = tokio::spawn({
        let issuer = issuer.clone();
        async move { issuer.warm_up().await }
    });
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_millis(1500));
    assert!(renewed.await.unwrap().is_ok());
    assert_eq!(fake.fetches(), 2);
}
