//! The signature check alone, for published test vectors whose payloads are no claims.

use crate::{
    config_error::ConfigError,
    jws::{Algorithm, Compact, SignatureAlgorithm},
    keys::{KeySet, SharedSecret},
    verify::check_signature,
};

/// The payload of a JWS in compact form, if one of `keys` signed it. The very steps a
/// [`JwtVerifier`](crate::JwtVerifier) takes before it looks at claims; only `typ` may be any.
///
/// For vectors such as Project Wycheproof's. It says nothing of who issued a token, for whom, or when.
#[must_use]
pub fn open_jws(keys: &KeySet, compact: &str) -> Option<Vec<u8>> {
    let algorithms: Vec<_> = Algorithm::supported().iter().copied().map(SignatureAlgorithm::Asymmetric).collect();
    open(keys, &algorithms, compact)
}

/// The same under a shared secret; the only `alg` it takes is the secret's.
///
/// # Errors
/// The secret's key set can't be made, as [`JwtVerifierBuilder::build`](crate::verify::JwtVerifierBuilder::build) reports.
pub fn open_jws_with_secret(secret: SharedSecret, compact: &str) -> Result<Option<Vec<u8>>, ConfigError> {
    let algorithm = SignatureAlgorithm::Hmac(secret.algorithm());
    Ok(open(&KeySet::from_secret(secret)?, &[algorithm], compact))
}

fn open(keys: &KeySet, algorithms: &[SignatureAlgorithm], compact: &str) -> Option<Vec<u8>> {
    let jws = Compact::split(compact.as_bytes())?;
    check_signature(&jws, Some(keys), algorithms, |_| true).ok()?;
    jws.payload()
}
