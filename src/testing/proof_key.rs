//! The key of a client, and its DPoP proofs (RFC 9449 §4).
//!
//! *In*: method and URL of a request, and its access token. *Out*: a proof for the request's header `DPoP`.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};

use super::{
    ProofForgery, ProofVariant,
    encode::{self, b64, unb64},
    issuer::shared_key,
    proof_forgeries, token_builder,
};
use crate::{
    clock::{Clock, SystemClock},
    confirmation::encoded,
    jws::{Algorithm, SigningKey, random, sha256},
    keys::{public_members, thumbprint},
};

/// The private key of a client that uses DPoP. It makes the proofs of the client's requests (RFC 9449 §4).
///
/// [`TokenBuilder::bound_to`](super::TokenBuilder::bound_to) binds a token to the key. Each key is new: two keys are two clients.
///
/// ```
/// use tower_oauth::testing::{MockIssuer, ProofKey};
///
/// let key = ProofKey::new();
/// let token = MockIssuer::new("https://auth.test").token("ada").bound_to(&key).sign();
/// let proof = key.proof("GET", "https://api.test/orders").token(&token).sign();
/// let request = http::Request::get("/orders")
///     .header("authorization", format!("DPoP {token}"))
///     .header("dpop", proof)
///     .body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct ProofKey {
    algorithm: Algorithm,
    key: Arc<SigningKey>,
    clock: Arc<dyn Clock>,
}

impl ProofKey {
    /// Generates a key for ES256.
    ///
    /// # Panics
    /// The system returned no random bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_algorithm(Algorithm::ES256)
    }

    /// Generates a key for another algorithm. RSA keys have 2048 bits.
    ///
    /// # Panics
    /// This build cannot sign with the algorithm, or the system returned no random bytes.
    #[must_use]
    pub fn with_algorithm(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm).unwrap_or_else(|_| panic!("this build cannot sign with {algorithm}"));
        Self { algorithm, key: Arc::new(key), clock: Arc::new(SystemClock::new()) }
    }

    /// Returns the key of another client, for forged proofs. A process generates one per algorithm.
    pub(super) fn of_another_client(algorithm: Algorithm) -> Self {
        let key = shared_key("https://another-client.test", algorithm);
        Self { algorithm, key, clock: Arc::new(SystemClock::new()) }
    }

    /// Returns the key with another clock for the `iat` of its proofs.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Returns the algorithm of its signatures.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns its public key as a JWK, without optional members.
    #[must_use]
    pub fn jwk(&self) -> Value {
        public_members(&self.key.public())
    }

    /// Returns the thumbprint of its JWK in base64url (RFC 7638 §3.1): `cnf.jkt` of a token that is bound to the key.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        encoded(&thumbprint(&self.key.public()))
    }

    /// Returns a proof for a request with this method and URL, with a new `jti`. The proof's `htu` is the URL without query and
    /// fragment.
    ///
    /// # Panics
    /// The system returned no random bytes.
    pub fn proof(&self, method: &str, url: &str) -> ProofBuilder {
        let target = url.split(['?', '#']).next().unwrap_or_default();
        let header = json!({"typ": "dpop+jwt", "alg": self.algorithm.as_str(), "jwk": self.jwk()});
        let claims = json!({"jti": new_jwt_id(), "htm": method, "htu": target});
        let proof = ProofBuilder { key: self.clone(), header: object(header), claims: object(claims), token: None };
        proof.issued_at(self.clock.now())
    }

    /// Returns the public key in DER and in PEM (`SubjectPublicKeyInfo`).
    pub(super) fn spki(&self) -> (Vec<u8>, String) {
        encode::spki(&self.key.public())
    }

    /// Returns the order of the group of an ECDSA key.
    pub(super) fn group_order(&self) -> Option<Vec<u8>> {
        let order = match self.algorithm {
            Algorithm::ES256 => P256_ORDER,
            Algorithm::ES384 => P384_ORDER,
            Algorithm::ES512 => P521_ORDER,
            _ => return None,
        };
        Some(unb64(order))
    }

    /// Returns the compact form of a JWS with these texts as header and payload.
    fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        token_builder::sign(&self.key, self.algorithm, header, payload)
    }
}

impl Default for ProofKey {
    /// Like [`new`](Self::new).
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofKey")
            .field("algorithm", &self.algorithm)
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}

/// Builder for a DPoP proof. Unchanged, the proof of [`ProofKey::proof`] is valid by RFC 9449 §4.3 at a server that demands
/// neither an access token nor a nonce.
///
/// Each call of [`ProofKey::proof`] makes a proof of its own. [`sign`](Self::sign) returns the same `jti` each time, so the second
/// request with it is a replay.
#[derive(Debug, Clone)]
#[must_use]
pub struct ProofBuilder {
    key: ProofKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    token: Option<String>,
}

