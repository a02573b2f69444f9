//! What the issuer is asked, to the byte (RFC 7662 §2.1), and how this API says who asks (RFC 6749 §2.3.1, RFC 7523 §2.2,
//! RFC 8705 §2).

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
    secrets::Log,
    support::{API, get_with},
};

/// What is asked about this token by this client.
async fn question(client: ClientAuthentication, token: &str) -> IntrospectionRequest {
    let fixture = IntrospectionFixture::of(FakeIssuer::start().await, client, |verifier| verifier);
    assert_eq!(fixture.kind(token).await, None);
    let mut questions = fixture.fake.introspection_requests();
    assert_eq!(questions.len(), 1);
    questions.remove(0)
}

/// Keeps what it is asked to send, and answers by itself.
#[derive(Clone, Default)]
struct Courier {
    sent: Arc<Mutex<Vec<Request<Bytes>>>>,
    answer: Arc<Mutex<Option<Bytes>>>,
}

impl Fetch for Courier {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        self.sent.lock().unwrap().push(request);
        let answer = self.answer.lock().unwrap().clone();
        FetchFuture::new(
            async move { answer.map(Response::new).ok_or_else(|| FetchError::new("the courier fell ill")) },
        )
    }
}

/// A fixture whose questions go by courier.
async fn by_courier(client: ClientAuthentication) -> (IntrospectionFixture, Courier) {
    let (fake, courier) = (FakeIssuer::start().await, Courier::default());
    let endpoint = fake.introspection_endpoint();
    let sender = courier.clone();
    let fixture = IntrospectionFixture::of(fake, client, |verifier| verifier.fetch(sender).endpoint(endpoint));
    *courier.answer.lock().unwrap() = Some(fixture.good().to_string().into());
    (fixture, courier)
}

#[tokio::test]
async fn the_token_is_posted_in_a_form_and_stands_nowhere_else() {
    let token = "a-b._~c+/d1==";
    let question = question(client(), token).await;
    assert!(question.head.starts_with("POST /introspect HTTP/1.1\r\n"), "{question:?}");
    assert_eq!(question.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(question.header("accept"), Some("application/json"));
    assert_eq!(question.body, "token=a-b._%7Ec%2B%2Fd1%3D%3D&token_type_hint=access_token");
    assert_eq!(question.header("content-length"), Some(&*question.body.len().to_string()));
    assert_eq!(question.parameter("token").as_deref(), Some(token));
    for trace in [token, "a-b._", "%2B%2Fd1"] {
        assert!(!question.head.contains(trace), "{question:?}");
    }
    let names: HashSet<_> = question.head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let expected = ["content-type", "accept", "authorization", "user-agent", "host", "content-length"];
    assert_eq!(names, HashSet::from(expected), "nothing is sent that nobody asked for");
}

#[tokio::test]
async fn every_character_of_a_token_arrives() {
    let fixture = IntrospectionFixture::new().await;
    let letters: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let longest = "x".repeat(16 * 1024);
    for token in [&*format!("{letters}-._~+/"), "=", "+/==", "+", "%2B".trim_start_matches("%2"), &longest] {
        let asked = fixture.fake.introspection_count();
        let status = fixture.get(token).await.status;
        let questions = fixture.fake.introspection_requests();
        if token == "=" {
            assert_eq!((status.as_u16(), questions.len()), (400, asked), "no b64token");
        } else {
            assert_eq!(status, 200, "{token}");
            assert_eq!(questions[asked].parameter("token").as_deref(), Some(token));
        }
    }
}

#[tokio::test]
async fn what_could_slip_parameters_into_the_form_is_refused_before_anybody_is_asked() {
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
        let answer = get_with(&fixture.app, "/me", &format!("Bearer {token}")).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{token}: {answer:?}");
    }
    assert_eq!(fixture.fake.requests().len(), 0);
}

