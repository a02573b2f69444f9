//! A handful of connections that are kept.
//!
//! Not sqlx's pool: that one pings after every use, for as long as it takes, so a server that hangs at this moment keeps the
//! place of the connection after it has come back; and what a caller gave up waiting for is used again. Here a connection is
//! used again only after it answered.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, Error, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::token_endpoint::store::StoreError;

pub(super) struct Connections {
    options: PgConnectOptions,
    places: Semaphore,
    /// The one that was used last is the last.
    idle: Mutex<Vec<Idle>>,
    timeout: Duration,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, first: PgConnection, max: u32, timeout: Duration) -> Self {
        let places = Semaphore::new((max as usize).min(Semaphore::MAX_PERMITS));
        let idle = Mutex::new(vec![Idle { connection: first, since: Instant::now() }]);
        Self { options, places, idle, timeout }
    }

    /// The row that a statement answers, within the timeout, whatever it is that has to be waited for.
    pub(super) async fn fetch(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, StoreError> {
        match timeout(self.timeout, self.fetch_at_last(query)).await {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(error)) => Err(StoreError::new("PostgreSQL could not do it").with_source(error)),
            Err(elapsed) => Err(StoreError::new("PostgreSQL did not answer in time").with_source(elapsed)),
        }
    }

    /// Where this is given up or fails, the connection is closed by being dropped.
    async fn fetch_at_last(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, Error> {
        let _place = self.places.acquire().await.map_err(|_| Error::PoolClosed)?;
        let mut connection = self.take().await?;
        // Reads up to "ready for query", so the row is committed.
        let row = query.fetch_optional(&mut connection).await;
        if row.as_ref().is_err_and(is_of_the_server) {
            self.idle().clear();
        }
        let row = row?;
        self.put_back(connection);
        Ok(row)
    }

    async fn take(&self) -> Result<PgConnection, Error> {
        let last = self.idle().pop();
        if let Some(Idle { mut connection, since }) = last {
            if since.elapsed() < TRUSTED_FOR || connection.ping().await.is_ok() {
                return Ok(connection);
            }
            // The others have waited longer.
            self.idle().clear();
        }
        self.options.connect().await
    }

    fn put_back(&self, connection: PgConnection) {
        let mut idle = self.idle();
        idle.retain(|idle| idle.since.elapsed() < KEPT_FOR);
        idle.push(Idle { connection, since: Instant::now() });
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the other connections are of no use either: the server went away, or it is a replica now.
fn is_of_the_server(error: &Error) -> bool {
    let Error::Database(error) = error else { return true };
    error.code().is_some_and(|code| code.starts_with("57P") || code == "25006")
}

/// Without asking whether the connection is still there.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
const KEPT_FOR: Duration = Duration::from_secs(300);
