//! aws-lc-rs: keys are parsed once and verify any number of signatures.

use aws_lc_rs::{
    hmac,
    rsa::PublicKeyComponents,
    signature::{self, ParsedPublicKey, RsaParameters, VerificationAlgorithm},
};

use super::{Algorithm, HmacAlgorithm, KeyMaterial, SignatureAlgorithm};

/// What this backend can verify: everything we know.
pub(crate) const SUPPORTED: &[Algorithm] = Algorithm::ALL;

/// A key bound to one algorithm.
pub(crate) enum VerifyingKey {
    Public(ParsedPublicKey),
    /// In a box: it has more than a kilobyte.
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
            // Constant-time inside.
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

#[cfg(feature = "test-util")]
pub(crate) use self::sign::SigningKey;

#[cfg(feature = "test-util")]
mod sign {
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
}