impl ProofBuilder {
    /// Sets the request's access token, whose hash is `ath` (RFC 9449 §4.2).
    pub fn token(self, token: &str) -> Self {
        let proof = self.claim("ath", token_hash(token.as_bytes()));
        Self { token: Some(token.to_owned()), ..proof }
    }

    /// Sets `nonce`: the text of the server's header `DPoP-Nonce` (RFC 9449 §8, §9).
    pub fn nonce(self, nonce: &str) -> Self {
        self.claim("nonce", nonce)
    }

    /// Sets `jti`. Default: 128 random bits.
    pub fn jwt_id(self, jti: &str) -> Self {
        self.claim("jti", jti)
    }

    /// Sets `iat`, in whole seconds. Default: the time at which [`ProofKey::proof`] was called.
    pub fn issued_at(self, time: SystemTime) -> Self {
        self.claim("iat", seconds(time))
    }

    /// Sets `iat` to the time of this clock. [`ProofKey::with_clock`] does so for all proofs of a key.
    #[expect(clippy::needless_pass_by_value, reason = "as every setter of a clock")]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.issued_at(clock.now())
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

    /// Returns the signed proof.
    #[must_use]
    pub fn sign(&self) -> String {
        self.sign_with(&self.key)
    }

    /// Returns the proof, signed with another key than the one in its header.
    #[must_use]
    pub fn sign_with(&self, other: &ProofKey) -> String {
        other.sign(self.header_json(), self.claims_json())
    }

    /// Returns a proof with these texts as header and payload, and with a valid signature.
    #[must_use]
    pub fn sign_raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.key.sign(header, payload)
    }

    /// Returns this proof with every known defect, one per proof, each with a `jti` of its own. A resource server must refuse each
    /// with 401, a token endpoint with 400 (RFC 9449 §5, §7.1).
    ///
    /// The proof must be good: set the access token and the nonce that the server requires. Without a token, as in a token
    /// request, no proof has a defect of `ath`; with a nonce, none has another time, which servers need not check then.
    ///
    /// A server may accept the URL with and without a slash at its end for a route at the root of a nested router.
    #[must_use]
    pub fn forgeries(&self) -> Vec<ProofForgery> {
        proof_forgeries::all(self)
    }

    /// Returns unusual forms of this proof without a defect, each with a `jti` of its own: other spellings of the URL (RFC 3986
    /// §6.2), further parameters and claims, and what widespread clients send. A server must accept each.
    #[must_use]
    pub fn good_variants(&self) -> Vec<ProofVariant> {
        proof_forgeries::all_variants(self)
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

    /// Returns the proof with a new `jti`.
    pub(super) fn renewed(&self) -> Self {
        self.clone().claim("jti", new_jwt_id())
    }

    pub(super) fn key(&self) -> &ProofKey {
        &self.key
    }

    pub(super) fn token_text(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(super) fn has_nonce(&self) -> bool {
        self.claims.contains_key("nonce")
    }

    /// Returns a claim that is text.
    pub(super) fn claim_text(&self, name: &str) -> &str {
        self.claims.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns `iat`.
    pub(super) fn issued(&self) -> i64 {
        self.claims.get("iat").and_then(Value::as_i64).unwrap_or_default()
    }
}

/// Returns `cnf` of a token with a further member (RFC 7800 §3.1).
pub(super) fn with_confirmation(claims: &Map<String, Value>, member: &str, thumbprint: String) -> Map<String, Value> {
    let mut cnf = claims.get("cnf").and_then(Value::as_object).cloned().unwrap_or_default();
    cnf.insert(member.to_owned(), thumbprint.into());
    cnf
}

/// Returns `ath` of a token (RFC 9449 §4.2).
pub(super) fn token_hash(token: &[u8]) -> String {
    b64(sha256([token]))
}

fn new_jwt_id() -> String {
    b64(random::<16>().expect("the system has random bytes"))
}

/// Returns the members of an object that `json!` has made.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
}

/// The orders of the groups (FIPS 186-5, SP 800-186), in base64url.
const P256_ORDER: &str = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE";
const P384_ORDER: &str = "________________________________x2NNgfQ3Ld9YGg2ySLCneuzsGWrMxSlz";
const P521_ORDER: &str = "Af__________________________________________-lGGh4O_L5Zrf8wBSPcJpdA7tcm4iZxHrrtvtx6ROGQJ";
