//! The store in Redis, with a real server.

use std::{
    cell::{Cell, RefCell},
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use ::redis::{AsyncCommands as _, aio::MultiplexedConnection, cmd};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower_oauth::testing::store_conformance;
use tower_oauth::token_endpoint::{RedisStore, Rotated, Store, StoreError, TokenHash};

use super::{
    OPAQUE, World,
    any_store::{self, access, family, successor},
    resource_server::accepts_every_token,
    stores_on_servers::{issue_all_secrets, works_again, world},
    usual,
};
use crate::servers::redis::RedisServer;

async fn connect(url: impl Into<String>) -> RedisStore {
    RedisStore::builder(url).connect().await.unwrap()
}

/// A store with a short timeout.
async fn with_short_timeout(url: impl Into<String>) -> RedisStore {
    RedisStore::builder(url).timeout(SHORT_TIMEOUT).connect().await.unwrap()
}

async fn raw(url: &str) -> MultiplexedConnection {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_redis_conforms_and_every_key_expires() {
    let Some(server) = RedisServer::start("conformance of the store in Redis") else { return };
    store_conformance(async || connect(server.url()).await).await;
    let mut redis = raw(&server.url()).await;
    let keys = keys(&mut redis).await;
    assert!(keys.len() > 40, "{}", keys.len());
    for key in keys {
        assert!(key.starts_with(b"{tower-oauth}:"), "{key:?}");
        let milliseconds: i64 = redis.pttl(&key).await.unwrap();
        assert!((280_000..10_000_000).contains(&milliseconds), "{key:?} has {milliseconds}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn issued_tokens_survive_a_kill_of_redis() {
    let Some(server) = RedisServer::start("Redis is killed and restarted") else { return };
    let (server, opened) = (RefCell::new(server), Cell::new(0));
    store_conformance(async || {
        opened.set(opened.get() + 1);
        // Before the conformance tests read the entries again.
        if opened.get() == 3 {
            server.borrow_mut().kill();
            server.borrow_mut().restart();
        }
        let url = server.borrow().url();
        connect(url).await
    })
    .await;
    assert_eq!(opened.get(), 3);
}

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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, upstream) = (listener.local_addr().unwrap(), server.port());
    let (silence, heard) = watch::channel(());
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
            let mut heard = heard.clone();
            heard.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    // Stays open without any data, as behind a firewall that dropped the connection.
                    _ = heard.changed() => std::future::pending().await,
                }
            });
        }
    });
    let world = world(with_short_timeout(format!("redis://{address}")).await);
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
    let (key, access) = (hash("a key"), access("a client", "a subject", 1000));
    assert!(one.insert_if_absent(&key, 1000, 1).await.unwrap());
    assert!(other.insert_if_absent(&key, 1000, 1).await.unwrap());
    assert!(!same.insert_if_absent(&key, 1000, 1).await.unwrap());
    one.issue(&access, None, None, 1).await.unwrap();
    assert_eq!(same.find_access(&access.hash, 1).await.unwrap(), Some(access.record));
    assert_eq!(other.find_access(&access.hash, 1).await.unwrap(), None);
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
    let keys = keys(&mut redis).await;
    let of =
        |kind: &[u8]| keys.iter().filter(|key| key["{tower-oauth}:".len()..].starts_with(kind)).collect::<Vec<_>>();
    assert_eq!((of(b"a:").len(), of(b"n:").len()), (2, 1));
    assert_eq!(redis.zcard::<_, u32>(of(b"n:")[0]).await.unwrap(), 2);
    for (number, token) in tokens.iter().enumerate() {
        assert_eq!(world.is_active(token).await, number >= 198, "{number}");
    }
}

