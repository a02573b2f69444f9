//! The cost for all other requests if an issuer or a client causes trouble. One process, a real axum router, and a fake
//! issuer with HTTP on loopback. The refresh policy uses a manual clock; latencies are measured with the machine's clock.
//!
//! `cargo bench --bench issuer_trouble` prints a Markdown table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, dead_code)]

#[path = "../tests/it/helpers/fake_issuer.rs"]
mod fake_issuer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::get};
use fake_issuer::{Answer, FakeIssuer};
use futures_util::future::join_all;
use http::Request;
use tower::ServiceExt as _;
use tower_oauth::{JwtVerifier, OAuthLayer, Token, keys::Algorithm, testing::ManualClock};

const API: &str = "https://api.test";
const SAMPLES: usize = 20_000;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only checks that it builds.
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("| trouble | fetches of the key set | known `kid`: p50 / p99 | without trouble |");
    println!("|---|---:|---:|---:|");
    runtime.block_on(flood());
    runtime.block_on(hang());
    runtime.block_on(cold());
    runtime.block_on(rotation());
}

/// An app, its issuer, and the clock of the refresh policy.
struct Scene {
    fake: FakeIssuer,
    clock: ManualClock,
    app: Router,
    issuer: tower_oauth::Issuer,
}

async fn scene() -> Scene {
    let fake = FakeIssuer::start().await;
    let clock = ManualClock::default();
    let issuer = fake.builder().clock(clock.clone()).build().unwrap();
    let verifier = JwtVerifier::new(issuer.clone(), API).unwrap();
    let app = Router::new().route("/", get(async |_: Token| "")).layer(OAuthLayer::new(verifier));
    Scene { fake, clock, app, issuer }
}

async fn status(app: &Router, token: &str) -> u16 {
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status().as_u16()
}

/// Returns the latencies of sequential valid requests: at least a thousand, and more while `more` returns true.
async fn latencies(app: Router, token: String, more: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut samples = Vec::new();
    while samples.len() < 1000 || more(samples.len()) {
        let start = Instant::now();
        assert_eq!(status(&app, &token).await, 200);
        samples.push(start.elapsed());
        tokio::task::yield_now().await;
    }
    samples.sort();
    samples
}

fn percentiles(samples: &[Duration]) -> String {
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100].as_micros();
    format!("{} / {} µs", at(50), at(99))
}

async fn without_trouble(scene: &Scene) -> Vec<Duration> {
    latencies(scene.app.clone(), scene.fake.valid_token(), |count| count < SAMPLES).await
}

async fn flood() {
    let scene = scene().await;
    scene.issuer.warm_up().await.unwrap();
    let calm = without_trouble(&scene).await;
    scene.clock.advance(Duration::from_secs(31));
    let template = scene.fake.signer(Algorithm::ES256).token("eve");
    let tokens: Vec<_> =
        (0..10_000).map(|index| template.clone().header("kid", format!("kid-{index}")).sign()).collect();
    let over = Arc::new(AtomicBool::new(false));
    let valid = tokio::spawn({
        let over = Arc::clone(&over);
        latencies(scene.app.clone(), scene.fake.valid_token(), move |_| !over.load(Ordering::Relaxed))
    });
    let app = scene.app.clone();
    let flood = tokio::spawn(async move {
        let start = Instant::now();
        for tokens in std::iter::repeat_n(tokens.chunks(100), 10).flatten() {
            let statuses = join_all(tokens.iter().map(|token| status(&app, token))).await;
            // 401 for the `kid` that the refresh looked for, and 503 for the others.
            assert!(statuses.iter().all(|status| [401, 503].contains(status)));
        }
        start.elapsed()
    });
    let took = flood.await.unwrap();
    over.store(true, Ordering::Relaxed);
    let busy = valid.await.unwrap();
    println!(
        "| 10 000 tokens with distinct unknown `kid`s, ten times over in {} ms, within one cooldown | {} | {} | {} |",
        took.as_millis(),
        scene.fake.fetches() - 1,
        percentiles(&busy),
        percentiles(&calm)
    );
}

async fn hang() {
    let scene = scene().await;
    scene.issuer.warm_up().await.unwrap();
    let calm = without_trouble(&scene).await;
    scene.clock.advance(Duration::from_secs(31));
    scene.fake.answer(Answer::Hang);
    let unknown = scene.fake.signer(Algorithm::ES256).token("eve").header("kid", "new").sign();
    let app = scene.app.clone();
    let waiting = tokio::spawn(async move { status(&app, &unknown).await });
    while scene.fake.fetches() < 2 {
        tokio::task::yield_now().await;
    }
    let hanging = without_trouble(&scene).await;
    assert!(!waiting.is_finished());
    scene.clock.advance(Duration::from_secs(3));
    assert_eq!(waiting.await.unwrap(), 503);
    println!(
        "| the key set's URL hangs while a request with an unknown `kid` waits | {} | {} | {} |",
        scene.fake.fetches() - 1,
        percentiles(&hanging),
        percentiles(&calm)
    );
}

async fn cold() {
    let scene = scene().await;
    let token = scene.fake.valid_token();
    let start = Instant::now();
    let statuses = join_all((0..1000).map(|_| status(&scene.app, &token))).await;
    assert!(statuses.iter().all(|status| *status == 200));
    println!(
        "| 1 000 valid requests at once, before any key was fetched: all 200 in {} ms | {} | | |",
        start.elapsed().as_millis(),
        scene.fake.fetches()
    );
}

async fn rotation() {
    let scene = scene().await;
    scene.issuer.warm_up().await.unwrap();
    scene.clock.advance(Duration::from_secs(31));
    scene.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    let token = scene.fake.signer(Algorithm::EdDSA).token("ada").sign();
    let start = Instant::now();
    assert_eq!(status(&scene.app, &token).await, 200);
    println!(
        "| a new key: its first token is accepted after {:.1} ms | {} | | |",
        start.elapsed().as_secs_f64() * 1000.0,
        scene.fake.fetches() - 1
    );
}
