//! One attempt to fetch the key set.
//!
//! *In*: the id of the attempt. *Out*: its result, which ends the attempt in every case: success, failure, timeout or panic.

use std::sync::Arc;

use super::{FetchedKeys, RemoteKeysState, refresh_gate::AttemptId};
use crate::fetch::FetchError;

/// A running attempt. When it is dropped, also by a panic, the waiters wake up and a failure is counted.
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
