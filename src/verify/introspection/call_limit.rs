//! A limit for the introspection requests that run at the same time.
//!
//! *In*: a token to introspect. *Out*: a slot for one request, or nothing if there is no room.
//!
//! Any client can cause introspection requests, with made-up tokens too. So their number is bounded, and with it the number of
//! connections to the issuer. A quarter of the slots is reserved for tokens that were active lately. If all slots are in use:
//!
//! 1. A request for a token that no client waits for any more is stopped, and its slot is free.
//! 2. Otherwise the token waits in a bounded queue, for a quarter of a second at most.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{clock::Clock, sync::lock, verify::demand::Demand};

pub(super) struct CallLimit {
    /// Slots for all tokens.
    shared: Semaphore,
    /// Further slots for tokens that were active lately.
    reserved: Semaphore,
    max_waiting: usize,
    calls: Mutex<Calls>,
    clock: Arc<dyn Clock>,
}

/// A token to introspect.
pub(super) struct Call {
    /// True if the token was active lately.
    pub(super) known: bool,
    /// The clients that wait for the verdict. `None` if the call is dropped together with its only request.
    pub(super) demand: Option<Arc<Demand>>,
}

/// The calls that may have no waiting client, and the number of waiting calls.
#[derive(Default)]
struct Calls {
    next_id: u64,
    running: Vec<(u64, Arc<Demand>)>,
    waiting: Vec<(u64, Arc<Demand>)>,
    waiting_known: usize,
    waiting_others: usize,
}

/// Permission for one introspection request, until it is dropped.
pub(super) struct Slot<'l> {
    _permit: SemaphorePermit<'l>,
    limit: &'l CallLimit,
    id: u64,
}

/// A place in the queue, until it is dropped.
struct Place<'l> {
    limit: &'l CallLimit,
    id: u64,
    known: bool,
}

impl CallLimit {
    pub(super) fn new(max_calls: usize, clock: Arc<dyn Clock>) -> Self {
        // At least one slot is shared, so that unknown tokens are introspected at all.
        let reserved = max_calls / 4;
        let shared = max_calls.saturating_sub(reserved).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            shared: Semaphore::new(shared),
            reserved: Semaphore::new(reserved.min(Semaphore::MAX_PERMITS)),
            max_waiting: max_calls,
            calls: Mutex::default(),
            clock,
        }
    }

    /// Returns a slot, after a short wait if necessary. `None` if there is no room.
    pub(super) async fn acquire(&self, call: &Call) -> Option<Slot<'_>> {
        if let Some(permit) = self.try_acquire(call.known) {
            return Some(self.slot(permit, call));
        }
        let place = self.enqueue(call)?;
        let permit = self.wait(call.known).await?;
        drop(place);
        // The slot of a call that no client waits for goes to the next one.
        let others_wait = lock(&self.calls).waiting_total() > 0;
        let stopped = others_wait && call.demand.as_ref().is_some_and(|demand| demand.stop_if_unwanted());
        if stopped { None } else { Some(self.slot(permit, call)) }
    }

    fn try_acquire(&self, known: bool) -> Option<SemaphorePermit<'_>> {
        match self.shared.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) if known => self.reserved.try_acquire().ok(),
            Err(_) => None,
        }
    }

    /// Waits for a slot. Clients may disconnect meanwhile, so it looks several times for calls to stop.
    async fn wait(&self, known: bool) -> Option<SemaphorePermit<'_>> {
        let slot = async {
            tokio::select! {
                permit = self.shared.acquire() => permit.ok(),
                permit = self.reserved.acquire(), if known => permit.ok(),
            }
        };
        let end = self.clock.sleep(MAX_WAIT);
        tokio::pin!(slot, end);
        loop {
            lock(&self.calls).stop_unwanted_running();
            tokio::select! {
                biased;
                permit = &mut slot => return permit,
                () = &mut end => return None,
                () = self.clock.sleep(SEARCH_INTERVAL) => {}
            }
        }
    }

    fn slot<'l>(&'l self, permit: SemaphorePermit<'l>, call: &Call) -> Slot<'l> {
        let mut calls = lock(&self.calls);
        let id = calls.next_id();
        calls.running.extend(call.demand.clone().map(|demand| (id, demand)));
        Slot { _permit: permit, limit: self, id }
    }

    /// Returns a place in the queue. Known tokens have a queue of their own, with the same length.
    fn enqueue(&self, call: &Call) -> Option<Place<'_>> {
        let mut calls = lock(&self.calls);
        let (known, max_waiting) = (call.known, self.max_waiting);
        if *calls.waiting_count(known) >= max_waiting {
            // The stopped one leaves the queue when its task runs next. Until then the queue is longer by one.
            calls.stop_unwanted_waiting().then_some(())?;
        }
        let id = calls.next_id();
        calls.waiting.extend(call.demand.clone().map(|demand| (id, demand)));
        let count = calls.waiting_count(known);
        *count = count.saturating_add(1);
        Some(Place { limit: self, id, known })
    }
}

impl Calls {
    fn next_id(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    fn waiting_count(&mut self, known: bool) -> &mut usize {
        if known { &mut self.waiting_known } else { &mut self.waiting_others }
    }

    fn waiting_total(&self) -> usize {
        self.waiting_known.saturating_add(self.waiting_others)
    }

    /// Stops running calls that no client waits for: one for each waiting call, because the slots go to those that wait longest.
    fn stop_unwanted_running(&self) {
        let mut needed = self.waiting_total();
        for (_, demand) in &self.running {
            if needed == 0 {
                return;
            }
            needed -= usize::from(demand.stop_if_unwanted());
        }
    }

    /// Stops one waiting call that no client waits for.
    fn stop_unwanted_waiting(&self) -> bool {
        self.waiting.iter().any(|(_, demand)| demand.stop_if_unwanted())
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        lock(&self.limit.calls).running.retain(|(id, _)| *id != self.id);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut calls = lock(&self.limit.calls);
        calls.waiting.retain(|(id, _)| *id != self.id);
        let count = calls.waiting_count(self.known);
        *count = count.saturating_sub(1);
    }
}

/// Maximum time in the queue.
const MAX_WAIT: Duration = Duration::from_millis(250);
/// How often a waiting call looks for calls to stop.
const SEARCH_INTERVAL: Duration = Duration::from_millis(50);
