//! Private keys.

use aws_lc_rs::{
    error::Unspecified,
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaSignatureEncoding},
};

use super::{Algorithm, HmacAlgorithm, KeyMaterial, hmac_algorithm};
use crate::jws::Curve;

/// A private key made for a test. It cannot be written out.
pub(crate) enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ec(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, Unspecified> {
        let ec = |curve, algorithm| EcdsaKeyPair::generate(algorithm).map(|key| Self::Ec(curve, key));
        match algorithm {
            Algorithm::ES256 => ec(Curve::P256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ec(Curve::P384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => ec(Curve::P521, P521),
            Algorithm::EdDSA => Ed25519KeyPair::generate().map(Self::Ed25519),
            _ => RsaKeyPair::generate(KeySize::Rsa2048).map(|key| Self::Rsa(Box::new(key))),
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
            Self::Ec(curve, key) => {
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                KeyMaterial::Ec { curve: *curve, x: x.to_vec(), y: y.to_vec() }
            }
            Self::Ed25519(key) => KeyMaterial::Ed25519(key.public_key().as_ref().try_into().unwrap_or_default()),
        }
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(rsa_encoding(algorithm), &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ec(_, key) => Ok(key.sign(&random, message)?.as_ref().to_vec()),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }

    pub(crate) fn hmac(algorithm: HmacAlgorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac_algorithm(algorithm), secret), message).as_ref().to_vec()
    }
}

static P521: &EcdsaSigningAlgorithm = &signature::ECDSA_P521_SHA512_FIXED_SIGNING;

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
