//! The key that a token needs and the key set lacks.
//!
//! *In*: the header of a token, and the set that was searched. *Out*: what to look for in a newer set.

use std::sync::Arc;

use crate::{
    error::{AuthError, Finding, Reason},
    keys::KeySet,
};

/// A key that was not found in a key set. A newer set may have it.
pub(crate) struct MissingKey {
    pub(super) key_id: Option<String>,
    /// Why the keys that the header selects don't verify the token. `None` if no key has the `kid`, or if there is no set.
    pub(super) mismatch: Option<Reason>,
    /// The serial number of the searched set.
    searched: Option<u64>,
    /// What was searched, for the log.
    finding: Arc<Finding>,
}

impl MissingKey {
    /// No key has this `kid`, or there is no set.
    pub(crate) fn unknown(key_id: Option<&str>, searched: Option<&KeySet>, finding: Finding) -> Self {
        let searched = searched.map(KeySet::serial);
        Self { key_id: key_id.map(str::to_owned), mismatch: None, searched, finding: Arc::new(finding) }
    }

    /// The keys that the header selects don't verify the token. The issuer may have a new key under the same `kid`, or one
    /// without `kid`.
    pub(crate) fn mismatched(key_id: Option<&str>, searched: &KeySet, reason: Reason, finding: Finding) -> Self {
        Self { mismatch: Some(reason), ..Self::unknown(key_id, Some(searched), finding) }
    }

    /// True if `current` is not the searched set, so that it is worth a second search.
    pub(crate) fn may_be_in(&self, current: Option<&KeySet>) -> bool {
        current.map(KeySet::serial) != self.searched
    }

    /// Returns the error for the token if the set can't be refreshed.
    pub(crate) fn error(&self) -> AuthError {
        self.refused_as(self.mismatch.unwrap_or(Reason::UnknownKey))
    }

    /// Returns the reason of a mismatch as the error for the token, and `error` if the key is unknown.
    pub(crate) fn error_or(&self, error: AuthError) -> AuthError {
        match self.mismatch {
            Some(reason) => self.refused_as(reason),
            None if error.is_unknown_key() => error.with_finding(Arc::clone(&self.finding)),
            None => error,
        }
    }

    fn refused_as(&self, reason: Reason) -> AuthError {
        AuthError::from(reason).with_finding(Arc::clone(&self.finding))
    }
}
