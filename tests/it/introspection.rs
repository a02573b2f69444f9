//! Asking the issuer about a token (RFC 7662): who is at fault when there is no answer, how long it is waited for, and what
//! cannot be configured. Over real HTTP, by a clock that is turned by hand.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::Router;
use futures_util::future::{join_all, poll_immediate};
use http::Request;
use serde_json::{Value, json};
use tower_oauth::{
    AuthError, IntrospectionVerifier, Issuer, OAuthLayer, ResourceServer, Token,
    clock::Clock as _,
    error::AuthErrorKind,
    keys::KeySet,
    testing::ManualClock,
    verify::{ClientAuthentication, IntrospectionVerifierBuilder, Verify},
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    secrets::Log,
    support::{API, ISSUER, get_with_token, issuer, router},
};

pub(crate) const NOW: u64 = 1_800_000_000;
const SECRET: &str = "correct horse battery staple";
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn client() -> ClientAuthentication {
    ClientAuthentication::secret_basic("orders-api", SECRET)
}

/// An API that asks a fake issuer, by a clock that stands at [`NOW`].
pub(crate) struct IntrospectionFixture {
    pub(crate) fake: FakeIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) app: Router,
    server: ResourceServer,
}

impl IntrospectionFixture {
    pub(crate) async fn new() -> Self {
        Self::with(|verifier| verifier).await
    }

    pub(crate) async fn with(say: impl FnOnce(IntrospectionVerifierBuilder) -> IntrospectionVerifierBuilder) -> Self {
        Self::of(FakeIssuer::start().await, client(), say)
    }

    pub(crate) fn of(
        fake: FakeIssuer,
        client: ClientAuthentication,
        say: impl FnOnce(IntrospectionVerifierBuilder) -> IntrospectionVerifierBuilder,
    ) -> Self {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
        let issuer = fake.builder().clock(clock.clone()).build().unwrap();
        let verifier = IntrospectionVerifier::builder(issuer, client, API).clock(clock.clone());
        let verifier = say(verifier).build().unwrap();
        Self::judging(fake, clock, verifier)
    }

    /// An API with another verifier, which goes by this clock.
    pub(crate) fn judging(fake: FakeIssuer, clock: ManualClock, verifier: impl Verify) -> Self {
        let verifier = Arc::new(verifier);
        let app = router().layer(OAuthLayer::new(Arc::clone(&verifier)));
        let fixture = Self { fake, clock, app, server: ResourceServer::new(verifier) };
        fixture.says(&fixture.good());
        fixture
    }

    /// What is said of Ada's token, which may read orders.
    pub(crate) fn good(&self) -> Value {
        json!({
            "active": true,
            "iss": self.fake.identifier,
            "sub": "ada",
            "aud": API,
            "client_id": "test-client",
            "scope": "orders:read",
            "exp": NOW + 300,
            "iat": NOW,
            "token_type": "Bearer",
        })
    }

    /// The same, with this member set, or left out for `null`.
    pub(crate) fn good_but(&self, member: &str, value: Value) -> Value {
        let mut answer = self.good();
        match value {
            Value::Null => drop(answer.as_object_mut().unwrap().remove(member)),
            value => answer[member] = value,
        }
        answer
    }

    pub(crate) fn says(&self, answer: &Value) {
        self.says_text(&answer.to_string());
    }

    pub(crate) fn says_text(&self, answer: &str) {
        self.fake.introspection(Answer::Body(answer.to_owned()));
    }

    pub(crate) async fn authenticate(&self, token: &str) -> Result<Token, AuthError> {
        let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
        self.server.authenticate(&request.into_parts().0).await
    }

    pub(crate) async fn kind(&self, token: &str) -> Option<AuthErrorKind> {
        self.authenticate(token).await.err().map(|error| error.kind())
    }

    pub(crate) async fn get(&self, token: &str) -> crate::support::Answer {
        get_with_token(&self.app, "/me", token).await
    }

    /// Nobody can tell about the token: 503, when to come back, and no word against it.
    pub(crate) async fn is_unavailable(&self, retry_after: &str, what: &str) {
        let answer = self.get("opaque").await;
        assert_eq!(answer.status, 503, "{what}");
        assert_eq!(answer.header("retry-after"), Some(retry_after), "{what}");
        assert!(answer.challenges().is_empty() && answer.body.is_empty(), "{what}: {answer:?}");
    }

