//! Waits for a refresh, for a token with a missing key.
//!
//! *In*: a running attempt. *Out*: its end, and the error for the token if the key is missing even then.

use std::sync::Arc;

use tokio::sync::watch;

use super::{MissingKey, RemoteKeysState};
use crate::{
    clock::{Moment, SleepFuture},
    error::AuthError,
    log,
};

/// A wait for the end of an attempt.
pub(crate) struct KeyWait {
    pub(super) shared: Arc<RemoteKeysState>,
    pub(super) ended: watch::Receiver<u64>,
    pub(super) refresh_timeout: SleepFuture,
}

impl KeyWait {
    /// Waits for the end of the attempt, or for the timeout. Then the caller reads the key set again.
    pub(crate) async fn wait(mut self) -> RefreshOutcome {
        let began = self.shared.clock.elapsed();
        let ended = tokio::select! {
            ended = self.ended.changed() => ended.is_ok(),
            () = self.refresh_timeout => false,
        };
        log::waited(self.shared.label(), self.shared.clock.elapsed().saturating_sub(began));
        RefreshOutcome { shared: self.shared, ended }
    }
}

/// The end of a wait. The caller now looks for the key again.
pub(crate) struct RefreshOutcome {
    shared: Arc<RemoteKeysState>,
    /// False if the wait ended by its timeout.
    ended: bool,
}

impl RefreshOutcome {
    /// Returns the error for a token whose key is still missing: why it is refused, or unavailable if its key could not be
    /// looked for in a newer set.
    pub(crate) fn error_for(self, missing: &MissingKey) -> AuthError {
        let Some(key_id) = missing.key_id.as_deref().filter(|_| missing.mismatch.is_none()) else {
            return missing.error_or(self.shared.unavailable());
        };
        let now = Moment::now(&*self.shared.clock);
        let mut gate = self.shared.gate();
        let usable = self.shared.current.load().as_ref().is_some_and(|snapshot| self.shared.is_usable(snapshot, &now));
        if !self.ended || gate.is_failing() || !usable {
            return gate.unavailable(&now);
        }
        missing.error_or(gate.error_for_unknown_kid(key_id, &now, &self.shared.policy))
    }
}
