//! Where verdicts are kept: bounded, and each with the moment when it expires_at.

use std::{sync::Arc, time::Duration};

use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{
    CacheSettings, Miss,
    key::{EntryKey, TokenDigest},
};
use crate::{claims::NumericDate, clock::Clock, error::AuthError, token::Token};

/// How much is kept.
#[derive(Clone)]
pub(super) struct CacheBounds {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Default for CacheBounds {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 32 * 1024 * 1024 }
    }
}

pub(super) struct CacheEntries {
    accepted: Cache<TokenDigest, CacheEntry<Token>, Weight>,
    /// Apart from the others, so that no number of bad tokens drives out a good one.
    refused: Cache<TokenDigest, CacheEntry<AuthError>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct CacheEntry<T> {
    what: T,
    parts: Option<[u8; 32]>,
    /// By [`Clock::elapsed`].
    expires_at: Duration,
}

/// No entry counts less than its share, so the bytes bound the entries too.
#[derive(Clone)]
struct Weight {
    share: u64,
}

impl Weighter<TokenDigest, CacheEntry<Token>> for Weight {
    fn weight(&self, _: &TokenDigest, kept: &CacheEntry<Token>) -> u64 {
        let bytes = size_of::<TokenDigest>() + size_of::<CacheEntry<Token>>() + kept.what.facts().bytes();
        self.share.max(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl CacheEntries {
    pub(super) fn new(sizes: &CacheBounds, clock: Arc<dyn Clock>) -> Self {
        let entries = u64::try_from(sizes.entries).unwrap_or(u64::MAX);
        let bytes = if entries == 0 { 0 } else { u64::try_from(sizes.bytes).unwrap_or(u64::MAX).min(MAX_BYTES) };
        // A single entry must be a little smaller than all the room.
        let share = bytes.checked_div(entries).unwrap_or_default().min(bytes - bytes / 20).max(1);
        // What is expected decides how many parts the cache has, and each must have room for a large entry.
        let expected = sizes.entries.min(usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX));
        Self {
            accepted: with_ghosts(expected, bytes, Weight { share }),
            refused: Cache::new(sizes.entries.min(MAX_REFUSED)),
            clock,
        }
    }

    pub(super) fn accepted(&self, key_of_entry: &EntryKey, now: Duration) -> Option<Token> {
        let token = self.accepted.get(&key_of_entry.digest).filter(|kept| kept.is_for(key_of_entry, now))?.what;
        // Asked of the time of day too, which may have been set forward, or gone on while the machine slept.
        let expired = token.facts().expires_at.is_some_and(|expires| expires <= NumericDate::of(self.clock.now()));
        (!expired).then_some(token)
    }

    pub(super) fn refused(&self, key_of_entry: &EntryKey, now: Duration) -> Option<AuthError> {
        self.refused.get(&key_of_entry.digest).filter(|kept| kept.is_for(key_of_entry, now)).map(|kept| kept.what)
    }

    pub(super) fn accept(&self, miss: &Miss, token: &Token, settings: &CacheSettings) {
        let age = match token.facts().expires_at {
            // RFC 7662 §4: never beyond exp, and no leeway here. A date that is none is no reason to keep anything.
            Some(NumericDate(expires)) => {
                let NumericDate(now) = NumericDate::of(self.clock.now());
                Duration::try_from_secs_f64(expires - now).unwrap_or_default().min(settings.max_age)
            }
            None => settings.max_age,
        };
        self.put(&self.accepted, miss, token.clone(), age);
    }

    pub(super) fn refuse(&self, miss: &Miss, error: &AuthError, age: Duration) {
        self.put(&self.refused, miss, error.clone(), age);
    }

    fn put<T: Clone, W: Weighter<TokenDigest, CacheEntry<T>> + Clone>(
        &self,
        place: &Cache<TokenDigest, CacheEntry<T>, W>,
        miss: &Miss,
        what: T,
        age: Duration,
    ) {
        if age.is_zero() {
            return;
        }
        let EntryKey { digest, parts } = miss.key_of_entry;
        place.insert(digest, CacheEntry { what, parts, expires_at: self.clock.elapsed().saturating_add(age) });
    }

    pub(super) fn remove(&self, digest: &TokenDigest) {
        self.accepted.remove(digest);
        self.refused.remove(digest);
    }

    pub(super) fn clear(&self) {
        self.accepted.clear();
        self.refused.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.accepted.len()
    }
}

/// It remembers as many that had to go as it holds. A token that comes back is then known from one that never does, also
/// while strangers fill the place.
fn with_ghosts(expected: usize, bytes: u64, weight: Weight) -> Cache<TokenDigest, CacheEntry<Token>, Weight> {
    let mut options = OptionsBuilder::new();
    options.estimated_items_capacity(expected).weight_capacity(bytes).ghost_allocation(1.0);
    match options.build() {
        Ok(options) => Cache::with_options(options, weight, DefaultHashBuilder::default(), DefaultLifecycle::default()),
        // It lacks nothing; and if it did, the bounds would still hold.
        Err(_) => Cache::with_weighter(expected, bytes, weight),
    }
}

impl<T> CacheEntry<T> {
    fn is_for(&self, key_of_entry: &EntryKey, now: Duration) -> bool {
        self.parts == key_of_entry.parts && now < self.expires_at
    }
}

/// Beyond this the cache could not add up its weights.
const MAX_BYTES: u64 = u64::MAX / 8;
/// What an entry is taken to need, to guess how many there will be.
const USUAL_BYTES: u64 = 1024;
/// They live for five seconds: more are a flood, of which it is no use to remember anything.
const MAX_REFUSED: usize = 100_000;
