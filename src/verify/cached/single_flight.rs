//! Single flight: requests with the same token share one verification.
//!
//! *In*: the key of a token without a stored verdict. *Out*: a running verification to wait for, or a [`Completer`] for the
//! caller, which then runs the verification.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    DEADLINE, Miss, RETRY_AFTER, Verdict,
    key::{EntryKey, TokenDigest},
};
use crate::{
    clock::{Clock, Moment},
    error::AuthError,
    sync::lock,
    token::Token,
    verify::demand::Demand,
};

#[derive(Default)]
pub(super) struct SingleFlight {
    table: Mutex<FlightTable>,
}

#[derive(Default)]
struct FlightTable {
    flights: HashMap<EntryKey, InFlight>,
    /// Number of calls of `invalidate` and `invalidate_all`.
    invalidations: u64,
    /// When a full table was last searched.
    last_sweep: Option<Moment>,
}

/// A running verification.
#[derive(Clone)]
pub(super) struct InFlight {
    result: watch::Receiver<Option<Result<Token, AuthError>>>,
    /// The task ends within [`DEADLINE`] after this, but its runtime may have stopped.
    started: Moment,
    demand: Arc<Demand>,
}

/// Completes a verification. If it is dropped instead, the waiting requests get 503.
pub(super) struct Completer {
    result: watch::Sender<Option<Result<Token, AuthError>>>,
}

/// A request that needs a verdict.
pub(super) struct Waiter<'w> {
    pub(super) clock: &'w Arc<dyn Clock>,
    pub(super) now: Moment,
    /// Inside of an outer cache: the requests that wait for the outer verification.
    pub(super) outer: Option<Arc<Demand>>,
}

pub(super) enum Start {
    /// The caller runs the verification, and its request waits for the verdict.
    Started(Verdict, Completer),
    /// Another request started it first.
    Joined(Verdict),
    /// Too many verifications are running, and clients wait for all of them.
    Full,
}

impl SingleFlight {
    /// Returns the verdict of the running verification. Without one, returns the number of invalidations.
    pub(super) fn join(&self, key: &EntryKey, waiter: &Waiter<'_>) -> Result<Verdict, u64> {
        let table = lock(&self.table);
        table.flights.get(key).and_then(|flight| flight.verdict(waiter)).ok_or(table.invalidations)
    }

    /// Starts a verification, or joins the one that another request has started since the look-up.
    pub(super) fn start(&self, miss: &Miss, demand: Arc<Demand>, waiter: &Waiter<'_>) -> Start {
        let mut table = lock(&self.table);
        let (sender, receiver) = watch::channel(None);
        let flight = InFlight { result: receiver, started: waiter.now, demand };
        let completer = Completer { result: sender };
        // The request waits from now on, so that the verification isn't stopped before its future exists.
        let Some(verdict) = flight.verdict(waiter) else { return Start::Full };
        // This token may have been invalidated since the look-up. So the verification is not in the table: no other request
        // joins it, and its result is not stored.
        if table.invalidations != miss.invalidations {
            return Start::Started(verdict, completer);
        }
        if let Some(verdict) = table.flights.get(&miss.key).and_then(|running| running.verdict(waiter)) {
            return Start::Joined(verdict);
        }
        if !table.has_room(&waiter.now) {
            return Start::Full;
        }
        table.flights.insert(miss.key, flight);
        Start::Started(verdict, completer)
    }

    /// Passes the result to the waiting requests, and calls `store` unless the token was invalidated. The lock is held, so no
    /// invalidation comes between the check and `store`.
    #[expect(clippy::needless_pass_by_value, reason = "a verification is completed once")]
    pub(super) fn complete(
        &self,
        key: &EntryKey,
        completer: Completer,
        result: Result<Token, AuthError>,
        store: impl FnOnce(&Result<Token, AuthError>),
    ) {
        let mut table = lock(&self.table);
        // After an invalidation, the entry is missing or belongs to a newer verification.
        let receiver = completer.result.subscribe();
        if table.flights.get(key).is_some_and(|flight| flight.result.same_channel(&receiver)) {
            store(&result);
            table.flights.remove(key);
        }
        drop(table);
        completer.result.send_replace(Some(result));
    }

    /// Calls `store` if there was no further invalidation. For a verdict that no request waited for.
    pub(super) fn unless_invalidated(&self, invalidations: u64, store: impl FnOnce()) {
        let table = lock(&self.table);
        if table.invalidations == invalidations {
            store();
        }
        drop(table);
    }

    /// Detaches the running verifications of this token: no later request joins them, and they are not stored.
    pub(super) fn invalidate(&self, digest: &TokenDigest) {
        let mut table = lock(&self.table);
        table.invalidations = table.invalidations.wrapping_add(1);
        table.flights.retain(|key, _| key.digest != *digest);
    }

    pub(super) fn invalidate_all(&self) {
        let mut table = lock(&self.table);
        table.invalidations = table.invalidations.wrapping_add(1);
        table.flights.clear();
    }
}

impl FlightTable {
    fn has_room(&mut self, now: &Moment) -> bool {
        let swept_lately = self.last_sweep.is_some_and(|last| last.age(now) < SWEEP_INTERVAL);
        if self.flights.len() >= MAX_FLIGHTS && !swept_lately {
            // A panic, or a runtime that was shut down or has stopped, may have left entries. Verifications without a
            // waiting client end here.
            self.flights.retain(|_, flight| flight.is_running(now) && !flight.demand.stop_if_unwanted());
            self.last_sweep = Some(*now);
        }
        self.flights.len() < MAX_FLIGHTS
    }
}

impl InFlight {
    /// True if a result can still come.
    fn is_running(&self, now: &Moment) -> bool {
        self.started.age(now) < DEADLINE && self.result.has_changed().is_ok() && !self.demand.is_stopped()
    }

    /// Waits for the result. `None` if none can come any more.
    pub(super) fn verdict(&self, waiter: &Waiter<'_>) -> Option<Verdict> {
        if !self.is_running(&waiter.now) {
            return None;
        }
        // Counted as waiting until the future is dropped.
        let waiting = self.demand.wait(waiter.outer.clone())?;
        let (mut result, started, clock) = (self.result.clone(), self.started, Arc::clone(waiter.clock));
        Some(Verdict::later(async move {
            let _waiting = waiting;
            let age = started.age(&Moment::now(&*clock));
            let timeout = clock.sleep(DEADLINE.saturating_sub(age));
            let result = tokio::select! {
                biased;
                result = result.wait_for(Option::is_some) => result.ok().and_then(|result| result.clone()),
                () = timeout => None,
            };
            result.unwrap_or_else(|| Err(AuthError::unavailable(RETRY_AFTER)))
        }))
    }
}

/// Maximum number of running verifications. More are an attack with new tokens, or the sign of a server that doesn't respond.
const MAX_FLIGHTS: usize = 1024;
/// Minimum time between two searches of a full table.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
