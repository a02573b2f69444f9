//! The schema: its name, its statements and its migrations.
//!
//! *In*: a name. *Out*: SQL in that schema, and which migrations were run.

use sqlx::{Connection as _, Error, Executor as _, PgConnection, Row as _};

use crate::config_error::ConfigMistake;

/// A schema name that is equal with and without double quotes, and needs no escaping in them.
#[derive(Clone)]
pub(super) struct Schema(String);

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, ConfigMistake> {
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let follows = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if starts && follows && name.len() <= 63 && !name.starts_with("pg_") {
            return Ok(Self(name.to_owned()));
        }
        let change = "use at most 63 lower-case letters, digits and _; don't begin with a digit or with pg_";
        Err(ConfigMistake::new("schema", format!("{name:?} is not a valid schema name"), change))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Returns our SQL with this schema.
    pub(super) fn sql(&self, text: &str) -> String {
        text.replace(DEFAULT, &self.0)
    }

    pub(super) fn migrations(&self) -> Vec<String> {
        MIGRATIONS.iter().map(|text| self.sql(text)).collect()
    }

    /// Returns which migrations were run.
    pub(super) async fn state(&self, connection: &mut PgConnection) -> Result<SchemaState, Error> {
        let text = self.sql(r#"SELECT max(version), max(needs) FROM "tower_oauth".migrations"#);
        let row = match connection.fetch_one(sqlx::raw_sql(&text)).await {
            Ok(row) => row,
            Err(Error::Database(error)) if error.code().is_some_and(|code| MISSING.contains(&&*code)) => {
                return Ok(SchemaState::Behind(0));
            }
            Err(error) => return Err(error),
        };
        let [version, needs] = [0, 1].map(|column| row.try_get::<Option<i32>, _>(column));
        let [version, needs] = [version?.unwrap_or(0), needs?.unwrap_or(0)];
        // Later migrations only add, so this version can use a newer schema unless its `needs` excludes that.
        Ok(match (usize::try_from(version).unwrap_or(0), usize::try_from(needs).unwrap_or(0)) {
            (_, needs) if needs > MIGRATIONS.len() => SchemaState::TooNew(needs),
            (version, _) if version < MIGRATIONS.len() => SchemaState::Behind(version),
            _ => SchemaState::Ready,
        })
    }

    /// Runs the missing migrations. Other instances that do so at the same time wait for the first, and then find nothing to
    /// do.
    pub(super) async fn migrate(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let mut transaction = connection.begin().await?;
        let settings = format!(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '{MIGRATION_SECONDS}s'; \
             SELECT pg_advisory_xact_lock(hashtextextended('tower-oauth migrations of {}', 0))",
            self.0
        );
        transaction.execute(sqlx::raw_sql(&settings)).await?;
        // A failed statement aborts the transaction, except for a savepoint.
        let mut attempt = transaction.begin().await?;
        let state = self.state(&mut attempt).await?;
        attempt.rollback().await?;
        if let SchemaState::Behind(version) = state {
            for text in self.migrations().iter().skip(version) {
                transaction.execute(sqlx::raw_sql(text)).await?;
            }
        }
        transaction.commit().await
    }
}

pub(super) enum SchemaState {
    Ready,
    /// The number of migrations that were run.
    Behind(usize),
    /// The migration that a program must know to use the schema.
    TooNew(usize),
}

/// The number of migrations that this version has.
pub(super) const KNOWN: usize = MIGRATIONS.len();

const MIGRATIONS: [&str; 2] = [
    concat!(
        include_str!("migrations/0001_tables.sql"),
        include_str!("migrations/0001_limits.sql"),
        include_str!("migrations/0001_operations.sql"),
    ),
    include_str!("migrations/0002_clients.sql"),
];

pub(super) const DEFAULT: &str = "tower_oauth";

/// SQLSTATE: no such schema, no such table.
const MISSING: [&str; 2] = ["3F000", "42P01"];

/// Timeout of the migrations. It includes the wait for another instance that migrates.
pub(super) const MIGRATION_SECONDS: u64 = 60;
