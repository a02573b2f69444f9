//! The fetched key set of an issuer: decides when it is fetched, how long it is used, and which requests wait.
//!
//! *In*: a way to fetch the set. *Out*: a snapshot that is read without waiting, and a refresh to wait for.
//!
//! 1. A set is fresh for the time in `Cache-Control`, within bounds. After about 80 % of that time it is fetched again in the
//!    background.
//! 2. While the issuer is down, the last usable set is used, up to a maximum age. An unusable set never replaces a usable one.
//! 3. A token with an unknown `kid` causes a refresh and waits for it. Only one attempt runs at a time, and only one attempt
//!    for an unknown `kid` in each cooldown. The cooldown begins with the attempt, even if the attempt fails.
//! 4. After a failure there is a pause before the next attempt. It grows with each failure.
//! 5. Each attempt runs in a task of its own, so that a client that disconnects doesn't cancel it for others.

mod attempt;
mod refresh_gate;
mod waiting;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use http::HeaderValue;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

pub(crate) use self::waiting::{KeyWait, RefreshOutcome};
use self::{
    attempt::{Attempt, refresh_in_background},
    refresh_gate::{AttemptId, FIRST_BACK_OFF, RefreshGate, RefreshReason},
};
use super::KeySet;
use crate::{
    clock::Clock,
    error::{AuthError, Reason},
    fetch::FetchError,
    log,
    sync::lock,
};

/// The times of the refresh policy.
#[derive(Debug, Clone)]
pub(crate) struct RefreshPolicy {
    /// Time for which a set is fresh if the issuer sends no `Cache-Control`.
    pub(crate) lifetime: Duration,
    /// Bounds of the time for which a set is fresh, whatever the issuer sends.
    pub(crate) min_lifetime: Duration,
    pub(crate) max_lifetime: Duration,
    /// Maximum age of a set that can't be refreshed.
    pub(crate) max_stale: Duration,
    /// Minimum time between two attempts that unknown `kid`s cause.
    pub(crate) unknown_kid_cooldown: Duration,
    /// Maximum time for which a request waits for a refresh.
    pub(crate) refresh_timeout: Duration,
    /// Maximum duration of an attempt.
    pub(crate) deadline: Duration,
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(600),
            min_lifetime: Duration::from_secs(60),
            max_lifetime: Duration::from_secs(3600),
            max_stale: Duration::from_secs(24 * 3600),
            unknown_kid_cooldown: Duration::from_secs(30),
            refresh_timeout: Duration::from_secs(3),
            deadline: Duration::from_secs(5),
        }
    }
}

/// The result of a successful attempt.
pub(crate) enum FetchedKeys {
    New {
        keys: KeySet,
        json: Bytes,
        etag: Option<HeaderValue>,
        max_age: Option<Duration>,
    },
    /// 304: the set has not changed.
    Unchanged {
        max_age: Option<Duration>,
    },
}

/// Fetches the set. [`RemoteKeys`] decides when.
pub(crate) trait FetchKeys: Send + Sync + 'static {
    fn fetch_keys(
        &self,
        etag: Option<HeaderValue>,
    ) -> Pin<Box<dyn Future<Output = Result<FetchedKeys, FetchError>> + Send + '_>>;
}

/// A key set, and its times.
pub(crate) struct Snapshot {
    keys: Arc<KeySet>,
    json: Option<Bytes>,
    etag: Option<HeaderValue>,
    /// The time of the fetch, by [`Clock::elapsed`], as the next two.
    fetched: Duration,
    /// When the background task refreshes it.
    refresh_at: Duration,
    /// When it becomes stale: requests then start a refresh, and use this set only until there is a newer one.
    stale_at: Duration,
}

impl Snapshot {
    pub(crate) fn keys(&self) -> &KeySet {
        &self.keys
    }
}

/// A handle to the key set. The background task ends when the handle is dropped.
pub(crate) struct RemoteKeys {
    shared: Arc<RemoteKeysState>,
    background: Mutex<Option<Background>>,
}

struct Background {
    /// Dropped with the handle; the task then ends.
    _handle: watch::Sender<()>,
    task: JoinHandle<()>,
}

struct RemoteKeysState {
    issuer: Arc<str>,
    source: Box<dyn FetchKeys>,
    policy: RefreshPolicy,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<Snapshot>,
    /// When a request may next start a refresh of a stale set, in milliseconds by [`Clock::elapsed`]. So most requests don't
    /// need the gate's lock.
    next_request_refresh: AtomicU64,
    gate: Mutex<RefreshGate>,
    /// Number of attempts that have ended. Waiters subscribe to it.
    ended: watch::Sender<u64>,
}