#[tokio::test]
async fn of_a_long_session_the_last_hundred_used_refresh_tokens_are_known() {
    let Some(server) = RedisServer::start("a long session") else { return };
    let store = connect(server.url()).await;
    let mut redis = raw(&server.url()).await;
    for (place, expected) in [(0, Rotated::Unknown), (60, Rotated::Reused)] {
        let (_, first) = family(&store, "a client", 1000, 1).await;
        let mut tokens = vec![first.hash];
        for _ in 0..150 {
            let next = successor(1000);
            let rotated = store.rotate(tokens.last().unwrap(), "a client", &next, 0, 1).await.unwrap();
            assert!(matches!(rotated, Rotated::First(_)), "{rotated:?}");
            tokens.push(next.hash);
        }
        let of = keys(&mut redis).await.into_iter().filter(|key| key.starts_with(b"{tower-oauth}:r:")).count();
        assert_eq!(of, 101, "a hundred used ones and the current one");
        assert_eq!(store.rotate(&tokens[place], "a client", &successor(1000), 0, 1).await.unwrap(), expected);
        let last = store.find_refresh(tokens.last().unwrap(), 1).await.unwrap();
        assert_eq!(last.is_some(), expected == Rotated::Unknown);
        cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    }
}

#[tokio::test]
async fn the_redis_store_behaves_like_any_store() {
    let Some(server) = RedisServer::start("any store, in Redis") else { return };
    any_store::behaves_like_any_store(&connect(server.url()).await).await;
}

#[tokio::test]
async fn an_unreadable_record_is_an_error_that_does_not_quote_it() {
    let Some(server) = RedisServer::start("an unreadable record") else { return };
    let store = connect(server.url()).await;
    let mut redis = raw(&server.url()).await;
    let token = hash("token");
    let key = [b"{tower-oauth}:a:".as_slice(), token.as_bytes()].concat();
    for text in ["shy", r#"{"expires_at":9999,"family":null,"id":7777}"#, "[7777]"] {
        redis.set::<_, _, ()>(&key, text).await.unwrap();
        let error = store.find_access(&token, 1).await.unwrap_err();
        assert!(
            !with_causes(&error).contains("shy") && !with_causes(&error).contains("7777"),
            "{}",
            with_causes(&error)
        );
    }
}

