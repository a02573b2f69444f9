//! Rows P1 to P14: the proof as a JWT.

use std::collections::BTreeMap;

use serde_json::json;
use tower_oauth::{keys::Algorithm, testing::ProofKey};

use super::{Bound, Row, must_be};
use crate::{fake_issuer::FakeIssuer, programs::protected_api::sender_fixture::Reply};

/// One algorithm of each kind: a key for RSA takes long to generate.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA, Algorithm::PS256];

/// Returns the row of a forgery, by its name.
fn row(forgery: &str) -> &'static str {
    let first = forgery.split(' ').next().unwrap_or_default();
    let rows = [
        ("signature over", "P10"),
        ("signature", "P10"),
        ("HMAC", "P10"),
        ("segment", "P4"),
        ("typ", "P5"),
        ("no typ", "P5"),
        ("alg", "P6, P7"),
        ("no alg", "P6"),
        ("HS", "P6"),
        ("jwk with x", "P9"),
        ("jwk with y", "P9"),
        ("jwk with n", "P9"),
        ("jwk with e", "P9"),
        ("jwk at", "P9"),
        ("RSA key", "P9"),
        ("Ed25519 key", "P9"),
        ("jwk", "P8"),
        ("no jwk", "P8"),
        ("crit", "P12"),
        ("b64", "P12"),
        ("zip", "P12"),
        ("header", "P3"),
        ("payload", "P3"),
        ("longer", "P3"),
        ("the access token", "P14"),
        ("no jti", "C1"),
        ("no htm", "C1"),
        ("no htu", "C1"),
        ("no iat", "C1"),
        ("no ath", "C1"),
        ("jti", "C1"),
        ("htm", "C2"),
        ("htu", "C3"),
        ("ath", "C6"),
        ("iat", "C7"),
        ("exp", "C8"),
        ("nbf", "C8"),
    ];
    let instead = forgery.ends_with("in place of jwk");
    let of_encoding = forgery.contains("of segment") || forgery.contains("within segment");
    match rows.iter().find(|(start, _)| forgery.starts_with(start)) {
        _ if instead => "P11",
        _ if of_encoding => "P4",
        Some((_, row)) => row,
        // The number of parts, several proofs, quotes and the like.
        None => {
            assert!(!["kid", "jku", "x5u", "x5c"].contains(&first), "{forgery}");
            "P2"
        }
    }
}

/// How a server may refuse a forgery.
fn replies(forgery: &str, algorithm: Algorithm) -> &'static [Reply<'static>] {
    let changed: &[&str] = match algorithm {
        // About half of all numbers are a point of the curve.
        Algorithm::EdDSA => &["jwk with x "],
        Algorithm::PS256 => &["jwk with n ", "jwk with e "],
        _ => &[],
    };
    match forgery {
        // A usable key that is not that of the token, as in row S3.
        "jwk of another key" => &[Reply::DpopToken],
        // The same, if the changed number is that of a usable key.
        _ if changed.iter().any(|start| forgery.starts_with(start)) => &[Reply::Proof, Reply::DpopToken],
        _ => &[Reply::Proof],
    }
}

/// P2 to P12, P14, and C1, C2, C3, C6, C7, C8.
///
/// RFC 9449 §4.3 a (MUST, refuses)
/// MCP 12 (MUST, refuses)
#[tokio::test]
async fn every_forged_proof_is_refused_as_its_row_says() {
    let mut tried = BTreeMap::<_, usize>::new();
    for algorithm in ALGORITHMS {
        let key = ProofKey::with_algorithm(algorithm);
        let Some(client) = Bound::with_key(key, &[]).await else { return };
        // While the forgeries are made, this thread does not serve the key set of the issuer: the program must have it.
        client.must("a proof without a defect", &client.proof().sign(), Reply::Ok).await;
        for forgery in client.proof().forgeries() {
            let row = row(forgery.name());
            *tried.entry(row).or_default() += 1;
            let response = client.present(forgery.proof()).await;
            let is_of_another_key = response.description() == "The access token is bound to another key";
            let replies = replies(forgery.name(), algorithm);
            let reply = if is_of_another_key { replies[replies.len() - 1] } else { replies[0] };
            must_be(&response, reply, &format!("{row}: {algorithm}: {forgery}"));
        }
    }
    for row in [
        "P2", "P3", "P4", "P5", "P6", "P6, P7", "P8", "P9", "P10", "P11", "P12", "P14", "C1", "C2", "C3", "C6", "C7",
        "C8",
    ] {
        assert!(tried.get(row).is_some_and(|count| *count >= 2 * ALGORITHMS.len() || row == "P14"), "{row}: {tried:?}");
    }
}

