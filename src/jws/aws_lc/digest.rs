//! Random bytes, SHA-256, and a keyed hash that stays in the process.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest::{Context, SHA256, digest},
    rand,
};

use crate::jws::NoRandomness;

pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// SHA-256 of the parts as if they were one. Where a part's end matters, the caller writes its length before it.
pub(crate) fn sha256<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut parts = parts.into_iter();
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let finished = if second.is_none() {
        // In one go, which is quicker.
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

/// A keyed hash, under a random key of its own: two messages have the same tag with the chance of guessing it.
///
/// It is GMAC (NIST SP 800-38D §3) with one nonce for all messages. As a message authentication code that would be
/// broken by the first two tags that an attacker sees. Here none is ever seen: a tag doesn't leave the process, and
/// without tags it is an almost-universal hash whose collisions nobody can aim at.
pub(crate) struct TokenMac(LessSafeKey);

impl TokenMac {
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let key = random::<16>()?;
        // It fails for a key of another length only, but then no key is better than a known one.
        let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| NoRandomness)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    #[expect(clippy::expect_used, reason = "a wrong tag would be worse than a panic, and it cannot happen")]
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 16] {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::from(message), &mut []);
        // AES-GCM fails for associated data from 2^61 bytes on, which no memory holds.
        let tag = sealed.expect("less than 2^61 bytes");
        let mut mac = [0; 16];
        mac.copy_from_slice(tag.as_ref());
        mac
    }
}
