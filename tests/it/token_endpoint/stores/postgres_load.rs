//! The store in PostgreSQL under load, with locks and with a server that pauses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tower_oauth::{
    testing::StoreRequests,
    token_endpoint::{Issued, PostgresStore, Presented, Redeemed, Refreshed, SessionId, Store, TokenHash},
};

use super::postgres::{SHORT_TIMEOUT, builder, count, requests, settles};
use crate::servers::postgres::{Server, shared};

/// A connected client with a session.
struct Client {
    requests: StoreRequests,
    session: SessionId,
    token: TokenHash,
}

impl Client {
    async fn new(store: &PostgresStore, requests: StoreRequests) -> Self {
        let code = requests.add_code();
        store.add_code(&code).await.unwrap();
        let redeem = requests.redeem(&code);
        assert_eq!(store.redeem(&redeem).await.unwrap(), Redeemed::Done);
        Self { requests, session: code.session(), token: redeem.refresh().unwrap().hash() }
    }
}

/// Runs SQL in a thread of its own until the returned value is joined, and waits until it has begun to sleep.
fn hold(server: &'static Server, sql: &str, name: &str) -> std::thread::JoinHandle<String> {
    let text = format!("SET application_name = '{name} holder'; {sql};");
    let holder = std::thread::spawn(move || server.sql(&text));
    let sleeping = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name} holder' AND wait_event = 'PgSleep'"
    );
    assert_eq!(settles(|| server.sql(&sleeping).trim().to_owned(), |found| found == "1"), "1");
    holder
}

/// Threat T46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_requests_never_cause_more_connections_than_the_maximum() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.max_connections(4).timeout(SHORT_TIMEOUT * 4).connect().await.unwrap();
    let lock = format!(r#"LOCK TABLE "{schema}".access_tokens; SELECT pg_sleep(1.5)"#);
    let holder = hold(server, &lock, &schema);
    // Counts the backends of the store for two seconds.
    let counting = format!(
        "CREATE TEMP TABLE most AS SELECT 0::bigint AS n; DO $$ BEGIN FOR i IN 1..400 LOOP PERFORM pg_stat_clear_snapshot();
         UPDATE most SET n = greatest(n, (SELECT count(*) FROM pg_stat_activity WHERE application_name = '{schema}'));
         PERFORM pg_sleep(0.005); END LOOP; END $$; SELECT n FROM most"
    );
    let counter = std::thread::spawn(move || server.sql(&counting));
    let start = Instant::now();
    let mut dropped = 0;
    while start.elapsed() < Duration::from_millis(1800) {
        let calls = (0..50).map(|_| {
            let (store, issue) = (store.clone(), requests().issue());
            async move { tokio::time::timeout(Duration::from_millis(20), store.issue(&issue)).await.is_err() }
        });
        dropped += join_all(calls).await.into_iter().filter(|was_dropped| *was_dropped).count();
    }
    assert!(dropped > 100, "only {dropped} requests were dropped");
    let most: usize = counter.join().unwrap().trim().parse().unwrap();
    assert!((1..=4).contains(&most), "{most} connections");
    holder.join().unwrap();
    assert_eq!(store.issue(&requests().issue()).await.unwrap(), Issued::Done);
}

