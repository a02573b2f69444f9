//! Deletes expired rows in the background, also if there are no requests.
//!
//! *In*: the times of the requests. *Out*: a task that deletes small batches. No request waits for it.

use std::{
    sync::{Mutex, Weak},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{PostgresState, call::FunctionCall, rows::column};
use crate::{log, sync::lock, token_endpoint::store::StoreError};

/// What the store knows of the endpoint's clock: the last request's time, and when that was.
#[derive(Default)]
pub(super) struct Cleaning(Mutex<Option<(u64, Instant)>>);

impl Cleaning {
    pub(super) fn saw(&self, now: u64) {
        *lock(&self.0) = Some((now, Instant::now()));
    }

    /// Returns the time by the endpoint's clock. `None` before the first request.
    fn now(&self) -> Option<u64> {
        lock(&self.0).map(|(now, at)| now.saturating_add(at.elapsed().as_secs()))
    }
}

/// Deletes what has expired from time to time, until the store is dropped.
pub(super) async fn clean_regularly(state: Weak<PostgresState>) {
    let mut last = None;
    loop {
        sleep(PAUSE).await;
        let Some(shared) = state.upgrade() else { return };
        shared.connections.close_idle();
        let now = shared.cleaning.now().filter(|now| last.is_none_or(|last| now.abs_diff(last) >= INTERVAL_SECONDS));
        drop(shared);
        if let Some(now) = now {
            last = if clean_batches(&state, now).await { None } else { Some(now) };
        }
    }
}

/// Returns whether there may be more to delete.
async fn clean_batches(state: &Weak<PostgresState>, now: u64) -> bool {
    for _ in 0..MAX_BATCHES {
        let Some(shared) = state.upgrade() else { return false };
        match shared.clean(now).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                log::cleaning_failed(&error);
                return false;
            }
        }
    }
    true
}

impl PostgresState {
    /// Deletes one batch. Returns whether there may be more.
    async fn clean(&self, now: u64) -> Result<bool, StoreError> {
        let call = FunctionCall::new("clean").number(now).number(CLOCK_TOLERANCE).number(BATCH);
        column(&self.row(call).await?, 0)
    }
}

/// How often the task looks whether the interval has passed by the endpoint's clock.
const PAUSE: Duration = Duration::from_secs(1);
const INTERVAL_SECONDS: u64 = 10;
/// Rows of each table in one batch. Small, because a batch has the same timeout as any other operation.
const BATCH: u64 = 100;
/// Maximum number of batches in one run. If there are more, the next run begins after the pause.
const MAX_BATCHES: usize = 500;
/// Tolerated difference of two instances' clocks, in seconds: no instance deletes a row that is valid for another one.
const CLOCK_TOLERANCE: u64 = 60;
