//! Deletes expired rows in the background.
//!
//! *In*: the time of an operation. *Out*: if the last run is long enough ago, a task that deletes small batches. No request
//! waits for it.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{PostgresState, column, number};
use crate::{log, token_endpoint::store::StoreError};

#[derive(Default)]
pub(super) struct Cleaning {
    /// When the last run began, by the endpoint's clock.
    last: AtomicU64,
    running: AtomicBool,
}

impl Cleaning {
    /// Starts a run in its own task, if none is running and the last one began long enough ago. The task ends when the store is
    /// dropped.
    pub(super) fn begin_if_due(shared: &Arc<PostgresState>, now: u64) {
        let cleaning = &shared.cleaning;
        if cleaning.last.load(Ordering::Relaxed).abs_diff(now) < INTERVAL_SECONDS
            || cleaning.running.swap(true, Ordering::Relaxed)
        {
            return;
        }
        cleaning.last.store(now, Ordering::Relaxed);
        tokio::spawn(clean(Arc::downgrade(shared), now));
    }
}

async fn clean(shared: Weak<PostgresState>, now: u64) {
    let mut more = true;
    for _ in 0..MAX_BATCHES {
        let Some(shared) = shared.upgrade() else { return };
        more = shared.clean(now).await.unwrap_or_else(|error| {
            log::cleaning_failed(&error);
            false
        });
        if !more {
            break;
        }
    }
    let Some(shared) = shared.upgrade() else { return };
    if more {
        shared.cleaning.last.store(0, Ordering::Relaxed);
    }
    shared.cleaning.running.store(false, Ordering::Relaxed);
}

impl PostgresState {
    /// Deletes one batch. Returns whether there may be more.
    async fn clean(&self, now: u64) -> Result<bool, StoreError> {
        let before = number(now.saturating_sub(CLOCK_TOLERANCE));
        let query = sqlx::query(&self.statements.clean).bind(before).bind(BATCH).bind(number(CLOCK_TOLERANCE));
        self.row(query).await.and_then(|row| column(&row, 0))
    }
}

const INTERVAL_SECONDS: u64 = 10;
/// Rows of each table in one batch. Small, because a batch has the same timeout as any other operation.
const BATCH: i64 = 100;
/// Maximum number of batches in one run. If there are more, the next run begins without a pause.
const MAX_BATCHES: usize = 500;
/// Tolerated difference of two instances' clocks, in seconds: no instance deletes a row that is valid for another one.
const CLOCK_TOLERANCE: u64 = 60;