impl RemoteKeys {
    pub(crate) fn new(
        issuer: Arc<str>,
        source: Box<dyn FetchKeys>,
        policy: RefreshPolicy,
        clock: Arc<dyn Clock>,
        initial_keys: Option<KeySet>,
    ) -> Self {
        let snapshot = initial_keys.map(|keys| {
            // Usable at once, and stale at once.
            let now = clock.elapsed();
            Arc::new(Snapshot {
                keys: Arc::new(keys),
                json: None,
                etag: None,
                fetched: now,
                refresh_at: now,
                stale_at: now,
            })
        });
        let current = ArcSwapOption::new(snapshot);
        let gate = Mutex::new(RefreshGate::default());
        let (next_request_refresh, ended) = (AtomicU64::new(0), watch::Sender::new(0));
        let shared = RemoteKeysState { issuer, source, policy, clock, current, next_request_refresh, gate, ended };
        Self { shared: Arc::new(shared), background: Mutex::new(None) }
    }

    /// Returns the set, unless there is none or it is too old. Starts a refresh of a stale set, without waiting.
    pub(crate) fn current(&self) -> Guard<Option<Arc<Snapshot>>> {
        let current = self.shared.current.load();
        let Some(snapshot) = current.as_ref() else { return current };
        let now = self.shared.clock.elapsed();
        if now < snapshot.stale_at {
            return current;
        }
        if self.shared.may_start_refresh(now) {
            self.start_or_join(RefreshReason::Stale).ok();
        }
        if self.shared.is_usable(snapshot, now) { current } else { Guard::from_inner(None) }
    }

    /// Starts or joins a refresh for a token whose key is unknown. Returns the wait for it, or an error if a refresh can't help
    /// now.
    pub(crate) fn seek(&self, key_id: Option<&str>) -> Result<KeyWait, AuthError> {
        let reason = match (self.current().is_some(), key_id) {
            (false, _) => RefreshReason::Stale,
            (true, Some(key_id)) => RefreshReason::UnknownKid(key_id),
            // A token without `kid` can't name a new key.
            (true, None) => return Err(Reason::UnknownKey.into()),
        };
        if key_id.is_some() {
            log::unknown_key_id(&self.shared.issuer);
        }
        let (ended, started) = self.start_or_join(reason)?;
        let refresh_timeout = self.shared.clock.sleep(self.shared.policy.refresh_timeout);
        // Only an attempt that began now proves that the `kid` is unknown. A running one may have begun before the key was
        // published.
        let unknown_kid = key_id.filter(|_| started).map(str::to_owned);
        Ok(KeyWait { shared: Arc::clone(&self.shared), ended, refresh_timeout, unknown_kid })
    }

    /// Fetches the set now, unless it is fresh, and waits for the result.
    pub(crate) async fn warm_up(&self) -> Result<(), AuthError> {
        let is_fresh =
            || self.current().as_ref().is_some_and(|snapshot| self.shared.clock.elapsed() < snapshot.stale_at);
        if is_fresh() {
            return Ok(());
        }
        let (mut ended, _) = match self.start_or_join(RefreshReason::Stale) {
            Ok(started) => started,
            Err(error) => return if is_fresh() { Ok(()) } else { Err(error) },
        };
        // Longer than an attempt, so that the attempt's own error is returned.
        let deadline = self.shared.policy.deadline.saturating_add(FIRST_BACK_OFF);
        let waited = tokio::select! {
            ended = ended.changed() => ended.is_ok(),
            () = self.shared.clock.sleep(deadline) => false,
        };
        if waited && self.current().is_some() { Ok(()) } else { Err(self.shared.unavailable()) }
    }

    /// True if there is a usable set. If not, starts a refresh, because a readiness probe may be the only traffic.
    pub(crate) fn is_ready(&self) -> bool {
        let ready = self.current().is_some();
        if !ready {
            self.start_or_join(RefreshReason::Stale).ok();
        }
        ready
    }

    /// Returns the set, usable or not, without starting a refresh.
    pub(crate) fn peek(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.shared.current.load()
    }

    /// Returns the JSON of the set as the issuer sent it.
    pub(crate) fn json(&self) -> Option<Bytes> {
        self.current().as_ref().and_then(|snapshot| snapshot.json.clone())
    }

    /// Starts an attempt, or joins the running one. The second value is true if it started one.
    fn start_or_join(&self, reason: RefreshReason<'_>) -> Result<(watch::Receiver<u64>, bool), AuthError> {
        let Ok(runtime) = Handle::try_current() else { return Err(AuthError::unavailable(FIRST_BACK_OFF)) };
        let (id, ended) = self.shared.request_attempt(reason)?;
        let Some(id) = id else { return Ok((ended, false)) };
        runtime.spawn(Attempt::new(&self.shared, id).run());
        self.ensure_background(&runtime);
        Ok((ended, true))
    }

