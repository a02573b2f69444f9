//! Signs access tokens, and publishes the keys that verify them (RFC 7517 §5, RFC 9068 §2.1).
//!
//! *In*: the private keys of this instance, and the store. *Out*: signed tokens, and the public keys of all instances as a JWK
//! set.
//!
//! A key is published in the store before it signs, so the key set of each instance has the keys of all. It stays published until
//! the last token that it may have signed has expired.

mod own_keys;
mod signing_keys;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;

pub use self::signing_keys::SigningKeys;
use self::{
    own_keys::OwnKeys,
    signing_keys::{KeyStart, OwnKey},
};
use super::{
    events::{Event, EventKind},
    http::error::TokenError,
    services::Services,
    store::{KeyPublished, ListKeys, PublishKey, PublishedKey, StoreError, Timestamp, WithdrawKey, Written},
};
use crate::{jws::CannotSign, keys::PrivateKey};

/// Signs with the current key. Reading the keys never blocks.
pub(crate) struct Signer {
    state: ArcSwap<KeyState>,
    /// Held while the store is asked and while `state` is changed.
    turn: Mutex<()>,
    /// The number of the last exchange with the store that has begun.
    begun: AtomicU64,
}

/// What is known of the keys.
#[derive(Clone)]
struct KeyState {
    own: OwnKeys,
    /// The keys of all instances, as the store has listed them last.
    listed: Arc<[ListedKey]>,
    /// The number of the last exchange with the store that has ended.
    ended: u64,
    /// When it ended, and whether it failed. `None` before the first one.
    last: Option<(Timestamp, bool)>,
    /// How many exchanges there were since this time, for at most `PERIOD`.
    recent: (Timestamp, u32),
}

#[derive(Clone)]
struct ListedKey {
    id: String,
    jwk: Value,
}

/// A JWK set (RFC 7517 §5). It contains public members only, as `PrivateKey::public_jwk` writes them.
#[derive(Serialize)]
pub(crate) struct JwkSet {
    keys: Vec<Value>,
}

/// What became of a new key.
pub(crate) enum Rotated {
    /// It signs from this time on.
    From(SystemTime),
    /// Its `kid` is that of another published key.
    KeyIdInUse,
    Withdrawn,
}

impl Signer {
    pub(crate) fn new(keys: SigningKeys, prepublication: Duration) -> Self {
        let state = KeyState {
            own: OwnKeys::new(keys, prepublication),
            listed: Arc::new([]),
            ended: 0,
            last: None,
            recent: (Timestamp::default(), 0),
        };
        Self { state: ArcSwap::from_pointee(state), turn: Mutex::new(()), begun: AtomicU64::new(0) }
    }

    /// Publishes the key that signs next, unless it is published. The store is asked again every few seconds, by one request.
    pub(crate) async fn prepare(&self, services: &Services) -> Result<(), TokenError> {
        let now = services.now();
        let state = self.state.load();
        if state.own.signing(now).is_some() && !state.is_old(now.into()) {
            return Ok(());
        }
        // In a box, so that the future of each request stays small.
        Box::pin(self.prepare_in_store(services)).await
    }

