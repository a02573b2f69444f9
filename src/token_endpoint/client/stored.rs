//! A client registry in a store: what is added or renewed at run time is there after a restart (RFC 6749 §2.2).
//!
//! *In*: a [`ClientStore`], and what an operator changes. *Out*: the clients that are stored now.
//!
//! Credentials are not checked here.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Client,
    change_error::{ClientChangeError, RenewedWithOldId},
    record::{read, write},
    registry::{ClientRegistry, ErasedRegistry, LookupPurpose},
    secret::{ClientSecret, random_text},
};
use crate::token_endpoint::{
    store::{
        ClientSaved, ClientStore, ErasedClientStore, FindClient, ListClients, Record, RemoveClient, SaveClient,
        StoreError,
    },
    texts::Texts,
};

/// A client registry in a [`ClientStore`], such as [`MemoryStore`](crate::token_endpoint::MemoryStore), `RedisStore` or
/// `PostgresStore`. Clones and all instances with the same store and issuer share the clients.
///
/// Each look-up reads the store: nothing is cached, so a change is in force on every instance at once, and a store that is down
/// refuses requests with 503. A client whose record an instance can't read, because a newer version wrote it, is refused with 503
/// too, and is not unknown. Each change is one step: of two that meet, one is done, and the other one is done after it or
/// returns an error.
///
/// A record is a JSON object in plain text: all settings, keys as a JWK set, and secrets as [`ClientSecret::hash`]. A change keeps
/// the members that a newer version added to it. A program that can write to the store can add clients.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_oauth::{
///     keys::{Algorithm, PrivateKey},
///     token_endpoint::{Client, ClientCredentialsGrant, ClientSecret, MemoryStore, StoredClients, TokenEndpoint, TokenFormat},
/// };
///
/// let store = MemoryStore::new(); // with RedisStore or PostgresStore, the clients survive a restart
/// let clients = StoredClients::new(store.clone(), "https://auth.example.com");
/// let key = PrivateKey::generate(Algorithm::ES256)?;
/// let endpoint = TokenEndpoint::builder("https://auth.example.com", key, clients.clone())
///     .grant(ClientCredentialsGrant::new())
///     .store(store)
///     .build()?;
///
/// let (secret, text) = ClientSecret::generate()?; // give `text` to the client
/// let reports = Client::builder("reports", secret)
///     .grant_types(["client_credentials"])
///     .audience("https://api.example.com", TokenFormat::Jwt)
///     .build()?;
/// clients.insert(reports).await?;
/// let renewed = clients.renew_secret("reports").await?;
/// # let _ = (endpoint, text, renewed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StoredClients {
    store: Arc<dyn ErasedClientStore>,
    texts: Arc<Texts>,
    configured: Option<Arc<dyn ErasedRegistry>>,
}

impl StoredClients {
    /// Returns a registry of the clients of `issuer` in this store. `issuer` is the text that the endpoint has, so that two
    /// issuers can share a store.
    #[must_use]
    pub fn new(store: impl ClientStore, issuer: impl AsRef<str>) -> Self {
        Self { store: Arc::new(store), texts: Arc::new(Texts::new(issuer.as_ref())), configured: None }
    }

    /// Returns a registry that also has the clients of `configured`, such as [`Clients`](crate::token_endpoint::Clients) from a
    /// configuration file. If both have an id, the client of `configured` is found, and the stored one is hidden. The methods
    /// below change only stored clients.
    #[must_use]
    pub fn with_configured(self, configured: impl ClientRegistry) -> Self {
        Self { configured: Some(Arc::new(configured)), ..self }
    }

    /// Adds a client.
    ///
    /// If a client with the same id was removed before, the unexpired tokens of that client are valid again, unless the
    /// [generation](crate::token_endpoint::ClientBuilder::credential_generation) or the kind of the credential differs. Therefore
    /// never give the id to a different client.
    ///
    /// # Errors
    /// There is a client with this id, stored or configured; or the store is unavailable.
    pub async fn insert(&self, client: Client) -> Result<(), ClientChangeError> {
        if let Some(configured) = &self.configured
            && configured.find_for(client.id(), LookupPurpose::Authorization).await?.is_some()
        {
            return Err(ClientChangeError::taken(client.id()));
        }
        let is_new = self.save(client.id(), write(&client)?, None).await?;
        if is_new { Ok(()) } else { Err(ClientChangeError::taken(client.id())) }
    }

