//! Introspection requests (RFC 7662): which party is at fault when there is no response, the time limit, and which
//! settings are refused. The tests use real HTTP and a clock that the test advances.

mod breaker;
mod endpoint;
mod limit;
mod mixed;
mod requests;
mod responses;
mod signed;

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
    log::Log,
    support::{API, ISSUER, get_with_token, issuer, router},
};

pub(crate) const NOW: u64 = 1_800_000_000;
const SECRET: &str = "correct horse battery staple";
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn client() -> ClientAuthentication {
    ClientAuthentication::secret_basic("orders-api", SECRET)
}

/// An API that introspects tokens at a fake issuer, with a clock that starts at [`NOW`].
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

    pub(crate) async fn with(
        configure: impl FnOnce(IntrospectionVerifierBuilder) -> IntrospectionVerifierBuilder,
    ) -> Self {
        Self::with_parts(FakeIssuer::start().await, client(), configure)
    }

    pub(crate) fn with_parts(
        fake: FakeIssuer,
        client: ClientAuthentication,
        configure: impl FnOnce(IntrospectionVerifierBuilder) -> IntrospectionVerifierBuilder,
    ) -> Self {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
        let issuer = fake.builder().clock(clock.clone()).build().unwrap();
        let verifier = IntrospectionVerifier::builder(issuer, client, API).clock(clock.clone());
        let verifier = configure(verifier).build().unwrap();
        Self::with_verifier(fake, clock, verifier)
    }

    /// An API with another verifier, which uses this clock.
    pub(crate) fn with_verifier(fake: FakeIssuer, clock: ManualClock, verifier: impl Verify) -> Self {
        let verifier = Arc::new(verifier);
        let app = router().layer(OAuthLayer::new(Arc::clone(&verifier)));
        let fixture = Self { fake, clock, app, server: ResourceServer::new(verifier) };
        fixture.respond_with(&fixture.active());
        fixture
    }

    /// The response for an active token of Ada's with the scope `orders:read`.
    pub(crate) fn active(&self) -> Value {
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

    /// The same response with this member set, or removed for `null`.
    pub(crate) fn active_with(&self, member: &str, value: Value) -> Value {
        let mut response = self.active();
        match value {
            Value::Null => drop(response.as_object_mut().unwrap().remove(member)),
            value => response[member] = value,
        }
        response
    }

    pub(crate) fn respond_with(&self, response: &Value) {
        self.respond_with_text(&response.to_string());
    }

    pub(crate) fn respond_with_text(&self, response: &str) {
        self.fake.introspection(Answer::Body(response.to_owned()));
    }

    pub(crate) async fn authenticate(&self, token: &str) -> Result<Token, AuthError> {
        let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
        self.server.authenticate(&request.into_parts().0).await
    }

    /// The kind of the refusal, or `None` for an accepted token.
    pub(crate) async fn kind(&self, token: &str) -> Option<AuthErrorKind> {
        self.authenticate(token).await.err().map(|error| error.kind())
    }

    pub(crate) async fn get(&self, token: &str) -> crate::support::Answer {
        get_with_token(&self.app, "/me", token).await
    }

    /// The token could not be checked: 503 with `Retry-After`, and no challenge.
    pub(crate) async fn assert_unavailable(&self, retry_after: &str, what: &str) {
        let response = self.get("opaque").await;
        assert_eq!(response.status, 503, "{what}");
        assert_eq!(response.header("retry-after"), Some(retry_after), "{what}");
        assert!(response.challenges().is_empty() && response.body.is_empty(), "{what}: {response:?}");
    }

    /// The verdict of an introspection request that times out after exactly this time.
    async fn times_out_after(&self, timeout: Duration, requests: usize) -> Result<Token, AuthError> {
        let mut waiting = Box::pin(self.authenticate("opaque"));
        let asked = self.fake.wait_for_introspections(requests);
        tokio::select! {
            verdict = &mut waiting => panic!("{verdict:?}"),
            () = asked => {}
        }
        self.clock.advance(timeout.saturating_sub(Duration::from_millis(1)));
        tokio::task::yield_now().await;
        assert!(poll_immediate(&mut waiting).await.is_none(), "too early");
        self.clock.advance(Duration::from_millis(1));
        soon(waiting).await
    }
}

/// Awaits a future that only the manual clock may delay. Panics if it takes 4 s of real time.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(4), future).await.expect("the future still waits after 4 s")
}

