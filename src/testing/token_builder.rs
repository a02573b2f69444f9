//! Tokens, good ones and bent ones.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::{Forgery, MockIssuer, encode::b64, forgeries};
use crate::{
    claims::NumericDate,
    jws::{self, Algorithm, HmacAlgorithm, SigningKey},
    keys::PrivateKey,
};

/// A token in the making. As it comes from [`MockIssuer::token`], it is a good one by RFC 9068.
#[derive(Debug, Clone)]
#[must_use]
pub struct TokenBuilder {
    issuer: MockIssuer,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    now: SystemTime,
}

impl TokenBuilder {
    pub(super) fn new(issuer: &MockIssuer, now: SystemTime, subject: &str, client: &str) -> Self {
        let object = |value| match value {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let header = json!({"alg": issuer.algorithm().as_str(), "kid": issuer.key_id(), "typ": "at+jwt"});
        let claims = json!({
            "iss": issuer.identifier(),
            "sub": subject,
            "aud": "https://api.test",
            "client_id": client,
            "iat": seconds(now),
            "exp": seconds(now) + 300,
            "jti": format!("jti-{subject}-{}", seconds(now)),
        });
        Self { issuer: issuer.clone(), header: object(header), claims: object(claims), now }
    }

    /// `aud`.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// `scope`: names separated by spaces.
    pub fn scope(self, scopes: &str) -> Self {
        self.claim("scope", scopes)
    }

    /// `client_id`.
    pub fn client_id(self, client: &str) -> Self {
        self.claim("client_id", client)
    }

    /// `exp`, counted from now.
    pub fn expires_in(self, lifetime: Duration) -> Self {
        let expires = seconds(self.now + lifetime);
        self.claim("exp", expires)
    }

    /// Any claim, of any type.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Any member of the header, of any type.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a member of the header out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// The token.
    #[must_use]
    pub fn sign(&self) -> String {
        self.sign_raw(self.header_json(), self.claims_json())
    }

    /// The token, signed with another issuer's key.
    #[must_use]
    pub fn sign_with(&self, other: &MockIssuer) -> String {
        sign(other.key(), other.algorithm(), self.header_json(), self.claims_json())
    }

    /// The claims, signed with a key of your own, under a header that names it.
    ///
    /// # Panics
    /// Never: a private key was tried when it was loaded.
    #[must_use]
    pub fn sign_with_key(&self, key: &PrivateKey) -> String {
        key.sign_jws("at+jwt", &self.claims).expect("a private key can sign")
    }

    /// Any two texts as header and payload, under a genuine signature.
    #[must_use]
    pub fn sign_raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        sign(self.issuer.key(), self.issuer.algorithm(), header, payload)
    }

    /// The token under an HMAC of `secret`; `alg` says so.
    #[must_use]
    pub fn sign_hmac(&self, algorithm: HmacAlgorithm, secret: &[u8]) -> String {
        let header = self.clone().header("alg", format!("{algorithm:?}")).header_json();
        let signed = format!("{}.{}", b64(header), b64(self.claims_json()));
        let signature = jws::sign_hmac(algorithm, secret, signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    /// This token with every defect that we know of, one at a time. Each must be refused with 400 or 401.
    #[must_use]
    pub fn forgeries(&self) -> Vec<Forgery> {
        forgeries::all(self)
    }

    /// The header as JSON.
    #[must_use]
    pub fn header_json(&self) -> String {
        Value::Object(self.header.clone()).to_string()
    }

    /// The claims as JSON.
    #[must_use]
    pub fn claims_json(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }

    pub(super) fn issuer(&self) -> &MockIssuer {
        &self.issuer
    }

    pub(super) fn now(&self) -> i64 {
        seconds(self.now)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a date of our own clock")]
fn seconds(time: SystemTime) -> i64 {
    NumericDate::of(time).0 as i64
}

fn sign(key: &SigningKey, algorithm: Algorithm, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let signature = key.sign(algorithm, signed.as_bytes()).expect("a generated key can sign");
    format!("{signed}.{}", b64(signature))
}
