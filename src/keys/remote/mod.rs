//! Key sets that follow their issuer: when they are fetched, how long they are used, and who waits.
//!
//! *In*: a way to fetch the set. *Out*: a snapshot that is read without waiting, and the promise of a newer one.
//!
//! 1. A set is fresh for what `Cache-Control` says, within bounds; at 80 % of that it is fetched anew in the background.
//! 2. While the issuer is down the last good set is used, up to a hard cap. An unusable set never replaces a usable one.
//! 3. A token with an unknown `kid` asks for one forced refresh and waits for it; there is one attempt at a time and one
//!    such attempt per cool-down, counted from the attempt, failures included.
//! 4. After a failure the next attempt waits, longer each time.
//! 5. Every fetch runs in a task of its own: a client that goes away cancels nobody's work.

mod refresh_gate;
mod waiting;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use http::HeaderValue;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use self::refresh_gate::{AttemptId, FIRST_BACK_OFF, RefreshGate, RefreshReason};
pub(crate) use self::waiting::{KeyWait, StillUnknown};
use super::KeySet;
use crate::{
    clock::Clock,
    error::{AuthError, Reason},
    fetch::FetchError,
    log,
};

/// The times of the refresh policy.
#[derive(Debug, Clone)]
pub(crate) struct RefreshPolicy {
    /// How long a set is fresh where the issuer doesn't say.
    pub(crate) lifetime: Duration,
    pub(crate) min_lifetime: Duration,
    pub(crate) max_lifetime: Duration,
    /// How long a set is used that can't be renewed.
    pub(crate) max_stale: Duration,
    pub(crate) unknown_kid_cooldown: Duration,
    /// How long a request waits for a refresh.
    pub(crate) refresh_timeout: Duration,
    /// How long one attempt may take.
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

/// What an attempt brought.
pub(crate) enum FetchedKeys {
    New {
        keys: KeySet,
        json: Bytes,
        etag: Option<HeaderValue>,
        max_age: Option<Duration>,
    },
    /// 304: the set we have is still the issuer's.
    Unchanged {
        max_age: Option<Duration>,
    },
}

/// Fetches the set; knows where, and nothing of when.
pub(crate) trait FetchKeys: Send + Sync + 'static {
    fn fetch_keys(
        &self,
        etag: Option<HeaderValue>,
    ) -> Pin<Box<dyn Future<Output = Result<FetchedKeys, FetchError>> + Send + '_>>;
}

/// A set as it was at one moment.
pub(crate) struct Snapshot {
    keys: Arc<KeySet>,
    json: Option<Bytes>,
    etag: Option<HeaderValue>,
    /// By [`Clock::elapsed`], as are the next two.
    fetched: Duration,
    /// When the background task renews it.
    refresh_at: Duration,
    /// From when on it is used only because there is no newer one.
    due: Duration,
}

impl Snapshot {
    pub(crate) fn keys(&self) -> &KeySet {
        &self.keys
    }
}

/// The handle. The background task ends when the last one is dropped.
pub(crate) struct RemoteKeys {
    shared: Arc<RemoteKeysState>,
    background: Mutex<Option<Background>>,
}

struct Background {
    /// Dropped with the handle, which ends the task.
    _alive: watch::Sender<()>,
    task: JoinHandle<()>,
}

