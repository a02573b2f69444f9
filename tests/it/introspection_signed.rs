//! Signed answers (RFC 9701): read like plain ones where they were asked for, and believed only with the issuer's signature.

use serde_json::{Value, json};
use tower_oauth::{
    OAuthLayer, error::AuthErrorKind, keys::Algorithm, testing::MockIssuer, verify::IntrospectionVerifierBuilder,
};

use crate::{
    fake_issuer::Answer,
    introspection::{IntrospectionFixture, NOW},
    introspection_answers::{BOUND, ELSEWHERE, EXPIRED},
    support::{API, get_with_token, router},
};

/// With an ES256 key that is published.
async fn signed() -> IntrospectionFixture {
    IntrospectionFixture::with(IntrospectionVerifierBuilder::signed_responses).await
}

fn payload(fixture: &IntrospectionFixture) -> Value {
    json!({"iss": fixture.fake.identifier, "aud": "orders-api", "iat": NOW, "token_introspection": fixture.good()})
}

pub(crate) fn header(key: &MockIssuer) -> Value {
    json!({"alg": key.algorithm().to_string(), "kid": key.key_id(), "typ": "token-introspection+jwt"})
}

fn signed_answer(jws: String) -> Answer {
    Answer::Whole(200, "Content-Type: application/token-introspection+jwt\r\n".to_owned(), jws.into_bytes())
}

impl IntrospectionFixture {
    pub(crate) fn key(&self) -> MockIssuer {
        self.fake.signer(Algorithm::ES256)
    }

    pub(crate) fn signs(&self, header: &Value, payload: &Value) {
        let jws = self.key().token("").sign_raw(header.to_string(), payload.to_string());
        self.fake.introspection(signed_answer(jws));
    }
}

#[tokio::test]
async fn a_signed_answer_is_read_like_a_plain_one_where_it_was_asked_for() {
    let fixture = signed().await;
    for typ in ["token-introspection+jwt", "Token-Introspection+JWT", "application/token-introspection+jwt"] {
        let mut header = header(&fixture.key());
        header["typ"] = json!(typ);
        fixture.signs(&header, &payload(&fixture));
        assert_eq!(fixture.authenticate("opaque").await.unwrap().subject(), Some("ada"), "{typ}");
    }
    for aud in [json!("orders-api"), json!(["x", "orders-api"]), json!(API)] {
        let mut payload = payload(&fixture);
        (payload["aud"], payload["sub"], payload["exp"]) = (aud, json!("eve"), json!(1));
        fixture.signs(&header(&fixture.key()), &payload);
        let token = fixture.authenticate("opaque").await.unwrap();
        assert_eq!(token.subject(), Some("ada"), "RFC 9701 §5: what stands outside says nothing of the token");
    }
    let mut inactive = payload(&fixture);
    inactive["token_introspection"] = json!({"active": false});
    fixture.signs(&header(&fixture.key()), &inactive);
    assert!(fixture.get("opaque").await.is_refusal(401, "invalid_token"));
    for (member, value, words) in [
        ("aud", json!("https://other.test"), ELSEWHERE),
        ("exp", json!(1), EXPIRED),
        ("cnf", json!({"jkt": "x"}), BOUND),
    ] {
        let mut payload = payload(&fixture);
        payload["token_introspection"] = fixture.good_but(member, value);
        fixture.signs(&header(&fixture.key()), &payload);
        let refusal = fixture.get("opaque").await;
        assert!(refusal.is_refusal(401, "invalid_token") && refusal.challenges()[0].contains(words), "{refusal:?}");
    }
    assert_eq!(fixture.fake.introspection_requests()[0].header("accept"), Some("application/token-introspection+jwt"));
}

#[tokio::test]
async fn a_signed_answer_with_any_defect_is_none() {
    let fixture = signed().await;
    let good = (header(&fixture.key()), payload(&fixture));
    fixture.signs(&good.0, &good.1);
    assert_eq!(fixture.kind("opaque").await, None, "or this proves nothing");
    for (member, values) in [
        ("alg", vec![Value::Null, json!("none"), json!("HS256"), json!("ES384"), json!("RS256"), json!(1)]),
        ("typ", vec![Value::Null, json!("at+jwt"), json!("JWT"), json!(""), json!("token-introspection"), json!(1)]),
        ("crit", vec![json!(["x"])]),
        ("kid", vec![json!("nobody's"), json!(1)]),
    ] {
        for value in values {
            let mut header = good.0.clone();
            header[member] = value.clone();
            header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            fixture.signs(&header, &good.1);
            fixture.is_unavailable("5", &format!("{member}: {value}")).await;
        }
    }
    let identifier = &fixture.fake.identifier;
    for (member, values) in [
        (
            "iss",
            vec![Value::Null, json!("https://stranger.test"), json!(format!("{identifier}/")), json!([identifier])],
        ),
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
            fixture.signs(&good.0, &payload);
            fixture.is_unavailable("5", &format!("{member}: {value}")).await;
            payload.as_object_mut().unwrap().remove(member);
            fixture.signs(&good.0, &payload);
            fixture.is_unavailable("5", &format!("no {member}")).await;
        }
    }
    // An old draft, and glewlwyd, have the members flat.
    let mut flat = fixture.good();
    (flat["iss"], flat["aud"]) = (json!(identifier), json!("orders-api"));
    fixture.signs(&good.0, &flat);
    fixture.is_unavailable("5", "flat").await;
    let twice = good.1.to_string().replacen('{', "{\"aud\":\"orders-api\",", 1);
    for text in [twice, format!("[{}]", good.1), "\"x\"".to_owned(), String::new()] {
        fixture.fake.introspection(signed_answer(fixture.key().token("").sign_raw(good.0.to_string(), &text)));
        fixture.is_unavailable("5", &text).await;
    }
    let array = json!([identifier, "orders-api", NOW, fixture.good()]).to_string();
    fixture.fake.introspection(signed_answer(fixture.key().token("").sign_raw(good.0.to_string(), &array)));
    fixture.is_unavailable("5", &array).await;
}

