//! How often requests were refused for the same reason.
//!
//! *In*: a refusal. *Out*: its number. The first one is logged as a warning.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Mutex,
};

use crate::{
    error::{AuthError, Finding},
    sync::lock,
};

/// The number of refusals for each reason and issuer, by a hash of both.
#[derive(Default)]
pub(super) struct RefusalCounts {
    hasher: RandomState,
    counts: Mutex<HashMap<u64, u64>>,
}

impl RefusalCounts {
    /// Counts one refusal. Returns its number from 1, or `None` if there are too many reasons and issuers.
    pub(super) fn add(&self, error: &AuthError) -> Option<u64> {
        let hash = self.hasher.hash_one((error.reason(), error.finding().and_then(Finding::issuer)));
        let mut counts = lock(&self.counts);
        if counts.len() >= MAX_COUNTS && !counts.contains_key(&hash) {
            return None;
        }
        let count = counts.entry(hash).or_default();
        *count = count.saturating_add(1);
        Some(*count)
    }
}

/// Maximum number of reasons and issuers. Only an API with very many tenants has more.
const MAX_COUNTS: usize = 4096;
