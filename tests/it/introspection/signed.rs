//! Signed introspection responses (RFC 9701): accepted only if they were requested, and only with the issuer's signature.

use serde_json::{Value, json};
use tower_oauth::{
    OAuthLayer, error::AuthErrorKind, keys::Algorithm, testing::MockIssuer, verify::IntrospectionVerifierBuilder,
};

use crate::{
    fake_issuer::Answer,
    introspection::responses::{BOUND, ELSEWHERE, EXPIRED},
    introspection::{IntrospectionFixture, NOW},
    keys::remote::rotation::{replacement, with_kid},
    support::{API, get_with_token, router},
};

/// A fixture that requests signed responses. Its issuer publishes an ES256 key.
async fn signed() -> IntrospectionFixture {
    IntrospectionFixture::with(IntrospectionVerifierBuilder::signed_responses).await
}

fn payload(fixture: &IntrospectionFixture) -> Value {
    json!({"iss": fixture.fake.identifier, "aud": "orders-api", "iat": NOW, "token_introspection": fixture.active()})
}

pub(crate) fn header(key: &MockIssuer) -> Value {
    json!({"alg": key.algorithm().to_string(), "kid": key.key_id(), "typ": "token-introspection+jwt"})
}

fn signed_response(jws: String) -> Answer {
    Answer::Whole(200, "Content-Type: application/token-introspection+jwt\r\n".to_owned(), jws.into_bytes())
}

impl IntrospectionFixture {
    pub(crate) fn key(&self) -> MockIssuer {
        self.fake.signer(Algorithm::ES256)
    }

    pub(crate) fn respond_signed(&self, header: &Value, payload: &Value) {
        let jws = self.key().token("").sign_raw(header.to_string(), payload.to_string());
        self.fake.introspection(signed_response(jws));
    }
}

/// RFC 9701 §4 (MUST, accepts)
/// RFC 9701 §5 a (MUST, accepts)
/// RFC 9701 §5 c (derived, accepts and refuses)
#[tokio::test]
async fn a_requested_signed_response_has_the_same_effect_as_a_plain_one() {
    let fixture = signed().await;
    for typ in ["token-introspection+jwt", "Token-Introspection+JWT", "application/token-introspection+jwt"] {
        let mut header = header(&fixture.key());
        header["typ"] = json!(typ);
        fixture.respond_signed(&header, &payload(&fixture));
        assert_eq!(fixture.authenticate("opaque").await.unwrap().subject(), Some("ada"), "{typ}");
    }
    for aud in [json!("orders-api"), json!(["x", "orders-api"]), json!(API)] {
        let mut payload = payload(&fixture);
        (payload["aud"], payload["sub"], payload["exp"]) = (aud, json!("eve"), json!(1));
        fixture.respond_signed(&header(&fixture.key()), &payload);
        let token = fixture.authenticate("opaque").await.unwrap();
        assert_eq!(token.subject(), Some("ada"), "RFC 9701 §5: only token_introspection describes the token");
    }
    let mut inactive = payload(&fixture);
    inactive["token_introspection"] = json!({"active": false});
    fixture.respond_signed(&header(&fixture.key()), &inactive);
    assert!(fixture.get("opaque").await.is_refusal(401, "invalid_token"));
    for (member, value, description) in [
        ("aud", json!("https://other.test"), ELSEWHERE),
        ("exp", json!(1), EXPIRED),
        ("cnf", json!({"jkt": "x"}), BOUND),
    ] {
        let mut payload = payload(&fixture);
        payload["token_introspection"] = fixture.active_with(member, value);
        fixture.respond_signed(&header(&fixture.key()), &payload);
        let refusal = fixture.get("opaque").await;
        assert!(
            refusal.is_refusal(401, "invalid_token") && refusal.challenges()[0].contains(description),
            "{refusal:?}"
        );
    }
    assert_eq!(fixture.fake.introspection_requests()[0].header("accept"), Some("application/token-introspection+jwt"));
}

