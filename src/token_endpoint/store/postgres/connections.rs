//! Connections to PostgreSQL, from the pool of sqlx.
//!
//! *In*: a statement. *Out*: its row in time, or an error in time.

use std::time::Duration;

use sqlx::{
    Connection as _, Error, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::time::timeout;

use crate::token_endpoint::store::StoreError;

pub(super) struct Connections {
    pool: PgPool,
    timeout: Duration,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, max: u32, timeout: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(max)
            .acquire_timeout(timeout)
            .idle_timeout(IDLE_TIMEOUT)
            // Only an idle connection is checked: it may be broken.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > UNCHECKED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Self { pool, timeout }
    }

    /// Returns the row of a statement. The timeout includes the wait for a connection.
    pub(super) async fn fetch(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, StoreError> {
        match timeout(self.timeout, self.fetch_once(query)).await {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(error)) => Err(StoreError::new("PostgreSQL failed").with_source(error)),
            Err(elapsed) => Err(StoreError::new("PostgreSQL did not reply in time").with_source(elapsed)),
        }
    }

    async fn fetch_once(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, Error> {
        let mut pooled = PooledConnection(Some(self.pool.acquire().await?));
        let Some(connection) = &mut pooled.0 else { return Err(Error::PoolClosed) };
        // Reads up to "ready for query", so the row is committed.
        let row = query.fetch_optional(&mut **connection).await?;
        pooled.return_to_pool(self.timeout);
        Ok(row)
    }
}

/// A connection that is returned to the pool only after a complete reply, and is closed otherwise. The pool pings every
/// returned connection without a timeout, so a silent connection would count towards the maximum forever.
struct PooledConnection(Option<PoolConnection<Postgres>>);

impl PooledConnection {
    fn return_to_pool(mut self, limit: Duration) {
        if let Some(mut connection) = self.0.take() {
            tokio::spawn(async move { timeout(limit, connection.return_to_pool()).await });
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some(unfinished) = self.0.take() {
            drop(unfinished.detach());
        }
    }
}

/// A connection that was idle for a shorter time isn't pinged before its use.
const UNCHECKED_FOR: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
