//! Used proofs in Redis: for several instances of an API.
//!
//! *In*: the keys of proofs. *Out*: `SET … NX PX`, one round trip for each.
//!
//! An insertion whose outcome is unknown is an error: it is never sent again, because it would find its own key.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ::redis::{Client, Cmd, ConnectionInfo, Pipeline, RedisError, Value, cmd};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::time::{sleep, timeout_at};

use super::{Insertion, ReplayError, ReplayKey, ReplayStore, Sighting};
use crate::{
    clock::{Moment, SystemClock},
    config_error::{ConfigError, ConfigMistake, MistakeCollector},
    log::{self, Outage},
    redis_link::{self, Link, ServerKind, SharedLink, Target},
};

/// The used proofs of several instances of an API, in Redis (6.2 or newer) or Valkey: one server, or a cluster (feature
/// `redis-replay`). Instances with the same prefix share them. Clones share a connection.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_oauth::dpop::RedisReplayStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisReplayStore::builder("rediss://api:its%20password@redis.internal:6379/0")
///     .key_prefix("orders-api-dpop")
///     .timeout(Duration::from_millis(500))
///     .connect()
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
///
/// # If Redis fails
/// While Redis can't be reached, does not reply in time or refuses the command, requests with a proof are refused with 503. They
/// are accepted again as soon as it is back, without a restart, also if it was down when the program started. The beginning and
/// the end of an outage are logged, and failures are counted (`tower_oauth_replay_store_errors_total`).
///
/// What Redis loses can be replayed until the proof expires: at most 91 seconds with the default settings, 5 minutes with nonces.
/// A restart without an append-only file loses everything. A crash of the machine with `appendfsync everysec`, and a replica that
/// takes over, lose the last second or so.
///
/// `maxmemory-policy` must be `noeviction`; otherwise Redis drops used proofs when its memory is full, and they are accepted again.
/// The store refuses any other policy if `maxmemory` is set and `INFO` is allowed: at the start, or, if Redis is down then, with
/// 503 when it is back.
///
/// # Stored data
/// A key is `prefix:` and the hash of a proof. Its value is `1`. Redis deletes it a minute after the proof has expired, so the
/// clocks of the instances may differ by up to a minute, and the clock of Redis may be any; but if it is set forward by more than
/// that, or a replica takes over whose clock is that far ahead, used proofs are deleted early. 100 000 proofs need about 10 MB.
///
/// The user of an ACL needs `~prefix:* +set`. It should have `+info`. In a cluster, it also needs `+cluster|slots +asking`.
#[derive(Clone)]
pub struct RedisReplayStore {
    inner: Arc<ReplayState>,
}

struct ReplayState {
    link: Arc<SharedLink>,
    /// The beginning of all keys.
    prefix: String,
    timeout: Duration,
    /// True if the eviction policy was found to be right, or can't be found out, or does not matter.
    is_checked: AtomicBool,
    outage: Outage,
}

