//! A store in PostgreSQL: for several instances of one issuer.
//!
//! *In*: the operations of a [`Store`]. *Out*: one SQL statement for each; functions in the schema decide atomically.
//!
//! Records are not validated; they are trusted as far as they parse.

mod builder;
mod cleaning;
mod connections;
mod schema;

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Decode, Postgres, Row as _, Type,
    postgres::{PgArguments, PgRow},
    query::Query,
};

pub use self::builder::PostgresStoreBuilder;
use self::{cleaning::Cleaning, connections::Connections, schema::Schema};
use super::{
    AccessRecord, CodeRecord, CodeTaken, Family, Issued, NewAccess, NewRefresh, Revoked, Rotated, Store, StoreError,
    Successor,
};
use crate::{config_error::ConfigError, token_endpoint::client::secret::TokenHash};

/// A store in PostgreSQL 12 or newer; it is tested with 15. Clones share its connections. All instances with the same schema
/// share the stored data.
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
/// stored in plain text. The text of a refresh token's successor can be derived only from the stored salt and the text of the
/// token, which only the client has. Client ids and subjects may contain any text, also NUL.
///
/// # Durability
///
/// Every operation is one statement, and returns after PostgreSQL has committed it. With `synchronous_commit` on (the
/// default), a crash loses no issued token, and used codes stay used. If an asynchronous replica takes over, the last
/// writes are missing: some tokens are unknown, and a code or refresh token can be used once more. To prevent that, name the
/// replica in `synchronous_standby_names`. The URL must lead to the primary.
///
/// Expired rows are deleted in small batches while new ones are added, about a minute after their expiry, so the clocks of
/// the instances may differ by up to a minute. For each approval, the last hundred used refresh tokens are kept, as by
/// [`MemoryStore`](super::MemoryStore). A client's limit counts the tokens that were issued since the limit was set.
///
/// # Failures
///
/// When PostgreSQL is down, doesn't reply or has no free connection, operations fail within the
/// [`timeout`](PostgresStoreBuilder::timeout), and requests are refused with 503. Nothing needs a restart afterwards.
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
/// Statements are prepared under names, once for each connection. PgBouncer in transaction mode supports this from version
/// 1.21 on with `max_prepared_statements` above 0; in session mode every version does. PgBouncer must forward the start-up
/// parameter `options` or ignore it (`ignore_startup_parameters = options`); then set `statement_timeout` for the role.
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

    fn new(connections: Connections, schema: &Schema) -> Self {
        let statements = Statements::new(schema);
        Self(Arc::new(PostgresState { connections, statements, cleaning: Cleaning::default() }))
    }

    /// Runs an operation that adds a row, and starts the cleaning if it is due.
    async fn add(&self, query: Query<'_, Postgres, PgArguments>, now: u64) -> Result<Option<PgRow>, StoreError> {
        Cleaning::begin_if_due(&self.0, now);
        self.0.connections.fetch(query).await
    }
}

impl Store for PostgresStore {
    async fn add_code(&self, code: &TokenHash, record: &CodeRecord, now: u64) -> Result<(), StoreError> {
        let CodeRecord { binding, family, expires_at } = record;
        let query = sqlx::query(&self.0.statements.add_code)
            .bind(code.as_bytes())
            .bind(binding.as_bytes())
            .bind(key(&family.id))
            .bind(key(&family.client_id))
            .bind(to_json(family)?)
            .bind(number(family.expires_at))
            .bind(number(*expires_at));
        self.add(query, now).await.map(drop)
    }

    async fn take_code(&self, code: &TokenHash, binding: &TokenHash, now: u64) -> Result<CodeTaken, StoreError> {
        let query = sqlx::query(&self.0.statements.take_code);
        let row = self.0.row(query.bind(code.as_bytes()).bind(binding.as_bytes()).bind(number(now))).await?;
        match column(&row, 0)? {
            "first" => from_row(&row, 1).map(CodeTaken::First),
            "again" => Ok(CodeTaken::Again),
            "unknown" => Ok(CodeTaken::Unknown),
            _ => Err(StoreError::new(UNEXPECTED)),
        }
    }

    async fn issue(
        &self,
        access: &NewAccess,
        refresh: Option<&NewRefresh>,
        limit: Option<u32>,
        now: u64,
    ) -> Result<Issued, StoreError> {
        let NewAccess { hash, record } = access;
        let owner = limit.map(|_| *TokenHash::of_all(&[&record.client_id, &record.subject]).as_bytes());
        let query = sqlx::query(&self.0.statements.issue)
            .bind(hash.as_bytes())
            .bind(record.family.as_deref().map(key))
            .bind(key(&record.client_id))
            .bind(owner)
            .bind(to_json(record)?)
            .bind(number(record.expires_at))
            .bind(refresh.map(|refresh| refresh.hash.as_bytes()))
            .bind(refresh.map(|refresh| number(refresh.expires_at)))
            .bind(limit.map(|limit| i64::from(limit.max(1))))
            .bind(number(now));
        let row = self.add(query, now).await?.ok_or_else(|| StoreError::new(UNEXPECTED))?;
        Ok(if column(&row, 0)? { Issued::Stored } else { Issued::FamilyRevoked })
    }

    async fn find_access(&self, token: &TokenHash, now: u64) -> Result<Option<AccessRecord>, StoreError> {
        let query = sqlx::query(&self.0.statements.find_access).bind(token.as_bytes()).bind(number(now));
        self.0.connections.fetch(query).await?.map(|row| from_row(&row, 0)).transpose()
    }

    async fn find_refresh(&self, token: &TokenHash, now: u64) -> Result<Option<Family>, StoreError> {
        let query = sqlx::query(&self.0.statements.find_refresh).bind(token.as_bytes()).bind(number(now));
        self.0.connections.fetch(query).await?.map(|row| from_row(&row, 0)).transpose()
    }