struct RemoteKeysState {
    issuer: Arc<str>,
    source: Box<dyn FetchKeys>,
    policy: RefreshPolicy,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<Snapshot>,
    /// When a reader of an old set may next ask for a new one, in milliseconds: the gate is not for every request.
    next_nudge: AtomicU64,
    gate: Mutex<RefreshGate>,
    /// Counts the attempts that have ended.
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
            // Usable at once, and due at once.
            let now = clock.elapsed();
            Arc::new(Snapshot { keys: Arc::new(keys), json: None, etag: None, fetched: now, refresh_at: now, due: now })
        });
        let current = ArcSwapOption::new(snapshot);
        let gate = Mutex::new(RefreshGate::default());
        let (next_nudge, ended) = (AtomicU64::new(0), watch::Sender::new(0));
        let shared = RemoteKeysState { issuer, source, policy, clock, current, next_nudge, gate, ended };
        Self { shared: Arc::new(shared), background: Mutex::new(None) }
    }

    /// The set, unless there is none or it is too old. Asks for a new one where it is due; waits for nothing.
    pub(crate) fn current(&self) -> Guard<Option<Arc<Snapshot>>> {
        let current = self.shared.current.load();
        let Some(snapshot) = current.as_ref() else { return current };
        let now = self.shared.clock.elapsed();
        if now < snapshot.due {
            return current;
        }
        if self.shared.may_nudge(now) {
            self.begin(RefreshReason::Renewal).ok();
        }
        if self.shared.is_usable(snapshot, now) { current } else { Guard::from_inner(None) }
    }

    /// For a token whose key we don't have. Either there is no hope, or an attempt to wait for.
    pub(crate) fn seek(&self, key_id: Option<&str>) -> Result<KeyWait, AuthError> {
        let reason = match (self.current().is_some(), key_id) {
            (false, _) => RefreshReason::Renewal,
            (true, Some(key_id)) => RefreshReason::UnknownKid(key_id),
            // A token that names no key can't name a new one.
            (true, None) => return Err(Reason::UnknownKey.into()),
        };
        if key_id.is_some() {
            log::unknown_key_id(&self.shared.issuer);
        }
        let (ended, started) = self.begin(reason)?;
        let refresh_timeout = self.shared.clock.sleep(self.shared.policy.refresh_timeout);
        // Who only joined can't tell: the attempt may have begun before the key was published.
        let unknown_kid = key_id.filter(|_| started).map(str::to_owned);
        Ok(KeyWait { shared: Arc::clone(&self.shared), ended, refresh_timeout, unknown_kid })
    }

    /// Fetches the set now, unless an attempt has just been made, and waits for the end of it.
    pub(crate) async fn warm_up(&self) -> Result<(), AuthError> {
        let is_fresh = || self.current().as_ref().is_some_and(|snapshot| self.shared.clock.elapsed() < snapshot.due);
        if is_fresh() {
            return Ok(());
        }
        let (mut ended, _) = match self.begin(RefreshReason::Renewal) {
            Ok(begun) => begun,
            Err(error) => return if is_fresh() { Ok(()) } else { Err(error) },
        };
        // A little longer than the attempt may take, so that its own reason is there to be told.
        let deadline = self.shared.policy.deadline.saturating_add(FIRST_BACK_OFF);
        let waited = tokio::select! {
            ended = ended.changed() => ended.is_ok(),
            () = self.shared.clock.sleep(deadline) => false,
        };
        if waited && self.current().is_some() { Ok(()) } else { Err(self.shared.unavailable()) }
    }

    /// Whether a known key can be checked at this moment. Where it can't, the keys are asked for: a probe may be all the
    /// traffic there is.
    pub(crate) fn is_ready(&self) -> bool {
        let ready = self.current().is_some();
        if !ready {
            self.begin(RefreshReason::Renewal).ok();
        }
        ready
    }

    /// The set, usable or not, without asking for anything.
    pub(crate) fn peek(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.shared.current.load()
    }

    /// The last set as the issuer wrote it.
    pub(crate) fn json(&self) -> Option<Bytes> {
        self.current().as_ref().and_then(|snapshot| snapshot.json.clone())
    }

    /// Starts an attempt, or joins the one that is under way; says which.
    fn begin(&self, reason: RefreshReason<'_>) -> Result<(watch::Receiver<u64>, bool), AuthError> {
        let Ok(runtime) = Handle::try_current() else { return Err(AuthError::unavailable(FIRST_BACK_OFF)) };
        let (attempt, ended) = self.shared.admit(reason)?;
        let Some(attempt) = attempt else { return Ok((ended, false)) };
        runtime.spawn(Attempt::new(&self.shared, attempt).run());
        self.keep_background(&runtime);
        Ok((ended, true))
    }

    /// Starts the background task, again too if its runtime is gone.
    fn keep_background(&self, runtime: &Handle) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if background.as_ref().is_none_or(|background| background.task.is_finished()) {
            let (alive, dropped) = watch::channel(());
            let task = runtime.spawn(refresh_ahead(Arc::clone(&self.shared), dropped));
            *background = Some(Background { _alive: alive, task });
        }
    }
}

