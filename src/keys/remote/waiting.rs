//! What a request does whose token names a key that we don't have.

use std::sync::Arc;

use tokio::sync::watch;

use super::RemoteKeysState;
use crate::{
    clock::SleepFuture,
    error::{AuthError, Reason},
    log,
};

/// A token waits here for the end of an attempt.
pub(crate) struct KeyWait {
    pub(super) shared: Arc<RemoteKeysState>,
    pub(super) ended: watch::Receiver<u64>,
    pub(super) refresh_timeout: SleepFuture,
    /// The `kid` to be remembered if the attempt that it caused doesn't bring it.
    pub(super) unknown_kid: Option<String>,
}

impl KeyWait {
    /// Waits, and says what the key's absence means if it should still be absent afterwards.
    pub(crate) async fn wait(mut self) -> StillUnknown {
        let began = self.shared.clock.elapsed();
        let ended = tokio::select! {
            ended = self.ended.changed() => ended.is_ok(),
            () = self.refresh_timeout => false,
        };
        log::waited(&self.shared.issuer, self.shared.clock.elapsed().saturating_sub(began));
        StillUnknown { shared: self.shared, ended, unknown_kid: self.unknown_kid }
    }
}

/// What to answer if the refresh did not bring the key.
pub(crate) struct StillUnknown {
    shared: Arc<RemoteKeysState>,
    ended: bool,
    unknown_kid: Option<String>,
}

impl StillUnknown {
    pub(crate) fn error(self) -> AuthError {
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
