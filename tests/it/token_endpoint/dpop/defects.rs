//! Proofs that are refused. None of them costs a code or a refresh token.

use std::time::Duration;

use serde_json::{Value, json};
use tower_oauth::{
    keys::Algorithm,
    testing::{MockIssuer, ProofBuilder, ProofKey},
    token_endpoint::TokenEndpoint,
};

use super::{
    super::{World, assertion},
    TOKEN_URL, begin, code_form, is_bound, nonces, proof, refresh_form, send, send_with_key, token_with, world,
};
use crate::support::API;

/// A proof that is good but for these changes.
type Change = fn(ProofBuilder) -> ProofBuilder;

/// The defects of claims and headers.
const CHANGES: &[(&str, Change)] = &[
    ("no jti", |p| p.without_claim("jti")),
    ("an empty jti", |p| p.jwt_id("")),
    ("a long jti", |p| p.jwt_id(&"j".repeat(513))),
    ("jti null", |p| p.claim("jti", Value::Null)),
    ("no htm", |p| p.without_claim("htm")),
    ("another method", |p| p.claim("htm", "GET")),
    ("the method in lower case", |p| p.claim("htm", "post")),
    ("no htu", |p| p.without_claim("htu")),
    ("another path", |p| p.claim("htu", "https://as.test/introspect")),
    ("a longer path", |p| p.claim("htu", "https://as.test/token/")),
    ("the path in another case", |p| p.claim("htu", "https://as.test/Token")),
    ("http", |p| p.claim("htu", "http://as.test/token")),
    ("another host", |p| p.claim("htu", "https://evil.test/token")),
    ("another port", |p| p.claim("htu", "https://as.test:8443/token")),
    ("a user", |p| p.claim("htu", "https://u@as.test/token")),
    ("a relative htu", |p| p.claim("htu", "/token")),
    ("an empty htu", |p| p.claim("htu", "")),
    ("no iat", |p| p.without_claim("iat")),
    ("iat as text", |p| p.claim("iat", "1700000000")),
    ("iat in milliseconds", |p| p.claim("iat", 1_700_000_000_000_u64)),
    ("a negative iat", |p| p.claim("iat", -1)),
    ("exp past", |p| p.claim("exp", 1)),
    ("another typ", |p| p.header("typ", "JWT")),
    ("no typ", |p| p.without_header("typ")),
    ("alg none", |p| p.header("alg", "none")),
    ("alg HS256", |p| p.header("alg", "HS256")),
    ("no alg", |p| p.without_header("alg")),
    ("another alg", |p| p.header("alg", "RS256")),
    ("no jwk", |p| p.without_header("jwk")),
    ("jwk null", |p| p.header("jwk", Value::Null)),
    ("jwk of a symmetric key", |p| p.header("jwk", json!({"kty": "oct", "k": "AAAA"}))),
    ("crit", |p| p.header("crit", json!(["b64"]))),
];

fn defects(world: &World, key: &ProofKey) -> Vec<(&'static str, String)> {
    let mut defects: Vec<_> = CHANGES.iter().map(|(name, change)| (*name, change(proof(world, key)).sign())).collect();
    let now = world.clock.clone();
    let at = |shift: i64| {
        let time = tower_oauth::clock::Clock::now(&now);
        let seconds = Duration::from_secs(shift.unsigned_abs());
        if shift < 0 { time - seconds } else { time + seconds }
    };
    let good = proof(world, key).sign();
    let parts: Vec<&str> = good.split('.').collect();
    let private = json!({"kty": "EC", "crv": "P-256", "x": key.jwk()["x"], "y": key.jwk()["y"], "d": key.jwk()["x"]});
    defects.extend([
        ("too old", proof(world, key).issued_at(at(-62)).sign()),
        ("from the future", proof(world, key).issued_at(at(32)).sign()),
        ("a signature of another key", proof(world, key).sign_with(&ProofKey::new())),
        ("a private jwk", proof(world, key).header("jwk", private).sign()),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("two in one header", format!("{good}, {good}")),
        ("padding", format!("{good}=")),
        ("empty", String::new()),
        ("long", proof(world, key).claim("pad", "x".repeat(9000)).sign()),
        ("claims that are no object", proof(world, key).sign_raw(proof(world, key).header_json(), "[]")),
        ("an access token", MockIssuer::new("https://as.test").token("ada").sign()),
        ("an assertion", assertion(world, "1").sign()),
    ]);
    defects
}

/// RFC 9449 §5 b (MUST, refuses)
#[tokio::test]
async fn a_refused_proof_costs_neither_a_code_nor_a_refresh_token() {
    let world = world();
    let key = ProofKey::new();
    let code = world.code(&[]).await;
    for (defect, text) in defects(&world, &key) {
        let answer = send(&world, "", &code_form(&code), &[&text]).await;
        assert_eq!((answer.status(), &answer.json["error"]), (400, &"invalid_dpop_proof".into()), "{defect}");
        answer.is_error(400, "invalid_dpop_proof");
        assert!(nonces(&answer).is_empty(), "nonces are off");
    }
    let good = [proof(&world, &key).sign(), proof(&world, &key).sign()];
    send(&world, "", &code_form(&code), &[&good[0], &good[1]]).await.is_error(400, "invalid_dpop_proof");
    send(&world, "", &code_form(&code), &[&good[0], &good[0]]).await.is_error(400, "invalid_dpop_proof");
    let first = send(&world, "", &code_form(&code), &[&good[0]]).await;
    is_bound(&world, &first, Some(&key)).await;

    let token = first.text("refresh_token");
    for (_, text) in defects(&world, &key) {
        send(&world, "", &refresh_form(token), &[&text]).await.is_error(400, "invalid_dpop_proof");
    }
    assert!(world.is_active(first.text("access_token")).await, "the session goes on");
    let next = send_with_key(&world, "", &refresh_form(token), Some(&key)).await;
    is_bound(&world, &next, Some(&key)).await;
}

