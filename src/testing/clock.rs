//! A clock that a test moves by hand.
//!
//! *In*: the time that the test sets. *Out*: a [`Clock`](crate::clock::Clock).

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::{
    clock::{Clock, SleepFuture},
    sync::lock,
};

/// A clock that changes only when a test moves it. All clones have one time. A task that sleeps wakes when the clock is moved
/// far enough.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<Mutex<SystemTime>>,
    elapsed: Arc<watch::Sender<Duration>>,
}

impl ManualClock {
    /// Returns a clock that shows `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self { now: Arc::new(Mutex::new(now)), elapsed: Arc::new(watch::Sender::new(Duration::ZERO)) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *lock(&self.now) += by;
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    /// Moves only the time of day forward, as a machine does that was suspended. No sleeping task wakes.
    pub fn suspend(&self, time: Duration) {
        *lock(&self.now) += time;
    }

    /// Sets the time of day, also backwards, as an administrator might. The monotonic time doesn't change, so no sleeping task
    /// wakes.
    pub fn set(&self, to: SystemTime) {
        *lock(&self.now) = to;
    }
}

impl Default for ManualClock {
    /// Returns a clock that shows the machine's current time.
    fn default() -> Self {
        Self::new(SystemTime::now())
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *lock(&self.now)
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.borrow()
    }

    fn sleep(&self, duration: Duration) -> SleepFuture {
        let mut elapsed = self.elapsed.subscribe();
        let deadline = self.elapsed().saturating_add(duration);
        SleepFuture::new(async move {
            // An error means that the clock was dropped, so it is never moved again.
            if elapsed.wait_for(|elapsed| *elapsed >= deadline).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
