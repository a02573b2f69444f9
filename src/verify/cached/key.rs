//! By what a verdict is known.

use std::fmt;

use crate::jws::{TokenMac, sha256};

/// What a verdict depends on beside the token; for [`Verify::cache_key`](crate::verify::Verify::cache_key).
pub struct CacheKey {
    parts: Option<[u8; 32]>,
}

impl CacheKey {
    pub(super) fn new() -> Self {
        Self { parts: None }
    }

    /// Adds a part. The order counts, and where a part ends.
    pub fn add(&mut self, part: impl AsRef<[u8]>) {
        let before = self.parts.unwrap_or_default();
        self.parts = Some(sha256([before.as_slice(), part.as_ref()]));
    }

    pub(super) fn is_extended(&self) -> bool {
        self.parts.is_some()
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheKey").finish_non_exhaustive()
    }
}

/// What stands for a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

/// What stands for a token and everything else that the verdict depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntryKey {
    pub(super) digest: TokenDigest,
    pub(super) parts: Option<[u8; 32]>,
}

/// Makes the names.
pub(super) struct KeyHasher {
    /// Without randomness SHA-256 has to do for all.
    mac: Option<TokenMac>,
}

impl KeyHasher {
    pub(super) fn new() -> Self {
        Self { mac: TokenMac::new().ok() }
    }

    pub(super) fn key_of_entry(&self, token: &[u8], key: &CacheKey) -> EntryKey {
        let quick = if key.is_extended() { None } else { self.quick(token) };
        EntryKey { digest: quick.unwrap_or_else(|| thorough(token)), parts: key.parts }
    }

    /// Every digest that this token may be known by.
    pub(super) fn all(&self, token: &[u8]) -> impl Iterator<Item = TokenDigest> {
        [Some(thorough(token)), self.quick(token)].into_iter().flatten()
    }

    /// For a signed token: a keyed hash of all of it, and a SHA-256 of the signature's end.
    ///
    /// Half the time of a SHA-256 of all. The keyed hash keeps strangers from aiming at a collision. Who has read the
    /// memory and knows its key could aim, but not without the signature's end, of which there is only a hash; and with
    /// the end of a signature of his own he hits his own verdict.
    fn quick(&self, token: &[u8]) -> Option<TokenDigest> {
        // As the base64 of every JOSE header begins, with its first brace.
        let end = token.last_chunk::<SIGNATURE_END>().filter(|_| token.starts_with(b"ey"))?;
        let (mac, end) = (self.mac.as_ref()?.mac(token), sha256([end.as_slice()]));
        let mut digest = [0; 32];
        for (byte, from) in digest.iter_mut().zip(mac.iter().chain(&end)) {
            *byte = *from;
        }
        Some(TokenDigest(digest))
    }
}

fn thorough(token: &[u8]) -> TokenDigest {
    TokenDigest(sha256([token]))
}

/// 288 bits of base64, in one block of SHA-256. The shortest signature, of HS256, has 256.
const SIGNATURE_END: usize = 48;
