//! Clients in a store: what is added or renewed at run time is there after a restart, on every instance.
//!
//! *In*: hashes of issuers and client ids, and the records that belong to them. *Out*: what was found, or the result of one
//! atomic operation.
//!
//! Records are not read here. A client never expires.

use std::time::Instant;

use super::{Record, StoreError, erased::StoreFuture, requests::requests};
use crate::token_endpoint::client::secret::TokenHash;

/// Stores the clients of [`StoredClients`](crate::token_endpoint::StoredClients). A [`Store`](super::Store) for tokens need not
/// be one for clients.
///
/// Every operation is atomic: of all calls that replace or remove the same record, on any instance, one gets
/// [`ClientSaved::Done`]. `tower_oauth::testing::client_store_conformance` (feature `test-util`) has the tests that every such
/// store passes.
///
/// Deadlines and errors of writes are as for a [`Store`](super::Store#time).
pub trait ClientStore: Send + Sync + 'static {
    /// Returns the record of a client, as it was stored last.
    fn find_client(&self, request: &FindClient) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Stores the record of a client, if what is stored about it equals [`SaveClient::expected`].
    fn save_client(&self, request: &SaveClient) -> impl Future<Output = Result<ClientSaved, StoreError>> + Send;

    /// Removes the record of a client, if what is stored about it equals [`RemoveClient::expected`].
    fn remove_client(&self, request: &RemoveClient) -> impl Future<Output = Result<ClientSaved, StoreError>> + Send;

    /// Lists the records of the clients of one issuer, in the order of the hashes of their ids. A record that is added or
    /// removed meanwhile may be absent.
    fn list_clients(&self, request: &ListClients) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;
}

requests! {
    /// Looks up a client.
    FindClient {
        /// The hash of the issuer. Clients of other issuers are never found with this one.
        issuer: copy TokenHash,
        /// The hash of the client's id.
        client: copy TokenHash,
    }

    /// Stores a client.
    SaveClient {
        /// The hash of the issuer.
        issuer: copy TokenHash,
        /// The hash of the client's id.
        client: copy TokenHash,
        /// What to store.
        record: borrow Record,
        /// The record that must be stored now, byte for byte. `None`: there must be no such client.
        expected: borrow Option<Record>,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Removes a client.
    RemoveClient {
        /// The hash of the issuer.
        issuer: copy TokenHash,
        /// The hash of the client's id.
        client: copy TokenHash,
        /// The record that must be stored now, byte for byte. `None`: it is removed whatever it is, and if there is no such
        /// client, that counts as done.
        expected: borrow Option<Record>,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Lists the clients of an issuer.
    ListClients {
        /// The hash of the issuer.
        issuer: copy TokenHash,
        /// The hash of the last id of the previous page.
        after: copy Option<TokenHash>,
        /// Maximum number of records. The page is the last one if it has fewer. At least 1.
        limit: copy usize,
    }
}

/// The answer to [`ClientStore::save_client`] and [`ClientStore::remove_client`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientSaved {
    /// It is done.
    Done,
    /// Another record is stored than the expected one, or none. Nothing was done.
    Conflict,
    /// The deadline had passed when the store got to the operation. Nothing was done.
    Late,
}

/// [`ClientStore`] as a trait object. It is not watched: a change of a client is no request to the endpoint, and the endpoint
/// limits the time of a look-up.
pub(crate) trait ErasedClientStore: Send + Sync {
    fn find_client<'a>(&'a self, request: &'a FindClient) -> StoreFuture<'a, Option<Record>>;
    fn save_client<'a>(&'a self, request: &'a SaveClient) -> StoreFuture<'a, ClientSaved>;
    fn remove_client<'a>(&'a self, request: &'a RemoveClient) -> StoreFuture<'a, ClientSaved>;
    fn list_clients<'a>(&'a self, request: &'a ListClients) -> StoreFuture<'a, Vec<Record>>;
}

impl<S: ClientStore> ErasedClientStore for S {
    fn find_client<'a>(&'a self, request: &'a FindClient) -> StoreFuture<'a, Option<Record>> {
        Box::pin(ClientStore::find_client(self, request))
    }

    fn save_client<'a>(&'a self, request: &'a SaveClient) -> StoreFuture<'a, ClientSaved> {
        Box::pin(ClientStore::save_client(self, request))
    }

    fn remove_client<'a>(&'a self, request: &'a RemoveClient) -> StoreFuture<'a, ClientSaved> {
        Box::pin(ClientStore::remove_client(self, request))
    }

    fn list_clients<'a>(&'a self, request: &'a ListClients) -> StoreFuture<'a, Vec<Record>> {
        Box::pin(ClientStore::list_clients(self, request))
    }
}
