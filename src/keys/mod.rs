//! Verification keys, parsed once and chosen by `kid`, `alg` and kind (RFC 7517, RFC 8725 §3.1).
//!
//! *In*: a JWK set, a public key in PEM or DER, a shared secret, or a file. *Out*: an immutable [`KeySet`]. A [`PrivateKey`]
//! signs what this program issues.
//!
//! An unusable key is skipped, and [`KeySet::skipped`] returns the reason; the other keys of the set are used. A key is
//! unusable if its kind is unknown, if it is for encryption, too weak or malformed, if it is symmetric, or if it was published
//! with its private members. Certificates (`x5c`) are *not* checked.
//!
//! ```
//! # fn main() -> Result<(), tower_oauth::ConfigError> {
//! use tower_oauth::keys::KeySet;
//!
//! let keys = KeySet::from_json(
//!     r#"{"keys": [
//!         {"kty": "OKP", "crv": "Ed25519", "kid": "2026-11", "alg": "EdDSA",
//!          "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
//!         {"kty": "oct", "k": "c2VjcmV0"}
//!     ]}"#,
//! )?;
//! assert_eq!(keys.len(), 1);
//! assert_eq!(keys.skipped()[0].to_string(), "key 1: a symmetric key");
//! # Ok(())
//! # }
//! ```

mod der;
mod jwk;
mod private;
pub(crate) mod remote;
mod secret;
mod sender_jwk;
mod thumbprint;

use std::{
    collections::HashMap,
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

#[cfg(feature = "token-endpoint")]
use serde_json::{Value, json};

#[cfg(any(feature = "token-endpoint", feature = "test-util"))]
pub(crate) use self::thumbprint::thumbprint;
pub(crate) use self::{
    jwk::public_members,
    sender_jwk::{SenderJwk, SenderKey},
};
pub use self::{private::PrivateKey, secret::SharedSecret};
pub use crate::jws::{Algorithm, HmacAlgorithm, UnknownAlgorithm};
use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::{KeyMaterial, SignatureAlgorithm, VerifyingKey},
};

/// An immutable set of verification keys.
#[doc(alias("jwks", "JWK"))]
pub struct KeySet {
    entries: Vec<KeyEntry>,
    /// Indexes of `entries`, by `kid`.
    by_id: HashMap<Box<str>, Vec<usize>>,
    skipped: Vec<SkippedKey>,
    /// Number of keys in the JWK set, including the skipped ones.
    total: usize,
    /// A number that changes when a key is withdrawn.
    epoch: u64,
    /// A number that no other parsed set has.
    serial: u64,
}

/// A key bound to one algorithm. An RSA key without `alg` has one entry for each RSA algorithm.
struct KeyEntry {
    id: Option<Box<str>>,
    algorithm: SignatureAlgorithm,
    key: VerifyingKey,
    /// Compared with the keys of the next set.
    material: Arc<KeyMaterial>,
}

impl KeyEntry {
    fn is_same_key(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.id == other.id && self.material == other.material
    }
}

/// A key before it is bound to its algorithms.
struct LoadedKey {
    id: Option<String>,
    /// `alg`, if the JWK has one.
    algorithm: Option<SignatureAlgorithm>,
    material: Arc<KeyMaterial>,
}

/// A key of a set that is not used, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    index: usize,
    reason: &'static str,
}

impl SkippedKey {
    /// Returns the key's index in the set, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns why the key is not used. The text is for people and may change.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}: {}", self.index, self.reason)
    }
}

