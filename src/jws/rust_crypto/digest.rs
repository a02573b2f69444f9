//! Random bytes, SHA-256, and a keyed hash.
//!
//! *In*: bytes. *Out*: a hash. A keyed hash must not leave the process.

use p256::elliptic_curve::rand_core::{OsRng, RngCore as _};
use sha2::{Digest as _, Sha256};

use crate::jws::NoRandomness;

pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Returns the SHA-256 hash of the concatenated parts. A caller that must distinguish other divisions of the same bytes adds
/// the parts' lengths.
pub(crate) fn sha256<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Returns the HMAC with SHA-256 (RFC 2104) of the concatenated parts.
pub(crate) fn hmac_sha256<'p>(key: &[u8; 32], parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Sha256::new_with_prefix(padded(0x36));
    parts.into_iter().for_each(|part| inner.update(part));
    sha256([padded(0x5c).as_slice(), &inner.finalize()])
}

/// A hash with a random key. Two messages have the same hash only with the probability of guessing it.
///
/// It is SHA-256 of the key and the message. As a message authentication code, that would be open to length extension by an
/// attacker who sees a tag. Here an attacker sees none, because no tag leaves the process.
pub(crate) struct TokenMac([u8; 32]);

impl TokenMac {
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 16] {
        let digest = sha256([&self.0, message]);
        let mut mac = [0; 16];
        mac.iter_mut().zip(digest).for_each(|(byte, hashed)| *byte = hashed);
        mac
    }
}
