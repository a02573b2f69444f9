//! The services that every endpoint uses.
//!
//! *In*: the registry, the store and the clock from the builder. *Out*: look-ups of clients, and the time.

use std::{sync::Arc, time::SystemTime};

use super::{
    client::{Client, registry::ErasedRegistry},
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
    pub(crate) async fn find_client(&self, client_id: &str) -> Result<Option<Arc<Client>>, TokenError> {
        Ok(self.registry.find(client_id).await?)
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
