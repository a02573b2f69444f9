//! The checks of a DPoP proof, in their order (RFC 9449 §4.3).
//!
//! *In*: the headers of a request, and what the proof must be for. *Out*: the key that the client has proven, or what is wrong.
//!
//! Whether the proof was used before is *not* checked here.

use std::{iter, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{
    nonce::Nonces,
    proof::{ProofClaims, ProofHeader},
    replay::ReplayKey,
    target::without_query,
};
use crate::{
    clock::Clock,
    confirmation::Thumbprint,
    json::{AnyValue, Str},
    jws::{Algorithm, Compact, HeaderBuffer, sha256},
};

/// The header field of a proof (RFC 9449 §4.1).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The header field of a nonce (RFC 9449 §8).
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What every proof must fulfil.
#[derive(Debug)]
pub(crate) struct ProofRules {
    pub(crate) algorithms: Vec<Algorithm>,
    /// Maximum age of a proof without a nonce.
    pub(crate) max_age: Duration,
    /// If there are any, every proof must have one.
    pub(crate) nonces: Option<Nonces>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What the proof of one request must fulfil.
pub(crate) struct ExpectedProof<'e> {
    pub(crate) method: &'e Method,
    /// `jkt` of the token. `None` at the token endpoint: any key.
    pub(crate) key: Option<&'e Thumbprint>,
    /// The access token, for `ath`. `None` at the token endpoint: `ath` is ignored.
    pub(crate) token: Option<&'e [u8]>,
    /// True if this `htu` names the request's URL.
    pub(crate) is_target: &'e dyn Fn(&str) -> bool,
}

/// What a good proof has proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckedProof {
    pub(crate) key: Thumbprint,
    pub(crate) replay_key: ReplayKey,
    /// Unix seconds. The proof is not accepted from then on.
    pub(crate) expires_at: u64,
    /// The client used an old nonce: offer the current one.
    pub(crate) old_nonce: bool,
}

/// What is wrong with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProofDefect {
    /// There is no `DPoP` header.
    Missing,
    /// Anything that has no variant. The text is for logs, and contains nothing of the proof.
    NotGood(&'static str),
    /// A key that the token is not bound to.
    OtherKey,
    /// Another method or URL.
    OtherTarget,
    OtherTime,
    /// The hash of another access token.
    OtherToken,
    NonceRequired,
    /// The proof was used before. [`ProofRules::check`] never returns it.
    Replayed,
}

impl ProofRules {
    /// Finds the only proof of the request in its headers, and checks it. Whether it was used before is not checked.
    ///
    /// The order: what the header contains, the key, the signature, the claims. So a signature is only checked with a key that
    /// the authorization server has bound to the token.
    pub(crate) fn check(&self, headers: &HeaderMap, expected: &ExpectedProof<'_>) -> Result<CheckedProof, ProofDefect> {
        let jws =
            Compact::split(only_proof(headers)?).ok_or(ProofDefect::NotGood("it is not a JWS in compact form"))?;
        let mut buffer = HeaderBuffer::new();
        let header = jws.header_bytes(&mut buffer).ok_or(ProofDefect::NotGood("its header is not base64url"))?;
        let key = ProofHeader::parse(header).and_then(|header| header.key(&self.algorithms));
        let key = key.map_err(ProofDefect::NotGood)?;
        if expected.key.is_some_and(|thumbprint| *thumbprint != key.thumbprint) {
            return Err(ProofDefect::OtherKey);
        }
        if !jws.is_signed_by(iter::once(&key.verifying)) {
            return Err(ProofDefect::NotGood("its signature is not that of its jwk"));
        }
        let payload = jws.payload().ok_or(ProofDefect::NotGood("its claims are not base64url"))?;
        let claims = ProofClaims::parse(&payload).map_err(ProofDefect::NotGood)?;
        check_request(&claims, expected)?;
        let (expires_at, old_nonce) = self.check_time(&claims)?;
        Ok(CheckedProof {
            key: key.thumbprint,
            replay_key: replay_key(&key.thumbprint, &claims),
            expires_at,
            old_nonce,
        })
    }

    /// Returns the nonce to offer now. `None` if nonces are off.
    pub(crate) fn nonce(&self) -> Option<HeaderValue> {
        self.nonces.as_ref()?.current(self.now().as_secs())
    }

    /// Returns the names of the accepted algorithms, separated by spaces: `algs` of a challenge (RFC 9449 §7.1).
    pub(crate) fn algorithm_names(&self) -> String {
        let names: Vec<&str> = self.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        names.join(" ")
    }

