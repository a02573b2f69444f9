//! Locks that survive a panic.
//!
//! *In*: a mutex. *Out*: its guard, also after a thread panicked while it held the lock. What these locks protect is
//! consistent after every statement, so a poisoned lock is no reason to stop serving.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks the mutex, also if it is poisoned.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
