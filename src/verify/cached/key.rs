//! Cache keys.
//!
//! *In*: a token, and what else its verdict depends on. *Out*: their hashes. No key contains a token.

use std::fmt;

use crate::{
    claims::VerifierId,
    jws::{TokenMac, sha256},
    verify::verifier_ids::VerifierIds,
};

/// Everything that a verdict depends on besides the token. [`Verify::cache_key`](crate::verify::Verify::cache_key) adds it.
pub struct CacheKey {
    verifiers: VerifierIds,
    parts: Option<[u8; 32]>,
}

impl CacheKey {
    pub(in crate::verify) fn new() -> Self {
        Self { verifiers: VerifierIds::default(), parts: None }
    }

    /// Adds a verifier of this crate, which includes all its settings.
    pub(crate) fn add_verifier(&mut self, id: VerifierId) {
        self.verifiers = self.verifiers.with(id);
    }

    /// Adds a part. Two keys are equal only if they have equal parts in the same order.
    pub fn add(&mut self, part: impl AsRef<[u8]>) {
        let before = self.parts.unwrap_or_default();
        self.parts = Some(sha256([before.as_slice(), part.as_ref()]));
    }

    pub(in crate::verify) fn is_extended(&self) -> bool {
        self.parts.is_some() || !self.verifiers.is_empty()
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheKey").finish_non_exhaustive()
    }
}

/// The hash of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

/// The hash of a token, and everything else that its verdict depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntryKey {
    pub(super) digest: TokenDigest,
    pub(super) context: VerdictContext,
}

/// What a verdict depends on besides the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct VerdictContext {
    /// The verifiers in the [`CacheKey`].
    pub(super) verifiers: VerifierIds,
    /// The hash of the parts in the [`CacheKey`], if there are any.
    parts: Option<[u8; 32]>,
}

impl VerdictContext {
    pub(super) fn has_parts(&self) -> bool {
        self.parts.is_some()
    }
}

pub(super) struct KeyHasher {
    /// `None` if the system has no random bytes. Then all tokens are hashed with SHA-256.
    mac: Option<TokenMac>,
}

impl KeyHasher {
    pub(super) fn new() -> Self {
        Self { mac: TokenMac::new().ok() }
    }

    pub(super) fn entry_key(&self, token: &[u8], cache_key: &CacheKey) -> EntryKey {
        let CacheKey { verifiers, parts } = *cache_key;
        let keyed = if parts.is_some() { None } else { self.keyed_digest(token) };
        let digest = keyed.unwrap_or_else(|| sha256_digest(token));
        EntryKey { digest, context: VerdictContext { verifiers, parts } }
    }

    /// Returns every digest under which this token may be stored.
    pub(super) fn digests(&self, token: &[u8]) -> impl Iterator<Item = TokenDigest> {
        [Some(sha256_digest(token)), self.keyed_digest(token)].into_iter().flatten()
    }

    /// Hashes a signed token: a keyed hash of the whole token, and a SHA-256 hash of the signature's end.
    ///
    /// This takes half the time of a SHA-256 hash of the whole token. Without the key, an attacker can't construct a
    /// collision. An attacker who has read the memory, and so the key, would also need the end of the other token's
    /// signature, of which only a hash is stored. A token that reuses the end of a signature could hit only the entry of
    /// the token with that signature.
    fn keyed_digest(&self, token: &[u8]) -> Option<TokenDigest> {
        // The base64 of every JOSE header begins with `ey`: it encodes `{"`.
        let end = token.last_chunk::<SIGNATURE_END>().filter(|_| token.starts_with(b"ey"))?;
        let (mac, end) = (self.mac.as_ref()?.mac(token), sha256([end.as_slice()]));
        let mut digest = [0; 32];
        for (byte, hashed) in digest.iter_mut().zip(mac.iter().chain(&end)) {
            *byte = *hashed;
        }
        Some(TokenDigest(digest))
    }
}

fn sha256_digest(token: &[u8]) -> TokenDigest {
    TokenDigest(sha256([token]))
}

/// Number of base64 characters at the end of a signature that are hashed: 288 bits. They fit into one block of SHA-256, and
/// they include the whole of the shortest signature, that of HS256 with 256 bits.
const SIGNATURE_END: usize = 48;