    /// Checks the nonce or `iat` (RFC 9449 §4.3, checks 10 and 11), and `exp` and `nbf` if the client wrote them. Returns when
    /// the proof expires, and whether its nonce is old.
    fn check_time(&self, claims: &ProofClaims<'_>) -> Result<(u64, bool), ProofDefect> {
        let time = self.now();
        let now = time.as_secs_f64();
        let fresh = match &self.nonces {
            Some(nonces) => check_nonce(nonces, claims, time.as_secs())?,
            None => (self.check_age(claims, now)?, false),
        };
        let expired = claims.expires_at.is_some_and(|expires_at| expires_at <= now);
        let early = claims.not_before.is_some_and(|not_before| not_before > now + LEEWAY_SECONDS);
        if expired || early { Err(ProofDefect::OtherTime) } else { Ok(fresh) }
    }

    /// Checks `iat`, and returns when the proof expires.
    fn check_age(&self, claims: &ProofClaims<'_>, now: f64) -> Result<u64, ProofDefect> {
        let issued_at = claims.issued_at;
        let accepted = now - self.max_age.as_secs_f64()..=now + LEEWAY_SECONDS;
        // A negative number is no time that the next line can represent.
        if !accepted.contains(&issued_at) || issued_at < 0.0 {
            return Err(ProofDefect::OtherTime);
        }
        let issued_at = Duration::try_from_secs_f64(issued_at).map_err(|_| ProofDefect::OtherTime)?;
        // One second more, because a proof is accepted until the end of its age, and only whole seconds are counted.
        Ok(issued_at.saturating_add(self.max_age).as_secs().saturating_add(1))
    }

    /// Returns the time since 1970-01-01 (UTC).
    pub(super) fn now(&self) -> Duration {
        self.clock.now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Returns the value of the only `DPoP` header (RFC 9449 §4.3, check 1).
fn only_proof(headers: &HeaderMap) -> Result<&[u8], ProofDefect> {
    let mut proofs = headers.get_all(DPOP).iter();
    let proof = proofs.next().ok_or(ProofDefect::Missing)?;
    if proofs.next().is_some() {
        return Err(ProofDefect::NotGood("there is more than one DPoP header"));
    }
    if proof.len() > MAX_PROOF_BYTES {
        return Err(ProofDefect::NotGood("it is longer than 8 KiB"));
    }
    Ok(proof.as_bytes())
}

/// Checks that the proof was made for this request and this token (RFC 9449 §4.3, checks 8, 9 and 12).
fn check_request(claims: &ProofClaims<'_>, expected: &ExpectedProof<'_>) -> Result<(), ProofDefect> {
    // The target of CONNECT is no URL (RFC 9110 §9.3.6).
    if claims.method != expected.method.as_str() || expected.method == Method::CONNECT {
        return Err(ProofDefect::OtherTarget);
    }
    if !(expected.is_target)(&claims.target) {
        return Err(ProofDefect::OtherTarget);
    }
    let Some(token) = expected.token else { return Ok(()) };
    match &claims.token_hash {
        Some(AnyValue::Text(Str(hash))) if is_hash_of(hash, token) => Ok(()),
        Some(AnyValue::Text(_)) => Err(ProofDefect::OtherToken),
        Some(_) => Err(ProofDefect::NotGood("its ath is not a string")),
        None => Err(ProofDefect::NotGood("it has no ath")),
    }
}

/// True if the text is the SHA-256 hash of the token in base64url without padding (RFC 9449 §4.2).
fn is_hash_of(text: &str, token: &[u8]) -> bool {
    let mut encoded = [0; ENCODED_HASH_CHARS];
    URL_SAFE_NO_PAD.encode_slice(sha256([token]), &mut encoded).is_ok() && text.as_bytes() == encoded
}

/// Checks the nonce, and returns when it expires and whether it is old.
fn check_nonce(nonces: &Nonces, claims: &ProofClaims<'_>, now: u64) -> Result<(u64, bool), ProofDefect> {
    match &claims.nonce {
        Some(AnyValue::Text(Str(nonce))) => {
            let found = nonces.find(nonce, now).ok_or(ProofDefect::NonceRequired)?;
            Ok((found.expires_at, !found.is_current))
        }
        Some(_) => Err(ProofDefect::NotGood("its nonce is not a string")),
        None => Err(ProofDefect::NonceRequired),
    }
}

/// Returns the hash of the key, `htu` and `jti`. It depends on the proof alone, so another spelling of the request's path
/// makes no new proof of a used one. It depends on the key, so no client can use up the `jti` of another.
fn replay_key(key: &Thumbprint, claims: &ProofClaims<'_>) -> ReplayKey {
    let target = without_query(&claims.target);
    ReplayKey::new(sha256([b"tower-oauth dpop".as_slice(), key, target.as_bytes(), &[0], claims.jwt_id.as_bytes()]))
}

const MAX_PROOF_BYTES: usize = 8 * 1024;
/// How far the client's clock may be ahead.
const LEEWAY_SECONDS: f64 = 30.0;
const ENCODED_HASH_CHARS: usize = 43;
