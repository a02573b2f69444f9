//! A secret shared with the issuer, for HS* tokens.

use std::fmt;

use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::HmacAlgorithm,
};

/// A secret bound to one HMAC algorithm. Whoever holds it can also issue tokens, the resource server included.
pub struct SharedSecret {
    algorithm: HmacAlgorithm,
    bytes: Vec<u8>,
}

impl SharedSecret {
    /// A secret of random bytes. A password that a person chose is none (RFC 8725 §3.5).
    ///
    /// # Errors
    /// Fewer bytes than the algorithm's hash has (RFC 7518 §3.2).
    pub fn new(algorithm: HmacAlgorithm, bytes: impl Into<Vec<u8>>) -> Result<Self, ConfigError> {
        let bytes = bytes.into();
        let least = algorithm.min_secret_bytes();
        if bytes.len() < least {
            let found = format!("{} bytes, but {algorithm:?} needs at least {least}", bytes.len());
            return Err(ConfigMistake::new(
                "shared secret",
                found,
                "draw it from a random source, as long as the hash",
            )
            .into());
        }
        Ok(Self { algorithm, bytes })
    }

    pub(crate) fn algorithm(&self) -> HmacAlgorithm {
        self.algorithm
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").field("algorithm", &self.algorithm).field("bytes", &"[redacted]").finish()
    }
}
