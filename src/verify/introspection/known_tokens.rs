//! The tokens that were active lately.
//!
//! *In*: the tokens that the issuer reports as active. *Out*: whether a token is one of them. Their requests have reserved
//! slots, and the circuit breaker trusts what they show.
//!
//! Only hashes are stored. No number of made-up tokens gets in here, because only the issuer's response adds a token.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use crate::{
    clock::{Clock, Moment},
    jws::sha256,
};

/// The SHA-256 hash of a token.
pub(super) type TokenHash = [u8; 32];

pub(super) struct KnownTokens {
    /// The times are in the values, so that the verifier's clock decides. The library only bounds the number.
    tokens: Cache<TokenHash, Moment>,
    clock: Arc<dyn Clock>,
}

impl KnownTokens {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { tokens: Cache::new(MAX_TOKENS), clock }
    }

    pub(super) fn hash(token: &str) -> TokenHash {
        sha256([token.as_bytes()])
    }

    pub(super) async fn contains(&self, token: &TokenHash) -> bool {
        let active = self.tokens.get(token).await;
        active.is_some_and(|active| active.age(&Moment::now(&*self.clock)) < MAX_AGE)
    }

    pub(super) async fn add(&self, token: TokenHash) {
        self.tokens.insert(token, Moment::now(&*self.clock)).await;
    }

    pub(super) async fn remove(&self, token: &TokenHash) {
        self.tokens.invalidate(token).await;
    }
}

const MAX_TOKENS: u64 = 10_000;
/// How long a token counts as known after the issuer reported it as active.
const MAX_AGE: Duration = Duration::from_secs(3600);
