//! Secrets, codes and tokens: 32 random bytes each, stored as hashes only (RFC 6749 §10.10, RFC 9700 §4.9.3).
//!
//! *In*: a text, or the system's random bytes. *Out*: a hash to store and compare.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::{NoRandomness, random, sha256},
};

/// The SHA-256 hash of a secret, a code or a token. A [`Store`](crate::token_endpoint::Store) never gets the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Returns the hash of this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(sha256([text.as_bytes()]))
    }

    /// Returns the hash of several texts, each with its length, so that different lists have different hashes.
    pub(crate) fn of_all(texts: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Self(sha256([bytes.as_slice()]))
    }

    /// Returns the bytes of the hash, for a store to write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns whether the two hashes are equal, in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }
}

impl From<[u8; 32]> for TokenHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash([redacted])")
    }
}

/// A client's secret. Only its hash is stored.
///
/// The hash is fast. That is enough for 32 random bytes, but not for a password that a person chose: an attacker who reads
/// the hash could guess the password. Generate secrets with [`generate`](Self::generate).
#[derive(Clone)]
pub struct ClientSecret {
    hash: TokenHash,
    fingerprint: String,
    empty: bool,
}

impl ClientSecret {
    /// Returns the secret with this text, which the client already has. The text must not be empty; [`ClientBuilder::build`]
    /// reports it.
    ///
    /// [`ClientBuilder::build`]: crate::token_endpoint::ClientBuilder::build
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        let hash = TokenHash::of(text.as_ref());
        let fingerprint = sha256([b"tower-oauth client credential".as_slice(), &hash.0]);
        let fingerprint = URL_SAFE_NO_PAD.encode(fingerprint.get(..8).unwrap_or_default());
        Self { hash, fingerprint, empty: text.as_ref().is_empty() }
    }

    /// Generates a secret of 32 random bytes. Returns it with its text, which can't be read again.
    ///
    /// # Errors
    /// The system provides no random bytes.
    pub fn generate() -> Result<(Self, String), ConfigError> {
        let text = random_text().map_err(|error| {
            ConfigMistake::new("client_secret", error.to_string(), "check the system's source of random bytes")
        })?;
        Ok((Self::new(&text), text))
    }

    pub(crate) fn matches(&self, presented: &TokenHash) -> bool {
        self.hash.matches(presented)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Returns 64 bits of a hash of the hash: enough to detect that the secret has changed.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

/// Returns 32 random bytes as text: 43 characters that need no encoding in a form, a `Basic` header or a URL.
pub(crate) fn random_text() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}
