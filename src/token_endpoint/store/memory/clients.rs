//! The clients of issuers.
//!
//! *In*: records of clients. *Out*: those that are stored now.

use std::{collections::BTreeMap, ops::Bound, time::Instant};

use super::{
    super::{ClientSaved, ClientStore, FindClient, ListClients, Record, RemoveClient, SaveClient, StoreError},
    MemoryStore,
};
use crate::{sync::lock, token_endpoint::client::secret::TokenHash};

/// Records by issuer and client. The host adds them, so their number is bounded by a constant and needs no places.
#[derive(Default)]
pub(super) struct ClientRecords {
    records: BTreeMap<(TokenHash, TokenHash), Record>,
}

impl ClientRecords {
    fn save(&mut self, request: &SaveClient) -> Result<ClientSaved, StoreError> {
        let key = (request.issuer, request.client);
        if self.records.get(&key) != request.expected.as_ref() {
            return Ok(ClientSaved::Conflict);
        }
        if request.expected.is_none() && self.records.len() >= MAX_CLIENTS {
            return Err(StoreError::not_executed("there are too many clients in memory"));
        }
        self.records.insert(key, request.record.clone());
        Ok(ClientSaved::Done)
    }

    fn remove(&mut self, request: &RemoveClient) -> ClientSaved {
        let key = (request.issuer, request.client);
        if request.expected.is_some() && self.records.get(&key) != request.expected.as_ref() {
            return ClientSaved::Conflict;
        }
        self.records.remove(&key);
        ClientSaved::Done
    }

    fn list(&self, request: &ListClients) -> Vec<Record> {
        let first = match request.after {
            Some(after) => Bound::Excluded((request.issuer, after)),
            None => Bound::Included((request.issuer, TokenHash::from([0; 32]))),
        };
        let last = Bound::Included((request.issuer, TokenHash::from([u8::MAX; 32])));
        self.records.range((first, last)).take(request.limit.max(1)).map(|(_, record)| record.clone()).collect()
    }
}

impl ClientStore for MemoryStore {
    async fn find_client(&self, request: &FindClient) -> Result<Option<Record>, StoreError> {
        Ok(lock(&self.state).clients.records.get(&(request.issuer, request.client)).cloned())
    }

    async fn save_client(&self, request: &SaveClient) -> Result<ClientSaved, StoreError> {
        let mut state = lock(&self.state);
        if Instant::now() > request.deadline { Ok(ClientSaved::Late) } else { state.clients.save(request) }
    }

    async fn remove_client(&self, request: &RemoveClient) -> Result<ClientSaved, StoreError> {
        let mut state = lock(&self.state);
        Ok(if Instant::now() > request.deadline { ClientSaved::Late } else { state.clients.remove(request) })
    }

    async fn list_clients(&self, request: &ListClients) -> Result<Vec<Record>, StoreError> {
        Ok(lock(&self.state).clients.list(request))
    }
}

/// Maximum number of clients of all issuers.
const MAX_CLIENTS: usize = 100_000;
