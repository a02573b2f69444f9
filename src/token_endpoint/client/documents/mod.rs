//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document, which MCP uses).
//!
//! *In*: a `client_id` that is an `https` URL on a trusted host. *Out*: the client that the document at this URL describes.
//!
//! Whether the host speaks for the application that `client_name` names is not checked: the user decides on the page.

mod builder;
mod document;
mod location;
mod places;
mod reader;

use std::{fmt, sync::Arc, time::Duration};

use moka::future::Cache;

pub use self::builder::ClientDocumentsBuilder;
use self::{
    location::TrustedHosts,
    reader::{DocumentReader, ReadFailure, TIMEOUT},
};
use super::{
    Client,
    registry::{ClientRegistry, ErasedRegistry, LookupPurpose},
};
use crate::{
    clock::{Clock, Deadline, Moment},
    fetch::FetchError,
    log,
    token_endpoint::store::StoreError,
};

/// A client registry around another one, for clients that publish their metadata themselves: their `client_id` is the `https` URL
/// of a JSON document (draft-ietf-oauth-client-id-metadata-document). MCP clients do so. Clones share the cache.
///
/// It is closed by default: only documents on [trusted hosts](ClientDocumentsBuilder::trust_hosts) are fetched; the name of
/// another host is not even resolved. A client of the other registry with the same id takes precedence. The settings decide the
/// scopes and APIs of such clients, and no document can add any.
///
/// A document is a JSON object of at most 5 KiB:
///
/// | member | |
/// |---|---|
/// | `client_id` | The URL of the document, byte for byte. |
/// | `client_name` | Required, at most 200 characters, without characters that are not visible, such as controls, zero-width characters and variation selectors. |
/// | `redirect_uris` | At least one: `https`, `http` on a loopback address or `localhost` with any port, or a private scheme with a dot. |
/// | `grant_types` | `authorization_code` (default) and `refresh_token` are used, others are ignored. |
/// | `token_endpoint_auth_method` | `none` (default) or `private_key_jwt`. |
/// | `dpop_bound_access_tokens` | `true`: token requests without a DPoP proof are refused (RFC 9449 §5.2), unless the endpoint does not [support DPoP](crate::token_endpoint::TokenEndpointBuilder::dpop). Default: `false`. |
/// | `jwks` or `jwks_uri` | The keys for `private_key_jwt`, at most 5 KiB. The URL is on a trusted host too. |
///
/// A document with any other method, with a member such as `client_secret`, or with a wrong value is no client.
///
/// Documents and keys are fetched over TLS with status 200 and the `Content-Type` `application/json` or `application/…+json`,
/// within 3 seconds together, without a proxy and without redirects, only from public addresses, at most 16 at once and 4 of each
/// host. Of these, 4 and 1 are reserved for clients whose document was accepted before. Concurrent requests with one id cause one
/// fetch. A document is cached as `max-age` of its `Cache-Control` says, but at least 30 seconds and at most a day, and at most
/// an hour if the client has keys; without it 30 seconds. A failure is cached for 5 seconds. At most 1000 results are cached.
///
/// Without a document, the client is unknown; the log has the reason. The document is *unavailable* if its server fails, does not
/// respond, or sends the status 401, 403, 407, 408, 421 or 429, as a firewall does. Then an authorization request is refused with
/// 503, because a user decides about what the document says. For all other requests the last accepted document is used for at
/// most a day after it was read (as `stale-if-error`, RFC 5861 §4), so that an outage ends neither tokens nor sessions. The cost:
/// during an outage, a removed document or key is accepted for that time. If no place for the fetch is free within the 3 seconds,
/// the last accepted document is used for at most an hour after it was read, so that a flood of requests has no more effect than
/// a cache. The 1000 such documents that were used last are stored in memory. Without one, these requests get 503, too.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::token_endpoint::{ClientDocuments, Clients, TokenFormat};
///
/// let clients = Clients::new([])?;
/// let clients = ClientDocuments::builder(clients)
///     .trust_hosts(["claude.ai", "vscode.dev"])
///     .default_scopes(["mcp:tools"])
///     .audience("https://mcp.example.com/mcp", TokenFormat::Jwt)
///     .build()?;
/// # let _ = clients;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientDocuments {
    inner: Arc<DocumentRegistry>,
}

struct DocumentRegistry {
    clients: Box<dyn ErasedRegistry>,
    trusted: TrustedHosts,
    reader: DocumentReader,
    clock: Box<dyn Clock>,
    known: Cache<String, KnownDocument>,
    /// Separate from the results, so that a flood of ids without a document does not remove the clients in use.
    accepted: Cache<String, AcceptedDocument>,
}

/// The client of the last valid document.
#[derive(Clone)]
struct AcceptedDocument {
    client: Arc<Client>,
    read_at: Moment,
}

/// The result of reading a document.
#[derive(Clone)]
struct KnownDocument {
    result: ReadResult,
    /// It is not used after that.
    until: Deadline,
}

#[derive(Clone)]
enum ReadResult {
    Client(Arc<Client>),
    Unknown,
    /// The duration is the maximum age of an accepted document that is used instead.
    Unavailable(FetchError, Duration),
}

impl ClientDocuments {
    /// Returns a builder for a registry that has the clients of `clients`, and those with a document on a trusted host.
    pub fn builder(clients: impl ClientRegistry) -> ClientDocumentsBuilder {
        ClientDocumentsBuilder::new(Box::new(clients))
    }
}

