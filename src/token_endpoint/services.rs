//! The services that every endpoint uses.
//!
//! *In*: the registry, the store and the clock from the builder. *Out*: look-ups of clients, operations of the store that end in
//! time, and the time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    client::{Client, registry::ErasedRegistry},
    http::error::TokenError,
    store::{ErasedStore, StoreError, StoreFuture, Timestamp},
    texts::Texts,
};
use crate::clock::{Clock, unix_seconds};

/// The client registry, the store and the clock of one token endpoint.
pub(crate) struct Services {
    pub(crate) registry: Box<dyn ErasedRegistry>,
    pub(crate) store: Box<dyn ErasedStore>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) texts: Texts,
}

impl Services {
    /// Returns the registered client with this id.
    pub(crate) async fn find_client(&self, client_id: &str) -> Result<Option<Arc<Client>>, TokenError> {
        if client_id.len() > MAX_CLIENT_ID_BYTES {
            return Ok(None);
        }
        Ok(in_time(self.registry.find(client_id), STORE_TIMEOUT, "the client registry did not answer in time").await?)
    }

    /// Waits for an operation that only reads.
    pub(crate) async fn read<'a, T>(
        &'a self,
        operation: impl FnOnce(&'a dyn ErasedStore) -> StoreFuture<'a, T>,
    ) -> Result<T, StoreError> {
        in_time(operation(&*self.store), READ_LIMIT, TOO_SLOW).await
    }

    /// Waits for an operation that writes, for some seconds longer than its deadline: a client whose write has an unknown outcome
    /// may lose its session.
    pub(crate) async fn write<'a, T>(
        &'a self,
        operation: impl FnOnce(&'a dyn ErasedStore) -> StoreFuture<'a, T>,
    ) -> Result<T, StoreError> {
        in_time(operation(&*self.store), WRITE_LIMIT, TOO_SLOW).await
    }

    /// Returns the moment after which the store must not execute a write that begins now.
    #[expect(clippy::unused_self, reason = "a setting may come")]
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + STORE_TIMEOUT
    }

    /// Returns the time of day.
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Returns the time of day in whole seconds, as the store counts it.
    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from_secs(unix_seconds(&*self.clock))
    }
}

async fn in_time<T>(operation: StoreFuture<'_, T>, limit: Duration, what: &'static str) -> Result<T, StoreError> {
    tokio::time::timeout(limit, operation).await.unwrap_or_else(|_| Err(StoreError::new(what)))
}

const TOO_SLOW: &str = "the store did not answer in time";
/// Maximum length of a client's id. A longer one is never looked up.
const MAX_CLIENT_ID_BYTES: usize = 1024;
/// Time until the deadline of a write, and for the answer of a registry.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// A store has its own timeout, so these limits matter only for one that does not.
const READ_LIMIT: Duration = Duration::from_secs(3);
const WRITE_LIMIT: Duration = Duration::from_secs(5);
