//! The store in Redis, with real servers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::redis::{AsyncCommands as _, aio::MultiplexedConnection, cmd};
use tokio::task::JoinSet;
use tower_oauth::{
    ConfigError,
    dpop::{RedisReplayStore, RedisReplayStoreBuilder, ReplayError, ReplayStore, Sighting},
    testing::replay_store_conformance,
};

use super::{NOW, key};
use crate::{
    log::Log,
    servers::{redis::RedisServer, redis_cluster::RedisCluster},
};

const SHORT_TIMEOUT: Duration = Duration::from_millis(300);

fn builder(url: impl Into<String>) -> RedisReplayStoreBuilder {
    RedisReplayStore::builder(url).timeout(SHORT_TIMEOUT)
}

async fn raw(url: &str) -> MultiplexedConnection {
    ::redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn insert(store: &RedisReplayStore, number: u64) -> Result<Sighting, ReplayError> {
    store.insert_if_absent(&key(number), NOW + 60, NOW).resolve().await
}

async fn fails_in_time(store: &RedisReplayStore, number: u64) -> ReplayError {
    let start = Instant::now();
    let error = insert(store, number).await.unwrap_err();
    assert!(start.elapsed() < 5 * SHORT_TIMEOUT, "{:?}: {error}", start.elapsed());
    error
}

/// Inserts new keys from this number on, until one is inserted.
async fn works_again(store: &RedisReplayStore, mut number: u64) {
    let start = Instant::now();
    while insert(store, number).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "the store does not work again");
        number += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(insert(store, number).await.unwrap(), Sighting::Before);
}