/// RFC 9701 §5 a (MUST, refuses)
#[tokio::test]
async fn responds_503_to_a_signed_response_with_any_defect() {
    let fixture = signed().await;
    let good = (header(&fixture.key()), payload(&fixture));
    fixture.respond_signed(&good.0, &good.1);
    assert_eq!(fixture.kind("opaque").await, None, "without a defect, the response is accepted");
    for (member, values) in [
        ("alg", vec![Value::Null, json!("none"), json!("HS256"), json!("ES384"), json!("RS256"), json!(1)]),
        ("typ", vec![Value::Null, json!("at+jwt"), json!("JWT"), json!(""), json!("token-introspection"), json!(1)]),
        ("crit", vec![json!(["x"])]),
        ("kid", vec![json!("unknown"), json!(1)]),
    ] {
        for value in values {
            let mut header = good.0.clone();
            header[member] = value.clone();
            header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            fixture.respond_signed(&header, &good.1);
            fixture.assert_unavailable("5", &format!("{member}: {value}")).await;
        }
    }
    let identifier = &fixture.fake.identifier;
    for (member, values) in [
        ("iss", vec![Value::Null, json!("https://evil.test"), json!(format!("{identifier}/")), json!([identifier])]),
        (
            "aud",
            vec![Value::Null, json!("x"), json!([]), json!(""), json!(1), json!("Orders-Api"), json!([["orders-api"]])],
        ),
        ("iat", vec![Value::Null, json!("x"), json!(NOW + 31), json!(u64::MAX)]),
        (
            "token_introspection",
            vec![Value::Null, json!({}), json!([]), json!("x"), json!({"active": "true"}), json!(true)],
        ),
    ] {
        for value in values {
            let mut payload = good.1.clone();
            payload[member] = value.clone();
            fixture.respond_signed(&good.0, &payload);
            fixture.assert_unavailable("5", &format!("{member}: {value}")).await;
            payload.as_object_mut().unwrap().remove(member);
            fixture.respond_signed(&good.0, &payload);
            fixture.assert_unavailable("5", &format!("no {member}")).await;
        }
    }
    // In an old draft, and in glewlwyd, the members are at the top level.
    let mut flat = fixture.active();
    (flat["iss"], flat["aud"]) = (json!(identifier), json!("orders-api"));
    fixture.respond_signed(&good.0, &flat);
    fixture.assert_unavailable("5", "flat").await;
    let twice = good.1.to_string().replacen('{', "{\"aud\":\"orders-api\",", 1);
    for text in [twice, format!("[{}]", good.1), "\"x\"".to_owned(), String::new()] {
        fixture.fake.introspection(signed_response(fixture.key().token("").sign_raw(good.0.to_string(), &text)));
        fixture.assert_unavailable("5", &text).await;
    }
    let array = json!([identifier, "orders-api", NOW, fixture.active()]).to_string();
    fixture.fake.introspection(signed_response(fixture.key().token("").sign_raw(good.0.to_string(), &array)));
    fixture.assert_unavailable("5", &array).await;
}

/// RFC 9701 §5 b (MUST, refuses)
#[tokio::test]
async fn responds_503_to_a_signed_response_without_the_issuers_signature() {
    let fixture = signed().await;
    let (header, payload) = (header(&fixture.key()).to_string(), payload(&fixture).to_string());
    let jws = fixture.key().token("").sign_raw(&header, &payload);
    let (signed_part, signature) = jws.rsplit_once('.').unwrap();
    let other_issuer = MockIssuer::new("https://evil.test").token("").sign_raw(&header, &payload);
    let other = fixture.key().token("").sign_raw(&header, payload.replace("ada", "eve"));
    let (_, other_signature) = other.rsplit_once('.').unwrap();
    for invalid in [
        other_issuer,
        format!("{signed_part}."),
        signed_part.to_owned(),
        format!("{signed_part}.{other_signature}"),
        format!("{signed_part}.{}", &signature[1..]),
        format!("{jws}.x"),
        format!("{jws}="),
        String::new(),
        "..".to_owned(),
        fixture.active().to_string(),
        serde_json::to_string(&jws).unwrap(),
    ] {
        fixture.fake.introspection(signed_response(invalid.clone()));
        fixture.assert_unavailable("5", &invalid).await;
    }
    fixture.fake.introspection(signed_response(format!("{jws}\n")));
    assert_eq!(fixture.kind("opaque").await, None);
}

/// RFC 9701 §5 b (MUST, accepts)
#[tokio::test]
async fn fetches_a_new_key_of_a_signed_response() {
    let fixture = signed().await;
    fixture.respond_signed(&header(&fixture.key()), &payload(&fixture));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.fetches()), (None, 1), "the first fetch");
    fixture.fake.publish(&[Algorithm::EdDSA]);
    let new = fixture.fake.signer(Algorithm::EdDSA);
    let jws = new.token("").sign_raw(header(&new).to_string(), payload(&fixture).to_string());
    fixture.fake.introspection(signed_response(jws));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.fetches()), (None, 2), "after a rotation");
}

