//! The bytes of an introspection request (RFC 7662 §2.1), and how this API authenticates in it (RFC 6749 §2.3.1, RFC 7523
//! §2.2, RFC 8705 §2).

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::future::poll_immediate;
use http::{Request, Response};
use serde_json::{Value, json};
use tower_oauth::{
    error::AuthErrorKind,
    fetch::{Fetch, FetchError, FetchFuture},
    keys::{Algorithm, KeySet, PrivateKey},
    testing::open_jws,
    verify::{ClientAuthentication, IntrospectionVerifierBuilder},
};

use crate::{
    fake_issuer::{FakeIssuer, IntrospectionRequest},
    introspection::{IntrospectionFixture, NOW, client, soon},
    log::Log,
    support::{API, get_with},
};

/// The introspection request of this client for this token.
async fn introspection_request(client: ClientAuthentication, token: &str) -> IntrospectionRequest {
    let fixture = IntrospectionFixture::with_parts(FakeIssuer::start().await, client, |verifier| verifier);
    assert_eq!(fixture.kind(token).await, None);
    let mut requests = fixture.fake.introspection_requests();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// Records the requests, and responds without the network.
#[derive(Clone, Default)]
struct RecordingFetch {
    sent: Arc<Mutex<Vec<Request<Bytes>>>>,
    response: Arc<Mutex<Option<Bytes>>>,
}

impl Fetch for RecordingFetch {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        self.sent.lock().unwrap().push(request);
        let response = self.response.lock().unwrap().clone();
        FetchFuture::new(async move {
            response.map(Response::new).ok_or_else(|| FetchError::new("the test's fetch failed"))
        })
    }
}

/// A fixture whose requests are recorded.
async fn recorded(client: ClientAuthentication) -> (IntrospectionFixture, RecordingFetch) {
    let (fake, fetch) = (FakeIssuer::start().await, RecordingFetch::default());
    let endpoint = fake.introspection_endpoint();
    let client_fetch = fetch.clone();
    let fixture =
        IntrospectionFixture::with_parts(fake, client, |verifier| verifier.fetch(client_fetch).endpoint(endpoint));
    *fetch.response.lock().unwrap() = Some(fixture.active().to_string().into());
    (fixture, fetch)
}

/// RFC 7662 §2.1 a (MUST, accepts)
/// Threat I13
#[tokio::test]
async fn sends_the_token_in_the_form_and_nowhere_else() {
    let token = "a-b._~c+/d1==";
    let request = introspection_request(client(), token).await;
    assert!(request.head.starts_with("POST /introspect HTTP/1.1\r\n"), "{request:?}");
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.body, "token=a-b._%7Ec%2B%2Fd1%3D%3D&token_type_hint=access_token");
    assert_eq!(request.header("content-length"), Some(&*request.body.len().to_string()));
    assert_eq!(request.parameter("token").as_deref(), Some(token));
    for trace in [token, "a-b._", "%2B%2Fd1"] {
        assert!(!request.head.contains(trace), "{request:?}");
    }
    let names: HashSet<_> = request.head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let expected =
        ["content-type", "accept", "accept-encoding", "authorization", "user-agent", "host", "content-length"];
    assert_eq!(names, HashSet::from(expected), "no other headers are sent");
}

/// RFC 7662 §2.1 a (MUST, accepts)
/// Threat I12
#[tokio::test]
async fn the_issuer_receives_every_character_of_a_token() {
    let fixture = IntrospectionFixture::new().await;
    let letters: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let longest = "x".repeat(16 * 1024);
    for token in [&*format!("{letters}-._~+/"), "=", "+/==", "+", "%2B".trim_start_matches("%2"), &longest] {
        let asked = fixture.fake.introspection_count();
        let status = fixture.get(token).await.status;
        let requests = fixture.fake.introspection_requests();
        if token == "=" {
            assert_eq!((status.as_u16(), requests.len()), (400, asked), "no b64token");
        } else {
            assert_eq!(status, 200, "{token}");
            assert_eq!(requests[asked].parameter("token").as_deref(), Some(token));
        }
    }
}