/// RFC 9449 §5 b (MUST, refuses)
#[tokio::test]
async fn every_forged_proof_is_refused_and_costs_no_code() {
    let world = world();
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let key = ProofKey::with_algorithm(algorithm);
        let code = world.code(&[]).await;
        let forgeries = proof(&world, &key).forgeries();
        assert!(forgeries.len() > 100, "{}", forgeries.len());
        for forgery in forgeries {
            let answer = send(&world, "", &code_form(&code), &[forgery.proof()]).await;
            assert_eq!((answer.status(), &answer.json["error"]), (400, &"invalid_dpop_proof".into()), "{forgery}");
        }
        is_bound(&world, &send_with_key(&world, "", &code_form(&code), Some(&key)).await, Some(&key)).await;
    }
}

/// RFC 9449 §5 b (MUST, accepts)
#[tokio::test]
async fn what_the_specifications_allow_in_a_proof_is_accepted() {
    let world = world();
    let key = ProofKey::new();
    let changes: [(&str, Change); 13] = [
        ("a query in htu", |p| p.claim("htu", "https://as.test/token?a=b")),
        ("a fragment in htu", |p| p.claim("htu", "https://as.test/token#a")),
        ("host and scheme in capitals", |p| p.claim("htu", "HTTPS://AS.test/token")),
        ("the default port", |p| p.claim("htu", "https://as.test:443/token")),
        ("an escape of an unreserved character", |p| p.claim("htu", "https://as.test/%74oken")),
        ("dots", |p| p.claim("htu", "https://as.test/x/../token")),
        ("typ with its prefix", |p| p.header("typ", "application/dpop+jwt")),
        ("typ in capitals", |p| p.header("typ", "DPoP+JWT")),
        ("ath of whatever", |p| p.token("a token")),
        ("ath that is no text", |p| p.claim("ath", 1)),
        ("a nonce although there are none", |p| p.nonce("old")),
        ("unknown claims and headers", |p| p.claim("x", json!({"y": 1})).header("x", 1)),
        ("kid and x5c beside jwk", |p| p.header("kid", "a").header("x5c", json!(["b"]))),
    ];
    for (what, change) in changes {
        let answer = token_with(&world, &change(proof(&world, &key)).sign()).await;
        assert_eq!(answer.status(), 200, "{what}: {answer:?}");
        is_bound(&world, &answer, Some(&key)).await;
    }
    for seconds in [-59, 29] {
        let time = tower_oauth::clock::Clock::now(&world.clock);
        let shift = Duration::from_secs(i64::unsigned_abs(seconds));
        let time = if seconds < 0 { time - shift } else { time + shift };
        token_with(&world, &proof(&world, &key).issued_at(time).sign()).await.is_ok();
    }
}

#[tokio::test]
async fn the_url_is_that_of_the_configured_issuer_and_never_that_of_the_request() {
    let key = ProofKey::new();
    let issuer = "https://example.test/auth";
    let inside = World::new();
    let build = |nested: bool| {
        let private = tower_oauth::keys::PrivateKey::generate(Algorithm::ES256).unwrap();
        let endpoint = TokenEndpoint::builder(issuer, private, inside.clients.clone())
            .grant(tower_oauth::token_endpoint::ClientCredentialsGrant::new())
            .clock(inside.clock.clone())
            .dpop()
            .build()
            .unwrap();
        let endpoint = if nested { endpoint.nested() } else { endpoint };
        World { endpoint, clients: inside.clients.clone(), clock: inside.clock.clone() }
    };
    let own = |url: &str| key.proof("POST", url).clock(inside.clock.clone()).sign();
    for (world, path) in [(build(false), "/auth/token"), (build(true), "/token")] {
        for headers in
            [&[][..], &[("host", "evil.test"), ("x-forwarded-host", "evil.test"), ("forwarded", "host=evil.test")]]
        {
            for uri in [path.to_owned(), format!("https://evil.test{path}")] {
                let answer = async |proof: String| {
                    let mut request = super::super::post(&uri, &super::super::usual("reports"), &[super::CC]);
                    for (name, value) in headers {
                        request.headers_mut().insert(*name, value.parse().unwrap());
                    }
                    request.headers_mut().insert("dpop", proof.parse().unwrap());
                    world.send(request).await
                };
                answer(own("https://example.test/auth/token")).await.is_ok();
                for other in
                    ["https://example.test/token", "https://evil.test/token", "https://evil.test/auth/token", TOKEN_URL]
                {
                    answer(own(other)).await.is_error(400, "invalid_dpop_proof");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_proof_is_no_access_token_and_no_assertion() {
    let world = world();
    let key = ProofKey::new();
    let text = proof(&world, &key).claim("aud", API).sign();
    assert!(!world.is_active(&text).await);
    let form = [
        super::CC,
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &*text),
    ];
    send(&world, "", &form, &[]).await.is_error(401, "invalid_client");
    begin(&world, Some(&key)).await.is_ok();
}
