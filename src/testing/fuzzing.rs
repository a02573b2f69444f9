//! What the fuzz targets call and no other program can. Compiled only by cargo-fuzz.
//!
//! *In*: texts of a client. *Out*: whether they are accepted.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method};

use super::ManualClock;
use crate::{
    confirmation::encoded,
    dpop::{BaseUrl, ExpectedProof, KnownKeys, NonceSecret, Nonces, ProofRules, same_target},
    jws::Algorithm,
};

/// Checks the proof for a request: `GET` at the path `/orders` of `base`, with a token. `now` is in Unix seconds. Returns the
/// key's thumbprint and when the proof expires, or the name of the defect.
///
/// # Errors
/// The proof is refused.
pub fn check_proof(
    headers: &HeaderMap,
    base: &str,
    token: &str,
    now: u64,
    nonce_secret: Option<[u8; 32]>,
) -> Result<(String, u64), String> {
    let base = BaseUrl::parse("dpop", base).expect("the base is a URL");
    let rules = ProofRules {
        algorithms: Algorithm::supported().to_vec(),
        max_age: Duration::from_secs(60),
        nonces: nonce_secret.map(|secret| Nonces::for_resource_server(NonceSecret::shared(secret))),
        clock: Arc::new(ManualClock::new(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(now))),
        known_keys: KnownKeys::default(),
    };
    let is_target = |htu: &str| base.names("/orders", htu);
    let (method, token) = (&Method::GET, Some(token.as_bytes()));
    let checked = rules.check(headers, &ExpectedProof { method, key: None, token, is_target: &is_target });
    checked.map(|proof| (encoded(&proof.key), proof.expires_at)).map_err(|defect| format!("{defect:?}"))
}

/// True if both URLs are equal, without query and fragment.
#[must_use]
pub fn is_same_target(one: &str, other: &str) -> bool {
    same_target(one, other)
}

/// True if `htu` is the URL of this path. `None` if the base is refused.
#[must_use]
pub fn is_target(base: &str, path: &str, htu: &str) -> Option<bool> {
    BaseUrl::parse("dpop", base).ok().map(|base| base.names(path, htu))
}
