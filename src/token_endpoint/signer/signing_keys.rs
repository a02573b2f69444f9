//! The private keys of one instance, and when each begins to sign (RFC 7517 §5, RFC 9068 §2.1).
//!
//! *In*: private keys. *Out*: keys with a `kid` each, the oldest first.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::SystemTime,
};

use serde_json::Value;

use crate::{config_error::ConfigMistake, confirmation::encoded, keys::PrivateKey};

/// The keys of one instance, which sign one after the other.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use std::time::{Duration, SystemTime};
/// use tower_oauth::{keys::{Algorithm, PrivateKey}, token_endpoint::SigningKeys};
///
/// let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
/// let keys = SigningKeys::new(PrivateKey::generate(Algorithm::ES256)?)
///     .with_next(PrivateKey::generate(Algorithm::ES256)?, tomorrow);
/// # let _ = keys;
/// # Ok(())
/// # }
/// ```
///
/// Instances of one issuer may have the same keys or different ones: each publishes its keys in the
/// [`Store`](crate::token_endpoint::Store) before it signs with them. A key signs when it has been published for the
/// [prepublication time](crate::token_endpoint::TokenEndpointBuilder::key_prepublication); of several such keys, the newest
/// signs. Before that, because all keys are new, the key that was published first signs at once.
///
/// A key without `kid` gets its thumbprint (RFC 7638).
pub struct SigningKeys {
    /// The oldest first.
    pub(super) keys: Vec<Arc<OwnKey>>,
}

/// A key of this instance.
pub(super) struct OwnKey {
    pub(super) private: PrivateKey,
    /// `kid`.
    pub(super) id: String,
    /// The public key as a JWK.
    pub(super) jwk: Value,
    pub(super) start: KeyStart,
    /// Whether this process has signed with it.
    pub(super) is_used: AtomicBool,
}

/// When a key begins to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyStart {
    /// It is older than all other keys.
    Oldest,
    /// When it has been published for the prepublication time.
    WhenPublished,
    At(SystemTime),
}

impl SigningKeys {
    /// Returns a set with this key.
    #[must_use]
    pub fn new(key: PrivateKey) -> Self {
        Self { keys: vec![OwnKey::new(key, KeyStart::Oldest)] }
    }

    /// Adds a key that is newer than the ones before. It replaces them when it has been published for the prepublication time.
    /// Two keys with the same `kid` are an error of
    /// [`TokenEndpointBuilder::build`](crate::token_endpoint::TokenEndpointBuilder::build).
    #[must_use]
    pub fn with_newer(self, key: PrivateKey) -> Self {
        self.with(OwnKey::new(key, KeyStart::WhenPublished))
    }

    /// Adds a key that signs from `from` on, whenever it was published. Two keys with the same `kid` are an error of
    /// [`TokenEndpointBuilder::build`](crate::token_endpoint::TokenEndpointBuilder::build).
    #[must_use]
    pub fn with_next(self, key: PrivateKey, from: SystemTime) -> Self {
        self.with(OwnKey::new(key, KeyStart::At(from)))
    }

    /// Checks that each key has its own `kid`.
    pub(crate) fn check(&self) -> Result<(), ConfigMistake> {
        let mut ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() == self.keys.len() {
            return Ok(());
        }
        Err(ConfigMistake::new("signing keys", "two keys have the same kid", "give each key its own kid"))
    }

    fn with(mut self, key: Arc<OwnKey>) -> Self {
        self.keys.push(key);
        // The sort is stable, so of two keys with equal times, the one that was added later is newer.
        self.keys.sort_by_key(|key| key.start.rank());
        self
    }
}

impl From<PrivateKey> for SigningKeys {
    fn from(key: PrivateKey) -> Self {
        Self::new(key)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.private)).finish()
    }
}

impl OwnKey {
    pub(super) fn new(key: PrivateKey, start: KeyStart) -> Arc<Self> {
        let id = key.key_id().map_or_else(|| encoded(&key.thumbprint()), str::to_owned);
        let private = key.with_key_id(&id);
        let jwk = serde_json::from_str(&private.public_jwk()).unwrap_or_default();
        Arc::new(Self { private, id, jwk, start, is_used: AtomicBool::new(false) })
    }
}

impl KeyStart {
    /// Returns the key's place in the order of age, as far as it is known before the publication.
    pub(super) fn rank(self) -> SystemTime {
        match self {
            Self::Oldest | Self::WhenPublished => SystemTime::UNIX_EPOCH,
            Self::At(from) => from,
        }
    }
}