/// RFC 7662 §2.1 a (MUST, refuses)
/// Threat I12
#[tokio::test]
async fn refuses_a_token_with_form_delimiters_without_an_introspection_request() {
    let fixture = IntrospectionFixture::new().await;
    for token in [
        "x&active=true",
        "x&token=y",
        "x%26active=true",
        "x#y",
        "x?y",
        "x;y",
        "x\"y",
        "x\\y",
        "x,y",
        "x{}",
        "x y",
        "x=y",
        "\u{e4}",
    ] {
        let response = get_with(&fixture.app, "/me", &format!("Bearer {token}")).await;
        assert!(response.is_refusal(400, "invalid_request"), "{token}: {response:?}");
    }
    assert_eq!(fixture.fake.requests().len(), 0);
}

/// RFC 7662 §2.1 b (MUST, accepts)
/// Threat I15
#[tokio::test]
async fn secret_basic_form_encodes_the_id_and_the_secret() {
    for (id, secret, pair) in [
        ("orders-api", "correct horse battery staple", "orders-api:correct+horse+battery+staple"),
        ("cc:odd id", "p:%+ \u{e4}", "cc%3Aodd+id:p%3A%25%2B+%C3%A4"),
        ("a/b?c=d&e", "\"\\\n\r\0\u{1f980}", "a%2Fb%3Fc%3Dd%26e:%22%5C%0A%0D%00%F0%9F%A6%80"),
        ("A-Z._*", "x~y", "A-Z._*:x%7Ey"),
    ] {
        let request = introspection_request(ClientAuthentication::secret_basic(id, secret), "opaque").await;
        let sent = request.header("authorization").unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(String::from_utf8(STANDARD.decode(sent).unwrap()).unwrap(), pair);
        assert_eq!(
            request.body, "token=opaque&token_type_hint=access_token",
            "the credentials are not in the body too"
        );
    }
}

/// RFC 7662 §2.1 b (MUST, accepts)
#[tokio::test]
async fn secret_post_sends_the_id_and_the_secret_in_the_form_only() {
    let request =
        introspection_request(ClientAuthentication::secret_post("cc:odd id", "p&:%+= \u{e4}"), "opaque").await;
    let expected = "token=opaque&token_type_hint=access_token&client_id=cc%3Aodd+id\
                    &client_secret=p%26%3A%25%2B%3D+%C3%A4";
    assert_eq!(request.body, expected);
    assert_eq!(request.parameter("client_secret").as_deref(), Some("p&:%+= \u{e4}"));
    assert_eq!(request.header("authorization"), None);
}

/// RFC 7662 §2.1 b (MUST, accepts)
#[tokio::test]
async fn calls_the_bearer_closure_for_each_introspection_request() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let authentication = ClientAuthentication::bearer(move || {
        let token = format!("ours-{}", counted.fetch_add(1, Ordering::Relaxed));
        async move { Ok(token) }
    });
    let fixture = IntrospectionFixture::with_parts(FakeIssuer::start().await, authentication, |verifier| verifier);
    for index in 0..3 {
        assert_eq!(fixture.kind("opaque").await, None);
        let request = fixture.fake.introspection_requests().remove(index);
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer ours-{index}")));
        assert_eq!(request.body, "token=opaque&token_type_hint=access_token");
    }
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn responds_503_and_logs_the_error_if_the_bearer_closure_fails() {
    let authentication = ClientAuthentication::bearer(|| async { Err(FetchError::new("the token service is down")) });
    let fixture = IntrospectionFixture::with_parts(FakeIssuer::start().await, authentication, |verifier| verifier);
    let log = Log::default();
    log.capture(fixture.assert_unavailable("5", "")).await;
    assert!(log.text().contains("the token service is down"), "{}", log.text());
    assert_eq!(fixture.fake.introspection_count(), 0);
}

