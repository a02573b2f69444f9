//! The connection to Redis: checked once at start-up, replaced when it fails.
//!
//! *In*: a URL. *Out*: a reply in time, or an error in time.
//!
//! No error text contains the URL or a password.

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
use crate::config_error::{ConfigError, ConfigMistake, MistakeCollector};

/// Builder for a [`RedisStore`]. [`connect`](Self::connect) reports every mistake in the settings at once.
#[must_use]
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

    /// Prefix of all keys, which the store puts in braces. Instances of one issuer need the same prefix; another issuer on
    /// the same Redis needs another one. Default: `tower-oauth`.
    pub fn key_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Maximum time for connecting, and for each reply. After that, the request is refused with 503. Default: 2 seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Accepts an eviction policy (`maxmemory-policy`) other than `noeviction`.
    ///
    /// What is lost: when its memory is full, Redis may drop valid tokens. It may also drop the records of used codes and
    /// refresh tokens, which can then be used once more.
    pub fn danger_accept_eviction(self) -> Self {
        Self { eviction: Eviction::Accepted, ..self }
    }

    /// Connects, and checks that the server runs a script of the store that reads and writes. Requires a tokio runtime with I/O
    /// and time.
    ///
    /// # Errors
    /// Every mistake in the settings at once: an invalid URL, a prefix that is empty or has braces, a timeout of zero. Or the
    /// first problem of the server: it can't be reached, doesn't reply in time, refuses the password or the script, is a
    /// replica or another node of a cluster, or evicts keys when its memory is full.
    pub async fn connect(self) -> Result<RedisStore, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            mistakes.add("key_prefix", format!("{:?}", self.prefix), "give at least one character, and no braces");
        }
        if self.timeout.is_zero() {
            mistakes.add("timeout", "0", "give a millisecond or more");
        }
        let info = mistakes.check(address(&self.url));
        mistakes.finish()?;
        let Some(info) = info else { return Err(not_a_url().into()) };
        let server = info.addr().to_string();
        let wrong = |error: RedisError| ConfigError::from(mistake(&error, &server, self.timeout));
        let client = Client::open(info).map_err(wrong)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        // Only for these checks: later connections are made without a start-up check.
        let mut once = client.get_multiplexed_async_connection_with_config(&config).await.map_err(wrong)?;
        let connection = Connection::new(client, self.timeout).map_err(wrong)?;
        let store = RedisStore::new(connection, format!("{{{}}}:", self.prefix));
        store.probe().invoke_async::<Value>(&mut once).await.map_err(wrong)?;
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
    /// Prepares a script that reads and writes one key. The key has expired already, and Redis deletes it after five minutes.
    fn probe(&self) -> ScriptInvocation<'_> {
        let mut call = self.call(|scripts| &scripts.insert_if_absent, 0);
        call.key(format!("{}trial", self.inner.prefix)).arg(0);
        call
    }
}

/// The connection that all clones share.
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

    /// Runs a script, and returns the strings of its reply.
    pub(super) async fn run(&self, call: &ScriptInvocation<'_>) -> Result<Vec<Vec<u8>>, StoreError> {
        let used = self.manager.load_full();
        let mut manager = ConnectionManager::clone(&used);
        // Read as a plain value: the library's conversion errors quote the reply.
        let reply = call.invoke_async::<Value>(&mut manager);
        match tokio::time::timeout(self.timeout, reply).await {
            Ok(Ok(reply)) => strings(reply).ok_or_else(unreadable),
            Ok(Err(error)) => {
                if !recovers(&error) {
                    self.replace(&used);
                }
                Err(StoreError::new("Redis failed").with_source(error))
            }
            Err(_) => {
                self.replace(&used);
                Err(StoreError::new("Redis did not reply in time"))
            }
        }
    }

    /// Replaces the connection, unless another request has replaced it already.
    fn replace(&self, used: &Arc<ConnectionManager>) {
        if let Ok(new) = manager(&self.client, self.timeout) {
            self.manager.compare_and_swap(used, Arc::new(new));
        }
    }
}

