//! RustCrypto, through jsonwebtoken's provider, which is named here and never looked up in its process-global.
//!
//! Slower than aws-lc-rs (RSA about 13 times), because the provider reads the key again for each signature. It lacks
//! ES512 and RSA keys of more than 4096 bits; both are said when the key or the allow-list is loaded.

use jsonwebtoken::{Algorithm as Jwa, DecodingKey, crypto::rust_crypto::DEFAULT_PROVIDER};

use super::{Algorithm, HmacAlgorithm, KeyMaterial, SignatureAlgorithm};

/// What this backend can verify.
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
        let algorithm = jwa(algorithm).ok_or("ES512, which the feature rust-crypto lacks; turn on aws-lc-rs for it")?;
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
        // Made once to see that the key is good; the provider's verifiers are not `Send`, so none can be kept.
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

#[cfg(feature = "test-util")]
pub(crate) use self::sign::SigningKey;

#[cfg(feature = "test-util")]
mod sign {
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
                    let public =
                        |modulus: &[u8]| KeyMaterial::Rsa { modulus: modulus.to_vec(), exponent: vec![1, 0, 1] };
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
}
