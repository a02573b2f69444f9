//! The checks at start-up.
//!
//! *In*: the settings of a store. *Out*: what is wrong with them or with the server, and what to change.
//!
//! No text contains the URL or a password.

use std::{error::Error, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisError, ServerErrorKind, Value, aio::ConnectionLike as _, cmd, io::tcp::TcpSettings,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::time::timeout;

use super::{super::StoreError, link::Link, script};
use crate::config_error::{ConfigError, ConfigMistake};

/// What the URLs are meant to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerKind {
    Server,
    Cluster,
}

pub(super) fn address(url: &str) -> Result<ConnectionInfo, ConfigMistake> {
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

/// Connects to one server, and checks that it is of the expected kind.
pub(super) async fn check_kind(info: &ConnectionInfo, kind: ServerKind, limit: Duration) -> Result<(), ConfigMistake> {
    let server = info.addr().to_string();
    let wrong = |error: RedisError| mistake(&error, &server, limit);
    let client = Client::open(info.clone()).map_err(wrong)?;
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(Some(limit));
    // Only for these checks: later connections are made without a start-up check.
    let mut once = client.get_multiplexed_async_connection_with_config(&config).await.map_err(wrong)?;
    let reply = once.req_packed_command(cmd("INFO").arg("cluster")).await;
    if let Err(error) = &reply
        && error.kind() == ErrorKind::Io
    {
        return Err(wrong(error.clone()));
    }
    let Some(info) = reply.ok().and_then(text) else { return Ok(()) };
    match (kind, field(&info, "cluster_enabled")) {
        (ServerKind::Server, Some("1")) => {
            Err(ConfigMistake::new(SETTING, format!("{server} is a node of a cluster"), USE_CLUSTER))
        }
        (ServerKind::Cluster, Some("0")) => {
            let change = "use RedisStore::builder, or name nodes of a cluster (cluster-enabled yes)";
            Err(ConfigMistake::new(SETTING, format!("{server} is a single server and no node of a cluster"), change))
        }
        (ServerKind::Server, None) if info.is_empty() => {
            Err(ConfigMistake::new(SETTING, format!("{server} has an unexpected reply to INFO"), NOT_REDIS))
        }
        _ => Ok(()),
    }
}

/// Loads all scripts into each master: a script that a server can't compile is reported now.
pub(super) async fn load_scripts(link: &Link, server: &str, limit: Duration) -> Result<(), ConfigError> {
    for script in script::all() {
        let command = cmd("SCRIPT").arg("LOAD").arg(script.text).to_owned();
        let replies = timeout(limit, link.ask_masters(command)).await.map_err(|_| silent(server, limit))?;
        for (address, reply) in replies.map_err(|error| mistake(&error, server, limit))? {
            let server = if address.is_empty() { server } else { &address };
            reply.extract_error().map_err(|error| mistake(&error, server, limit))?;
        }
    }
    Ok(())
}

/// Checks the eviction policy of each master. Some hosted servers don't allow `INFO`; then nothing can be checked.
pub(super) async fn check_eviction(link: &Link, limit: Duration) -> Result<(), ConfigError> {
    for (address, info) in infos(link, "memory", limit).await {
        match (field(&info, "maxmemory"), field(&info, "maxmemory_policy")) {
            (Some(most), Some(policy)) if most != "0" && policy != "noeviction" => {
                let found = format!(
                    "maxmemory-policy{}{address} is {policy}, which drops tokens and used codes when memory is full",
                    if address.is_empty() { "" } else { " of " }
                );
                let change = "set maxmemory-policy to noeviction, or use danger_accept_eviction";
                return Err(ConfigMistake::new(SETTING, found, change).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that each master has as many replicas as writes wait for.
pub(super) async fn check_replicas(link: &Link, server: &str, count: u32, limit: Duration) -> Result<(), ConfigError> {
    for (address, info) in infos(link, "replication", limit).await {
        let server = if address.is_empty() { server } else { &address };
        let connected = field(&info, "connected_slaves").and_then(|number| number.parse::<u32>().ok());
        if let Some(connected) = connected
            && connected < count
        {
            let found = format!("{server} has {connected} replicas, and each write would wait for {count}");
            let change = "connect the replicas, or lower the number";
            return Err(ConfigMistake::new("wait_for_replicas", found, change).into());
        }
    }
    Ok(())
}

/// Describes why a script failed.
pub(super) fn script_mistake(error: &StoreError, server: &str, limit: Duration) -> ConfigError {
    match error.source().and_then(|source| source.downcast_ref::<RedisError>()) {
        Some(error) => mistake(error, server, limit),
        None => ConfigMistake::new(SETTING, format!("{server} does not run the store's scripts: {error}"), NOT_REDIS),
    }
    .into()
}

fn silent(server: &str, limit: Duration) -> ConfigMistake {
    let found = format!("{server} did not reply within {limit:?}");
    ConfigMistake::new(SETTING, found, "check the server, or increase the timeout")
}

/// Returns a section of `INFO` of each master that allows it, with its address in a cluster.
async fn infos(link: &Link, section: &str, limit: Duration) -> Vec<(String, String)> {
    let replies = timeout(limit, link.ask_masters(cmd("INFO").arg(section).to_owned())).await;
    let replies = replies.ok().and_then(Result::ok).unwrap_or_default();
    replies.into_iter().filter_map(|(address, reply)| Some((address, text(reply)?))).collect()
}

/// Returns a text, but not the text of an error.
fn text(reply: Value) -> Option<String> {
    match reply {
        Value::VerbatimString { text, .. } => Some(text),
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::ServerError(_) => None,
        _ => Some(String::new()),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Describes why the first connection failed. The texts of the server contain no password.
pub(super) fn mistake(error: &RedisError, server: &str, timeout: Duration) -> ConfigMistake {
    let (found, change) = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => (
            format!("{server} does not accept the user and password"),
            "correct them in the URL, percent-encoded: redis://user:password@host",
        ),
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) | (_, Some("NOPERM")) => (
            format!("{server} does not allow the user what the store needs: {error}"),
            "allow the user the commands that the documentation of RedisStore lists, and the keys of the prefix",
        ),
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
            (format!("{server} is a read-only replica"), "name the primary")
        }
        (ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask), _) => {
            (format!("{server} is a node of a cluster, and another one has the slot: {error}"), USE_CLUSTER)
        }
        (ErrorKind::Io, _) if error.is_timeout() => {
            (format!("{server} did not reply within {timeout:?}"), "check the server, or increase the timeout")
        }
        (ErrorKind::Io, _) => (
            format!("{server} can't be reached: {error}"),
            "start Redis there or correct the URL; with TLS, the system or the file in SSL_CERT_FILE must trust its certificate \
             authority",
        ),
        (ErrorKind::Server(ServerErrorKind::ClusterDown) | ErrorKind::ClusterConnectionNotFound, _) => (
            format!("the cluster of {server} does not work: {error}"),
            "repair it: each slot needs a master that the others reach",
        ),
        (ErrorKind::Server(_) | ErrorKind::Extension, _) => (
            format!("{server} refuses commands: {error}"),
            "make it writable, and check the database number in the URL; a cluster has only database 0",
        ),
        _ => (format!("{server} does not reply like Redis: {error}"), NOT_REDIS),
    };
    ConfigMistake::new(SETTING, found, change)
}

pub(super) const SETTING: &str = "redis";
const NOT_REDIS: &str = "use Redis 6.2 or newer, or Valkey";
const USE_CLUSTER: &str = "use RedisStore::builder_from_cluster with the URLs of some of its nodes";
