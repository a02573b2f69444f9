//! Private keys: RSA, ECDSA and Ed25519.
//!
//! *In*: PKCS#8, or nothing for a new key. *Out*: signatures.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaSignatureEncoding},
};
use pkcs8::SecretDocument;

use crate::jws::{Algorithm, CannotSign, Curve, KeyMaterial};

/// A private key. Its memory is wiped when it is dropped.
pub(crate) enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ec(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Generates a key. RSA keys have 2048 bits.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, &'static str> {
        let key = match ec(algorithm) {
            Some((curve, signing)) => EcdsaKeyPair::generate(signing).map(|key| Self::Ec(curve, key)),
            None if algorithm == Algorithm::EdDSA => Ed25519KeyPair::generate().map(Self::Ed25519),
            None => RsaKeyPair::generate(KeySize::Rsa2048).map(|key| Self::Rsa(Box::new(key))),
        };
        key.map_err(|_| "no key could be generated")
    }

    /// Parses PKCS#8 (RFC 5958). The numbers must belong together, also with the public key if there is one.
    pub(crate) fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, &'static str> {
        let key = match ec(algorithm) {
            Some((curve, signing)) => EcdsaKeyPair::from_pkcs8(signing, der).map(|key| Self::Ec(curve, key)),
            None if algorithm == Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8(der).map(Self::Ed25519),
            None => RsaKeyPair::from_pkcs8(der).map(|key| Self::Rsa(Box::new(key))),
        };
        key.map_err(|_| "its numbers do not make a key")
    }

    pub(crate) fn to_pkcs8(&self) -> Result<SecretDocument, CannotSign> {
        match self {
            Self::Rsa(key) => {
                let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| CannotSign)?;
                SecretDocument::try_from(der.as_ref()).map_err(|_| CannotSign)
            }
            Self::Ec(_, key) => {
                let der = key.to_pkcs8v1().map_err(|_| CannotSign)?;
                SecretDocument::try_from(der.as_ref()).map_err(|_| CannotSign)
            }
            Self::Ed25519(key) => {
                let der = key.to_pkcs8v1().map_err(|_| CannotSign)?;
                SecretDocument::try_from(der.as_ref()).map_err(|_| CannotSign)
            }
        }
    }

    pub(crate) fn public(&self) -> KeyMaterial {
        match self {
            Self::Rsa(key) => {
                let numbers = pkcs1::RsaPublicKey::try_from(key.public_key().as_ref()).ok();
                KeyMaterial::Rsa {
                    modulus: numbers.map_or_else(Vec::new, |key| key.modulus.as_bytes().to_vec()),
                    exponent: numbers.map_or_else(Vec::new, |key| key.public_exponent.as_bytes().to_vec()),
                }
            }
            Self::Ec(curve, key) => KeyMaterial::from_uncompressed_point(*curve, key.public_key().as_ref()),
            Self::Ed25519(key) => KeyMaterial::Ed25519(key.public_key().as_ref().try_into().unwrap_or_default()),
        }
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(rsa_encoding(algorithm), &random, message, &mut signature).map_err(|_| CannotSign)?;
                Ok(signature)
            }
            Self::Ec(_, key) => Ok(key.sign(&random, message).map_err(|_| CannotSign)?.as_ref().to_vec()),
            Self::Ed25519(key) => Ok(key.try_sign(message).map_err(|_| CannotSign)?.as_ref().to_vec()),
        }
    }
}

fn ec(algorithm: Algorithm) -> Option<(Curve, &'static EcdsaSigningAlgorithm)> {
    Some(match algorithm {
        Algorithm::ES256 => (Curve::P256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => (Curve::P384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::ES512 => (Curve::P521, &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        _ => return None,
    })
}

fn rsa_encoding(algorithm: Algorithm) -> &'static RsaSignatureEncoding {
    match algorithm {
        Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}