impl RedisReplayStore {
    /// Connects to a server with the default settings. It may be down: see
    /// [`RedisReplayStoreBuilder::connect`](RedisReplayStoreBuilder::connect), which also has the errors.
    #[expect(clippy::missing_errors_doc, reason = "they are those of the builder")]
    pub async fn connect(url: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for a store at this URL: `redis://[[user]:password@]host[:port][/database]`, `rediss://…` for TLS, or
    /// `redis+unix:///path[?db=database&user=user&pass=password]`. In user and password, percent-encode everything
    /// but letters and digits.
    ///
    /// With TLS, the server's certificate is checked against the certificate authorities of the system, or those of the file
    /// that the environment variable `SSL_CERT_FILE` names. If the process has set no crypto provider for rustls, aws-lc
    /// becomes its default.
    pub fn builder(url: impl Into<String>) -> RedisReplayStoreBuilder {
        RedisReplayStoreBuilder::new(ServerKind::Server, vec![url.into()])
    }

    /// Returns a builder for a store in a Redis Cluster. The URLs are as for [`builder`](Self::builder), with the same user and
    /// password. They name some of the nodes, which name all others.
    ///
    /// If a master stops, requests whose proof belongs to it are refused with 503 until its replica is promoted.
    pub fn builder_from_cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> RedisReplayStoreBuilder {
        RedisReplayStoreBuilder::new(ServerKind::Cluster, urls.into_iter().map(Into::into).collect())
    }
}

impl ReplayStore for RedisReplayStore {
    fn insert_if_absent(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Insertion {
        let state = Arc::clone(&self.inner);
        let key = format!("{}{}", state.prefix, URL_SAFE_NO_PAD.encode(key.as_bytes()));
        // A life and not a time: the clock of Redis may be another one.
        let life = expires_at.saturating_sub(now).saturating_add(DIFFERENCE_OF_CLOCKS).min(LONGEST_LIFE);
        Insertion::later(async move {
            let result = state.insert(&key, life).await;
            match &result {
                Ok(_) => state.succeeded(),
                Err(error) => state.failed(error),
            }
            result
        })
    }
}

impl fmt::Debug for RedisReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayStore").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}

impl ReplayState {
    async fn insert(&self, key: &str, life: u64) -> Result<Sighting, ReplayError> {
        let command = cmd("SET").arg(key).arg("1").arg("NX").arg("PX").arg(life * 1000).to_owned();
        let link = self.link.get();
        let end = Instant::now() + self.timeout;
        let Ok(reply) = timeout_at(end.into(), self.send(&link, &command, key, end)).await else {
            // Later insertions get a new connection.
            self.replace(&link, key);
            return Err(ReplayError::new("Redis did not reply in time"));
        };
        match reply? {
            Value::Okay => Ok(Sighting::First),
            Value::Nil => Ok(Sighting::Before),
            _ => Err(ReplayError::new("Redis has an unexpected reply to SET")),
        }
    }

