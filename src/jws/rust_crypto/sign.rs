//! Private keys: RSA, ECDSA and Ed25519, with the RustCrypto crates. They are parsed once.
//!
//! *In*: PKCS#8, or nothing for a new key. *Out*: signatures.

use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use p256::{ecdsa::signature::Signer as _, elliptic_curve::rand_core::OsRng};
use pkcs8::SecretDocument;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey, traits::PublicKeyParts as _};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::NO_ES512;
use crate::jws::{Algorithm, CannotSign, Curve, KeyMaterial};

/// A private key. Its memory is wiped when it is dropped.
pub(crate) enum SigningKey {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl SigningKey {
    /// Generates a key. RSA keys have 2048 bits.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, &'static str> {
        match algorithm {
            Algorithm::ES256 => Ok(Self::P256(p256::ecdsa::SigningKey::random(&mut OsRng))),
            Algorithm::ES384 => Ok(Self::P384(p384::ecdsa::SigningKey::random(&mut OsRng))),
            Algorithm::EdDSA => Ok(Self::Ed25519(ed25519_dalek::SigningKey::generate(&mut OsRng))),
            Algorithm::ES512 => Err(NO_ES512),
            _ => RsaPrivateKey::new(&mut OsRng, 2048)
                .map(|key| Self::Rsa(Box::new(key)))
                .map_err(|_| "no key could be generated"),
        }
    }

    /// Parses PKCS#8 (RFC 5958). The numbers must belong together, also with the public key if there is one.
    pub(crate) fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, &'static str> {
        let key = match algorithm {
            Algorithm::ES256 => p256::ecdsa::SigningKey::from_pkcs8_der(der).map(Self::P256),
            Algorithm::ES384 => p384::ecdsa::SigningKey::from_pkcs8_der(der).map(Self::P384),
            Algorithm::EdDSA => ed25519_dalek::SigningKey::from_pkcs8_der(der).map(Self::Ed25519),
            Algorithm::ES512 => return Err(NO_ES512),
            _ => RsaPrivateKey::from_pkcs8_der(der).map(|key| Self::Rsa(Box::new(key))),
        };
        key.map_err(|_| "its numbers do not make a key")
    }

    pub(crate) fn to_pkcs8(&self) -> Result<SecretDocument, CannotSign> {
        let der = match self {
            Self::Rsa(key) => key.to_pkcs8_der(),
            Self::P256(key) => key.to_pkcs8_der(),
            Self::P384(key) => key.to_pkcs8_der(),
            Self::Ed25519(key) => key.to_pkcs8_der(),
        };
        der.map_err(|_| CannotSign)
    }

    pub(crate) fn public(&self) -> KeyMaterial {
        let ec = KeyMaterial::from_uncompressed_point;
        match self {
            Self::Rsa(key) => KeyMaterial::Rsa { modulus: key.n().to_bytes_be(), exponent: key.e().to_bytes_be() },
            Self::P256(key) => ec(Curve::P256, key.verifying_key().to_encoded_point(false).as_bytes()),
            Self::P384(key) => ec(Curve::P384, key.verifying_key().to_encoded_point(false).as_bytes()),
            Self::Ed25519(key) => KeyMaterial::Ed25519(key.verifying_key().to_bytes()),
        }
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        match self {
            Self::Rsa(key) => sign_rsa(key, algorithm, message),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(|_| CannotSign)?;
                Ok(signature.to_vec())
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.try_sign(message).map_err(|_| CannotSign)?;
                Ok(signature.to_vec())
            }
            Self::Ed25519(key) => Ok(key.try_sign(message).map_err(|_| CannotSign)?.to_vec()),
        }
    }
}

/// Signs with a random factor (blinding), so that the time reveals less about the key.
fn sign_rsa(key: &RsaPrivateKey, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
    let random = &mut OsRng;
    let signature = match algorithm {
        Algorithm::RS256 => key.sign_with_rng(random, Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)),
        Algorithm::RS384 => key.sign_with_rng(random, Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message)),
        Algorithm::RS512 => key.sign_with_rng(random, Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message)),
        Algorithm::PS256 => key.sign_with_rng(random, Pss::new_blinded::<Sha256>(), &Sha256::digest(message)),
        Algorithm::PS384 => key.sign_with_rng(random, Pss::new_blinded::<Sha384>(), &Sha384::digest(message)),
        Algorithm::PS512 => key.sign_with_rng(random, Pss::new_blinded::<Sha512>(), &Sha512::digest(message)),
        _ => return Err(CannotSign),
    };
    signature.map_err(|_| CannotSign)
}