/// Threat J9
#[tokio::test]
async fn fetches_a_new_key_under_an_old_kid_for_a_signed_response() {
    let fixture = signed().await;
    fixture.respond_signed(&header(&fixture.key()), &payload(&fixture));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.fetches()), (None, 1), "the first fetch");
    fixture.fake.publish_raw(vec![with_kid(&replacement(), Some(&fixture.key().key_id()))]);
    let jws = replacement().token("").sign_raw(header(&fixture.key()).to_string(), payload(&fixture).to_string());
    fixture.fake.introspection(signed_response(jws));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.fetches()), (None, 2), "after a rotation");
}

/// RFC 9701 §5 b (MUST, refuses)
#[tokio::test]
async fn responds_503_to_a_signed_response_without_a_key_set() {
    let fixture = signed().await;
    fixture.fake.answer(Answer::Status(500));
    fixture.respond_signed(&header(&fixture.key()), &payload(&fixture));
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable));
}

/// RFC 9701 §4 (MUST, refuses)
/// Threat I4
#[tokio::test]
async fn accepts_a_signed_response_only_if_one_was_requested() {
    let (plain, requesting) = (IntrospectionFixture::new().await, signed().await);
    for fixture in [&plain, &requesting] {
        let jws = fixture.key().token("").sign_raw(header(&fixture.key()).to_string(), payload(fixture).to_string());
        let json = fixture.active().to_string();
        let requested = std::ptr::eq(fixture, &raw const requesting);
        for (kind, body, good) in [
            ("application/token-introspection+jwt", &jws, requested),
            ("application/Token-Introspection+JWT; charset=utf-8", &jws, requested),
            ("application/token-introspection+jwt", &json, false),
            ("application/jwt", &jws, false),
            ("application/json", &jws, false),
            ("text/plain", &jws, false),
            ("application/json", &json, !requested),
            ("application/json;charset=UTF-8", &json, !requested),
        ] {
            let headers = format!("Content-Type: {kind}\r\n");
            fixture.fake.introspection(Answer::Whole(200, headers, body.clone().into_bytes()));
            let expected = (!good).then_some(AuthErrorKind::Unavailable);
            assert_eq!(fixture.kind("opaque").await, expected, "{kind}, a signed response was requested: {requested}");
        }
    }
}

/// RFC 9701 §8.1: one kind of JWT must not be taken for another.
///
/// RFC 9701 §8.1 (MUST NOT, accepts and refuses)
#[tokio::test]
async fn signed_responses_and_access_tokens_do_not_replace_each_other() {
    let fixture = signed().await;
    let mut access = payload(&fixture);
    (access["client_id"], access["jti"], access["sub"]) = (json!("x"), json!("x"), json!("ada"));
    (access["exp"], access["aud"]) = (json!(NOW + 300), json!([API, "orders-api"]));
    let mut as_access = header(&fixture.key());
    as_access["typ"] = json!("at+jwt");
    fixture.respond_signed(&as_access, &access);
    fixture.assert_unavailable("5", "an access token as a response").await;

    let verifier = fixture.key().with_clock(fixture.clock.clone()).verifier(API);
    let app = router().layer(OAuthLayer::new(verifier));
    let sign = |header: &Value| fixture.key().token("").sign_raw(header.to_string(), access.to_string());
    assert_eq!(get_with_token(&app, "/me", &sign(&as_access)).await.status, 200);
    let response = sign(&header(&fixture.key()));
    assert!(get_with_token(&app, "/me", &response).await.is_refusal(401, "invalid_token"));
}

/// A recorded response, from a time when the token was active, is refused.
///
/// Threat V10
#[tokio::test]
async fn a_signed_response_has_a_maximum_age() {
    let fixture = signed().await;
    let good = (header(&fixture.key()), payload(&fixture));
    for (age, accepted) in [(0, true), (60, true), (90, true), (91, false), (3600, false)] {
        let mut payload = good.1.clone();
        payload["iat"] = json!(NOW - age);
        fixture.respond_signed(&good.0, &payload);
        assert_eq!(fixture.kind("opaque").await.is_none(), accepted, "{age} s, with 30 s of leeway");
    }
}
