//! The store in PostgreSQL, with a real server.

use std::{
    cell::Cell,
    error::Error as _,
    time::{Duration, Instant, SystemTime},
};

use tokio::net::TcpListener;
use tower_oauth::{
    testing::{StoreRequests, store_conformance},
    token_endpoint::{Issued, PostgresStore, PostgresStoreBuilder, Redeemed, Refreshed, Store, Timestamp, Written},
};

use crate::servers::{
    not_run,
    postgres::{PASSWORD, Server, fresh_schema, shared},
};

/// A store in its own schema, whose name is also the name of its connections.
pub(crate) fn builder(server: &Server) -> (PostgresStoreBuilder, String) {
    let schema = fresh_schema();
    let url = format!("{}?application_name={schema}", server.url());
    (with_long_timeout(url).schema(&schema), schema)
}

/// A store with a long timeout, for a busy machine.
pub(crate) fn with_long_timeout(url: impl Into<String>) -> PostgresStoreBuilder {
    PostgresStore::builder(url).timeout(Duration::from_secs(20))
}

pub(crate) fn requests() -> StoreRequests {
    StoreRequests::new("a client", "a subject")
}

pub(crate) fn count(server: &Server, schema: &str, table: &str) -> usize {
    server.sql(&format!(r#"SELECT count(*) FROM "{schema}".{table}"#)).trim().parse().unwrap()
}

/// Threats T11, T19
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_instances_start_at_the_same_moment_on_an_empty_database() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let starts: Vec<_> = (0..8).map(|_| tokio::spawn(builder.clone().connect())).collect();
    for start in starts {
        let store = start.await.unwrap().unwrap();
        assert_eq!(store.insert_seen(&requests().insert_seen()).await.unwrap(), Issued::Done);
    }
    assert_eq!(count(server, &schema, "migrations"), 2);
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
        missing.contains("0 of 2 migrations were run") && missing.contains("PostgresStore::migrations"),
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
    modest.clone().connect().await.unwrap();
    let builder = modest.skip_migrations();
    store_conformance(async || builder.clone().connect().await.unwrap()).await;
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
    server.sql(&format!(r#"INSERT INTO "{schema}".migrations VALUES (3, 1)"#));
    builder.clone().connect().await.expect("a later migration only adds");
    server.sql(&format!(r#"INSERT INTO "{schema}".migrations VALUES (4, 4)"#));
    let error = builder.connect().await.unwrap_err().to_string();
    assert!(
        error.contains("requires a version with 4 migrations; this version has 2") && error.contains("newer version"),
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
    server.sql(&format!(r#"CREATE SCHEMA "{schema}"; CREATE TABLE "{schema}".sessions (other integer)"#));
    let error = builder.connect().await.unwrap_err().to_string();
    assert!(error.contains("already exists") && error.contains("separate schema"), "{error}");
    assert_eq!(count(server, &schema, "sessions"), 0);
}

#[tokio::test]
async fn a_reserved_word_can_be_a_schema() {
    let Some(server) = shared() else { return };
    let store = with_long_timeout(server.url()).schema("select").connect().await.unwrap();
    assert_eq!(store.issue(&requests().token_limit(1).issue()).await.unwrap(), Issued::Done);
}

#[tokio::test]
async fn tls_is_used_and_verified_if_the_url_requires_it() {
    let Some(server) = shared() else { return };
    let authority = server.certificate();
    if !authority.exists() {
        return not_run("TLS to PostgreSQL", "openssl is not installed (Debian: apt-get install openssl)");
    }
    let verified = format!("verify-full&sslrootcert={}", authority.display());
    let (_, schema) = builder(server);
    for (mode, encrypted) in [("disable", "f"), ("require", "t"), (&*verified, "t")] {
        let url = format!("{}?sslmode={mode}&application_name={schema}", server.url());
        let store = with_long_timeout(url).schema(&schema).connect().await.unwrap();
        assert_eq!(store.issue(&requests().issue()).await.unwrap(), Issued::Done);
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

#[tokio::test]
async fn two_schemas_do_not_see_each_other() {
    let Some(server) = shared() else { return };
    let (one, _) = builder(server);
    let [one, same, other] = [one.clone().connect().await, one.connect().await, builder(server).0.connect().await];
    let (one, same, other) = (one.unwrap(), same.unwrap(), other.unwrap());
    let requests = requests();
    let (value, issue) = (requests.insert_seen(), requests.issue());
    assert_eq!(one.insert_seen(&value).await.unwrap(), Issued::Done);
    assert_eq!(other.insert_seen(&value).await.unwrap(), Issued::Done);
    assert_eq!(same.insert_seen(&value).await.unwrap(), Issued::Seen);
    one.issue(&issue).await.unwrap();
    let find = requests.find_access(issue.access());
    assert!(same.find_access(&find).await.unwrap().is_some());
    assert!(other.find_access(&find).await.unwrap().is_none());
}

/// Threat T48
#[tokio::test]
async fn an_ended_session_leaves_no_row_with_its_subject() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.connect().await.unwrap();
    let requests = requests();
    for end in 0..3 {
        let code = requests.add_code();
        store.add_code(&code).await.unwrap();
        let redeem = requests.redeem(&code);
        assert_eq!(store.redeem(&redeem).await.unwrap(), Redeemed::Done);
        let refresh = requests.refresh(code.session(), redeem.refresh().unwrap().hash());
        assert_eq!(store.refresh(&refresh).await.unwrap(), Refreshed::Done);
        assert_eq!((count(server, &schema, "sessions"), count(server, &schema, "access_tokens")), (1, 2));
        match end {
            0 => assert_eq!(store.end_session(&requests.end_session(code.session())).await.unwrap(), Written::Done),
            1 => assert_eq!(store.redeem(&requests.redeem(&code)).await.unwrap(), Redeemed::Replayed),
            _ => {
                let reused = requests.clone().grace(0).refresh(code.session(), redeem.refresh().unwrap().hash());
                assert_eq!(store.refresh(&reused).await.unwrap(), Refreshed::Reused);
            }
        }
        let left = TABLES.map(|table| count(server, &schema, table));
        assert_eq!(left, [0; 6], "end {end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_expired_rows_are_deleted() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.connect().await.unwrap();
    let at = |seconds| requests().time(Timestamp::from_secs(seconds));
    let begun = at(1).token_limit(5).session_limit(5);
    let [code, unused] = [begun.add_code(), begun.add_code()];
    store.add_code(&code).await.unwrap();
    store.add_code(&unused).await.unwrap();
    assert_eq!(store.redeem(&begun.redeem(&code)).await.unwrap(), Redeemed::Done);
    store.issue(&begun.issue()).await.unwrap();
    store.insert_seen(&begun.insert_seen()).await.unwrap();
    // More than one batch.
    server.sql(&format!(
        r#"INSERT INTO "{schema}".seen SELECT sha256(('old ' || i)::bytea), 100 FROM generate_series(1, 1700) i;
        INSERT INTO "{schema}".seen VALUES ('early', 99);
        INSERT INTO "{schema}".keys VALUES ('issuer', 'key', 'id', 'jwk', 1, false, 100);"#
    ));
    // Sessions and codes, access tokens, values that were seen, keys, owners, removals.
    let left = || TABLES.map(|table| count(server, &schema, table));
    assert_eq!(left(), [2, 2, 1702, 1, 1, 0]);
    // The clocks of two instances may differ by a minute: now only entries that expired before 99 are deleted.
    for (now, expected) in [
        (159, [1, 2, 1702, 1, 1, 0]),
        (170, [1, 2, 2, 0, 1, 0]),
        (400, [1, 0, 1, 0, 1, 1]),
        (5100, [0, 0, 1, 0, 1, 2]),
        (20_000, [0, 0, 1, 0, 0, 0]),
    ] {
        store.insert_seen(&at(now).insert_seen()).await.unwrap();
        assert_eq!(settles(left, |left| *left == expected), expected, "at {now}");
    }
}

/// Threat T48
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_expire_without_any_request_are_deleted() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.connect().await.unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    store.insert_seen(&requests().time(Timestamp::from_secs(now)).insert_seen()).await.unwrap();
    server.sql(&format!(r#"INSERT INTO "{schema}".seen VALUES ('before', 99)"#));
    let old = || server.sql(&format!(r#"SELECT encode(key, 'escape') FROM "{schema}".seen WHERE length(key) < 32"#));
    assert_eq!(settles(old, String::is_empty), "", "the first run");
    server.sql(&format!(r#"INSERT INTO "{schema}".seen VALUES ('after', 99)"#));
    assert_eq!(settles(old, String::is_empty), "", "a run without a request before it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_clock_is_far_ahead_deletes_nothing_that_is_valid_for_others() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.connect().await.unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    server.sql(&format!(r#"INSERT INTO "{schema}".seen VALUES ('expired', 99), ('valid', {})"#, now + 100));
    store.insert_seen(&requests().time(Timestamp::from_secs(now + 10_000)).insert_seen()).await.unwrap();
    let left = || server.sql(&format!(r#"SELECT encode(key, 'escape') FROM "{schema}".seen WHERE length(key) < 32"#));
    assert_eq!(settles(left, |left| !left.contains("expired")).trim(), "valid");
}

#[tokio::test]
async fn an_unreadable_record_is_an_error_that_does_not_quote_it() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.connect().await.unwrap();
    let (requests, issue) = (requests(), requests().issue());
    store.issue(&issue).await.unwrap();
    server.sql(&format!(r#"UPDATE "{schema}".access_tokens SET record = '\x736879ff'"#));
    let error = store.find_access(&requests.find_access(issue.access())).await.unwrap_err();
    assert!(error.source().is_none() && !format!("{error} {error:?}").contains("shy"), "{error}");
    server.sql(&format!(r#"DROP TABLE "{schema}".access_tokens"#));
    let error = store.issue(&issue).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("does not exist"), "{error}");
    assert!(!error.may_be_executed(), "the server has rolled the statement back");
}

/// Polls a value until it is as expected, for some seconds at most. Returns the last value.
pub(crate) fn settles<T: PartialEq>(poll: impl Fn() -> T, expected: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let seen = poll();
        if expected(&seen) || start.elapsed() > Duration::from_secs(20) {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) const TABLES: [&str; 6] = ["sessions", "access_tokens", "seen", "keys", "owners", "removals"];
pub(crate) const SHORT_TIMEOUT: Duration = Duration::from_millis(500);
