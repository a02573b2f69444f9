//! The connection to Redis: looked at once at start-up, replaced when nothing comes of it.
//!
//! *In*: a URL. *Out*: answers in time, or an error in time. No text of an error shows the URL or a password.

use std::{fmt, sync::Arc, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisError, ScriptInvocation, ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    io::tcp::TcpSettings,
};
use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::{RedisStore, StoreError, unreadable};
use crate::config_error::{ConfigError, ConfigMistake};

/// Says the rest about a [`RedisStore`].
pub struct RedisStoreBuilder {
    url: String,
    prefix: String,
    timeout: Duration,
    eviction: Eviction,
}

enum Eviction {
    Refused,
    Accepted,
}

impl RedisStoreBuilder {
    pub(super) fn new(url: String) -> Self {
        Self { url, prefix: "tower-oauth".to_owned(), timeout: Duration::from_secs(2), eviction: Eviction::Refused }
    }

    /// What all keys begin with, in braces: `tower-oauth`. Instances of one issuer have the same one; another issuer on
    /// the same Redis must have another one.
    #[must_use]
    pub fn key_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// How long anybody waits for Redis, to connect and for each answer: 2 seconds. Then the request is answered with 503.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Takes a Redis whose `maxmemory-policy` is not `noeviction`. What is lost: when its memory is full it forgets what it likes,
    /// so issued tokens die early, and codes and refresh tokens that were used can be used once more.
    #[must_use]
    pub fn danger_accept_eviction(self) -> Self {
        Self { eviction: Eviction::Accepted, ..self }
    }

    /// Connects, and tries whether all that the store needs can be done. To be called in a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// A URL that is none of Redis', a prefix that is empty or has braces, no time at all; a server that can't be reached or does
    /// not answer in time, refuses the password, lacks a permission, is a replica or another node of a cluster, or throws
    /// out what it likes when its memory is full.
    pub async fn connect(self) -> Result<RedisStore, ConfigError> {
        let mut mistakes = Vec::new();
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            let change = "give a name of one letter or more, without braces";
            mistakes.push(ConfigMistake::new("key_prefix", format!("{:?}", self.prefix), change));
        }
        if self.timeout.is_zero() {
            mistakes.push(ConfigMistake::new("timeout", "there is no time", "give a millisecond or more"));
        }
        let info = address(&self.url).map_err(|mistake| mistakes.push(mistake)).ok();
        ConfigError::unless_empty(mistakes)?;
        let Some(info) = info else { return Err(not_a_url().into()) };
        let place = info.addr().to_string();
        let wrong = |error: RedisError| ConfigError::from(mistake(&error, &place, self.timeout));
        let client = Client::open(info).map_err(wrong)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let mut once = client.get_multiplexed_async_connection_with_config(&config).await.map_err(wrong)?;
        let connection = Connection::new(client, self.timeout).map_err(wrong)?;
        let store = RedisStore::new(connection, format!("{{{}}}:", self.prefix));
        store.trial().invoke_async::<Value>(&mut once).await.map_err(wrong)?;
        if let Eviction::Refused = self.eviction {
            check_eviction(&mut once).await?;
        }
        Ok(store)
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Needs what every operation needs, and leaves nothing but a key that is over already.
    fn trial(&self) -> ScriptInvocation<'_> {
        let mut call = self.call(|scripts| &scripts.insert_if_absent, 0);
        call.key(format!("{}trial", self.inner.prefix)).arg(0);
        call
    }
}

/// A connection that all share.
pub(super) struct Connection {
    client: Client,
    manager: ArcSwap<ConnectionManager>,
    timeout: Duration,
}

impl Connection {
    fn new(client: Client, timeout: Duration) -> Result<Self, RedisError> {
        let manager = ArcSwap::from_pointee(manager(&client, timeout)?);
        Ok(Self { client, manager, timeout })
    }

    /// The strings that a script answers.
    pub(super) async fn ask(&self, call: &ScriptInvocation<'_>) -> Result<Vec<Vec<u8>>, StoreError> {
        let used = self.manager.load_full();
        let mut manager = ConnectionManager::clone(&used);
        // As a value that we take apart: the library's errors about an answer of another form quote it.
        let answer = call.invoke_async::<Value>(&mut manager);
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => strings(answer).ok_or_else(unreadable),
            Ok(Err(error)) => {
                if !mends_itself(&error) {
                    self.replace(&used);
                }
                Err(StoreError::new("Redis did not do it").with_source(error))
            }
            Err(_) => {
                self.replace(&used);
                Err(StoreError::new("Redis did not answer in time"))
            }
        }
    }

    /// The next request gets a new one.
    fn replace(&self, used: &Arc<ConnectionManager>) {
        if let Ok(new) = manager(&self.client, self.timeout) {
            self.manager.compare_and_swap(used, Arc::new(new));
        }
    }
}

