//! The settings of the store, and what can be wrong with them.

use std::{fmt, time::Duration};

use sqlx::{ConnectOptions as _, Error, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{
    PostgresStore,
    connections::Connections,
    schema::{DEFAULT, KNOWN, MIGRATION_SECONDS, Schema, SchemaState},
};
use crate::config_error::{ConfigError, ConfigMistake};

/// Settings of a [`PostgresStore`].
#[derive(Clone)]
pub struct PostgresStoreBuilder {
    url: String,
    schema: String,
    max_connections: u32,
    timeout: Duration,
    migrates: bool,
}

impl PostgresStoreBuilder {
    pub(super) fn new(url: String) -> Self {
        Self { url, schema: DEFAULT.to_owned(), max_connections: 10, timeout: Duration::from_secs(2), migrates: true }
    }

    /// The schema that holds everything, instead of `tower_oauth`: one for each issuer that shares a database.
    ///
    /// Lower-case letters, digits and `_`, 63 of them at most.
    #[must_use]
    pub fn schema(self, name: impl Into<String>) -> Self {
        Self { schema: name.into(), ..self }
    }

    /// How many connections this instance opens at most, instead of 10. Who finds none free waits, up to the
    /// [`timeout`](Self::timeout). Each operation has one for a round trip, and
    /// then it is tried with another one before it is free.
    #[must_use]
    pub fn max_connections(self, max: u32) -> Self {
        Self { max_connections: max, ..self }
    }

    /// How long an operation may take in all, with waiting for a connection or opening one, instead of 2 s. Then the request
    /// is answered with 503. The server gives up as well, by its `statement_timeout`.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Runs no DDL: somebody else runs the [`migrations`](PostgresStore::migrations). [`connect`](Self::connect) only looks
    /// whether they were run.
    #[must_use]
    pub fn migrated_by_hand(self) -> Self {
        Self { migrates: false, ..self }
    }

    /// Connects, and runs the migrations that were not run yet; several instances may do so at the same moment.
    ///
    /// # Errors
    /// Everything that is wrong with the settings; or the first thing that stands in the way on the server: it can't be
    /// reached, it refuses user, password or database, a right or a migration is missing, or the schema is one for newer
    /// programs. No message holds the password.
    pub async fn connect(self) -> Result<PostgresStore, ConfigError> {
        let (options, schema) = self.settings()?;
        let connect = async { options.connect().await.map_err(|error| self.mistake(&options, error)) };
        let mut connection = self.in_time(self.timeout, &options, connect).await?;
        let migration = Duration::from_secs(MIGRATION_SECONDS).max(self.timeout);
        self.in_time(migration, &options, self.prepare(&options, &schema, &mut connection)).await?;
        let connections = Connections::new(options, self.max_connections, self.timeout);
        Ok(PostgresStore::new(connections, &schema))
    }

    fn settings(&self) -> Result<(PgConnectOptions, Schema), ConfigError> {
        let (options, schema) = (self.options(), Schema::new(&self.schema));
        let mut mistakes: Vec<_> =
            [options.as_ref().err(), schema.as_ref().err()].into_iter().flatten().cloned().collect();
        if self.max_connections == 0 {
            mistakes.push(ConfigMistake::new("max_connections", "0 connections", "allow at least one"));
        }
        // What the server counts in.
        if self.timeout < Duration::from_millis(1) || i32::try_from(self.timeout.as_millis()).is_err() {
            let found = format!("{:?}", self.timeout);
            mistakes.push(ConfigMistake::new("timeout", found, "take between a millisecond and 24 days"));
        }
        ConfigError::unless_empty(mistakes)?;
        Ok((options?, schema?))
    }

    fn options(&self) -> Result<PgConnectOptions, ConfigMistake> {
        let mistake = || ConfigMistake::new("postgres", "this is not the URL of a PostgreSQL database", URL_IS);
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| self.url.strip_prefix(scheme));
        let (authority, rest) = rest.and_then(split_authority).ok_or_else(mistake)?;
        // A password with a bare slash or the like would be taken for a host and a path, and shown as such.
        if rest.contains('@') && !authority.contains('@') {
            return Err(mistake());
        }
        let options: PgConnectOptions = self.url.parse().map_err(|_| mistake())?;
        let options = options.extra_float_digits(None).disable_statement_logging();
        let timeout = self.timeout.as_millis().to_string();
        // A stricter isolation, set for the role or the database, would refuse whoever waited for a lock.
        Ok(options.options([("statement_timeout", &*timeout), ("default_transaction_isolation", r"read\ committed")]))
    }

    /// The schema, as it must be.
    async fn prepare(
        &self,
        options: &PgConnectOptions,
        schema: &Schema,
        connection: &mut PgConnection,
    ) -> Result<(), ConfigMistake> {
        let mistake = |error| self.mistake(options, error);
        let mut state = schema.state(connection).await.map_err(mistake)?;
        if self.migrates && matches!(state, SchemaState::Behind(_)) {
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
                    format!("the schema {name} is for programs that know {needs} migrations; this one knows {KNOWN}");
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
            let found = format!("PostgreSQL at {} did not answer within {limit:?}", place(options));
            Err(ConfigMistake::new("postgres", found, "correct the URL's host and port, or look at the server"))
        })
    }

    /// What the server says of itself names users, databases and schemas, and no password.
    fn mistake(&self, options: &PgConnectOptions, error: Error) -> ConfigMistake {
        let place = place(options);
        let Error::Database(error) = error else {
            // The others' texts are about files, sockets and certificates.
            let found = format!("no connection to PostgreSQL at {place}: {error}");
            return ConfigMistake::new(
                "postgres",
                found,
                "start PostgreSQL there, or correct the URL's host, port and sslmode",
            );
        };
        let change = match error.code().as_deref() {
            Some("28P01" | "28000") => "correct the user and the password in the URL, or the server's pg_hba.conf",
            Some("3D000") => "create the database, or correct its name in the URL",
            Some("42501") if self.migrates => {
                "grant the role CREATE on the database, or run PostgresStore::migrations as another role and say migrated_by_hand"
            }
            Some("42501") => {
                "grant the role USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on all tables in it"
            }
            Some("42P07" | "42723") => "take a schema of its own for this store",
            Some("53300") => "allow more connections on the server, or fewer for each instance by max_connections",
            Some("25006") => "name the primary server in the URL, not a replica",
            Some("57P03") => "wait until the server has started",
            _ => "look at the server's log",
        };
        ConfigMistake::new("postgres", format!("PostgreSQL at {place} says: {}", error.message()), change)
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("max_connections", &self.max_connections)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A URL after its scheme: user, password, host and port; and what follows.
fn split_authority(rest: &str) -> Option<(&str, &str)> {
    rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

const URL_IS: &str = "write it as postgres://user:password@host:5432/database?sslmode=verify-full, and what is neither letter \
                      nor digit in user and password as %40 and the like";
