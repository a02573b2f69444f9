//! The only source of time in the crate.
//!
//! *In*: nothing. *Out*: the time of day, to compare with the dates of tokens; a monotonic time, for ages and timeouts;
//! and a timer. Tests pass a
#![cfg_attr(feature = "test-util", doc = " [`ManualClock`](crate::testing::ManualClock).")]
#![cfg_attr(not(feature = "test-util"), doc = " `ManualClock` (feature `test-util`).")]

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

/// A source of time: the time of day, a monotonic time, and a timer.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the time of day.
    fn now(&self) -> SystemTime;

    /// Returns a monotonic time: how long ago a fixed moment was. Unlike [`now`](Self::now) it never goes back. It may stop
    /// while the machine is suspended: ages are the greater of the differences of both times.
    ///
    /// Default: the time since this method was first called in the process.
    fn elapsed(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// Returns a future that is ready after `duration`.
    ///
    /// Default: tokio's timer, which needs a runtime with `enable_time`.
    fn sleep(&self, duration: Duration) -> SleepFuture {
        SleepFuture::new(tokio::time::sleep(duration))
    }
}

/// The future of [`Clock::sleep`].
pub struct SleepFuture(Pin<Box<dyn Future<Output = ()> + Send>>);

impl SleepFuture {
    /// Wraps a future.
    pub fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for SleepFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for SleepFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SleepFuture").finish_non_exhaustive()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// Returns the machine's clock.
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

    fn sleep(&self, duration: Duration) -> SleepFuture {
        (**self).sleep(duration)
    }
}

/// A moment by both clocks, to measure an age from it.
///
/// The monotonic time stops while the machine is suspended, and the time of day can be set. So an age is the greater of the
/// two differences: a suspended machine and a time of day that was set back never lengthen the use of anything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    elapsed: Duration,
    time_of_day: SystemTime,
}

impl Moment {
    /// Returns the current moment.
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { elapsed: clock.elapsed(), time_of_day: clock.now() }
    }

    /// Returns how long ago this moment was at `now`. Zero for a later moment.
    pub(crate) fn age(&self, now: &Self) -> Duration {
        let by_day = now.time_of_day.duration_since(self.time_of_day).unwrap_or_default();
        now.elapsed.saturating_sub(self.elapsed).max(by_day)
    }

    /// Returns the time of day, to compare with the dates of tokens.
    pub(crate) fn time_of_day(&self) -> SystemTime {
        self.time_of_day
    }
}

/// The end of an age that began at some [`Moment`], by whichever clock reaches it first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    elapsed: Duration,
    /// `None`: later than any time of day.
    time_of_day: Option<SystemTime>,
}

impl Deadline {
    /// Returns the moment at which something that began at `began` has this age.
    pub(crate) fn after(began: &Moment, age: Duration) -> Self {
        Self { elapsed: began.elapsed.saturating_add(age), time_of_day: began.time_of_day.checked_add(age) }
    }

    /// True if the age is reached.
    pub(crate) fn is_reached(&self, now: &Moment) -> bool {
        now.elapsed >= self.elapsed || self.time_of_day.is_some_and(|end| now.time_of_day >= end)
    }

    /// Returns the time until the age is reached, by whichever clock reaches it first. Zero if it is reached.
    pub(crate) fn remaining(&self, now: &Moment) -> Duration {
        let by_elapsed = self.elapsed.saturating_sub(now.elapsed);
        match self.time_of_day {
            Some(end) => by_elapsed.min(end.duration_since(now.time_of_day).unwrap_or_default()),
            None => by_elapsed,
        }
    }
}

/// Returns the time of day in whole seconds since 1970-01-01 (UTC).
#[cfg(feature = "token-endpoint")]
pub(crate) fn unix_seconds(clock: &dyn Clock) -> u64 {
    clock.now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
