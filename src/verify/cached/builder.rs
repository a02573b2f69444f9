//! The settings of a [`Cached`].
//!
//! *In*: a verifier and its limits. *Out*: a cache around it. A setting out of range is reduced to its maximum, so `build`
//! can't fail.

use std::{fmt, sync::Arc, time::Duration};

use super::{CacheSettings, Cached, entries::CacheBounds};
use crate::{
    clock::{Clock, SystemClock},
    verify::Verify,
};

/// Builder for [`Cached`].
#[must_use]
pub struct CachedBuilder<V> {
    verifier: V,
    max_age: Duration,
    refusal_age: Duration,
    bounds: CacheBounds,
    clock: Arc<dyn Clock>,
}

impl<V: Verify> CachedBuilder<V> {
    pub(super) fn new(verifier: V, max_age: Duration) -> Self {
        Self {
            verifier,
            max_age,
            refusal_age: MAX_REFUSAL_AGE,
            bounds: CacheBounds::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Maximum number of accepted tokens, and also of refusals. Default: 10 000 each. At most 100 000 refusals are stored.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.bounds.entries = entries;
        self
    }

    /// Maximum size of the accepted tokens' claims, in bytes. Default: 32 MiB.
    ///
    /// If handlers use `SharedClaims`, each token also holds a value of the application's type. That value is not counted.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.bounds.bytes = bytes;
        self
    }

    /// Time for which a refusal by the issuer is cached. Default and maximum: 5 s, and never longer than `max_age`.
    pub fn refusal_age(self, age: Duration) -> Self {
        Self { refusal_age: age.min(MAX_REFUSAL_AGE), ..self }
    }

    /// Replaces the source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Builds an empty cache.
    #[must_use]
    pub fn build(self) -> Cached<V> {
        let Self { verifier, max_age, refusal_age, bounds, clock } = self;
        let settings = CacheSettings { max_age, refusal_age: refusal_age.min(max_age), clock };
        Cached::with_settings(verifier, settings, &bounds)
    }
}

impl<V: fmt::Debug> fmt::Debug for CachedBuilder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedBuilder")
            .field("verifier", &self.verifier)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

const MAX_REFUSAL_AGE: Duration = Duration::from_secs(5);
