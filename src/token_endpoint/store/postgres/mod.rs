//! Everything in PostgreSQL: for several instances, and still there after a restart.

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

/// A store in PostgreSQL, 12 or newer; it is tested with 15. Clones share its connections; other instances, in this process or elsewhere, share
/// what it remembers.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_oauth::{
///     keys::{Algorithm, PrivateKey},
///     token_endpoint::{Client, ClientCredentialsGrant, ClientSecret, Clients, PostgresStore, TokenEndpoint},
/// };
///
/// let url = std::env::var("DATABASE_URL")?; // postgres://tower_oauth:secret@db.example.com/auth?sslmode=verify-full
/// let store = PostgresStore::builder(url).connect().await?;
///
/// let reports = Client::builder("reports", ClientSecret::new(std::env::var("REPORTS_SECRET")?))
///     .grant_types(["client_credentials"])
///     .build()?;
/// let key = PrivateKey::generate(Algorithm::ES256)?; // several instances sign with the same one, from a file
/// let endpoint = TokenEndpoint::builder("https://auth.example.com", key, Clients::new([reports])?)
///     .grant(ClientCredentialsGrant::new())
///     .store(store)
///     .build()?;
/// # Ok(()) }
/// ```
///
/// # What is kept, and for whom to read
///
/// Of codes and tokens there are SHA-256 hashes of 32 bytes, and nothing that could be presented. Whoever reads the tables
/// reads which client got which scopes for which subject and audience, and when. The salt of a refresh token that was used
/// makes its successor's text only together with its own text, which the client alone has. Any text is a legal client id or
/// subject, NUL too.
///
/// # What is never forgotten
///
/// Every operation is one statement, and answers after PostgreSQL has committed it. With `synchronous_commit` on, as it is by
/// default, what was handed out is known after a crash, and what was used stays used. If a replica takes over that is not
/// synchronous, the last moments are missing: tokens that nobody knows, but also a code or refresh token that can be used
/// once more. Where that matters, name the replica in `synchronous_standby_names`. The URL must lead to the primary.
///
/// Expired rows are deleted in small batches while new ones come, about a minute after their end: by that much the clocks of
/// the instances may differ. Of each approval the last hundred refresh tokens that were used are known, as by
/// [`MemoryStore`](super::MemoryStore). A client's limit counts the tokens that were issued since it has one.
///
/// # Trouble
///
/// When PostgreSQL is down, hangs or has no connection free, operations fail within the
/// [`timeout`](PostgresStoreBuilder::timeout) and requests are answered with 503. Nothing needs to be restarted afterwards.
///
/// # Rights
///
/// [`connect`](PostgresStoreBuilder::connect) makes the schema and all that is in it, so its role needs `CREATE` on the
/// database, or on the schema if that is there. For a role without it see
/// [`migrated_by_hand`](PostgresStoreBuilder::migrated_by_hand); it needs `USAGE` on the schema and `SELECT`, `INSERT`,
/// `UPDATE`, `DELETE` on its tables.
///
/// # The URL
///
/// `postgres://user:password@host:port/database?sslmode=…`, with user and password percent-encoded. What it leaves out comes
/// from libpq's variables (`PGHOST`, `PGPASSWORD`, …) and `.pgpass`. `sslmode` is `prefer` by default, which accepts any
/// server; over a network say `verify-full`, with `sslrootcert=/a/file.pem` where the authority is your own. TLS is by rustls
/// with aws-lc-rs and needs no process-wide provider.
///
/// Statements are prepared under names, once for each connection. Behind PgBouncer in transaction mode this works from 1.21 on
/// with `max_prepared_statements` above 0; in session mode with any. PgBouncer must let the start-up parameter `options` pass
/// or ignore it (`ignore_startup_parameters = options`); then set `statement_timeout` for the role.
#[derive(Clone)]
pub struct PostgresStore(Arc<PostgresState>);

impl PostgresStore {
    /// A store in the database of this URL; see [above](Self#the-url).
    #[must_use]
    pub fn builder(url: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(url.into())
    }

    /// The SQL that makes the schema of this name, for those who run it by hand: each text in one transaction (`psql -1`), in
    /// this order, beginning with the first that was not run. The table `migrations` in the schema says which were.
    ///
    /// Instances of the version before may go on running meanwhile, and afterwards.
    ///
    /// # Errors
    /// It is no name for a schema.
    pub fn migrations(schema: &str) -> Result<Vec<String>, ConfigError> {
        Ok(Schema::new(schema)?.migrations())
    }

    fn new(connections: Connections, schema: &Schema) -> Self {
        let statements = Statements::new(schema);
        Self(Arc::new(PostgresState { connections, statements, cleaning: Cleaning::default() }))
    }

    /// For an operation that adds.
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
            _ => Err(StoreError::new(ODD_ANSWER)),
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
        let row = self.add(query, now).await?.ok_or_else(|| StoreError::new(ODD_ANSWER))?;
        Ok(if column(&row, 0)? { Issued::Remembered } else { Issued::FamilyDead })
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
        let row = self.add(query, now).await?.ok_or_else(|| StoreError::new(ODD_ANSWER))?;
        match column(&row, 0)? {
            "first" => from_row(&row, 1).map(Rotated::First),
            "again" => Ok(Rotated::Again { family: from_row(&row, 1)?, salt: column(&row, 2)? }),
            "reused" => Ok(Rotated::Reused),
            "unknown" => Ok(Rotated::Unknown),
            _ => Err(StoreError::new(ODD_ANSWER)),
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
    /// The answer of a statement that always has one.
    async fn row(&self, query: Query<'_, Postgres, PgArguments>) -> Result<PgRow, StoreError> {
        self.connections.fetch(query).await?.ok_or_else(|| StoreError::new(ODD_ANSWER))
    }
}

/// The statements, in our schema. What decides is in the functions that the migrations make.
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
            // A row that has expired counts as none. Who waits for another one's row looks at it again.
            insert_if_absent: schema.sql(
                r#"INSERT INTO "tower_oauth".seen AS s (key, expires_at) VALUES ($1, $2)
                    ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at WHERE s.expires_at <= $3 RETURNING true"#,
            ),
            // An instance whose clock is far ahead deletes nothing that lives for the others.
            clean: schema.sql(
                r#"SELECT "tower_oauth".clean(least($1, extract(epoch FROM clock_timestamp())::bigint - $3), $2)"#,
            ),
        }
    }
}

/// Any text as a key of 32 bytes: PostgreSQL's text has no NUL, and its indexes take no long ones.
fn key(text: &str) -> [u8; 32] {
    *TokenHash::of(text).as_bytes()
}

/// JSON, in which a NUL is escaped.
fn to_json(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record)
        .map_err(|error| StoreError::new("a record can't be written as JSON").with_source(error))
}

/// Without the cause, which quotes what it found.
fn from_row<T: DeserializeOwned>(row: &PgRow, place: usize) -> Result<T, StoreError> {
    serde_json::from_str(column(row, place)?).map_err(|_| StoreError::new("a record in PostgreSQL can't be read"))
}

fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, place: usize) -> Result<T, StoreError> {
    row.try_get(place).map_err(|error| StoreError::new(ODD_ANSWER).with_source(error))
}

/// PostgreSQL has no unsigned numbers; what is beyond its greatest one is never reached by a clock.
fn number(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

const ODD_ANSWER: &str = "PostgreSQL's answer is not what was asked for";
/// As many as [`MemoryStore`](super::MemoryStore) keeps.
const USED_KEPT: i64 = 100;