/// True if the connection needs no replacement: the library reconnects, or only this command was refused. The library
/// reconnects after a break, but keeps a silent connection, one to a former primary, and an attempt whose authentication
/// failed.
fn recovers(error: &RedisError) -> bool {
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

/// Returns a connection that is opened when it is first used.
fn manager(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
        .set_number_of_retries(RETRIES)
        .set_min_delay(FIRST_DELAY);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn strings(reply: Value) -> Option<Vec<Vec<u8>>> {
    let Value::Array(parts) = reply else { return None };
    let string = |part| if let Value::BulkString(bytes) = part { Some(bytes) } else { None };
    parts.into_iter().map(string).collect()
}

fn address(url: &str) -> Result<ConnectionInfo, ConfigMistake> {
    let info = url.into_connection_info().map_err(|_| not_a_url())?;
    if let ConnectionAddr::TcpTls { insecure, .. } = info.addr() {
        if *insecure {
            let change = "remove #insecure, and name the file of your certificate authority in SSL_CERT_FILE";
            return Err(ConfigMistake::new(SETTING, "#insecure disables the check of the certificate", change));
        }
        // rustls panics if a program has several providers, or none, and no default.
        if CryptoProvider::get_default().is_none() {
            // An error means that another thread has just set a default.
            let _ = aws_lc_rs::default_provider().install_default();
        }
    }
    // With RESP3 the library notices at once that an idle connection was closed, so the next request gets a new one.
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    // A request waits for each small command.
    Ok(info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn not_a_url() -> ConfigMistake {
    let change = "write redis://[[user]:password@]host[:port][/database], rediss:// for TLS, or redis+unix:///path, \
                  with the user and the password percent-encoded";
    ConfigMistake::new(SETTING, "this is not a Redis URL", change)
}

/// Describes why the first connection failed. The texts of the server contain no password.
fn mistake(error: &RedisError, server: &str, timeout: Duration) -> ConfigMistake {
    let (found, change) = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => (
            format!("{server} does not accept the user and password"),
            "correct them in the URL, percent-encoded: redis://user:password@host",
        ),
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) | (_, Some("NOPERM")) => (
            format!("{server} does not allow the user what the store needs: {error}"),
            "allow the user EVALSHA, SCRIPT LOAD and the data commands on {prefix}:*",
        ),
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
            (format!("{server} is a read-only replica"), "name the primary")
        }
        (ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask), _) => (
            format!("{server} is a node of a cluster, and another one has the slot: {error}"),
            "name the node that has the slot of {prefix}, or a proxy",
        ),
        (ErrorKind::Io, _) if error.is_timeout() => {
            (format!("{server} did not reply within {timeout:?}"), "check the server, or increase the timeout")
        }
        (ErrorKind::Io, _) => (
            format!("{server} can't be reached: {error}"),
            "start Redis there or correct the URL; with TLS, the system or the file in SSL_CERT_FILE must trust its certificate \
             authority",
        ),
        (ErrorKind::Server(_) | ErrorKind::Extension, _) => (
            format!("{server} refuses commands: {error}"),
            "make it writable, and check the database number in the URL",
        ),
        _ => (format!("{server} does not reply like Redis: {error}"), NOT_REDIS),
    };
    ConfigMistake::new(SETTING, found, change)
}

/// Checks the eviction policy. Some hosted servers don't allow `INFO`; then nothing can be checked.
async fn check_eviction(connection: &mut MultiplexedConnection) -> Result<(), ConfigError> {
    let info = match connection.req_packed_command(::redis::cmd("INFO").arg("memory")).await {
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Value::ServerError(_)) | Err(_) => return Ok(()),
        Ok(_) => return Err(ConfigMistake::new(SETTING, "INFO has an unexpected reply", NOT_REDIS).into()),
    };
    let field = |name| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    match (field("maxmemory"), field("maxmemory_policy")) {
        (Some(most), Some(policy)) if most != "0" && policy != "noeviction" => {
            let found = format!("maxmemory-policy is {policy}, which drops tokens and used codes when memory is full");
            let change = "set maxmemory-policy to noeviction, or use danger_accept_eviction";
            Err(ConfigMistake::new(SETTING, found, change).into())
        }
        _ => Ok(()),
    }
}

const SETTING: &str = "redis";
const NOT_REDIS: &str = "use Redis 6.2 or newer, or Valkey";
/// With these, a request succeeds if Redis restarts within a third of a second, and fails soon if that takes longer.
const RETRIES: usize = 3;
const FIRST_DELAY: Duration = Duration::from_millis(50);