    async fn rotate(
        &self,
        token: &TokenHash,
        client_id: &str,
        successor: &Successor,
        grace: u64,
        now: u64,
    ) -> Result<Rotated, StoreError> {
        let query = sqlx::query(&self.0.statements.rotate)
            .bind(token.as_bytes())
            .bind(key(client_id))
            .bind(successor.hash.as_bytes())
            .bind(successor.salt)
            .bind(number(successor.expires_at))
            .bind(number(grace))
            .bind(USED_KEPT)
            .bind(number(now));
        let row = self.add(query, now).await?.ok_or_else(|| StoreError::new(UNEXPECTED))?;
        match column(&row, 0)? {
            "first" => from_row(&row, 1).map(Rotated::First),
            "again" => Ok(Rotated::Again { family: from_row(&row, 1)?, salt: column(&row, 2)? }),
            "reused" => Ok(Rotated::Reused),
            "unknown" => Ok(Rotated::Unknown),
            _ => Err(StoreError::new(UNEXPECTED)),
        }
    }

    async fn revoke(&self, token: &TokenHash, client_id: &str, now: u64) -> Result<Revoked, StoreError> {
        let query = sqlx::query(&self.0.statements.revoke);
        let row = self.0.row(query.bind(token.as_bytes()).bind(key(client_id)).bind(number(now))).await?;
        Ok(if column(&row, 0)? { Revoked::Gone } else { Revoked::NotYours })
    }

    async fn insert_if_absent(&self, key: &TokenHash, expires_at: u64, now: u64) -> Result<bool, StoreError> {
        let query = sqlx::query(&self.0.statements.insert_if_absent);
        let query = query.bind(key.as_bytes()).bind(number(expires_at)).bind(number(now));
        self.add(query, now).await.map(|row| row.is_some())
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

struct PostgresState {
    connections: Connections,
    statements: Statements,
    cleaning: Cleaning,
}

impl PostgresState {
    /// Returns the row of a statement that always has one.
    async fn row(&self, query: Query<'_, Postgres, PgArguments>) -> Result<PgRow, StoreError> {
        self.connections.fetch(query).await?.ok_or_else(|| StoreError::new(UNEXPECTED))
    }
}

/// The statements, in our schema. The functions of the migrations make the decisions.
struct Statements {
    add_code: String,
    take_code: String,
    issue: String,
    find_access: String,
    find_refresh: String,
    rotate: String,
    revoke: String,
    insert_if_absent: String,
    clean: String,
}

impl Statements {
    fn new(schema: &Schema) -> Self {
        Self {
            add_code: schema.sql(
                r#"INSERT INTO "tower_oauth".codes
                    (hash, binding, family, client, record, family_expires_at, first_use_until, expires_at)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $7)"#,
            ),
            take_code: schema.sql(r#"SELECT outcome, its_family FROM "tower_oauth".take_code($1, $2, $3)"#),
            issue: schema.sql(r#"SELECT "tower_oauth".issue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"#),
            find_access: schema.sql(
                r#"SELECT a.record FROM "tower_oauth".access_tokens a LEFT JOIN "tower_oauth".families f ON f.id = a.family
                    WHERE a.hash = $1 AND $2 < a.expires_at
                    AND (a.family IS NULL OR (NOT f.revoked AND $2 < f.expires_at))"#,
            ),
            find_refresh: schema.sql(
                r#"SELECT f.record FROM "tower_oauth".refresh_tokens r JOIN "tower_oauth".families f ON f.id = r.family
                    WHERE r.hash = $1 AND $2 < r.expires_at AND NOT f.revoked AND $2 < f.expires_at"#,
            ),
            rotate: schema.sql(
                r#"SELECT outcome, its_family, its_salt FROM "tower_oauth".rotate($1, $2, $3, $4, $5, $6, $7, $8)"#,
            ),
            revoke: schema.sql(r#"SELECT "tower_oauth".revoke($1, $2, $3)"#),
            // An expired row counts as absent. A statement that waited for the row of another one reads the row again.
            insert_if_absent: schema.sql(
                r#"INSERT INTO "tower_oauth".seen AS s (key, expires_at) VALUES ($1, $2)
                    ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at WHERE s.expires_at <= $3 RETURNING true"#,
            ),
            // Limited by the database's clock too: an instance whose clock is far ahead deletes nothing that is valid.
            clean: schema.sql(
                r#"SELECT "tower_oauth".clean(least($1, extract(epoch FROM clock_timestamp())::bigint - $3), $2)"#,
            ),
        }
    }
}

/// Returns a key of 32 bytes for any text: PostgreSQL's text can't contain NUL, and its indexes refuse long values.
fn key(text: &str) -> [u8; 32] {
    *TokenHash::of(text).as_bytes()
}

/// Returns the record as JSON, which escapes NUL.
fn to_json(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record)
        .map_err(|error| StoreError::new("a record could not be serialized").with_source(error))
}

/// Parses a record. The error has no cause, because its text would quote the record.
fn from_row<T: DeserializeOwned>(row: &PgRow, index: usize) -> Result<T, StoreError> {
    serde_json::from_str(column(row, index)?).map_err(|_| StoreError::new("a record in PostgreSQL could not be parsed"))
}

fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| StoreError::new(UNEXPECTED).with_source(error))
}

/// Returns the seconds as PostgreSQL's signed number. No clock reaches the maximum.
fn number(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

const UNEXPECTED: &str = "PostgreSQL sent an unexpected reply";
/// Used refresh tokens that are kept for each family, as by [`MemoryStore`](super::MemoryStore).
const USED_KEPT: i64 = 100;
