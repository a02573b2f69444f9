//! The schema that everything is in: its name, its statements and its migrations.

use sqlx::{Connection as _, Error, Executor as _, PgConnection, Row as _};

use crate::config_error::ConfigMistake;

/// A name that needs no escaping between double quotes, and is the same without them.
#[derive(Clone)]
pub(super) struct Schema(String);

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, ConfigMistake> {
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let follows = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if starts && follows && name.len() <= 63 && !name.starts_with("pg_") {
            return Ok(Self(name.to_owned()));
        }
        let change =
            "take lower-case letters, digits and _, 63 of them at most, beginning with no digit and not with pg_";
        Err(ConfigMistake::new("schema", format!("{name:?} is no name for a schema"), change))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Our SQL, in this schema.
    pub(super) fn sql(&self, text: &str) -> String {
        text.replace(DEFAULT, &self.0)
    }

    pub(super) fn migrations(&self) -> Vec<String> {
        MIGRATIONS.iter().map(|text| self.sql(text)).collect()
    }

    /// Which migrations were run here.
    pub(super) async fn state(&self, connection: &mut PgConnection) -> Result<SchemaState, Error> {
        let text = self.sql(r#"SELECT max(version), max(needs) FROM "tower_oauth".migrations"#);
        let row = match sqlx::query(&text).fetch_one(connection).await {
            Ok(row) => row,
            Err(Error::Database(error)) if error.code().is_some_and(|code| MISSING.contains(&&*code)) => {
                return Ok(SchemaState::Behind(0));
            }
            Err(error) => return Err(error),
        };
        let [version, needs] = [0, 1].map(|column| row.try_get::<Option<i32>, _>(column));
        let [version, needs] = [version?.unwrap_or(0), needs?.unwrap_or(0)];
        // Later migrations only add. What is there already may be ahead of us, unless it says that it is not for us.
        Ok(match (usize::try_from(version).unwrap_or(0), usize::try_from(needs).unwrap_or(0)) {
            (_, needs) if needs > MIGRATIONS.len() => SchemaState::TooNew(needs),
            (version, _) if version < MIGRATIONS.len() => SchemaState::Behind(version),
            _ => SchemaState::Ready,
        })
    }

    /// Runs what is missing. Of several that do so at the same moment, the others wait for the first and find it done.
    pub(super) async fn migrate(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let mut transaction = connection.begin().await?;
        transaction.execute(format!("SET LOCAL statement_timeout = '{MIGRATION_SECONDS}s'").as_str()).await?;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        sqlx::query(lock).bind(format!("tower-oauth migrations of {}", self.0)).execute(&mut *transaction).await?;
        // A statement that fails ends a transaction, but for its savepoint.
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
    /// How many of the migrations were run.
    Behind(usize),
    /// The migration that whoever works there must know.
    TooNew(usize),
}

/// How many migrations we know.
pub(super) const KNOWN: usize = MIGRATIONS.len();

const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_tables_and_operations.sql")];

pub(super) const DEFAULT: &str = "tower_oauth";

/// No such schema, no such table.
const MISSING: [&str; 2] = ["3F000", "42P01"];

/// Also for those who wait for another instance to migrate.
pub(super) const MIGRATION_SECONDS: u64 = 60;
