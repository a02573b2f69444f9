//! Waits for a refresh, for a token with an unknown key.
//!
//! *In*: a running attempt. *Out*: its end, and the error for the token if the key is unknown even then.

use std::sync::Arc;

use tokio::sync::watch;

use super::RemoteKeysState;
use crate::{
    clock::SleepFuture,
    error::{AuthError, Reason},
    log,
};

/// A wait for the end of an attempt.
pub(crate) struct KeyWait {
    pub(super) shared: Arc<RemoteKeysState>,
    pub(super) ended: watch::Receiver<u64>,
    pub(super) refresh_timeout: SleepFuture,
    /// The `kid` that caused the attempt. It is recorded as unknown if the new set lacks it.
    pub(super) unknown_kid: Option<String>,
}

impl KeyWait {
    /// Waits for the end of the attempt, or for the timeout. Then the caller reads the key set again.
    pub(crate) async fn wait(mut self) -> RefreshOutcome {
        let began = self.shared.clock.elapsed();
        let ended = tokio::select! {
            ended = self.ended.changed() => ended.is_ok(),
            () = self.refresh_timeout => false,
        };
        log::waited(&self.shared.issuer, self.shared.clock.elapsed().saturating_sub(began));
        RefreshOutcome { shared: self.shared, ended, unknown_kid: self.unknown_kid }
    }
}

/// The end of a wait. The caller now looks for the key again.
pub(crate) struct RefreshOutcome {
    shared: Arc<RemoteKeysState>,
    /// False if the wait ended by its timeout.
    ended: bool,
    unknown_kid: Option<String>,
}

impl RefreshOutcome {
    /// Returns the error for a token whose key is still unknown: an unknown key, or unavailable if the set could not be
    /// refreshed.
    pub(crate) fn error_for_unknown_key(self) -> AuthError {
        let now = self.shared.clock.elapsed();
        let mut gate = self.shared.gate();
        let usable = self.shared.current.load().as_ref().is_some_and(|snapshot| self.shared.is_usable(snapshot, now));
        if !self.ended || gate.is_failing() || !usable {
            return gate.unavailable(now);
        }
        if let Some(key_id) = &self.unknown_kid {
            gate.record_unknown_kid(key_id, now);
        }
        Reason::UnknownKey.into()
    }
}
