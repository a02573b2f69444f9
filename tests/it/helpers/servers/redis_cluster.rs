//! A Redis Cluster: three masters, each with a replica.

use std::{
    io,
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use super::{not_run, redis::RedisServer};

/// A running cluster. When this value is dropped, its servers stop.
pub(crate) struct RedisCluster {
    servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts a cluster for one test. If a program is not installed, reports that `what` did not run.
    pub(crate) fn start(what: &str) -> Option<Self> {
        let settings = [
            &["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"][..],
            &["--appendonly", "no", "--repl-diskless-sync-delay", "0"],
        ]
        .concat();
        let servers: Option<Vec<_>> = (0..6).map(|_| RedisServer::start_with(what, &settings)).collect();
        let servers = servers?;
        let addresses = servers.iter().map(|server| format!("127.0.0.1:{}", server.port()));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output();
        match made {
            Ok(made) => assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout)),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::NotFound, "redis-cli: {error}");
                not_run(what, "redis-cli is not installed (Debian: apt-get install redis-tools)");
                return None;
            }
        }
        let cluster = Self { servers };
        let is_ready = |server: &RedisServer| {
            let replicates = server.cli(&["info", "replication"]);
            // A replica that is connected but not online does not acknowledge writes yet.
            let replicates = replicates.contains("state=online") || replicates.contains("master_link_status:up");
            replicates && server.cli(&["cluster", "info"]).contains("cluster_state:ok")
        };
        wait_until("the cluster is ready", || cluster.servers.iter().all(is_ready));
        Some(cluster)
    }

    /// Returns a cluster for several tests at the same time, which use different prefixes and stop no server.
    pub(crate) fn shared(what: &str) -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<RedisCluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return Some(cluster);
        }
        let cluster = Arc::new(Self::start(what)?);
        *shared = Arc::downgrade(&cluster);
        Some(cluster)
    }

    /// The URLs of three servers, which may be masters or replicas.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().skip(2).take(3).map(RedisServer::url).collect()
    }

    pub(crate) fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    pub(crate) fn masters(&self) -> Vec<&RedisServer> {
        self.servers.iter().filter(|server| is_master(server)).collect()
    }

    /// Kills a master, and returns its place.
    pub(crate) fn kill_a_master(&mut self) -> usize {
        let place = self.servers.iter().position(is_master).unwrap();
        self.servers[place].kill();
        place
    }

    /// Waits until the others have three masters again.
    pub(crate) fn wait_for_promotion(&self, killed: usize) {
        let alive = || self.servers.iter().enumerate().filter(|(place, _)| *place != killed).map(|(_, server)| server);
        wait_until("a replica is promoted", || {
            alive().filter(|server| is_master(server)).count() == 3
                && alive().all(|server| server.cli(&["cluster", "info"]).contains("cluster_state:ok"))
        });
    }

    /// Starts a killed server again, and waits until it has the data of its master.
    pub(crate) fn restart(&mut self, killed: usize) {
        self.servers[killed].restart();
        wait_until("the server is a replica", || {
            self.servers[killed].cli(&["info", "replication"]).contains("master_link_status:up")
        });
    }

    /// Moves slots from a master to another one.
    pub(crate) fn move_slots(&self, number: u32) {
        let masters = self.masters();
        let ids: Vec<_> = masters.iter().map(|server| server.cli(&["cluster", "myid"]).trim().to_owned()).collect();
        let address = format!("127.0.0.1:{}", masters[0].port());
        let moved = Command::new("redis-cli")
            .args(["--cluster", "reshard", &address, "--cluster-from", &ids[0], "--cluster-to", &ids[1]])
            .args(["--cluster-slots", &number.to_string(), "--cluster-yes"])
            .output()
            .unwrap();
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
    }
}

fn is_master(server: &RedisServer) -> bool {
    server.cli(&["info", "replication"]).contains("role:master")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 seconds: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