    async fn prepare_in_store(&self, services: &Services) -> Result<(), TokenError> {
        let now = services.now();
        let ended = self.state.load().ended;
        if self.state.load().own.signing(now).is_some() {
            // A failure matters to the next requests only if it lasts for hours.
            if let Ok(_turn) = self.turn.try_lock()
                && self.state.load().is_old(now.into())
            {
                let _ = self.exchange(services).await;
            }
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        // A request that has waited shares the outcome.
        if self.state.load().ended == ended {
            self.exchange(services).await?;
        }
        let state = self.state.load();
        state.own.signing(services.now()).map(|_| ()).ok_or_else(|| TokenError::unavailable(CannotSign))
    }

    /// Signs with the key that is current now.
    pub(crate) fn sign(&self, services: &Services, claims: &impl Serialize) -> Result<String, TokenError> {
        let state = self.state.load();
        let key = state.own.signing(services.now()).ok_or_else(|| TokenError::unavailable(CannotSign))?;
        // Read first, because a write would move the flag between the processors for each token.
        if !key.is_used.load(Ordering::Relaxed) && !key.is_used.swap(true, Ordering::Relaxed) {
            services.emit(&Event { key_id: Some(&key.id), ..Event::new(EventKind::KeyUsed) });
        }
        key.private.sign_jws("at+jwt", claims).map_err(TokenError::unavailable)
    }

    /// Returns the JWK set to publish: the keys of all instances, as the store lists them now. While the store fails, those that
    /// it has listed last, and the keys of this instance.
    pub(crate) async fn key_set(&self, services: &Services) -> JwkSet {
        if self.state.load().may_ask(services.timestamp()) {
            let begun = self.begun.load(Ordering::SeqCst);
            let _turn = self.turn.lock().await;
            let state = self.state.load();
            // An exchange that began after this request has come is as good as one of its own.
            if state.ended <= begun && state.may_ask(services.timestamp()) {
                let _ = self.exchange(services).await;
            }
        }
        self.state.load().key_set(services.now())
    }

    /// Publishes `next`, and signs with it when it has been published for the prepublication time.
    pub(crate) async fn rotate(&self, services: &Services, next: PrivateKey) -> Result<Rotated, StoreError> {
        let next = OwnKey::new(next, KeyStart::WhenPublished);
        let _turn = self.turn.lock().await;
        // The older keys are published first, so that one of them signs until then.
        self.exchange(services).await?;
        let mut state = KeyState::clone(&self.state.load());
        state.own.remove_obsolete(services.now());
        if state.own.has(&next.id) || state.is_other_key(&next) {
            return Ok(Rotated::KeyIdInUse);
        }
        state.own.add(Arc::clone(&next));
        state.publish(services, &next).await?;
        let start = state.own.start(&next.id, services.now());
        if start.is_some() {
            self.state.store(Arc::new(state));
        }
        Ok(start.map_or(Rotated::Withdrawn, Rotated::From))
    }

    /// Ends the publication of a key. This instance does not sign with it any more.
    pub(crate) async fn withdraw(&self, services: &Services, id: &str) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let now = services.timestamp();
        let request = WithdrawKey {
            issuer: services.texts.issuer(),
            key_id: id.to_owned(),
            expires_at: now.saturating_add(WITHDRAWN_FOR),
            now,
            deadline: services.deadline(),
        };
        if services.store.withdraw_key(&request).await? == Written::Late {
            return Err(late());
        }
        let mut state = KeyState::clone(&self.state.load());
        state.own.remove(id);
        state.listed = state.listed.iter().filter(|listed| listed.id != id).cloned().collect();
        // The next request asks the store again, and publishes the key that signs now.
        state.last = None;
        self.state.store(Arc::new(state));
        services.emit(&Event { key_id: Some(id), ..Event::new(EventKind::KeyWithdrawn) });
        Ok(())
    }

    /// Reads the keys of all instances, and publishes the own ones. The caller holds `turn`.
    async fn exchange(&self, services: &Services) -> Result<(), StoreError> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let mut state = KeyState::clone(&self.state.load());
        let outcome = state.exchange(services).await;
        state.end(number, services.timestamp(), outcome.is_err());
        self.state.store(Arc::new(state));
        outcome
    }
}

impl KeyState {
    async fn exchange(&mut self, services: &Services) -> Result<(), StoreError> {
        self.listed = listed_keys(list(services).await?);
        let mut done = Vec::new();
        while let Some(key) = self.own.to_publish(services.now(), |id| self.is_listed(id), &done) {
            if self.is_other_key(&key) {
                return Err(StoreError::not_executed("another key with the same kid is published"));
            }
            self.publish(services, &key).await?;
            done.push(key);
        }
        Ok(())
    }

