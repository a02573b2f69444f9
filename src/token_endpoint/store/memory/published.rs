//! The published keys of issuers.
//!
//! *In*: keys as JWK. *Out*: those that are published and not withdrawn.

use std::collections::BTreeMap;

use super::{
    super::{KeyPublished, ListKeys, PublishKey, PublishedKey, StoreError, Timestamp, WithdrawKey},
    fast_map::FastMap,
};
use crate::token_endpoint::client::secret::TokenHash;

/// Keys by issuer and key id. The host publishes them, so their number is bounded by a constant and needs no places.
#[derive(Default)]
pub(super) struct PublishedKeys {
    issuers: FastMap<TokenHash, BTreeMap<String, StoredKey>>,
}

struct StoredKey {
    /// `None` if the key was withdrawn.
    key: Option<StoredJwk>,
    expires_at: Timestamp,
}

struct StoredJwk {
    jwk: String,
    since: Timestamp,
}

impl PublishedKeys {
    pub(super) fn publish(&mut self, request: &PublishKey) -> Result<KeyPublished, StoreError> {
        let keys = self.of_issuer(request.issuer, request.now);
        let mut since = request.now;
        let mut expires_at = request.expires_at;
        if let Some(known) = keys.get(&request.key_id) {
            let Some(key) = &known.key else { return Ok(KeyPublished::Withdrawn) };
            since = key.since;
            expires_at = expires_at.max(known.expires_at);
        } else {
            check_room(keys)?;
        }
        let key = Some(StoredJwk { jwk: request.jwk.clone(), since });
        keys.insert(request.key_id.clone(), StoredKey { key, expires_at });
        Ok(KeyPublished::Done { since })
    }

    pub(super) fn withdraw(&mut self, request: &WithdrawKey) -> Result<(), StoreError> {
        let keys = self.of_issuer(request.issuer, request.now);
        let known = keys.get(&request.key_id);
        if known.is_none() {
            check_room(keys)?;
        }
        // A key that was withdrawn before for a longer time stays withdrawn for it.
        let before = known.filter(|known| known.key.is_none()).map(|known| known.expires_at);
        let expires_at = before.map_or(request.expires_at, |before| before.max(request.expires_at));
        keys.insert(request.key_id.clone(), StoredKey { key: None, expires_at });
        Ok(())
    }

    pub(super) fn list(&self, request: &ListKeys) -> Vec<PublishedKey> {
        let Some(keys) = self.issuers.get(&request.issuer) else { return Vec::new() };
        let published = keys.iter().filter(|(_, publication)| request.now < publication.expires_at);
        let listed = published.filter_map(|(key_id, publication)| {
            let StoredJwk { jwk, since } = publication.key.as_ref()?;
            Some(PublishedKey { key_id: key_id.clone(), jwk: jwk.clone(), since: *since })
        });
        listed.collect()
    }

    /// Returns the keys of an issuer without the expired ones.
    fn of_issuer(&mut self, issuer: TokenHash, now: Timestamp) -> &mut BTreeMap<String, StoredKey> {
        let keys = self.issuers.entry(issuer).or_default();
        keys.retain(|_, publication| now < publication.expires_at);
        keys
    }
}

fn check_room(keys: &BTreeMap<String, StoredKey>) -> Result<(), StoreError> {
    if keys.len() < MAX_KEYS { Ok(()) } else { Err(StoreError::not_executed("the issuer has too many published keys")) }
}

/// Maximum number of keys of one issuer.
const MAX_KEYS: usize = 1000;
