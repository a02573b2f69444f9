//! The cost of a request, compared with a limit: a bare axum route, the same route with only one signature check by a parsed
//! key, and the route with `OAuthLayer`. One process, one thread, the same token, every contestant in every round.
//!
//! `cargo bench --bench hot_path` prints a Markdown table. Compare only ratios between machines: the median of the rounds'
//! ratios, and the ratio of the fastest rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, clippy::cast_precision_loss)]

mod support;

use std::time::Duration;

use support::{AUDIENCE, Contestant, bare, least, limit::Limit, median, paired, protected, ratio, token};
use tower_oauth::{Cached, keys::Algorithm, testing::MockIssuer};

const ROUNDS: usize = 201;
const REQUESTS: usize = 100;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only checks that it builds.
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    println!("| algorithm | contestant | ns/request, median (min) | × limit, paired | × limit, of minima |");
    println!("|---|---|---:|---:|---:|");
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        runtime.block_on(compare(algorithm));
    }
}

async fn compare(algorithm: Algorithm) {
    let issuer = MockIssuer::new("https://auth.example.com").with_algorithm(algorithm);
    let token = token(&issuer).sign();
    let names = [
        "bare route",
        "limit: bare + one parsed-key verification",
        "tower-oauth, no cache",
        "tower-oauth, cached (hit)",
    ];
    let contestants = [
        Contestant::new(bare(), &token),
        Contestant::new(bare().layer(Limit::new(&issuer.jwk(), &token)), &token),
        Contestant::new(protected(issuer.verifier(AUDIENCE)), &token),
        Contestant::new(protected(Cached::new(issuer.verifier(AUDIENCE), Duration::from_secs(600))), &token),
    ];
    let times = paired(&contestants, ROUNDS, REQUESTS).await;
    for (name, own) in names.iter().zip(&times) {
        println!(
            "| {algorithm} | {name} | {:.0} ({:.0}) | {:.3} | {:.3} |",
            median(own.clone()),
            least(own),
            ratio(own, &times[1]),
            least(own) / least(&times[1])
        );
    }
    println!("| {algorithm} | *token: {} bytes* | | | |", token.len());
}
