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

mod desk;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::watch;

use self::desk::{Desk, FIRST_BACK_OFF, Wish};
use super::KeySet;
use crate::{
    clock::Clock,
    error::{AuthError, Reason},
    fetch::FetchError,
    log,
};

/// The times of the refresh policy.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// How long a set is fresh where the issuer doesn't say.
    pub(crate) lifetime: Duration,
    pub(crate) min_lifetime: Duration,
    pub(crate) max_lifetime: Duration,
    /// How long a set is used that can't be renewed.
    pub(crate) max_stale: Duration,
    pub(crate) cool_down: Duration,
    /// How long a request waits for a refresh.
    pub(crate) patience: Duration,
    /// How long one attempt may take.
    pub(crate) deadline: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(600),
            min_lifetime: Duration::from_secs(60),
            max_lifetime: Duration::from_secs(3600),
            max_stale: Duration::from_secs(24 * 3600),
            cool_down: Duration::from_secs(30),
            patience: Duration::from_secs(3),
            deadline: Duration::from_secs(5),
        }
    }
}

/// What an attempt brought.
pub(crate) enum Fetched {
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
    ) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + '_>>;
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
    shared: Arc<Shared>,
    background: Mutex<Option<watch::Sender<()>>>,
}

struct Shared {
    issuer: Arc<str>,
    source: Box<dyn FetchKeys>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<Snapshot>,
    desk: Mutex<Desk>,
    /// Counts the attempts that have ended.
    ended: watch::Sender<u64>,
}

impl RemoteKeys {
    pub(crate) fn new(
        issuer: Arc<str>,
        source: Box<dyn FetchKeys>,
        policy: Policy,
        clock: Arc<dyn Clock>,
        seed: Option<KeySet>,
    ) -> Self {
        let snapshot = seed.map(|keys| {
            // Usable at once, and due at once.
            let now = clock.elapsed();
            Arc::new(Snapshot { keys: Arc::new(keys), json: None, etag: None, fetched: now, refresh_at: now, due: now })
        });
        let current = ArcSwapOption::new(snapshot);
        let desk = Mutex::new(Desk::default());
        let shared = Shared { issuer, source, policy, clock, current, desk, ended: watch::Sender::new(0) };
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
        self.begin(Wish::Renewal).ok();
        let usable = now.saturating_sub(snapshot.fetched) < self.shared.policy.max_stale;
        if usable { current } else { Guard::from_inner(None) }
    }

    /// For a token whose key we don't have. Either there is no hope, or an attempt to wait for.
    pub(crate) fn seek(&self, key_id: Option<&str>) -> Result<Waiting, AuthError> {
        let wish = match (self.current().is_some(), key_id) {
            (false, _) => Wish::Renewal,
            (true, Some(key_id)) => Wish::Stranger(key_id),
            // A token that names no key can't name a new one.
            (true, None) => return Err(Reason::UnknownKey.into()),
        };
        if key_id.is_some() {
            log::unknown_key_id(&self.shared.issuer);
        }
        let ended = self.begin(wish)?;
        let patience = self.shared.clock.sleep(self.shared.policy.patience);
        Ok(Waiting { shared: Arc::clone(&self.shared), ended, patience, key_id: key_id.map(str::to_owned) })
    }

    /// Fetches the set now, unless an attempt has just been made, and waits for the end of it.
    pub(crate) async fn warm_up(&self) -> Result<(), AuthError> {
        if self.current().as_ref().is_some_and(|snapshot| self.shared.clock.elapsed() < snapshot.due) {
            return Ok(());
        }
        let mut ended = self.begin(Wish::Renewal)?;
        let waited = tokio::select! {
            ended = ended.changed() => ended.is_ok(),
            () = self.shared.clock.sleep(self.shared.policy.deadline) => false,
        };
        if waited && self.is_ready() { Ok(()) } else { Err(self.shared.unavailable()) }
    }

    /// Whether a known key can be checked at this moment.
    pub(crate) fn is_ready(&self) -> bool {
        self.current().is_some()
    }

    /// The last set as the issuer wrote it.
    pub(crate) fn json(&self) -> Option<Bytes> {
        self.current().as_ref().and_then(|snapshot| snapshot.json.clone())
    }

