//! Random bytes, SHA-256, and a keyed hash.
//!
//! *In*: bytes. *Out*: a hash. A keyed hash must not leave the process.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest::{Context, SHA256, digest},
    hmac, rand,
};

use crate::jws::NoRandomness;

pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Returns the SHA-256 hash of the concatenated parts. A caller that must distinguish other divisions of the same bytes adds
/// the parts' lengths.
pub(crate) fn sha256<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut parts = parts.into_iter();
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let finished = if second.is_none() {
        // One call is faster.
        digest(&SHA256, first)
    } else {
        let mut context = Context::new(&SHA256);
        [first].into_iter().chain(second).chain(parts).for_each(|part| context.update(part));
        context.finish()
    };
    let mut bytes = [0; 32];
    bytes.copy_from_slice(finished.as_ref());
    bytes
}

/// Returns the HMAC with SHA-256 (RFC 2104) of the concatenated parts.
pub(crate) fn hmac_sha256<'p>(key: &[u8; 32], parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.into_iter().for_each(|part| context.update(part));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.sign().as_ref());
    bytes
}

/// A hash with a random key. Two messages have the same hash only with the probability of guessing it.
///
/// It is GMAC (NIST SP 800-38D §3) with one nonce for all messages. As a message authentication code, that would be
/// broken by the first two tags that an attacker sees. Here an attacker sees none, because no tag leaves the process. Then
/// it is an almost-universal hash, for which an attacker can't construct collisions.
pub(crate) struct TokenMac(LessSafeKey);

impl TokenMac {
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let key = random::<16>()?;
        // Fails only for a key of another length. Then an error is better than a key that an attacker knows.
        let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| NoRandomness)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    #[expect(clippy::expect_used, reason = "it cannot happen, and a wrong tag would be worse than a panic")]
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 16] {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::from(message), &mut []);
        // AES-GCM fails only for associated data from 2^61 bytes on, more than any memory.
        let tag = sealed.expect("less than 2^61 bytes");
        let mut mac = [0; 16];
        mac.copy_from_slice(tag.as_ref());
        mac
    }
}