#[tokio::test]
async fn responds_503_if_the_bearer_closure_takes_longer_than_the_introspection() {
    let authentication = ClientAuthentication::bearer(std::future::pending);
    let fixture = IntrospectionFixture::with_parts(FakeIssuer::start().await, authentication, |verifier| verifier);
    let mut waiting = Box::pin(fixture.kind("opaque"));
    assert!(poll_immediate(&mut waiting).await.is_none());
    fixture.clock.advance(Duration::from_secs(5));
    assert_eq!(soon(waiting).await, Some(AuthErrorKind::Unavailable));
}

/// RFC 7662 §2.1 b (MUST, refuses)
#[tokio::test]
async fn responds_503_and_logs_no_secret_if_a_bearer_token_fits_no_header() {
    let authentication = ClientAuthentication::bearer(|| async { Ok("hush\r\nx: y".to_owned()) });
    let fixture = IntrospectionFixture::with_parts(FakeIssuer::start().await, authentication, |verifier| verifier);
    let log = Log::default();
    log.capture(fixture.assert_unavailable("5", "")).await;
    assert!(!log.text().contains("hush"), "{}", log.text());
    assert_eq!(fixture.fake.introspection_count(), 0);
}

/// RFC 7662 §2.1 b (MUST, accepts)
#[tokio::test]
async fn tls_sends_the_client_id_in_the_form_with_the_configured_fetch() {
    let (fixture, fetch) = recorded(ClientAuthentication::tls("orders api")).await;
    assert_eq!(fixture.kind("opaque").await, None);
    let sent = fetch.sent.lock().unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].uri().to_string(), fixture.fake.introspection_endpoint());
    assert_eq!(&sent[0].body()[..], b"token=opaque&token_type_hint=access_token&client_id=orders+api");
    assert!(!sent[0].headers().contains_key("authorization"));
    assert_eq!(fixture.fake.requests().len(), 0, "the issuer's own HTTP client would send no certificate");
}

#[tokio::test]
async fn fetches_metadata_with_the_configured_fetch_too() {
    let (fake, fetch) = (FakeIssuer::start().await, RecordingFetch::default());
    let client_fetch = fetch.clone();
    let fixture = IntrospectionFixture::with_parts(fake, client(), |verifier| verifier.fetch(client_fetch));
    *fetch.response.lock().unwrap() = Some(fixture.fake.document().to_string().into());
    // It responds to every request with the metadata, which is no introspection response.
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable));
    let paths: Vec<_> = fetch.sent.lock().unwrap().iter().map(|sent| sent.uri().path().to_owned()).collect();
    assert_eq!(paths, ["/.well-known/oauth-authorization-server", "/introspect"]);
    assert_eq!(fixture.fake.requests().len(), 0);
}

/// Threat I13
#[tokio::test]
async fn marks_this_apis_credentials_as_sensitive_in_the_header() {
    for client in [client(), ClientAuthentication::bearer(|| async { Ok("hush".to_owned()) })] {
        let (fixture, fetch) = recorded(client).await;
        assert_eq!(fixture.kind("opaque").await, None);
        let sent = fetch.sent.lock().unwrap();
        assert!(sent[0].headers()["authorization"].is_sensitive());
        let shown = format!("{:?}", sent[0].headers());
        assert!(!shown.contains("hush") && !shown.contains("b3JkZXJz") && !shown.contains("opaque"), "{shown}");
    }
}

#[tokio::test]
async fn responds_503_if_the_fetch_fails_or_the_response_is_too_large() {
    let (fixture, fetch) = recorded(client()).await;
    let good = fixture.active().to_string();
    for (body, kind) in [
        (Some(good.clone() + &" ".repeat(512 * 1024 - good.len())), None),
        (Some(good.clone() + &" ".repeat(512 * 1024 + 1 - good.len())), Some(AuthErrorKind::Unavailable)),
        (None, Some(AuthErrorKind::Unavailable)),
    ] {
        *fetch.response.lock().unwrap() = body.map(Bytes::from);
        assert_eq!(fixture.kind("opaque").await, kind);
    }
}

// private_key_jwt.

fn key() -> PrivateKey {
    PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("2027-01")
}

