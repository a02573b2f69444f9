//! The signature check alone, for published test vectors whose payloads are not claims.
//!
//! *In*: keys and a JWS. *Out*: its payload if the signature is valid.

use crate::{
    config_error::ConfigError,
    jws::{Algorithm, Compact, SignatureAlgorithm},
    keys::{KeySet, SharedSecret},
    verify::{TokenTypes, check_signature},
};

/// Returns the payload of a JWS in compact form if one of `keys` signed it. It makes the
/// checks that a [`JwtVerifier`](crate::JwtVerifier) makes before it reads the claims, but accepts any `typ`.
///
/// For vectors such as Project Wycheproof's. It does not check issuer, audience or times.
#[must_use]
pub fn open_jws(keys: &KeySet, compact: &str) -> Option<Vec<u8>> {
    let algorithms: Vec<_> = Algorithm::supported().iter().copied().map(SignatureAlgorithm::Asymmetric).collect();
    open(keys, &algorithms, compact)
}

/// Like [`open_jws`], for a shared secret. Only the `alg` of the secret is accepted.
///
/// # Errors
/// The secret can't be used as a key.
pub fn open_jws_with_secret(secret: SharedSecret, compact: &str) -> Result<Option<Vec<u8>>, ConfigError> {
    let algorithm = SignatureAlgorithm::Hmac(secret.algorithm());
    Ok(open(&KeySet::from_secret(secret)?, &[algorithm], compact))
}

fn open(keys: &KeySet, algorithms: &[SignatureAlgorithm], compact: &str) -> Option<Vec<u8>> {
    let jws = Compact::split(compact.as_bytes())?;
    check_signature(&jws, Some(keys), algorithms, TokenTypes::Any).ok()?;
    jws.payload()
}
