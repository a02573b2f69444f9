//! The backend with RustCrypto. It verifies with jsonwebtoken's `DEFAULT_PROVIDER`, and never with its process-global one.
//!
//! *In*: the numbers of a key. *Out*: a key that verifies signatures.
//!
//! It is slower than aws-lc-rs (RSA about 13 times), because the provider parses the key again for each signature. Private
//! keys don't use the provider and are parsed once. ES512 and RSA keys of more than 4096 bits are not supported; loading
//! such a key or allow-list is an error.

mod digest;
#[cfg(feature = "test-util")]
mod secret;
mod sign;

use jsonwebtoken::{Algorithm as Jwa, DecodingKey, crypto::rust_crypto::DEFAULT_PROVIDER};

#[cfg(feature = "test-util")]
pub(crate) use self::secret::sign_hmac;
pub(crate) use self::{
    digest::{TokenMac, hmac_sha256, random, sha256},
    sign::SigningKey,
};
use super::{Algorithm, HmacAlgorithm, KeyMaterial, SignatureAlgorithm};

/// The algorithms that this backend can verify.
pub(crate) const SUPPORTED: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// A key bound to one algorithm.
pub(crate) struct VerifyingKey {
    algorithm: Jwa,
    key: DecodingKey,
}

impl VerifyingKey {
    pub(crate) fn load(algorithm: SignatureAlgorithm, material: &KeyMaterial) -> Result<Self, &'static str> {
        let algorithm = jwa(algorithm).ok_or(NO_ES512)?;
        let key = match material {
            KeyMaterial::Rsa { modulus, .. } if modulus.len() > 512 => {
                return Err(
                    "an RSA key of more than 4096 bits, which the feature rust-crypto lacks; turn on aws-lc-rs for it",
                );
            }
            KeyMaterial::Rsa { modulus, exponent } => DecodingKey::from_rsa_raw_components(modulus, exponent),
            KeyMaterial::Ec { x, y, .. } => DecodingKey::from_ec_der(&KeyMaterial::uncompressed_point(x, y)),
            KeyMaterial::Ed25519(point) => DecodingKey::from_ed_der(point),
            KeyMaterial::Secret(secret) => DecodingKey::from_secret(secret),
        };
        // Made once to check the key. The provider's verifiers are not `Send`, so it can't be stored.
        (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).map_err(|_| "the key's numbers are not accepted")?;
        Ok(Self { algorithm, key })
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key)
            .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

fn jwa(algorithm: SignatureAlgorithm) -> Option<Jwa> {
    Some(match algorithm {
        SignatureAlgorithm::Asymmetric(Algorithm::RS256) => Jwa::RS256,
        SignatureAlgorithm::Asymmetric(Algorithm::RS384) => Jwa::RS384,
        SignatureAlgorithm::Asymmetric(Algorithm::RS512) => Jwa::RS512,
        SignatureAlgorithm::Asymmetric(Algorithm::PS256) => Jwa::PS256,
        SignatureAlgorithm::Asymmetric(Algorithm::PS384) => Jwa::PS384,
        SignatureAlgorithm::Asymmetric(Algorithm::PS512) => Jwa::PS512,
        SignatureAlgorithm::Asymmetric(Algorithm::ES256) => Jwa::ES256,
        SignatureAlgorithm::Asymmetric(Algorithm::ES384) => Jwa::ES384,
        SignatureAlgorithm::Asymmetric(Algorithm::EdDSA) => Jwa::EdDSA,
        SignatureAlgorithm::Asymmetric(Algorithm::ES512) => return None,
        SignatureAlgorithm::Hmac(HmacAlgorithm::HS256) => Jwa::HS256,
        SignatureAlgorithm::Hmac(HmacAlgorithm::HS384) => Jwa::HS384,
        SignatureAlgorithm::Hmac(HmacAlgorithm::HS512) => Jwa::HS512,
    })
}

const NO_ES512: &str = "ES512, which the feature rust-crypto lacks; turn on aws-lc-rs for it";
