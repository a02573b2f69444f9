//! The services that every endpoint uses.
//!
//! *In*: the registry, the store and the clock from the builder. *Out*: look-ups of clients, operations of the store that end in
//! time, events, and the time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    client::{Client, registry::ErasedRegistry},
    events::{Event, Observers},
    http::error::TokenError,
    store::{StoreError, Timestamp, WatchedStore},
    texts::Texts,
};
use crate::clock::{Clock, unix_seconds};

/// The client registry, the store and the clock of one token endpoint.
pub(crate) struct Services {
    pub(crate) registry: Box<dyn ErasedRegistry>,
    pub(crate) store: WatchedStore,
    pub(crate) observers: Arc<Observers>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) texts: Texts,
}

impl Services {
    /// Returns the registered client with this id.
    pub(crate) async fn find_client(&self, client_id: &str) -> Result<Option<Arc<Client>>, TokenError> {
        if client_id.len() > MAX_CLIENT_ID_BYTES {
            return Ok(None);
        }
        Ok(self.ask_registry(client_id).await?)
    }

    /// Checks that the registry answers.
    pub(crate) async fn check_registry(&self) -> Result<(), StoreError> {
        self.ask_registry("tower-oauth asks whether you are ready").await.map(drop)
    }

    async fn ask_registry(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        let found = tokio::time::timeout(STORE_TIMEOUT, self.registry.find(client_id)).await;
        found.unwrap_or_else(|_| Err(StoreError::not_executed("the client registry did not answer in time")))
    }

    /// Reports an event.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.observers.emit(event);
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

/// Maximum length of a client's id. A longer one is never looked up.
const MAX_CLIENT_ID_BYTES: usize = 1024;
/// Time until the deadline of a write, and for the answer of a registry.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
