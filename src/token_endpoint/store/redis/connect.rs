//! The settings of the store in Redis.
//!
//! *In*: URLs and settings. *Out*: a store whose servers were checked, or every mistake.

use std::{fmt, time::Duration};

use ::redis::{Client, ConnectionInfo, RedisError};

use super::{
    RedisStore, checks,
    connection::{Connection, Replicas},
};
use crate::{
    config_error::{ConfigError, MistakeCollector},
    redis_link::{self, ServerKind, SharedLink, Target},
};

/// Builder for a [`RedisStore`]. [`connect`](Self::connect) reports every mistake in the settings at once.
#[must_use]
pub struct RedisStoreBuilder {
    kind: ServerKind,
    urls: Vec<String>,
    prefix: String,
    timeout: Duration,
    replicas: Option<Replicas>,
    eviction: Eviction,
}

enum Eviction {
    Refused,
    Accepted,
}

impl RedisStoreBuilder {
    pub(super) fn new(kind: ServerKind, urls: Vec<String>) -> Self {
        let (prefix, timeout) = ("tower-oauth".to_owned(), Duration::from_secs(2));
        Self { kind, urls, prefix, timeout, replicas: None, eviction: Eviction::Refused }
    }

    /// Prefix of all keys, followed by a colon. Instances of one issuer need the same prefix. Default: `tower-oauth`.
    pub fn key_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Maximum time for connecting, and for the reply to a read. A write that was sent waits for its reply until this long after
    /// its deadline, because an unknown outcome costs a user the session. After that, the request is refused with 503. Default:
    /// 2 seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Maximum time that each write waits for this number of replicas of its master to have it (`WAIT`). If fewer have it in
    /// time, the request is refused with 503, though the write may stay. Default: writes wait for no replica.
    ///
    /// The cost: one more message to a replica and back for each write. If a master has too few replicas, each write to it waits
    /// for this time, one after another, and fails. So choose a short time, such as 500 ms. [Durability](RedisStore#durability) says what it prevents.
    pub fn wait_for_replicas(self, count: u32, timeout: Duration) -> Self {
        Self { replicas: Some(Replicas { count, timeout }), ..self }
    }

    /// Accepts an eviction policy (`maxmemory-policy`) other than `noeviction`.
    ///
    /// What is lost: when its memory is full, Redis may drop valid tokens. It may also drop sessions and the records of used
    /// codes and assertions. An assertion can then be used once more.
    pub fn danger_accept_eviction(self) -> Self {
        Self { eviction: Eviction::Accepted, ..self }
    }

    /// Connects, and checks that each server runs the scripts of the store. Requires a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// Every mistake in the settings at once: an invalid URL, a prefix that is empty or has braces, a time or number of zero. Or
    /// the first problem of a server: it can't be reached, doesn't reply in time, refuses the password or a script, is a replica,
    /// is a node of a cluster though one server is expected, or the other way round, has too few replicas, or evicts keys when
    /// its memory is full.
    pub async fn connect(self) -> Result<RedisStore, ConfigError> {
        let infos = self.check_settings()?;
        let Some(first) = infos.first() else { return Err(redis_link::no_url().into()) };
        self.check_kinds(&infos).await?;
        let server = first.addr().to_string();
        let wrong = |error: RedisError| ConfigError::from(redis_link::mistake(&error, &server, self.timeout));
        let target = match self.kind {
            ServerKind::Server => Target::Server(Box::new(Client::open(first.clone()).map_err(wrong)?)),
            ServerKind::Cluster => Target::Cluster(Box::new(redis_link::cluster(infos.clone()).map_err(wrong)?)),
        };
        let link = SharedLink::new(target.clone(), self.timeout).map_err(wrong)?.get();
        checks::load_scripts(&link, &server, self.timeout).await?;
        let connection = Connection::new(&target, self.timeout, self.replicas).map_err(wrong)?;
        let store = RedisStore::new(connection, format!("{}:", self.prefix));
        if let Some(Replicas { count, .. }) = self.replicas {
            checks::check_replicas(&link, &server, count, self.timeout).await?;
        }
        for number in 0..if self.kind == ServerKind::Cluster { PROBES } else { 1 } {
            let probe = store.probe(number).await;
            probe.map_err(|error| checks::script_mistake(&error, &server, self.timeout))?;
        }
        if let Eviction::Refused = self.eviction {
            checks::check_eviction(&link, self.timeout).await?;
        }
        Ok(store)
    }

    fn check_settings(&self) -> Result<Vec<ConnectionInfo>, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            mistakes.add("key_prefix", format!("{:?}", self.prefix), "give at least one character, and no braces");
        }
        if self.timeout.is_zero() {
            mistakes.add("timeout", "0", "give a millisecond or more");
        }
        if self.replicas.is_some_and(|replicas| replicas.count == 0 || replicas.timeout.is_zero()) {
            mistakes.add("wait_for_replicas", "0", "give a replica or more, and a millisecond or more");
        }
        let infos: Vec<_> = self.urls.iter().filter_map(|url| mistakes.check(redis_link::address(url))).collect();
        mistakes.finish()?;
        Ok(infos)
    }

    /// Checks the server, or the nodes of a cluster: at least one must be reached, and none may be of the wrong kind.
    async fn check_kinds(&self, infos: &[ConnectionInfo]) -> Result<(), ConfigError> {
        let mut first_mistake = None;
        for info in infos {
            match redis_link::check_kind(info, self.kind, self.timeout).await {
                Ok(()) => return Ok(()),
                Err(problem) => first_mistake = first_mistake.or(Some(problem.mistake)),
            }
        }
        Err(first_mistake.unwrap_or_else(redis_link::no_url).into())
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// So many probes reach each of three masters but for once in 400 starts.
const PROBES: u8 = 16;