#[tokio::test]
async fn by_basic_id_and_secret_are_form_encoded_first() {
    for (id, secret, pair) in [
        ("orders-api", "correct horse battery staple", "orders-api:correct+horse+battery+staple"),
        ("cc:odd id", "p:%+ \u{e4}", "cc%3Aodd+id:p%3A%25%2B+%C3%A4"),
        ("a/b?c=d&e", "\"\\\n\r\0\u{1f980}", "a%2Fb%3Fc%3Dd%26e:%22%5C%0A%0D%00%F0%9F%A6%80"),
        ("A-Z._*", "x~y", "A-Z._*:x%7Ey"),
    ] {
        let question = question(ClientAuthentication::secret_basic(id, secret), "opaque").await;
        let sent = question.header("authorization").unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(String::from_utf8(STANDARD.decode(sent).unwrap()).unwrap(), pair);
        assert_eq!(question.body, "token=opaque&token_type_hint=access_token", "and not in the body too");
    }
}

#[tokio::test]
async fn by_post_id_and_secret_stand_in_the_form_alone() {
    let question = question(ClientAuthentication::secret_post("cc:odd id", "p&:%+= \u{e4}"), "opaque").await;
    let expected = "token=opaque&token_type_hint=access_token&client_id=cc%3Aodd+id\
                    &client_secret=p%26%3A%25%2B%3D+%C3%A4";
    assert_eq!(question.body, expected);
    assert_eq!(question.parameter("client_secret").as_deref(), Some("p&:%+= \u{e4}"));
    assert_eq!(question.header("authorization"), None);
}

#[tokio::test]
async fn a_bearer_token_of_ours_is_asked_for_with_each_question() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let ours = ClientAuthentication::bearer(move || {
        let token = format!("ours-{}", counted.fetch_add(1, Ordering::Relaxed));
        async move { Ok(token) }
    });
    let fixture = IntrospectionFixture::of(FakeIssuer::start().await, ours, |verifier| verifier);
    for index in 0..3 {
        assert_eq!(fixture.kind("opaque").await, None);
        let question = fixture.fake.introspection_requests().remove(index);
        assert_eq!(question.header("authorization"), Some(&*format!("Bearer ours-{index}")));
        assert_eq!(question.body, "token=opaque&token_type_hint=access_token");
    }
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_source_of_our_bearer_token_that_fails_is_unavailable_and_logged() {
    let ours = ClientAuthentication::bearer(|| async { Err(FetchError::new("the token service is down")) });
    let fixture = IntrospectionFixture::of(FakeIssuer::start().await, ours, |verifier| verifier);
    let log = Log::default();
    log.capture(fixture.is_unavailable("5", "")).await;
    assert!(log.text().contains("the token service is down"), "{}", log.text());
    assert_eq!(fixture.fake.asked(), 0);
}

#[tokio::test]
async fn a_source_of_our_bearer_token_that_waits_too_long_ends_with_the_introspection() {
    let ours = ClientAuthentication::bearer(std::future::pending);
    let fixture = IntrospectionFixture::of(FakeIssuer::start().await, ours, |verifier| verifier);
    let mut waiting = Box::pin(fixture.kind("opaque"));
    assert!(poll_immediate(&mut waiting).await.is_none());
    fixture.clock.advance(Duration::from_secs(5));
    assert_eq!(soon(waiting).await, Some(AuthErrorKind::Unavailable));
}

#[tokio::test]
async fn a_bearer_token_of_ours_that_no_header_can_carry_is_our_fault_and_told_to_nobody() {
    let ours = ClientAuthentication::bearer(|| async { Ok("hush\r\nx: y".to_owned()) });
    let fixture = IntrospectionFixture::of(FakeIssuer::start().await, ours, |verifier| verifier);
    let log = Log::default();
    log.capture(fixture.is_unavailable("5", "")).await;
    assert!(!log.text().contains("hush"), "{}", log.text());
    assert_eq!(fixture.fake.introspection_count(), 0);
}

