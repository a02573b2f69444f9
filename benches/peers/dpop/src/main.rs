//! What a DPoP proof costs: the same request as bearer and with a proof, beside the limit, and beside huskarl-axum, the one Rust
//! peer that checks proofs. One process, one thread, every contestant in every round.
//!
//! `cargo run --release --package dpop --manifest-path benches/peers/Cargo.toml` prints a Markdown table. The column "× raw" is the
//! time that the proof adds, divided by the time of one bare signature check of the same algorithm, which nothing can beat,
//! because every proof is new. It is the median of the rounds' ratios.
//!
//! tower-oauth is as in its README, with its default memory of used proofs. huskarl-axum is as in its documentation; its default
//! remembers no proofs, so each one could be used again.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../../support/limit.rs"]
mod limit;

use std::{hint::black_box, time::Instant};

use axum::{Json, Router, body::Body, http::Uri, routing::get};
use http::Request;
use huskarl_axum::{
    extractors::ValidatedToken,
    layers::ValidatorLayer,
    resource_server::{
        core::server_metadata::AuthorizationServerMetadata,
        validator::rfc9068::{Rfc9068AccessTokenClaims, Rfc9068Validator},
    },
};
use huskarl_reqwest::{ReqwestClient, mtls::NoMtls};
use limit::Limit;
use serde_json::json;
use tokio::net::TcpListener;
use tower::Service as _;
use tower_oauth::{
    OAuthLayer, ResourceServer, Token,
    dpop::Dpop,
    keys::Algorithm,
    testing::{MockIssuer, ProofKey},
};

const API: &str = "https://api.example.com";
const PATH: &str = "/orders";
const ROUNDS: usize = 101;
const WARM_UP: usize = 10;
const REQUESTS: usize = 50;

/// The places of the contestants.
const BARE: usize = 0;
const LIMIT: usize = 1;
/// Each bearer contestant is followed by the same one with proofs.
const BEARERS: [(usize, &str); 2] = [(2, "tower-oauth"), (4, "huskarl-axum")];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("| proof | contestant | bearer, µs | with a proof, µs | raw check, µs | × raw |");
    println!("|---|---|---:|---:|---:|---:|");
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        tokio::task::LocalSet::new().block_on(&runtime, compare(algorithm));
    }
}

async fn compare(algorithm: Algorithm) {
    let issuer = start_issuer().await;
    let key = ProofKey::with_algorithm(algorithm);
    let token = || issuer.token("5ba552d67").audience(API).scope("orders:read orders:write");
    let (unbound, bound) = (token().sign(), token().bound_to(&key).sign());
    let bare = || Router::new().route(PATH, get(async || "sub"));
    let limit = Limit::new(&key.jwk(), &proof(&key, &bound));
    let apps = [
        (bare(), false),
        (bare().layer(limit), false),
        (ours(&issuer), false),
        (ours(&issuer), true),
        (huskarl(&issuer).await, false),
        (huskarl(&issuer).await, true),
    ];
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); apps.len()];
    for round in 0..ROUNDS + WARM_UP {
        for ((app, with_proof), times) in apps.iter().zip(&mut times) {
            let requests = (0..REQUESTS).map(|_| if *with_proof { bound_request(&key, &bound) } else { bearer(&unbound) });
            let time = run(app, requests.collect()).await;
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    for (place, name) in BEARERS {
        let added = |round: usize| times[place + 1][round] - times[place][round];
        let raw = |round: usize| times[LIMIT][round] - times[BARE][round];
        let micros = |times: &[f64]| median(times.to_vec()) / 1000.0;
        println!(
            "| {algorithm} | {name} | {:.1} | {:.1} | {:.1} | {:.2} |",
            micros(&times[place]),
            micros(&times[place + 1]),
            median((0..ROUNDS).map(raw).collect()) / 1000.0,
            median((0..ROUNDS).map(|round| added(round) / raw(round)).collect()),
        );
    }
}

/// Sends the requests. Returns the nanoseconds of one.
async fn run(app: &Router, requests: Vec<Request<Body>>) -> f64 {
    let (mut app, count) = (app.clone(), requests.len());
    let start = Instant::now();
    for request in requests {
        let response = app.call(request).await.unwrap();
        assert_eq!(response.status(), 200);
        black_box(response);
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

fn proof(key: &ProofKey, token: &str) -> String {
    key.proof("GET", &format!("{API}{PATH}")).token(token).sign()
}

fn bound_request(key: &ProofKey, token: &str) -> Request<Body> {
    let request = Request::get(PATH).header("authorization", format!("DPoP {token}"));
    request.header("dpop", proof(key, token)).body(Body::empty()).unwrap()
}

fn bearer(token: &str) -> Request<Body> {
    Request::get(PATH).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
}

fn ours(issuer: &MockIssuer) -> Router {
    async fn orders(token: Token) -> &'static str {
        if black_box(token.subject()).is_some() { "sub" } else { "" }
    }
    let server = ResourceServer::builder(issuer.verifier(API)).dpop(Dpop::new(API)).build().unwrap();
    Router::new().route(PATH, get(orders)).layer(OAuthLayer::from_server(server))
}

async fn huskarl(issuer: &MockIssuer) -> Router {
    async fn orders(token: ValidatedToken<Rfc9068AccessTokenClaims>) -> &'static str {
        if black_box(token.sub.as_deref()).is_some() { "sub" } else { "" }
    }
    let client = ReqwestClient::builder().mtls(NoMtls).build().await.unwrap();
    let metadata = AuthorizationServerMetadata::fetch().http_client(&client).issuer(issuer.identifier()).call();
    let validator = Rfc9068Validator::builder_from_metadata(&metadata.await.unwrap()).audience(API).jwks_source(client);
    let validator: Rfc9068Validator = validator.build().await.unwrap();
    let layer = ValidatorLayer::builder().validator(validator).base_url(API).unwrap().build();
    Router::new().route(PATH, get(orders)).layer(layer.authenticated())
}

/// Serves the keys and the metadata of an issuer on loopback, for huskarl-axum.
async fn start_issuer() -> MockIssuer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let identifier = format!("http://{}", listener.local_addr().unwrap());
    let issuer = MockIssuer::new(&identifier).with_algorithm(Algorithm::RS256);
    let keys = issuer.jwks();
    let metadata = json!({
        "issuer": identifier,
        "jwks_uri": format!("{identifier}/jwks"),
        "authorization_endpoint": format!("{identifier}/authorize"),
        "token_endpoint": format!("{identifier}/token"),
        "response_types_supported": ["code"],
    });
    let answer = async move |uri: Uri| Json(if uri.path() == "/jwks" { keys } else { metadata });
    tokio::task::spawn_local(async move {
        axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
    });
    issuer
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
