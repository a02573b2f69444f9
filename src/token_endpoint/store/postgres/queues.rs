//! Requests of one owner wait for each other before they take a connection.
//!
//! *In*: whose rows a request locks. *Out*: a turn, of which there is one for each owner at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sync::lock;

/// What requests lock in the database: the hash of an owner, or the id of a session followed by zeros.
pub(super) type Owner = [u8; 32];

/// The queues of all owners that have one. Its size is at most the number of requests that wait or run.
#[derive(Clone, Default)]
pub(super) struct Queues(Arc<Mutex<HashMap<Owner, Arc<Semaphore>>>>);

/// A place in a queue. The last one removes the queue.
pub(super) struct Turn {
    queues: Queues,
    owner: Owner,
    queue: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Queues {
    /// Waits for the owner's turn. Others wait until it is dropped.
    pub(super) async fn turn(&self, owner: Owner) -> Turn {
        let queue = Arc::clone(lock(&self.0).entry(owner).or_insert_with(|| Arc::new(Semaphore::new(1))));
        let mut turn = Turn { queues: self.clone(), owner, queue: Some(Arc::clone(&queue)), permit: None };
        // The semaphore is never closed. A request that is dropped while it waits drops its place.
        turn.permit = queue.acquire_owned().await.ok();
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut queues = lock(&self.queues.0);
        // Places are added and removed under the lock, so the last one finds only the map's reference.
        drop(self.queue.take());
        if queues.get(&self.owner).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.owner);
        }
    }
}
