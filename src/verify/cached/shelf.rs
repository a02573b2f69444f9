//! Where verdicts are kept: bounded, and each with the moment when it dies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

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
    /// How often something was forgotten.
    forgettings: AtomicU64,
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
        let bytes = u64::try_from(sizes.bytes).unwrap_or(u64::MAX);
        let share = bytes.checked_div(u64::try_from(sizes.entries).unwrap_or(u64::MAX)).unwrap_or(bytes).max(1);
        Self {
            accepted: Cache::with_weighter(sizes.entries, bytes, Weight { share }),
            refused: Cache::new(sizes.entries),
            forgettings: AtomicU64::new(0),
            clock,
        }
    }

    pub(super) fn accepted(&self, name: &Name, now: Duration) -> Option<Token> {
        self.accepted.get(&name.digest).filter(|kept| kept.is_for(name, now)).map(|kept| kept.what)
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
        // Perhaps it was this one that was to be forgotten meanwhile.
        if self.forgettings() != miss.forgettings {
            place.remove(&digest);
        }
    }

    pub(super) fn forgettings(&self) -> u64 {
        self.forgettings.load(Ordering::SeqCst)
    }

    /// To be called before anything is removed that is to be forgotten.
    pub(super) fn mark_forgetting(&self) {
        self.forgettings.fetch_add(1, Ordering::SeqCst);
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
