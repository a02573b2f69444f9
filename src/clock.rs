//! The only source of time.
//!
//! *In*: nothing. *Out*: the time of day, for what tokens say; a time that only goes forward, for what we remember; and
//! waiting. Tests hand in a
#![cfg_attr(feature = "test-util", doc = " [`ManualClock`](crate::testing::ManualClock).")]
#![cfg_attr(not(feature = "test-util"), doc = " `ManualClock` (feature `test-util`).")]

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

/// Tells the time, and waits.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> SystemTime;

    /// How long ago some fixed moment was; unlike [`now`](Self::now) it never goes back.
    fn elapsed(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// Ends after `duration`. The default needs a tokio runtime with its timer on (`enable_time`).
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
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

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    fn elapsed(&self) -> Duration {
        (**self).elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        (**self).sleep(duration)
    }
}
