//! The cost of a request when something else grows: routes, issuers, keys, scopes, the token, the tokens in use. The cost must
//! grow at most linearly with the size of the token, and should not grow with the number of issuers and keys.
//!
//! `cargo bench --bench growth` prints a Markdown table. All tokens are signed with Ed25519, because its keys are generated
//! quickly and its small signature allows a small token. Every size runs in every round. The ratio is the median of the rounds'
//! ratios to the smallest size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, clippy::cast_precision_loss)]

mod support;

use std::time::Duration;

use axum::{Router, routing::get};
use serde_json::json;
use support::{AUDIENCE, Contestant, median, orders, paired, ratio, token};
use tower_oauth::{
    Cached, Issuer, JwtVerifier, OAuthLayer, Scoped,
    keys::{Algorithm, KeySet},
    testing::MockIssuer,
    verify::{TrustedIssuers, Verify},
};

tower_oauth::scopes! {
    OrdersRead = "orders:read";
}

const ROUNDS: usize = 101;
const REQUESTS: usize = 100;

/// One size of what grows: its label, and the contestants without and with a cache.
struct Size(String, [Contestant; 2]);

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only checks that it builds.
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    println!("| what grows | | no cache: ns/request | × smallest | hit: ns/request | × smallest |");
    println!("|---|---:|---:|---:|---:|---:|");
    runtime.block_on(async {
        measure("routes", [1, 100, 1000].map(routes)).await;
        measure("issuers", [1, 10, 1000].map(issuers)).await;
        measure("keys in the set", [1, 10, 100].map(keys)).await;
        measure("scopes in the token", [1, 10, 50].map(scopes)).await;
        measure("bytes of the token", [0, 20, 80, 180, 420].map(groups)).await;
        measure("tokens in use", [1, 100, 5000].map(tokens_in_use)).await;
    });
}

async fn measure<const SIZES: usize>(what: &str, sizes: [Size; SIZES]) {
    let (names, contestants): (Vec<_>, Vec<_>) = sizes.into_iter().map(|Size(name, pair)| (name, pair)).unzip();
    let contestants: Vec<_> = contestants.into_iter().flatten().collect();
    for contestant in &contestants {
        contestant.send_all().await;
    }
    let times = paired(&contestants, ROUNDS, REQUESTS).await;
    for (index, name) in names.iter().enumerate() {
        print!("| {what} | {name} |");
        for way in 0..2 {
            let own = &times[2 * index + way];
            print!(" {:.0} | {:.2} |", median(own.clone()), ratio(own, &times[way]));
        }
        println!();
    }
}

fn issuer() -> MockIssuer {
    MockIssuer::new("https://auth.example.com").with_algorithm(Algorithm::EdDSA)
}

/// Returns a route that reads `sub`, without and with a cache.
fn both(verifier: impl Verify + Clone, tokens: &[String]) -> [Contestant; 2] {
    ways(Router::new().route("/orders", get(orders)), verifier, tokens)
}

/// Returns these routes, without and with a cache.
fn ways(app: Router, verifier: impl Verify + Clone, tokens: &[String]) -> [Contestant; 2] {
    let cached = Cached::new(verifier.clone(), Duration::from_secs(600));
    let apps = [app.clone().layer(OAuthLayer::new(verifier)), app.layer(OAuthLayer::new(cached))];
    apps.map(|app| Contestant::with_tokens(app, tokens.to_vec()))
}

fn routes(count: usize) -> Size {
    let issuer = issuer();
    let app = (1..count).fold(Router::new(), |app, index| app.route(&format!("/r{index}"), get(orders)));
    let app = app.route("/orders", get(orders));
    Size(count.to_string(), ways(app, issuer.verifier(AUDIENCE), &[token(&issuer).sign()]))
}

fn issuers(count: usize) -> Size {
    let all = (0..count)
        .map(|index| MockIssuer::new(&format!("https://auth-{index}.example.com")).with_algorithm(Algorithm::EdDSA));
    let all: Vec<_> = all.collect();
    let verifier = TrustedIssuers::new(all.iter().map(|issuer| issuer.verifier(AUDIENCE))).unwrap();
    Size(count.to_string(), both(verifier, &[token(&all[count / 2]).sign()]))
}

fn keys(count: usize) -> Size {
    let issuer = issuer();
    let others = (1..count).map(|index| {
        MockIssuer::new(&format!("https://other-{index}.example.com")).with_algorithm(Algorithm::EdDSA).jwk()
    });
    let mut keys: Vec<_> = others.collect();
    keys.insert(count / 2, issuer.jwk());
    let keys = KeySet::from_json(json!({ "keys": keys }).to_string()).unwrap();
    assert_eq!(keys.len(), count);
    let verifier = JwtVerifier::new(Issuer::from_keys(issuer.identifier(), keys).unwrap(), AUDIENCE).unwrap();
    Size(count.to_string(), both(verifier, &[token(&issuer).sign()]))
}

/// The handler requires the last of the scopes.
fn scopes(count: usize) -> Size {
    let issuer = issuer();
    let scopes: Vec<_> = (1..count).map(|index| format!("thing-{index}:read")).chain(["orders:read".into()]).collect();
    let app = Router::new().route("/orders", get(async |_: Scoped<OrdersRead>| "sub"));
    let token = token(&issuer).scope(&scopes.join(" ")).sign();
    Size(count.to_string(), ways(app, issuer.verifier(AUDIENCE), &[token]))
}

/// The token grows with the number of the user's groups.
fn groups(count: usize) -> Size {
    let issuer = issuer();
    let groups: Vec<_> = (0..count).map(|index| format!("group-{index:04}")).collect();
    let token = issuer.token("5ba552d67").audience(AUDIENCE).claim("groups", json!(groups)).sign();
    Size(token.len().to_string(), both(issuer.verifier(AUDIENCE), &[token]))
}

fn tokens_in_use(count: usize) -> Size {
    let issuer = issuer();
    let tokens: Vec<_> = (0..count).map(|index| token(&issuer).claim("jti", format!("{index:032}")).sign()).collect();
    Size(count.to_string(), both(issuer.verifier(AUDIENCE), &tokens))
}