#[tokio::test]
async fn a_signed_answer_must_be_signed_by_the_issuer_over_these_bytes() {
    let fixture = signed().await;
    let (header, payload) = (header(&fixture.key()).to_string(), payload(&fixture).to_string());
    let jws = fixture.key().token("").sign_raw(&header, &payload);
    let (signed_part, signature) = jws.rsplit_once('.').unwrap();
    let foreign = MockIssuer::new("https://stranger.test").token("").sign_raw(&header, &payload);
    let other = fixture.key().token("").sign_raw(&header, payload.replace("ada", "eve"));
    let (_, others_signature) = other.rsplit_once('.').unwrap();
    for bent in [
        foreign,
        format!("{signed_part}."),
        signed_part.to_owned(),
        format!("{signed_part}.{others_signature}"),
        format!("{signed_part}.{}", &signature[1..]),
        format!("{jws}.x"),
        format!("{jws}="),
        String::new(),
        "..".to_owned(),
        fixture.good().to_string(),
        serde_json::to_string(&jws).unwrap(),
    ] {
        fixture.fake.introspection(signed_answer(bent.clone()));
        fixture.is_unavailable("5", &bent).await;
    }
    fixture.fake.introspection(signed_answer(format!("{jws}\n")));
    assert_eq!(fixture.kind("opaque").await, None);
}

#[tokio::test]
async fn the_key_of_a_signed_answer_is_fetched_when_it_is_new() {
    let fixture = signed().await;
    fixture.signs(&header(&fixture.key()), &payload(&fixture));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.fetches()), (None, 1), "cold");
    fixture.fake.publish(&[Algorithm::EdDSA]);
    let new = fixture.fake.signer(Algorithm::EdDSA);
    let jws = new.token("").sign_raw(header(&new).to_string(), payload(&fixture).to_string());
    fixture.fake.introspection(signed_answer(jws));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.fetches()), (None, 2), "rotated");
}

#[tokio::test]
async fn without_keys_a_signed_answer_is_not_believed() {
    let fixture = signed().await;
    fixture.fake.answer(Answer::Status(500));
    fixture.signs(&header(&fixture.key()), &payload(&fixture));
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable));
}

#[tokio::test]
async fn an_answer_is_signed_if_and_only_if_that_was_asked_for() {
    let (plain, asking) = (IntrospectionFixture::new().await, signed().await);
    for fixture in [&plain, &asking] {
        let jws = fixture.key().token("").sign_raw(header(&fixture.key()).to_string(), payload(fixture).to_string());
        let json = fixture.good().to_string();
        let asked = std::ptr::eq(fixture, &raw const asking);
        for (kind, body, good) in [
            ("application/token-introspection+jwt", &jws, asked),
            ("application/Token-Introspection+JWT; charset=utf-8", &jws, asked),
            ("application/token-introspection+jwt", &json, false),
            ("application/jwt", &jws, false),
            ("application/json", &jws, false),
            ("text/plain", &jws, false),
            ("application/json", &json, !asked),
            ("application/json;charset=UTF-8", &json, !asked),
        ] {
            let headers = format!("Content-Type: {kind}\r\n");
            fixture.fake.introspection(Answer::Whole(200, headers, body.clone().into_bytes()));
            let expected = (!good).then_some(AuthErrorKind::Unavailable);
            assert_eq!(fixture.kind("opaque").await, expected, "{kind}, asked for a signed one: {asked}");
        }
    }
}

/// RFC 9701 §8.1: one kind of JWT must not be taken for another.
#[tokio::test]
async fn neither_is_a_signed_answer_an_access_token_nor_an_access_token_a_signed_answer() {
    let fixture = signed().await;
    let mut access = payload(&fixture);
    (access["client_id"], access["jti"], access["sub"]) = (json!("x"), json!("x"), json!("ada"));
    (access["exp"], access["aud"]) = (json!(NOW + 300), json!([API, "orders-api"]));
    let mut as_access = header(&fixture.key());
    as_access["typ"] = json!("at+jwt");
    fixture.signs(&as_access, &access);
    fixture.is_unavailable("5", "an access token for an answer").await;

    let verifier = fixture.key().with_clock(fixture.clock.clone()).verifier(API);
    let app = router().layer(OAuthLayer::new(verifier));
    let sign = |header: &Value| fixture.key().token("").sign_raw(header.to_string(), access.to_string());
    assert_eq!(get_with_token(&app, "/me", &sign(&as_access)).await.status, 200);
    let answer = sign(&header(&fixture.key()));
    assert!(get_with_token(&app, "/me", &answer).await.is_refusal(401, "invalid_token"));
}