    /// Starts an attempt or joins the one that runs.
    fn begin(&self, wish: Wish<'_>) -> Result<watch::Receiver<u64>, AuthError> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(AuthError::unavailable(FIRST_BACK_OFF));
        };
        let ended = self.shared.ended.subscribe();
        if !self.shared.admit(wish)? {
            return Ok(ended);
        }
        let attempt = Attempt(Arc::clone(&self.shared));
        runtime.spawn(attempt.run());
        self.start_background(&runtime);
        Ok(ended)
    }

    fn start_background(&self, runtime: &tokio::runtime::Handle) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if background.is_none() {
            let (alive, dropped) = watch::channel(());
            runtime.spawn(refresh_ahead(Arc::clone(&self.shared), dropped));
            *background = Some(alive);
        }
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self) -> AuthError {
        self.desk().unavailable(self.clock.elapsed())
    }

    fn admit(&self, wish: Wish<'_>) -> Result<bool, AuthError> {
        self.desk().admit(wish, self.clock.elapsed(), &self.policy)
    }

    /// Publishes what was fetched. Nothing but a usable set gets here.
    fn publish(&self, fetched: Fetched) {
        let old = self.current.load_full();
        let (keys, json, etag, max_age) = match (fetched, old) {
            (Fetched::New { keys, json, etag, max_age }, _) => (Arc::new(keys), Some(json), etag, max_age),
            (Fetched::Unchanged { max_age }, Some(old)) => {
                (Arc::clone(&old.keys), old.json.clone(), old.etag.clone(), max_age)
            }
            (Fetched::Unchanged { .. }, None) => return,
        };
        let lifetime =
            max_age.unwrap_or(self.policy.lifetime).clamp(self.policy.min_lifetime, self.policy.max_lifetime);
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
        self.desk().next_attempt().map_or(renewal, |next| renewal.max(next))
    }
}

/// One attempt. However it ends, by a panic too, those who wait are told.
struct Attempt(Arc<Shared>);

impl Attempt {
    async fn run(self) {
        let shared = &self.0;
        let etag = shared.current.load().as_ref().and_then(|snapshot| snapshot.etag.clone());
        let fetched = tokio::select! {
            fetched = shared.source.fetch_keys(etag) => fetched,
            () = shared.clock.sleep(shared.policy.deadline) => Err(FetchError::new("no answer in time")),
        };
        let result = fetched.map(|fetched| shared.publish(fetched));
        log::refresh_ended(&shared.issuer, result.as_ref().map(|&()| ()), shared.age());
        match result {
            Ok(()) => shared.desk().succeeded(),
            Err(error) => shared.desk().failed(error),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.desk().end();
        self.0.ended.send_modify(|ended| *ended = ended.wrapping_add(1));
    }
}

/// Rule 1, until the last handle is gone.
async fn refresh_ahead(shared: Arc<Shared>, mut dropped: watch::Receiver<()>) {
    loop {
        let wait = shared.next_refresh().saturating_sub(shared.clock.elapsed());
        tokio::select! {
            () = shared.clock.sleep(wait.max(FIRST_BACK_OFF)) => {}
            _ = dropped.changed() => return,
        }
        // Somebody else's attempt may have put it off.
        let due = shared.next_refresh() <= shared.clock.elapsed();
        if due && matches!(shared.admit(Wish::Renewal), Ok(true)) {
            Attempt(Arc::clone(&shared)).run().await;
        }
    }
}

/// A token waits here for the end of an attempt.
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    ended: watch::Receiver<u64>,
    patience: Pin<Box<dyn Future<Output = ()> + Send>>,
    key_id: Option<String>,
}

impl Waiting {
    /// Waits, and says what the key's absence means if it should still be absent afterwards.
    pub(crate) async fn wait(mut self) -> StillAbsent {
        let began = self.shared.clock.elapsed();
        let ended = tokio::select! {
            ended = self.ended.changed() => ended.is_ok(),
            () = self.patience => false,
        };
        log::waited(&self.shared.issuer, self.shared.clock.elapsed().saturating_sub(began));
        StillAbsent { shared: self.shared, ended, key_id: self.key_id }
    }
}

/// What to answer if the refresh did not bring the key.
pub(crate) struct StillAbsent {
    shared: Arc<Shared>,
    ended: bool,
    key_id: Option<String>,
}

impl StillAbsent {
    pub(crate) fn error(self) -> AuthError {
        let now = self.shared.clock.elapsed();
        let mut desk = self.shared.desk();
        if !self.ended || desk.is_failing() || self.shared.current.load().is_none() {
            return desk.unavailable(now);
        }
        if let Some(key_id) = &self.key_id {
            desk.remember_stranger(key_id, now);
        }
        Reason::UnknownKey.into()
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
