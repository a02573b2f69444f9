//! The store in Redis, with a real server.

use std::{
    cell::{Cell, RefCell},
    fs,
    time::{Duration, Instant},
};

use ::redis::{AsyncCommands as _, aio::MultiplexedConnection, cmd};
use tokio::task::JoinSet;
use tower_oauth::testing::{StoreRequests, store_conformance};
use tower_oauth::token_endpoint::{Issued, Redeemed, RedisStore, Refreshed, Store, StoreError, Written};

use super::super::{
    OPAQUE, World,
    resource_server::accepts_every_token,
    stores::on_servers::{issue_all_secrets, works_again, world},
    usual,
};
use crate::servers::redis::RedisServer;

pub(crate) async fn connect(url: impl Into<String>) -> RedisStore {
    RedisStore::builder(url).connect().await.unwrap()
}

/// A store with a short timeout.
async fn with_short_timeout(url: impl Into<String>) -> RedisStore {
    RedisStore::builder(url).timeout(SHORT_TIMEOUT).connect().await.unwrap()
}

pub(crate) async fn raw(url: &str) -> MultiplexedConnection {
    ::redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn keys(redis: &mut MultiplexedConnection) -> Vec<Vec<u8>> {
    cmd("KEYS").arg("*").query_async(redis).await.unwrap()
}

async fn is_unavailable_in_time(world: &World) {
    let start = Instant::now();
    world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    assert!(start.elapsed() < 10 * SHORT_TIMEOUT, "503 took {:?}", start.elapsed());
}

/// Threats T11, T19
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_redis_conforms_and_every_key_expires() {
    let Some(server) = RedisServer::start("conformance of the store in Redis") else { return };
    Box::pin(store_conformance(async || connect(server.url()).await)).await;
    let mut redis = raw(&server.url()).await;
    let keys = keys(&mut redis).await;
    assert!(keys.len() > 40, "{}", keys.len());
    for key in keys {
        assert!(key.starts_with(b"tower-oauth:{"), "{key:?}");
        let milliseconds: i64 = redis.pttl(&key).await.unwrap();
        assert!(milliseconds > 100_000, "{key:?} has {milliseconds}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn issued_tokens_survive_a_kill_of_redis() {
    let Some(server) = RedisServer::start("Redis is killed and restarted") else { return };
    let (server, opened) = (RefCell::new(server), Cell::new(0));
    Box::pin(store_conformance(async || {
        opened.set(opened.get() + 1);
        // Before the conformance tests read the entries again.
        if opened.get() == 3 {
            server.borrow_mut().kill();
            server.borrow_mut().restart();
        }
        let url = server.borrow().url();
        connect(url).await
    }))
    .await;
    assert_eq!(opened.get(), 3);
}

/// Threat T8
#[tokio::test]
async fn no_code_token_or_secret_is_readable_in_redis() {
    let Some(server) = RedisServer::start("search for secrets in Redis") else { return };
    let world = world(connect(server.url()).await);
    let secrets = issue_all_secrets(&world).await;

    let mut written = Vec::new();
    for file in fs::read_dir(server.folder().join("appendonlydir")).unwrap() {
        written.extend(fs::read(file.unwrap().path()).unwrap());
    }
    let mut redis = raw(&server.url()).await;
    for key in keys(&mut redis).await {
        written.extend(cmd("DUMP").arg(&key).query_async::<Vec<u8>>(&mut redis).await.unwrap());
        written.extend(key);
    }
    let holds = |text: &str| written.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("ada") && holds("reports"), "users and clients are readable, and the search finds them");
    for secret in &secrets {
        assert!(!holds(secret), "{secret}");
        // The last part of a JWT is its signature.
        assert!(!holds(secret.rsplit('.').next().unwrap()), "{secret}");
    }
}

#[tokio::test]
async fn while_redis_hangs_requests_get_503_in_time_and_later_work_again() {
    let Some(server) = RedisServer::start("Redis hangs") else { return };
    let world = world(with_short_timeout(server.url()).await);
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    server.hang();
    is_unavailable_in_time(&world).await;
    is_unavailable_in_time(&world).await;
    let answer = world.post("/introspect", &usual("watch"), &[("token", &token)]).await;
    answer.is_error(503, "temporarily_unavailable");
    server.resume();
    works_again(&world).await;
    assert!(world.is_active(&token).await);
}

/// A pause that is longer than the time that the token endpoint gives a store.
///
/// Threat T43
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_pause_a_write_is_late_and_does_nothing_or_it_is_done() {
    let Some(server) = RedisServer::start("Redis pauses") else { return };
    let store = connect(server.url()).await;
    let requests = StoreRequests::new("a client", "a user").grace(0);
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let code = requests.add_code();
        store.add_code(&code).await.unwrap();
        let redeem = requests.redeem(&code);
        assert_eq!(store.redeem(&redeem).await.unwrap(), Redeemed::Done);
        sessions.push((code.session(), redeem.refresh().unwrap().hash()));
    }
    let unused = requests.add_code();
    store.add_code(&unused).await.unwrap();

    server.hang();
    let start = Instant::now();
    let mut refreshes = JoinSet::new();
    for (number, (session, token)) in sessions.iter().enumerate() {
        // Every other one may be executed after the pause.
        let deadline = start + Duration::from_secs(if number % 2 == 0 { 2 } else { 30 });
        let (store, refresh) = (store.clone(), requests.clone().deadline(deadline).refresh(*session, *token));
        refreshes.spawn(async move { (number, store.refresh(&refresh).await.unwrap()) });
    }
    let soon = requests.clone().deadline(start + Duration::from_secs(2)).jwt_id("a value", "a request");
    let (add, redeem, issue, end) =
        (soon.add_code(), soon.redeem(&unused), soon.issue(), soon.end_session(sessions[0].0));
    let resume = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        server.resume();
    };
    let (added, redeemed, issued, ended, ()) =
        tokio::join!(store.add_code(&add), store.redeem(&redeem), store.issue(&issue), store.end_session(&end), resume);
    assert_eq!((added.unwrap(), redeemed.unwrap()), (Written::Late, Redeemed::Late));
    assert_eq!((issued.unwrap(), ended.unwrap()), (Issued::Late, Written::Late));
    for (number, refreshed) in refreshes.join_all().await {
        let expected = if number % 2 == 0 { Refreshed::Late } else { Refreshed::Done };
        assert_eq!(refreshed, expected, "{number}");
    }
    // What was late has used up nothing.
    for (session, token) in sessions.iter().step_by(2) {
        assert_eq!(store.refresh(&requests.refresh(*session, *token)).await.unwrap(), Refreshed::Done);
    }
    assert!(store.find_code(&requests.find_code(&add)).await.unwrap().is_none());
    assert!(store.find_access(&requests.find_access(issue.access())).await.unwrap().is_none());
    let again = requests.clone().jwt_id("a value", "another request").redeem(&unused);
    assert_eq!(store.redeem(&again).await.unwrap(), Redeemed::Done);
}