/// Returns the texts of the error and its causes.
fn with_causes(error: &StoreError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn mistakes_are_reported_at_start_up_without_the_password() {
    let Some(server) = RedisServer::start_with("mistakes", &["--requirepass", "hunter2 ü/@"]) else { return };
    let plain = RedisServer::start_with("mistakes", &["--unixsocket", "{folder}/socket"]).unwrap();
    let evicts = ["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"];
    let evicts = RedisServer::start_with("mistakes", &evicts).unwrap();
    let replica = RedisServer::start_with("mistakes", &["--replicaof", "127.0.0.1", "1"]).unwrap();
    let hung = RedisServer::start("mistakes").unwrap();
    hung.hang();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = other.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = other.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1000]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let locked = format!("127.0.0.1:{}", server.port());
    let socket = plain.folder().join("socket");
    let mistakes = [
        ("127.0.0.1:6379", "not a Redis URL"),
        ("https://user:hunter2@redis.test", "not a Redis URL"),
        (&format!("redis://user:hunter2@{locked}/first"), "not a Redis URL"),
        (&format!("redis://user:hunter2 ü/@{locked}/first"), "not a Redis URL"),
        (&format!("redis://user:hunter2@{locked}?protocol=hunter2"), "not a Redis URL"),
        ("rediss://:hunter2@127.0.0.1:1/#insecure", "SSL_CERT_FILE"),
        ("redis://user:hunter2@127.0.0.1:1", "127.0.0.1:1 can't be reached"),
        ("rediss://user:hunter2@127.0.0.1:1", "127.0.0.1:1 can't be reached"),
        ("redis+unix:///no/where?pass=hunter2", "/no/where can't be reached"),
        (&format!("redis://:hunter2@{locked}"), "does not accept the user and password"),
        (&format!("redis://user:hunter2%20%C3%BC%2F%40@{locked}"), "does not accept the user and password"),
        (&format!("redis://{locked}"), "does not accept the user and password"),
        (&format!("redis://:hunter2%20%C3%BC%2F%40@{locked}/99"), "refuses commands: "),
        (&format!("redis://:hunter2@{web}"), "like Redis"),
        (&hung.url(), "did not reply within 300ms"),
        (&evicts.url(), "maxmemory-policy is volatile-ttl"),
        (&replica.url(), "is a read-only replica"),
    ];
    for (url, words) in mistakes {
        let builder = RedisStore::builder(url).timeout(SHORT_TIMEOUT);
        assert!(!format!("{builder:?}").contains("hunter2"));
        let error = builder.connect().await.map(drop).expect_err(url);
        assert!(error.to_string().starts_with("redis: ") && error.to_string().contains(words), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let builder = RedisStore::builder("redis:").key_prefix("a{b").timeout(Duration::ZERO);
    let error = builder.connect().await.unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["key_prefix", "timeout", "redis"], "all at once");

    RedisStore::builder(evicts.url()).danger_accept_eviction().connect().await.unwrap();
    let store = connect(format!("redis://:hunter2%20%C3%BC%2F%40@{locked}/3")).await;
    assert_eq!(format!("{store:?}"), r#"RedisStore { prefix: "{tower-oauth}:", .. }"#);
    let by_socket = connect(format!("redis+unix://{}?db=2", socket.display())).await;
    assert!(by_socket.insert_if_absent(&hash("key"), 9, 1).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_with_the_documented_permissions_is_enough() {
    let Some(server) = RedisServer::start("a user with few permissions") else { return };
    let mut redis = raw(&server.url()).await;
    let url = format!("redis://issuer:pw@127.0.0.1:{}", server.port());
    let mut user = cmd("ACL");
    user.arg("SETUSER").arg("issuer").arg("on").arg(">pw").arg("~{tower-oauth}:*").arg("-@all");
    user.exec_async(&mut redis).await.unwrap();
    let error = RedisStore::builder(&url).connect().await.unwrap_err();
    assert!(error.to_string().contains("does not allow the user what the store needs"), "{error}");
    let needed =
        "evalsha script|load get set del pexpire pttl hset hget hmget hdel rpush lpop zadd zcard zrange zrem zpopmin";
    user = cmd("ACL");
    user.arg("SETUSER").arg("issuer");
    for command in needed.split(' ') {
        user.arg(format!("+{command}"));
    }
    user.exec_async(&mut redis).await.unwrap();
    store_conformance(async || connect(&url).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_keys_are_in_one_slot_of_a_cluster() {
    let Some(server) = RedisServer::start_with("a cluster", &["--cluster-enabled", "yes"]) else { return };
    let error = RedisStore::builder(server.url()).connect().await.unwrap_err();
    assert!(error.to_string().contains("refuses commands: ClusterDown"), "{error}");
    let mut redis = raw(&server.url()).await;
    cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).exec_async(&mut redis).await.unwrap();
    let start = Instant::now();
    while RedisStore::builder(server.url()).connect().await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "the cluster does not come up");
    }
    store_conformance(async || connect(server.url()).await).await;
}

#[tokio::test]
async fn the_resource_server_accepts_every_token_stored_in_redis() {
    let Some(server) = RedisServer::start("the resource server, with the store in Redis") else { return };
    accepts_every_token(connect(server.url()).await).await;
}

/// Runs in a process of its own, whose environment names the certificate authority.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rediss_checks_the_certificate() {
    if let Ok(url) = env::var("REDIS_TLS_URL") {
        store_conformance(async || connect(&url).await).await;
        return;
    }
    let folder = env::temp_dir().join(format!("tower-oauth-redis-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=redis.tower-oauth.test", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        crate::servers::not_run("Redis with TLS", "openssl is missing");
        return;
    }
    let tls = ["--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no", "--tls-ca-cert-file", &certificate];
    let settings = [&tls[..], &["--tls-cert-file", &certificate, "--tls-key-file", &key]].concat();
    let Some(server) = RedisServer::start_with("Redis with TLS", &settings) else { return };
    let url = format!("rediss://localhost:{}", server.port());
    let error = RedisStore::builder(&url).connect().await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "token_endpoint::stores_redis::rediss_checks_the_certificate"])
        .env("REDIS_TLS_URL", &url)
        .env("SSL_CERT_FILE", &certificate)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
    fs::remove_dir_all(&folder).unwrap();
}

fn hash(text: &str) -> TokenHash {
    TokenHash::of(text)
}

const SHORT_TIMEOUT: Duration = Duration::from_millis(300);
