//! Where verdicts are kept: bounded, and each with the moment when it dies.

use std::{sync::Arc, time::Duration};

use quick_cache::{Weighter, sync::Cache};

use super::{
    Miss, Settings,
    key::{Digest, Name},
};
use crate::{claims::NumericDate, clock::Clock, error::AuthError, token::Token};

/// How much is kept.
#[derive(Clone)]
pub(super) struct Sizes {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 32 * 1024 * 1024 }
    }
}

pub(super) struct Shelf {
    accepted: Cache<Digest, Kept<Token>, Weight>,
    /// Apart from the others, so that no number of bad tokens drives out a good one.
    refused: Cache<Digest, Kept<AuthError>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Kept<T> {
    what: T,
    parts: Option<[u8; 32]>,
    /// By [`Clock::elapsed`].
    dies: Duration,
}

/// No entry counts less than its share, so the bytes bound the entries too.
#[derive(Clone)]
struct Weight {
    share: u64,
}

impl Weighter<Digest, Kept<Token>> for Weight {
    fn weight(&self, _: &Digest, kept: &Kept<Token>) -> u64 {
        let bytes = size_of::<Digest>() + size_of::<Kept<Token>>() + kept.what.facts().bytes();
        self.share.max(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl Shelf {
    pub(super) fn new(sizes: &Sizes, clock: Arc<dyn Clock>) -> Self {
        let entries = u64::try_from(sizes.entries).unwrap_or(u64::MAX);
        let bytes = if entries == 0 { 0 } else { u64::try_from(sizes.bytes).unwrap_or(u64::MAX).min(MAX_BYTES) };
        // A single entry must be a little smaller than all the room.
        let share = bytes.checked_div(entries).unwrap_or_default().min(bytes - bytes / 20).max(1);
        // What is expected decides how many parts the cache has, and each must have room for a large entry.
        let expected = sizes.entries.min(usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX));
        Self {
            accepted: Cache::with_weighter(expected, bytes, Weight { share }),
            refused: Cache::new(sizes.entries.min(MAX_REFUSED)),
            clock,
        }
    }

    pub(super) fn accepted(&self, name: &Name, now: Duration) -> Option<Token> {
        let token = self.accepted.get(&name.digest).filter(|kept| kept.is_for(name, now))?.what;
        // Asked of the time of day too, which may have been set forward, or gone on while the machine slept.
        let expired = token.facts().expires_at.is_some_and(|expires| expires <= NumericDate::of(self.clock.now()));
        (!expired).then_some(token)
    }

    pub(super) fn refused(&self, name: &Name, now: Duration) -> Option<AuthError> {
        self.refused.get(&name.digest).filter(|kept| kept.is_for(name, now)).map(|kept| kept.what)
    }

    pub(super) fn accept(&self, miss: &Miss, token: &Token, settings: &Settings) {
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

    fn put<T: Clone, W: Weighter<Digest, Kept<T>> + Clone>(
        &self,
        place: &Cache<Digest, Kept<T>, W>,
        miss: &Miss,
        what: T,
        age: Duration,
    ) {
        if age.is_zero() {
            return;
        }
        let Name { digest, parts } = miss.name;
        place.insert(digest, Kept { what, parts, dies: self.clock.elapsed().saturating_add(age) });
    }

    pub(super) fn remove(&self, digest: &Digest) {
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

impl<T> Kept<T> {
    fn is_for(&self, name: &Name, now: Duration) -> bool {
        self.parts == name.parts && now < self.dies
    }
}

/// Beyond this the cache could not add up its weights.
const MAX_BYTES: u64 = u64::MAX / 8;
/// What an entry is taken to need, to guess how many there will be.
const USUAL_BYTES: u64 = 1024;
/// They live for five seconds: more are a flood, of which it is no use to remember anything.
const MAX_REFUSED: usize = 100_000;