/// Threat T45
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_request_with_an_assertion_waits_for_the_first_one() {
    let Some(server) = RedisServer::start("a request that is repeated while it is executed") else { return };
    let store = connect(server.url()).await;
    let requests = StoreRequests::new("a client", "itself").jwt_id("a value", "the same request");
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let (store, issue) = (store.clone(), requests.issue());
        calls.spawn(async move { store.issue(&issue).await.unwrap() });
    }
    let issued = calls.join_all().await;
    assert_eq!(issued.iter().filter(|issued| **issued == Issued::Done).count(), 1, "{issued:?}");
    assert!(issued.iter().all(|issued| matches!(issued, Issued::Done | Issued::Seen)), "{issued:?}");
}

/// Threat T45
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_request_passes_again_if_its_outcome_is_unknown() {
    let Some(mut server) = RedisServer::start("Redis is killed while a request is executed") else { return };
    let store = with_short_timeout(server.url()).await;
    let requests = StoreRequests::new("a client", "itself").jwt_id("a value", "the same request");
    // As if the first attempt had stored the value and then had no answer.
    let mut redis = raw(&server.url()).await;
    store.insert_seen(&requests.insert_seen()).await.unwrap();
    let keys = keys(&mut redis).await;
    let key = keys.iter().find(|key| !key.starts_with(b"tower-oauth:{check")).unwrap();
    let attempt = requests.insert_seen().seen().attempt();
    redis.hset_multiple::<_, _, _, ()>(key, &[("attempt", &attempt.as_bytes()[..]), ("until", b"1")]).await.unwrap();
    server.kill();
    server.restart();
    let other = StoreRequests::new("a client", "itself").jwt_id("a value", "another request");
    assert_eq!(store.issue(&other.issue()).await.unwrap(), Issued::Seen, "another request is refused");
    assert_eq!(store.issue(&requests.issue()).await.unwrap(), Issued::Done);
    assert_eq!(store.issue(&requests.issue()).await.unwrap(), Issued::Seen);
}

