//! The keys that sign access tokens, and their rotation (RFC 7517 §5, RFC 9068 §2.1).
//!
//! *In*: private keys, and the time from which each signs. *Out*: signed tokens, and the public keys as a JWK set.
//!
//! A key is published as soon as it is known, so that APIs that cache the key set have it before it signs. It stays published
//! until the last token that it may have signed has expired.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::Value;

use super::http::error::TokenError;
use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::{CannotSign, sha256},
    keys::PrivateKey,
};

/// One or more keys that sign one after the other.
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
/// All instances of one issuer need the same keys and times. A key without `kid` gets its thumbprint (RFC 7638).
pub struct SigningKeys {
    /// In the order of their times.
    periods: Vec<Arc<SigningPeriod>>,
}

/// A key, and the time from which it signs.
struct SigningPeriod {
    key: PrivateKey,
    /// The public key as a JWK.
    public: Value,
    from: SystemTime,
}

impl SigningKeys {
    /// Returns a set with this key, which signs from the beginning.
    #[must_use]
    pub fn new(key: PrivateKey) -> Self {
        Self { periods: vec![SigningPeriod::new(key, SystemTime::UNIX_EPOCH)] }
    }

    /// Adds a key that is published at once and signs from `from` on. Two keys with the same `kid` are an error of
    /// [`TokenEndpointBuilder::build`](crate::token_endpoint::TokenEndpointBuilder::build).
    #[must_use]
    pub fn with_next(mut self, key: PrivateKey, from: SystemTime) -> Self {
        self.periods.push(SigningPeriod::new(key, from));
        // The sort is stable, so of two keys with equal times, the one that was added later signs.
        self.periods.sort_by_key(|period| period.from);
        self
    }

    /// Checks that each key has its own `kid`.
    pub(crate) fn check(&self) -> Result<(), ConfigMistake> {
        let mut ids: Vec<_> = self.periods.iter().filter_map(|period| period.key.key_id()).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() == self.periods.len() {
            return Ok(());
        }
        Err(ConfigMistake::new("signing keys", "two keys have the same kid", "give each key its own kid"))
    }
}

impl From<PrivateKey> for SigningKeys {
    fn from(key: PrivateKey) -> Self {
        Self::new(key)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.periods.iter().map(|period| &period.key)).finish()
    }
}

impl SigningPeriod {
    fn new(key: PrivateKey, from: SystemTime) -> Arc<Self> {
        let id = key.key_id().map_or_else(|| thumbprint(&key), str::to_owned);
        let key = key.with_key_id(id);
        let public = serde_json::from_str(&key.public_jwk()).unwrap_or_default();
        Arc::new(Self { key, public, from })
    }
}

/// Signs with the current key. Reading the keys never blocks.
pub(crate) struct Signer {
    keys: ArcSwap<SigningKeys>,
}

/// A JWK set (RFC 7517 §5). It contains public members only, as `PrivateKey::public_jwk` writes them.
#[derive(Serialize)]
pub(crate) struct JwkSet {
    keys: Vec<Value>,
}

impl Signer {
    pub(crate) fn new(keys: SigningKeys) -> Self {
        Self { keys: ArcSwap::from_pointee(keys) }
    }

    /// Signs with the key that is current at this time.
    pub(crate) fn sign(&self, claims: &impl Serialize, now: SystemTime) -> Result<String, TokenError> {
        let keys = self.keys.load();
        let current = keys.periods.iter().rev().find(|period| period.from <= now).or_else(|| keys.periods.first());
        let signed = current.map_or(Err(CannotSign), |current| current.key.sign_jws("at+jwt", claims));
        signed.map_err(TokenError::unavailable)
    }

    /// Returns the JWK set to publish at this time.
    pub(crate) fn jwk_set(&self, now: SystemTime) -> JwkSet {
        let keys = self.keys.load();
        JwkSet { keys: published(&keys.periods, now).map(|period| period.public.clone()).collect() }
    }

    /// Publishes `next` now, and signs with it from `from` on. Removes the keys whose tokens have expired.
    pub(crate) fn rotate(&self, next: PrivateKey, from: SystemTime, now: SystemTime) -> Result<(), ConfigError> {
        let next = SigningPeriod::new(next, from);
        let mut outcome = Ok(());
        self.keys.rcu(|keys| {
            let mut keys = SigningKeys { periods: published(&keys.periods, now).map(Arc::clone).collect() };
            keys.periods.push(Arc::clone(&next));
            keys.periods.sort_by_key(|period| period.from);
            outcome = keys.check();
            if outcome.is_err() {
                keys.periods.retain(|period| !Arc::ptr_eq(period, &next));
            }
            keys
        });
        Ok(outcome?)
    }
}

/// Returns the keys that may have signed an unexpired token, or will sign one.
fn published(periods: &[Arc<SigningPeriod>], now: SystemTime) -> impl Iterator<Item = &Arc<SigningPeriod>> {
    let successors = periods.iter().skip(1).map(Some).chain([None]);
    // A key's last token expires at most `MAX_LIFETIME` after its successor begins to sign.
    let expired = move |next: &SigningPeriod| next.from.checked_add(MAX_LIFETIME).is_some_and(|end| end <= now);
    let in_use = periods.iter().zip(successors).filter(move |(_, next)| !next.is_some_and(|next| expired(next)));
    in_use.map(|(period, _)| period)
}

/// Returns the thumbprint (RFC 7638 §3.1): a hash of the required members in the order of their names.
fn thumbprint(key: &PrivateKey) -> String {
    let jwk: Value = serde_json::from_str(&key.public_jwk()).unwrap_or_default();
    let members = ["crv", "e", "kty", "n", "x", "y"].iter();
    let members = members.filter_map(|name| jwk.get(name).map(|value| format!("\"{name}\":{value}")));
    let json = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    URL_SAFE_NO_PAD.encode(sha256([json.as_bytes()]))
}

/// Maximum lifetime of an access token. For this time, a key stays published after it has signed last.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
