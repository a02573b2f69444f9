//! Values in a request that are accepted once: the `jti` of a client assertion (RFC 7523 §3) and that of a DPoP proof (RFC 9449
//! §11.1).
//!
//! *In*: a value that passed all other checks. *Out*: whether it is new, from the store.
//!
//! A value is used up together with what the request does, so that a client can repeat a request that failed with 503.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    endpoints::ServerState,
    http::error::TokenError,
    store::{InsertSeen, Issued, Seen, StoreError},
};

/// A value that is accepted once, if the request has it. It is used up once, by the first step that does so.
pub(crate) struct OnceValue {
    seen: Option<Seen>,
    is_used: AtomicBool,
    refusal: fn() -> TokenError,
}

impl OnceValue {
    /// `refusal` is the response to a request whose value is not new.
    pub(crate) fn new(seen: Option<Seen>, refusal: fn() -> TokenError) -> Self {
        Self { seen, is_used: AtomicBool::new(false), refusal }
    }

    /// Returns the value that must be new, unless it was used up.
    pub(crate) fn unused(&self) -> Option<Seen> {
        self.seen.filter(|_| !self.is_used.load(Ordering::Relaxed))
    }

    /// True if a repeated request would present a used value.
    pub(crate) fn was_used(&self) -> bool {
        self.seen.is_some() && self.is_used.load(Ordering::Relaxed)
    }

    /// Returns the refusal of a value that is not new.
    pub(crate) fn refusal(&self) -> TokenError {
        (self.refusal)()
    }

    fn mark_used(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }
}

impl ServerState {
    /// Uses a value up, unless an earlier step did.
    pub(crate) async fn use_up(&self, value: &OnceValue) -> Result<(), TokenError> {
        let Some(seen) = value.unused() else { return Ok(()) };
        let insert = InsertSeen { seen, now: self.services.timestamp(), deadline: self.services.deadline() };
        let inserted = self.services.store.insert_seen(&insert).await;
        if !matches!(&inserted, Ok(Issued::Late)) && inserted.as_ref().err().is_none_or(StoreError::may_be_executed) {
            value.mark_used();
        }
        match inserted? {
            Issued::Done => Ok(()),
            Issued::Seen => Err(value.refusal()),
            Issued::Late => Err(TokenError::late()),
        }
    }
}
