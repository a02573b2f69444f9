//! A hash map for keys that are hashes or random bytes.
//!
//! *In*: keys of 16 or 32 bytes. *Out*: a map that reads only 8 of them, which is several times faster than the standard hasher.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
};

/// A hash map for keys that are hashes or random bytes.
pub(super) type FastMap<K, V> = HashMap<K, V, FastState>;

/// Makes the hashers of one map. The seed is random: a client that chooses its `jti` can't search for hashes that collide.
#[derive(Clone)]
pub(super) struct FastState {
    seed: u64,
}

impl Default for FastState {
    fn default() -> Self {
        Self { seed: RandomState::new().hash_one(0) }
    }
}

impl BuildHasher for FastState {
    type Hasher = FastHasher;

    fn build_hasher(&self) -> FastHasher {
        FastHasher { hash: self.seed }
    }
}

pub(super) struct FastHasher {
    hash: u64,
}

impl Hasher for FastHasher {
    /// Uses the first 8 bytes. The others add nothing, because all of them are random or from SHA-256.
    fn write(&mut self, bytes: &[u8]) {
        let first = bytes.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first));
        self.hash = mix(self.hash ^ first);
    }

    /// The length of a key, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// Returns a value in which each bit depends on all bits of the input: both halves of a product of 128 bits.
fn mix(value: u64) -> u64 {
    let product = u128::from(value) * u128::from(MULTIPLIER);
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
    half(product) ^ half(product >> 64)
}

/// An odd number with as many ones as zeros: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
