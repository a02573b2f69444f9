//! What a failed command means.
//!
//! *In*: the error of the library. *Out*: whether the command was executed, whether it may succeed soon, and whether the
//! connection must be replaced.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::Node;

/// Returns the node to which a command must be sent, because its slot is being moved there.
pub(crate) fn asked(error: &RedisError) -> Option<Node> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    Some(Node { host: host.to_owned(), port: port.parse().ok()? })
}

/// True if the command was not executed, and that may change soon.
pub(crate) fn passes(error: &RedisError, is_cluster: bool) -> bool {
    match error.kind() {
        ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading => true,
            // A master of a cluster that has become a replica.
            ServerErrorKind::ReadOnly => is_cluster,
            _ => false,
        },
        _ => false,
    }
}

/// True if the connection needs no replacement: the library reconnects, or only this command was refused. The library
/// reconnects after a break, but keeps a silent connection, one to a former primary, and an attempt whose authentication
/// failed.
pub(crate) fn recovers(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io => !error.is_timeout(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => {
            false
        }
        ErrorKind::Server(_) | ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Extension => !matches!(error.code(), Some("NOAUTH" | "WRONGPASS")),
        _ => false,
    }
}
