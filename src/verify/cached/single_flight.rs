//! Questions that are being asked: one for each token, however many wait for the answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    DEADLINE, Miss, Verdict,
    key::{EntryKey, TokenDigest},
};
use crate::{clock::Clock, error::AuthError, token::Token};

/// More questions than this at a time are a flood, or the sign of a server that doesn't answer.
const MAX_PENDING: usize = 1024;

/// How long a full table is not searched again for questions that nobody will answer.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

type Answer = Option<Result<Token, AuthError>>;

#[derive(Default)]
pub(super) struct SingleFlight {
    table: Mutex<FlightTable>,
}

#[derive(Default)]
struct FlightTable {
    running: HashMap<EntryKey, InFlight>,
    /// How often something was forgotten.
    invalidations: u64,
    next_sweep: Duration,
}

/// A question under way.
#[derive(Clone)]
pub(super) struct InFlight {
    answer: watch::Receiver<Answer>,
    /// By [`Clock::elapsed`]. The task that asks has the same deadline, but its runtime may stand still.
    until: Duration,
}

/// The duty to answer it. Dropped without an answer, it tells those who wait that there will be none.
pub(super) struct Completer {
    answer: watch::Sender<Answer>,
}

pub(super) enum Start {
    /// By this call.
    Started(InFlight, Completer),
    /// Somebody was quicker.
    Joined(InFlight),
    Full,
}

impl SingleFlight {
    /// The question that is under way; otherwise, how far forgetting has come.
    pub(super) fn join(&self, key_of_entry: &EntryKey, now: Duration) -> Result<InFlight, u64> {
        let table = self.lock();
        table.running.get(key_of_entry).filter(|running| running.is_alive(now)).cloned().ok_or(table.invalidations)
    }

    pub(super) fn begin(&self, miss: &Miss, now: Duration) -> Start {
        let mut table = self.lock();
        let (sender, receiver) = watch::channel(None);
        let begun = InFlight { answer: receiver, until: now.saturating_add(DEADLINE) };
        // Perhaps it was this one that was to be forgotten meanwhile. Nobody joins it, and it is not kept.
        if table.invalidations != miss.invalidations {
            return Start::Started(begun, Completer { answer: sender });
        }
        if let Some(running) = table.running.get(&miss.key_of_entry).filter(|running| running.is_alive(now)) {
            return Start::Joined(running.clone());
        }
        if !table.has_room(now) {
            return Start::Full;
        }
        table.running.insert(miss.key_of_entry, begun.clone());
        Start::Started(begun, Completer { answer: sender })
    }

    /// Tells those who wait, and notes the verdict unless it is to be forgotten: nobody forgets anything in between.
    #[expect(clippy::needless_pass_by_value, reason = "who has answered has nothing left to answer with")]
    pub(super) fn end(
        &self,
        key_of_entry: &EntryKey,
        asking: Completer,
        verdict: Result<Token, AuthError>,
        note: impl FnOnce(&Result<Token, AuthError>),
    ) {
        let mut table = self.lock();
        // It may have been abandoned, and asked anew since.
        if table
            .running
            .get(key_of_entry)
            .is_some_and(|running| running.answer.same_channel(&asking.answer.subscribe()))
        {
            note(&verdict);
            table.running.remove(key_of_entry);
        }
        drop(table);
        asking.answer.send_replace(Some(verdict));
    }

    /// Notes a verdict at which nobody had to wait.
    pub(super) fn unless_forgotten(&self, invalidations: u64, note: impl FnOnce()) {
        let table = self.lock();
        if table.invalidations == invalidations {
            note();
        }
        drop(table);
    }

    /// Whoever asks from now on asks anew.
    pub(super) fn abandon(&self, digest: &TokenDigest) {
        let mut table = self.lock();
        table.invalidations = table.invalidations.wrapping_add(1);
        table.running.retain(|key_of_entry, _| key_of_entry.digest != *digest);
    }

    pub(super) fn abandon_all(&self) {
        let mut table = self.lock();
        table.invalidations = table.invalidations.wrapping_add(1);
        table.running.clear();
    }

    fn lock(&self) -> MutexGuard<'_, FlightTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlightTable {
    fn has_room(&mut self, now: Duration) -> bool {
        if self.running.len() >= MAX_PENDING && now >= self.next_sweep {
            // A panic, or a runtime that was shut down or stands still, may have left some.
            self.running.retain(|_, running| running.is_alive(now));
            self.next_sweep = now.saturating_add(SWEEP_PAUSE);
        }
        self.running.len() < MAX_PENDING
    }
}

impl InFlight {
    /// Somebody is still there who will answer.
    fn is_alive(&self, now: Duration) -> bool {
        now < self.until && self.answer.has_changed().is_ok()
    }

    pub(super) fn verdict(mut self, clock: Arc<dyn Clock>) -> Verdict {
        Verdict::later(async move {
            let patience = clock.sleep(self.until.saturating_sub(clock.elapsed()));
            let answer = tokio::select! {
                biased;
                answer = self.answer.wait_for(Option::is_some) => answer.ok().and_then(|answer| answer.clone()),
                () = patience => None,
            };
            answer.unwrap_or_else(|| Err(AuthError::unavailable(Duration::from_secs(1))))
        })
    }
}
