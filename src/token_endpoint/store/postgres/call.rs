//! A call of one of our functions in the database.
//!
//! *In*: a function and its arguments. *Out*: its rows, by one message that is one transaction.

use std::fmt::Write as _;

use sqlx::{
    Error, Executor as _, PgConnection,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::schema::Schema;
use crate::token_endpoint::client::secret::TokenHash;

/// A function with its arguments.
pub(super) struct FunctionCall {
    function: &'static str,
    arguments: Vec<Argument>,
}

enum Argument {
    Bytes(Option<Vec<u8>>),
    Number(Option<i64>),
    /// The deadline, by the server's clock.
    Deadline,
}

/// How calls are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// As statements that are prepared once for each connection.
    Prepared,
    /// As texts that depend on nothing before them. A pooler may use another connection to the server for each.
    SelfContained {
        /// `statement_timeout` in milliseconds.
        timeout: i32,
    },
}

impl FunctionCall {
    pub(super) fn new(function: &'static str) -> Self {
        Self { function, arguments: Vec::new() }
    }

    pub(super) fn hash(self, hash: TokenHash) -> Self {
        self.bytes(hash.as_bytes())
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        self.with(Argument::Bytes(Some(bytes.to_vec())))
    }

    pub(super) fn bytes_or_null(self, bytes: Option<&[u8]>) -> Self {
        self.with(Argument::Bytes(bytes.map(<[u8]>::to_vec)))
    }

    /// Adds a number. PostgreSQL's numbers are signed; no clock reaches the maximum.
    pub(super) fn number(self, number: u64) -> Self {
        self.number_or_null(Some(number))
    }

    pub(super) fn number_or_null(self, number: Option<u64>) -> Self {
        self.with(Argument::Number(number.map(|number| i64::try_from(number).unwrap_or(i64::MAX))))
    }

    pub(super) fn deadline(self) -> Self {
        self.with(Argument::Deadline)
    }

    fn with(mut self, argument: Argument) -> Self {
        self.arguments.push(argument);
        self
    }

    /// Executes the call. Reads up to "ready for query", so the transaction is committed.
    pub(super) async fn execute(
        self,
        connection: &mut PgConnection,
        schema: &Schema,
        protocol: Protocol,
        deadline: i64,
    ) -> Result<Vec<PgRow>, Error> {
        match protocol {
            Protocol::Prepared => {
                let text = self.select(schema, |number, _| format!("${number}"));
                let mut query = sqlx::query(&text);
                for argument in self.arguments {
                    query = bind(query, argument, deadline);
                }
                connection.fetch_all(query).await
            }
            Protocol::SelfContained { timeout } => {
                let select = self.select(schema, |_, argument| literal(argument, deadline));
                let text = format!("{}{select}", own_settings(timeout));
                connection.fetch_all(sqlx::raw_sql(&text)).await
            }
        }
    }

    fn select(&self, schema: &Schema, mut argument: impl FnMut(usize, &Argument) -> String) -> String {
        let arguments: Vec<_> = (1..).zip(&self.arguments).map(|(number, value)| argument(number, value)).collect();
        let (schema, function) = (schema.name(), self.function);
        format!(r#"SELECT f.*, "{schema}".clock() FROM "{schema}".{function}({}) f"#, arguments.join(", "))
    }
}

fn bind(
    query: Query<'_, sqlx::Postgres, PgArguments>,
    argument: Argument,
    deadline: i64,
) -> Query<'_, sqlx::Postgres, PgArguments> {
    match argument {
        Argument::Bytes(bytes) => query.bind(bytes),
        Argument::Number(number) => query.bind(number),
        Argument::Deadline => query.bind(deadline),
    }
}

/// Returns SQL that contains nothing but a number or hexadecimal digits of the value, so it needs no escaping.
fn literal(argument: &Argument, deadline: i64) -> String {
    match argument {
        Argument::Bytes(Some(bytes)) => {
            let mut text = String::with_capacity(bytes.len().saturating_mul(2).saturating_add(17));
            text.push_str("decode('");
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text.push_str("', 'hex')");
            text
        }
        Argument::Number(Some(number)) => format!("{number}::bigint"),
        Argument::Deadline => format!("{deadline}::bigint"),
        Argument::Bytes(None) => "NULL::bytea".to_owned(),
        Argument::Number(None) => "NULL::bigint".to_owned(),
    }
}

/// Returns statements that set what a connection through a pooler may not have, for the transaction that they begin.
pub(super) fn own_settings(timeout: i32) -> String {
    format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {timeout}; \
         SET LOCAL bytea_output = 'hex'; "
    )
}