#[tokio::test]
async fn by_tls_the_form_names_the_client_and_the_given_way_is_taken() {
    let (fixture, courier) = by_courier(ClientAuthentication::tls("orders api")).await;
    assert_eq!(fixture.kind("opaque").await, None);
    let sent = courier.sent.lock().unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].uri().to_string(), fixture.fake.introspection_endpoint());
    assert_eq!(&sent[0].body()[..], b"token=opaque&token_type_hint=access_token&client_id=orders+api");
    assert!(!sent[0].headers().contains_key("authorization"));
    assert_eq!(fixture.fake.requests().len(), 0, "the issuer's own way would show no certificate");
}

#[tokio::test]
async fn metadata_goes_the_given_way_too() {
    let (fake, courier) = (FakeIssuer::start().await, Courier::default());
    let sender = courier.clone();
    let fixture = IntrospectionFixture::of(fake, client(), |verifier| verifier.fetch(sender));
    *courier.answer.lock().unwrap() = Some(fixture.fake.document().to_string().into());
    // It answers every question with the metadata, which is no introspection response.
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable));
    let paths: Vec<_> = courier.sent.lock().unwrap().iter().map(|sent| sent.uri().path().to_owned()).collect();
    assert_eq!(paths, ["/.well-known/oauth-authorization-server", "/introspect"]);
    assert_eq!(fixture.fake.requests().len(), 0);
}

#[tokio::test]
async fn our_credentials_are_marked_as_sensitive_for_whoever_logs_headers() {
    for client in [client(), ClientAuthentication::bearer(|| async { Ok("hush".to_owned()) })] {
        let (fixture, courier) = by_courier(client).await;
        assert_eq!(fixture.kind("opaque").await, None);
        let sent = courier.sent.lock().unwrap();
        assert!(sent[0].headers()["authorization"].is_sensitive());
        let shown = format!("{:?}", sent[0].headers());
        assert!(!shown.contains("hush") && !shown.contains("b3JkZXJz") && !shown.contains("opaque"), "{shown}");
    }
}

#[tokio::test]
async fn a_way_to_the_network_that_fails_or_brings_too_much_is_not_the_tokens_fault() {
    let (fixture, courier) = by_courier(client()).await;
    let good = fixture.good().to_string();
    for (body, kind) in [
        (Some(good.clone() + &" ".repeat(512 * 1024 - good.len())), None),
        (Some(good.clone() + &" ".repeat(512 * 1024 + 1 - good.len())), Some(AuthErrorKind::Unavailable)),
        (None, Some(AuthErrorKind::Unavailable)),
    ] {
        *courier.answer.lock().unwrap() = body.map(Bytes::from);
        assert_eq!(fixture.kind("opaque").await, kind);
    }
}

// private_key_jwt.

fn key() -> PrivateKey {
    PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("2027-01")
}

