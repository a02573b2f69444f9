//! Rows S13 to S16: tokens that the issuer introspects.

use serde_json::{Value, json};
use tower_oauth::testing::ProofKey;

use super::{Bound, must_be};
use crate::{
    fake_issuer::Answer,
    programs::protected_api::sender_fixture::{Reply, proof},
    support::API,
};

const CLIENT: [(&str, &str); 2] = [("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "secret")];

fn in_mode<'s>(name: &'s str, more: &[(&'s str, &'s str)]) -> Vec<(&'s str, &'s str)> {
    [&CLIENT[..], &[("OAUTH_MODE", name)], more].concat()
}

impl Bound {
    /// Lets the issuer's introspection endpoint return these members beside the usual ones for the token.
    fn introspected(&self, token: &str, more: &Value) {
        let mut response = json!({
            "active": true, "sub": "ada", "client_id": "app", "aud": API, "scope": "orders:read orders:write",
            "iss": self.api.issuer.identifier,
        });
        for (name, value) in more.as_object().unwrap() {
            response[name] = value.clone();
        }
        self.api.issuer.introspection_of(token, Answer::Body(response.to_string()));
    }

    /// `GET /orders` with the token: under DPoP with a good proof, under DPoP without a proof, and under Bearer.
    async fn replies(&self, row: &str, token: &str, expected: [Reply<'static>; 3]) {
        let [with_proof, without_proof, bearer] = expected;
        let proof = proof(&self.key, "GET", "/orders", token).sign();
        let response = self.api.present("GET", "/orders", token, &proof).await;
        must_be(&response, with_proof, &format!("{row}: under DPoP"));
        let response = self.api.send("GET", "/orders", &[("Authorization", &format!("DPoP {token}"))]).await;
        must_be(&response, without_proof, &format!("{row}: under DPoP, without a proof"));
        let response = self.api.send("GET", "/orders", &[("Authorization", &format!("Bearer {token}"))]).await;
        must_be(&response, bearer, &format!("{row}: under Bearer"));
    }
}

const BOUND: [Reply<'static>; 3] = [Reply::Ok, Reply::Proof, Reply::BearerToken];
const REFUSED: [Reply<'static>; 3] = [Reply::DpopToken, Reply::DpopToken, Reply::BearerToken];
const UNBOUND: [Reply<'static>; 3] = [Reply::DpopToken, Reply::DpopToken, Reply::Ok];

/// RFC 9449 §6.2 b (MUST, accepts)
#[tokio::test]
async fn s13_and_s14_cnf_and_token_type_of_an_introspected_token() {
    for name in ["introspection", "mixed"] {
        // Each response is used, whether it is cached or not.
        for seconds in ["0", "30"] {
            let settings = in_mode(name, &[("OAUTH_INTROSPECTION_CACHE_SECONDS", seconds)]);
            let Some(client) = Bound::start(&settings).await else { return };
            let cnf = json!({"jkt": client.key.thumbprint()});
            let x5t = json!({"x5t#S256": "A".repeat(43)});
            for (number, (row, more, expected)) in [
                ("S13: DPoP without cnf", json!({"token_type": "DPoP"}), REFUSED),
                ("S13: dpop without cnf", json!({"token_type": "dpop"}), REFUSED),
                ("S13: DPoP with another cnf", json!({"token_type": "DPoP", "cnf": x5t}), REFUSED),
                ("S13: DPoP with an empty cnf", json!({"token_type": "DPoP", "cnf": {}}), REFUSED),
                ("S13: DPoP with cnf null", json!({"token_type": "DPoP", "cnf": null}), REFUSED),
                ("S14: Bearer with cnf", json!({"token_type": "Bearer", "cnf": cnf}), BOUND),
                ("S14: bearer with cnf", json!({"token_type": "bearer", "cnf": cnf}), BOUND),
                ("S14: no type, with cnf", json!({"cnf": cnf}), BOUND),
                ("DPoP with cnf", json!({"token_type": "DPoP", "cnf": cnf}), BOUND),
                (
                    "S9: a member that is not known",
                    json!({"cnf": {"jkt": client.key.thumbprint(), "kid": "a"}}),
                    REFUSED,
                ),
                ("Bearer without cnf", json!({"token_type": "Bearer"}), UNBOUND),
                ("neither", json!({}), UNBOUND),
            ]
            .into_iter()
            .enumerate()
            {
                let token = format!("opaque-{number}");
                client.introspected(&token, &more);
                client.replies(&format!("{name}, {seconds} s: {row}"), &token, expected).await;
            }
            client.replies("an inactive token", "inactive", REFUSED).await;
        }
    }
}

/// RFC 9449 §6.2 b (MUST, refuses)
#[tokio::test]
async fn s15_a_jwt_that_is_introspected_too_must_have_the_same_confirmation() {
    let settings = in_mode("mixed", &[("OAUTH_ALWAYS_ASK", "1")]);
    let Some(client) = Bound::start(&settings).await else { return };
    let other = ProofKey::new();
    let (own, of_other) = (json!({"jkt": client.key.thumbprint()}), json!({"jkt": other.thumbprint()}));
    let with_certificate = json!({"jkt": client.key.thumbprint(), "x5t#S256": "A".repeat(43)});
    for (row, more, expected) in [
        ("the same", json!({"cnf": own}), BOUND),
        ("the same, and the type", json!({"cnf": own, "token_type": "DPoP"}), BOUND),
        ("none", json!({}), REFUSED),
        ("null", json!({"cnf": null}), REFUSED),
        ("another", json!({"cnf": of_other}), REFUSED),
        ("one more member", json!({"cnf": with_certificate}), REFUSED),
        ("none, but the type", json!({"token_type": "DPoP"}), REFUSED),
    ] {
        let token = client.api.token().claim("jti", row).bound_to(&client.key).sign();
        client.introspected(&token, &more);
        client.replies(&format!("S15: {row}"), &token, expected).await;
    }
    // The response binds a JWT that is not bound by itself.
    let token = client.api.token().sign();
    client.introspected(&token, &json!({"cnf": own}));
    client.replies("S15: only in the response", &token, BOUND).await;
    let token = client.api.token().claim("jti", "unbound").sign();
    client.introspected(&token, &json!({}));
    client.replies("S15: unbound", &token, UNBOUND).await;
}

/// Sender 1 (derived, refuses)
#[tokio::test]
async fn s16_a_hit_of_the_cache_needs_a_proof_like_every_request() {
    let settings = in_mode("introspection", &[("OAUTH_INTROSPECTION_CACHE_SECONDS", "300")]);
    let Some(client) = Bound::start(&settings).await else { return };
    let token = "opaque";
    client.introspected(token, &json!({"cnf": {"jkt": client.key.thumbprint()}}));
    let good = || proof(&client.key, "GET", "/orders", token).sign();
    let used = good();
    must_be(&client.api.present("GET", "/orders", token, &used).await, Reply::Ok, "S16: the first request");
    assert_eq!(client.api.issuer.introspection_count(), 1);
    let of_other = proof(&ProofKey::new(), "GET", "/orders", token).sign();
    let elsewhere = proof(&client.key, "GET", "/admin", token).sign();
    let of_other_token = proof(&client.key, "GET", "/orders", "another").sign();
    for (what, proof, reply) in [
        ("a bad proof", "x", Reply::Proof),
        ("a used proof", &*used, Reply::Proof),
        ("another key", &*of_other, Reply::DpopToken),
        ("another URL", &*elsewhere, Reply::Proof),
        ("another token", &*of_other_token, Reply::Proof),
        ("a good proof", &*good(), Reply::Ok),
    ] {
        must_be(&client.api.present("GET", "/orders", token, proof).await, reply, &format!("S16: {what}"));
    }
    let response = client.api.send("GET", "/orders", &[("Authorization", "DPoP opaque")]).await;
    must_be(&response, Reply::Proof, "S16: no proof");
    for more in [&[][..], &[("DPoP", &*good())]] {
        let response = client.api.send("GET", "/orders", &[&[("Authorization", "Bearer opaque")], more].concat()).await;
        must_be(&response, Reply::BearerToken, "S16: as Bearer");
    }
    assert_eq!(client.api.issuer.introspection_count(), 1, "S16: all were hits");
}