/// RFC 7662 §2.2 a (REQUIRED, accepts)
/// RFC 7662 §2.2 d (derived, accepts and refuses)
#[tokio::test]
async fn accepts_an_active_token_with_its_claims_and_refuses_an_inactive_one() {
    let fixture = IntrospectionFixture::new().await;
    let token = fixture.authenticate("opaque").await.unwrap();
    assert_eq!((token.subject(), token.client_id()), (Some("ada"), Some("test-client")));
    assert_eq!(token.audience().collect::<Vec<_>>(), [API]);
    assert_eq!(token.issuer(), Some(&*fixture.fake.identifier));
    assert!(token.allows("orders:read") && !token.allows("orders:write"));
    assert_eq!(token.expires_at(), Some(UNIX_EPOCH + Duration::from_secs(NOW + 300)));
    // RFC 7662 §2.2: in the response for an inactive token, the other members have no meaning.
    for inactive in [
        json!({"active": false}),
        fixture.active_with("active", json!(false)),
        json!({"active": false, "exp": "soon", "aud": 1, "scope": [[]]}),
    ] {
        fixture.respond_with(&inactive);
        let response = fixture.get("opaque").await;
        assert!(response.is_refusal(401, "invalid_token"), "{inactive}: {response:?}");
        assert!(response.challenges()[0].contains("The access token is invalid"), "{response:?}");
    }
    fixture.respond_with(&fixture.active());
    assert_eq!(fixture.get("opaque").await.status, 200, "no verdict was cached");
}

/// RFC 7662 §4 a (derived, refuses)
#[tokio::test]
async fn refuses_an_active_token_without_the_scope_with_403() {
    let fixture = IntrospectionFixture::new().await;
    assert_eq!(get_with_token(&fixture.app, "/orders", "opaque").await.status, 200);
    assert!(get_with_token(&fixture.app, "/admin", "opaque").await.is_refusal(403, "insufficient_scope"));
}

/// RFC 7662 §2.3 (derived, refuses)
/// Threat I5
#[tokio::test]
async fn responds_503_to_an_introspection_response_of_any_status_but_200() {
    let fixture = IntrospectionFixture::new().await;
    // With bodies that would be valid with 200, so that only the status is wrong.
    for status in [
        201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 410, 415, 418,
        422, 429, 500, 501, 502, 503, 504, 599,
    ] {
        for body in [fixture.active().to_string(), json!({"active": false}).to_string(), "<html>no</html>".to_owned()] {
            let body = if matches!(status, 204 | 304) { Vec::new() } else { body.into_bytes() };
            fixture.fake.introspection(Answer::Whole(status, String::new(), body));
            let asked = fixture.fake.introspection_count();
            fixture.assert_unavailable("5", &status.to_string()).await;
            assert_eq!(fixture.fake.introspection_count(), asked + 1, "{status}: one request, no retry");
        }
    }
    fixture.respond_with(&fixture.active());
    assert_eq!(fixture.get("opaque").await.status, 200, "no verdict was cached");
}

/// RFC 7662 §2.3 (derived, refuses)
/// Threat I5
#[tokio::test]
async fn only_the_cause_says_that_the_issuer_refused_this_apis_credentials() {
    let fixture = IntrospectionFixture::new().await;
    for status in [401, 403] {
        let challenge = "WWW-Authenticate: Basic realm=\"introspection\"\r\n".to_owned();
        fixture.fake.introspection(Answer::Whole(status, challenge, br#"{"error":"invalid_client"}"#.to_vec()));
        let error = fixture.authenticate("opaque").await.unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Unavailable);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            cause.contains(&status.to_string()) && cause.contains("rejected this API's client credentials"),
            "{cause}"
        );
        fixture.assert_unavailable("5", "the client doesn't get the issuer's challenge").await;
    }
}

/// Threat I7
#[tokio::test]
async fn follows_no_redirect_so_that_no_other_server_gets_the_token() {
    let (fixture, other) = (IntrospectionFixture::new().await, FakeIssuer::start().await);
    other.introspection(Answer::Body(fixture.active().to_string()));
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for to in [other.introspection_endpoint(), format!("{}/other", fixture.fake.origin())] {
            let headers = format!("Location: {to}\r\n");
            fixture.fake.introspection(Answer::Whole(status, headers, Vec::new()));
            fixture.assert_unavailable("5", &format!("{status} to {to}")).await;
        }
    }
    assert_eq!((other.requests().len(), fixture.fake.hits("/other")), (0, 0));
}

/// Threat I6
#[tokio::test]
async fn times_out_after_five_seconds_if_the_server_hangs_or_sends_slowly() {
    let fixture = IntrospectionFixture::new().await;
    for (index, fault) in [Answer::Hang, Answer::Drip].into_iter().enumerate() {
        fixture.fake.introspection(fault);
        let verdict = fixture.times_out_after(5 * SECOND, index + 1).await;
        assert_eq!(verdict.unwrap_err().kind(), AuthErrorKind::Unavailable);
    }
    fixture.respond_with(&fixture.active());
    assert_eq!(fixture.kind("opaque").await, None);
}

