//! The store in PostgreSQL behind PgBouncer.

use std::time::Duration;

use tower_oauth::{
    testing::{StoreRequests, store_conformance},
    token_endpoint::{PostgresStore, Redeemed, Refreshed, Store},
};

use super::postgres::with_long_timeout;
use crate::servers::{
    pgbouncer::PgBouncer,
    postgres::{fresh_schema, shared},
};

/// Threat T49
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_behind_a_pooler_in_transaction_mode_conforms() {
    let Some(server) = shared() else { return };
    let Some(pooler) = PgBouncer::start(server, "transaction", "") else { return };
    let builder = with_long_timeout(pooler.url()).schema(fresh_schema()).transaction_pooler();
    store_conformance(async || builder.clone().connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forty_clients_share_two_connections_of_a_pooler() {
    let Some(server) = shared() else { return };
    let Some(pooler) = PgBouncer::start(server, "transaction", "") else { return };
    let builder = with_long_timeout(pooler.url()).schema(fresh_schema()).transaction_pooler().max_connections(20);
    let instances = [builder.clone().connect().await.unwrap(), builder.connect().await.unwrap()];
    let clients = (0..40).map(|number| {
        let store = instances[number % 2].clone();
        tokio::spawn(async move { use_a_session(&store, &format!("client {number}")).await })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

async fn use_a_session(store: &PostgresStore, client: &str) {
    let requests = StoreRequests::new(client, "a subject").token_limit(3).session_limit(3);
    let code = requests.add_code();
    store.add_code(&code).await.unwrap();
    let redeem = requests.redeem(&code);
    assert_eq!(store.redeem(&redeem).await.unwrap(), Redeemed::Done);
    let mut token = redeem.refresh().unwrap().hash();
    for _ in 0..10 {
        assert!(store.find_session(&requests.find_session(code.session(), token)).await.unwrap().is_some());
        let refresh = requests.refresh(code.session(), token);
        assert_eq!(store.refresh(&refresh).await.unwrap(), Refreshed::Done);
        assert!(store.find_access(&requests.find_access(refresh.access())).await.unwrap().is_some());
        token = refresh.successor().unwrap().hash();
    }
}

/// Threat T49
#[tokio::test]
async fn connect_reports_a_pooler_that_needs_another_setting() {
    let Some(server) = shared() else { return };
    let all = [
        ("transaction", "", false, "startup parameter", "PostgresStoreBuilder::transaction_pooler"),
        (
            "transaction",
            "ignore_startup_parameters = options",
            false,
            "ignores the start-up parameter options",
            "PostgresStoreBuilder::transaction_pooler",
        ),
        ("statement", "", true, "statement pooling", "pool_mode"),
    ];
    for (mode, settings, announced, found, change) in all {
        let Some(pooler) = PgBouncer::start(server, mode, settings) else { return };
        let builder = PostgresStore::builder(pooler.url()).timeout(Duration::from_secs(20)).schema(fresh_schema());
        let builder = if announced { builder.transaction_pooler() } else { builder };
        let error = builder.connect().await.unwrap_err().to_string();
        assert!(error.contains(found) && error.contains(change), "{mode} {settings}: {error}");
        assert!(!error.contains(crate::servers::postgres::PASSWORD), "{error}");
    }
}

#[tokio::test]
async fn a_pooler_in_session_mode_and_no_pooler_work_with_the_same_setting() {
    let Some(server) = shared() else { return };
    let Some(pooler) = PgBouncer::start(server, "session", "") else { return };
    for url in [pooler.url(), server.url()] {
        let builder = with_long_timeout(url).schema(fresh_schema()).transaction_pooler().max_connections(1);
        use_a_session(&builder.connect().await.unwrap(), "a client").await;
    }
}
