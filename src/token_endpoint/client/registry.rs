//! The client registry: look-up by `client_id` (RFC 6749 §2.2).
//!
//! *In*: a `client_id`. *Out*: the [`Client`], if it is registered.
//!
//! [`Clients`] keeps clients in memory. An application with its own storage implements [`ClientRegistry`]. Credentials are
//! not checked here.

use std::{collections::HashMap, fmt, pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{Client, secret::ClientSecret};
use crate::{
    config_error::{ConfigError, ConfigMistake, MistakeCollector},
    token_endpoint::store::StoreError,
};

/// What a client is looked up for.
///
/// A registry that reads clients from elsewhere may accept older data for [`Use`](Self::Use) than for
/// [`Authorization`](Self::Authorization).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LookupPurpose {
    /// A user decides whether to approve an authorization request of the client.
    Authorization,
    /// The client authenticates, or something that was issued to it is used.
    Use,
    /// The id is the subject of an approval, which must not be the id of a client.
    Subject,
}

/// Looks up clients.
///
/// When a client is no longer found, or its [generation](crate::token_endpoint::ClientBuilder::credential_generation) or the kind
/// of its credential has changed, everything that was issued to it before is refused and reported as inactive.
pub trait ClientRegistry: Send + Sync + 'static {
    /// Returns the client with this id, compared byte for byte. It is never called with an id of more than 1024 bytes.
    ///
    /// If it isn't ready within the [time limit](Self::time_limit), the request is refused with 503.
    ///
    /// # Errors
    /// The registry is unavailable; the request is refused with 503.
    fn find(&self, client_id: &str) -> impl Future<Output = Result<Option<Arc<Client>>, StoreError>> + Send;

    /// As [`find`](Self::find), for a purpose. The endpoint calls only this method. A registry around another one passes the purpose
    /// on. Default: `find`.
    ///
    /// # Errors
    /// As those of [`find`](Self::find).
    fn find_for(
        &self,
        client_id: &str,
        purpose: LookupPurpose,
    ) -> impl Future<Output = Result<Option<Arc<Client>>, StoreError>> + Send {
        let _ = purpose;
        self.find(client_id)
    }

    /// Returns the maximum time for [`find`](Self::find). Default: two seconds.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Returns whether a `client_id` can be the URL of a Client ID Metadata Document: `client_id_metadata_document_supported` of
    /// the metadata. Default: `false`. A registry around another one returns what that one returns.
    fn reads_client_documents(&self) -> bool {
        false
    }

    /// Returns the id of a client that is registered for
    /// [bound tokens](crate::token_endpoint::ClientBuilder::dpop_bound_access_tokens). It is a mistake if the endpoint does not
    /// [support DPoP](crate::token_endpoint::TokenEndpointBuilder::dpop). Default: `None`, also for a registry that can't know it at
    /// the start. A registry around another one returns what that one returns.
    fn dpop_bound_client(&self) -> Option<String> {
        None
    }

    /// Returns the id of a client whose tokens are
    /// [bound to its TLS certificate](crate::token_endpoint::ClientBuilder::tls_client_certificate_bound_access_tokens). It is a
    /// mistake if the endpoint does not [read certificates](crate::token_endpoint::TokenEndpointBuilder::mutual_tls). Default: as
    /// [`dpop_bound_client`](Self::dpop_bound_client).
    fn certificate_bound_client(&self) -> Option<String> {
        None
    }
}

/// A client registry in memory. Clones share the clients.
#[derive(Clone)]
pub struct Clients {
    by_id: Arc<ArcSwap<HashMap<String, Arc<Client>>>>,
}

impl Clients {
    /// Returns a registry with these clients.
    ///
    /// # Errors
    /// Two clients have the same id. The error lists every such id.
    pub fn new(clients: impl IntoIterator<Item = Client>) -> Result<Self, ConfigError> {
        let (mut by_id, mut mistakes) = (HashMap::new(), MistakeCollector::new());
        for client in clients {
            if let Some(replaced) = by_id.insert(client.id().to_owned(), Arc::new(client)) {
                let found = format!("two clients have the id {:?}", replaced.id());
                mistakes.add("client_id", found, "give each client its own id");
            }
        }
        mistakes.finish()?;
        Ok(Self { by_id: Arc::new(ArcSwap::from_pointee(by_id)) })
    }

    /// Adds a client. It replaces a client with the same id.
    pub fn insert(&self, client: Client) {
        let client = Arc::new(client);
        self.by_id.rcu(|by_id| {
            let mut by_id = HashMap::clone(by_id);
            by_id.insert(client.id().to_owned(), Arc::clone(&client));
            by_id
        });
    }

    /// Removes a client. Everything that was issued to it becomes invalid.
    ///
    /// If a client with the same id is added later, the unexpired tokens are valid again, unless the
    /// [generation](crate::token_endpoint::ClientBuilder::credential_generation) or the kind of the credential differs. Therefore
    /// never give the id to a different client.
    pub fn remove(&self, client_id: &str) {
        self.by_id.rcu(|by_id| {
            let mut by_id = HashMap::clone(by_id);
            by_id.remove(client_id);
            by_id
        });
    }

