//! The checks at start-up.
//!
//! *In*: the settings of a store. *Out*: what is wrong with them or with the server, and what to change.
//!
//! No text contains the URL or a password.

use std::time::Duration;

use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisError, ServerErrorKind, Value, aio::ConnectionLike as _, cluster::ClusterClient, cmd, io::tcp::TcpSettings,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::time::timeout;

use super::{Link, passes};
use crate::config_error::ConfigMistake;

/// What the URLs are meant to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerKind {
    Server,
    Cluster,
}

/// Why a server can't be used.
pub(crate) struct ServerProblem {
    pub(crate) mistake: ConfigMistake,
    /// True if it can't be reached now, and may be right later.
    pub(crate) is_down: bool,
}

impl From<ConfigMistake> for ServerProblem {
    fn from(mistake: ConfigMistake) -> Self {
        Self { mistake, is_down: false }
    }
}

/// Parses a URL.
pub(crate) fn address(url: &str) -> Result<ConnectionInfo, ConfigMistake> {
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
pub(crate) async fn check_kind(info: &ConnectionInfo, kind: ServerKind, limit: Duration) -> Result<(), ServerProblem> {
    let server = info.addr().to_string();
    let wrong = |error: RedisError| ServerProblem {
        is_down: error.kind() == ErrorKind::Io || passes(&error, false),
        mistake: mistake(&error, &server, limit),
    };
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
    let mistake = match (kind, field(&info, "cluster_enabled")) {
        (ServerKind::Server, Some("1")) => {
            ConfigMistake::new(SETTING, format!("{server} is a node of a cluster"), USE_CLUSTER)
        }
        (ServerKind::Cluster, Some("0")) => {
            let change = "use builder, or name nodes of a cluster (cluster-enabled yes)";
            ConfigMistake::new(SETTING, format!("{server} is a single server and no node of a cluster"), change)
        }
        (ServerKind::Server, None) if info.is_empty() => {
            ConfigMistake::new(SETTING, format!("{server} has an unexpected reply to INFO"), NOT_REDIS)
        }
        _ => return Ok(()),
    };
    Err(mistake.into())
}

/// Returns the eviction policy of a master that drops entries when its memory is full, in words. Some hosted servers don't allow
/// `INFO`; then nothing can be checked.
pub(crate) async fn eviction(link: &Link, limit: Duration) -> Option<String> {
    infos(link, "memory", limit).await.into_iter().find_map(|(address, info)| {
        let (most, policy) = (field(&info, "maxmemory")?, field(&info, "maxmemory_policy")?);
        let of = if address.is_empty() { "" } else { " of " };
        (most != "0" && policy != "noeviction").then(|| format!("maxmemory-policy{of}{address} is {policy}"))
    })
}

/// Returns a section of `INFO` of each master that allows it, with its address in a cluster.
pub(crate) async fn infos(link: &Link, section: &str, limit: Duration) -> Vec<(String, String)> {
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

pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Describes why the first connection failed. The texts of the server contain no password.
pub(crate) fn mistake(error: &RedisError, server: &str, timeout: Duration) -> ConfigMistake {
    let (found, change) = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => (
            format!("{server} does not accept the user and password"),
            "correct them in the URL, percent-encoded: redis://user:password@host",
        ),
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) | (_, Some("NOPERM")) => (
            format!("{server} does not allow the user what the store needs: {error}"),
            "allow the user the commands that the documentation of the store lists, and the keys of the prefix",
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

/// The library also repeats commands that may have been executed, so its repetition is off.
pub(crate) fn cluster(nodes: Vec<ConnectionInfo>) -> Result<ClusterClient, RedisError> {
    // A request waits for each small command.
    let tcp = TcpSettings::default().set_nodelay(true);
    ClusterClient::builder(nodes).retries(0).tcp_settings(tcp).build()
}

pub(crate) fn no_url() -> ConfigMistake {
    ConfigMistake::new(SETTING, "no node of the cluster is named", "name at least one")
}

pub(crate) const SETTING: &str = "redis";
pub(crate) const NOT_REDIS: &str = "use Redis 6.2 or newer, or Valkey";
const USE_CLUSTER: &str = "use builder_from_cluster with the URLs of some of its nodes";