    /// Replaces all settings of a stored client, also its credential, by those of `client`, which has the same id.
    ///
    /// # Errors
    /// The [generation](crate::token_endpoint::ClientBuilder::credential_generation) of `client` is lower than that of the stored
    /// one, so that an old copy of the client can't make a leaked secret valid again. Or a secret of `client` is from
    /// [`list`](Self::list) or [`find`](ClientRegistry::find), and the stored client has another one now. Or there is no stored
    /// client with this id, its secret was changed at the same time, or the store is unavailable.
    pub async fn replace(&self, client: Client) -> Result<(), ClientChangeError> {
        let (id, own, mut client) = (client.id().to_owned(), client.unknown.clone(), client);
        let replace = |stored: &Client| {
            let (given, found) = (client.generation(), stored.generation());
            if given < found {
                return Err(ClientChangeError::older_generation(client.id(), given, found));
            }
            if has_old_secret(&client, stored) {
                return Err(ClientChangeError::old_secret(client.id()));
            }
            client.unknown.clone_from(&stored.unknown);
            client.unknown.extend(own.clone());
            Ok(write(&client)?)
        };
        self.change(&id, replace).await
    }

    /// Removes a stored client. Everything that was issued to it becomes invalid. Has no effect if there is none.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn remove(&self, client_id: &str) -> Result<(), StoreError> {
        self.remove_if(client_id, None).await.map(drop)
    }

    /// Replaces a client's secret. Returns the text of the new one, which can't be read again. Every old secret is invalid
    /// immediately. Codes, sessions and tokens stay valid; see [`replace_leaked_secret`](Self::replace_leaked_secret).
    ///
    /// # Errors
    /// There is no stored client with this id and a secret, its secret was changed at the same time, the system provides no
    /// random bytes, or the store is unavailable. If the change [may be executed](StoreError::may_be_executed), renew the secret
    /// again: the text of the new one is lost.
    pub async fn renew_secret(&self, client_id: &str) -> Result<String, ClientChangeError> {
        let (secret, text) = ClientSecret::generate()?;
        self.change_secret(client_id, |client, _| Ok(client.with_secrets(secret.clone(), None))).await?;
        Ok(text)
    }

    /// Adds a second secret to a client. Returns its text, which can't be read again. Both secrets are valid until
    /// [`remove_old_secret`](Self::remove_old_secret), so the client can change to the new one without an outage.
    ///
    /// # Errors
    /// As for [`renew_secret`](Self::renew_secret), or the client has two secrets already.
    pub async fn add_secret(&self, client_id: &str) -> Result<String, ClientChangeError> {
        let (secret, text) = ClientSecret::generate()?;
        let add = |client: &Client, current: &ClientSecret| {
            if client.previous_secret().is_none() {
                return Ok(client.with_secrets(secret.clone(), Some(current.clone())));
            }
            let found = format!("the client {client_id:?} has two secrets");
            Err(ClientChangeError::refused("client_secret", found, "remove the old one first"))
        };
        self.change_secret(client_id, add).await?;
        Ok(text)
    }

    /// Removes the older one of a client's two secrets, which is invalid immediately. Has no effect if there is only one.
    ///
    /// # Errors
    /// There is no stored client with this id and a secret, its secret was changed at the same time, or the store is unavailable.
    pub async fn remove_old_secret(&self, client_id: &str) -> Result<(), ClientChangeError> {
        self.change_secret(client_id, |client, current| Ok(client.with_secrets(current.clone(), None))).await
    }

    /// Replaces a client's secret after it has leaked. Returns the text of the new one, which can't be read again. Every old
    /// secret, and everything that was issued to the client before, is invalid immediately.
    ///
    /// It increases the [generation](crate::token_endpoint::ClientBuilder::credential_generation) by one.
    ///
    /// # Errors
    /// As for [`renew_secret`](Self::renew_secret).
    pub async fn replace_leaked_secret(&self, client_id: &str) -> Result<String, ClientChangeError> {
        let (secret, text) = ClientSecret::generate()?;
        let replace =
            |client: &Client, _: &ClientSecret| Ok(client.with_secrets(secret.clone(), None).with_next_generation());
        self.change_secret(client_id, replace).await?;
        Ok(text)
    }

    /// Replaces a client's id and secret. Returns both: a random id, and the text of the secret, which can't be read again. The
    /// old id, and everything that was issued to it, is invalid immediately.
    ///
    /// If the program ends meanwhile, the old id and secret may be invalid. Then [`list`](Self::list) has the new id, and
    /// [`renew_secret`](Self::renew_secret) returns a secret for it.
    ///
    /// # Errors
    /// - [`OldIdLeft`](ClientChangeError::OldIdLeft): the store failed when the new id was stored. The error has the new id and
    ///   secret, which are valid. The old id may be valid too: [remove](Self::remove) it.
    /// - Otherwise as for [`renew_secret`](Self::renew_secret). The old id and secret stay valid, so the call can be repeated. After
    ///   an error of the store, a client with a random id may be stored. It can't be used, because its secret is unknown, and
    ///   [`list`](Self::list) has it.
    pub async fn renew_id_and_secret(&self, client_id: &str) -> Result<(String, String), ClientChangeError> {
        let (record, client) = self.load(client_id).await?.ok_or_else(|| ClientChangeError::unknown(client_id))?;
        if client.secret().is_none() {
            return Err(ClientChangeError::without_secret(client_id));
        }
        let (secret, text) = ClientSecret::generate()?;
        let id = random_text().map_err(ClientChangeError::no_randomness)?;
        let renewed = Client { id: id.clone(), ..client.with_secrets(secret, None) };
        if !self.save(&id, write(&renewed)?, None).await? {
            return Err(ClientChangeError::taken(&id));
        }
        match self.remove_if(client_id, Some(record)).await {
            Ok(true) => Ok((id, text)),
            Ok(false) => {
                self.remove_if(&id, None).await?;
                Err(ClientChangeError::changed_meanwhile(client_id))
            }
            // The outcome is unknown. If the old id is gone, it is done.
            Err(_) if self.load(client_id).await.is_ok_and(|found| found.is_none()) => Ok((id, text)),
            Err(error) => Err(ClientChangeError::OldIdLeft(RenewedWithOldId { client_id: id, secret: text, error })),
        }
    }

    /// Lists the stored clients, in the order of a hash of their ids. `after` is the last id of the previous page, and `limit` the
    /// maximum number of clients. A page with fewer is the last one.
    ///
    /// # Errors
    /// The store is unavailable, or a record can't be read.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<Client>, StoreError> {
        let after = after.map(|id| self.texts.client(id));
        let request = ListClients { issuer: self.texts.issuer(), after, limit: limit.max(1) };
        let records = self.store.list_clients(&request).await?;
        records.iter().map(|record| read(record).ok_or_else(unreadable)).collect()
    }

    /// Returns a stored client with its record.
    async fn load(&self, client_id: &str) -> Result<Option<(Record, Client)>, StoreError> {
        let request = FindClient { issuer: self.texts.issuer(), client: self.texts.client(client_id) };
        let Some(record) = self.store.find_client(&request).await? else { return Ok(None) };
        // Not unknown: then everything that was issued to the client would be refused for good.
        let client = read(&record).filter(|client| client.id() == client_id).ok_or_else(unreadable)?;
        Ok(Some((record, client)))
    }

    /// Changes the secrets of a stored client that has one.
    async fn change_secret(
        &self,
        client_id: &str,
        change: impl Fn(&Client, &ClientSecret) -> Result<Client, ClientChangeError>,
    ) -> Result<(), ClientChangeError> {
        let change = |client: &Client| {
            let secret = client.secret().ok_or_else(|| ClientChangeError::without_secret(client_id))?;
            Ok(write(&change(client, secret)?)?)
        };
        self.change(client_id, change).await
    }

    /// Replaces the record of a stored client by the result of `change`. Another change may come between the look-up and the
    /// write: then this one is repeated, unless the secret has changed, which must not be lost.
    async fn change(
        &self,
        client_id: &str,
        mut change: impl FnMut(&Client) -> Result<Record, ClientChangeError>,
    ) -> Result<(), ClientChangeError> {
        let hash = |client: &Client| client.secret().map(ClientSecret::hash);
        let mut first = None;
        for _ in 0..MAX_ATTEMPTS {
            let (record, client) = self.load(client_id).await?.ok_or_else(|| ClientChangeError::unknown(client_id))?;
            if *first.get_or_insert_with(|| hash(&client)) != hash(&client) {
                return Err(ClientChangeError::changed_meanwhile(client_id));
            }
            if self.save(client_id, change(&client)?, Some(record)).await? {
                return Ok(());
            }
        }
        Err(StoreError::not_executed("other changes of the client came first, again and again").into())
    }

    /// Stores a record; false if another one is stored than the expected one.
    async fn save(&self, client_id: &str, record: Record, expected: Option<Record>) -> Result<bool, StoreError> {
        let (issuer, client) = (self.texts.issuer(), self.texts.client(client_id));
        let request = SaveClient { issuer, client, record, expected, deadline: Instant::now() + TIMEOUT };
        is_done(self.store.save_client(&request).await?)
    }

    /// Removes a record; false if another one is stored than the expected one.
    async fn remove_if(&self, client_id: &str, expected: Option<Record>) -> Result<bool, StoreError> {
        let (issuer, client) = (self.texts.issuer(), self.texts.client(client_id));
        let request = RemoveClient { issuer, client, expected, deadline: Instant::now() + TIMEOUT };
        is_done(self.store.remove_client(&request).await?)
    }
}

