//! What the callback of [`DynamicIssuers`](super::DynamicIssuers) gets.
//!
//! *In*: the issuer that a token names, and the head of its request. *Out*: both, and whether the head was read.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::request::Parts;

/// The issuer that a request's token names, and the request's head, for the callback of
/// [`DynamicIssuers`](crate::verify::DynamicIssuers). `Debug` shows only the issuer.
pub struct IssuerInquiry {
    named: NamedIssuer,
    head_read: Arc<AtomicBool>,
}

/// An issuer that a token names, and the head of the token's request. Clones share both.
#[derive(Clone)]
pub(super) struct NamedIssuer {
    pub(super) issuer: Arc<str>,
    pub(super) head: Arc<Parts>,
}

impl IssuerInquiry {
    pub(super) fn new(named: NamedIssuer, head_read: Arc<AtomicBool>) -> Self {
        Self { named, head_read }
    }

    /// Returns the issuer that the token names in `iss`. The token is not verified: any client can send any name, of up to
    /// 512 bytes.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.named.issuer
    }

    /// Returns a copy of the request's head. It contains the request's credentials, so don't log it.
    ///
    /// The cost: after this call the decision holds for this request only. It isn't stored and isn't shared with other requests,
    /// so the callback runs for every request of this issuer, and no [`Cached`](crate::Cached) stores the verdict. The
    /// verifier and its keys are still used again. So only whether the callback returns a verifier may depend on the head. Its
    /// settings, such as the audience, are those of the first verifier, for every head. Call this method before the callback
    /// returns its decision.
    #[must_use]
    pub fn head(&self) -> &Parts {
        self.head_read.store(true, Ordering::SeqCst);
        &self.named.head
    }
}

impl fmt::Debug for IssuerInquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerInquiry").field("issuer", &self.named.issuer).finish_non_exhaustive()
    }
}
