//! The store in PostgreSQL, with a real server.

use std::{
    cell::Cell,
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower_oauth::testing::store_conformance;
use tower_oauth::token_endpoint::{PostgresStore, PostgresStoreBuilder, Rotated, Store, TokenHash};

use super::{
    OPAQUE, World,
    any_store::{self, access, code, family, fresh_hash, successor},
    resource_server::accepts_every_token,
    stores_on_servers::{issue_all_secrets, works_again, world},
    usual,
};
use crate::servers::{
    not_run,
    postgres::{PASSWORD, Server, fresh_schema, shared},
};

/// A store in its own schema, whose name is also the name of its connections.
fn builder(server: &Server) -> (PostgresStoreBuilder, String) {
    let schema = fresh_schema();
    let url = format!("{}?application_name={schema}", server.url());
    (with_long_timeout(url).schema(&schema), schema)
}

/// A store with a long timeout, for a busy machine.
fn with_long_timeout(url: impl Into<String>) -> PostgresStoreBuilder {
    PostgresStore::builder(url).timeout(Duration::from_secs(20))
}

async fn store(server: &Server) -> PostgresStore {
    builder(server).0.connect().await.unwrap()
}

/// A store with a short timeout.
async fn with_short_timeout(server: &Server) -> PostgresStore {
    builder(server).0.max_connections(3).timeout(SHORT_TIMEOUT).connect().await.unwrap()
}

async fn is_unavailable_in_time(world: &World) {
    let start = Instant::now();
    world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    assert!(start.elapsed() < 10 * SHORT_TIMEOUT, "503 took {:?}", start.elapsed());
}

/// Returns all rows of a schema as text.
fn dump(server: &Server, schema: &str) -> String {
    let table = |name| format!(r#"SELECT t FROM "{schema}".{name} t;"#);
    server.sql(&TABLES.map(table).concat())
}

fn count(server: &Server, schema: &str, table: &str) -> usize {
    server.sql(&format!(r#"SELECT count(*) FROM "{schema}".{table}"#)).trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_postgresql_conforms() {
    let Some(server) = shared() else { return };
    let (builder, _) = builder(server);
    store_conformance(async || builder.clone().connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_postgresql_conforms_with_one_connection() {
    let Some(server) = shared() else { return };
    let builder = builder(server).0.max_connections(1);
    store_conformance(async || builder.clone().connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_postgresql_conforms_with_unusual_defaults() {
    let Some(server) = shared() else { return };
    let (_, schema) = builder(server);
    server.sql(&format!(
        "CREATE ROLE unusual LOGIN PASSWORD '{PASSWORD}'; GRANT CREATE ON DATABASE postgres TO unusual;
         ALTER ROLE unusual SET default_transaction_isolation = 'serializable'; ALTER ROLE unusual SET search_path = '';"
    ));
    let builder = with_long_timeout(server.url_of("unusual", PASSWORD, "postgres")).schema(schema);
    store_conformance(async || builder.clone().connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn issued_tokens_survive_a_kill_of_postgresql() {
    let Some(server) = Server::start() else { return };
    let opened = Cell::new(0);
    store_conformance(async || {
        opened.set(opened.get() + 1);
        // Before the conformance tests read the entries again.
        if opened.get() == 3 {
            server.kill();
            server.restart();
        }
        with_long_timeout(server.url()).connect().await.unwrap()
    })
    .await;
    assert_eq!(opened.get(), 3);
}

#[tokio::test]
async fn the_resource_server_accepts_every_token_stored_in_postgresql() {
    let Some(server) = shared() else { return };
    accepts_every_token(store(server).await).await;
}

#[tokio::test]
async fn no_code_token_or_secret_is_readable_in_postgresql() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let world = world(builder.connect().await.unwrap());
    let secrets = issue_all_secrets(&world).await;

    let dump = dump(server, &schema);
    assert!(
        dump.contains("ada") && dump.contains("reports"),
        "users and clients are readable, and the search finds them"
    );
    for secret in &secrets {
        // The last part of a JWT is its signature. Bytes are shown in hexadecimal.
        for part in [secret, secret.rsplit('.').next().unwrap()] {
            let byte = |b: u8| format!("{b:02x}");
            let bytes: String = part.bytes().map(byte).collect();
            assert!(!dump.contains(part) && !dump.contains(&bytes), "{secret}");
        }
    }
}

#[tokio::test]
async fn while_postgresql_hangs_requests_get_503_in_time_and_later_work_again() {
    let Some(server) = Server::start() else { return };
    let world = world(with_short_timeout(&server).await);
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    server.hang();
    for _ in 0..5 {
        is_unavailable_in_time(&world).await;
    }
    let answer = world.post("/introspect", &usual("watch"), &[("token", &token)]).await;
    answer.is_error(503, "temporarily_unavailable");
    server.resume();
    works_again(&world).await;
    assert!(world.is_active(&token).await);
}

#[tokio::test]
async fn while_postgresql_is_down_requests_get_503_in_time_and_later_work_again() {
    let Some(server) = Server::start() else { return };
    let world = world(with_short_timeout(&server).await);
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    server.kill();
    for _ in 0..5 {
        is_unavailable_in_time(&world).await;
    }
    server.restart();
    works_again(&world).await;
    assert!(world.is_active(&token).await);
}

/// A proxy before a port. While the returned sender holds true, it drops pings, and everything that follows on their connection.
/// Returns the proxy's port and the sender.
async fn without_pings(upstream: u16) -> (u16, watch::Sender<bool>) {
    const SYNC: &[u8] = b"S\0\0\0\x04";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (silence, heard) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (near, far) = (listener.accept().await.unwrap().0, TcpStream::connect(("127.0.0.1", upstream)).await);
            let (mut from_near, mut to_near) = near.into_split();
            let (mut from_far, mut to_far) = far.unwrap().into_split();
            let heard = heard.clone();
            tokio::spawn(async move { copy(&mut from_far, &mut to_near).await });
            tokio::spawn(async move {
                let (mut bytes, mut silent) = ([0; 10_000], false);
                while let Ok(read @ 1..) = from_near.read(&mut bytes).await {
                    silent |= *heard.borrow() && &bytes[..read] == SYNC;
                    if !silent {
                        to_far.write_all(&bytes[..read]).await.unwrap();
                    }
                }
            });
        }
    });
    (port, silence)
}

#[tokio::test]
async fn a_connection_that_hangs_after_its_response_leaves_the_pool() {
    let Some(server) = shared() else { return };
    let url = server.url();
    let (_, port) = url.trim_end_matches("/postgres").rsplit_once(':').unwrap();
    let (near, silence) = without_pings(port.parse().unwrap()).await;
    let url = format!("{}?sslmode=disable", url.replace(port, &near.to_string()));
    let store = PostgresStore::builder(url).schema(fresh_schema()).max_connections(2).timeout(SHORT_TIMEOUT);
    let world = world(store.connect().await.unwrap());
    world.access_token("reports", &[]).await;
    silence.send(true).unwrap();
    let answers = [(); 10].map(|()| world.token("reports", &[]));
    let answers = join_all(answers).await;
    assert!(answers.iter().any(|answer| answer.status() == 503), "no connection hung");
    silence.send(false).unwrap();
    works_again(&world).await;
}

#[tokio::test]
async fn cancelled_requests_lose_no_connection() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = Arc::new(builder.max_connections(1).connect().await.unwrap());
    for delay in 0..200 {
        let access = access("a client", "a subject", 1000);
        let asked = tokio::time::timeout(Duration::from_micros(delay * 10), store.issue(&access, None, Some(3), 1));
        drop(asked.await);
        let key = TokenHash::of(&format!("key {delay}"));
        assert!(store.insert_if_absent(&key, 1000, 1).await.unwrap());
    }
    assert!(count(server, &schema, "access_tokens") <= 3);
}

#[tokio::test]
async fn a_long_lock_causes_an_error_in_time() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.timeout(SHORT_TIMEOUT).connect().await.unwrap();
    let lock = format!(r#"LOCK TABLE "{schema}".seen; SELECT pg_sleep(6)"#);
    let locking = std::thread::spawn(move || server.sql(&lock));
    let start = Instant::now();
    let failed = loop {
        let begun = Instant::now();
        let key = TokenHash::of(&format!("{:?}", start.elapsed()));
        if store.insert_if_absent(&key, 1000, 1).await.is_err() {
            break begun.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no request waited for the lock");
    };
    assert!(failed < 5 * SHORT_TIMEOUT, "{failed:?}");
    // The server has ended the statement, too.
    let waiting =
        format!("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = '{schema}'");
    assert_eq!(settles(|| server.sql(&waiting), String::is_empty), "");
    assert!(!locking.is_finished(), "the lock was released too early for this test");
    locking.join().unwrap();
    assert!(store.insert_if_absent(&TokenHash::of("afterwards"), 1000, 1).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_instances_start_at_the_same_moment_on_an_empty_database() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let starts: Vec<_> = (0..8).map(|_| tokio::spawn(builder.clone().connect())).collect();
    for start in starts {
        let store = start.await.unwrap().unwrap();
        assert!(store.insert_if_absent(&fresh_hash(), 1000, 1).await.unwrap());
    }
    assert_eq!(count(server, &schema, "migrations"), 1);
}

#[tokio::test]
async fn two_schemas_do_not_see_each_other() {
    let Some(server) = shared() else { return };
    let (one, _) = builder(server);
    let [one, same, other] = [one.clone().connect().await, one.connect().await, builder(server).0.connect().await];
    let (one, same, other) = (one.unwrap(), same.unwrap(), other.unwrap());
    let (key, access) = (TokenHash::of("a key"), access("a client", "a subject", 1000));
    assert!(one.insert_if_absent(&key, 1000, 1).await.unwrap());
    assert!(other.insert_if_absent(&key, 1000, 1).await.unwrap());
    assert!(!same.insert_if_absent(&key, 1000, 1).await.unwrap());
    one.issue(&access, None, None, 1).await.unwrap();
    assert_eq!(same.find_access(&access.hash, 1).await.unwrap(), Some(access.record));
    assert_eq!(other.find_access(&access.hash, 1).await.unwrap(), None);
}

#[tokio::test]
async fn migrations_by_hand_need_a_role_with_few_rights() {
    let Some(server) = shared() else { return };
    let schema = fresh_schema();
    server.sql(&format!("CREATE ROLE modest LOGIN PASSWORD '{PASSWORD}'"));
    let url = server.url_of("modest", PASSWORD, "postgres");
    let modest = with_long_timeout(&url).schema(&schema);
    let missing = modest.clone().skip_migrations().connect().await.unwrap_err().to_string();
    assert!(
        missing.contains("0 of 1 migrations were run") && missing.contains("PostgresStore::migrations"),
        "{missing}"
    );
    let no_right = modest.clone().connect().await.unwrap_err().to_string();
    assert!(
        no_right.contains("permission denied for database") && no_right.contains("grant the role CREATE"),
        "{no_right}"
    );
    for text in PostgresStore::migrations(&schema).unwrap() {
        server.sql(&text);
    }
    let no_right = modest.clone().skip_migrations().connect().await.unwrap_err().to_string();
    assert!(
        no_right.contains("permission denied for schema") && no_right.contains("grant the role USAGE"),
        "{no_right}"
    );
    server.sql(&format!(
        r#"GRANT USAGE ON SCHEMA "{schema}" TO modest;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO modest;"#
    ));
    for builder in [modest.clone().skip_migrations(), modest] {
        store_conformance(async || builder.clone().connect().await.unwrap()).await;
    }
}

#[tokio::test]
async fn an_existing_schema_needs_no_right_on_the_database() {
    let Some(server) = shared() else { return };
    let schema = fresh_schema();
    server.sql(&format!(
        r#"CREATE ROLE tenant LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA "{schema}" AUTHORIZATION tenant"#
    ));
    let url = server.url_of("tenant", PASSWORD, "postgres");
    with_long_timeout(url).schema(schema).connect().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_states_which_versions_may_use_it() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    builder.clone().connect().await.unwrap();
    server.sql(&format!(r#"INSERT INTO "{schema}".migrations VALUES (2, 1)"#));
    builder.clone().connect().await.expect("a later migration only adds");
    server.sql(&format!(r#"INSERT INTO "{schema}".migrations VALUES (3, 3)"#));
    let error = builder.connect().await.unwrap_err().to_string();
    assert!(
        error.contains("requires a version with 3 migrations; this version has 1") && error.contains("newer version"),
        "{error}"
    );
}

#[tokio::test]
async fn mistakes_are_reported_at_start_up_without_the_password() {
    let Some(server) = shared() else { return };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("postgres://ada:hunter2@127.0.0.1:{}/db?sslmode=disable", silent.local_addr().unwrap().port());
    // No program listens on port 1, and the system never assigns it.
    let unreachable = "postgres://ada:hunter2@127.0.0.1:1/db";
    server
        .sql("CREATE ROLE replica LOGIN PASSWORD 'hunter2'; ALTER ROLE replica SET default_transaction_read_only = on");
    server.sql("CREATE ROLE alone LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 0");
    let refused = [
        ("ada:hunter2@localhost/db", "not the URL", "postgres://user:password@host"),
        ("mysql://ada:hunter2@localhost/db", "not the URL", "postgres://user:password@host"),
        ("postgres://ada:hunter2@localhost:port/db", "not the URL", "postgres://user:password@host"),
        ("postgres://ada:1/hunter2@localhost/db", "not the URL", "%40"),
        ("postgres://ada:1#hunter2@localhost/db", "not the URL", "%40"),
        ("postgres://ada:1?hunter2@localhost/db", "not the URL", "%40"),
        ("postgres://ada:hunter2@localhost/db?sslmode=hunter2", "not the URL", "sslmode=verify-full"),
        (unreachable, "127.0.0.1:1: ", "start PostgreSQL there"),
        (&silent, "did not reply within 500ms", "host and port"),
        (&server.url_of("postgres", "hunter2", "postgres"), "password authentication failed", "correct the user"),
        (&server.url_of("unknown", "hunter2", "postgres"), "password authentication failed", "correct the user"),
        (&server.url_of("postgres", PASSWORD, "nowhere"), r#""nowhere" does not exist"#, "create the database"),
        (&server.url_of("replica", "hunter2", "postgres"), "read-only transaction", "the primary"),
        (&server.url_of("alone", "hunter2", "postgres"), "too many connections", "max_connections"),
        (&(server.url() + "?sslmode=verify-full"), "no connection to PostgreSQL", "sslmode"),
    ];
    for (url, found, change) in refused {
        let mut builder = with_long_timeout(url).schema(fresh_schema());
        if url == silent {
            builder = builder.timeout(SHORT_TIMEOUT);
        }
        assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.mistakes()[0].setting(), "postgres");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.contains(found) || text.contains(&found.replace('"', "\\\"")), "{url}: {text}");
            assert!(text.contains(change), "{url}: {text}");
            assert!(!text.contains("hunter2") && !text.contains(PASSWORD), "{text}");
        }
    }
}

#[tokio::test]
async fn all_wrong_settings_are_reported_at_once() {
    for schema in ["", "Public", "1st", "two words", "pg_own", "a\"b", "ü", &"x".repeat(64)] {
        let builder = PostgresStore::builder("redis://").schema(schema).max_connections(0).timeout(Duration::ZERO);
        let error = builder.connect().await.unwrap_err();
        let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
        assert_eq!(settings, ["postgres", "schema", "max_connections", "timeout"], "{error}");
        assert!(PostgresStore::migrations(schema).is_err(), "{schema}");
    }
    assert!(PostgresStore::builder("postgres://").timeout(Duration::MAX).connect().await.is_err());
}

#[tokio::test]
async fn an_existing_table_of_another_program_is_not_changed() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    server.sql(&format!(r#"CREATE SCHEMA "{schema}"; CREATE TABLE "{schema}".codes (other integer)"#));
    let error = builder.connect().await.unwrap_err().to_string();
    assert!(error.contains("already exists") && error.contains("separate schema"), "{error}");
    assert_eq!(count(server, &schema, "codes"), 0);
}

#[tokio::test]
async fn a_reserved_word_can_be_a_schema() {
    let Some(server) = shared() else { return };
    let store = with_long_timeout(server.url()).schema("select").connect().await.unwrap();
    store.issue(&access("a client", "a subject", 10), None, Some(1), 1).await.unwrap();
}

#[tokio::test]
async fn tls_is_used_and_verified_if_the_url_requires_it() {
    let Some(server) = shared() else { return };
    let authority = server.certificate();
    if !authority.exists() {
        return not_run("TLS to PostgreSQL", "openssl is missing, which creates the certificate");
    }
    let verified = format!("verify-full&sslrootcert={}", authority.display());
    let (_, schema) = builder(server);
    for (mode, encrypted) in [("disable", "f"), ("require", "t"), (&*verified, "t")] {
        let url = format!("{}?sslmode={mode}&application_name={schema}", server.url());
        let store = with_long_timeout(url).schema(&schema).connect().await.unwrap();
        store.issue(&access("a client", "a subject", 10), None, None, 1).await.unwrap();
        let ssl = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name";
        assert_eq!(server.sql(&format!("{ssl} = '{schema}'")).trim(), encrypted, "{mode}");
        drop(store);
        // The server notices the closed connection a little later.
        let start = Instant::now();
        while !server.sql(&format!("{ssl} = '{schema}'")).is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "the connections of a dropped store stay");
            tokio::task::yield_now().await; // the last connection is still returning to the pool
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_expired_rows_are_deleted() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.connect().await.unwrap();
    // More than one batch.
    server.sql(&format!(
        r#"INSERT INTO "{schema}".seen SELECT sha256(('old ' || i)::bytea), 100 FROM generate_series(1, 1700) i"#
    ));
    for end in [100, 5000] {
        let (family, refresh) = family(&store, "a client", end, 1).await;
        store.issue(&access("a client", "a subject", end), None, Some(5), 1).await.unwrap();
        store.rotate(&refresh.hash, "a client", &successor(end), 0, 1).await.unwrap();
        let (code, unused) = code(&family.client_id, end);
        store.add_code(&code, &unused, 1).await.unwrap();
        store.insert_if_absent(&TokenHash::of(&end.to_string()), end, 1).await.unwrap();
    }
    // The clocks of two instances may differ by a minute: now only entries that expired before 99 are deleted.
    server.sql(&format!(r#"INSERT INTO "{schema}".seen VALUES ('early', 99)"#));
    store.insert_if_absent(&TokenHash::of("almost"), 5000, 159).await.unwrap();
    assert_eq!(settles(|| count(server, &schema, "seen"), |seen| *seen == 1703), 1703);
    assert_eq!(TABLES.map(|table| count(server, &schema, table)), [4, 2, 4, 4, 1703]);
    store.insert_if_absent(&TokenHash::of("late"), 5000, 170).await.unwrap();
    let left = || TABLES.map(|table| count(server, &schema, table));
    // Codes, families, access tokens, refresh tokens, and three keys.
    assert_eq!(settles(left, |left| *left == [2, 1, 2, 2, 3]), [2, 1, 2, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_clock_is_far_ahead_deletes_nothing_that_is_valid_for_others() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.connect().await.unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    server.sql(&format!(r#"INSERT INTO "{schema}".seen VALUES ('expired', 99), ('valid', {})"#, now + 100));
    store.insert_if_absent(&fresh_hash(), now + 20_000, now + 10_000).await.unwrap();
    let left = || server.sql(&format!(r#"SELECT encode(key, 'escape') FROM "{schema}".seen WHERE length(key) < 32"#));
    assert_eq!(settles(left, |left| !left.contains("expired")).trim(), "valid");
}

/// Polls a value until it is as expected, for some seconds at most. Returns the last value.
fn settles<T: PartialEq>(poll: impl Fn() -> T, expected: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let seen = poll();
        if expected(&seen) || start.elapsed() > Duration::from_secs(20) {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn of_a_long_session_the_last_hundred_used_refresh_tokens_are_known() {
    let Some(server) = shared() else { return };
    for (place, expected) in
        [(0, Rotated::Unknown), (49, Rotated::Unknown), (50, Rotated::Reused), (149, Rotated::Reused)]
    {
        let (builder, schema) = builder(server);
        let store = builder.connect().await.unwrap();
        let (_, first) = family(&store, "a client", 1000, 1).await;
        let mut tokens = vec![first.hash];
        for _ in 0..150 {
            let next = successor(1000);
            let rotated = store.rotate(tokens.last().unwrap(), "a client", &next, 0, 1).await.unwrap();
            assert!(matches!(rotated, Rotated::First(_)), "{rotated:?}");
            tokens.push(next.hash);
        }
        assert_eq!(count(server, &schema, "refresh_tokens"), 101, "a hundred used ones and the current one");
        assert_eq!(store.rotate(&tokens[place], "a client", &successor(1000), 0, 1).await.unwrap(), expected);
        let last = store.find_refresh(tokens.last().unwrap(), 1).await.unwrap();
        assert_eq!(last.is_some(), expected == Rotated::Unknown);
    }
}

#[tokio::test]
async fn the_postgresql_store_behaves_like_any_store() {
    let Some(server) = shared() else { return };
    any_store::behaves_like_any_store(&store(server).await).await;
}

#[tokio::test]
async fn an_unreadable_record_is_an_error_that_does_not_quote_it() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.connect().await.unwrap();
    let access = access("a client", "a subject", 1000);
    store.issue(&access, None, None, 1).await.unwrap();
    for text in ["shy", r#"{"expires_at":9999,"shy":1}"#, "[7777]"] {
        server.sql(&format!(r#"UPDATE "{schema}".access_tokens SET record = '{text}'"#));
        let error = store.find_access(&access.hash, 1).await.unwrap_err();
        assert!(error.source().is_none() && !format!("{error} {error:?}").contains("shy"), "{error}");
    }
    server.sql(&format!(r#"DROP TABLE "{schema}".access_tokens"#));
    let error = store.find_access(&access.hash, 1).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("does not exist"), "{error}");
}

const TABLES: [&str; 5] = ["codes", "families", "access_tokens", "refresh_tokens", "seen"];
const SHORT_TIMEOUT: Duration = Duration::from_millis(500);