#[tokio::test]
async fn while_redis_is_down_requests_get_503_in_time_and_later_work_again() {
    let Some(mut server) = RedisServer::start("Redis is down") else { return };
    let world = world(with_short_timeout(server.url()).await);
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    server.kill();
    for _ in 0..5 {
        is_unavailable_in_time(&world).await;
    }
    server.restart();
    works_again(&world).await;
    assert!(world.is_active(&token).await);
}

#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let Some(server) = RedisServer::start("a connection that breaks in silence") else { return };
    let (url, silence) = server.proxy().await;
    let world = world(with_short_timeout(url).await);
    world.access_token("reports", &[]).await;
    silence.send(()).unwrap();
    is_unavailable_in_time(&world).await;
    world.access_token("reports", &[]).await;
}

#[tokio::test]
async fn after_a_change_of_the_primary_a_new_connection_is_made() {
    let Some(server) = RedisServer::start("the primary becomes a replica") else { return };
    let world = world(with_short_timeout(server.url()).await);
    world.access_token("reports", &[]).await;
    let mut redis = raw(&server.url()).await;
    let ours = async |redis: &mut MultiplexedConnection| {
        let list: String = cmd("CLIENT").arg("LIST").query_async(redis).await.unwrap();
        let of = |line: &str| line.contains("cmd=evalsha").then(|| line.split(' ').next().map(str::to_owned)).flatten();
        list.lines().filter_map(of).collect::<Vec<_>>()
    };
    let before = ours(&mut redis).await;
    assert_eq!(before.len(), 1);
    cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec_async(&mut redis).await.unwrap();
    is_unavailable_in_time(&world).await;
    cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut redis).await.unwrap();
    world.access_token("reports", &[]).await;
    let after = ours(&mut redis).await;
    assert!(after.iter().any(|id| !before.contains(id)), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_connection_closed_while_idle_fails_no_request() {
    let Some(server) = RedisServer::start("an idle connection is closed") else { return };
    let world = world(with_short_timeout(server.url()).await);
    world.access_token("reports", &[]).await;
    let mut redis = raw(&server.url()).await;
    let killed: u32 = cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query_async(&mut redis).await.unwrap();
    assert!(killed > 0, "ours was among them");
    let start = Instant::now();
    loop {
        let list: String = cmd("CLIENT").arg("LIST").query_async(&mut redis).await.unwrap();
        if list.lines().count() > 1 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the store does not reconnect");
        tokio::task::yield_now().await;
    }
    world.access_token("reports", &[]).await;
}

#[tokio::test]
async fn the_store_reconnects_when_redis_accepts_its_password_again() {
    let Some(server) = RedisServer::start("the password is changed") else { return };
    let mut redis = raw(&server.url()).await;
    let password = async |redis: &mut MultiplexedConnection, word: &str| {
        cmd("CONFIG").arg("SET").arg("requirepass").arg(word).exec_async(redis).await.unwrap();
    };
    password(&mut redis, "first").await;
    cmd("AUTH").arg("first").exec_async(&mut redis).await.unwrap();
    // The timeout is long enough for Redis to refuse the password.
    let world = world(connect(server.url().replace("redis://", "redis://:first@")).await);
    world.access_token("reports", &[]).await;
    password(&mut redis, "second").await;
    cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec_async(&mut redis).await.unwrap();
    for _ in 0..3 {
        world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    }
    password(&mut redis, "first").await;
    works_again(&world).await;
}

#[tokio::test]
async fn redis_may_drop_the_scripts() {
    let Some(server) = RedisServer::start("SCRIPT FLUSH") else { return };
    let world = world(connect(server.url()).await);
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    let mut redis = raw(&server.url()).await;
    for _ in 0..2 {
        cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
        assert!(world.is_active(&token).await);
        world.access_token("reports", &[]).await;
    }
}

#[tokio::test]
async fn a_redis_that_is_full_issues_nothing_and_finds_and_revokes_what_was_issued() {
    let Some(server) = RedisServer::start("Redis is full") else { return };
    let world = world(connect(server.url()).await);
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    let code = world.code(&[]).await;
    let mut redis = raw(&server.url()).await;
    let set = async |redis: &mut MultiplexedConnection, bytes: &str| {
        cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).exec_async(redis).await.unwrap();
    };
    set(&mut redis, "1").await;
    is_unavailable_in_time(&world).await;
    world.redeem(&code, &[]).await.is_error(503, "temporarily_unavailable");
    let response = world.ask(&[]).await.unwrap().approve("ada", ["orders:read"]).await;
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.contains("error=server_error") && !location.contains("code="), "{location}");
    assert!(world.is_active(&token).await);
    assert_eq!(world.post("/revoke", &usual("reports"), &[("token", &token)]).await.status(), 200);
    assert!(!world.is_active(&token).await);
    set(&mut redis, "0").await;
    world.redeem(&code, &[]).await.is_ok();
}

