//! Values in the rows of replies.
//!
//! *In*: a row. *Out*: what it contains, or an error that quotes nothing.

use sqlx::{Decode, Postgres, Row as _, Type, postgres::PgRow};

use super::connections::UNEXPECTED;
use crate::token_endpoint::store::{Record, SessionId, StoreError, Timestamp};

pub(super) fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    row: &'r PgRow,
    index: usize,
) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| StoreError::new(UNEXPECTED).with_source(error))
}

/// Returns a text. The error has no cause, because its text would quote the bytes.
pub(super) fn text(row: &PgRow, index: usize) -> Result<String, StoreError> {
    String::from_utf8(column(row, index)?).map_err(|_| StoreError::new(UNREADABLE))
}

pub(super) fn record(row: &PgRow, index: usize) -> Result<Record, StoreError> {
    text(row, index).map(Record::from)
}

pub(super) fn session_id(row: &PgRow, index: usize) -> Result<SessionId, StoreError> {
    bytes::<16>(row, index).map(SessionId::from)
}

pub(super) fn bytes<const N: usize>(row: &PgRow, index: usize) -> Result<[u8; N], StoreError> {
    column::<Vec<u8>>(row, index)?.try_into().map_err(|_| StoreError::new(UNEXPECTED))
}

/// Returns a time. PostgreSQL's maximum stands for every later time.
pub(super) fn timestamp(row: &PgRow, index: usize) -> Result<Timestamp, StoreError> {
    let seconds = match column(row, index)? {
        i64::MAX => u64::MAX,
        seconds => u64::try_from(seconds).unwrap_or(0),
    };
    Ok(Timestamp::from_secs(seconds))
}

const UNREADABLE: &str = "a record in PostgreSQL is no text";