/// Threat I6
#[tokio::test]
async fn responds_503_to_an_endless_or_truncated_introspection_response() {
    let fixture = IntrospectionFixture::new().await;
    for fault in [Answer::Endless, Answer::Truncated, Answer::Reset] {
        fixture.fake.introspection(fault);
        soon(fixture.assert_unavailable("5", "")).await;
    }
    fixture.respond_with(&fixture.active());
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

/// RFC 9110 §12.5.3 (derived, refuses)
/// Threat I6
#[tokio::test]
async fn requests_no_compressed_response_and_names_the_coding_of_one() {
    let fixture = IntrospectionFixture::new().await;
    let compressed = gzip(fixture.active().to_string().as_bytes());
    for headers in ["Content-Encoding: gzip\r\n", "", "Content-Type: application/gzip\r\n"] {
        fixture.fake.introspection(Answer::Whole(200, headers.to_owned(), compressed.clone()));
        fixture.assert_unavailable("5", headers).await;
        if headers.contains("Encoding") {
            let error = fixture.authenticate("opaque").await.unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains("Content-Encoding \"gzip\""), "{cause}");
        }
    }
    for request in fixture.fake.introspection_requests() {
        assert_eq!(request.header("accept-encoding"), Some("identity"));
    }
}

/// RFC 8259 §8.1 (MAY, accepts)
#[tokio::test]
async fn ignores_a_byte_order_mark_before_the_response() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.introspection(Answer::Body(format!("\u{feff}{}", fixture.active())));
    assert_eq!(fixture.kind("opaque").await, None);
}

/// RFC 7662 §2.3 (derived, accepts)
#[tokio::test]
async fn passes_on_retry_after_within_bounds() {
    let fixture = IntrospectionFixture::new().await;
    for (received, passed_on) in [
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
            let headers = format!("Retry-After: {received}\r\n");
            fixture.fake.introspection(Answer::Whole(status, headers, Vec::new()));
            fixture.assert_unavailable(passed_on, &format!("{status} {received:?}")).await;
        }
    }
}