/// Threat T46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_owner_wait_without_a_connection_and_are_late_after_their_deadline() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.max_connections(2).connect().await.unwrap();
    let limited = || StoreRequests::new("a busy client", "a subject").token_limit(3);
    assert_eq!(store.issue(&limited().issue()).await.unwrap(), Issued::Done);
    let lock = format!(r#"SELECT FROM "{schema}".owners FOR UPDATE; SELECT pg_sleep(1.5)"#);
    let holder = hold(server, &lock, &schema);
    let deadline = Instant::now() + Duration::from_millis(700);
    let calls = (0..50).map(|_| {
        let (store, issue) = (store.clone(), limited().deadline(deadline).issue());
        tokio::spawn(async move { store.issue(&issue).await.unwrap() })
    });
    let calls: Vec<_> = calls.collect();
    for _ in 0..10 {
        let issued = tokio::time::timeout(Duration::from_secs(10), store.issue(&requests().issue())).await;
        assert_eq!(issued.expect("a connection is free").unwrap(), Issued::Done);
    }
    assert!(!holder.is_finished(), "the others waited for the busy client");
    for call in calls {
        assert_eq!(call.await.unwrap(), Issued::Late);
    }
    holder.join().unwrap();
    let of_the_owner = format!(r#"SELECT count(*) FROM "{schema}".access_tokens WHERE owner IS NOT NULL"#);
    assert_eq!(server.sql(&of_the_owner).trim(), "1", "a late call stores nothing");
    assert_eq!(store.issue(&limited().issue()).await.unwrap(), Issued::Done);
}

#[tokio::test]
async fn a_statement_that_waits_for_a_lock_ends_in_time_on_the_server_too() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.timeout(SHORT_TIMEOUT).connect().await.unwrap();
    let holder = hold(server, &format!(r#"LOCK TABLE "{schema}".seen; SELECT pg_sleep(6)"#), &schema);
    let begun = Instant::now();
    let deadline = Instant::now() + SHORT_TIMEOUT;
    let error = store.insert_seen(&requests().deadline(deadline).insert_seen()).await.unwrap_err();
    assert!(begun.elapsed() < 5 * SHORT_TIMEOUT, "{:?}", begun.elapsed());
    assert!(!error.may_be_executed(), "the server has cancelled the statement");
    let waiting =
        format!("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = '{schema}'");
    assert_eq!(settles(|| server.sql(&waiting), String::is_empty), "");
    assert!(!holder.is_finished(), "the lock was released too early for this test");
    holder.join().unwrap();
    assert_eq!(store.insert_seen(&requests().insert_seen()).await.unwrap(), Issued::Done);
}

#[tokio::test]
async fn cancelled_requests_lose_no_connection() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let store = builder.max_connections(1).connect().await.unwrap();
    for delay in 0..200 {
        let issue = requests().token_limit(3).issue();
        drop(tokio::time::timeout(Duration::from_micros(delay * 10), store.issue(&issue)).await);
        assert_eq!(store.insert_seen(&requests().insert_seen()).await.unwrap(), Issued::Done);
    }
    assert!(count(server, &schema, "access_tokens") <= 3);
}

/// Threat T43
#[tokio::test]
async fn a_write_that_the_server_gets_to_after_the_deadline_is_late_and_changes_nothing() {
    let Some(server) = Server::start() else { return };
    let store = PostgresStore::builder(server.url()).connect().await.unwrap();
    let new = |number| Client::new(&store, StoreRequests::new(&format!("client {number}"), "ada"));
    // All at once, so that ten connections are open and were used just now.
    let clients = join_all((0..10).map(new)).await;
    server.hang();
    let deadline = Instant::now() + Duration::from_millis(500);
    let calls = clients.iter().map(|client| {
        let refresh = client.requests.clone().deadline(deadline).refresh(client.session, client.token);
        let store = store.clone();
        tokio::spawn(async move { store.refresh(&refresh).await })
    });
    let calls: Vec<_> = calls.collect();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let waiting = calls.iter().filter(|call| !call.is_finished()).count();
    assert!(waiting > 0, "no call was sent");
    server.resume();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), Refreshed::Late);
    }
    for client in clients {
        let find = client.requests.find_session(client.session, client.token);
        let found = store.find_session(&find).await.unwrap().expect("the session goes on");
        assert_eq!(found.presented, Presented::Current, "the token is not used");
    }
}

/// Forty clients refresh. The server stands still for 2.5 seconds. Each client repeats what was late or not executed, with the
/// same token.
///
/// Threat T43
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_pauses_late_writes_change_nothing_and_no_session_is_lost() {
    let Some(server) = Server::start() else { return };
    let store = PostgresStore::builder(server.url()).connect().await.unwrap();
    let clients = (0..40).map(|number| Client::new(&store, StoreRequests::new(&format!("client {number}"), "ada")));
    let clients = join_all(clients).await;
    let start = Instant::now();
    let refreshing = clients.into_iter().map(|client| tokio::spawn(refresh_until(store.clone(), client, start)));
    let refreshing: Vec<_> = refreshing.collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.hang();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    server.resume();
    let (mut late, mut done) = (0, 0);
    for client in refreshing {
        let (client_late, client_done) = client.await.unwrap();
        late += client_late;
        done += client_done;
    }
    assert!(late >= 20 && done > 40, "{late} late, {done} done");
}

async fn refresh_until(store: PostgresStore, mut client: Client, start: Instant) -> (usize, usize) {
    let (mut late, mut done) = (0, 0);
    while start.elapsed() < Duration::from_secs(5) {
        let requests = client.requests.clone().deadline(Instant::now() + Duration::from_secs(1)).grace(0);
        let refresh = requests.refresh(client.session, client.token);
        match store.refresh(&refresh).await {
            Ok(Refreshed::Done) => {
                client.token = refresh.successor().unwrap().hash();
                done += 1;
            }
            Ok(Refreshed::Late) => late += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(!error.may_be_executed(), "{error}"),
        }
    }
    // The store may need a moment for new connections.
    let find = client.requests.find_session(client.session, client.token);
    let found = store.find_session(&find).await.unwrap().expect("the session goes on");
    assert_eq!(found.presented, Presented::Current);
    (late, done)
}

