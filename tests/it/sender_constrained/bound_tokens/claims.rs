//! Rows C1 to C9: the claims of a proof. `proofs` has the forged ones.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA512, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{Bound, must_be, served::Served};
use crate::programs::protected_api::sender_fixture::Reply;

/// RFC 9449 §4.3 b (MUST, accepts and refuses)
#[tokio::test]
async fn c2_the_method_is_that_of_the_wire() {
    let Some(client) = Bound::start(&[]).await else { return };
    for (method, htm, reply) in [
        ("GET", "GET", Reply::Ok),
        ("GET", "HEAD", Reply::Proof),
        ("GET", "POST", Reply::Proof),
        ("GET", "get", Reply::Proof),
        ("GET", "Get", Reply::Proof),
        ("GET", "GET ", Reply::Proof),
        ("GET", " GET", Reply::Proof),
        // axum runs the handler of GET.
        ("HEAD", "GET", Reply::Proof),
        ("HEAD", "HEAD", Reply::Ok),
        ("POST", "GET", Reply::Proof),
        ("POST", "post", Reply::Proof),
        ("POST", "POST", Reply::Ok),
    ] {
        let proof = client.proof_for(htm, "/orders").sign();
        let response = client.api.present(method, "/orders", &client.token, &proof).await;
        must_be(&response, reply, &format!("C2: {method} with htm {htm:?}"));
    }
    // A header that some frameworks read as the method.
    let proof = client.proof_for("POST", "/orders").sign();
    let headers = [("Authorization", &*client.dpop()), ("DPoP", &proof), ("X-HTTP-Method-Override", "POST")];
    must_be(&client.api.send("GET", "/orders", &headers).await, Reply::Proof, "C2: a header with another method");
}

/// RFC 9449 §4.3 f (MUST, refuses)
#[tokio::test]
async fn c6_ath_is_the_hash_of_this_token() {
    let Some(client) = Bound::start(&[]).await else { return };
    let other = client.api.token().scope("orders:read").bound_to(&client.key).sign();
    client.must("C6: another token of the same key", &client.proof().token(&other).sign(), Reply::Proof).await;
    let newline = format!("{}\n", client.token);
    client.must("C6: the token and a newline", &client.proof().token(&newline).sign(), Reply::Proof).await;
    let scheme = client.dpop();
    client.must("C6: the header's value", &client.proof().token(&scheme).sign(), Reply::Proof).await;
    let sha512 = digest(&SHA512, client.token.as_bytes());
    for hash in [sha512.as_ref(), &sha512.as_ref()[..32]] {
        let proof = client.proof().claim("ath", URL_SAFE_NO_PAD.encode(hash)).sign();
        client.must("C6: SHA-512", &proof, Reply::Proof).await;
    }
    client.must("C6: none", &client.proof().without_claim("ath").sign(), Reply::Proof).await;
    client.must("C6: its own", &client.proof().sign(), Reply::Ok).await;
}

/// With the machine's clock, so the exact limits are in the next test.
///
/// RFC 9449 §4.3 e (MUST, refuses)
#[tokio::test]
async fn c7_and_c8_the_time_of_a_proof() {
    let Some(client) = Bound::start(&[]).await else { return };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seconds = i64::try_from(now.as_secs()).unwrap();
    for (row, claim, value, reply) in [
        ("C7: 50 s old", "iat", json!(seconds - 50), Reply::Ok),
        ("C7: 70 s old", "iat", json!(seconds - 70), Reply::Proof),
        ("C7: 20 s ahead", "iat", json!(seconds + 20), Reply::Ok),
        ("C7: 40 s ahead", "iat", json!(seconds + 40), Reply::Proof),
        ("C7: with a fraction", "iat", json!(now.as_secs_f64()), Reply::Ok),
        ("C7: negative", "iat", json!(-seconds), Reply::Proof),
        ("C7: 0", "iat", json!(0), Reply::Proof),
        ("C7: a string", "iat", json!(seconds.to_string()), Reply::Proof),
        ("C7: milliseconds", "iat", json!(seconds * 1000), Reply::Proof),
        ("C8: exp ahead", "exp", json!(seconds + 10), Reply::Ok),
        ("C8: exp past", "exp", json!(seconds - 1), Reply::Proof),
        ("C8: nbf past", "nbf", json!(seconds - 10), Reply::Ok),
        ("C8: nbf 20 s ahead", "nbf", json!(seconds + 20), Reply::Ok),
        ("C8: nbf 40 s ahead", "nbf", json!(seconds + 40), Reply::Proof),
    ] {
        client.must(row, &client.proof().claim(claim, value).sign(), reply).await;
    }
    let claims = client.proof().without_claim("iat").claims_json();
    for number in ["1e400", "-1e400", "NaN"] {
        let claims = claims.replacen('{', &format!("{{\"iat\":{number},"), 1);
        let proof = client.proof().sign_raw(client.proof().header_json(), claims);
        client.must(&format!("C7: {number}"), &proof, Reply::Proof).await;
    }
}

/// In process, with a clock that the test moves.
///
/// RFC 9449 §4.3 e (MUST, accepts)
#[tokio::test]
async fn c7_and_c8_the_exact_limits_of_the_time() {
    let client = Served::new();
    let address = client.start(client.dpop()).await;
    let now = 1_800_000_000_i64;
    for (row, claim, value, reply) in [
        ("C7: 60 s old", "iat", json!(now - 60), Reply::Ok),
        ("C7: 60.5 s old", "iat", json!(1_799_999_939.5), Reply::Proof),
        ("C7: 61 s old", "iat", json!(now - 61), Reply::Proof),
        ("C7: 30 s ahead", "iat", json!(now + 30), Reply::Ok),
        ("C7: 30.5 s ahead", "iat", json!(1_800_000_030.5), Reply::Proof),
        ("C7: 31 s ahead", "iat", json!(now + 31), Reply::Proof),
        ("C8: exp in a second", "exp", json!(now + 1), Reply::Ok),
        ("C8: exp now", "exp", json!(now), Reply::Proof),
        ("C8: nbf 30 s ahead", "nbf", json!(now + 30), Reply::Ok),
        ("C8: nbf 31 s ahead", "nbf", json!(now + 31), Reply::Proof),
    ] {
        let proof = client.proof("/orders").claim(claim, value).sign();
        must_be(&client.present(address, "/orders", &proof).await, reply, row);
    }
    client.clock.advance(Duration::from_secs(1));
    let proof = client.proof("/orders").claim("iat", now - 60).sign();
    must_be(&client.present(address, "/orders", &proof).await, Reply::Proof, "C7: the clock has moved");
}

#[tokio::test]
async fn c9_a_nonce_is_ignored_if_nonces_are_off() {
    let Some(client) = Bound::start(&[]).await else { return };
    for nonce in ["of-another-server", ""] {
        client.must(&format!("C9: {nonce:?}"), &client.proof().nonce(nonce).sign(), Reply::Ok).await;
    }
    let old = client.proof().nonce("n").claim("iat", 1).sign();
    client.must("C9: a nonce does not replace iat", &old, Reply::Proof).await;
}