    /// Replaces a client's secret. Returns the text of the new one, which can't be read again. Every old secret is invalid
    /// immediately. Codes, sessions and tokens stay valid; see [`replace_leaked_secret`](Self::replace_leaked_secret).
    ///
    /// # Errors
    /// There is no client with this id and a secret, or the system provides no random bytes.
    pub fn renew_secret(&self, client_id: &str) -> Result<String, ConfigError> {
        let (secret, text) = ClientSecret::generate()?;
        self.change(client_id, |client, _| Ok(client.with_secrets(secret.clone(), None)))?;
        Ok(text)
    }

    /// Adds a second secret to a client. Returns its text, which can't be read again. Both secrets are valid until
    /// [`remove_old_secret`](Self::remove_old_secret), so the client can change to the new one without an outage.
    ///
    /// # Errors
    /// There is no client with this id and a secret, it has two secrets already, or the system provides no random bytes.
    pub fn add_secret(&self, client_id: &str) -> Result<String, ConfigError> {
        let (secret, text) = ClientSecret::generate()?;
        self.change(client_id, |client, current| {
            if client.previous_secret().is_none() {
                return Ok(client.with_secrets(secret.clone(), Some(current.clone())));
            }
            let found = format!("the client {client_id:?} has two secrets");
            Err(ConfigMistake::new("client_secret", found, "remove the old one first").into())
        })?;
        Ok(text)
    }

    /// Removes the older one of a client's two secrets, which is invalid immediately. Has no effect if there is only one.
    ///
    /// # Errors
    /// There is no client with this id and a secret.
    pub fn remove_old_secret(&self, client_id: &str) -> Result<(), ConfigError> {
        self.change(client_id, |client, current| Ok(client.with_secrets(current.clone(), None)))
    }

    /// Replaces a client's secret after it has leaked. Returns the text of the new one, which can't be read again. Every old
    /// secret, and everything that was issued to the client before, is invalid immediately.
    ///
    /// It increases the [generation](crate::token_endpoint::ClientBuilder::credential_generation) by one. Write the new secret and the new
    /// generation to the configuration: with the old generation, a restart makes the unexpired tokens valid again.
    ///
    /// # Errors
    /// There is no client with this id and a secret, or the system provides no random bytes.
    pub fn replace_leaked_secret(&self, client_id: &str) -> Result<String, ConfigError> {
        let (secret, text) = ClientSecret::generate()?;
        self.change(client_id, |client, _| Ok(client.with_secrets(secret.clone(), None).with_next_generation()))?;
        Ok(text)
    }

    /// Returns the smallest id of such a client, so that a mistake is the same each time.
    fn first(&self, is_such: impl Fn(&Client) -> bool) -> Option<String> {
        let clients = self.by_id.load();
        clients.values().filter(|client| is_such(client)).map(|client| client.id().to_owned()).min()
    }

    /// Replaces a client that has a secret by the result of `change`, which gets the client and its secret.
    fn change(
        &self,
        client_id: &str,
        change: impl Fn(&Client, &ClientSecret) -> Result<Client, ConfigError>,
    ) -> Result<(), ConfigError> {
        let mut result = Ok(());
        // In one step, so that a client that is removed at the same time is not added again.
        self.by_id.rcu(|by_id| {
            let changed = by_id
                .get(client_id)
                .and_then(|client| client.secret().map(|secret| change(client, secret)))
                .unwrap_or_else(|| Err(without_secret(client_id)));
            match changed {
                Ok(client) => {
                    result = Ok(());
                    let mut by_id = HashMap::clone(by_id);
                    by_id.insert(client_id.to_owned(), Arc::new(client));
                    Arc::new(by_id)
                }
                Err(error) => {
                    result = Err(error);
                    Arc::clone(by_id)
                }
            }
        });
        result
    }
}

fn without_secret(client_id: &str) -> ConfigError {
    let found = format!("there is no client {client_id:?} with a secret");
    ConfigMistake::new("client_id", found, "name a registered client that has a secret").into()
}

impl ClientRegistry for Clients {
    async fn find(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        Ok(self.by_id.load().get(client_id).map(Arc::clone))
    }

    fn dpop_bound_client(&self) -> Option<String> {
        self.first(|client| client.dpop_bound_access_tokens)
    }

    fn certificate_bound_client(&self) -> Option<String> {
        self.first(|client| client.certificate_bound)
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("clients", &self.by_id.load().len()).finish()
    }
}

/// [`ClientRegistry`] as a trait object.
pub(crate) trait ErasedRegistry: Send + Sync {
    fn find_for<'a>(&'a self, client_id: &'a str, purpose: LookupPurpose) -> FindFuture<'a>;
    fn time_limit(&self) -> Duration;
    fn reads_client_documents(&self) -> bool;
    fn dpop_bound_client(&self) -> Option<String>;
    fn certificate_bound_client(&self) -> Option<String>;
}

pub(crate) type FindFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<Client>>, StoreError>> + Send + 'a>>;

impl<R: ClientRegistry> ErasedRegistry for R {
    fn find_for<'a>(&'a self, client_id: &'a str, purpose: LookupPurpose) -> FindFuture<'a> {
        Box::pin(ClientRegistry::find_for(self, client_id, purpose))
    }

    fn time_limit(&self) -> Duration {
        ClientRegistry::time_limit(self)
    }

    fn reads_client_documents(&self) -> bool {
        ClientRegistry::reads_client_documents(self)
    }

    fn dpop_bound_client(&self) -> Option<String> {
        ClientRegistry::dpop_bound_client(self)
    }

    fn certificate_bound_client(&self) -> Option<String> {
        ClientRegistry::certificate_bound_client(self)
    }
}
