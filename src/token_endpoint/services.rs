//! The services that every endpoint uses.
//!
//! *In*: the registry, the store and the clock from the builder. *Out*: look-ups of clients, operations of the store that end in
//! time, events, and the time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    client::{
        Client,
        builder::MAX_CLIENT_ID_BYTES,
        registry::{ErasedRegistry, LookupPurpose},
    },
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
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) texts: Texts,
}

impl Services {
    /// Returns the registered client with this id.
    ///
    /// # Errors
    /// The registry is unavailable, or doesn't respond within its time limit.
    pub(crate) async fn find_client(
        &self,
        client_id: &str,
        purpose: LookupPurpose,
    ) -> Result<Option<Arc<Client>>, TokenError> {
        // No client has such an id, so the registry is not asked.
        if client_id.len() > MAX_CLIENT_ID_BYTES {
            return Ok(None);
        }
        Ok(self.ask_registry(client_id, purpose).await?)
    }

    /// Checks that the registry answers.
    pub(crate) async fn check_registry(&self) -> Result<(), StoreError> {
        self.ask_registry("tower-oauth asks whether you are ready", LookupPurpose::Use).await.map(drop)
    }

    async fn ask_registry(&self, client_id: &str, purpose: LookupPurpose) -> Result<Option<Arc<Client>>, StoreError> {
        tokio::select! {
            biased;
            found = self.registry.find_for(client_id, purpose) => found,
            // In a block, so that no timer is created for a registry that responds at once.
            () = async { self.clock.sleep(self.registry.time_limit()).await } => {
                Err(StoreError::not_executed("the client registry did not respond within its time limit"))
            }
        }
    }

    /// Reports an event.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.observers.emit(event);
    }

    /// Returns the moment after which the store must not execute a write that begins now.
    #[expect(clippy::unused_self, reason = "read beside `timestamp`")]
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + TIMEOUT
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

/// Time until the deadline of a write.
const TIMEOUT: Duration = Duration::from_secs(2);
