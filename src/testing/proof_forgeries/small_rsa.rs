//! RSA keys of lengths that the crypto crates do not generate or sign with.
//!
//! *In*: a length and a message. *Out*: the public key, and a valid signature. The private keys are no secrets: the modulus is a
//! product of primes `p` for which `p - 1` divides one small number.

use super::b64;
use crate::jws::sha256;

/// A number in limbs of 32 bits, the lowest one first.
type Limbs = Vec<u32>;

/// An RSA key with the public exponent 65537.
pub(super) struct WeakRsaKey {
    primes: Vec<u64>,
    modulus: Limbs,
}

impl WeakRsaKey {
    /// Returns a key whose modulus has at least this number of bits, and at most 26 more. There are primes for 16 000 bits.
    pub(super) fn of_bits(bits: usize) -> Self {
        let mut key = Self { primes: Vec::new(), modulus: vec![1] };
        for prime in primes() {
            if to_bytes(&key.modulus).len() * 8 > bits + 8 {
                break;
            }
            multiply(&mut key.modulus, prime);
            key.primes.push(prime);
        }
        key
    }

    /// Returns `n` of the JWK.
    pub(super) fn modulus(&self) -> String {
        b64(to_bytes(&self.modulus))
    }

    /// Returns the signature of RS256.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let length = to_bytes(&self.modulus).len();
        let signature = to_bytes(&self.power(&from_bytes(&padded_hash(message, length)), PRIVATE_EXPONENT));
        [vec![0; length - signature.len()], signature].concat()
    }

    /// Returns `base` to the power of `exponent`, from its remainders for each prime (Garner's algorithm).
    fn power(&self, base: &[u32], exponent: u64) -> Limbs {
        let (mut result, mut modulus) = (vec![0], vec![1]);
        for &prime in &self.primes {
            let wanted = power(remainder(base, prime), exponent, prime);
            let difference = wanted + prime - remainder(&result, prime);
            let factor = difference % prime * power(remainder(&modulus, prime), prime - 2, prime) % prime;
            let mut step: Limbs = modulus.clone();
            multiply(&mut step, factor);
            result = sum(&result, &step);
            multiply(&mut modulus, prime);
        }
        result
    }
}

/// Returns the padded hash of RS256 (RFC 8017 §9.2). With the exponent 1 it is the signature.
pub(super) fn padded_hash(message: &[u8], length: usize) -> Vec<u8> {
    const SHA_256: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04,
        0x20,
    ];
    let hash = [&SHA_256[..], &sha256([message])].concat();
    [&[0, 1], &*vec![0xff; length - hash.len() - 3], &[0], &*hash].concat()
}

/// Returns the primes between 2^15 and 2^26 for which `p - 1` divides the product of [`FACTORS`].
fn primes() -> impl Iterator<Item = u64> {
    let mut divisors = vec![1_u64];
    for (factor, exponent) in FACTORS {
        divisors = divisors.iter().flat_map(|divisor| (0..=exponent).map(move |e| divisor * factor.pow(e))).collect();
    }
    let candidates =
        divisors.into_iter().map(|divisor| divisor + 1).filter(|number| (1 << 15..1 << 26).contains(number));
    candidates.filter(|number| (2..=number.isqrt()).all(|d| number % d != 0))
}

fn power(base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let (mut base, mut result) = (base % modulus, 1);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        exponent /= 2;
    }
    result
}

fn remainder(number: &[u32], modulus: u64) -> u64 {
    number.iter().rev().fold(0, |rest, limb| ((rest << 32) | u64::from(*limb)) % modulus)
}

fn multiply(number: &mut Limbs, factor: u64) {
    let mut carry = 0;
    for limb in number.iter_mut() {
        let product = u64::from(*limb) * factor + carry;
        *limb = low(product);
        carry = product >> 32;
    }
    if carry > 0 {
        number.push(low(carry));
    }
}

fn sum(one: &[u32], other: &[u32]) -> Limbs {
    let mut carry = 0;
    let limb = |number: &[u32], position: usize| u64::from(number.get(position).copied().unwrap_or_default());
    let limbs = (0..=one.len().max(other.len())).map(|position| {
        let sum = limb(one, position) + limb(other, position) + carry;
        carry = sum >> 32;
        low(sum)
    });
    limbs.collect()
}

fn low(number: u64) -> u32 {
    (number & u64::from(u32::MAX)).try_into().unwrap_or_default()
}

fn to_bytes(number: &[u32]) -> Vec<u8> {
    number.iter().rev().flat_map(|limb| limb.to_be_bytes()).skip_while(|byte| *byte == 0).collect()
}

fn from_bytes(bytes: &[u8]) -> Limbs {
    bytes.rchunks(4).map(|limb| limb.iter().fold(0, |limb, byte| (limb << 8) | u32::from(*byte))).collect()
}

const FACTORS: [(u64, u32); 9] = [(2, 6), (3, 3), (5, 2), (7, 1), (11, 1), (13, 1), (17, 1), (19, 1), (23, 1)];
/// The inverse of 65537, modulo the product of [`FACTORS`].
const PRIVATE_EXPONENT: u64 = 13_700_721_473;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_to_the_power_of_the_public_exponent_is_the_padded_hash() {
        for bits in [1024, 5120] {
            let key = WeakRsaKey::of_bits(bits);
            let length = to_bytes(&key.modulus).len();
            assert!((bits..bits + 40).contains(&(length * 8)), "{length} bytes");
            let signature = key.sign(b"message");
            assert_eq!(signature.len(), length);
            let opened = to_bytes(&key.power(&from_bytes(&signature), 65_537));
            assert_eq!([vec![0], opened].concat(), padded_hash(b"message", length));
        }
    }
}
