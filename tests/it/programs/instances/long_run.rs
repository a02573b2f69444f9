//! 100 000 redemptions and rotations over two instances with one store, each of which is tried twice. Run it by hand:
//!
//! `cargo test --release --all-features --test it -- --ignored --nocapture long_run`
//!
//! `LONG_RUN` is the number of redemptions and rotations. Default: 100 000.

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use tokio::task::JoinSet;
use tower_oauth::token_endpoint::{PostgresStore, RedisStore, Store};

use super::paused::{code, worlds};
use crate::{
    servers::{postgres, redis::RedisServer},
    token_endpoint::World,
};

const WORKERS: u32 = 64;
/// Rotations of each session.
const ROTATIONS: u32 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn of_100_000_redemptions_and_rotations_on_redis_none_succeeds_twice_and_none_is_lost() {
    let Some(redis) = RedisServer::start("the long run on Redis") else { return };
    let connect = async || RedisStore::builder(redis.url()).connect().await.unwrap();
    long_run("redis", [connect().await, connect().await]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn of_100_000_redemptions_and_rotations_on_postgres_none_succeeds_twice_and_none_is_lost() {
    let Some(postgres) = postgres::Server::start() else { return };
    let connect = async || PostgresStore::builder(postgres.url()).connect().await.unwrap();
    long_run("postgres", [connect().await, connect().await]).await;
}

#[derive(Debug, Default)]
struct Counts {
    redeemed: AtomicU32,
    rotated: AtomicU32,
    /// Codes that were sent to both instances at once. One request of each pair succeeded.
    raced: AtomicU32,
    /// Refresh tokens that were sent to both instances at once. Both requests of each pair got the same successor.
    repeated: AtomicU32,
    /// Old refresh tokens, each of which ended its session.
    reused: AtomicU32,
}

async fn long_run(what: &str, stores: [impl Store; 2]) {
    let number: u32 = env::var("LONG_RUN").map_or(100_000, |number| number.parse().unwrap());
    let worlds: &'static [World; 2] = Box::leak(Box::new(worlds(stores)));
    let (counts, begin): (&'static Counts, _) = (Box::leak(Box::default()), Instant::now());
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(async move {
            for session in 0_u32.. {
                if counts.succeeded() >= number {
                    break;
                }
                let user = format!("user {worker}/{session}");
                match session % 10 {
                    0 => race_for_a_code(worlds, &user, counts).await,
                    number => one_session(worlds, &user, number == 1, counts).await,
                }
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    println!("{what}: {counts:?} in {:?}; none was accepted twice, none was lost", begin.elapsed());
}

impl Counts {
    fn succeeded(&self) -> u32 {
        self.redeemed.load(Ordering::Relaxed) + self.rotated.load(Ordering::Relaxed)
    }
}

fn add(count: &AtomicU32) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Redeems a code and rotates its refresh token; every third time with both instances at once. At the end, the first token ends
/// the session, if it `is_stolen`.
async fn one_session(worlds: &[World; 2], user: &str, is_stolen: bool, counts: &Counts) {
    let first = worlds[0].redeem(&code(&worlds[0], user).await, &[]).await;
    first.is_ok();
    add(&counts.redeemed);
    let mut token = first.text("refresh_token").to_owned();
    let mut access = first.text("access_token").to_owned();
    for number in 0..ROTATIONS {
        let next = if number % 3 == 0 {
            let (one, two) = tokio::join!(worlds[0].refresh(&token, &[]), worlds[1].refresh(&token, &[]));
            one.is_ok();
            two.is_ok();
            assert_eq!(one.text("refresh_token"), two.text("refresh_token"));
            add(&counts.repeated);
            one
        } else {
            worlds[number as usize % 2].refresh(&token, &[]).await
        };
        next.is_ok();
        add(&counts.rotated);
        next.text("refresh_token").clone_into(&mut token);
        next.text("access_token").clone_into(&mut access);
    }
    assert_eq!(worlds[1].endpoint.sessions_of_subject(user, None).await.unwrap().len(), 1, "the session is lost");
    if is_stolen {
        worlds[0].refresh(first.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
        worlds[1].refresh(&token, &[]).await.is_error(400, "invalid_grant");
        assert!(worlds[1].endpoint.sessions_of_subject(user, None).await.unwrap().is_empty());
        add(&counts.reused);
    }
}

async fn race_for_a_code(worlds: &[World; 2], user: &str, counts: &Counts) {
    let code = code(&worlds[1], user).await;
    let (one, two) = tokio::join!(worlds[0].redeem(&code, &[]), worlds[1].redeem(&code, &[]));
    assert_eq!([&one, &two].iter().filter(|answer| answer.status() == 200).count(), 1, "{one:?} {two:?}");
    for answer in [one, two] {
        if answer.status() == 200 {
            // The second request ended the session.
            worlds[0].refresh(answer.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
        } else {
            answer.is_error(400, "invalid_grant");
        }
    }
    add(&counts.raced);
    add(&counts.redeemed);
}