/// Header and claims of an assertion, if this key signed it.
fn open(assertion: &str, public_jwk: &str) -> Option<(Value, Value)> {
    let header = assertion.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let keys = KeySet::from_json(format!(r#"{{"keys": [{public_jwk}]}}"#)).unwrap();
    let claims = open_jws(&keys, assertion)?;
    Some((serde_json::from_slice(&header).unwrap(), serde_json::from_slice(&claims).unwrap()))
}

#[tokio::test]
async fn an_assertion_names_us_as_issuer_and_subject_and_the_issuer_as_its_only_audience() {
    for path in ["", "/realms/x"] {
        for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
            let key = PrivateKey::generate(algorithm).unwrap().with_key_id("2027-01");
            let public = key.public_jwk();
            let fake = FakeIssuer::start_with_path(path).await;
            let fixture =
                IntrospectionFixture::of(fake, ClientAuthentication::private_key_jwt("orders api", key), |verifier| {
                    verifier
                });
            assert_eq!(fixture.kind("opaque").await, None);
            let question = &fixture.fake.introspection_requests()[0];
            let names: Vec<_> = question.form().into_iter().map(|(name, _)| name).collect();
            let expected = ["token", "token_type_hint", "client_id", "client_assertion_type", "client_assertion"];
            assert_eq!(names, expected);
            assert_eq!(question.header("authorization"), None);
            assert_eq!(question.parameter("client_id").as_deref(), Some("orders api"));
            let kind = question.parameter("client_assertion_type").unwrap();
            assert_eq!(kind, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            let assertion = question.parameter("client_assertion").unwrap();
            let (header, mut claims) = open(&assertion, &public).expect("signed by our key");
            let alg = algorithm.to_string();
            assert_eq!(header, json!({"alg": alg, "typ": "client-authentication+jwt", "kid": "2027-01"}));
            let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
            assert!(STANDARD.decode(jti.as_str().unwrap()).unwrap().len() >= 16);
            let own = fixture.fake.identifier.clone();
            let (iat, exp) = (NOW, NOW + 60);
            assert_eq!(
                claims,
                json!({"iss": "orders api", "sub": "orders api", "aud": own, "iat": iat, "exp": exp}),
                "the audience is the issuer, not the endpoint, and alone (RFC 7523bis)"
            );
        }
    }
}

#[tokio::test]
async fn no_two_assertions_are_the_same_and_none_is_older_than_its_question() {
    let fixture = IntrospectionFixture::of(
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
        fixture.clock.advance(std::time::Duration::from_secs(70));
    }
}

/// Its type is of its own (RFC 7523bis, RFC 8725 §3.11): nobody can use it as an access token.
#[tokio::test]
async fn an_assertion_opens_no_door() {
    let key = key();
    let keys = KeySet::from_json(format!(r#"{{"keys": [{}]}}"#, key.public_jwk())).unwrap();
    let fixture = IntrospectionFixture::of(
        FakeIssuer::start().await,
        ClientAuthentication::private_key_jwt("x", key),
        |verifier| verifier,
    );
    assert_eq!(fixture.kind("opaque").await, None);
    let assertion = fixture.fake.introspection_requests()[0].parameter("client_assertion").unwrap();
    assert!(open_jws(&keys, &assertion).is_some());
    let own = fixture.fake.identifier.clone();
    let issuer = tower_oauth::Issuer::from_keys(&own, keys).unwrap();
    // Nothing but its type is wrong with it here: not even its audience.
    let verifier = tower_oauth::JwtVerifier::builder(issuer, own).clock(fixture.clock.clone());
    let verifier = verifier.accept_without(tower_oauth::verify::OptionalClaim::ClientId).build().unwrap();
    let door = IntrospectionFixture::judging(fixture.fake, fixture.clock, verifier);
    let error = door.authenticate(&assertion).await.unwrap_err();
    assert_eq!(error.to_string(), "the token's typ is not accepted");
}

#[tokio::test]
async fn an_assertion_is_not_told_to_the_log() {
    let client = ClientAuthentication::private_key_jwt("orders-api", key());
    assert!(format!("{client:?}").contains("private_key_jwt"));
    let fixture =
        IntrospectionFixture::of(FakeIssuer::start().await, client, IntrospectionVerifierBuilder::signed_responses);
    fixture.fake.introspection(crate::fake_issuer::Answer::Status(401));
    let log = Log::default();
    log.capture(fixture.is_unavailable("5", "")).await;
    let assertion = fixture.fake.introspection_requests()[0].parameter("client_assertion").unwrap();
    let pieces = assertion.as_bytes().chunks(24).map(|piece| std::str::from_utf8(piece).unwrap());
    for piece in pieces.filter(|piece| piece.len() == 24) {
        assert!(!log.text().contains(piece), "{}", log.text());
    }
}

#[test]
fn a_client_without_a_name_cannot_sign_for_itself() {
    let builder = tower_oauth::IntrospectionVerifier::builder(
        crate::support::issuer().issuer(),
        ClientAuthentication::private_key_jwt("", key()),
        API,
    );
    let error = builder.endpoint("https://auth.test/introspect").build().unwrap_err();
    assert!(error.to_string().contains("the id is empty"), "{error}");
}