    /// Publishes a key of this instance, or removes it if it was withdrawn.
    async fn publish(&mut self, services: &Services, key: &OwnKey) -> Result<(), StoreError> {
        let now = services.timestamp();
        let until = self.own.publication_end(&key.id, now);
        let request = PublishKey {
            issuer: services.texts.issuer(),
            key_id: key.id.clone(),
            jwk: key.jwk.to_string(),
            expires_at: until,
            now,
            deadline: services.deadline(),
        };
        match services.store.publish_key(&request).await? {
            KeyPublished::Done { since } => {
                if self.own.set_published(&key.id, since, until, now) {
                    services.emit(&Event { key_id: Some(&key.id), ..Event::new(EventKind::KeyAdded) });
                }
            }
            KeyPublished::Withdrawn => {
                self.own.remove(&key.id);
                services.emit(&Event { key_id: Some(&key.id), ..Event::new(EventKind::KeyWithdrawn) });
            }
            KeyPublished::Late => return Err(late()),
        }
        Ok(())
    }

    fn end(&mut self, number: u64, now: Timestamp, failed: bool) {
        self.ended = number;
        self.last = Some((now, failed));
        let (since, count) = self.recent;
        self.recent = if is_past(since, now) { (now, 1) } else { (since, count + 1) };
    }

    /// Returns whether the store was not asked for some seconds.
    fn is_old(&self, now: Timestamp) -> bool {
        self.last.is_none_or(|(at, _)| is_past(at, now))
    }

    /// Returns whether a request for the key set may ask the store: not while it fails, and not all of many requests.
    fn may_ask(&self, now: Timestamp) -> bool {
        let (since, count) = self.recent;
        self.is_old(now) || self.last.is_none_or(|(_, failed)| !failed) && (count < MAX_RECENT || is_past(since, now))
    }

    fn is_listed(&self, id: &str) -> bool {
        self.listed.iter().any(|listed| listed.id == id)
    }

    /// Returns whether another key with the same `kid` is published.
    fn is_other_key(&self, key: &OwnKey) -> bool {
        self.listed.iter().any(|listed| listed.id == key.id && listed.jwk != key.jwk)
    }

    fn key_set(&self, now: SystemTime) -> JwkSet {
        let own = self.own.public(now).map(|own| &own.jwk);
        let others = self.listed.iter().filter(|listed| self.own.public(now).all(|own| own.jwk != listed.jwk));
        JwkSet { keys: own.chain(others.map(|listed| &listed.jwk)).cloned().collect() }
    }
}

/// Returns the published keys of all instances, the oldest first.
pub(crate) async fn list(services: &Services) -> Result<Vec<PublishedKey>, StoreError> {
    let request = ListKeys { issuer: services.texts.issuer(), now: services.timestamp() };
    let mut keys = services.store.list_keys(&request).await?;
    keys.sort_by(|a, b| (a.since, &a.key_id).cmp(&(b.since, &b.key_id)));
    Ok(keys)
}

/// Reads the JWKs. A text that is no JWK is left out.
fn listed_keys(keys: Vec<PublishedKey>) -> Arc<[ListedKey]> {
    let read = |key: PublishedKey| Some(ListedKey { jwk: serde_json::from_str(&key.jwk).ok()?, id: key.key_id });
    keys.into_iter().filter_map(read).collect()
}

fn is_past(time: Timestamp, now: Timestamp) -> bool {
    now.abs_diff(time) >= PERIOD.as_secs()
}

fn late() -> StoreError {
    StoreError::not_executed("the store got to the operation after its deadline")
}

/// Maximum lifetime of an access token. For this time, a key stays published after it has signed last.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// After this time, a request asks the store for the keys again.
const PERIOD: Duration = Duration::from_secs(5);
/// Maximum number of exchanges with the store within `PERIOD`.
const MAX_RECENT: u32 = 10;
/// For how long a withdrawn key can't be published again: a hundred years.
const WITHDRAWN_FOR: Duration = Duration::from_secs(36_525 * 86_400);
