//! The stored verdicts, bounded in number and size.
//!
//! *In*: a verdict and its key. *Out*: the verdict, until it expires or is evicted.

use std::time::Duration;

use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::key::{EntryKey, TokenDigest, VerdictContext};
use crate::{
    claims::NumericDate,
    clock::{Deadline, Moment},
    error::AuthError,
    token::Token,
};

/// Limits of the cache.
#[derive(Clone)]
pub(super) struct CacheBounds {
    /// Of accepted tokens, and also of refusals.
    pub(super) entries: usize,
    /// Of accepted tokens.
    pub(super) bytes: usize,
}

impl Default for CacheBounds {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 32 * 1024 * 1024 }
    }
}

pub(super) struct CacheEntries {
    accepted: Cache<TokenDigest, CacheEntry<Token>, Weight>,
    /// Separate from the accepted tokens, so that no number of invalid tokens evicts a valid one.
    refused: Cache<TokenDigest, CacheEntry<AuthError>>,
}

#[derive(Clone)]
struct CacheEntry<T> {
    value: T,
    /// [`EntryKey::context`]. The entry is found by the digest of the token alone.
    context: VerdictContext,
    expires: Deadline,
}

/// Weighs entries in bytes. Each weighs at least its share of all bytes, so the total weight bounds their number too.
#[derive(Clone)]
struct Weight {
    min: u64,
}

impl Weighter<TokenDigest, CacheEntry<Token>> for Weight {
    fn weight(&self, _: &TokenDigest, entry: &CacheEntry<Token>) -> u64 {
        let bytes = size_of::<TokenDigest>() + size_of::<CacheEntry<Token>>() + entry.value.facts().bytes();
        self.min.max(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl CacheEntries {
    pub(super) fn new(bounds: &CacheBounds) -> Self {
        let entries = u64::try_from(bounds.entries).unwrap_or(u64::MAX);
        let bytes = if entries == 0 { 0 } else { u64::try_from(bounds.bytes).unwrap_or(u64::MAX).min(MAX_BYTES) };
        // A single entry must be a little smaller than the whole cache.
        let min = bytes.checked_div(entries).unwrap_or_default().min(bytes - bytes / 20).max(1);
        // The library chooses the number of shards by the expected number of entries. Each shard must have room for a large
        // entry.
        let expected = bounds.entries.min(usize::try_from(bytes / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX));
        Self {
            accepted: with_ghosts(expected, bytes, Weight { min }),
            refused: Cache::new(bounds.entries.min(MAX_REFUSED)),
        }
    }

    pub(super) fn accepted(&self, key: &EntryKey, now: &Moment) -> Option<Token> {
        live(&self.accepted, key, now)
    }

    pub(super) fn refused(&self, key: &EntryKey, now: &Moment) -> Option<AuthError> {
        live(&self.refused, key, now)
    }

    pub(super) fn store_accepted(&self, key: &EntryKey, token: &Token, now: Moment, max_age: Duration) {
        let max_age = match token.facts().expires_at {
            // RFC 7662 §4: not cached beyond `exp`, and without leeway, also if the time of day is set forward. A token with an
            // invalid date is not cached.
            Some(NumericDate(expires)) => {
                let NumericDate(now) = NumericDate::of(now.time_of_day());
                Duration::try_from_secs_f64(expires - now).unwrap_or_default().min(max_age)
            }
            None => max_age,
        };
        insert(&self.accepted, key, token.clone(), now, max_age);
    }

    pub(super) fn store_refused(&self, key: &EntryKey, error: &AuthError, now: Moment, max_age: Duration) {
        insert(&self.refused, key, error.clone(), now, max_age);
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

/// Returns the value of an entry that has not expired.
fn live<T: Clone, W: Weighter<TokenDigest, CacheEntry<T>> + Clone>(
    cache: &Cache<TokenDigest, CacheEntry<T>, W>,
    key: &EntryKey,
    now: &Moment,
) -> Option<T> {
    let entry = cache.get(&key.digest)?;
    if entry.expires.is_reached(now) {
        // Removed, so that a time of day that is set back doesn't make it valid again.
        cache.remove_if(&key.digest, |entry| entry.expires.is_reached(now));
        return None;
    }
    (entry.context == key.context).then_some(entry.value)
}

fn insert<T: Clone, W: Weighter<TokenDigest, CacheEntry<T>> + Clone>(
    cache: &Cache<TokenDigest, CacheEntry<T>, W>,
    key: &EntryKey,
    value: T,
    stored: Moment,
    max_age: Duration,
) {
    if !max_age.is_zero() {
        let expires = Deadline::after(&stored, max_age);
        cache.insert(key.digest, CacheEntry { value, context: key.context, expires });
    }
}

/// Returns a cache that stores as many evicted keys (ghosts) as entries. By its ghost, the cache recognizes a token that is
/// sent again, and prefers it to tokens that are sent once, even if those fill the cache.
fn with_ghosts(expected: usize, bytes: u64, weight: Weight) -> Cache<TokenDigest, CacheEntry<Token>, Weight> {
    let mut options = OptionsBuilder::new();
    options.estimated_items_capacity(expected).weight_capacity(bytes).ghost_allocation(1.0);
    match options.build() {
        Ok(options) => Cache::with_options(options, weight, DefaultHashBuilder::default(), DefaultLifecycle::default()),
        // All required options are set. The fallback keeps the bounds.
        Err(_) => Cache::with_weighter(expected, bytes, weight),
    }
}

/// With more, the sum of the weights could overflow.
const MAX_BYTES: u64 = u64::MAX / 8;
/// Assumed size of an entry, to estimate the number of entries.
const TYPICAL_ENTRY_BYTES: u64 = 1024;
/// Maximum number of stored refusals. They expire after 5 s at most. More than this in 5 s are an attack with new tokens, and
/// storing them would not help.
const MAX_REFUSED: usize = 100_000;
