//! The settings of [`ClientDocuments`].
//!
//! *In*: the application's settings. *Out*: a registry, or every mistake at once.

use std::{fmt, sync::Arc};

use moka::{future::Cache, policy::EvictionPolicy};

use super::{
    ClientDocuments, DocumentRegistry, MAX_AGE_IN_OUTAGE, MAX_KNOWN,
    location::{TrustedHosts, trusted_host},
    places::FetchPlaces,
    reader::{DocumentReader, MAX_BYTES, TIMEOUT},
};
use crate::{
    clock::{Clock, SystemClock},
    config_error::{ConfigError, MistakeCollector},
    fetch::{HttpClient, HttpClientBuilder},
    token_endpoint::client::{Client, ClientCredential, TokenFormat, builder::ClientBuilder, registry::ErasedRegistry},
};

/// Builder for [`ClientDocuments`]. [`build`](Self::build) reports every mistake at once.
#[must_use]
pub struct ClientDocumentsBuilder {
    clients: Box<dyn ErasedRegistry>,
    hosts: Vec<String>,
    any_host: bool,
    access: DocumentAccess,
    root_certificates: Vec<Vec<u8>>,
    loopback: bool,
    clock: Box<dyn Clock>,
}

/// What clients with a document may get.
#[derive(Default)]
pub(super) struct DocumentAccess {
    default_scopes: Vec<String>,
    optional_scopes: Vec<String>,
    audiences: Vec<(String, TokenFormat)>,
    less_than_asked: bool,
}

impl ClientDocumentsBuilder {
    pub(super) fn new(clients: Box<dyn ErasedRegistry>) -> Self {
        Self {
            clients,
            hosts: Vec::new(),
            any_host: false,
            access: DocumentAccess::default(),
            root_certificates: Vec::new(),
            loopback: false,
            clock: Box::new(SystemClock::new()),
        }
    }

    /// Adds hosts whose documents are fetched, such as `claude.ai`: each is one exact host, on any port. Subdomains are other
    /// hosts. Default: none.
    ///
    /// Trust a host only if its owner alone can publish documents there: each document is a client, and chooses its own name.
    pub fn trust_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Fetches documents from every host.
    ///
    /// The cost: every web site can be a client with a name of its own choice, ask users for an approval, and make this server
    /// send requests to public addresses. The page must show
    /// [the host of the client](crate::token_endpoint::AuthorizationRequest::client_host).
    pub fn danger_trust_any_host(self) -> Self {
        Self { any_host: true, ..self }
    }

    /// Adds scopes that such a client gets if it requests none. Default: none.
    pub fn default_scopes<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.access.default_scopes.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds scopes that such a client gets only if it requests them. Default: none.
    pub fn optional_scopes<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.access.optional_scopes.extend(names.into_iter().map(Into::into));
        self
    }

    /// Drops scopes that such clients may not have, as
    /// [for a registered client](crate::token_endpoint::ClientBuilder::grant_less_than_asked). Default: the request is refused.
    pub fn grant_less_than_asked(mut self) -> Self {
        self.access.less_than_asked = true;
        self
    }

    /// Adds an API that tokens of such clients may be for, and their format there. The first one is used if a request names none.
    /// At least one is required.
    pub fn audience(mut self, audience: impl Into<String>, format: TokenFormat) -> Self {
        self.access.audiences.push((audience.into(), format));
        self
    }

    /// Also trusts these certificate authorities for the fetches: one or more certificates in PEM.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// Also fetches from loopback addresses, for tests.
    ///
    /// The cost: a document on a trusted host can make this server send requests to programs on its own machine.
    pub fn danger_allow_loopback(self) -> Self {
        Self { loopback: true, ..self }
    }

    /// Replaces the source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    /// Builds the registry.
    ///
    /// # Errors
    /// Every mistake at once: no trusted host, or a text that is not one host; a scope that is malformed or named twice; no
    /// audience, or an empty one; certificates that are not PEM; or the machine's TLS can't be set up.
    pub fn build(self) -> Result<ClientDocuments, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        let hosts = self.hosts.iter().filter_map(|entry| mistakes.check(trusted_host(entry))).collect();
        if self.hosts.is_empty() && !self.any_host {
            let change = "name the hosts whose documents are fetched, or leave ClientDocuments out";
            mistakes.add("trust_hosts", "no host is trusted", change);
        }
        // Checks scopes and audiences before there is a client.
        let example = self.access.client("clients with a document", ClientCredential::None);
        mistakes.check(example.grant_types(["authorization_code"]).redirect_uri("https://client.test/cb").build());
        let client = HttpClient::builder().timeout(TIMEOUT).max_body_bytes(MAX_BYTES);
        let client =
            if self.loopback { client.public_and_loopback_addresses_only() } else { client.public_addresses_only() };
        let client = self.root_certificates.into_iter().fold(client, HttpClientBuilder::root_certificates).build();
        mistakes.check(client.as_ref().map(drop).map_err(ConfigError::clone));
        mistakes.finish()?;
        let client = client?;
        // The default policy would not store a new client once the cache is full.
        let accepted = Cache::builder().max_capacity(MAX_KNOWN).eviction_policy(EvictionPolicy::lru());
        let reader = DocumentReader { client, access: self.access, places: FetchPlaces::new() };
        Ok(ClientDocuments {
            inner: Arc::new(DocumentRegistry {
                clients: self.clients,
                trusted: if self.any_host { TrustedHosts::Any } else { TrustedHosts::Hosts(hosts) },
                reader,
                clock: self.clock,
                known: Cache::new(MAX_KNOWN),
                accepted: accepted.time_to_live(MAX_AGE_IN_OUTAGE).build(),
            }),
        })
    }
}

impl DocumentAccess {
    /// Returns a builder of a client with this access.
    pub(super) fn client(&self, id: &str, credential: ClientCredential) -> ClientBuilder {
        let client = Client::builder(id, credential).default_scopes(self.default_scopes.iter().cloned());
        let client = client.optional_scopes(self.optional_scopes.iter().cloned());
        let client = if self.less_than_asked { client.grant_less_than_asked() } else { client };
        self.audiences.iter().fold(client, |client, (audience, format)| client.audience(audience, *format))
    }
}

impl fmt::Debug for ClientDocumentsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientDocumentsBuilder").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
