//! The numbers of a key (RFC 7518 §3.3, §6; RFC 8725 §3.4, §3.5).
//!
//! *In*: numbers. *Out*: whether they are strong enough. They are checked before a backend gets them. That a point is on its
//! curve is *not* checked here, but by the backend.

use super::{Algorithm, HmacAlgorithm, SignatureAlgorithm};

/// The numbers of a verification key. It has no `Debug`, because it may be a secret.
#[derive(PartialEq, Eq)]
pub(crate) enum KeyMaterial {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ec { curve: Curve, x: Vec<u8>, y: Vec<u8> },
    Ed25519([u8; 32]),
    Secret(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Returns the registered name (RFC 7518 §6.2.1.1).
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    pub(crate) fn field_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl KeyMaterial {
    /// Returns the algorithms that this kind of key can verify.
    pub(crate) fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        use SignatureAlgorithm::{Asymmetric, Hmac};
        match self {
            Self::Rsa { .. } => &[
                Asymmetric(Algorithm::RS256),
                Asymmetric(Algorithm::RS384),
                Asymmetric(Algorithm::RS512),
                Asymmetric(Algorithm::PS256),
                Asymmetric(Algorithm::PS384),
                Asymmetric(Algorithm::PS512),
            ],
            Self::Ec { curve: Curve::P256, .. } => &[Asymmetric(Algorithm::ES256)],
            Self::Ec { curve: Curve::P384, .. } => &[Asymmetric(Algorithm::ES384)],
            Self::Ec { curve: Curve::P521, .. } => &[Asymmetric(Algorithm::ES512)],
            Self::Ed25519(_) => &[Asymmetric(Algorithm::EdDSA)],
            Self::Secret(_) => &[Hmac(HmacAlgorithm::HS256), Hmac(HmacAlgorithm::HS384), Hmac(HmacAlgorithm::HS512)],
        }
    }

    /// Checks the strength and the form of the numbers.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Rsa { modulus, exponent } => check_rsa(modulus, exponent),
            Self::Ec { curve, x, y } if x.len() != curve.field_bytes() || y.len() != curve.field_bytes() => {
                Err("a coordinate does not have the length of the curve's field")
            }
            Self::Ed25519(point) if is_weak_ed25519_point(point) => {
                Err("a point of small order or with a second encoding")
            }
            Self::Ec { .. } | Self::Ed25519(_) | Self::Secret(_) => Ok(()),
        }
    }

    /// Parses `0x04 ‖ x ‖ y`, as a backend returns it.
    pub(crate) fn from_uncompressed_point(curve: Curve, point: &[u8]) -> Self {
        let point = point.get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        Self::Ec { curve, x: x.to_vec(), y: y.to_vec() }
    }

    /// Returns `0x04 ‖ x ‖ y`.
    pub(crate) fn uncompressed_point(x: &[u8], y: &[u8]) -> Vec<u8> {
        [&[4], x, y].concat()
    }
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), &'static str> {
    let bits = |number: &[u8]| number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    match bits(modulus) {
        ..2048 => return Err("an RSA key of less than 2048 bits"),
        2048..=8192 if odd(modulus) => {}
        2048..=8192 => return Err("an even RSA modulus"),
        _ => return Err("an RSA key of more than 8192 bits"),
    }
    match bits(exponent) {
        2..=33 if odd(exponent) => Ok(()),
        _ => Err("an RSA exponent that is even, less than 3 or larger than 33 bits"),
    }
}

/// True for points of small order, with which one signature can be valid for every message, and for numbers from
/// p = 2^255 - 19 on (RFC 8032 §5.1.3). AWS-LC, ring and OpenSSL accept them.
fn is_weak_ed25519_point(point: &[u8; 32]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let [low, middle @ .., high] = point;
    let high = high & 0x7f;
    let all = |byte: u8| middle.iter().all(|other| *other == byte);
    // 0 has order 4, 1 has order 1, and p - 1 has order 2. A number from p on is a second encoding of a smaller one.
    let zero_or_one = high == 0 && all(0) && *low <= 1;
    let from_p_minus_1 = high == 0x7f && all(0xff) && *low >= 0xec;
    let mut unsigned = *point;
    if let Some(last) = unsigned.last_mut() {
        *last = high;
    }
    zero_or_one || from_p_minus_1 || ORDER_8.contains(&unsigned)
}
