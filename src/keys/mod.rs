//! Verification keys, parsed once and chosen by `kid`, `alg` and kind (RFC 7517, RFC 8725 §3.1).
//!
//! *In*: a JWK set, a PEM or DER public key, a shared secret, a file. *Out*: an immutable [`KeySet`]. A [`PrivateKey`] is
//! for what this server signs itself.
//!
//! One bad key never spoils the others: it is left out, and [`KeySet::skipped`] says why. What is left out: keys of
//! unknown kinds, for encryption, of insufficient strength, weak or malformed points, symmetric keys, and keys that were
//! published together with their private half. Certificates (`x5c`) are not looked at.
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

use std::{
    collections::HashMap,
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use self::jwk::public_members;
pub use self::{private::PrivateKey, secret::SharedSecret};
pub use crate::jws::{Algorithm, HmacAlgorithm, UnknownAlgorithm};
use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::{KeyMaterial, SignatureAlgorithm, VerifyingKey},
};

/// How many keys are tried for one token at the most. Each costs a signature check that a stranger can ask for.
const MAX_CANDIDATES: usize = 4;

/// An immutable set of verification keys.
pub struct KeySet {
    entries: Vec<KeyEntry>,
    /// Places in `entries`, by `kid`.
    by_id: HashMap<Box<str>, Vec<usize>>,
    skipped: Vec<SkippedKey>,
    keys: usize,
    /// Changes when a key vanishes.
    epoch: u64,
}

/// A key bound to one algorithm. An RSA key whose JWK names none has one entry for each.
struct KeyEntry {
    id: Option<Box<str>>,
    algorithm: SignatureAlgorithm,
    key: VerifyingKey,
    /// What the key is, to be found again in the next set.
    material: Arc<KeyMaterial>,
}

impl KeyEntry {
    fn is(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.id == other.id && self.material == other.material
    }
}

/// One key before it is bound to its algorithms.
struct LoadedKey {
    id: Option<String>,
    /// `alg`, where the JWK names one.
    algorithm: Option<SignatureAlgorithm>,
    material: Arc<KeyMaterial>,
}

/// A key of the set that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    place: usize,
    reason: &'static str,
}

impl SkippedKey {
    /// Its place in the set, from 0.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}: {}", self.place, self.reason)
    }
}

impl KeySet {
    /// A JWK set (RFC 7517 §5).
    ///
    /// # Errors
    /// The text is not a JWK set, or no key in it is usable; the message lists each key's reason.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let keys = jwk::parse_set(json.as_ref()).map_err(|found| {
            ConfigMistake::new("key set", found, "give a JWK set: an object with an array `keys` (RFC 7517 §5)")
        })?;
        Self::collect(keys)
    }

    /// A fetched JWK set; one with more than `most` keys is unusable as a whole.
    pub(crate) fn from_fetched(json: &[u8], most: usize) -> Result<Self, String> {
        let keys = jwk::parse_set(json)?;
        if keys.len() > most {
            return Err(format!("it has more than {most} keys"));
        }
        Self::collect(keys).map_err(|error| error.to_string())
    }

    /// A public key in PEM: `PUBLIC KEY` (RFC 7468 §13) or `RSA PUBLIC KEY`. It has no `kid`, so it fits any.
    ///
    /// # Errors
    /// Anything else, a private key and a certificate among them.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::collect([der::from_pem(pem.as_ref())])
    }

    /// A public key in DER: `SubjectPublicKeyInfo` (RFC 5280 §4.1) or PKCS#1 `RSAPublicKey`.
    ///
    /// # Errors
    /// Anything else, and a key that is too weak.
    pub fn from_der(der: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::collect([der::from_der(der.as_ref())])
    }

    /// A JWK set, PEM or DER in a file, told apart by how it begins.
    ///
    /// # Errors
    /// The file can't be read, and what the other constructors refuse.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let content = fs::read(path).map_err(|error| {
            ConfigMistake::new(
                "key set",
                format!("{}: {error}", path.display()),
                "name a file that this process can read",
            )
        })?;
        match content.trim_ascii_start() {
            [b'{', ..] => Self::from_json(content),
            [b'-', ..] => Self::from_pem(content),
            _ => Self::from_der(content),
        }
    }

    /// Both sets' keys in one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let shift = self.entries.len();
        for (id, places) in other.by_id {
            self.by_id.entry(id).or_default().extend(places.iter().map(|place| place + shift));
        }
        self.skipped.extend(other.skipped.into_iter().map(|key| SkippedKey { place: key.place + self.keys, ..key }));
        self.entries.extend(other.entries);
        self.keys += other.keys;
        self
    }

    pub(crate) fn of_secret(secret: SharedSecret) -> Result<Self, ConfigError> {
        let algorithm = Some(SignatureAlgorithm::Hmac(secret.algorithm()));
        Self::collect([Ok(LoadedKey {
            id: None,
            algorithm,
            material: KeyMaterial::Secret(secret.into_bytes()).into(),
        })])
    }

    fn collect(keys: impl IntoIterator<Item = Result<LoadedKey, &'static str>>) -> Result<Self, ConfigError> {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        let epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
        let mut set = Self { entries: Vec::new(), by_id: HashMap::new(), skipped: Vec::new(), keys: 0, epoch };
        for key in keys {
            let place = set.keys;
            set.keys += 1;
            if let Err(reason) = key.and_then(|key| set.add(&key)) {
                set.skipped.push(SkippedKey { place, reason });
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

    /// The keys that may have signed: those with this `kid`; where none has it, those without any; for a token
    /// without `kid`, all. Always of the token's algorithm, and only a few.
    pub(crate) fn candidates(
        &self,
        key_id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> impl Iterator<Item = &VerifyingKey> {
        let named = key_id.and_then(|id| self.by_id.get(id));
        let known = named.into_iter().flatten().filter_map(|place| self.entries.get(*place));
        let rest = if named.is_some() { &[] } else { self.entries.as_slice() };
        let others = rest.iter().filter(move |entry| key_id.is_none() || entry.id.is_none());
        known
            .chain(others)
            .filter(move |entry| entry.algorithm == algorithm)
            .map(|entry| &entry.key)
            .take(MAX_CANDIDATES)
    }

    /// The set that comes after `old`: what was verified with `old` stands if no key of it has gone.
    pub(crate) fn after(self, old: &Self) -> Self {
        let kept = |key: &KeyEntry| self.entries.iter().any(|entry| entry.is(key));
        let epoch = if old.entries.iter().all(kept) { old.epoch } else { self.epoch };
        Self { epoch, ..self }
    }

    /// The same as long as no key goes; never 0.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a key has this `kid`, for whatever algorithm.
    pub(crate) fn knows(&self, key_id: &str) -> bool {
        self.by_id.contains_key(key_id)
    }

    /// How many keys are usable.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys - self.skipped.len()
    }

    /// Never: a set without a usable key is not built.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The keys that are not used, and why.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// Whether a token of this algorithm could have been signed by one of the keys.
    pub(crate) fn serves(&self, algorithm: SignatureAlgorithm) -> bool {
        self.entries.iter().any(|entry| entry.algorithm == algorithm)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.len()).field("skipped", &self.skipped).finish_non_exhaustive()
    }
}
