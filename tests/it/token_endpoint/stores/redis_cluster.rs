//! The store in a Redis Cluster of real servers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tower_oauth::testing::{StoreRequests, store_conformance};
use tower_oauth::token_endpoint::{
    AddCode, Redeemed, RedisStore, RedisStoreBuilder, Refreshed, Store, TokenHash, Written,
};

use crate::servers::{redis::RedisServer, redis_cluster::RedisCluster};

fn builder(cluster: &RedisCluster, prefix: &str) -> RedisStoreBuilder {
    RedisStore::builder_from_cluster(cluster.urls()).key_prefix(prefix)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_a_cluster_conforms() {
    let Some(cluster) = RedisCluster::shared("conformance of the store in a cluster") else { return };
    Box::pin(store_conformance(async || builder(&cluster, "conforms").connect().await.unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_a_cluster_conforms_if_it_waits_for_replicas() {
    let Some(cluster) = RedisCluster::shared("conformance of the store with replicas") else { return };
    let open =
        async || builder(&cluster, "waits").wait_for_replicas(1, Duration::from_secs(5)).connect().await.unwrap();
    Box::pin(store_conformance(open)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_keys_of_3_000_sessions_spread_over_the_masters() {
    let Some(cluster) = RedisCluster::start("the spread of keys") else { return };
    let store = builder(&cluster, "spread").connect().await.unwrap();
    let mut tasks = JoinSet::new();
    for user in 0..30 {
        let store = store.clone();
        tasks.spawn(async move {
            let requests = StoreRequests::new("one client", &format!("user {user}"));
            for _ in 0..100 {
                start_session(&store, &requests).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let count = |server: &&_| RedisServer::cli(server, &["dbsize"]).trim().parse::<f64>().unwrap();
    let counts: Vec<_> = cluster.masters().iter().map(count).collect();
    let all: f64 = counts.iter().sum();
    println!("keys of the masters: {counts:?}");
    assert!(all > 9_000.0, "{counts:?}");
    assert!(counts.iter().all(|count| (0.20..0.47).contains(&(count / all))), "{counts:?}");
    let listed = store.list_sessions(&StoreRequests::new("one client", "user 7").list_by_client()).await.unwrap();
    assert_eq!(listed.len(), 1000, "a page of the client's sessions, from all masters");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_moved_slot_is_followed_while_it_moves_and_afterwards() {
    let Some(cluster) = RedisCluster::start("slots that move") else { return };
    let store = builder(&cluster, "moves").connect().await.unwrap();
    let requests = StoreRequests::new("a client", "a user");
    let mut sessions = Vec::new();
    for _ in 0..300 {
        sessions.push(start_session(&store, &requests).await.unwrap());
    }
    let has_moved = Arc::new(AtomicBool::new(false));
    let mover = {
        let has_moved = Arc::clone(&has_moved);
        tokio::task::spawn_blocking(move || {
            cluster.move_slots(2000);
            has_moved.store(true, Ordering::SeqCst);
            cluster
        })
    };
    let mut rounds = 0;
    loop {
        let ends = has_moved.load(Ordering::SeqCst);
        for session in &mut sessions {
            session.refresh(&store, &requests).await.unwrap();
        }
        rounds += 1;
        if ends && rounds > 1 {
            break;
        }
    }
    let cluster = mover.await.unwrap();
    // A new instance, which has never seen the old place.
    let other = builder(&cluster, "moves").connect().await.unwrap();
    for session in &mut sessions {
        session.refresh(&other, &requests).await.unwrap();
    }
}

/// Threat T44
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_wait_a_killed_master_loses_nothing_that_was_answered_and_nothing_is_good_twice() {
    let Some(mut cluster) = RedisCluster::start("a killed master") else { return };
    let store = builder(&cluster, "killed").wait_for_replicas(1, Duration::from_secs(1)).connect().await.unwrap();
    let (ends, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for user in 0..16 {
        let (store, ends, answered) = (store.clone(), Arc::clone(&ends), Arc::clone(&answered));
        tasks.spawn(async move {
            let requests = StoreRequests::new("a client", &format!("user {user}"));
            let mut sessions = Vec::new();
            while !ends.load(Ordering::SeqCst) {
                // A session without an answer is not counted.
                let Ok(mut session) = start_session(&store, &requests).await else { continue };
                for _ in 0..3 {
                    if session.refresh(&store, &requests).await.is_err() {
                        break;
                    }
                }
                sessions.push(session);
                answered.fetch_add(1, Ordering::SeqCst);
            }
            (requests, sessions)
        });
    }
    let enough = async |more| {
        let goal = answered.load(Ordering::SeqCst) + more;
        let start = Instant::now();
        while answered.load(Ordering::SeqCst) < goal {
            assert!(start.elapsed() < Duration::from_secs(60), "no sessions start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    enough(300).await;
    let killed = cluster.kill_a_master();
    let repaired = tokio::task::spawn_blocking(move || {
        cluster.wait_for_promotion(killed);
        // It becomes the replica of its successor, which executes no write without one.
        cluster.restart(killed);
        cluster
    });
    let cluster = repaired.await.unwrap();
    enough(300).await;
    ends.store(true, Ordering::SeqCst);
    let (mut total, mut unsure) = (0, 0);
    let store = builder(&cluster, "killed").connect().await.unwrap();
    for (requests, sessions) in tasks.join_all().await {
        let requests = requests.time(std::time::SystemTime::now().into());
        for mut session in sessions {
            total += 1;
            let listed = store.list_sessions(&requests.list_by_subject()).await.unwrap();
            assert!(listed.iter().any(|listed| listed.id == session.code.session()), "an answered session is listed");
            if session.is_unsure {
                unsure += 1;
            } else {
                session.refresh(&store, &requests).await.expect("an answered refresh token is good");
            }
            let again = store.redeem(&requests.redeem(&session.code)).await.unwrap();
            assert_eq!(again, Redeemed::Replayed, "no code is good twice");
        }
    }
    println!("{total} sessions, {unsure} of them with an unanswered refresh");
    assert!(total > 600);
}

/// Threat T44
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_replica_that_acknowledges_a_write_is_an_error() {
    let Some(cluster) = RedisCluster::start("replicas that stop") else { return };
    let store = builder(&cluster, "stop").wait_for_replicas(1, Duration::from_secs(1)).connect().await.unwrap();
    let requests = StoreRequests::new("a client", "a user");
    start_session(&store, &requests).await.unwrap();
    let masters: Vec<_> = cluster.masters().iter().map(|server| server.port()).collect();
    for replica in cluster.servers().iter().filter(|server| !masters.contains(&server.port())) {
        replica.hang();
    }
    let error = store.issue(&requests.issue()).await.unwrap_err();
    assert!(error.may_be_executed());
    assert_eq!(error.to_string(), "too few replicas of Redis have acknowledged a write in time");
}

/// A session, and what its client knows of it.
struct StartedSession {
    code: AddCode,
    token: TokenHash,
    /// Whether a refresh had no answer, so that the client does not know its refresh token.
    is_unsure: bool,
}

async fn start_session(store: &RedisStore, requests: &StoreRequests) -> Result<StartedSession, String> {
    let code = requests.add_code();
    let added = store.add_code(&code).await.map_err(|error| error.to_string())?;
    let redeem = requests.redeem(&code);
    let redeemed = store.redeem(&redeem).await.map_err(|error| error.to_string())?;
    match (added, redeemed) {
        (Written::Done, Redeemed::Done) => {
            Ok(StartedSession { code, token: redeem.refresh().unwrap().hash(), is_unsure: false })
        }
        other => Err(format!("{other:?}")),
    }
}

impl StartedSession {
    async fn refresh(&mut self, store: &RedisStore, requests: &StoreRequests) -> Result<(), String> {
        let refresh = requests.refresh(self.code.session(), self.token);
        let refreshed = store.refresh(&refresh).await;
        match refreshed {
            Ok(Refreshed::Done) => {
                self.token = refresh.successor().unwrap().hash();
                Ok(())
            }
            Ok(Refreshed::Late) => Err("late".to_owned()),
            Ok(other) => panic!("a good refresh token got {other:?}"),
            Err(error) => {
                self.is_unsure |= error.may_be_executed();
                Err(error.to_string())
            }
        }
    }
}
