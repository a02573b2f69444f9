//! The connection to a server, or those to all nodes of a cluster.
//!
//! *In*: commands. *Out*: their replies. No command is sent twice: the library's own repetition is off, because it also repeats
//! commands that may have been executed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::redis::{
    Client, Cmd, Pipeline, RedisError, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, Slot, SlotAddr},
};
use arc_swap::ArcSwap;

/// What connections are made to.
#[derive(Clone)]
pub(crate) enum Target {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// The connection to a server, or those to all nodes of a cluster.
pub(crate) enum Link {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

/// A node of a cluster.
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A link that is replaced if it is silent or does not recover.
pub(crate) struct SharedLink {
    target: Target,
    link: ArcSwap<Link>,
    is_replacing: AtomicBool,
    timeout: Duration,
}

impl SharedLink {
    pub(crate) fn new(target: Target, timeout: Duration) -> Result<Arc<Self>, RedisError> {
        let link = ArcSwap::from_pointee(match &target {
            Target::Server(client) => server(client, timeout)?,
            Target::Cluster(client) => Link::Cluster(client.get_pending_async_connection_with_config(config(timeout))),
        });
        Ok(Arc::new(Self { target, link, is_replacing: AtomicBool::new(false), timeout }))
    }

    pub(crate) fn get(&self) -> Arc<Link> {
        self.link.load_full()
    }

    /// Replaces the link, unless another call has replaced it already. `probe` makes a command for a master that has the slot.
    pub(crate) fn replace(self: &Arc<Self>, used: &Arc<Link>, slot: u16, probe: impl FnOnce() -> Cmd) {
        match &self.target {
            Target::Server(client) => {
                if let Ok(new) = server(client, self.timeout) {
                    self.link.compare_and_swap(used, Arc::new(new));
                }
            }
            Target::Cluster(client) => {
                if !self.is_replacing.swap(true, Ordering::AcqRel) {
                    let probe = (probe(), slot);
                    let client = ClusterClient::clone(client);
                    tokio::spawn(Arc::clone(self).replace_cluster(client, Arc::clone(used), probe));
                }
            }
        }
    }

    /// Connects to a cluster again, while other calls use the old connections. The new ones are used only if the slot of the probe
    /// has a master that replies: without one, the library would stop all calls again and again to look for it.
    async fn replace_cluster(self: Arc<Self>, client: ClusterClient, used: Arc<Link>, (command, slot): (Cmd, u16)) {
        let config = config(self.timeout);
        let connect = async {
            let link = Link::Cluster(client.get_async_connection_with_config(config).await.ok()?);
            let refusal = link.command(command, slot).await.err();
            let has_master = refusal.is_none_or(|error| !error.is_cluster_error() && !error.is_io_error());
            has_master.then_some(link)
        };
        // Each of three steps ends in time.
        if let Ok(Some(link)) = tokio::time::timeout(self.timeout * 3, connect).await {
            self.link.compare_and_swap(&used, Arc::new(link));
        }
        self.is_replacing.store(false, Ordering::Release);
    }
}

/// Returns a connection that is opened when it is first used.
fn server(client: &Client, timeout: Duration) -> Result<Link, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(None)
        .set_number_of_retries(RETRIES)
        .set_min_delay(FIRST_DELAY);
    ConnectionManager::new_lazy_with_config(client.clone(), config).map(Link::Server)
}

fn config(timeout: Duration) -> ClusterConfig {
    // A write waits for its reply beyond its deadline.
    ClusterConfig::new().set_connection_timeout(timeout).set_response_timeout(timeout * 2 + LONGEST_DEADLINE)
}

impl Link {
    /// Sends a command to the master that has the slot.
    pub(crate) async fn command(&self, command: Cmd, slot: u16) -> Result<Value, RedisError> {
        match self {
            Self::Server(manager) => manager.clone().req_packed_command(&command).await,
            Self::Cluster(connection) => {
                connection.clone().route_command(command, RoutingInfo::SingleNode(master(slot))).await
            }
        }?
        .extract_error()
    }

    /// Sends several commands to this node, or to the master that has the slot.
    pub(crate) async fn pipeline(
        &self,
        pipeline: Pipeline,
        slot: u16,
        node: Option<&Node>,
    ) -> Result<Vec<Value>, RedisError> {
        let count = pipeline.len();
        match self {
            Self::Server(manager) => manager.clone().req_packed_commands(&pipeline, 0, count).await,
            Self::Cluster(connection) => {
                let to = match node {
                    Some(Node { host, port }) => SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port },
                    None => master(slot),
                };
                connection.clone().route_pipeline(pipeline, 0, count, to).await
            }
        }
    }

    /// Sends a command to each master of a cluster, or to the server. Returns the address of each with its reply.
    pub(crate) async fn ask_masters(&self, command: Cmd) -> Result<Vec<(String, Value)>, RedisError> {
        match self {
            Self::Server(manager) => Ok(vec![(String::new(), manager.clone().req_packed_command(&command).await?)]),
            Self::Cluster(connection) => {
                let every = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let Value::Map(replies) = connection.clone().route_command(command, every).await? else {
                    return Ok(Vec::new());
                };
                let address = |address| match address {
                    Value::BulkString(address) => String::from_utf8_lossy(&address).into_owned(),
                    _ => String::new(),
                };
                Ok(replies.into_iter().map(|(from, reply)| (address(from), reply)).collect())
            }
        }
    }
}

/// Reads go to masters too: a replica may lack what was just written.
fn master(slot: u16) -> SingleNodeRoutingInfo {
    match Slot::new(slot) {
        Some(slot) => SingleNodeRoutingInfo::SpecificNode(Route::with_slot(slot, SlotAddr::Master)),
        None => SingleNodeRoutingInfo::RandomPrimary,
    }
}

/// With these, a request succeeds if Redis restarts within a third of a second, and fails soon if that takes longer.
const RETRIES: usize = 3;
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// The deadline that the token endpoint sets.
const LONGEST_DEADLINE: Duration = Duration::from_secs(2);
