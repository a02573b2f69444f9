//! The fetched key set of an issuer: decides when it is fetched, how long it is used, and which requests wait.
//!
//! *In*: a way to fetch the set. *Out*: a snapshot that is read without waiting, and a refresh to wait for.
//!
//! 1. A set is fresh for the time in `Cache-Control`, within bounds. After about 80 % of that time it is fetched again in the
//!    background.
//! 2. While the issuer is down, the last usable set is used, up to a maximum age. An unusable set never replaces a usable one.
//! 3. A token with an unknown `kid` causes a refresh and waits for it. Only one attempt runs at a time, and only one attempt
//!    for an unknown `kid` in each cooldown. The cooldown begins with the attempt, even if the attempt fails. During it, a
//!    token with another unknown `kid` is unavailable, and one whose `kid` the new set lacks is refused.
//! 4. A token that no key fits, though its `kid` is known or it has none, causes such a refresh too: the issuer may have a new
//!    key under an old `kid`. Its cooldown is independent of the one for unknown `kid`s. During it, the token is refused.
//! 5. An attempt for a token that finds other keys ends its cooldown, because no client can make a set change. The next one
//!    may then start one second after it.
//! 6. After a failure there is a pause before the next attempt. It grows with each failure, and is at least the `Retry-After`
//!    of the issuer.
//! 7. Each attempt runs in a task of its own, so that a client that disconnects doesn't cancel it for others.
//!
//! Each age is the greater of the differences of both clocks ([`Moment`]), so that a suspended machine or a time of day that
//! was set back lengthens none of these times.

mod attempt;
mod missing_key;
mod refresh_gate;
mod snapshot;
mod waiting;

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use http::HeaderValue;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use self::{
    attempt::{Attempt, refresh_in_background},
    refresh_gate::{AttemptId, FIRST_BACK_OFF, KeyChange, RefreshGate, RefreshReason},
};
pub(crate) use self::{missing_key::MissingKey, snapshot::Snapshot, waiting::KeyWait};
use super::KeySet;
use crate::{
    clock::{Clock, Moment},
    error::AuthError,
    fetch::FetchError,
    log::{self, IssuerLabel, Outage},
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
    issuer_in_metrics: bool,
    source: Box<dyn FetchKeys>,
    policy: RefreshPolicy,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<Snapshot>,
    /// When a request last tried to start a refresh of a stale set. So most requests don't need the gate's lock.
    last_request_refresh: ArcSwapOption<Moment>,
    gate: Mutex<RefreshGate>,
    /// Number of attempts that have ended. Waiters subscribe to it.
    ended: watch::Sender<u64>,
    /// True if only unauthenticated clients have named this issuer. Its failures are then logged at `debug`.
    quiet: AtomicBool,
    outage: Outage,
}

impl RemoteKeys {
    pub(crate) fn new(
        issuer: IssuerLabel<'_>,
        source: Box<dyn FetchKeys>,
        policy: RefreshPolicy,
        clock: Arc<dyn Clock>,
        initial_keys: Option<KeySet>,
    ) -> Self {
        // Initial keys are usable at once, and stale at once.
        let snapshot =
            initial_keys.map(|keys| Snapshot::new(Arc::new(keys), Moment::now(&*clock), Duration::ZERO).into());
        let shared = RemoteKeysState {
            issuer: issuer.identifier.into(),
            issuer_in_metrics: issuer.in_metrics,
            source,
            policy,
            clock,
            current: ArcSwapOption::new(snapshot),
            last_request_refresh: ArcSwapOption::empty(),
            gate: Mutex::new(RefreshGate::default()),
            ended: watch::Sender::new(0),
            quiet: AtomicBool::new(false),
            outage: Outage::default(),
        };
        Self { shared: Arc::new(shared), background: Mutex::new(None) }
    }

    /// Returns the set, unless it is missing or too old. Starts a refresh of a stale set that is still usable, without
    /// waiting. Without a usable set, the caller starts one and waits.
    pub(crate) fn current(&self) -> Guard<Option<Arc<Snapshot>>> {
        let current = self.shared.current.load();
        let Some(snapshot) = current.as_ref() else { return current };
        let now = self.shared.now();
        if snapshot.is_fresh(&now) {
            return current;
        }
        if !self.shared.is_usable(snapshot, &now) {
            return Guard::from_inner(None);
        }
        if self.shared.may_start_refresh(now) {
            self.start_or_join(RefreshReason::Stale, None).ok();
        }
        current
    }

    /// Starts or joins a refresh for a token whose key is missing. Returns the wait for it, or the error for the token if no
    /// refresh may start now.
    pub(crate) fn seek(&self, missing: &MissingKey) -> Result<KeyWait, AuthError> {
        let reason = match (self.current().is_some(), missing.mismatch) {
            (false, _) => RefreshReason::Stale,
            (true, None) => RefreshReason::UnknownKid,
            (true, Some(_)) => RefreshReason::Mismatch,
        };
        if missing.mismatch.is_none() && missing.key_id.is_some() {
            log::unknown_key_id(self.shared.label());
        }
        let ended = self.start_or_join(reason, missing.key_id.as_deref()).map_err(|error| match reason {
            RefreshReason::Stale => error,
            RefreshReason::UnknownKid | RefreshReason::Mismatch => missing.error_or(error),
        })?;
        let refresh_timeout = self.shared.clock.sleep(self.shared.policy.refresh_timeout);
        Ok(KeyWait { shared: Arc::clone(&self.shared), ended, refresh_timeout })
    }

