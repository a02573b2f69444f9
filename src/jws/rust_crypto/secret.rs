//! HMAC signatures for test tokens.
//!
//! *In*: a secret and a message. *Out*: the signature.

use jsonwebtoken::{EncodingKey, crypto::rust_crypto::DEFAULT_PROVIDER};

use super::{HmacAlgorithm, SignatureAlgorithm, jwa};

pub(crate) fn sign_hmac(algorithm: HmacAlgorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    jwa(SignatureAlgorithm::Hmac(algorithm))
        .and_then(|jwa| (DEFAULT_PROVIDER.signer_factory)(&jwa, &EncodingKey::from_secret(secret)).ok())
        .and_then(|signer| signer.try_sign(message).ok())
        .unwrap_or_default()
}