    /// The verdict about a question that is given up after exactly this long.
    async fn is_given_up_after(&self, patience: Duration, questions: usize) -> Result<Token, AuthError> {
        let mut waiting = Box::pin(self.authenticate("opaque"));
        let asked = self.fake.wait_for_introspections(questions);
        tokio::select! {
            verdict = &mut waiting => panic!("{verdict:?}"),
            () = asked => {}
        }
        self.clock.advance(patience.saturating_sub(Duration::from_millis(1)));
        tokio::task::yield_now().await;
        assert!(poll_immediate(&mut waiting).await.is_none(), "too early");
        self.clock.advance(Duration::from_millis(1));
        soon(waiting).await
    }
}

/// Without waiting by the machine's clock for what the other one decides.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(4), future).await.expect("somebody waits who should not")
}

#[tokio::test]
async fn an_active_token_is_admitted_with_its_facts_and_an_inactive_one_is_invalid() {
    let fixture = IntrospectionFixture::new().await;
    let token = fixture.authenticate("opaque").await.unwrap();
    assert_eq!((token.subject(), token.client_id()), (Some("ada"), Some("test-client")));
    assert_eq!(token.audience().collect::<Vec<_>>(), [API]);
    assert_eq!(token.issuer(), Some(&*fixture.fake.identifier));
    assert!(token.allows("orders:read") && !token.allows("orders:write"));
    assert_eq!(token.expires_at(), Some(UNIX_EPOCH + Duration::from_secs(NOW + 300)));
    // RFC 7662 §2.2: whatever else stands there of one that isn't active, good or bad, says nothing.
    for inactive in [
        json!({"active": false}),
        fixture.good_but("active", json!(false)),
        json!({"active": false, "exp": "soon", "aud": 1, "scope": [[]]}),
    ] {
        fixture.says(&inactive);
        let answer = fixture.get("opaque").await;
        assert!(answer.is_refusal(401, "invalid_token"), "{inactive}: {answer:?}");
        assert!(answer.challenges()[0].contains("The access token is invalid"), "{answer:?}");
    }
    fixture.says(&fixture.good());
    assert_eq!(fixture.get("opaque").await.status, 200, "nothing was remembered");
}

#[tokio::test]
async fn an_active_token_without_the_scope_is_403() {
    let fixture = IntrospectionFixture::new().await;
    assert_eq!(get_with_token(&fixture.app, "/orders", "opaque").await.status, 200);
    assert!(get_with_token(&fixture.app, "/admin", "opaque").await.is_refusal(403, "insufficient_scope"));
}

#[tokio::test]
async fn an_answer_of_another_status_is_not_the_tokens_fault() {
    let fixture = IntrospectionFixture::new().await;
    // With a body that would be good under 200, so that nothing but the status is to blame.
    for status in [
        201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 410, 415, 418,
        422, 429, 500, 501, 502, 503, 504, 599,
    ] {
        for body in [fixture.good().to_string(), json!({"active": false}).to_string(), "<html>no</html>".to_owned()] {
            let body = if matches!(status, 204 | 304) { Vec::new() } else { body.into_bytes() };
            fixture.fake.introspection(Answer::Whole(status, String::new(), body));
            let asked = fixture.fake.introspection_count();
            fixture.is_unavailable("5", &status.to_string()).await;
            assert_eq!(fixture.fake.introspection_count(), asked + 1, "{status}: asked once, not again");
        }
    }
    fixture.says(&fixture.good());
    assert_eq!(fixture.get("opaque").await.status, 200, "nothing was remembered");
}

#[tokio::test]
async fn refused_credentials_of_ours_are_told_as_such_to_the_log_alone() {
    let fixture = IntrospectionFixture::new().await;
    for status in [401, 403] {
        let challenge = "WWW-Authenticate: Basic realm=\"introspection\"\r\n".to_owned();
        fixture.fake.introspection(Answer::Whole(status, challenge, br#"{"error":"invalid_client"}"#.to_vec()));
        let error = fixture.authenticate("opaque").await.unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Unavailable);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(&status.to_string()) && cause.contains("this API's own credentials"), "{cause}");
        fixture.is_unavailable("5", "the server's challenge is not for the caller").await;
    }
}

