//! What is wrong with a Redis, or with the settings of its store, is reported at start-up.

use std::{env, fs, process::Command, time::Duration};

use ::redis::cmd;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tower_oauth::testing::store_conformance;
use tower_oauth::token_endpoint::{RedisStore, Store};

use super::redis::{SHORT_TIMEOUT, connect, raw};
use crate::{
    servers::{redis::RedisServer, redis_cluster::RedisCluster},
    support::{not_run, test_name},
};

#[tokio::test]
async fn mistakes_are_reported_at_start_up_without_the_password() {
    let Some(server) = RedisServer::start_with("mistakes", &["--requirepass", "hunter2 ü/@"]) else { return };
    let plain = RedisServer::start_with("mistakes", &["--unixsocket", "{folder}/socket"]).unwrap();
    let evicts = ["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"];
    let evicts = RedisServer::start_with("mistakes", &evicts).unwrap();
    let replica = RedisServer::start_with("mistakes", &["--replicaof", "127.0.0.1", "1"]).unwrap();
    let node = RedisServer::start_with("mistakes", &["--cluster-enabled", "yes"]).unwrap();
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
        (&node.url(), "is a node of a cluster"),
    ];
    for (url, words) in mistakes {
        let builder = RedisStore::builder(url).timeout(SHORT_TIMEOUT);
        assert!(!format!("{builder:?}").contains("hunter2"));
        let error = builder.connect().await.map(drop).expect_err(url);
        assert!(error.to_string().starts_with("redis: ") && error.to_string().contains(words), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let builder = RedisStore::builder("redis:").key_prefix("a{b").timeout(Duration::ZERO);
    let error = builder.wait_for_replicas(0, Duration::ZERO).connect().await.unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["key_prefix", "timeout", "wait_for_replicas", "redis"], "all at once");
    let alone = RedisStore::builder(plain.url()).wait_for_replicas(1, SHORT_TIMEOUT).connect().await.unwrap_err();
    assert!(alone.to_string().contains("has 0 replicas, and each write would wait for 1"), "{alone}");

    RedisStore::builder(evicts.url()).danger_accept_eviction().connect().await.unwrap();
    let store = connect(format!("redis://:hunter2%20%C3%BC%2F%40@{locked}/3")).await;
    assert_eq!(format!("{store:?}"), r#"RedisStore { prefix: "tower-oauth:", .. }"#);
    let by_socket = connect(format!("redis+unix://{}?db=2", socket.display())).await;
    by_socket.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_with_the_documented_permissions_is_enough() {
    let Some(server) = RedisServer::start("a user with few permissions") else { return };
    let mut redis = raw(&server.url()).await;
    let url = format!("redis://issuer:pw@127.0.0.1:{}", server.port());
    let mut user = cmd("ACL");
    user.arg("SETUSER").arg("issuer").arg("on").arg(">pw").arg("~tower-oauth:*").arg("-@all");
    user.exec_async(&mut redis).await.unwrap();
    let error = RedisStore::builder(&url).connect().await.unwrap_err();
    assert!(error.to_string().contains("does not allow the user what the store needs"), "{error}");
    let needed = "eval evalsha script|load time hset hget hmget hgetall hdel del pexpire pttl zadd zcard zcount zrange \
                  zrangebylex zrangebyscore zrem zscore";
    user = cmd("ACL");
    user.arg("SETUSER").arg("issuer");
    for command in needed.split(' ') {
        user.arg(format!("+{command}"));
    }
    user.exec_async(&mut redis).await.unwrap();
    Box::pin(store_conformance(async || connect(&url).await)).await;
}

/// Runs in a process of its own, whose environment names the certificate authority.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rediss_checks_the_certificate() {
    if let Ok(url) = env::var("REDIS_TLS_URL") {
        Box::pin(store_conformance(async || connect(&url).await)).await;
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
        not_run("Redis with TLS", "openssl is not installed (Debian: apt-get install openssl)");
        return;
    }
    let tls = ["--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no", "--tls-ca-cert-file", &certificate];
    let settings = [&tls[..], &["--tls-cert-file", &certificate, "--tls-key-file", &key]].concat();
    let Some(server) = RedisServer::start_with("Redis with TLS", &settings) else { return };
    let url = format!("rediss://localhost:{}", server.port());
    let error = RedisStore::builder(&url).connect().await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", &test_name(module_path!(), "rediss_checks_the_certificate")])
        .env("REDIS_TLS_URL", &url)
        .env("SSL_CERT_FILE", &certificate)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn mistakes_with_a_cluster_are_reported_at_start_up() {
    let Some(cluster) = RedisCluster::shared("mistakes with a cluster") else { return };
    let single = RedisServer::start("mistakes with a cluster").unwrap();
    let alone = RedisServer::start_with("mistakes with a cluster", &["--cluster-enabled", "yes"]).unwrap();
    let url = cluster.urls().remove(0);
    let mistakes = [
        (vec![], "no node of the cluster is named"),
        (vec![url.clone(), "https://hunter2".to_owned()], "not a Redis URL"),
        (vec![single.url()], "is a single server and no node of a cluster"),
        (vec![alone.url()], "does not work"),
        (vec!["redis://:hunter2@127.0.0.1:1".to_owned()], "127.0.0.1:1 can't be reached"),
        (vec![url.replace("redis://", "redis://user:hunter2@")], "does not accept the user and password"),
        (vec![format!("{url}/3")], "a cluster has only database 0"),
    ];
    for (urls, words) in mistakes {
        let builder = RedisStore::builder_from_cluster(urls.clone()).timeout(Duration::from_secs(1));
        let error = builder.connect().await.map(drop).unwrap_err();
        assert!(error.to_string().starts_with("redis: ") && error.to_string().contains(words), "{urls:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let error = RedisStore::builder(&url).connect().await.unwrap_err();
    assert!(error.to_string().contains("use builder_from_cluster"), "{error}");
    let builder = RedisStore::builder_from_cluster(cluster.urls()).wait_for_replicas(2, Duration::from_secs(1));
    let error = builder.connect().await.unwrap_err();
    assert!(error.to_string().contains("has 1 replicas, and each write would wait for 2"), "{error}");
    // One of the named nodes must be up.
    let urls = ["redis://127.0.0.1:1", &url];
    RedisStore::builder_from_cluster(urls).key_prefix("one is up").connect().await.unwrap();
}

#[tokio::test]
async fn an_eviction_policy_is_found_on_each_master_of_a_cluster() {
    let Some(cluster) = RedisCluster::start("eviction in a cluster") else { return };
    let last = cluster.masters()[2];
    last.cli(&["config", "set", "maxmemory", "100mb"]);
    last.cli(&["config", "set", "maxmemory-policy", "allkeys-lru"]);
    let error = RedisStore::builder_from_cluster(cluster.urls()).connect().await.unwrap_err();
    let found = format!("maxmemory-policy of 127.0.0.1:{} is allkeys-lru", last.port());
    assert!(error.to_string().contains(&found), "{error}");
    RedisStore::builder_from_cluster(cluster.urls()).danger_accept_eviction().connect().await.unwrap();
}