/// Whether the library makes a new connection of itself, or none is needed because only the question was refused. It makes
/// one where a connection breaks. It keeps one on which nobody answers any more, one that leads to what was the primary, and
/// for good an attempt that failed because the user was not let in.
fn mends_itself(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io => !error.is_timeout(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => {
            false
        }
        ErrorKind::Server(_) => true,
        ErrorKind::Extension => !matches!(error.code(), Some("NOAUTH" | "WRONGPASS")),
        _ => false,
    }
}

/// Connects when it is first used.
fn manager(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
        .set_number_of_retries(RETRIES)
        .set_min_delay(FIRST_DELAY);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn strings(answer: Value) -> Option<Vec<Vec<u8>>> {
    let Value::Array(parts) = answer else { return None };
    let string = |part| if let Value::BulkString(bytes) = part { Some(bytes) } else { None };
    parts.into_iter().map(string).collect()
}

fn address(url: &str) -> Result<ConnectionInfo, ConfigMistake> {
    let info = url.into_connection_info().map_err(|_| not_a_url())?;
    if let ConnectionAddr::TcpTls { insecure, .. } = info.addr() {
        if *insecure {
            let change = "leave it out, and name your authority's file in SSL_CERT_FILE";
            return Err(ConfigMistake::new(SETTING, "#insecure checks no certificate", change));
        }
        // rustls panics where a program has two providers, or none, and chose no default.
        if CryptoProvider::get_default().is_none() {
            // An error says that somebody else chose one in this moment.
            let _ = aws_lc_rs::default_provider().install_default();
        }
    }
    // By RESP3 the library notices at once that an idle connection was closed, and the next request finds a new one.
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    // Small questions, and somebody waits for each.
    Ok(info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn not_a_url() -> ConfigMistake {
    let change = "write redis://[[user]:password@]host[:port][/database], rediss:// for TLS, or redis+unix:///path, \
                  with the user and the password percent-encoded";
    ConfigMistake::new(SETTING, "the URL is not one of Redis'", change)
}

/// The words for what came of the first connection. What the server says holds no password.
fn mistake(error: &RedisError, place: &str, timeout: Duration) -> ConfigMistake {
    let (found, change) = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => (
            format!("{place} does not accept the user and password"),
            "give its own in the URL, percent-encoded: redis://user:password@host",
        ),
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) | (_, Some("NOPERM")) => (
            format!("{place} does not allow its user what the store needs: {error}"),
            "allow its user EVALSHA, SCRIPT LOAD and the data commands on {prefix}:*",
        ),
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
            (format!("{place} is a replica, which can't write"), "name the primary")
        }
        (ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask), _) => (
            format!("{place} is a node of a cluster, and another one has the slot: {error}"),
            "name the node that has the slot of {prefix}, or a proxy",
        ),
        (ErrorKind::Io, _) if error.is_timeout() => {
            (format!("{place} did not answer within {timeout:?}"), "look whether it hangs, or give more time")
        }
        (ErrorKind::Io, _) => (
            format!("{place} can't be reached: {error}"),
            "start Redis there or correct the URL; with TLS, its certificate must be of an authority that the system or the \
             file in SSL_CERT_FILE names",
        ),
        (ErrorKind::Server(_) | ErrorKind::Extension, _) => {
            (format!("{place} refuses: {error}"), "make it ready to write, in the database that the URL names")
        }
        _ => (format!("{place} does not answer as Redis does: {error}"), NOT_REDIS),
    };
    ConfigMistake::new(SETTING, found, change)
}

/// Where it may not be asked, as with some that are hosted, there is nothing to say.
async fn check_eviction(connection: &mut MultiplexedConnection) -> Result<(), ConfigError> {
    let info = match connection.req_packed_command(::redis::cmd("INFO").arg("memory")).await {
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Value::ServerError(_)) | Err(_) => return Ok(()),
        Ok(_) => return Err(ConfigMistake::new(SETTING, "INFO is answered as Redis does not", NOT_REDIS).into()),
    };
    let said = |name| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    match (said("maxmemory"), said("maxmemory_policy")) {
        (Some(most), Some(policy)) if most != "0" && policy != "noeviction" => {
            let found =
                format!("maxmemory-policy is {policy}, which forgets used codes and tokens when memory is full");
            let change = "set maxmemory-policy to noeviction; danger_accept_eviction takes it as it is";
            Err(ConfigMistake::new(SETTING, found, change).into())
        }
        _ => Ok(()),
    }
}

const SETTING: &str = "redis";
const NOT_REDIS: &str = "name a Redis of version 6.2 or newer, or a Valkey";
/// With these a request waits through a restart of a third of a second, and is not held up long by one that takes longer.
const RETRIES: usize = 3;
const FIRST_DELAY: Duration = Duration::from_millis(50);
