//! A fetched key set and its age.
//!
//! *In*: a set, the moment of its fetch, and for how long it is fresh. *Out*: whether it is fresh, and when to refresh it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;

use crate::{clock::Moment, keys::KeySet};

/// A key set, and its times.
pub(crate) struct Snapshot {
    pub(super) keys: Arc<KeySet>,
    pub(super) json: Option<Bytes>,
    pub(super) etag: Option<HeaderValue>,
    /// When the attempt that fetched it started.
    fetched: Moment,
    /// Age at which it becomes stale: requests then start a refresh, and use this set only until there is a newer one.
    lifetime: Duration,
    /// Age at which the background task refreshes it.
    refresh_age: Duration,
}

impl Snapshot {
    pub(super) fn new(keys: Arc<KeySet>, fetched: Moment, lifetime: Duration) -> Self {
        let refresh_age = lifetime.mul_f64(refresh_fraction());
        Self { keys, json: None, etag: None, fetched, lifetime, refresh_age }
    }

    /// Adds the JSON of the set and its `ETag`.
    pub(super) fn with_response(self, json: Option<Bytes>, etag: Option<HeaderValue>) -> Self {
        Self { json, etag, ..self }
    }

    pub(crate) fn keys(&self) -> &KeySet {
        &self.keys
    }

    pub(super) fn age(&self, now: &Moment) -> Duration {
        self.fetched.age(now)
    }

    pub(super) fn is_fresh(&self, now: &Moment) -> bool {
        self.age(now) < self.lifetime
    }

    /// Returns the time until the background task refreshes the set.
    pub(super) fn time_to_refresh(&self, now: &Moment) -> Duration {
        self.refresh_age.saturating_sub(self.age(now))
    }
}

/// Returns a random number from 0.75 to 0.85, so that many instances don't fetch at the same time.
fn refresh_fraction() -> f64 {
    let random = u16::try_from(RandomState::new().hash_one(0_u8) % 1001).unwrap_or_default();
    0.75 + f64::from(random) / 10_000.0
}