impl KeySet {
    /// Parses a JWK set (RFC 7517 §5).
    ///
    /// Mistakes of issuers that can't change which key is meant are accepted: a byte order mark, `=` padding, missing or added
    /// leading zeros of RSA numbers and EC coordinates, and optional members that are `null` or empty.
    ///
    /// # Errors
    /// The text is not a JWK set, or no key in it is usable. The message has the reason for each key.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let keys = jwk::parse_set(json.as_ref()).map_err(|found| {
            ConfigMistake::new("key set", found, "give a JWK set: an object with an array `keys` (RFC 7517 §5)")
        })?;
        Self::from_loaded(keys)
    }

    /// Parses a fetched JWK set. A set with more than `max_keys` keys is unusable as a whole.
    pub(crate) fn from_fetched(json: &[u8], max_keys: usize) -> Result<Self, String> {
        let keys = jwk::parse_set(json)?;
        if keys.len() > max_keys {
            return Err(format!("it has more than {max_keys} keys"));
        }
        Self::from_loaded(keys).map_err(|error| error.to_string())
    }

    /// Parses a public key in PEM: `PUBLIC KEY` (RFC 7468 §13) or `RSA PUBLIC KEY`, or the base64 of such a block without its
    /// `BEGIN` and `END` lines. The key has no `kid`, so it is tried for every `kid`.
    ///
    /// # Errors
    /// The text is anything else, such as a private key or a certificate, or the key is too weak.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::from_loaded([der::from_pem(pem.as_ref())])
    }

    /// Parses a public key in DER: `SubjectPublicKeyInfo` (RFC 5280 §4.1) or PKCS#1 `RSAPublicKey`.
    ///
    /// # Errors
    /// The bytes are anything else, or the key is too weak.
    pub fn from_der(der: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::from_loaded([der::from_der(der.as_ref())])
    }

    /// Reads a JWK set, PEM, base64 or DER from a file. The first character decides which of them it is.
    ///
    /// # Errors
    /// The file can't be read, or the constructor for its format returns an error.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let content = fs::read(path).map_err(|error| {
            ConfigMistake::new(
                "key set",
                format!("{}: {error}", path.display()),
                "name a file that this process can read",
            )
        })?;
        let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
        match text.trim_ascii_start() {
            // An array is not a JWK set either, and the error of this constructor says so.
            [b'{' | b'[', ..] => Self::from_json(text),
            // `M` begins the base64 of every key; DER begins with `0`.
            [b'-' | b'M', ..] => Self::from_pem(text),
            _ => Self::from_der(content),
        }
    }

    /// Returns a set with the keys of both sets.
    #[must_use]
    pub fn with_keys(mut self, other: Self) -> Self {
        let shift = self.entries.len();
        for (id, indexes) in other.by_id {
            self.by_id.entry(id).or_default().extend(indexes.iter().map(|index| index + shift));
        }
        self.skipped.extend(other.skipped.into_iter().map(|key| SkippedKey { index: key.index + self.total, ..key }));
        self.entries.extend(other.entries);
        self.total += other.total;
        self
    }

    pub(crate) fn from_secret(secret: SharedSecret) -> Result<Self, ConfigError> {
        let algorithm = Some(SignatureAlgorithm::Hmac(secret.algorithm()));
        Self::from_loaded([Ok(LoadedKey {
            id: None,
            algorithm,
            material: KeyMaterial::Secret(secret.into_bytes()).into(),
        })])
    }

    fn from_loaded(keys: impl IntoIterator<Item = Result<LoadedKey, &'static str>>) -> Result<Self, ConfigError> {
        static SERIALS: AtomicU64 = AtomicU64::new(1);
        let serial = SERIALS.fetch_add(1, Ordering::Relaxed);
        let (entries, by_id, skipped) = (Vec::new(), HashMap::new(), Vec::new());
        let mut set = Self { entries, by_id, skipped, total: 0, epoch: serial, serial };
        for key in keys {
            let index = set.total;
            set.total += 1;
            if let Err(reason) = key.and_then(|key| set.add(&key)) {
                set.skipped.push(SkippedKey { index, reason });
            }
        }
        if set.entries.is_empty() {
            let reasons: Vec<String> = set.skipped.iter().map(ToString::to_string).collect();
            let found = if reasons.is_empty() { "it is empty".to_owned() } else { reasons.join(", ") };
            let change = "give at least one public signature key: RSA from 2048 bits, P-256, P-384, P-521 or Ed25519";
            return Err(ConfigMistake::new("key set", format!("no key is usable ({found})"), change).into());
        }
        Ok(set)
    }

    fn add(&mut self, key: &LoadedKey) -> Result<(), &'static str> {
        key.material.check()?;
        let possible = key.material.algorithms();
        let algorithms = match key.algorithm {
            Some(algorithm) if possible.contains(&algorithm) => vec![algorithm],
            Some(_) => return Err("its alg does not belong to its kind of key"),
            None => possible.to_vec(),
        };
        let mut bound = Vec::new();
        for algorithm in algorithms {
            bound.push((algorithm, VerifyingKey::load(algorithm, &key.material)?));
        }
        for (algorithm, verifying) in bound {
            let id: Option<Box<str>> = key.id.as_deref().map(Into::into);
            if let Some(id) = id.clone() {
                self.by_id.entry(id).or_default().push(self.entries.len());
            }
            self.entries.push(KeyEntry { id, algorithm, key: verifying, material: Arc::clone(&key.material) });
        }
        Ok(())
    }

    /// Returns the keys that may have signed a token: at most [`MAX_CANDIDATES`] keys of its algorithm.
    ///
    /// These are the keys with the token's `kid`. If there is none, the keys without a `kid`. For a token without `kid`, all
    /// keys.
    pub(crate) fn candidates(
        &self,
        key_id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> impl Iterator<Item = &VerifyingKey> {
        self.selected(key_id, algorithm).map(|entry| &entry.key).take(MAX_CANDIDATES)
    }

    /// Returns the number of keys that may have signed a token, including those beyond [`MAX_CANDIDATES`].
    pub(crate) fn candidate_count(&self, key_id: Option<&str>, algorithm: SignatureAlgorithm) -> usize {
        self.selected(key_id, algorithm).count()
    }

    fn selected(&self, key_id: Option<&str>, algorithm: SignatureAlgorithm) -> impl Iterator<Item = &KeyEntry> {
        let indexes = key_id.and_then(|id| self.by_id.get(id));
        let with_id = indexes.into_iter().flatten().filter_map(|index| self.entries.get(*index));
        let others = if indexes.is_some() { &[] } else { self.entries.as_slice() };
        let without_id = others.iter().filter(move |entry| key_id.is_none() || entry.id.is_none());
        with_id.chain(without_id).filter(move |entry| entry.algorithm == algorithm)
    }

    /// Returns the `kid`s of the set, each once, in no particular order.
    pub(crate) fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.by_id.keys().map(|id| &**id)
    }

    /// Returns this set as the successor of `old`. It has the same epoch if no key of `old` was withdrawn.
    pub(crate) fn succeeding(self, old: &Self) -> Self {
        let epoch = if self.has_keys_of(old) { old.epoch } else { self.epoch };
        Self { epoch, ..self }
    }

    /// True if both sets have the same keys.
    pub(crate) fn has_same_keys(&self, other: &Self) -> bool {
        self.has_keys_of(other) && other.has_keys_of(self)
    }

    fn has_keys_of(&self, other: &Self) -> bool {
        other.entries.iter().all(|key| self.entries.iter().any(|entry| entry.is_same_key(key)))
    }

    /// Returns a number that no other parsed set has.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Returns a number that changes when a key is withdrawn. Never 0.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// True if a key has this `kid`, for any algorithm.
    pub(crate) fn has_key_id(&self, key_id: &str) -> bool {
        self.by_id.contains_key(key_id)
    }

    /// Returns the usable keys as a JWK set, from which [`from_json`](Self::from_json) makes an equal one.
    #[cfg(feature = "token-endpoint")]
    pub(crate) fn to_json(&self) -> Value {
        // A key without `alg` has one entry for each of its algorithms.
        let keys =
            self.entries.chunk_by(|one, next| Arc::ptr_eq(&one.material, &next.material)).filter_map(|entries| {
                let first = entries.first()?;
                let mut jwk = public_members(&first.material);
                let members = jwk.as_object_mut()?;
                if let Some(id) = &first.id {
                    members.insert("kid".to_owned(), Value::from(&**id));
                }
                if entries.len() == 1 {
                    members.insert("alg".to_owned(), Value::from(first.algorithm.as_str()));
                }
                Some(jwk)
            });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    /// Returns the number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.total - self.skipped.len()
    }

    /// Returns false: every constructor returns an error if no key is usable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the keys that are not used.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// True if one of the keys can verify this algorithm.
    pub(crate) fn can_verify(&self, algorithm: SignatureAlgorithm) -> bool {
        self.entries.iter().any(|entry| entry.algorithm == algorithm)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.len()).field("skipped", &self.skipped).finish_non_exhaustive()
    }
}

/// Maximum number of keys that are tried for one token. Each is a signature check that any client can cause.
pub(crate) const MAX_CANDIDATES: usize = 4;