#[tokio::test]
async fn redirects_are_not_followed_so_the_token_does_not_leave() {
    let (fixture, stranger) = (IntrospectionFixture::new().await, FakeIssuer::start().await);
    stranger.introspection(Answer::Body(fixture.good().to_string()));
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for to in [stranger.introspection_endpoint(), format!("{}/other", fixture.fake.origin())] {
            let headers = format!("Location: {to}\r\n");
            fixture.fake.introspection(Answer::Whole(status, headers, Vec::new()));
            fixture.is_unavailable("5", &format!("{status} to {to}")).await;
        }
    }
    assert_eq!((stranger.requests().len(), fixture.fake.hits("/other")), (0, 0));
}

#[tokio::test]
async fn a_server_that_hangs_or_drips_is_given_up_after_five_seconds() {
    let fixture = IntrospectionFixture::new().await;
    for (index, fault) in [Answer::Hang, Answer::Drip].into_iter().enumerate() {
        fixture.fake.introspection(fault);
        let verdict = fixture.is_given_up_after(5 * SECOND, index + 1).await;
        assert_eq!(verdict.unwrap_err().kind(), AuthErrorKind::Unavailable);
    }
    fixture.says(&fixture.good());
    assert_eq!(fixture.kind("opaque").await, None);
}

#[tokio::test]
async fn an_answer_that_is_endless_or_breaks_off_is_no_answer() {
    let fixture = IntrospectionFixture::new().await;
    for fault in [Answer::Endless, Answer::Truncated, Answer::Reset] {
        fixture.fake.introspection(fault);
        soon(fixture.is_unavailable("5", "")).await;
    }
    fixture.says(&fixture.good());
    assert_eq!(fixture.kind("opaque").await, None);
}

/// RFC 1952, with one stored block (RFC 1951 §3.2.4).
fn gzip(data: &[u8]) -> Vec<u8> {
    let bits = |crc: u32| (0..8).fold(crc, |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()));
    let crc = !data.iter().fold(u32::MAX, |crc, byte| bits(crc ^ u32::from(*byte)));
    let length = u16::try_from(data.len()).unwrap();
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1].as_slice();
    let (sizes, end) = ([length.to_le_bytes(), (!length).to_le_bytes()].concat(), crc.to_le_bytes());
    [head, &sizes, data, &end, &u32::from(length).to_le_bytes()].concat()
}

#[tokio::test]
async fn nothing_is_unpacked_and_nothing_packed_is_asked_for() {
    let fixture = IntrospectionFixture::new().await;
    let packed = gzip(fixture.good().to_string().as_bytes());
    for headers in ["Content-Encoding: gzip\r\n", "", "Content-Type: application/gzip\r\n"] {
        fixture.fake.introspection(Answer::Whole(200, headers.to_owned(), packed.clone()));
        fixture.is_unavailable("5", headers).await;
    }
    assert_eq!(fixture.fake.introspection_requests()[0].header("accept-encoding"), None);
}

#[tokio::test]
async fn when_to_come_back_is_passed_on_within_bounds() {
    let fixture = IntrospectionFixture::new().await;
    for (said, passed_on) in [
        ("7", "7"),
        (" 7 ", "7"),
        ("0", "1"),
        ("1", "1"),
        ("60", "60"),
        ("61", "60"),
        ("100000000000", "60"),
        ("340282366920938463463374607431768211456", "60"),
        ("-1", "5"),
        ("", "5"),
        ("7.5", "5"),
        ("soon", "5"),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "5"),
    ] {
        for status in [401, 429, 503] {
            let headers = format!("Retry-After: {said}\r\n");
            fixture.fake.introspection(Answer::Whole(status, headers, Vec::new()));
            fixture.is_unavailable(passed_on, &format!("{status} {said:?}")).await;
        }
    }
}