#[tokio::test]
async fn two_prefixes_on_one_redis_do_not_see_each_other() {
    let Some(server) = RedisServer::start("two prefixes") else { return };
    let of = async |prefix: &str| RedisStore::builder(server.url()).key_prefix(prefix).connect().await.unwrap();
    let [one, same, other] = [of("one").await, of("one").await, of("one:").await];
    let requests = StoreRequests::new("a client", "a user").jwt_id("a value", "a request");
    for (store, expected) in [(&one, Issued::Done), (&other, Issued::Done), (&same, Issued::Seen)] {
        assert_eq!(store.insert_seen(&requests.insert_seen()).await.unwrap(), expected);
    }
    let issue = StoreRequests::new("a client", "a client").issue();
    assert_eq!(one.issue(&issue).await.unwrap(), Issued::Done);
    let find = requests.find_access(issue.access());
    assert!(same.find_access(&find).await.unwrap().is_some());
    assert!(other.find_access(&find).await.unwrap().is_none());
}

#[tokio::test]
async fn a_flood_of_one_limited_client_stores_no_more_than_its_limit() {
    let Some(server) = RedisServer::start("a flood of a limited client") else { return };
    let world = world(connect(server.url()).await);
    let mut redis = raw(&server.url()).await;
    let mut tokens = Vec::new();
    for _ in 0..200 {
        tokens.push(world.access_token("limited", &[("resource", OPAQUE)]).await);
    }
    for key in keys(&mut redis).await {
        let key = String::from_utf8(key).unwrap();
        match key.rsplit_once('}').unwrap().1 {
            "a" => assert_eq!(redis.hlen::<_, u32>(&key).await.unwrap(), 2),
            "ao" | "ax" => assert_eq!(redis.zcard::<_, u32>(&key).await.unwrap(), 2),
            // Of the check at the start.
            kind => assert!(kind.starts_with("j:"), "{key}"),
        }
    }
    for (number, token) in tokens.iter().enumerate() {
        assert_eq!(world.is_active(token).await, number >= 198, "{number}");
    }
}