/// RFC 7662 §2.3 (derived, accepts)
/// Threat I13
#[tokio::test]
async fn logs_each_kind_of_failed_introspection_once_without_token_or_secret() {
    let token = "opaque-0123456789abcdef0123456789abcdef";
    let private = "sent-by-the-server-and-confidential";
    let signed = issuer().token(private).sign().into_bytes();
    for (client, secrets) in [
        (client(), [SECRET, "b3JkZXJzLWFwaTpjb3JyZWN0"]),
        (ClientAuthentication::secret_post("orders-api", SECRET), [SECRET, "correct+horse"]),
        (ClientAuthentication::bearer(|| async { Ok(SECRET.replace(' ', "-")) }), [SECRET, "correct-horse"]),
    ] {
        let fixture = IntrospectionFixture::with_parts(FakeIssuer::start().await, client, |verifier| verifier);
        let mut reported = 0;
        for fault in [
            Answer::Status(401),
            Answer::Whole(
                403,
                format!("X: {private}\r\nWWW-Authenticate: Basic realm=\"{private}\"\r\n"),
                private.into(),
            ),
            Answer::Whole(500, format!("Retry-After: {private}\r\n"), private.into()),
            Answer::Whole(302, format!("Location: http://127.0.0.1:9/?{token}\r\n"), Vec::new()),
            Answer::Reset,
            Answer::Truncated,
            Answer::Body(format!("<html>{private} {token}</html>")),
            Answer::Body(json!({"active": private}).to_string()),
            Answer::Body(json!({"active": true, "exp": private}).to_string()),
            Answer::Body(json!({"active": true, "scope": [private, token, ""]}).to_string()),
            Answer::Body(format!(r#"{{"active":true,"{token}":1,"{token}":2}}"#)),
            Answer::Whole(200, "Content-Type: application/token-introspection+jwt\r\n".to_owned(), signed.clone()),
        ] {
            fixture.fake.introspection(fault);
            let log = Log::default();
            let response = log.capture(fixture.get(token)).await;
            assert_eq!(response.status, 503);
            let output = format!("{} {response:?}", log.text());
            for secret in secrets.into_iter().chain([token, private]) {
                assert!(!output.contains(secret), "{secret}: {output}");
            }
            if cfg!(feature = "tracing") {
                let lines: Vec<_> = output
                    .lines()
                    .filter(|line| line.contains("ERROR tower_oauth") || line.contains("WARN tower_oauth"))
                    .collect();
                let outage = "ERROR tower_oauth: tokens can't be introspected";
                let response = "WARN tower_oauth: a token could not be introspected; if this happens to every token";
                assert!(lines.len() <= 1, "{output}");
                assert!(lines.iter().all(|line| line.contains(outage) || line.contains(response)), "{output}");
                assert!(lines.iter().all(|line| line.contains(&fixture.fake.identifier)), "{output}");
                reported += lines.len();
            }
        }
        // One for rejected credentials, other statuses, no response, and malformed responses.
        assert_eq!(reported, if cfg!(feature = "tracing") { 4 } else { 0 });
        // An inactive token is no error of this API or of the issuer.
        fixture.respond_with(&json!({"active": false, "sub": private}));
        let log = Log::default();
        assert_eq!(log.capture(fixture.get(token)).await.status, 401);
        assert!(!log.text().contains("ERROR") && !log.text().contains(token) && !log.text().contains(private));
    }
}

#[tokio::test]
async fn a_hundred_introspection_requests_in_a_row_use_one_connection() {
    let fixture = IntrospectionFixture::new().await;
    for _ in 0..100 {
        assert_eq!(fixture.kind("opaque").await, None);
    }
    let connections: Vec<_> = fixture.fake.introspection_requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 100);
    assert!(connections.iter().all(|connection| *connection == connections[0]), "{connections:?}");
}

/// Threat I18
#[tokio::test]
async fn each_of_a_hundred_concurrent_tokens_gets_its_own_subject() {
    let fixture = IntrospectionFixture::new().await;
    let tokens: Vec<_> = (0..100).map(|index| format!("token-{index}")).collect();
    for token in &tokens {
        fixture.fake.introspection_of(token, Answer::Body(fixture.active_with("sub", json!(token)).to_string()));
    }
    let verdicts = join_all(tokens.iter().map(|token| fixture.authenticate(token))).await;
    for (token, verdict) in tokens.iter().zip(verdicts) {
        assert_eq!(verdict.unwrap().subject(), Some(&**token));
    }
}

#[tokio::test]
async fn cancelled_requests_do_not_open_the_circuit_breaker() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    fixture.fake.introspection(Answer::Hang);
    for count in 1..=10 {
        let mut waiting = Box::pin(fixture.authenticate("opaque"));
        tokio::select! {
            verdict = &mut waiting => panic!("{verdict:?}"),
            () = fixture.fake.wait_for_introspections(count) => {}
        }
    }
    fixture.respond_with(&fixture.active());
    assert_eq!(fixture.kind("opaque").await, None);
}

// What cannot be configured.

#[test]
fn reports_every_wrong_setting_at_once() {
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
    for words in ["id is empty", "secret is empty", "301 s", "is a registered claim", "plain http", "give"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

/// RFC 7662 §2.1 b (MUST, refuses)
/// RFC 7662 §4 d (MUST, accepts and refuses)
/// Threat I16
#[test]
fn reports_each_mistake_once_and_accepts_minimal_settings() {
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
        "http://localhost.other.test/introspect",
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
async fn introspects_at_a_configured_endpoint_of_an_issuer_with_fixed_keys() {
    let fake = FakeIssuer::start().await;
    let keys = KeySet::from_json(issuer().jwks().to_string()).unwrap();
    let fixed = Issuer::from_keys(ISSUER, keys).unwrap();
    let verifier = IntrospectionVerifier::builder(fixed, client(), API).endpoint(fake.introspection_endpoint());
    let app = router().layer(OAuthLayer::new(verifier.build().unwrap()));
    fake.introspection(Answer::Body(json!({"active": true, "iss": ISSUER, "aud": API}).to_string()));
    assert_eq!(get_with_token(&app, "/me", "opaque").await.status, 200);
    assert_eq!(fake.requests().len(), 1);
}

/// Threat I13
#[test]
fn debug_shows_no_secret() {
    let verifier = IntrospectionVerifier::builder(issuer().issuer(), client(), API).endpoint("https://auth.test/x");
    let output = format!("{verifier:?}") + &format!("{:?}", verifier.build().unwrap());
    assert!(
        output.contains("orders-api") && output.contains("client_secret_basic") && !output.contains("horse"),
        "{output}"
    );
    for client in [
        ClientAuthentication::secret_post("orders-api", SECRET),
        ClientAuthentication::bearer(|| async { Ok(SECRET.to_owned()) }),
    ] {
        assert!(!format!("{client:?}").contains("horse"));
    }
}

#[test]
fn the_clock_of_these_tests_starts_at_now() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    assert_eq!(clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs(), NOW);
}