#[tokio::test]
async fn what_is_our_fault_or_theirs_is_an_error_in_the_log_and_names_neither_token_nor_secret() {
    let token = "opaque-0123456789abcdef0123456789abcdef";
    let said = "said-by-the-server-and-nobodys-business";
    let signed = issuer().token(said).sign().into_bytes();
    for (client, secrets) in [
        (client(), [SECRET, "b3JkZXJzLWFwaTpjb3JyZWN0"]),
        (ClientAuthentication::secret_post("orders-api", SECRET), [SECRET, "correct+horse"]),
        (ClientAuthentication::bearer(|| async { Ok(SECRET.replace(' ', "-")) }), [SECRET, "correct-horse"]),
    ] {
        let fixture = IntrospectionFixture::of(FakeIssuer::start().await, client, |verifier| verifier);
        for fault in [
            Answer::Status(401),
            Answer::Whole(403, format!("X: {said}\r\nWWW-Authenticate: Basic realm=\"{said}\"\r\n"), said.into()),
            Answer::Whole(500, format!("Retry-After: {said}\r\n"), said.into()),
            Answer::Whole(302, format!("Location: http://127.0.0.1:9/?{token}\r\n"), Vec::new()),
            Answer::Reset,
            Answer::Truncated,
            Answer::Body(format!("<html>{said} {token}</html>")),
            Answer::Body(json!({"active": said}).to_string()),
            Answer::Body(json!({"active": true, "exp": said}).to_string()),
            Answer::Body(json!({"active": true, "scope": [said, token, ""]}).to_string()),
            Answer::Body(format!(r#"{{"active":true,"{token}":1,"{token}":2}}"#)),
            Answer::Whole(200, "Content-Type: application/token-introspection+jwt\r\n".to_owned(), signed.clone()),
        ] {
            fixture.fake.introspection(fault);
            let log = Log::default();
            let answer = log.capture(fixture.get(token)).await;
            assert_eq!(answer.status, 503);
            let told = format!("{} {answer:?}", log.text());
            for secret in secrets.into_iter().chain([token, said]) {
                assert!(!told.contains(secret), "{secret}: {told}");
            }
            if cfg!(feature = "tracing") {
                let errors: Vec<_> = told.lines().filter(|line| line.contains("ERROR tower_oauth")).collect();
                assert_eq!(errors.len(), 1, "{told}");
                assert!(errors[0].contains("could not be asked") && errors[0].contains(&fixture.fake.identifier));
            }
        }
        // A token that isn't active is nobody's mistake.
        fixture.says(&json!({"active": false, "sub": said}));
        let log = Log::default();
        assert_eq!(log.capture(fixture.get(token)).await.status, 401);
        assert!(!log.text().contains("ERROR") && !log.text().contains(token) && !log.text().contains(said));
    }
}

#[tokio::test]
async fn a_hundred_questions_in_a_row_need_one_connection() {
    let fixture = IntrospectionFixture::new().await;
    for _ in 0..100 {
        assert_eq!(fixture.kind("opaque").await, None);
    }
    let connections: Vec<_> =
        fixture.fake.introspection_requests().iter().map(|question| question.connection).collect();
    assert_eq!(connections.len(), 100);
    assert!(connections.iter().all(|connection| *connection == connections[0]), "{connections:?}");
}

#[tokio::test]
async fn a_hundred_users_at_once_are_each_themselves() {
    let fixture = IntrospectionFixture::new().await;
    let tokens: Vec<_> = (0..100).map(|index| format!("token-{index}")).collect();
    for token in &tokens {
        fixture.fake.introspection_of(token, Answer::Body(fixture.good_but("sub", json!(token)).to_string()));
    }
    let verdicts = join_all(tokens.iter().map(|token| fixture.authenticate(token))).await;
    for (token, verdict) in tokens.iter().zip(verdicts) {
        assert_eq!(verdict.unwrap().subject(), Some(&**token));
    }
}

#[tokio::test]
async fn who_goes_away_while_the_server_hangs_spoils_nothing() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    fixture.fake.introspection(Answer::Hang);
    for count in 1..=10 {
        let mut waiting = Box::pin(fixture.authenticate("opaque"));
        tokio::select! {
            verdict = &mut waiting => panic!("{verdict:?}"),
            () = fixture.fake.wait_for_introspections(count) => {}
        }
    }
    fixture.says(&fixture.good());
    assert_eq!(fixture.kind("opaque").await, None);
}

// What cannot be configured.

#[test]
fn settings_that_cannot_work_are_told_all_at_once_and_in_words() {
    let builder = IntrospectionVerifier::builder(issuer().issuer(), ClientAuthentication::secret_basic("", ""), " ");
    let error = builder
        .audience("")
        .leeway(Duration::from_secs(301))
        .scope_claim("")
        .client_claim("cnf")
        .roles_claim(["realm_access", ""])
        .endpoint("http://auth.test/introspect")
        .build()
        .unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    let expected = [
        "client",
        "client",
        "audience",
        "audience",
        "leeway",
        "scope_claim",
        "client_claim",
        "roles_claim",
        "endpoint",
    ];
    assert_eq!(settings, expected, "{error}");
    for words in ["id is empty", "secret is empty", "301 s", "has a meaning of its own", "plain http", "give"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[test]
fn each_mistake_is_one_and_the_least_that_works_is_none() {
    let build = |client: ClientAuthentication, endpoint: Option<&str>| {
        let builder = IntrospectionVerifier::builder(issuer().issuer(), client, API);
        endpoint.into_iter().fold(builder, IntrospectionVerifierBuilder::endpoint).build().map(drop)
    };
    let good = Some("https://auth.test/introspect");
    for client in [
        client(),
        ClientAuthentication::secret_post("x", "y"),
        ClientAuthentication::bearer(|| async { Ok(String::new()) }),
        ClientAuthentication::tls("x"),
    ] {
        assert_eq!(build(client, good), Ok(()));
    }
    for client in [
        ClientAuthentication::secret_basic("", "y"),
        ClientAuthentication::secret_basic("x", ""),
        ClientAuthentication::secret_post("", "y"),
        ClientAuthentication::secret_post("x", ""),
        ClientAuthentication::tls(""),
    ] {
        assert_eq!(build(client.clone(), good).unwrap_err().mistakes().len(), 1, "{client:?}");
    }
    let error = build(client(), None).unwrap_err();
    assert!(error.to_string().contains("give the introspection endpoint's URL"), "{error}");
    for endpoint in [
        "",
        "introspect",
        "/introspect",
        "http://auth.test/introspect",
        "http://localhost.stranger.test/introspect",
        "http://169.254.169.254/introspect",
        "ftp://auth.test/introspect",
        "https://user:hush@auth.test/introspect",
        "https://",
    ] {
        let error = build(client(), Some(endpoint)).unwrap_err();
        assert_eq!(error.mistakes().len(), 1, "{endpoint}: {error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
    for endpoint in ["https://auth.test/introspect?x=y", "http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost/x"]
    {
        assert_eq!(build(client(), Some(endpoint)), Ok(()), "{endpoint}");
    }
    for leeway in [Duration::ZERO, Duration::from_secs(300)] {
        let builder = IntrospectionVerifier::builder(issuer().issuer(), client(), API).endpoint("https://auth.test/x");
        assert!(builder.leeway(leeway).build().is_ok());
    }
}

#[tokio::test]
async fn an_issuer_with_known_keys_can_be_asked_at_an_endpoint_that_is_given() {
    let fake = FakeIssuer::start().await;
    let keys = KeySet::from_json(issuer().jwks().to_string()).unwrap();
    let known = Issuer::from_keys(ISSUER, keys).unwrap();
    let verifier = IntrospectionVerifier::builder(known, client(), API).endpoint(fake.introspection_endpoint());
    let app = router().layer(OAuthLayer::new(verifier.build().unwrap()));
    fake.introspection(Answer::Body(json!({"active": true, "iss": ISSUER, "aud": API}).to_string()));
    assert_eq!(get_with_token(&app, "/me", "opaque").await.status, 200);
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn debug_shows_neither_secret_nor_key() {
    let verifier = IntrospectionVerifier::builder(issuer().issuer(), client(), API).endpoint("https://auth.test/x");
    let told = format!("{verifier:?}") + &format!("{:?}", verifier.build().unwrap());
    assert!(told.contains("orders-api") && told.contains("client_secret_basic") && !told.contains("horse"), "{told}");
    for client in [
        ClientAuthentication::secret_post("orders-api", SECRET),
        ClientAuthentication::bearer(|| async { Ok(SECRET.to_owned()) }),
    ] {
        assert!(!format!("{client:?}").contains("horse"));
    }
}

#[test]
fn the_clock_of_these_tests_stands_where_they_think() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    assert_eq!(clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs(), NOW);
}
