//! Helpers for the tests on keys: a key for each algorithm, and functions that verify a token with a key set.

use std::task::{Context, Poll, Waker};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use serde_json::{Value, json};
use tower_oauth::{
    Issuer, JwtVerifier, ResourceServer, Token,
    error::AuthErrorKind,
    keys::{Algorithm, KeySet},
    testing::MockIssuer,
    verify::Verify,
};

use crate::support::{API, ISSUER};

/// An issuer with the identifier [`ISSUER`] that signs with the test key for `algorithm`.
pub(crate) fn issuer_of(algorithm: Algorithm) -> MockIssuer {
    MockIssuer::new(ISSUER).with_algorithm(algorithm)
}

pub(crate) fn token_of(algorithm: Algorithm) -> String {
    issuer_of(algorithm).token("ada").sign()
}

/// The public key of [`issuer_of`]. Tests change it to make it invalid.
pub(crate) fn jwk_of(algorithm: Algorithm) -> Value {
    issuer_of(algorithm).jwk()
}

pub(crate) fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
    jwk[member] = value.into();
    jwk
}

pub(crate) fn without(mut jwk: Value, member: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(member).unwrap();
    jwk
}

pub(crate) fn set(keys: impl IntoIterator<Item = Value>) -> KeySet {
    let keys: Vec<Value> = keys.into_iter().collect();
    KeySet::from_json(json!({ "keys": keys }).to_string()).unwrap()
}

pub(crate) fn verifier(keys: KeySet) -> JwtVerifier {
    JwtVerifier::new(Issuer::from_keys(ISSUER, keys).unwrap(), API).unwrap()
}

/// The verdict on a request with `Authorization: Bearer <token>`.
pub(crate) fn authenticate(verifier: impl Verify, token: &str) -> Result<Token, AuthErrorKind> {
    authenticate_value(verifier, &format!("Bearer {token}"))
}

pub(crate) fn authenticate_value(verifier: impl Verify, authorization: &str) -> Result<Token, AuthErrorKind> {
    let request = Request::get("/").header("authorization", authorization).body(()).unwrap();
    let server = ResourceServer::new(verifier);
    authenticate_parts(&server, &request.into_parts().0)
}

/// Polls only once: with keys in memory, the verifier never waits.
pub(crate) fn authenticate_parts(
    server: &ResourceServer,
    parts: &http::request::Parts,
) -> Result<Token, AuthErrorKind> {
    let verdict = std::pin::pin!(server.authenticate(parts));
    match verdict.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict.map_err(|error| error.kind()),
        Poll::Pending => panic!("the verifier waited although the keys are in memory"),
    }
}

pub(crate) fn accepts(keys: KeySet, token: &str) -> bool {
    match authenticate(verifier(keys), token) {
        Ok(token) => token.subject() == Some("ada"),
        Err(AuthErrorKind::InvalidToken) => false,
        Err(other) => panic!("the verifier neither accepted the token nor refused it as invalid_token: {other:?}"),
    }
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unb64(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

/// An odd number of exactly `bits` bits.
pub(crate) fn odd_number(bits: usize) -> Vec<u8> {
    let mut number = vec![0xa5; bits.div_ceil(8)];
    let top = (bits - 1) % 8;
    number[0] = 1 << top | (number[0] & ((1 << top) - 1));
    *number.last_mut().unwrap() |= 1;
    number
}

pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Value {
    json!({"kty": "RSA", "n": b64(modulus), "e": b64(exponent)})
}
