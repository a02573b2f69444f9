//! What a request does whose token names a key that we don't have.

use std::{pin::Pin, sync::Arc};

use tokio::sync::watch;

use super::Shared;
use crate::{
    error::{AuthError, Reason},
    log,
};

/// A token waits here for the end of an attempt.
pub(crate) struct Waiting {
    pub(super) shared: Arc<Shared>,
    pub(super) ended: watch::Receiver<u64>,
    pub(super) patience: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The `kid` to be remembered if the attempt that it caused doesn't bring it.
    pub(super) stranger: Option<String>,
}

impl Waiting {
    /// Waits, and says what the key's absence means if it should still be absent afterwards.
    pub(crate) async fn wait(mut self) -> StillAbsent {
        let began = self.shared.clock.elapsed();
        let ended = tokio::select! {
            ended = self.ended.changed() => ended.is_ok(),
            () = self.patience => false,
        };
        log::waited(&self.shared.issuer, self.shared.clock.elapsed().saturating_sub(began));
        StillAbsent { shared: self.shared, ended, stranger: self.stranger }
    }
}

/// What to answer if the refresh did not bring the key.
pub(crate) struct StillAbsent {
    shared: Arc<Shared>,
    ended: bool,
    stranger: Option<String>,
}

impl StillAbsent {
    pub(crate) fn error(self) -> AuthError {
        let now = self.shared.clock.elapsed();
        let mut desk = self.shared.desk();
        let usable = self.shared.current.load().as_ref().is_some_and(|snapshot| self.shared.is_usable(snapshot, now));
        if !self.ended || desk.is_failing() || !usable {
            return desk.unavailable(now);
        }
        if let Some(key_id) = &self.stranger {
            desk.remember_stranger(key_id, now);
        }
        Reason::UnknownKey.into()
    }
}
