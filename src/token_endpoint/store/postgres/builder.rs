//! The settings of the store, and the check of the server at start-up.
//!
//! *In*: a URL and settings. *Out*: a store whose schema is ready, or what to change. No error text contains the password.

use std::{fmt, time::Duration};

use sqlx::{ConnectOptions as _, Error, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{
    PostgresStore,
    call::{Protocol, own_settings},
    connections::Connections,
    schema::{DEFAULT, KNOWN, MIGRATION_SECONDS, Schema, SchemaState},
};
use crate::config_error::{ConfigError, ConfigMistake, MistakeCollector};

/// Builder for a [`PostgresStore`]. [`connect`](Self::connect) reports every mistake in the settings at once.
#[derive(Clone)]
#[must_use]
pub struct PostgresStoreBuilder {
    url: String,
    schema: String,
    max_connections: u32,
    timeout: Duration,
    runs_migrations: bool,
    through_pooler: bool,
}

impl PostgresStoreBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            schema: DEFAULT.to_owned(),
            max_connections: 10,
            timeout: Duration::from_secs(2),
            runs_migrations: true,
            through_pooler: false,
        }
    }

    /// Schema for all tables and functions. Default: `tower_oauth`.
    ///
    /// At most 63 lower-case letters, digits and `_`.
    pub fn schema(self, name: impl Into<String>) -> Self {
        Self { schema: name.into(), ..self }
    }

    /// Maximum number of connections of this instance. Default: 10.
    ///
    /// An operation waits for a free connection, and uses it for one round trip. It occupies the connection until the server has
    /// replied, also if the request is dropped.
    pub fn max_connections(self, max: u32) -> Self {
        Self { max_connections: max, ..self }
    }

    /// Maximum time of a read, including the wait for a connection; and for how much longer than its deadline a write waits for
    /// its answer. After that, the request is refused with 503. The server aborts each statement after this time as well, by its
    /// `statement_timeout`. Default: 2 seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Uses only what works through a pooler in transaction mode, such as PgBouncer with `pool_mode = transaction`: no prepared
    /// statements, no start-up parameter `options`. Each operation is one text that is one transaction. It contains values only
    /// as numbers and hexadecimal digits. Default: prepared statements.
    ///
    /// It works in session mode too, and without a pooler.
    pub fn transaction_pooler(self) -> Self {
        Self { through_pooler: true, ..self }
    }

    /// Skips the migrations: an operator runs [`PostgresStore::migrations`]. [`connect`](Self::connect) only checks that they were
    /// run. Default: `connect` runs them.
    pub fn skip_migrations(self) -> Self {
        Self { runs_migrations: false, ..self }
    }

    /// Connects, and runs the migrations that are missing. Several instances may do so at the same time.
    ///
    /// # Errors
    /// Every mistake in the settings at once: an invalid URL or schema name, a maximum of 0 connections, a timeout of less than
    /// a millisecond or more than 24 days. Or the first problem of the server: it can't be reached, it refuses user, password or
    /// database, a permission or a migration is missing, a pooler needs [`transaction_pooler`](Self::transaction_pooler), or the
    /// schema requires a newer version of this crate. No text contains the password.
    pub async fn connect(self) -> Result<PostgresStore, ConfigError> {
        let (options, schema) = self.settings()?;
        let connect = async { options.connect().await.map_err(|error| self.mistake(&options, error)) };
        let mut connection = self.in_time(self.timeout, &options, connect).await?;
        let migration = Duration::from_secs(MIGRATION_SECONDS).max(self.timeout);
        self.in_time(migration, &options, self.prepare(&options, &schema, &mut connection)).await?;
        let connections = Connections::new(options, schema, self.protocol(), self.max_connections, self.timeout);
        Ok(PostgresStore::new(connections))
    }

    fn settings(&self) -> Result<(PgConnectOptions, Schema), ConfigError> {
        let mut mistakes = MistakeCollector::new();
        let options = mistakes.check(self.options());
        let schema = mistakes.check(Schema::new(&self.schema));
        if self.max_connections == 0 {
            mistakes.add("max_connections", "0", "allow at least one connection");
        }
        // PostgreSQL's `statement_timeout` is a number of milliseconds in 31 bits.
        if self.timeout < Duration::from_millis(1) || i32::try_from(self.timeout.as_millis()).is_err() {
            mistakes.add("timeout", format!("{:?}", self.timeout), "give between a millisecond and 24 days");
        }
        mistakes.finish()?;
        match (options, schema) {
            (Some(options), Some(schema)) => Ok((options, schema)),
            _ => Err(not_a_url().into()),
        }
    }

    fn options(&self) -> Result<PgConnectOptions, ConfigMistake> {
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| self.url.strip_prefix(scheme));
        let (authority, rest) = rest.and_then(split_authority).ok_or_else(not_a_url)?;
        // A password with an unencoded slash would be parsed as host and path, and shown in error texts.
        if rest.contains('@') && !authority.contains('@') {
            return Err(not_a_url());
        }
        let options: PgConnectOptions = self.url.parse().map_err(|_| not_a_url())?;
        let options = options.extra_float_digits(None).disable_statement_logging();
        if self.through_pooler {
            return Ok(options);
        }
        let timeout = self.timeout_millis().to_string();
        // With a stricter isolation, set for the role or the database, a statement that waited for a lock would fail.
        Ok(options.options([("statement_timeout", &*timeout), ("default_transaction_isolation", r"read\ committed")]))
    }

    fn timeout_millis(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX)
    }

    fn protocol(&self) -> Protocol {
        if self.through_pooler {
            Protocol::SelfContained { timeout: self.timeout_millis() }
        } else {
            Protocol::Prepared
        }
    }

    /// Checks that the server has our settings.
    async fn check_settings(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let settings = if self.through_pooler { own_settings(self.timeout_millis()) } else { String::new() };
        let text = format!("{settings}SELECT setting FROM pg_settings WHERE name = 'statement_timeout'");
        let found: String = connection.fetch_one(sqlx::raw_sql(&text)).await?.try_get(0)?;
        if found == self.timeout_millis().to_string() { Ok(()) } else { Err(Error::Configuration(IGNORED.into())) }
    }

    /// Checks the settings and the schema, and runs missing migrations.
    async fn prepare(
        &self,
        options: &PgConnectOptions,
        schema: &Schema,
        connection: &mut PgConnection,
    ) -> Result<(), ConfigMistake> {
        let mistake = |error| self.mistake(options, error);
        self.check_settings(connection).await.map_err(mistake)?;
        let mut state = schema.state(connection).await.map_err(mistake)?;
        if self.runs_migrations && matches!(state, SchemaState::Behind(_)) {
            schema.migrate(connection).await.map_err(mistake)?;
            state = schema.state(connection).await.map_err(mistake)?;
        }
        let name = schema.name();
        match state {
            SchemaState::Ready => Ok(()),
            SchemaState::Behind(version) => {
                let found = format!("{version} of {KNOWN} migrations were run in the schema {name}");
                let change = "run the others of PostgresStore::migrations, as a role that may create a schema";
                Err(ConfigMistake::new("postgres", found, change))
            }
            SchemaState::TooNew(needs) => {
                let found =
                    format!("the schema {name} requires a version with {needs} migrations; this version has {KNOWN}");
                Err(ConfigMistake::new("postgres", found, "use the newer version of tower-oauth, or another schema"))
            }
        }
    }

    async fn in_time<T>(
        &self,
        limit: Duration,
        options: &PgConnectOptions,
        attempt: impl Future<Output = Result<T, ConfigMistake>>,
    ) -> Result<T, ConfigMistake> {
        timeout(limit, attempt).await.unwrap_or_else(|_| {
            let found = format!("PostgreSQL at {} did not reply within {limit:?}", address(options));
            Err(ConfigMistake::new("postgres", found, "correct the URL's host and port, or check the server"))
        })
    }

    /// Describes an error. The texts of the server name users, databases and schemas, and no password.
    fn mistake(&self, options: &PgConnectOptions, error: Error) -> ConfigMistake {
        let server = address(options);
        if let Error::Configuration(found) = &error
            && found.to_string() == IGNORED
        {
            return ConfigMistake::new("postgres", format!("the pooler at {server} {IGNORED}"), USE_TRANSACTION_POOLER);
        }
        let Error::Database(error) = error else {
            // Other errors are about files, sockets and certificates.
            let found = format!("no connection to PostgreSQL at {server}: {error}");
            return ConfigMistake::new(
                "postgres",
                found,
                "start PostgreSQL there, or correct the URL's host, port and sslmode",
            );
        };
        let change = match error.code().as_deref() {
            Some("28P01" | "28000") => "correct the user and the password in the URL, or the server's pg_hba.conf",
            Some("3D000") => "create the database, or correct its name in the URL",
            Some("42501") if self.runs_migrations => {
                "grant the role CREATE on the database, or run PostgresStore::migrations as another role and use skip_migrations"
            }
            Some("42501") => {
                "grant the role USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on all tables in it"
            }
            Some("42P07" | "42723") => "use a separate schema for this store",
            Some("53300") => "allow more connections on the server, or fewer for each instance by max_connections",
            Some("25006") => "use the URL of the primary server, not of a replica",
            Some("57P03") => "wait until the server has started",
            Some("08P01") if error.message().contains("startup parameter") => USE_TRANSACTION_POOLER,
            Some("08P01") if error.message().contains("statement pooling") => {
                "set the pooler's pool_mode to transaction or session"
            }
            _ => "see the log of the server",
        };
        ConfigMistake::new("postgres", format!("PostgreSQL at {server} reports: {}", error.message()), change)
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("max_connections", &self.max_connections)
            .field("timeout", &self.timeout)
            .field("through_pooler", &self.through_pooler)
            .finish_non_exhaustive()
    }
}

/// Splits a URL after its scheme: user, password, host and port; and the rest.
fn split_authority(rest: &str) -> Option<(&str, &str)> {
    rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

fn address(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn not_a_url() -> ConfigMistake {
    let change = "write postgres://user:password@host:5432/database?sslmode=verify-full, and percent-encode everything but \
                  letters and digits in user and password (@ is %40)";
    ConfigMistake::new("postgres", "this is not the URL of a PostgreSQL database", change)
}

const IGNORED: &str = "ignores the start-up parameter options";
const USE_TRANSACTION_POOLER: &str = "call PostgresStoreBuilder::transaction_pooler, or connect without the pooler";