/// P5, P8, P11, P13, C4, C7, C8 and C9.
///
/// RFC 9449 §4.3 a (MUST, accepts)
/// RFC 9449 §4.2 (MAY, accepts)
#[tokio::test]
async fn every_unusual_proof_without_a_defect_is_accepted() {
    for algorithm in ALGORITHMS {
        let key = ProofKey::with_algorithm(algorithm);
        let Some(client) = Bound::with_key(key, &[]).await else { return };
        client.must("a usual proof", &client.proof().sign(), Reply::Ok).await;
        let variants = client.proof().good_variants();
        for (row, start, least) in [
            ("P5", "typ ", 4),
            ("P8", "jwk with ", 5),
            ("P11", "jku beside", 1),
            ("P13", "unknown", 2),
            ("C4", "htu ", 10),
            ("C7", "iat with a fraction", 1),
            ("C8", "exp ", 1),
            ("C9", "a nonce", 1),
        ] {
            let found = variants.iter().filter(|variant| variant.name().starts_with(start)).count();
            assert!(found >= least, "{row}: {found}");
        }
        for variant in variants {
            client.must(&format!("{algorithm}: {variant}"), variant.proof(), Reply::Ok).await;
        }
    }
}

/// RFC 9449 §4.1 (MUST, refuses)
#[tokio::test]
async fn p1_and_p2_a_request_needs_exactly_one_proof() {
    let Some(client) = Bound::start(&[]).await else { return };
    let authorization = || ("Authorization", client.dpop());
    let good = || client.proof().sign();
    let proof = |value: String| ("DPoP", value);
    let one = good();
    let [header, claims, signature] = one.split('.').collect::<Vec<_>>()[..] else { panic!("{one}") };
    let with = |value: String| vec![authorization(), proof(value)];
    let rows = vec![
        Row("P1", "no proof", vec![authorization()], Reply::Proof),
        Row("P2", "the same proof twice", vec![authorization(), proof(one.clone()), proof(one.clone())], Reply::Proof),
        Row("P2", "two good proofs", vec![authorization(), proof(good()), proof(good())], Reply::Proof),
        Row(
            "P2",
            "a good proof, then a bad one",
            vec![authorization(), proof(good()), proof("x".into())],
            Reply::Proof,
        ),
        Row(
            "P2",
            "a bad proof, then a good one",
            vec![authorization(), proof("x".into()), proof(good())],
            Reply::Proof,
        ),
        Row(
            "P2",
            "an empty one, then a good one",
            vec![authorization(), proof(String::new()), proof(good())],
            Reply::Proof,
        ),
        Row("P2", "two with names in other case", vec![authorization(), proof(good()), ("dpop", good())], Reply::Proof),
        Row("P2", "a list", with(format!("{}, {}", good(), good())), Reply::Proof),
        Row("P2", "a list without space", with(format!("{},{}", good(), good())), Reply::Proof),
        Row("P2", "a list with an empty member", with(format!("{},", good())), Reply::Proof),
        Row("P2", "empty", with(String::new()), Reply::Proof),
        Row("P2", "a space inside", with(one.replacen('.', ". ", 1)), Reply::Proof),
        Row("P2", "a tab inside", with(one.replacen('.', "\t.", 1)), Reply::Proof),
        Row("P2", "text after it", with(format!("{one} x")), Reply::Proof),
        Row("P2", "four parts", with(format!("{one}.{signature}")), Reply::Proof),
        Row("P2", "two parts", with(format!("{header}.{claims}")), Reply::Proof),
        Row("P2", "one part", with(header.to_owned()), Reply::Proof),
        Row(
            "P2",
            "five parts, as a JWE",
            with(format!("{header}.{claims}.{claims}.{claims}.{signature}")),
            Reply::Proof,
        ),
        Row("P2", "unsecured", with(format!("{header}.{claims}.")), Reply::Proof),
        Row("P2", "in quotes", with(format!("\"{one}\"")), Reply::Proof),
        Row("P2", "with its scheme", with(format!("DPoP {one}")), Reply::Proof),
        Row(
            "P2",
            "the proof as the token's parameter",
            vec![("Authorization", format!("{}, {one}", client.dpop()))],
            Reply::DpopRequest,
        ),
        Row("P2", "no defect, and none of these used it up", with(one.clone()), Reply::Ok),
        Row("P2", "the name in lower case", vec![authorization(), ("dpop", good())], Reply::Ok),
    ];
    client.check(rows).await;
    let bytes = [good().as_bytes(), b"\xff"].concat();
    let headers = [("Authorization", client.dpop().into_bytes()), ("DPoP", bytes)];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
    must_be(&client.api.send_bytes("GET", "/orders", &headers).await, Reply::Proof, "P2: a byte that is no text");
}

#[tokio::test]
async fn p3_a_proof_has_at_most_8_kib() {
    let Some(client) = Bound::start(&[]).await else { return };
    let length = |filling: usize| client.proof().claim("z", "z".repeat(filling)).sign().len();
    // Base64url makes four characters of three bytes.
    let filling = (5_500..6_000).find(|filling| length(*filling) > 8 * 1024).unwrap();
    let with = |filling: usize| client.proof().claim("z", "z".repeat(filling)).sign();
    client.must("P3: 8 KiB", &with(filling - 1), Reply::Ok).await;
    client.must("P3: more than 8 KiB", &with(filling), Reply::Proof).await;
    client.must("P3: 64 KiB", &with(48 * 1024), Reply::Proof).await;
    client.must("C1: a jti of 512 bytes", &client.proof().jwt_id(&"j".repeat(512)).sign(), Reply::Ok).await;
    client.must("C1: a jti of 513 bytes", &client.proof().jwt_id(&"j".repeat(513)).sign(), Reply::Proof).await;
}

