//! Attempts to fetch the key set, and the background task that starts them in time.
//!
//! *In*: the id of an attempt, from the gate. *Out*: a published set or a failure. Waiters are notified in both cases.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    FetchedKeys, RemoteKeysState,
    refresh_gate::{AttemptId, FIRST_BACK_OFF, RefreshReason},
};
use crate::fetch::FetchError;

/// A running attempt. It ends when it is dropped, also after a panic: then its waiters are notified, and an attempt without a
/// result counts as a failure.
pub(super) struct Attempt {
    shared: Arc<RemoteKeysState>,
    id: AttemptId,
    fetched: Option<Result<FetchedKeys, FetchError>>,
}

impl Attempt {
    pub(super) fn new(shared: &Arc<RemoteKeysState>, id: AttemptId) -> Self {
        Self { shared: Arc::clone(shared), id, fetched: None }
    }

    pub(super) async fn run(mut self) {
        let shared = &self.shared;
        let etag = shared.current.load().as_ref().and_then(|snapshot| snapshot.etag.clone());
        let fetched = tokio::select! {
            fetched = shared.source.fetch_keys(etag) => fetched,
            () = shared.clock.sleep(shared.policy.deadline) => Err(FetchError::new("no response in time")),
        };
        self.fetched = Some(fetched);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let fetched = self.fetched.take().unwrap_or_else(|| Err(FetchError::new("the attempt ended without a result")));
        self.shared.finish(self.id, fetched);
    }
}

/// Refreshes the set in the background, until the handle is dropped.
pub(super) async fn refresh_in_background(shared: Arc<RemoteKeysState>, mut dropped: watch::Receiver<()>) {
    let mut ended = shared.ended.subscribe();
    loop {
        let wait = shared.time_to_refresh();
        tokio::select! {
            () = shared.clock.sleep(wait.max(FIRST_BACK_OFF)) => {}
            // An attempt ended, so the time of the next one has changed.
            _ = ended.changed() => continue,
            _ = dropped.changed() => return,
        }
        if shared.time_to_refresh().is_zero()
            && let Ok((Some(id), _)) = shared.request_attempt(RefreshReason::Stale, None)
        {
            // In a task of its own, so that a panic there doesn't end this task.
            tokio::spawn(Attempt::new(&shared, id).run()).await.ok();
        }
    }
}
