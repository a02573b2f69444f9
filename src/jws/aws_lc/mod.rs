//! The backend with aws-lc-rs.
//!
//! *In*: the numbers of a key. *Out*: a key that is parsed once and verifies any number of signatures.

mod digest;
#[cfg(feature = "test-util")]
mod secret;
mod sign;

use aws_lc_rs::{
    hmac,
    rsa::PublicKeyComponents,
    signature::{self, ParsedPublicKey, RsaParameters, VerificationAlgorithm},
};

#[cfg(feature = "test-util")]
pub(crate) use self::secret::sign_hmac;
pub(crate) use self::{
    digest::{TokenMac, hmac_sha256, random, sha256},
    sign::SigningKey,
};
use super::{Algorithm, HmacAlgorithm, KeyMaterial, SignatureAlgorithm};

/// The algorithms that this backend can verify: all.
pub(crate) const SUPPORTED: &[Algorithm] = Algorithm::ALL;

/// A key bound to one algorithm.
pub(crate) enum VerifyingKey {
    Public(ParsedPublicKey),
    /// Boxed, because it has more than a kilobyte.
    Secret(Box<hmac::Key>),
}

impl VerifyingKey {
    pub(crate) fn load(algorithm: SignatureAlgorithm, material: &KeyMaterial) -> Result<Self, &'static str> {
        match (algorithm, material) {
            (SignatureAlgorithm::Hmac(algorithm), KeyMaterial::Secret(secret)) => {
                Ok(Self::Secret(Box::new(hmac::Key::new(hmac_algorithm(algorithm), secret))))
            }
            (SignatureAlgorithm::Asymmetric(algorithm), material) => load_public(algorithm, material).map(Self::Public),
            (SignatureAlgorithm::Hmac(_), _) => Err("not a secret"),
        }
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
            // Compares in constant time.
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

fn load_public(algorithm: Algorithm, material: &KeyMaterial) -> Result<ParsedPublicKey, &'static str> {
    let other: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::RS256 => return load_rsa(&signature::RSA_PKCS1_2048_8192_SHA256, material),
        Algorithm::RS384 => return load_rsa(&signature::RSA_PKCS1_2048_8192_SHA384, material),
        Algorithm::RS512 => return load_rsa(&signature::RSA_PKCS1_2048_8192_SHA512, material),
        Algorithm::PS256 => return load_rsa(&signature::RSA_PSS_2048_8192_SHA256, material),
        Algorithm::PS384 => return load_rsa(&signature::RSA_PSS_2048_8192_SHA384, material),
        Algorithm::PS512 => return load_rsa(&signature::RSA_PSS_2048_8192_SHA512, material),
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::ES512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDSA => &signature::ED25519,
    };
    let point = match material {
        KeyMaterial::Ec { x, y, .. } => KeyMaterial::uncompressed_point(x, y),
        KeyMaterial::Ed25519(point) => point.to_vec(),
        KeyMaterial::Rsa { .. } | KeyMaterial::Secret(_) => return Err("not a point"),
    };
    ParsedPublicKey::new(other, point).map_err(|_| "the point is not on its curve")
}

fn load_rsa(parameters: &'static RsaParameters, material: &KeyMaterial) -> Result<ParsedPublicKey, &'static str> {
    let KeyMaterial::Rsa { modulus, exponent } = material else { return Err("not an RSA key") };
    let components = PublicKeyComponents { n: modulus, e: exponent };
    components.to_parsed_public_key(parameters).map_err(|_| "the RSA numbers are not accepted")
}

fn hmac_algorithm(algorithm: HmacAlgorithm) -> hmac::Algorithm {
    match algorithm {
        HmacAlgorithm::HS256 => hmac::HMAC_SHA256,
        HmacAlgorithm::HS384 => hmac::HMAC_SHA384,
        HmacAlgorithm::HS512 => hmac::HMAC_SHA512,
    }
}
