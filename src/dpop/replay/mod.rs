//! The store of used proofs (RFC 9449 §11.1).
//!
//! *In*: the key of a proof that passed all other checks. *Out*: whether this is its first use.

mod memory;
#[cfg(feature = "redis-replay")]
mod redis;

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub use self::memory::MemoryReplayStore;
#[cfg(feature = "redis-replay")]
pub use self::redis::{RedisReplayStore, RedisReplayStoreBuilder};

/// Stores which DPoP proofs were used, so that each one is accepted once (RFC 9449 §11.1).
///
/// [`MemoryReplayStore`] is for one instance of an API. Several instances need a shared store: otherwise each one accepts a
/// stolen proof once. With the feature `redis-replay` there is `RedisReplayStore`. For another database, implement this trait:
///
/// ```
/// use std::{collections::HashMap, sync::{Mutex, PoisonError}};
/// use tower_oauth::dpop::{Insertion, ReplayKey, ReplayStore, Sighting};
///
/// /// A store without a limit, for tests.
/// #[derive(Default)]
/// struct UsedProofs(Mutex<HashMap<[u8; 32], u64>>);
///
/// impl ReplayStore for UsedProofs {
///     fn insert_if_absent(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Insertion {
///         let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         used.retain(|_, expires_at| *expires_at > now);
///         // One atomic step: no other call gets between the look-up and the insertion.
///         let known = used.insert(*key.as_bytes(), expires_at);
///         Insertion::Now(Ok(if known.is_some() { Sighting::Before } else { Sighting::First }))
///     }
/// }
/// ```
///
/// A store that calls a server returns [`Insertion::later`]. It must not wait for longer than a second or two, and must not send
/// the insertion again if it does not know whether the first one was executed: the repetition would find the key.
#[cfg_attr(feature = "test-util", doc = "")]
#[cfg_attr(
    feature = "test-util",
    doc = "[`replay_store_conformance`](crate::testing::replay_store_conformance) tests an implementation."
)]
pub trait ReplayStore: Send + Sync + 'static {
    /// Inserts the key, if it is absent. Of all calls with the same key until `expires_at`, exactly one gets
    /// [`Sighting::First`], also if they run at the same time or on several instances.
    ///
    /// `expires_at` and `now` are in seconds since 1970-01-01 (UTC). The proof is not accepted from `expires_at` on, so the
    /// entry may be deleted then, or some minutes later. A store that several instances share keeps it for a minute longer, because
    /// their clocks differ a little. `now` is the time of the caller's clock, which can be set back.
    ///
    /// An error means that it is not known whether the proof was used: the store is full, or its server did not respond. The
    /// request is refused with 503. A store must never return `First` in such a case, and must never delete an entry early
    /// because memory is short.
    fn insert_if_absent(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Insertion;
}

impl<R: ReplayStore + ?Sized> ReplayStore for Arc<R> {
    fn insert_if_absent(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Insertion {
        (**self).insert_if_absent(key, expires_at, now)
    }
}

/// What identifies a proof: a SHA-256 hash of the client's key, the URL and the `jti`. So no client can use up the `jti` of
/// another client's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayKey([u8; 32]);

impl ReplayKey {
    pub(crate) fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Returns the hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayKey").finish_non_exhaustive()
    }
}

/// Whether a proof was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sighting {
    /// The key was absent, and is stored now.
    First,
    /// The key was there: the proof is a replay.
    Before,
}

/// The result of [`ReplayStore::insert_if_absent`], now or later.
#[must_use = "a proof may be accepted only if this is its first use"]
#[non_exhaustive]
pub enum Insertion {
    /// The result is known.
    Now(Result<Sighting, ReplayError>),
    /// The result is known after a wait.
    Later(InsertionFuture),
}

impl Insertion {
    /// Returns an insertion whose result is the output of this future.
    pub fn later(inserting: impl Future<Output = Result<Sighting, ReplayError>> + Send + 'static) -> Self {
        Self::Later(InsertionFuture(Box::pin(inserting)))
    }

    /// Returns the result; waits for it if necessary.
    ///
    /// # Errors
    /// The store could not find out whether the key is there, or could not store it.
    pub async fn resolve(self) -> Result<Sighting, ReplayError> {
        match self {
            Self::Now(result) => result,
            Self::Later(inserting) => inserting.await,
        }
    }
}

impl fmt::Debug for Insertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(result) => f.debug_tuple("Now").field(result).finish(),
            Self::Later(_) => f.debug_tuple("Later").finish_non_exhaustive(),
        }
    }
}

/// The future of [`Insertion::Later`].
#[must_use = "futures do nothing unless polled"]
pub struct InsertionFuture(Pin<Box<dyn Future<Output = Result<Sighting, ReplayError>> + Send>>);

impl Future for InsertionFuture {
    type Output = Result<Sighting, ReplayError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for InsertionFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertionFuture").finish_non_exhaustive()
    }
}

/// Why a [`ReplayStore`] does not know whether a proof was used. The request is refused with 503.
#[derive(Debug, Clone)]
pub struct ReplayError {
    description: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl ReplayError {
    /// Returns an error with a short description, which is logged and must not contain a secret.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), source: None }
    }

    /// Returns the error with its cause, for logs.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