fn all_of(error: &ReplayError) -> String {
    format!("{error} {error:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_replay_store_in_redis_conforms_and_every_key_expires_a_minute_late() {
    let Some(server) = RedisServer::start("conformance of the replay store in Redis") else { return };
    replay_store_conformance(async || RedisReplayStore::connect(server.url()).await.unwrap()).await;
    let mut redis = raw(&server.url()).await;
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    assert!(keys.len() > 30, "{}", keys.len());
    for key in &keys {
        let hash = key.strip_prefix("tower-oauth-dpop:").unwrap();
        assert_eq!(hash.len(), 43, "{key}");
        let seconds = redis.pttl::<_, u64>(key).await.unwrap() / 1000;
        assert!((100..=360).contains(&seconds), "{key} has {seconds}");
        assert_eq!(redis.get::<_, String>(key).await.unwrap(), "1");
    }
    // Another prefix is another store. An expired proof is stored for the difference of the clocks.
    let other = RedisReplayStore::builder(server.url()).key_prefix("other").connect().await.unwrap();
    for (number, (expires_at, life)) in [(NOW - 10, 60), (NOW + 1, 61), (u64::MAX, 1 << 32)].into_iter().enumerate() {
        let inserted = other.insert_if_absent(&key(number as u64), expires_at, NOW).resolve().await.unwrap();
        assert_eq!(inserted, Sighting::First);
        let keys: Vec<String> = cmd("KEYS").arg("other:*").query_async(&mut redis).await.unwrap();
        let [key] = keys.as_slice() else { panic!("{keys:?}") };
        let found = redis.pttl::<_, u64>(key).await.unwrap().div_ceil(1000);
        assert!((life - 5..=life).contains(&found), "{found}, not {life}");
        redis.del::<_, ()>(key).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_insertions_at_two_instances_one_is_first() {
    let Some(server) = RedisServer::start("fifty insertions at two instances") else { return };
    let stores = [builder(server.url()).connect().await.unwrap(), builder(server.url()).connect().await.unwrap()];
    for round in 0..20 {
        let mut calls = JoinSet::new();
        for call in 0..50 {
            let store = stores[call % 2].clone();
            calls.spawn(async move { insert(&store, round).await.unwrap() });
        }
        let sightings = calls.join_all().await;
        assert_eq!(sightings.iter().filter(|sighting| **sighting == Sighting::First).count(), 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_replay_store_in_a_cluster_conforms_and_works_again_after_a_failover() {
    let Some(mut cluster) = RedisCluster::start("replay store in a cluster") else { return };
    let urls = cluster.urls();
    let connect = async || RedisReplayStore::builder_from_cluster(urls.clone()).connect().await.unwrap();
    replay_store_conformance(connect).await;
    let store = connect().await;
    cluster.kill_a_master();
    let (mut failures, start) = (0, Instant::now());
    // Each of these keys is on one of three masters: all work again when none of 30 fails.
    for round in 0_u64.. {
        let numbers = 1000 * round..1000 * round + 30;
        let mut failed = 0;
        for number in numbers {
            match insert(&store, number).await {
                Ok(sighting) => assert_eq!(sighting, Sighting::First),
                Err(_) => failed += 1,
            }
        }
        failures += failed;
        if failed == 0 && failures > 0 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{failures} failures");
    }
}

#[tokio::test]
async fn a_program_starts_while_redis_is_down_and_works_when_it_is_back() {
    let Some(mut server) = RedisServer::start("Redis is down at the start") else { return };
    server.kill();
    let log = Log::default();
    let store = log
        .capture(async {
            let store = builder(server.url().replace("redis://", "redis://:hunter2@")).connect().await.unwrap();
            for number in 0..5 {
                let error = all_of(&fails_in_time(&store, number).await);
                assert!(!error.contains("hunter2"), "{error}");
            }
            store
        })
        .await;
    assert!(!format!("{store:?}").contains("hunter2"));
    assert!(!log.text().contains("hunter2"), "{}", log.text());
    drop(store);

    let log = Log::default();
    let store = log.capture(async { builder(server.url()).connect().await.unwrap() }).await;
    fails_in_time(&store, 0).await;
    server.restart();
    log.capture(works_again(&store, 100)).await;
    let text = log.text();
    let of = |words: &str| text.lines().filter(|line| line.contains(words)).count();
    assert_eq!(of("ERROR tower_oauth: used DPoP proofs can't be recorded"), 1, "{text}");
    assert_eq!(of("INFO tower_oauth: used DPoP proofs can be recorded again"), 1, "{text}");
    assert_eq!((of("can't be reached"), of(r#"store="redis""#)), (1, 2), "{text}");
}

#[tokio::test]
async fn while_redis_is_down_or_hangs_insertions_fail_in_time_and_later_work_again() {
    let Some(mut server) = RedisServer::start("Redis is down, and hangs") else { return };
    let store = builder(server.url()).connect().await.unwrap();
    assert_eq!(insert(&store, 0).await.unwrap(), Sighting::First);
    for round in 1..3 {
        server.kill();
        for number in 0..3 {
            fails_in_time(&store, 1000 * round + number).await;
        }
        server.restart();
        works_again(&store, 1000 * round + 100).await;
        server.hang();
        for number in 200..203 {
            let error = fails_in_time(&store, 1000 * round + number).await;
            assert!(error.to_string().contains("did not reply in time"), "{error}");
        }
        server.resume();
        works_again(&store, 1000 * round + 300).await;
    }
    assert_eq!(insert(&store, 0).await.unwrap(), Sighting::Before, "the append-only file has it");
}

#[tokio::test]
async fn a_silent_connection_of_the_replay_store_is_replaced() {
    let Some(server) = RedisServer::start("a connection of the replay store that breaks in silence") else { return };
    let (url, silence) = server.proxy().await;
    let store = builder(url).connect().await.unwrap();
    assert_eq!(insert(&store, 0).await.unwrap(), Sighting::First);
    silence.send(()).unwrap();
    fails_in_time(&store, 1).await;
    assert_eq!(insert(&store, 2).await.unwrap(), Sighting::First);
    assert_eq!(insert(&store, 0).await.unwrap(), Sighting::Before);
}

/// The outcome of an insertion without a reply is unknown, so the same proof is never accepted later.
#[tokio::test]
async fn a_proof_that_was_inserted_too_late_is_known() {
    let Some(server) = RedisServer::start("Redis executes an insertion late") else { return };
    let store = builder(server.url()).connect().await.unwrap();
    insert(&store, 0).await.unwrap();
    server.hang();
    fails_in_time(&store, 1).await;
    server.resume();
    let start = Instant::now();
    while server.cli(&["dbsize"]).trim() != "2" {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    works_again(&store, 100).await;
    assert_eq!(insert(&store, 1).await.unwrap(), Sighting::Before);
}

#[tokio::test]
async fn a_redis_that_evicts_or_is_full_accepts_no_proof() {
    let Some(server) = RedisServer::start("eviction of used proofs") else { return };
    let set = |name: &str, value: &str| assert_eq!(server.cli(&["config", "set", name, value]).trim(), "OK");
    set("maxmemory", "100mb");
    set("maxmemory-policy", "volatile-ttl");
    let error = builder(server.url()).connect().await.unwrap_err().to_string();
    let words =
        "redis: maxmemory-policy is volatile-ttl, which drops used proofs when memory is full; set maxmemory-policy";
    assert!(error.contains(words), "{error}");
    let accepts = builder(server.url()).danger_accept_eviction().connect().await.unwrap();
    assert_eq!(insert(&accepts, 0).await.unwrap(), Sighting::First);

    set("maxmemory-policy", "noeviction");
    let store = builder(server.url()).connect().await.unwrap();
    assert_eq!(insert(&store, 1).await.unwrap(), Sighting::First);
    set("maxmemory", "1");
    let error = all_of(&fails_in_time(&store, 2).await);
    assert!(error.contains("OOM"), "{error}");
    set("maxmemory", "0");
    assert_eq!(insert(&store, 2).await.unwrap(), Sighting::First);
}

#[tokio::test]
async fn a_redis_that_was_down_at_the_start_and_evicts_accepts_no_proof_until_that_is_changed() {
    let settings = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(mut server) = RedisServer::start_with("eviction after the start", &settings) else { return };
    server.kill();
    let store = builder(server.url()).connect().await.unwrap();
    server.restart();
    let start = Instant::now();
    for number in 0.. {
        let error = fails_in_time(&store, number).await.to_string();
        if error.contains("maxmemory-policy is allkeys-lru, which drops used proofs") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{error}");
    }
    assert_eq!(server.cli(&["config", "set", "maxmemory-policy", "noeviction"]).trim(), "OK");
    assert_eq!(insert(&store, 1_000_000).await.unwrap(), Sighting::First);
}

#[tokio::test]
async fn mistakes_with_the_replay_store_are_reported_at_the_start_without_the_password() {
    let Some(server) = RedisServer::start_with("mistakes", &["--requirepass", "hunter2 ü/@"]) else { return };
    let node = RedisServer::start_with("mistakes", &["--cluster-enabled", "yes"]).unwrap();
    let locked = format!("127.0.0.1:{}", server.port());
    for (url, words) in [
        ("127.0.0.1:6379", "not a Redis URL"),
        ("https://user:hunter2@redis.test", "not a Redis URL"),
        ("rediss://:hunter2@127.0.0.1:1/#insecure", "SSL_CERT_FILE"),
        (&format!("redis://:hunter2@{locked}"), "does not accept the user and password"),
        (&format!("redis://{locked}"), "does not accept the user and password"),
        (&node.url(), "is a node of a cluster"),
    ] {
        let builder = builder(url);
        assert!(!format!("{builder:?}").contains("hunter2"));
        let error: ConfigError = builder.connect().await.map(drop).expect_err(url);
        assert!(error.to_string().starts_with("redis: ") && error.to_string().contains(words), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let error = RedisReplayStore::builder("redis:").key_prefix("a{b").timeout(Duration::ZERO).connect().await;
    let error = error.unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["key_prefix", "timeout", "redis"], "all at once");
    let error = RedisReplayStore::builder_from_cluster([""; 0]).connect().await.unwrap_err();
    assert!(error.to_string().contains("no node of the cluster is named"), "{error}");

    let store = builder(format!("redis://:hunter2%20%C3%BC%2F%40@{locked}/3")).connect().await.unwrap();
    assert_eq!(insert(&store, 1).await.unwrap(), Sighting::First);
    assert_eq!(format!("{store:?}"), r#"RedisReplayStore { prefix: "tower-oauth-dpop:", .. }"#);
}

#[tokio::test]
async fn a_user_with_the_documented_permission_is_enough_for_the_replay_store() {
    let Some(server) = RedisServer::start("a user with few permissions") else { return };
    server.cli(&["acl", "setuser", "api", "on", ">pw", "-@all", "~tower-oauth-dpop:*", "+set"]);
    let store = builder(format!("redis://api:pw@127.0.0.1:{}", server.port())).connect().await.unwrap();
    assert_eq!(insert(&store, 1).await.unwrap(), Sighting::First);
    assert_eq!(insert(&store, 1).await.unwrap(), Sighting::Before);
    server.cli(&["acl", "setuser", "api", "-set"]);
    let error = all_of(&fails_in_time(&store, 2).await);
    assert!(error.contains("no permissions"), "{error}");
    server.cli(&["acl", "setuser", "api", "+set"]);
    works_again(&store, 100).await;
}

/// With the clock of Redis an hour ahead of the instance's, a life by that clock would have ended before it began.
#[tokio::test]
async fn the_clock_of_redis_does_not_matter() {
    let Some(server) = RedisServer::start("another clock") else { return };
    let store = builder(server.url()).connect().await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (number, now) in [now - 3600, now + 3600, 1000].into_iter().enumerate() {
        for expected in [Sighting::First, Sighting::Before] {
            let inserted = store.insert_if_absent(&key(number as u64), now + 60, now).resolve().await.unwrap();
            assert_eq!(inserted, expected, "{now}");
        }
    }
}