    /// Sends the command, again only while a server says that it did not execute it.
    async fn send(&self, link: &Arc<Link>, command: &Cmd, key: &str, end: Instant) -> Result<Value, ReplayError> {
        let slot = redis_link::slot(key);
        self.check_eviction(link).await?;
        let (mut pause, mut node) = (FIRST_PAUSE, None);
        loop {
            let reply = match node.take() {
                None => link.command(command.clone(), slot).await,
                Some(node) => {
                    let mut pipeline = Pipeline::new();
                    pipeline.add_command(cmd("ASKING")).add_command(command.clone());
                    let replies = link.pipeline(pipeline, slot, Some(&node)).await;
                    replies.and_then(|mut replies| replies.pop().unwrap_or(Value::Nil).extract_error())
                }
            };
            let error = match reply {
                Ok(value) => {
                    self.is_checked.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => error,
            };
            if !redis_link::recovers(&error) {
                self.replace(link, key);
            }
            node = redis_link::asked(&error);
            if node.is_none() {
                let passes = redis_link::passes(&error, matches!(**link, Link::Cluster(_)));
                if !passes || Instant::now() + pause >= end {
                    // The texts of the server and of the library contain no password.
                    return Err(ReplayError::new("Redis failed").with_source(error));
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn replace(&self, link: &Arc<Link>, key: &str) {
        // A new connection to a cluster is checked with this command.
        self.link.replace(link, redis_link::slot(key), || cmd("EXISTS").arg(key).to_owned());
    }

    /// Checks the eviction policy before the first insertion, if it could not be checked at the start.
    async fn check_eviction(&self, link: &Link) -> Result<(), ReplayError> {
        if self.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        match redis_link::eviction(link, self.timeout).await {
            Some(found) => Err(ReplayError::new(format!("{found}, which drops used proofs when memory is full"))),
            None => Ok(()),
        }
    }

    fn failed(&self, error: &ReplayError) {
        log::replay_store_failed("redis", error, self.outage.failed(&now()));
    }

    fn succeeded(&self) {
        if self.outage.is_failing() && self.outage.succeeded(&now()).is_some() {
            log::replay_store_works_again("redis");
        }
    }
}

/// Builder for a [`RedisReplayStore`]. [`connect`](Self::connect) reports every mistake in the settings at once.
#[must_use]
pub struct RedisReplayStoreBuilder {
    kind: ServerKind,
    urls: Vec<String>,
    prefix: String,
    timeout: Duration,
    accepts_eviction: bool,
}

impl RedisReplayStoreBuilder {
    fn new(kind: ServerKind, urls: Vec<String>) -> Self {
        let (prefix, timeout) = ("tower-oauth-dpop".to_owned(), Duration::from_secs(1));
        Self { kind, urls, prefix, timeout, accepts_eviction: false }
    }

    /// Prefix of all keys, followed by a colon. The instances of an API need the same prefix. APIs that share a Redis may have the
    /// same one too. Default: `tower-oauth-dpop`.
    pub fn key_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Maximum time that a request waits for Redis, connecting included. After that, the request is refused with 503. Default:
    /// 1 second.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Accepts an eviction policy (`maxmemory-policy`) other than `noeviction`.
    ///
    /// What is lost: when its memory is full, Redis may drop used proofs that have not expired. They can then be used once more.
    pub fn danger_accept_eviction(self) -> Self {
        Self { accepts_eviction: true, ..self }
    }

    /// Connects, and checks the server. If it is down, that is logged and is no error: requests are refused with 503 until it is
    /// back. Requires a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// Every mistake in the settings at once: an invalid URL, a prefix that is empty or has braces, a timeout of zero or of more than
    /// a minute. Or the first
    /// problem of a server that can be reached: it refuses the password, is a node of a cluster though one server is
    /// expected, or the other way round, or evicts keys when its memory is full.
    pub async fn connect(self) -> Result<RedisReplayStore, ConfigError> {
        let infos = self.check_settings()?;
        let Some(first) = infos.first() else { return Err(redis_link::no_url().into()) };
        let server = first.addr().to_string();
        let wrong = |error: RedisError| ConfigError::from(redis_link::mistake(&error, &server, self.timeout));
        let target = match self.kind {
            ServerKind::Server => Target::Server(Box::new(Client::open(first.clone()).map_err(wrong)?)),
            ServerKind::Cluster => Target::Cluster(Box::new(redis_link::cluster(infos.clone()).map_err(wrong)?)),
        };
        let link = SharedLink::new(target, self.timeout).map_err(wrong)?;
        let state = ReplayState {
            link: Arc::clone(&link),
            prefix: format!("{}:", self.prefix),
            timeout: self.timeout,
            is_checked: AtomicBool::new(self.accepts_eviction),
            outage: Outage::default(),
        };
        if let Some(down) = self.reach(&infos).await? {
            state.failed(&ReplayError::new(down.to_string()));
        } else {
            let evicts =
                |error: ReplayError| ConfigMistake::new(redis_link::SETTING, error.to_string(), USE_NO_EVICTION);
            state.check_eviction(&link.get()).await.map_err(evicts)?;
            state.is_checked.store(true, Ordering::Relaxed);
        }
        Ok(RedisReplayStore { inner: Arc::new(state) })
    }

    fn check_settings(&self) -> Result<Vec<ConnectionInfo>, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            mistakes.add("key_prefix", format!("{:?}", self.prefix), "give at least one character, and no braces");
        }
        if self.timeout.is_zero() || self.timeout > LONGEST_TIMEOUT {
            mistakes.add("timeout", format!("{:?}", self.timeout), "give a time from 1 ms to 60 s");
        }
        let infos: Vec<_> = self.urls.iter().filter_map(|url| mistakes.check(redis_link::address(url))).collect();
        mistakes.finish()?;
        Ok(infos)
    }

    /// Checks the server, or one of the nodes of a cluster. Returns why none can be reached now.
    async fn reach(&self, infos: &[ConnectionInfo]) -> Result<Option<ConfigMistake>, ConfigError> {
        let mut down = None;
        for info in infos {
            match redis_link::check_kind(info, self.kind, self.timeout).await {
                Ok(()) => return Ok(None),
                Err(problem) if problem.is_down => down = down.or(Some(problem.mistake)),
                Err(problem) => return Err(problem.mistake.into()),
            }
        }
        Ok(down)
    }
}

impl fmt::Debug for RedisReplayStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayStoreBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn now() -> Moment {
    Moment::now(&SystemClock::new())
}

const USE_NO_EVICTION: &str = "set maxmemory-policy to noeviction, or use danger_accept_eviction";
/// Seconds by which the clocks of two instances may differ.
const DIFFERENCE_OF_CLOCKS: u64 = 60;
/// In seconds. Redis refuses a life that does not fit into its clock.
const LONGEST_LIFE: u64 = 1 << 32;
/// Between two attempts of an insertion that was not executed.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
