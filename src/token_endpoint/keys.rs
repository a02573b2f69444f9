//! What an operator does with the signing keys: rotates, withdraws and lists them.
//!
//! *In*: a new private key, or a `kid`. *Out*: the time from which the key signs; the public keys of all instances.

use std::{error::Error, fmt, time::SystemTime};

use super::{
    TokenEndpoint,
    signer::{self, Rotated},
    store::{PublishedKey, StoreError},
};
use crate::{
    config_error::{ConfigError, ConfigMistake},
    keys::PrivateKey,
};

/// Why a key does not become the next signing key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum KeyRotationError {
    /// The `kid` is that of another published key, or of a key that was withdrawn.
    KeyId(ConfigError),
    /// The store is unavailable. The key may be published, and does not sign.
    Store(StoreError),
}

impl fmt::Display for KeyRotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyId(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for KeyRotationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::KeyId(_) => None,
            Self::Store(error) => error.source(),
        }
    }
}

impl TokenEndpoint {
    /// Publishes the key `next` at once, through the store, so the key set of each instance has it. This instance signs with it
    /// after the [prepublication time](super::TokenEndpointBuilder::key_prepublication), when every API has fetched it. Returns
    /// the time from which it signs.
    ///
    /// The time counts from the first publication by any instance. So call this on each instance with the same key, in any order
    /// and at any time: a key that another instance published an hour ago signs at once. It signs at once, too, if this instance
    /// has no other key, because the last one was withdrawn.
    ///
    /// The previous key stays published until its last token has expired.
    ///
    /// # Errors
    /// This instance has a key with the `kid` of `next`, another published key has it, or it was withdrawn. Or the store is
    /// unavailable. The key does not sign then.
    pub async fn rotate_key(&self, next: PrivateKey) -> Result<SystemTime, KeyRotationError> {
        let rotated = self.inner.signer.rotate(&self.inner.services, next).await;
        let (found, change) = match rotated.map_err(KeyRotationError::Store)? {
            Rotated::From(start) => return Ok(start),
            Rotated::KeyIdInUse => ("a published key has the same kid", "give each key its own kid"),
            Rotated::Withdrawn => ("the key was withdrawn", "use another key"),
        };
        Err(KeyRotationError::KeyId(ConfigMistake::new("signing keys", found, change).into()))
    }

    /// Withdraws the key with this `kid`, for example because it leaked. No instance publishes it or signs with it again: this
    /// one from now on, the others within some seconds. Another key of the same instance signs at once, also if it was published
    /// only now. An instance without another key refuses requests for JWTs with 503 until
    /// [`rotate_key`](Self::rotate_key) gives it one; opaque tokens go on.
    ///
    /// An API refuses the tokens that the key signed when it fetches the key set again. Until then, for five minutes with
    /// most APIs, it accepts them, and tokens that an attacker signs. Withdrawing a key that is not published is no error: it
    /// can't be published later.
    ///
    /// # Errors
    /// The store is unavailable. The key may be withdrawn.
    pub async fn withdraw_key(&self, key_id: &str) -> Result<(), StoreError> {
        self.inner.signer.withdraw(&self.inner.services, key_id).await
    }

    /// Returns the keys of all instances that are published in the store now, the oldest first.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn published_keys(&self) -> Result<Vec<PublishedKey>, StoreError> {
        signer::list(&self.inner.services).await
    }
}
