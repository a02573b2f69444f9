//! The services that every endpoint uses.
//!
//! *In*: the registry, the store and the clock from the builder. *Out*: look-ups of clients, and the time.

use std::{
    io::{self, ErrorKind::TimedOut},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    client::{Client, builder::MAX_CLIENT_ID_BYTES, registry::ErasedRegistry},
    http::error::TokenError,
    store::ErasedStore,
};
use crate::clock::{Clock, unix_seconds};

/// The client registry, the store and the clock of one token endpoint.
pub(crate) struct Services {
    pub(crate) registry: Box<dyn ErasedRegistry>,
    pub(crate) store: Box<dyn ErasedStore>,
    pub(crate) clock: Box<dyn Clock>,
}

impl Services {
    /// Returns the registered client with this id.
    ///
    /// # Errors
    /// The registry is unavailable, or doesn't respond within [`REGISTRY_TIMEOUT`].
    pub(crate) async fn find_client(&self, client_id: &str) -> Result<Option<Arc<Client>>, TokenError> {
        // No client has such an id, so the registry is not asked.
        if client_id.len() > MAX_CLIENT_ID_BYTES {
            return Ok(None);
        }
        tokio::select! {
            biased;
            found = self.registry.find(client_id) => Ok(found?),
            // In a block, so that no timer is created for a registry that responds at once.
            () = async { self.clock.sleep(REGISTRY_TIMEOUT).await } => {
                Err(TokenError::unavailable(io::Error::new(TimedOut, "the client registry did not respond within 2 s")))
            }
        }
    }

    /// Returns the time of day.
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Returns the time of day in whole seconds, as the store counts it.
    pub(crate) fn unix_seconds(&self) -> u64 {
        unix_seconds(&*self.clock)
    }
}

/// Maximum time of a look-up in the registry: that of a read from the store.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(2);