/// Two instances do everything at once with few owners and sessions. A deadlock would be an error.
///
/// Threat T47
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operations_with_and_without_limits_never_wait_for_each_other_in_a_circle() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let builder = builder.max_connections(10);
    let stores = Arc::new([builder.clone().connect().await.unwrap(), builder.connect().await.unwrap()]);
    let seed: u64 = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    println!("seed {seed}");
    let shared_clients = Arc::new(tokio::sync::Mutex::new(Vec::<Arc<Client>>::new()));
    let tasks = (0..16_u64).map(|task| {
        let (stores, clients) = (Arc::clone(&stores), Arc::clone(&shared_clients));
        tokio::spawn(async move {
            let mut random = Random(seed.wrapping_add(task));
            for _ in 0..150 {
                let store = &stores[random.below(2)];
                one_operation(store, &clients, &mut random).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    // The numbers of each owner are those of its rows.
    let differing = server.sql(&format!(
        r#"SELECT o.owner FROM "{schema}".owners o
            WHERE o.tokens - coalesce((SELECT sum(tokens) FROM "{schema}".removals r WHERE r.owner = o.owner), 0)
                <> (SELECT count(*) FROM "{schema}".access_tokens a WHERE a.owner = o.owner)
            OR o.sessions - coalesce((SELECT sum(sessions) FROM "{schema}".removals r WHERE r.owner = o.owner), 0)
                <> (SELECT count(*) FROM "{schema}".sessions s WHERE s.owner = o.owner AND s.counted)"#
    ));
    assert_eq!(differing, "");
    let orphans = format!(
        r#"SELECT count(*) FROM "{schema}".access_tokens a WHERE of_session
            AND NOT EXISTS (SELECT FROM "{schema}".sessions s WHERE s.id = a.partition)"#
    );
    assert_eq!(server.sql(&orphans).trim(), "0", "tokens of an ended session");
    let most = server.sql(&format!(
        r#"SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM "{schema}".access_tokens
            WHERE owner IS NOT NULL GROUP BY owner) AS counts"#
    ));
    assert!(most.trim().parse::<usize>().unwrap() <= 4, "{most} tokens of one owner");
    let most = server.sql(&format!(
        r#"SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM "{schema}".sessions
            WHERE counted GROUP BY owner) AS counts"#
    ));
    assert!(most.trim().parse::<usize>().unwrap() <= 3, "{most} sessions of one owner");
}

async fn one_operation(store: &PostgresStore, clients: &tokio::sync::Mutex<Vec<Arc<Client>>>, random: &mut Random) {
    let mut requests = StoreRequests::new(["one", "two"][random.below(2)], "ada");
    if random.below(4) > 0 {
        requests = requests.token_limit(4).session_limit(3);
    }
    if random.below(4) == 0 {
        requests = requests.jwt_id(&random.below(1000).to_string(), "");
    }
    let chosen = {
        let clients = clients.lock().await;
        let newest = clients.len().min(8);
        (newest > 0).then(|| Arc::clone(&clients[clients.len() - 1 - random.below(newest)]))
    };
    match (random.below(6), chosen) {
        (0 | 1, _) | (_, None) => {
            let code = requests.add_code();
            store.add_code(&code).await.unwrap();
            let redeem = requests.redeem(&code);
            let token = redeem.refresh().unwrap().hash();
            if store.redeem(&redeem).await.unwrap() == Redeemed::Done {
                let client = Client { requests, session: code.session(), token };
                clients.lock().await.push(Arc::new(client));
            }
        }
        (2 | 3, Some(client)) => {
            let of_client = client.requests.clone();
            let of_client = if random.below(2) == 0 { of_client.token_limit(4) } else { of_client };
            let refresh = of_client.refresh(client.session, client.token);
            store.refresh(&refresh).await.unwrap();
            if random.below(3) == 0 {
                store.revoke_access(&requests.revoke_access(refresh.access())).await.unwrap();
            }
        }
        (4, _) => {
            store.issue(&requests.token_limit(4).issue()).await.unwrap();
        }
        (_, Some(client)) => {
            store.end_session(&requests.end_session(client.session)).await.unwrap();
        }
    }
}

/// The same numbers for the same seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// Threat T46
#[tokio::test]
async fn a_limit_of_ten_thousand_reads_as_few_rows_as_one_of_ten() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    drop(builder.connect().await.unwrap());
    for (owner, tokens) in [("small", 10), ("large", 10_000)] {
        server.sql(&format!(
            r#"INSERT INTO "{schema}".access_tokens (partition, hash, of_session, record, expires_at, owner)
                SELECT 'p', ('{owner} ' || i)::bytea, false, 'r', 1000 + i, '{owner}' FROM generate_series(1, {tokens}) i;
            INSERT INTO "{schema}".owners (owner, tokens) VALUES ('{owner}', {tokens})"#
        ));
    }
    let read = |owner: &str, limit: usize| {
        let output = server.sql(&format!(
            r#"SELECT count("{schema}".issue('p', ('{owner}' || i)::bytea, 'r', 2000, '{owner}', {limit}, NULL, NULL, 1,
                9000000000000000000)) FROM generate_series(1, 20) i;
            SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE schemaname = '{schema}'"#
        ));
        assert_eq!(count(server, &schema, &format!("access_tokens WHERE owner = '{owner}'")), limit);
        output.lines().last().unwrap().parse::<usize>().unwrap()
    };
    let (small, large) = (read("small", 10), read("large", 10_000));
    assert!(small < 400 && large < 400, "20 calls read {small} and {large} rows");
}
