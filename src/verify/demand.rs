//! Whether a client still waits for a verdict.
//!
//! *In*: the requests that wait for one verification. *Out*: whether there are any. While there is room, a verification
//! continues without them, because the same clients often send the same token again. When room is needed, it is stopped.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::sync::lock;

/// The requests that wait for one shared verification.
#[derive(Default)]
pub(super) struct Demand {
    state: Mutex<DemandState>,
    stop: Notify,
}

#[derive(Default)]
struct DemandState {
    /// Number of requests that wait without another cache in between.
    requests: usize,
    /// The verifications of outer caches that wait.
    outer: Vec<Arc<Demand>>,
    stopped: bool,
}

/// One request that waits. It is no longer counted when this is dropped.
pub(super) struct Waiting {
    demand: Arc<Demand>,
    outer: Option<Arc<Demand>>,
}

impl Demand {
    /// Counts a request, or the verification `outer` of an outer cache. `None` if the verification was stopped.
    pub(super) fn wait(self: &Arc<Self>, outer: Option<Arc<Self>>) -> Option<Waiting> {
        let mut state = lock(&self.state);
        if state.stopped {
            return None;
        }
        match &outer {
            Some(outer) => state.outer.push(Arc::clone(outer)),
            None => state.requests = state.requests.saturating_add(1),
        }
        drop(state);
        Some(Waiting { demand: Arc::clone(self), outer })
    }

    /// True if a client waits.
    pub(super) fn is_waited_for(&self) -> bool {
        lock(&self.state).is_waited_for()
    }

    /// True if the verification was stopped.
    pub(super) fn is_stopped(&self) -> bool {
        lock(&self.state).stopped
    }

    /// Stops the verification unless a client waits. Returns whether it was stopped now.
    pub(super) fn stop_if_unwanted(&self) -> bool {
        let mut state = lock(&self.state);
        if state.stopped || state.is_waited_for() {
            return false;
        }
        state.stopped = true;
        drop(state);
        self.stop.notify_one();
        true
    }

    /// Returns when the verification must stop. Only the task that runs it waits here.
    pub(super) async fn stopped(&self) {
        self.stop.notified().await;
    }
}

impl DemandState {
    fn is_waited_for(&self) -> bool {
        // The lock of an inner verification is held while that of an outer one is taken, never the other way round.
        self.requests > 0 || self.outer.iter().any(|outer| outer.is_waited_for())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = lock(&self.demand.state);
        match &self.outer {
            None => state.requests = state.requests.saturating_sub(1),
            Some(outer) => {
                if let Some(index) = state.outer.iter().position(|other| Arc::ptr_eq(other, outer)) {
                    state.outer.swap_remove(index);
                }
            }
        }
    }
}
