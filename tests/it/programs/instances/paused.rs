//! A store's server that stands still for 2.5 seconds, while clients refresh sessions and redeem codes.
//!
//! Clients repeat a request exactly if the response has `Retry-After`. None loses its session, and each code becomes one.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use axum::body::Body;
use tokio::task::JoinSet;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    testing::ManualClock,
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientCredential, Clients, PostgresStore, RedisStore, RefreshTokenGrant, Store,
        TokenEndpoint, TokenFormat,
    },
};

use crate::{
    servers::{postgres, redis::RedisServer},
    token_endpoint::{AUTHORIZE, Answer, CB, ISSUER, OPAQUE, World, sent},
};

const CLIENTS: usize = 40;
const PAUSE: Duration = Duration::from_millis(2500);

/// Session 16 (design, accepts)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_is_lost_when_redis_stands_still() {
    let Some(redis) = RedisServer::start("a pause of Redis") else { return };
    let stores = [
        RedisStore::builder(redis.url()).connect().await.unwrap(),
        RedisStore::builder(redis.url()).connect().await.unwrap(),
    ];
    no_session_is_lost(stores, || redis.hang(), || redis.resume()).await;
}

/// Session 16 (design, accepts)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_is_lost_when_postgres_stands_still() {
    let Some(postgres) = postgres::Server::start() else { return };
    let stores = [
        PostgresStore::builder(postgres.url()).connect().await.unwrap(),
        PostgresStore::builder(postgres.url()).connect().await.unwrap(),
    ];
    no_session_is_lost(stores, || postgres.hang(), || postgres.resume()).await;
}

#[derive(Default)]
struct Counts {
    refreshed: AtomicU32,
    redeemed: AtomicU32,
    repeated: AtomicU32,
}

async fn no_session_is_lost(stores: [impl Store; 2], hang: impl Fn(), resume: impl Fn()) {
    let worlds: &'static [World; 2] = Box::leak(Box::new(worlds(stores)));
    let (counts, done): (&'static Counts, &'static AtomicBool) = (Box::leak(Box::default()), Box::leak(Box::default()));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let user = format!("refreshing {client}");
        let first = worlds[0].redeem(&code(&worlds[0], &user).await, &[]).await;
        let token = first.text("refresh_token").to_owned();
        clients.spawn(refresh(worlds, client, token, counts, done));
    }
    let mut codes = Vec::new();
    for client in 0..CLIENTS {
        codes.push(code(&worlds[0], &format!("redeeming {client}")).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    hang();
    let paused = Instant::now();
    for (client, code) in codes.into_iter().enumerate() {
        clients.spawn(redeem(worlds, client, code, counts));
    }
    tokio::time::sleep(PAUSE).await;
    resume();
    // Longer than `Retry-After`, so that each client has sent its request again.
    tokio::time::sleep(Duration::from_secs(7)).await;
    done.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let count = |count: &AtomicU32| count.load(Ordering::Relaxed);
    println!(
        "{:?} after the pause: {} refreshes, {} of {CLIENTS} codes redeemed, {} requests repeated",
        paused.elapsed(),
        count(&counts.refreshed),
        count(&counts.redeemed),
        count(&counts.repeated),
    );
    assert_eq!(count(&counts.redeemed), u32::try_from(CLIENTS).unwrap());
    for client in 0..CLIENTS {
        for user in ["refreshing", "redeeming"] {
            let sessions = worlds[1].endpoint.sessions_of_subject(&format!("{user} {client}"), None).await.unwrap();
            assert_eq!(sessions.len(), 1, "the session of {user} {client} is lost");
        }
    }
}

/// Refreshes without a break until `done` is set.
async fn refresh(worlds: &[World; 2], client: usize, mut token: String, counts: &Counts, done: &AtomicBool) {
    let mut number = client;
    while !done.load(Ordering::Relaxed) {
        number += 1;
        let answer = worlds[number % 2].refresh(&token, &[]).await;
        if answer.status() == 503 {
            repeat_after(&answer, counts).await;
            continue;
        }
        answer.is_ok();
        answer.text("refresh_token").clone_into(&mut token);
        counts.refreshed.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worlds[0].refresh(&token, &[]).await.is_ok();
}

async fn redeem(worlds: &[World; 2], client: usize, code: String, counts: &Counts) {
    for attempt in client..client + 5 {
        let answer = worlds[attempt % 2].redeem(&code, &[]).await;
        if answer.status() == 503 {
            repeat_after(&answer, counts).await;
            continue;
        }
        answer.is_ok();
        counts.redeemed.fetch_add(1, Ordering::Relaxed);
        // The tokens are good.
        worlds[0].refresh(answer.text("refresh_token"), &[]).await.is_ok();
        return;
    }
    panic!("the store answers no more");
}

/// Waits as long as `Retry-After` says. A response without it is the loss of a session.
async fn repeat_after(answer: &Answer, counts: &Counts) {
    let after = answer.header("retry-after").unwrap_or_else(|| panic!("a client may not repeat: {answer:?}"));
    counts.repeated.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(after.parse().unwrap())).await;
}

/// Returns a code that the user approved.
pub(super) async fn code(world: &World, user: &str) -> String {
    let request = world.ask(&[]).await.unwrap();
    let mut sent = sent(&request.approve(user, ["orders:read"]).await.map(Body::new));
    assert_eq!(sent[0].0, "code");
    sent.swap_remove(0).1
}

/// Two instances of one issuer, with the real clock.
pub(super) fn worlds(stores: [impl Store; 2]) -> [World; 2] {
    let app = Client::builder("app", ClientCredential::None)
        .grant_types(["authorization_code", "refresh_token"])
        .redirect_uri(CB)
        .default_scopes(["orders:read"])
        .audience(OPAQUE, TokenFormat::Opaque);
    let clients = Clients::new([app.build().unwrap()]).unwrap();
    stores.map(|store| {
        let endpoint = TokenEndpoint::builder(ISSUER, PrivateKey::generate(Algorithm::ES256).unwrap(), clients.clone())
            .grant(AuthorizationCodeGrant::new(AUTHORIZE))
            .grant(RefreshTokenGrant::new())
            .store(store)
            .build()
            .unwrap();
        World { endpoint, clients: clients.clone(), clock: ManualClock::default() }
    })
}
