//! A store in PostgreSQL: for several instances of one issuer.
//!
//! *In*: the operations of a [`Store`]. *Out*: one SQL statement for each; functions in the schema decide atomically.
//!
//! Records are not read; they are returned as they were stored.

mod builder;
mod call;
mod cleaning;
mod clients;
mod clock;
mod connections;
mod operations;
mod queues;
mod rows;
mod schema;

use std::{fmt, sync::Arc};

use sqlx::postgres::PgRow;

pub use self::builder::PostgresStoreBuilder;
use self::{
    call::FunctionCall,
    cleaning::Cleaning,
    connections::{Connections, UNEXPECTED},
    schema::Schema,
};
use super::StoreError;
use crate::config_error::ConfigError;

/// A store in PostgreSQL 12 or newer; it is tested with 15. Clones share its connections. All instances with the same schema
/// share the stored data; two issuers in it don't find each other's.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_oauth::{
///     keys::{Algorithm, PrivateKey},
///     token_endpoint::{Client, ClientCredentialsGrant, ClientSecret, Clients, PostgresStore, TokenEndpoint, TokenFormat},
/// };
///
/// let url = std::env::var("DATABASE_URL")?; // postgres://tower_oauth:secret@db.example.com/auth?sslmode=verify-full
/// let store = PostgresStore::builder(url).connect().await?;
///
/// let reports = Client::builder("reports", ClientSecret::new(std::env::var("REPORTS_SECRET")?))
///     .grant_types(["client_credentials"])
///     .audience("https://api.example.com", TokenFormat::Jwt)
///     .build()?;
/// let key = PrivateKey::generate(Algorithm::ES256)?; // several instances need the same key, from a file
/// let endpoint = TokenEndpoint::builder("https://auth.example.com", key, Clients::new([reports])?)
///     .grant(ClientCredentialsGrant::new())
///     .store(store)
///     .build()?;
/// # Ok(()) }
/// ```
///
/// # Stored data
///
/// Codes and tokens are stored as SHA-256 hashes, which can't be presented. Clients, scopes, subjects, audiences and times are
/// stored in plain text, as UTF-8 bytes. The text of a refresh token's successor can be derived only from the stored salt and
/// the text of the token, which only the client has.
///
/// When a session ends, its row and its access tokens are deleted at once. Everything else is deleted about a minute after its
/// expiry, in small batches, also if there are no requests. The clocks of the instances may differ by up to a minute. Cleaning
/// begins with the first request. Clients of [`StoredClients`](crate::token_endpoint::StoredClients) never expire.
///
/// # Durability
///
/// Every operation is one statement, and returns after PostgreSQL has committed it. With `synchronous_commit` on (the
/// default), a crash loses no issued token, and used codes stay used. If an asynchronous replica takes over, the last
/// writes are missing: some tokens are unknown, and a code or refresh token can be used once more. To prevent that, name the
/// replica in `synchronous_standby_names`. The URL must lead to the primary.
///
/// # Time
///
/// The server decides by its own clock whether an operation came too late. The store learns the difference of the two clocks
/// from the replies; it does not assume that they are equal.
///
/// # Limits
///
/// A client's limit counts the access tokens that were issued since the limit was set. A limit of sessions counts all. The cost
/// grows with the logarithm of the limit. Operations with a limit lock a row of the owner; those of one instance wait for each
/// other before they take a connection, so one busy client uses at most one connection.
///
/// # Failures
///
/// When PostgreSQL is down, doesn't reply or has no free connection, operations fail in time, and requests are refused with 503.
/// Nothing needs a restart afterwards.
///
/// # Permissions
///
/// [`connect`](PostgresStoreBuilder::connect) creates the schema and its content, so its role needs `CREATE` on the database,
/// or on the schema if that exists. A role without it uses
/// [`skip_migrations`](PostgresStoreBuilder::skip_migrations), and needs `USAGE` on the schema and `SELECT`, `INSERT`,
/// `UPDATE`, `DELETE` on its tables.
///
/// # The URL
///
/// `postgres://user:password@host:port/database?sslmode=…`, with user and password percent-encoded. Missing parts come from
/// the variables of libpq (`PGHOST`, `PGPASSWORD`, …) and from `.pgpass`. The default `sslmode` is `prefer`, which accepts any
/// server; over a network, use `verify-full`, with `sslrootcert=/a/file.pem` for a private certificate authority. TLS uses
/// rustls with aws-lc, and needs no process-wide provider.
///
/// # Poolers
///
/// If PgBouncer or another pooler is between, call
/// [`transaction_pooler`](PostgresStoreBuilder::transaction_pooler). [`connect`](PostgresStoreBuilder::connect) reports a pooler
/// that does not work without it.
#[derive(Clone)]
pub struct PostgresStore(Arc<PostgresState>);

impl PostgresStore {
    /// Returns a builder for a store in the database of this URL; see [above](Self#the-url).
    pub fn builder(url: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(url.into())
    }

    /// Returns the SQL that creates this schema, for an operator to run: each text in one transaction (`psql -1`), in this
    /// order, beginning with the first that was not run. The table `migrations` in the schema lists those that were run.
    ///
    /// Instances of the previous version can run meanwhile and afterwards.
    ///
    /// # Errors
    /// The schema name is invalid.
    pub fn migrations(schema: &str) -> Result<Vec<String>, ConfigError> {
        Ok(Schema::new(schema)?.migrations())
    }

    fn new(connections: Connections) -> Self {
        let state = Arc::new(PostgresState { connections, cleaning: Cleaning::default() });
        tokio::spawn(cleaning::clean_regularly(Arc::downgrade(&state)));
        Self(state)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

struct PostgresState {
    connections: Connections,
    cleaning: Cleaning,
}

impl PostgresState {
    /// Returns the row of a call that changes nothing and always has one.
    async fn row(&self, call: FunctionCall) -> Result<PgRow, StoreError> {
        self.connections.read(call).await?.into_iter().next().ok_or_else(|| StoreError::new(UNEXPECTED))
    }
}
