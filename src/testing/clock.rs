//! A clock that stands until it is turned.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::clock::{Clock, SleepFuture};

/// A clock that stands until it is turned. Clones show the same time, and who sleeps by it wakes when it is turned.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<Mutex<SystemTime>>,
    elapsed: Arc<watch::Sender<Duration>>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: SystemTime) -> Self {
        Self { now: Arc::new(Mutex::new(now)), elapsed: Arc::new(watch::Sender::new(Duration::ZERO)) }
    }

    /// Turns it forward.
    pub fn advance(&self, by: Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) += by;
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    /// Sets the time of day, backwards too, as an administrator would. Nobody who sleeps wakes from it.
    pub fn set(&self, to: SystemTime) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

impl Default for ManualClock {
    /// Stands at the machine's present time.
    fn default() -> Self {
        Self::at(SystemTime::now())
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.borrow()
    }

    fn sleep(&self, duration: Duration) -> SleepFuture {
        let mut elapsed = self.elapsed.subscribe();
        let deadline = self.elapsed().saturating_add(duration);
        SleepFuture::new(async move {
            // An error says that the clock is gone: then nobody will turn it any more.
            if elapsed.wait_for(|elapsed| *elapsed >= deadline).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
