//! Secrets, codes and tokens: drawn from 32 random bytes, kept as hashes (RFC 6749 §10.10, RFC 9700 §4.9.3).

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::{NoRandomness, random, sha256},
};

/// SHA-256 of a secret, a code or a token: all that a [`Store`](crate::token_endpoint::Store) ever sees of one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(sha256([text.as_bytes()]))
    }

    /// The hash of several texts, each with its length, so that no two lists have the same.
    pub(crate) fn of_all(texts: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Self(sha256([bytes.as_slice()]))
    }

    /// Its bytes, for a store to write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the two are equal, in a time that does not depend on where they differ.
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

/// A client's secret, of which only the hash is kept.
///
/// The hash is fast. That is right for 32 random bytes and wrong for a word that a person chose, which whoever reads a store
/// could guess. Draw secrets with [`generate`](Self::generate).
#[derive(Clone)]
pub struct ClientSecret {
    hash: TokenHash,
    fingerprint: String,
    empty: bool,
}

impl ClientSecret {
    /// A secret that the client has already. Any text that is not empty.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        let hash = TokenHash::of(text.as_ref());
        let fingerprint = sha256([b"tower-oauth client credential".as_slice(), &hash.0]);
        let fingerprint = URL_SAFE_NO_PAD.encode(fingerprint.get(..8).unwrap_or_default());
        Self { hash, fingerprint, empty: text.as_ref().is_empty() }
    }

    /// A new one of 32 random bytes, and its text, which is told this once.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<(Self, String), ConfigError> {
        let text = draw().map_err(|error| {
            ConfigMistake::new("client_secret", error.to_string(), "repair the system's source of random bytes")
        })?;
        Ok((Self::new(&text), text))
    }

    pub(crate) fn is(&self, presented: &TokenHash) -> bool {
        self.hash.matches(presented)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }

    /// 64 bits of a hash of the hash: enough to see that it is another one.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

/// 32 random bytes as text: 43 characters that are the same in a form, in Basic and in a URL.
pub(crate) fn draw() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}
