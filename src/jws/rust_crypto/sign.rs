//! Private keys.

use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{EncodingKey, crypto::rust_crypto::DEFAULT_PROVIDER, errors::Error};
use p256::elliptic_curve::{rand_core::OsRng, sec1::ToEncodedPoint as _};
use rsa::{pkcs1::EncodeRsaPrivateKey as _, traits::PublicKeyParts as _};

use super::{Algorithm, HmacAlgorithm, KeyMaterial, SignatureAlgorithm, jwa};
use crate::jws::Curve;

/// A private key made for a test. It cannot be written out.
pub(crate) struct SigningKey {
    key: EncodingKey,
    public: fn(&[u8]) -> KeyMaterial,
    public_bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct CannotSign;

impl From<Error> for CannotSign {
    fn from(_: Error) -> Self {
        Self
    }
}

impl SigningKey {
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, CannotSign> {
        match algorithm {
            Algorithm::ES256 => {
                let key = p256::SecretKey::random(&mut OsRng);
                let der = key.to_pkcs8_der().map_err(|_| CannotSign)?;
                let point = key.public_key().to_encoded_point(false);
                Ok(Self::new(
                    EncodingKey::from_ec_der(der.as_bytes()),
                    |point| ec(Curve::P256, point),
                    point.as_bytes(),
                ))
            }
            Algorithm::ES384 => {
                let key = p384::SecretKey::random(&mut OsRng);
                let der = key.to_pkcs8_der().map_err(|_| CannotSign)?;
                let point = key.public_key().to_encoded_point(false);
                Ok(Self::new(
                    EncodingKey::from_ec_der(der.as_bytes()),
                    |point| ec(Curve::P384, point),
                    point.as_bytes(),
                ))
            }
            Algorithm::EdDSA => {
                let key = ed25519_dalek::SigningKey::generate(&mut OsRng);
                let der = key.to_pkcs8_der().map_err(|_| CannotSign)?;
                let public = |point: &[u8]| KeyMaterial::Ed25519(point.try_into().unwrap_or_default());
                Ok(Self::new(EncodingKey::from_ed_der(der.as_bytes()), public, key.verifying_key().as_bytes()))
            }
            Algorithm::ES512 => Err(CannotSign),
            _ => {
                let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).map_err(|_| CannotSign)?;
                let der = key.to_pkcs1_der().map_err(|_| CannotSign)?;
                let public = |modulus: &[u8]| KeyMaterial::Rsa { modulus: modulus.to_vec(), exponent: vec![1, 0, 1] };
                Ok(Self::new(EncodingKey::from_rsa_der(der.as_bytes()), public, &key.n().to_bytes_be()))
            }
        }
    }

    fn new(key: EncodingKey, public: fn(&[u8]) -> KeyMaterial, public_bytes: &[u8]) -> Self {
        Self { key, public, public_bytes: public_bytes.to_vec() }
    }

    pub(crate) fn public(&self) -> KeyMaterial {
        (self.public)(&self.public_bytes)
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        let algorithm = jwa(SignatureAlgorithm::Asymmetric(algorithm)).ok_or(CannotSign)?;
        (DEFAULT_PROVIDER.signer_factory)(&algorithm, &self.key)?.try_sign(message).map_err(|_| CannotSign)
    }

    pub(crate) fn hmac(algorithm: HmacAlgorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
        jwa(SignatureAlgorithm::Hmac(algorithm))
            .and_then(|jwa| (DEFAULT_PROVIDER.signer_factory)(&jwa, &EncodingKey::from_secret(secret)).ok())
            .and_then(|signer| signer.try_sign(message).ok())
            .unwrap_or_default()
    }
}

fn ec(curve: Curve, point: &[u8]) -> KeyMaterial {
    let point = point.get(1..).unwrap_or_default();
    let (x, y) = point.split_at(point.len() / 2);
    KeyMaterial::Ec { curve, x: x.to_vec(), y: y.to_vec() }
}