/// P6, P7
///
/// RFC 9449 §4.3 a (MUST, refuses)
#[tokio::test]
async fn a_proof_may_have_only_an_algorithm_of_the_list() {
    let settings = [("OAUTH_DPOP_ALGS", "ES384 PS256")];
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::ES512, Algorithm::ES384] {
        let key = ProofKey::with_algorithm(algorithm);
        let Some(client) = Bound::with_key(key, &settings).await else { return };
        let reply = if algorithm == Algorithm::ES384 { Reply::Ok } else { Reply::Proof };
        client.must(&format!("P6: {algorithm}"), &client.proof().sign(), reply).await;
    }
    // The key fits into the list, the proof's algorithm does not.
    let Some(client) = Bound::with_key(ProofKey::with_algorithm(Algorithm::RS256), &settings).await else { return };
    client.must("P6: RS256", &client.proof().sign(), Reply::Proof).await;
}

/// RFC 9449 §4.2 (MAY, refuses)
#[tokio::test]
async fn p11_nothing_is_fetched_for_a_proof() {
    let Some(client) = Bound::start(&[]).await else { return };
    let listener = FakeIssuer::start().await;
    listener.publish_raw(vec![client.key.jwk()]);
    let urls = [listener.jwks_uri(), format!("{}/certificate.pem", listener.identifier)];
    for (name, value) in [
        ("jku", json!(urls[0])),
        ("x5u", json!(urls[1])),
        ("x5c", json!(["MAA="])),
        ("kid", json!(client.key.thumbprint())),
    ] {
        let beside = client.proof().header(name, value.clone());
        client.must(&format!("P11: {name} beside jwk"), &beside.sign(), Reply::Ok).await;
        let instead = client.proof().without_header("jwk").header(name, value);
        client.must(&format!("P11: {name} instead of jwk"), &instead.sign(), Reply::Proof).await;
    }
    // Within the key, too.
    let mut jwk = client.key.jwk();
    jwk["x5u"] = json!(urls[1]);
    client.must("P11: x5u within jwk", &client.proof().header("jwk", jwk).sign(), Reply::Ok).await;
    assert_eq!(listener.requests(), [""; 0]);
}

#[tokio::test]
async fn p14_other_tokens_are_no_proofs_and_a_proof_is_no_access_token() {
    let Some(client) = Bound::start(&[]).await else { return };
    let signer = client.api.issuer.signer(Algorithm::ES256);
    let id_token = signer.token("ada").audience("app").header("typ", "JWT").claim("nonce", "n").sign();
    let logout_token = signer.token("ada").audience("app").header("typ", "logout+jwt");
    let events = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let with_parts_of_proof = client.api.token().header("jwk", client.key.jwk()).claim("htm", "GET");
    let of_client = |typ: &str| {
        let assertion = client.proof().header("typ", typ).claim("iss", "app").claim("sub", "app");
        assertion.claim("aud", client.api.issuer.identifier.clone()).sign()
    };
    for (what, token) in [
        ("the access token", client.token.clone()),
        ("another access token", client.api.token().sign()),
        ("an access token with parts of a proof", with_parts_of_proof.sign()),
        ("an ID token", id_token),
        ("a logout token", logout_token.claim("events", events).sign()),
        ("a client assertion (RFC 7523)", of_client("JWT")),
        ("a client assertion with its own type", of_client("client-authentication+jwt")),
    ] {
        client.must(&format!("P14: {what} as proof"), &token, Reply::Proof).await;
    }
    // With the claims of an access token, signed with the client's key.
    let proof = client.proof();
    let claims = ["iss", "aud", "sub", "client_id", "exp"].into_iter();
    let values =
        [json!(client.api.issuer.identifier), json!("https://api.test"), json!("ada"), json!("app"), json!(4e9)];
    let proof = claims.zip(values).fold(proof, |proof, (name, value)| proof.claim(name, value)).sign();
    let good = client.proof().sign();
    client
        .check(vec![
            Row(
                "P14",
                "a proof under DPoP",
                vec![("Authorization", format!("DPoP {proof}")), ("DPoP", good.clone())],
                Reply::DpopToken,
            ),
            Row("P14", "a proof under DPoP, alone", vec![("Authorization", format!("DPoP {proof}"))], Reply::DpopToken),
            Row(
                "P14",
                "a proof under Bearer",
                vec![("Authorization", format!("Bearer {proof}")), ("DPoP", good.clone())],
                Reply::BearerToken,
            ),
            Row(
                "P14",
                "the other proof is still good",
                vec![("Authorization", client.dpop()), ("DPoP", good)],
                Reply::Ok,
            ),
        ])
        .await;
}