impl ClientRegistry for StoredClients {
    async fn find(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        ClientRegistry::find_for(self, client_id, LookupPurpose::Authorization).await
    }

    async fn find_for(&self, client_id: &str, purpose: LookupPurpose) -> Result<Option<Arc<Client>>, StoreError> {
        if let Some(configured) = &self.configured
            && let Some(found) = configured.find_for(client_id, purpose).await?
        {
            return Ok(Some(found));
        }
        Ok(self.load(client_id).await?.map(|(_, client)| Arc::new(client)))
    }

    fn time_limit(&self) -> Duration {
        // `find` waits for one after the other.
        self.configured.as_ref().map_or(TIMEOUT, |configured| configured.time_limit().saturating_add(TIMEOUT))
    }

    fn reads_client_documents(&self) -> bool {
        self.configured.as_ref().is_some_and(|configured| configured.reads_client_documents())
    }

    fn dpop_bound_client(&self) -> Option<String> {
        self.configured.as_ref().and_then(|configured| configured.dpop_bound_client())
    }

    fn certificate_bound_client(&self) -> Option<String> {
        self.configured.as_ref().and_then(|configured| configured.certificate_bound_client())
    }
}

impl fmt::Debug for StoredClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredClients").finish_non_exhaustive()
    }
}

/// True if a secret of the copy was read from the store, and was replaced there since. The current secret may become the previous
/// one.
fn has_old_secret(copy: &Client, stored: &Client) -> bool {
    let (current, previous) = (stored.secret(), stored.previous_secret());
    copy.secret().is_some_and(|secret| secret.is_replaced_by(current))
        || copy.previous_secret().is_some_and(|secret| secret.is_replaced_by(current.into_iter().chain(previous)))
}

fn is_done(saved: ClientSaved) -> Result<bool, StoreError> {
    match saved {
        ClientSaved::Done => Ok(true),
        ClientSaved::Conflict => Ok(false),
        ClientSaved::Late => Err(StoreError::not_executed("the store got to the change of a client too late")),
    }
}

fn unreadable() -> StoreError {
    StoreError::not_executed("the record of a client is not one that this version can read")
}

/// Changes of one client are rare, so that two of them meet hardly ever.
const MAX_ATTEMPTS: usize = 10;
/// Time until the deadline of a write, and for a look-up.
const TIMEOUT: Duration = Duration::from_secs(2);
