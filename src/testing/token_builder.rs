//! Signed tokens, valid ones and forged ones.
//!
//! *In*: an issuer's key, header and claims. *Out*: tokens in compact form.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::{
    Forgery, MockIssuer, ProofKey,
    encode::b64,
    forgeries,
    proof_key::{object, with_confirmation},
};
use crate::{
    claims::NumericDate,
    jws::{self, Algorithm, HmacAlgorithm, SigningKey},
    keys::PrivateKey,
};

/// Builder for a signed token. Unchanged, the token of [`MockIssuer::token`] is valid by RFC 9068.
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

    /// Sets `aud`.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// Sets `scope`: names separated by spaces.
    pub fn scope(self, scopes: &str) -> Self {
        self.claim("scope", scopes)
    }

    /// Sets `client_id`.
    pub fn client_id(self, client: &str) -> Self {
        self.claim("client_id", client)
    }

    /// Sets `exp` to this time after now.
    pub fn expires_in(self, lifetime: Duration) -> Self {
        let expires = seconds(self.now + lifetime);
        self.claim("exp", expires)
    }

    /// Binds the token to the key of a client: sets `cnf.jkt` (RFC 9449 §6.1). Such a token needs a proof in each request.
    pub fn bound_to(self, key: &ProofKey) -> Self {
        self.confirmation("jkt", key.thumbprint())
    }

    /// Binds the token to a client's certificate in DER: sets `cnf["x5t#S256"]` (RFC 8705 §3.1). A token can be bound to a key as
    /// well; then the sender must have both.
    pub fn bound_to_certificate(self, der: &[u8]) -> Self {
        self.confirmation("x5t#S256", b64(jws::sha256([der])))
    }

    fn confirmation(self, member: &str, thumbprint: String) -> Self {
        let cnf = with_confirmation(&self.claims, member, thumbprint);
        self.claim("cnf", cnf)
    }

    /// Sets a claim, of any type.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a member of the header, of any type.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a member of the header.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Returns the signed token.
    #[must_use]
    pub fn sign(&self) -> String {
        self.sign_raw(self.header_json(), self.claims_json())
    }

    /// Returns the token, signed with another issuer's key.
    #[must_use]
    pub fn sign_with(&self, other: &MockIssuer) -> String {
        sign(other.key(), other.algorithm(), self.header_json(), self.claims_json())
    }

    /// Returns the claims, signed with a private key whose `kid` is in the header.
    ///
    /// # Panics
    /// Never: a private key is checked when it is loaded.
    #[must_use]
    pub fn sign_with_key(&self, key: &PrivateKey) -> String {
        key.sign_jws("at+jwt", &self.claims).expect("a private key can sign")
    }

    /// Returns a token with these texts as header and payload, and with a valid signature.
    #[must_use]
    pub fn sign_raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        sign(self.issuer.key(), self.issuer.algorithm(), header, payload)
    }

    /// Returns the token with an HMAC of `secret`, and the matching `alg`.
    #[must_use]
    pub fn sign_hmac(&self, algorithm: HmacAlgorithm, secret: &[u8]) -> String {
        let header = self.clone().header("alg", algorithm.as_str()).header_json();
        let signed = format!("{}.{}", b64(header), b64(self.claims_json()));
        let signature = jws::sign_hmac(algorithm, secret, signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    /// Returns this token with every known defect, one per token. An API must refuse each with 400 or 401.
    #[must_use]
    pub fn forgeries(&self) -> Vec<Forgery> {
        forgeries::all(self)
    }

    /// Returns the header as JSON.
    #[must_use]
    pub fn header_json(&self) -> String {
        Value::Object(self.header.clone()).to_string()
    }

    /// Returns the claims as JSON.
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

/// Returns the compact form of a JWS with these texts as header and payload.
pub(super) fn sign(
    key: &SigningKey,
    algorithm: Algorithm,
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let signature = key.sign(algorithm, signed.as_bytes()).expect("a generated key can sign");
    format!("{signed}.{}", b64(signature))
}
