//! A secret shared with the issuer, for tokens with HS256, HS384 and HS512 (RFC 7518 §3.2).
//!
//! *In*: random bytes. *Out*: a secret for one algorithm, if it is long enough. Its randomness is *not* checked.

use std::fmt;

use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::HmacAlgorithm,
};

/// A secret bound to one HMAC algorithm. Every party that has it can issue tokens, also the resource server. `Debug` hides it.
pub struct SharedSecret {
    algorithm: HmacAlgorithm,
    bytes: Vec<u8>,
}

impl SharedSecret {
    /// Returns a secret with these random bytes. Never use a password that a person chose (RFC 8725 §3.5).
    ///
    /// # Errors
    /// The secret is shorter than the algorithm's hash (RFC 7518 §3.2).
    pub fn new(algorithm: HmacAlgorithm, bytes: impl Into<Vec<u8>>) -> Result<Self, ConfigError> {
        let bytes = bytes.into();
        let min = algorithm.min_secret_bytes();
        if bytes.len() < min {
            let found = format!("{} bytes, but {algorithm:?} needs at least {min}", bytes.len());
            return Err(ConfigMistake::new("shared secret", found, "generate at least that many random bytes").into());
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
