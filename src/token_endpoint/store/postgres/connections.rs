//! Connections to PostgreSQL, out of sqlx's pool.

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
            .idle_timeout(KEPT_FOR)
            // One that was idle may be dead; one that has just answered is not asked whether it is there.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Self { pool, timeout }
    }

    /// The row that a statement answers, within the timeout, whatever it is that has to be waited for.
    pub(super) async fn fetch(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, StoreError> {
        match timeout(self.timeout, self.fetch_once(query)).await {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(error)) => Err(StoreError::new("PostgreSQL could not do it").with_source(error)),
            Err(elapsed) => Err(StoreError::new("PostgreSQL did not answer in time").with_source(elapsed)),
        }
    }

    async fn fetch_once(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, Error> {
        let mut pooled = PooledConnection(Some(self.pool.acquire().await?));
        let Some(connection) = &mut pooled.0 else { return Err(Error::PoolClosed) };
        // Reads up to "ready for query", so the row is committed.
        let row = query.fetch_optional(&mut **connection).await?;
        pooled.give_back(self.timeout);
        Ok(row)
    }
}

/// A connection that goes back into the pool only after an answer, and in time. The pool pings whatever comes back and waits
/// without end: one that hangs would keep its place.
struct PooledConnection(Option<PoolConnection<Postgres>>);

impl PooledConnection {
    fn give_back(mut self, limit: Duration) {
        if let Some(mut connection) = self.0.take() {
            tokio::spawn(async move { timeout(limit, connection.return_to_pool()).await });
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some(unanswered) = self.0.take() {
            drop(unanswered.detach());
        }
    }
}

/// Without asking whether the connection is still there.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
const KEPT_FOR: Duration = Duration::from_secs(300);
