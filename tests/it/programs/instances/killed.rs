//! Kills both instances and the store's server at random moments, while clients send all kinds of requests.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use tokio::runtime::Handle;
use tower_oauth::keys::{Algorithm, PrivateKey};

use super::{
    load::{self, History, Random},
    program::{CLUSTER, Instance},
};
use crate::servers::{postgres, redis::RedisServer, redis_cluster::RedisCluster};

const WORKERS: u64 = 8;
const LOAD: Duration = Duration::from_secs(4);
/// Maximum duration, for slow machines.
const MAX_DURATION: Duration = Duration::from_secs(120);

/// Session 16 (design, refuses)
/// Threats T11, T19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_twice_or_lost_when_instances_on_one_redis_are_killed() {
    let Some(redis) = RedisServer::start("two instances on one Redis") else { return };
    survive("redis", redis).await;
}

/// Threats T11, T19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_twice_or_lost_when_instances_on_one_postgres_are_killed() {
    let Some(postgres) = postgres::Server::start() else { return };
    survive("postgres", postgres).await;
}

/// Session 16 (design, refuses)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_twice_or_lost_when_masters_of_a_cluster_are_killed() {
    let Some(cluster) = RedisCluster::start("two instances on one Redis Cluster") else { return };
    survive("cluster", cluster).await;
}

/// A store's server.
trait Server {
    fn url(&self) -> String;
    /// Kills the server and starts it again.
    fn crash(&mut self);
}

impl Server for RedisServer {
    fn url(&self) -> String {
        self.url()
    }

    fn crash(&mut self) {
        self.kill();
        self.restart();
    }
}

impl Server for postgres::Server {
    fn url(&self) -> String {
        self.url()
    }

    fn crash(&mut self) {
        self.kill();
        self.restart();
    }
}

impl Server for RedisCluster {
    fn url(&self) -> String {
        format!("{CLUSTER}{}", self.urls().join(","))
    }

    /// Kills a master, whose replica takes over, and starts it again as a replica.
    fn crash(&mut self) {
        let killed = self.kill_a_master();
        self.wait_for_promotion(killed);
        self.restart(killed);
    }
}

async fn survive(what: &str, mut server: impl Server) {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    println!("seed {seed}");
    let key = PrivateKey::generate(Algorithm::ES256).unwrap().expose_pkcs8_pem().unwrap();
    let url = server.url();
    let mut instances = [Instance::start(&url, &key, 0).await, Instance::start(&url, &key, 0).await];
    let bases = [0, 1].map(|index: usize| instances[index].base());
    let history = History::new();
    let done = AtomicBool::new(false);

    let kills = tokio::task::block_in_place(|| {
        std::thread::scope(|threads| {
            for worker in 0..WORKERS {
                let (bases, history, done) = (bases.clone(), &history, &done);
                let random = Random::new(seed + 1 + worker);
                threads.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(load::Worker::new(bases, history, random, format!("user {worker}")).run(done));
                });
            }
            let kills = kill_at_random(&mut instances, &mut server, (&url, &key), &history, Random::new(seed));
            done.store(true, Ordering::Relaxed);
            kills
        })
    });

    assert!(is_enough(&kills, &history), "{kills:?}, {:?}: too few events for this test", history.counts());
    let (active, inactive) = history.check(&bases).await;
    let counts = history.counts();
    println!(
        "{what}: {kills:?}; {counts:?}; {active} active tokens and {inactive} inactive ones at the end, as their clients expect"
    );
}

#[derive(Debug, Default)]
struct Kills {
    instances: u32,
    server: u32,
}

fn is_enough(kills: &Kills, history: &History) -> bool {
    kills.server >= 2 && kills.instances >= 5 && history.counts().are_many()
}

/// Kills a process at random moments and starts it again, until enough events of each kind have occurred.
fn kill_at_random(
    instances: &mut [Instance; 2],
    server: &mut impl Server,
    (url, key): (&str, &str),
    history: &History,
    mut random: Random,
) -> Kills {
    let (start, mut kills, runtime) = (Instant::now(), Kills::default(), Handle::current());
    while start.elapsed() < LOAD || (start.elapsed() < MAX_DURATION && !is_enough(&kills, history)) {
        // The load continues in the meantime.
        std::thread::sleep(Duration::from_millis(100 + random.below(300)));
        if random.below(4) == 0 {
            server.crash();
            kills.server += 1;
        } else {
            let victim = &mut instances[usize::from(random.below(2) == 0)];
            let port = victim.port();
            runtime.block_on(async {
                victim.kill().await;
                *victim = Instance::start(url, key, port).await;
            });
            kills.instances += 1;
        }
    }
    kills
}
