//! The only source of time.
//!
//! *In*: nothing. *Out*: the time of day. Tests hand in a
#![cfg_attr(feature = "test-util", doc = " [`ManualClock`](crate::testing::ManualClock).")]
#![cfg_attr(not(feature = "test-util"), doc = " `ManualClock` (feature `test-util`).")]

use std::{fmt, time::SystemTime};

/// Tells the time of day.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> SystemTime;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The machine's own clock.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}