    /// Fetches the set now, unless it is fresh, and waits for the result.
    pub(crate) async fn warm_up(&self) -> Result<(), AuthError> {
        let is_fresh = || self.current().as_ref().is_some_and(|snapshot| snapshot.is_fresh(&self.shared.now()));
        if is_fresh() {
            return Ok(());
        }
        let mut ended = match self.start_or_join(RefreshReason::Stale, None) {
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
            self.start_or_join(RefreshReason::Stale, None).ok();
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

    /// Sets the level of failed refreshes to `debug` or, by default, to `warn`.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        self.shared.quiet.store(quiet, Ordering::Relaxed);
    }

    /// Starts an attempt, or joins the running one. Returns a receiver for its end.
    fn start_or_join(&self, reason: RefreshReason, key_id: Option<&str>) -> Result<watch::Receiver<u64>, AuthError> {
        let Ok(runtime) = Handle::try_current() else { return Err(AuthError::unavailable(FIRST_BACK_OFF)) };
        let (id, ended) = self.shared.request_attempt(reason, key_id)?;
        if let Some(id) = id {
            runtime.spawn(Attempt::new(&self.shared, id).run());
            self.ensure_background(&runtime);
        }
        Ok(ended)
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

    fn now(&self) -> Moment {
        Moment::now(&*self.clock)
    }

    fn label(&self) -> IssuerLabel<'_> {
        IssuerLabel { identifier: &self.issuer, in_metrics: self.issuer_in_metrics }
    }

    fn unavailable(&self) -> AuthError {
        self.gate().unavailable(&self.now())
    }

    /// Requests an attempt from the gate. Returns the id of the new attempt, or `None` if one is running, and a receiver for
    /// the end of that attempt.
    ///
    /// Waiters subscribe under the gate's lock, and attempts end under it. So each waiter is notified of the end of its own
    /// attempt, and of no other.
    fn request_attempt(
        &self,
        reason: RefreshReason,
        key_id: Option<&str>,
    ) -> Result<(Option<AttemptId>, watch::Receiver<u64>), AuthError> {
        let mut gate = self.gate();
        let now = self.now();
        // A new set may have been published since the caller read the old one. The caller then reads the new one, without a
        // fetch.
        if reason == RefreshReason::Stale
            && self.current.load().as_ref().is_some_and(|set| !set.time_to_refresh(&now).is_zero())
        {
            return Err(gate.unavailable(&now));
        }
        let id = gate.request_attempt(reason, key_id, now, &self.policy)?;
        Ok((id, self.ended.subscribe()))
    }

    /// Ends an attempt. An abandoned one publishes nothing and wakes no waiter.
    fn finish(&self, id: AttemptId, fetched: Result<FetchedKeys, FetchError>) {
        let mut gate = self.gate();
        let Some(started) = gate.started(id) else { return };
        let result = fetched.map(|fetched| self.publish(fetched, started));
        let now = self.now();
        gate.end(id, result.clone(), now);
        self.ended.send_modify(|ended| *ended = ended.wrapping_add(1));
        drop(gate);
        // Logged after the lock is released, because a subscriber may write to a disk.
        let age = self.current.load().as_ref().map(|snapshot| snapshot.age(&now));
        let line = match &result {
            _ if self.quiet.load(Ordering::Relaxed) => None,
            Ok(_) => self.outage.succeeded(&now),
            Err(_) => self.outage.failed(&now),
        };
        log::refresh_ended(self.label(), result.as_ref().map(|_| ()), age, line);
    }

    /// True for one request in each second.
    fn may_start_refresh(&self, now: Moment) -> bool {
        let last = self.last_request_refresh.load();
        let may_start = last.as_ref().is_none_or(|last| last.age(&now) >= FIRST_BACK_OFF);
        if may_start {
            self.last_request_refresh.store(Some(Arc::new(now)));
        }
        may_start
    }

    fn is_usable(&self, snapshot: &Snapshot, now: &Moment) -> bool {
        snapshot.age(now) < self.policy.max_stale
    }

    /// Publishes a set whose fetch started at `fetched_at`. It is usable, because an unusable one is a failed attempt.
    fn publish(&self, fetched: FetchedKeys, fetched_at: Moment) -> KeyChange {
        let (keys, json, etag, max_age, change) = match (fetched, self.current.load_full()) {
            (FetchedKeys::New { keys, json, etag, max_age }, Some(old)) => {
                let same = keys.has_same_keys(&old.keys);
                let change = if same { KeyChange::Unchanged } else { KeyChange::Changed };
                (Arc::new(keys.succeeding(&old.keys)), Some(json), etag, max_age, change)
            }
            (FetchedKeys::New { keys, json, etag, max_age }, None) => {
                (Arc::new(keys), Some(json), etag, max_age, KeyChange::Changed)
            }
            (FetchedKeys::Unchanged { max_age }, Some(old)) => {
                (Arc::clone(&old.keys), old.json.clone(), old.etag.clone(), max_age, KeyChange::Unchanged)
            }
            (FetchedKeys::Unchanged { .. }, None) => return KeyChange::Unchanged,
        };
        let lifetime =
            max_age.unwrap_or(self.policy.lifetime).clamp(self.policy.min_lifetime, self.policy.max_lifetime);
        // The configured maximum age limits what the issuer allows.
        let lifetime = lifetime.min(self.policy.max_stale);
        let snapshot = Snapshot::new(keys, fetched_at, lifetime).with_response(json, etag);
        self.current.store(Some(Arc::new(snapshot)));
        change
    }

    /// Returns the time until the background task makes the next attempt.
    fn time_to_refresh(&self) -> Duration {
        let now = self.now();
        let refresh = self.current.load().as_ref().map_or(Duration::ZERO, |snapshot| snapshot.time_to_refresh(&now));
        refresh.max(self.gate().back_off(&now))
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("fetched", &self.peek().is_some()).finish_non_exhaustive()
    }
}
