//! Where the clients are looked up.
//!
//! *In*: a `client_id`. *Out*: the [`Client`], or that there is none. [`Clients`] holds them in memory; a host that keeps its
//! clients elsewhere implements [`ClientRegistry`].

use std::{collections::HashMap, fmt, pin::Pin, sync::Arc};

use arc_swap::ArcSwap;

use super::{Client, ClientCredential, secret::ClientSecret};
use crate::{
    config_error::{ConfigError, ConfigMistake},
    token_endpoint::store::StoreError,
};

/// Looks clients up.
///
/// A client that is not found any more has no tokens any more, and neither has one whose secret changed: what was issued
/// under the old one is refused and reported as inactive.
pub trait ClientRegistry: Send + Sync + 'static {
    /// The client with this id, compared byte for byte.
    ///
    /// # Errors
    /// It can't be said at the moment, which is answered with 503.
    fn find(&self, client_id: &str) -> impl Future<Output = Result<Option<Arc<Client>>, StoreError>> + Send;
}

/// Clients in memory. Clones share them.
#[derive(Clone)]
pub struct Clients {
    by_id: Arc<ArcSwap<HashMap<String, Arc<Client>>>>,
}

impl Clients {
    /// These clients.
    ///
    /// # Errors
    /// Every id that stands twice.
    pub fn new(clients: impl IntoIterator<Item = Client>) -> Result<Self, ConfigError> {
        let (mut by_id, mut mistakes) = (HashMap::new(), Vec::new());
        for client in clients {
            if let Some(twice) = by_id.insert(client.id().to_owned(), Arc::new(client)) {
                let found = format!("client {:?} stands twice", twice.id());
                mistakes.push(ConfigMistake::new("client_id", found, "give each client an id of its own"));
            }
        }
        ConfigError::unless_empty(mistakes)?;
        Ok(Self { by_id: Arc::new(ArcSwap::from_pointee(by_id)) })
    }

    /// Adds a client, or puts it in the place of the one with the same id.
    pub fn insert(&self, client: Client) {
        let client = Arc::new(client);
        self.by_id.rcu(|by_id| {
            let mut by_id = HashMap::clone(by_id);
            by_id.insert(client.id().to_owned(), Arc::clone(&client));
            by_id
        });
    }

    /// Removes a client: everything it was given is dead as long as it is away. What has not expired until then is alive
    /// again if it comes back under its id and with the same secret, or with keys or none as before; so give another id to
    /// another client.
    pub fn remove(&self, client_id: &str) {
        self.by_id.rcu(|by_id| {
            let mut by_id = HashMap::clone(by_id);
            by_id.remove(client_id);
            by_id
        });
    }

    /// Gives a client a new secret, and its text, which is told this once. The old secret and every token, refresh token and
    /// code that was issued under it are dead at once.
    ///
    /// # Errors
    /// There is no such client, it has no secret, or the system gives no random bytes.
    pub fn renew_secret(&self, client_id: &str) -> Result<String, ConfigError> {
        let (secret, text) = ClientSecret::generate()?;
        let mut renewed = false;
        // In one step: a client that is removed at the same time must not come back.
        self.by_id.rcu(|by_id| {
            let mut by_id = HashMap::clone(by_id);
            let client =
                by_id.get_mut(client_id).filter(|client| matches!(client.credential_kind, ClientCredential::Secret(_)));
            renewed = client.is_some();
            if let Some(client) = client {
                *client = Arc::new(client.with_new_secret(&secret));
            }
            by_id
        });
        if renewed {
            return Ok(text);
        }
        let found = format!("there is no client {client_id:?} with a secret");
        Err(ConfigMistake::new("client_id", found, "name a client that was given a secret").into())
    }
}

impl ClientRegistry for Clients {
    async fn find(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        Ok(self.by_id.load().get(client_id).map(Arc::clone))
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("clients", &self.by_id.load().len()).finish()
    }
}

/// [`ClientRegistry`] behind a pointer.
pub(crate) trait ErasedRegistry: Send + Sync {
    fn find<'a>(&'a self, client_id: &'a str) -> Finding<'a>;
}

pub(crate) type Finding<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<Client>>, StoreError>> + Send + 'a>>;

impl<R: ClientRegistry> ErasedRegistry for R {
    fn find<'a>(&'a self, client_id: &'a str) -> Finding<'a> {
        Box::pin(ClientRegistry::find(self, client_id))
    }
}
