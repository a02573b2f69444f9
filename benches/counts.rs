//! Counts instructions and allocations of one request. Unlike times, they don't depend on the load of the machine.
//!
//! `.ci/counts` runs this program under valgrind and compares the result with `benches/counts.txt`. Without arguments it prints
//! the allocations. `cargo bench --bench counts -- PATH N` sends N requests on one path, for callgrind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::indexing_slicing, clippy::cast_precision_loss)] // in `support`

mod support;

use std::{alloc::System, hint::black_box, time::Duration};

use axum::{Extension, Router, routing::get};
use serde::Deserialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{AUDIENCE, Contestant, bare, limit::Limit, protected, token};
use tower::Service as _;
use tower_oauth::{
    Cached, Claims, JwtVerifier, OAuthLayer, ResourceServer,
    dpop::Dpop,
    extract::SharedClaims,
    keys::Algorithm,
    testing::{MockIssuer, ProofKey},
};

/// Only in this bench, because counting costs time.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Custom claims of an application.
#[derive(Deserialize)]
struct Own {
    tenant: String,
    email: String,
    groups: Vec<String>,
}

const PATHS: [&str; 8] = ["bare", "extension", "limit", "miss", "hit", "hit_claims", "hit_shared_claims", "proof"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [only] if only == "--test" => {} // `cargo test --benches` only checks that it builds.
        [path, count] => {
            let count = count.parse().expect("a number of requests");
            counted(&contestant(path, count), count);
        }
        _ => {
            for path in PATHS {
                let contestant = contestant(path, 3);
                counted(&contestant, 2);
                println!("{path} {}", runtime().block_on(allocations(&contestant)));
            }
        }
    }
}

/// Sends the requests. Callgrind counts only this function, because the generation of keys needs a different number of
/// instructions each time.
#[inline(never)]
fn counted(contestant: &Contestant, requests: usize) {
    runtime().block_on(contestant.send(requests));
}

/// Returns the allocations and reallocations of one request.
async fn allocations(contestant: &Contestant) -> usize {
    let (mut app, request) = (contestant.app.clone(), contestant.request());
    let region = Region::new(ALLOCATOR);
    black_box(app.call(request).await.unwrap());
    let change = region.change();
    change.allocations + change.reallocations
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// `requests` is how many are sent, because each needs a proof of its own.
fn contestant(path: &str, requests: usize) -> Contestant {
    if path == "proof" {
        return with_proofs(requests);
    }
    let issuer = MockIssuer::new("https://auth.example.com").with_algorithm(Algorithm::RS256);
    let token = token(&issuer).sign();
    let cached = || Cached::new(issuer.verifier(AUDIENCE), Duration::from_secs(600));
    let app = match path {
        "bare" => bare(),
        "extension" => bare().layer(Extension(7_u32)),
        "limit" => bare().layer(Limit::new(&issuer.jwk(), &token)),
        "miss" => protected(issuer.verifier(AUDIENCE)),
        "hit" => protected(cached()),
        "hit_claims" => with_handler(cached(), get(async |Claims(own): Claims<Own>| read(&own))),
        "hit_shared_claims" => with_handler(cached(), get(async |own: SharedClaims<Own>| read(&own))),
        other => panic!("there is no path {other:?}; the paths are {PATHS:?}"),
    };
    Contestant::new(app, token)
}

/// The path of `hit`, with a proof in each request. The client's key is for `EdDSA`, because it signs fast under valgrind.
fn with_proofs(requests: usize) -> Contestant {
    let issuer = MockIssuer::new("https://auth.example.com").with_algorithm(Algorithm::RS256);
    let key = ProofKey::with_algorithm(Algorithm::EdDSA);
    let token = token(&issuer).bound_to(&key).sign();
    let proofs = (0..requests).map(|_| key.proof("GET", &format!("{AUDIENCE}/orders")).token(&token).sign()).collect();
    let verifier = Cached::new(issuer.verifier(AUDIENCE), Duration::from_secs(600));
    let server = ResourceServer::builder(verifier).dpop(Dpop::new(AUDIENCE)).build().unwrap();
    let app = Router::new().route("/orders", get(support::orders)).layer(OAuthLayer::from_server(server));
    Contestant::new(app, token).with_proofs(proofs)
}

fn with_handler(verifier: Cached<JwtVerifier>, handler: axum::routing::MethodRouter) -> Router {
    Router::new().route("/orders", handler).layer(OAuthLayer::new(verifier))
}

fn read(own: &Own) -> &'static str {
    if black_box(own.tenant.len() + own.email.len() + own.groups.len()) > 0 { "sub" } else { "" }
}