#[tokio::test]
async fn a_limit_of_10_000_costs_no_more_than_one_of_10() {
    let Some(server) = RedisServer::start("the cost of a limit") else { return };
    let store = connect(server.url()).await;
    let mut redis = raw(&server.url()).await;
    let issue = async |requests: &StoreRequests, times: u32| {
        for _ in 0..times {
            assert_eq!(store.issue(&requests.issue()).await.unwrap(), Issued::Done);
        }
    };
    let mut cost_of = async |limit| {
        let requests = StoreRequests::new(&format!("limit {limit}"), "itself").token_limit(limit);
        issue(&requests, limit + 100).await;
        reset_statistics(&mut redis).await;
        issue(&requests, 500).await;
        statistic(&mut redis, "usec_per_call").await.parse::<f64>().unwrap()
    };
    let (small, large) = (cost_of(10).await, cost_of(10_000).await);
    assert!(large < small * 3.0, "{small} and {large} microseconds");
}

async fn reset_statistics(redis: &mut MultiplexedConnection) {
    cmd("CONFIG").arg("RESETSTAT").exec_async(redis).await.unwrap();
}

/// A number that Redis counts for calls of scripts.
async fn statistic(redis: &mut MultiplexedConnection, name: &str) -> String {
    let statistics: String = cmd("INFO").arg("commandstats").query_async(redis).await.unwrap();
    let line = statistics.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap();
    let number = line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    number.unwrap().to_owned()
}

#[tokio::test]
async fn a_refresh_is_two_round_trips_and_introspection_is_one() {
    let Some(server) = RedisServer::start("round trips") else { return };
    let world = world(connect(server.url()).await);
    let mut redis = raw(&server.url()).await;
    let code = world.code(&[]).await;
    let mut token = world.redeem(&code, &[]).await.text("refresh_token").to_owned();
    let opaque = world.access_token("reports", &[("resource", OPAQUE)]).await;
    world.is_active(&opaque).await;
    token = world.refresh(&token, &[]).await.text("refresh_token").to_owned();
    // Since then, Redis has all scripts.
    reset_statistics(&mut redis).await;
    for _ in 0..10 {
        token = world.refresh(&token, &[]).await.text("refresh_token").to_owned();
    }
    assert_eq!(statistic(&mut redis, "calls").await, "20");
    reset_statistics(&mut redis).await;
    for _ in 0..10 {
        assert!(world.is_active(&opaque).await);
    }
    assert_eq!(statistic(&mut redis, "calls").await, "10");
    let all: String = cmd("INFO").arg("commandstats").query_async(&mut redis).await.unwrap();
    assert!(!all.contains("cmdstat_eval:") && !all.contains("cmdstat_wait:"), "{all}");
}

#[tokio::test]
async fn an_unreadable_entry_is_an_error_that_does_not_quote_it() {
    let Some(server) = RedisServer::start("an unreadable entry") else { return };
    let store = connect(server.url()).await;
    let mut redis = raw(&server.url()).await;
    let requests = StoreRequests::new("a client", "itself");
    let issue = requests.issue();
    store.issue(&issue).await.unwrap();
    let keys = keys(&mut redis).await;
    let key = keys.iter().find(|key| key.ends_with(b"}a")).unwrap();
    for value in [&b"shy"[..], b"n7777", b"n99999999999:shy\xff", b"s99999999999999999999x7777"] {
        redis.hset::<_, _, _, ()>(key, issue.access().hash().as_bytes(), value).await.unwrap();
        let error = store.find_access(&requests.find_access(issue.access())).await.unwrap_err();
        let text = with_causes(&error);
        assert!(!text.contains("shy") && !text.contains("7777"), "{text}");
    }
}

/// Returns the texts of the error and its causes.
fn with_causes(error: &StoreError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_resource_server_accepts_every_token_stored_in_redis() {
    let Some(server) = RedisServer::start("the resource server, with the store in Redis") else { return };
    accepts_every_token(connect(server.url()).await).await;
}

pub(crate) const SHORT_TIMEOUT: Duration = Duration::from_millis(300);