    /// Starts the background task, and starts it again if its runtime was shut down.
    fn ensure_background(&self, runtime: &Handle) {
        let mut background = lock(&self.background);
        if background.as_ref().is_none_or(|background| background.task.is_finished()) {
            let (handle, dropped) = watch::channel(());
            let task = runtime.spawn(refresh_in_background(Arc::clone(&self.shared), dropped));
            *background = Some(Background { _handle: handle, task });
        }
    }
}

impl RemoteKeysState {
    fn gate(&self) -> MutexGuard<'_, RefreshGate> {
        lock(&self.gate)
    }

    fn unavailable(&self) -> AuthError {
        self.gate().unavailable(self.clock.elapsed())
    }

    /// Requests an attempt from the gate. Returns the id of the new attempt, or `None` if one is running, and a receiver for
    /// the end of that attempt.
    ///
    /// Waiters subscribe under the gate's lock, and attempts end under it. So each waiter is notified of the end of its own
    /// attempt, and of no other.
    fn request_attempt(
        &self,
        reason: RefreshReason<'_>,
    ) -> Result<(Option<AttemptId>, watch::Receiver<u64>), AuthError> {
        let mut gate = self.gate();
        let now = self.clock.elapsed();
        // A new set may have been published since the caller read the old one. The caller then reads the new one, without a
        // fetch.
        if matches!(reason, RefreshReason::Stale)
            && self.current.load().as_ref().is_some_and(|set| now < set.refresh_at)
        {
            return Err(gate.unavailable(now));
        }
        let id = gate.request_attempt(reason, now, &self.policy)?;
        Ok((id, self.ended.subscribe()))
    }

    /// Ends an attempt. An abandoned one publishes nothing and wakes no waiter.
    fn finish(&self, id: AttemptId, fetched: Result<FetchedKeys, FetchError>) {
        let mut gate = self.gate();
        if !gate.is_running(id) {
            return;
        }
        let result = fetched.map(|fetched| self.publish(fetched));
        gate.end(id, result.clone());
        self.ended.send_modify(|ended| *ended = ended.wrapping_add(1));
        drop(gate);
        // Logged after the lock is released, because a subscriber may write to a disk.
        log::refresh_ended(&self.issuer, result.as_ref().map(|&()| ()), self.age());
    }

    /// True for one request in each second.
    fn may_start_refresh(&self, now: Duration) -> bool {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if milliseconds(now) < self.next_request_refresh.load(Ordering::Relaxed) {
            return false;
        }
        self.next_request_refresh.store(milliseconds(now.saturating_add(FIRST_BACK_OFF)), Ordering::Relaxed);
        true
    }

    fn is_usable(&self, snapshot: &Snapshot, now: Duration) -> bool {
        now.saturating_sub(snapshot.fetched) < self.policy.max_stale
    }

    /// Publishes a fetched set. It is usable, because an unusable one is a failed attempt.
    fn publish(&self, fetched: FetchedKeys) {
        let old = self.current.load_full();
        let (keys, json, etag, max_age) = match (fetched, old) {
            (FetchedKeys::New { keys, json, etag, max_age }, old) => {
                let keys = match old {
                    Some(old) => keys.succeeding(&old.keys),
                    None => keys,
                };
                (Arc::new(keys), Some(json), etag, max_age)
            }
            (FetchedKeys::Unchanged { max_age }, Some(old)) => {
                (Arc::clone(&old.keys), old.json.clone(), old.etag.clone(), max_age)
            }
            (FetchedKeys::Unchanged { .. }, None) => return,
        };
        let lifetime =
            max_age.unwrap_or(self.policy.lifetime).clamp(self.policy.min_lifetime, self.policy.max_lifetime);
        // The configured maximum age limits what the issuer allows.
        let lifetime = lifetime.min(self.policy.max_stale);
        let fetched = self.clock.elapsed();
        let refresh_at = fetched.saturating_add(lifetime.mul_f64(refresh_fraction()));
        let stale_at = fetched.saturating_add(lifetime);
        self.current.store(Some(Arc::new(Snapshot { keys, json, etag, fetched, refresh_at, stale_at })));
    }

    fn age(&self) -> Option<Duration> {
        let current = self.current.load();
        current.as_ref().map(|snapshot| self.clock.elapsed().saturating_sub(snapshot.fetched))
    }

    /// Returns when the background task makes the next attempt.
    fn next_refresh(&self) -> Duration {
        let refresh_at = self.current.load().as_ref().map_or(Duration::ZERO, |snapshot| snapshot.refresh_at);
        self.gate().next_attempt().map_or(refresh_at, |next| refresh_at.max(next))
    }
}

/// Returns a random number from 0.75 to 0.85, so that many instances don't fetch at the same time.
fn refresh_fraction() -> f64 {
    let random = u16::try_from(RandomState::new().hash_one(0_u8) % 1001).unwrap_or_default();
    0.75 + f64::from(random) / 10_000.0
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("fetched", &self.peek().is_some()).finish_non_exhaustive()
    }
}
