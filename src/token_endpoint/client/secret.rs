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
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::token_endpoint::ClientSecret;
///
/// let (secret, text) = ClientSecret::generate()?;
/// let stored = secret.hash(); // for the database; `text` is for the client only
/// let secret = ClientSecret::from_hash(&stored)?;
/// # let _ = (secret, text);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientSecret {
    hash: SecretHash,
    origin: SecretOrigin,
    /// True if it was read from the record of a client.
    is_stored: bool,
}

/// Where the text of a secret comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SecretOrigin {
    /// 32 random bytes, which can't be guessed.
    Generated,
    /// The application. Its entropy is unknown.
    Given,
}

impl ClientSecret {
    /// Returns the secret with this text, which the client already has. The text must not be empty; [`ClientBuilder::build`]
    /// reports it.
    ///
    /// [`ClientBuilder::build`]: crate::token_endpoint::ClientBuilder::build
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { hash: SecretHash::of(text.as_ref()), origin: SecretOrigin::Given, is_stored: false }
    }

    /// Generates a secret of 32 random bytes. Returns it with its text, which can't be read again.
    ///
    /// # Errors
    /// The system provides no random bytes.
    pub fn generate() -> Result<(Self, String), ConfigError> {
        let text = random_text().map_err(|error| {
            ConfigMistake::new("client_secret", error.to_string(), "check the system's source of random bytes")
        })?;
        Ok((Self { hash: SecretHash::of(&text), origin: SecretOrigin::Generated, is_stored: false }, text))
    }

    /// Returns the secret with this hash, which [`hash`](Self::hash) returned.
    ///
    /// # Errors
    /// The text has another form.
    pub fn from_hash(hash: &str) -> Result<Self, ConfigError> {
        let parse = |encoded: &str, origin| {
            let hash = URL_SAFE_NO_PAD.decode(encoded).ok()?.try_into().ok()?;
            Some(Self { hash: SecretHash(hash), origin, is_stored: false })
        };
        let secret = match (hash.strip_prefix(GENERATED), hash.strip_prefix(GIVEN)) {
            (Some(encoded), _) => parse(encoded, SecretOrigin::Generated),
            (None, Some(encoded)) => parse(encoded, SecretOrigin::Given),
            (None, None) => None,
        };
        // The text is not quoted, because it may be a secret.
        let change = "give a text that ClientSecret::hash returned, or a plain secret to ClientSecret::new";
        secret.ok_or_else(|| ConfigMistake::new("client_secret", "a text that is no hash of a secret", change).into())
    }

    /// Returns the SHA-256 hash as text, to store it in a database and read it again with [`from_hash`](Self::from_hash). The
    /// text also contains whether the secret was [generated](Self::generate).
    ///
    /// Store it like a password hash. An attacker who reads it can't guess a generated secret, but can guess one that a person
    /// chose.
    #[must_use]
    pub fn hash(&self) -> String {
        let prefix = if self.is_generated() { GENERATED } else { GIVEN };
        prefix.to_owned() + &URL_SAFE_NO_PAD.encode(self.hash.0)
    }

    /// Reads the hash in the record of a client.
    pub(crate) fn from_record(hash: &str) -> Result<Self, ConfigError> {
        Ok(Self { is_stored: true, ..Self::from_hash(hash)? })
    }

    /// True if it was read from the record of a client, and that now has none of these secrets instead.
    pub(crate) fn is_replaced_by<'s>(&self, stored: impl IntoIterator<Item = &'s Self>) -> bool {
        self.is_stored && !stored.into_iter().any(|stored| stored.matches(&self.hash))
    }

    pub(crate) fn matches(&self, presented: &SecretHash) -> bool {
        self.hash.matches(presented)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.matches(&SecretHash::of(""))
    }

    /// True if the secret has 32 random bytes.
    pub(crate) fn is_generated(&self) -> bool {
        self.origin == SecretOrigin::Generated
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

/// The SHA-256 hash of a registered or a presented secret.
#[derive(Clone)]
pub(crate) struct SecretHash([u8; 32]);

impl SecretHash {
    pub(crate) fn of(text: &str) -> Self {
        Self(sha256([text.as_bytes()]))
    }

    /// True if the two hashes are equal, in constant time.
    fn matches(&self, other: &Self) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }
}

/// Begin of the text of a generated secret's hash.
const GENERATED: &str = "sha256-generated:";
/// Begin of the text of another secret's hash.
const GIVEN: &str = "sha256:";
/// Returns 32 random bytes as text: 43 characters that need no encoding in a form, a `Basic` header or a URL.
pub(crate) fn random_text() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}
