//! stub
use super::{nonce::Nonces, replay::ReplayKey};
use crate::{clock::Clock, confirmation::Thumbprint, jws::Algorithm};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::{sync::Arc, time::Duration};
pub(crate) struct ProofRules {
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) max_age: Duration,
    pub(crate) nonces: Option<Nonces>,
    pub(crate) clock: Arc<dyn Clock>,
}
pub(crate) struct ExpectedProof<'e> {
    pub(crate) method: &'e Method,
    pub(crate) key: Option<&'e Thumbprint>,
    pub(crate) token: Option<&'e [u8]>,
    pub(crate) is_target: &'e dyn Fn(&str) -> bool,
}
pub(crate) struct CheckedProof {
    pub(crate) key: Thumbprint,
    pub(crate) replay_key: ReplayKey,
    pub(crate) expires_at: u64,
    pub(crate) old_nonce: bool,
}
pub(crate) enum ProofDefect {
    Missing,
    NotGood(&'static str),
    OtherKey,
    OtherTarget,
    OtherTime,
    OtherToken,
    NonceRequired,
    Replayed,
}
impl ProofRules {
    pub(crate) fn check(&self, headers: &HeaderMap, expected: &ExpectedProof<'_>) -> Result<CheckedProof, ProofDefect> {
        Err(ProofDefect::Missing)
    }
    pub(crate) fn nonce(&self) -> Option<HeaderValue> {
        None
    }
    pub(crate) fn algorithm_names(&self) -> String {
        String::new()
    }
    pub(crate) fn now(&self) -> u64 {
        0
    }
}
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
