//! Questions that are being asked: one for each token, however many wait for the answer.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Verdict,
    key::{Digest, Name},
};
use crate::{error::AuthError, token::Token};

/// More questions than this at a time are a flood, or the sign of a server that doesn't answer.
const MAX_PENDING: usize = 1024;

type Answer = Option<Result<Token, AuthError>>;

#[derive(Default)]
pub(super) struct Pending {
    running: Mutex<HashMap<Name, Running>>,
}

/// A question under way.
#[derive(Clone)]
pub(super) struct Running {
    answer: watch::Receiver<Answer>,
}

/// The duty to answer it. Dropped without an answer, it tells those who wait that there will be none.
pub(super) struct Asking {
    answer: watch::Sender<Answer>,
}

pub(super) enum Begun {
    /// By this call.
    Started(Running, Asking),
    /// Somebody was quicker.
    Joined(Running),
    Full,
}

impl Pending {
    pub(super) fn join(&self, name: &Name) -> Option<Running> {
        self.lock().get(name).filter(|running| running.is_alive()).cloned()
    }

    pub(super) fn begin(&self, name: &Name) -> Begun {
        let mut running = self.lock();
        if let Some(running) = running.get(name).filter(|running| running.is_alive()) {
            return Begun::Joined(running.clone());
        }
        if running.len() >= MAX_PENDING {
            // A runtime that was shut down may have taken some with it.
            running.retain(|_, running| running.is_alive());
            if running.len() >= MAX_PENDING {
                return Begun::Full;
            }
        }
        let (sender, receiver) = watch::channel(None);
        let begun = Running { answer: receiver };
        running.insert(*name, begun.clone());
        Begun::Started(begun, Asking { answer: sender })
    }

    #[expect(clippy::needless_pass_by_value, reason = "who has answered has nothing left to answer with")]
    pub(super) fn end(&self, name: &Name, asking: Asking, verdict: Result<Token, AuthError>) {
        let mut running = self.lock();
        // It may have been abandoned, and asked anew since.
        if running.get(name).is_some_and(|running| running.answer.same_channel(&asking.answer.subscribe())) {
            running.remove(name);
        }
        drop(running);
        asking.answer.send_replace(Some(verdict));
    }

    /// Whoever asks from now on asks anew.
    pub(super) fn abandon(&self, digest: &Digest) {
        self.lock().retain(|name, _| name.digest != *digest);
    }

    pub(super) fn abandon_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Somebody is still there who will answer.
    fn is_alive(&self) -> bool {
        self.answer.has_changed().is_ok()
    }

    pub(super) fn verdict(mut self) -> Verdict {
        Verdict::later(async move {
            let answer = self.answer.wait_for(Option::is_some).await;
            let answer = answer.ok().and_then(|answer| answer.clone());
            answer.unwrap_or_else(|| Err(AuthError::unavailable(Duration::from_secs(1))))
        })
    }
}