impl RemoteKeysState {
    fn gate(&self) -> MutexGuard<'_, RefreshGate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self) -> AuthError {
        self.gate().unavailable(self.clock.elapsed())
    }

    /// Who waits subscribes under the gate's lock, under which an attempt's end is told too: nobody is woken by another
    /// attempt than the one he was admitted to.
    fn admit(&self, reason: RefreshReason<'_>) -> Result<(Option<AttemptId>, watch::Receiver<u64>), AuthError> {
        let mut gate = self.gate();
        let now = self.clock.elapsed();
        // It came in while somebody was on the way here who had seen none: he looks again, and nobody fetches it twice.
        if matches!(reason, RefreshReason::Renewal)
            && self.current.load().as_ref().is_some_and(|set| now < set.refresh_at)
        {
            return Err(gate.unavailable(now));
        }
        let attempt = gate.admit(reason, now, &self.policy)?;
        Ok((attempt, self.ended.subscribe()))
    }

    /// An attempt is over. One that was given up long ago publishes nothing and wakes nobody.
    fn finish(&self, attempt: AttemptId, fetched: Result<FetchedKeys, FetchError>) {
        let mut gate = self.gate();
        if !gate.is_running(attempt) {
            return;
        }
        let result = fetched.map(|fetched| self.publish(fetched));
        gate.end(attempt, result.clone());
        self.ended.send_modify(|ended| *ended = ended.wrapping_add(1));
        drop(gate);
        // Only now: whoever listens to the log may write it to a disk.
        log::refresh_ended(&self.issuer, result.as_ref().map(|&()| ()), self.age());
    }

    fn may_nudge(&self, now: Duration) -> bool {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if milliseconds(now) < self.next_nudge.load(Ordering::Relaxed) {
            return false;
        }
        self.next_nudge.store(milliseconds(now.saturating_add(FIRST_BACK_OFF)), Ordering::Relaxed);
        true
    }

    fn is_usable(&self, snapshot: &Snapshot, now: Duration) -> bool {
        now.saturating_sub(snapshot.fetched) < self.policy.max_stale
    }

    /// Publishes what was fetched. Nothing but a usable set gets here.
    fn publish(&self, fetched: FetchedKeys) {
        let old = self.current.load_full();
        let (keys, json, etag, max_age) = match (fetched, old) {
            (FetchedKeys::New { keys, json, etag, max_age }, old) => {
                let keys = match old {
                    Some(old) => keys.after(&old.keys),
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
        // However fresh the issuer calls it, the hard cap is the user's.
        let lifetime = lifetime.min(self.policy.max_stale);
        let fetched = self.clock.elapsed();
        // 80 %, give or take 5 %, so that a fleet does not ask all at once.
        let jitter = f64::from(u16::try_from(RandomState::new().hash_one(0_u8) % 1001).unwrap_or_default()) / 10_000.0;
        let refresh_at = fetched.saturating_add(lifetime.mul_f64(0.75 + jitter));
        let due = fetched.saturating_add(lifetime);
        self.current.store(Some(Arc::new(Snapshot { keys, json, etag, fetched, refresh_at, due })));
    }

    fn age(&self) -> Option<Duration> {
        let current = self.current.load();
        current.as_ref().map(|snapshot| self.clock.elapsed().saturating_sub(snapshot.fetched))
    }

    /// When the background task has something to do.
    fn next_refresh(&self) -> Duration {
        let renewal = self.current.load().as_ref().map_or(Duration::ZERO, |snapshot| snapshot.refresh_at);
        self.gate().next_attempt().map_or(renewal, |next| renewal.max(next))
    }
}

/// One attempt. However it ends, by a panic too, those who wait are told, and a failure counts.
struct Attempt {
    shared: Arc<RemoteKeysState>,
    attempt: AttemptId,
    fetched: Option<Result<FetchedKeys, FetchError>>,
}

impl Attempt {
    fn new(shared: &Arc<RemoteKeysState>, attempt: AttemptId) -> Self {
        Self { shared: Arc::clone(shared), attempt, fetched: None }
    }

    async fn run(mut self) {
        let shared = &self.shared;
        let etag = shared.current.load().as_ref().and_then(|snapshot| snapshot.etag.clone());
        let fetched = tokio::select! {
            fetched = shared.source.fetch_keys(etag) => fetched,
            () = shared.clock.sleep(shared.policy.deadline) => Err(FetchError::new("no answer in time")),
        };
        self.fetched = Some(fetched);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let fetched = self.fetched.take().unwrap_or_else(|| Err(FetchError::new("the attempt broke off")));
        self.shared.finish(self.attempt, fetched);
    }
}

/// Rule 1, until the last handle is gone.
async fn refresh_ahead(shared: Arc<RemoteKeysState>, mut dropped: watch::Receiver<()>) {
    let mut ended = shared.ended.subscribe();
    loop {
        let wait = shared.next_refresh().saturating_sub(shared.clock.elapsed());
        tokio::select! {
            () = shared.clock.sleep(wait.max(FIRST_BACK_OFF)) => {}
            // Whoever made an attempt changed the plan.
            _ = ended.changed() => continue,
            _ = dropped.changed() => return,
        }
        let due = shared.next_refresh() <= shared.clock.elapsed();
        if due && let Ok((Some(attempt), _)) = shared.admit(RefreshReason::Renewal) {
            // In a task of its own, whose panic would not be ours.
            tokio::spawn(Attempt::new(&shared, attempt).run()).await.ok();
        }
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("fetched", &self.peek().is_some()).finish_non_exhaustive()
    }
}