/// Header and claims of an assertion, if this key signed it.
fn verified_parts(assertion: &str, public_jwk: &str) -> Option<(Value, Value)> {
    let header = assertion.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let keys = KeySet::from_json(format!(r#"{{"keys": [{public_jwk}]}}"#)).unwrap();
    let claims = open_jws(&keys, assertion)?;
    Some((serde_json::from_slice(&header).unwrap(), serde_json::from_slice(&claims).unwrap()))
}

/// RFC 7523 §3 a (MUST, accepts)
/// RFC 7523bis (MUST, accepts)
#[tokio::test]
async fn an_assertion_has_the_client_as_iss_and_sub_and_the_issuer_as_only_aud() {
    for path in ["", "/realms/x"] {
        for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
            let key = PrivateKey::generate(algorithm).unwrap().with_key_id("2027-01");
            let public = key.public_jwk();
            let fake = FakeIssuer::start_with_path(path).await;
            let fixture = IntrospectionFixture::with_parts(
                fake,
                ClientAuthentication::private_key_jwt("orders api", key),
                |verifier| verifier,
            );
            assert_eq!(fixture.kind("opaque").await, None);
            let request = &fixture.fake.introspection_requests()[0];
            let names: Vec<_> = request.form().into_iter().map(|(name, _)| name).collect();
            let expected = ["token", "token_type_hint", "client_id", "client_assertion_type", "client_assertion"];
            assert_eq!(names, expected);
            assert_eq!(request.header("authorization"), None);
            assert_eq!(request.parameter("client_id").as_deref(), Some("orders api"));
            let kind = request.parameter("client_assertion_type").unwrap();
            assert_eq!(kind, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            let assertion = request.parameter("client_assertion").unwrap();
            let (header, mut claims) = verified_parts(&assertion, &public).expect("signed by our key");
            let alg = algorithm.to_string();
            assert_eq!(header, json!({"alg": alg, "typ": "client-authentication+jwt", "kid": "2027-01"}));
            let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
            assert!(STANDARD.decode(jti.as_str().unwrap()).unwrap().len() >= 16);
            let own = fixture.fake.identifier.clone();
            let (iat, exp) = (NOW, NOW + 60);
            assert_eq!(
                claims,
                json!({"iss": "orders api", "sub": "orders api", "aud": own, "iat": iat, "exp": exp}),
                "the only audience is the issuer, not the endpoint (RFC 7523bis)"
            );
        }
    }
}

/// RFC 7523 §3 b (MUST, accepts and refuses)
#[tokio::test]
async fn each_introspection_request_has_a_new_assertion() {
    let fixture = IntrospectionFixture::with_parts(
        FakeIssuer::start().await,
        ClientAuthentication::private_key_jwt("orders-api", key()),
        |verifier| verifier,
    );
    let mut identifiers = HashSet::new();
    for round in 0..50 {
        drop(fixture.authenticate("opaque").await);
        let assertion = fixture.fake.introspection_requests()[round].parameter("client_assertion").unwrap();
        let claims = assertion.split('.').nth(1).unwrap();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert!(identifiers.insert(claims["jti"].as_str().unwrap().to_owned()));
        let now = NOW + 70 * u64::try_from(round).unwrap();
        assert_eq!((claims["iat"].as_u64(), claims["exp"].as_u64()), (Some(now), Some(now + 60)));
        fixture.clock.advance(Duration::from_secs(70));
    }
}

/// Threat V9
#[tokio::test]
async fn a_reused_assertion_is_sent_for_30_seconds() {
    let fixture = IntrospectionFixture::with_parts(
        FakeIssuer::start().await,
        ClientAuthentication::private_key_jwt("orders-api", key()).with_reused_assertions(),
        |verifier| verifier,
    );
    let mut sent = Vec::new();
    for advance in [0, 0, 29_999, 1, 0, 30_000] {
        fixture.clock.advance(Duration::from_millis(advance));
        drop(fixture.authenticate(&format!("stranger-{}", sent.len())).await);
        sent.push(fixture.fake.introspection_requests()[sent.len()].parameter("client_assertion").unwrap());
    }
    let different = sent.iter().collect::<HashSet<_>>().len();
    assert!(sent[0] == sent[1] && sent[0] == sent[2] && sent[3] == sent[4]);
    assert_eq!(different, 3);
}

/// An assertion has its own type (RFC 7523bis, RFC 8725 §3.11), so the issuer can't use it as an access token.
///
/// RFC 7523bis (MUST, refuses)
#[tokio::test]
async fn refuses_an_assertion_as_an_access_token() {
    let key = key();
    let keys = KeySet::from_json(format!(r#"{{"keys": [{}]}}"#, key.public_jwk())).unwrap();
    let fixture = IntrospectionFixture::with_parts(
        FakeIssuer::start().await,
        ClientAuthentication::private_key_jwt("x", key),
        |verifier| verifier,
    );
    assert_eq!(fixture.kind("opaque").await, None);
    let assertion = fixture.fake.introspection_requests()[0].parameter("client_assertion").unwrap();
    assert!(open_jws(&keys, &assertion).is_some());
    let own = fixture.fake.identifier.clone();
    let issuer = tower_oauth::Issuer::from_keys(&own, keys).unwrap();
    // Only its type is wrong: this API even accepts its audience.
    let verifier = tower_oauth::JwtVerifier::builder(issuer, own).clock(fixture.clock.clone());
    let verifier = verifier.accept_without(tower_oauth::verify::OptionalClaim::ClientId).build().unwrap();
    let api = IntrospectionFixture::with_verifier(fixture.fake, fixture.clock, verifier);
    let error = api.authenticate(&assertion).await.unwrap_err();
    assert_eq!(error.to_string(), "the token's typ is not accepted");
}

/// Threat I13
#[tokio::test]
async fn does_not_log_an_assertion() {
    let client = ClientAuthentication::private_key_jwt("orders-api", key());
    assert!(format!("{client:?}").contains("private_key_jwt"));
    let fixture = IntrospectionFixture::with_parts(
        FakeIssuer::start().await,
        client,
        IntrospectionVerifierBuilder::signed_responses,
    );
    fixture.fake.introspection(crate::fake_issuer::Answer::Status(401));
    let log = Log::default();
    log.capture(fixture.assert_unavailable("5", "")).await;
    let assertion = fixture.fake.introspection_requests()[0].parameter("client_assertion").unwrap();
    let pieces = assertion.as_bytes().chunks(24).map(|piece| std::str::from_utf8(piece).unwrap());
    for piece in pieces.filter(|piece| piece.len() == 24) {
        assert!(!log.text().contains(piece), "{}", log.text());
    }
}

/// RFC 7523 §3 a (MUST, refuses)
#[test]
fn private_key_jwt_requires_a_client_id() {
    let builder = tower_oauth::IntrospectionVerifier::builder(
        crate::support::issuer().issuer(),
        ClientAuthentication::private_key_jwt("", key()),
        API,
    );
    let error = builder.endpoint("https://auth.test/introspect").build().unwrap_err();
    assert!(error.to_string().contains("the id is empty"), "{error}");
}

/// Threat V9
#[tokio::test]
async fn a_reused_assertion_is_sent_to_one_issuer_only() {
    let client = ClientAuthentication::private_key_jwt("orders-api", key()).with_reused_assertions();
    let one = IntrospectionFixture::with_parts(FakeIssuer::start().await, client.clone(), |verifier| verifier);
    let two = IntrospectionFixture::with_parts(FakeIssuer::start().await, client, |verifier| verifier);
    drop(one.authenticate("a").await);
    drop(two.authenticate("b").await);
    let sent = |fixture: &IntrospectionFixture| {
        fixture.fake.introspection_requests()[0].parameter("client_assertion").unwrap()
    };
    assert_ne!(one.fake.identifier, two.fake.identifier);
    assert_ne!(sent(&one), sent(&two), "the second issuer got an assertion for the first one");
}