impl ClientRegistry for ClientDocuments {
    async fn find(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        ClientRegistry::find_for(self, client_id, LookupPurpose::Authorization).await
    }

    async fn find_for(&self, client_id: &str, purpose: LookupPurpose) -> Result<Option<Arc<Client>>, StoreError> {
        if let Some(client) = self.inner.clients.find_for(client_id, purpose).await? {
            return Ok(Some(client));
        }
        // A subject is the name of a user, which must not make this server send requests.
        if purpose == LookupPurpose::Subject {
            return Ok(None);
        }
        match self.inner.trusted.host_of(client_id) {
            Some(host) => self.inner.document(client_id, &host, purpose).await,
            None => Ok(None),
        }
    }

    fn time_limit(&self) -> Duration {
        self.inner.clients.time_limit().saturating_add(TIMEOUT).saturating_add(Duration::from_millis(500))
    }

    fn reads_client_documents(&self) -> bool {
        true
    }

    fn dpop_bound_client(&self) -> Option<String> {
        self.inner.clients.dpop_bound_client()
    }

    fn certificate_bound_client(&self) -> Option<String> {
        self.inner.clients.certificate_bound_client()
    }
}

impl DocumentRegistry {
    /// Returns the client of a document, which is fetched if no fresh result is cached.
    async fn document(
        &self,
        client_id: &str,
        host: &str,
        purpose: LookupPurpose,
    ) -> Result<Option<Arc<Client>>, StoreError> {
        if purpose == LookupPurpose::Use {
            // The look-up makes it the one that was used last.
            self.accepted.get(client_id).await;
        }
        let now = Moment::now(&*self.clock);
        let read = Box::pin(self.read(client_id, host));
        let known =
            self.known.entry_by_ref(client_id).or_insert_with_if(read, |known| known.until.is_reached(&now)).await;
        match known.into_value().result {
            ReadResult::Client(client) => Ok(Some(client)),
            ReadResult::Unknown => Ok(None),
            ReadResult::Unavailable(error, max_age) => match self.last_accepted(client_id, purpose, max_age).await {
                Some(client) => Ok(Some(client)),
                None => Err(StoreError::not_executed("the metadata document of the client is unavailable")
                    .with_source(error)
                    .caused_by_client()),
            },
        }
    }

    /// Returns the client of the last valid document, if it may be used while the server of the document is unavailable.
    async fn last_accepted(&self, client_id: &str, purpose: LookupPurpose, max_age: Duration) -> Option<Arc<Client>> {
        if purpose != LookupPurpose::Use {
            return None;
        }
        let accepted = self.accepted.get(client_id).await?;
        let age = accepted.read_at.age(&Moment::now(&*self.clock));
        (age < max_age).then_some(accepted.client)
    }

    async fn read(&self, client_id: &str, host: &str) -> KnownDocument {
        let is_in_use = self.accepted.contains_key(client_id);
        let mut read_at = Moment::now(&*self.clock);
        let read = self.reader.read(client_id, host, &self.trusted, &*self.clock, is_in_use).await;
        if read.is_err() {
            // A failure is cached from its end on. A document may be as old as the request for it.
            read_at = Moment::now(&*self.clock);
        }
        let (result, lifetime) = match read {
            Ok((client, lifetime)) => {
                log::client_document(client_id, "accepted", None);
                let client = Arc::new(client);
                let accepted = AcceptedDocument { client: Arc::clone(&client), read_at };
                self.accepted.insert(client_id.to_owned(), accepted).await;
                (ReadResult::Client(client), lifetime)
            }
            Err(ReadFailure::Invalid(reason)) => {
                log::client_document(client_id, "refused", Some(&reason));
                self.accepted.invalidate(client_id).await;
                (ReadResult::Unknown, FAILURE_LIFETIME)
            }
            Err(ReadFailure::Unavailable(error)) => {
                log::client_document(client_id, "unavailable", Some(&error.to_string()));
                (ReadResult::Unavailable(error, MAX_AGE_IN_OUTAGE), FAILURE_LIFETIME)
            }
            Err(ReadFailure::Crowded) => {
                let error = FetchError::new("too many documents are fetched at once");
                log::client_document(client_id, "unavailable", Some(&error.to_string()));
                // Only for the requests that waited together: this says nothing about the document's server.
                (ReadResult::Unavailable(error, MAX_AGE_IN_FLOOD), Duration::ZERO)
            }
        };
        KnownDocument { result, until: Deadline::after(&read_at, lifetime) }
    }
}

impl fmt::Debug for ClientDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientDocuments").field("trusted", &self.inner.trusted).finish_non_exhaustive()
    }
}

/// Short, so that a client can be repaired, and long enough that a flood of requests causes few fetches.
const FAILURE_LIFETIME: Duration = Duration::from_secs(5);
/// Maximum age of a document that is used while its server is unavailable.
const MAX_AGE_IN_OUTAGE: Duration = Duration::from_secs(86_400);
/// Maximum age of a document that is used while requests for others take all places. A client can cause that without an outage, so
/// it is no longer than a document with keys is cached.
const MAX_AGE_IN_FLOOD: Duration = Duration::from_secs(3600);
/// Maximum number of cached results. Each is at most some 20 KiB: an id, a document and its keys.
const MAX_KNOWN: u64 = 1000;
