//! Failures of a store.
//!
//! *In*: a short text and a cause. *Out*: an error that says whether the operation may have been executed.

use std::{error::Error, fmt, sync::Arc};

/// A failure of a store. The request is refused with 503, and nothing is issued.
#[derive(Clone)]
pub struct StoreError {
    what: &'static str,
    executed: Executed,
    /// True if a client can cause the failure.
    by_client: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Executed {
    Maybe,
    No,
}

impl StoreError {
    /// Returns an error with a short text, which is logged. The operation may have been executed.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, executed: Executed::Maybe, by_client: false, source: None }
    }

    /// Returns an error of an operation that was not executed: the store is full, or could not be asked. So the client may
    /// repeat its request.
    #[must_use]
    pub fn not_executed(what: &'static str) -> Self {
        Self { executed: Executed::No, ..Self::new(what) }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// Returns the error as one that a client can cause: its metadata document is unavailable.
    #[cfg(feature = "http-client")]
    pub(crate) fn caused_by_client(self) -> Self {
        Self { by_client: true, ..self }
    }

    pub(crate) fn is_caused_by_client(&self) -> bool {
        self.by_client
    }

    /// Returns whether the operation may have been executed.
    #[must_use]
    pub fn may_be_executed(&self) -> bool {
        self.executed == Executed::Maybe
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError").field("what", &self.what).field("executed", &self.executed).finish_non_exhaustive()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
