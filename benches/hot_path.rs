//! What a request costs, beside the limit: a bare axum route, the same route with one signature check by a parsed key
//! and nothing else, and ours. One process, one thread, the same token, every contestant in every round.
//!
//! `cargo bench --bench hot_path` prints a Markdown table. Only ratios travel between machines: the median of the
//! per-round ratios, and the ratio of the fastest rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, clippy::cast_precision_loss)]

use std::{
    alloc::System,
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use axum::{Router, body::Body, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::Either;
use http::{Request, Response};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service};
use tower_oauth::{Algorithm, OAuthLayer, Token, testing::MockIssuer};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 201;
const REQUESTS: usize = 100;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only wants to see that it builds.
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    println!(
        "| algorithm | contestant | ns/request, median (min) | × limit, paired | × limit, of minima | allocations |"
    );
    println!("|---|---|---:|---:|---:|---:|");
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        runtime.block_on(compare(algorithm));
    }
}

async fn compare(algorithm: Algorithm) {
    let issuer = MockIssuer::with_algorithm("https://auth.example.com", algorithm);
    let token = token(&issuer);
    let limit = Limit::new(&issuer, &token);
    let contestants = [
        ("bare route", Router::new().route("/orders", get(async || "sub"))),
        ("limit: bare + one parsed-key verification", Router::new().route("/orders", get(async || "sub")).layer(limit)),
        (
            "tower-oauth, no cache",
            Router::new()
                .route(
                    "/orders",
                    get(async |token: Token| if black_box(token.subject()).is_some() { "sub" } else { "" }),
                )
                .layer(OAuthLayer::new(issuer.verifier("https://api.example.com"))),
        ),
    ];
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..ROUNDS + 10 {
        for (place, (_, app)) in contestants.iter().enumerate() {
            let nanoseconds = run(app, &token).await;
            if round >= 10 {
                times[place].push(nanoseconds);
            }
        }
    }
    for (place, (name, app)) in contestants.iter().enumerate() {
        let paired = times[place].iter().zip(&times[1]).map(|(ours, limit)| ours / limit).collect();
        let (median_time, fastest, limit) = (median(times[place].clone()), least(&times[place]), least(&times[1]));
        println!(
            "| {algorithm} | {name} | {median_time:.0} ({fastest:.0}) | {:.3} | {:.3} | {} |",
            median(paired),
            fastest / limit,
            allocations(app, &token).await
        );
    }
    println!("| {algorithm} | *token: {} bytes* | | | | |", token.len());
}

/// About 1 KB with RS256: what RFC 9068 asks for, and a few claims of the application's own.
fn token(issuer: &MockIssuer) -> String {
    issuer
        .token("5ba552d67")
        .audience("https://api.example.com")
        .client_id("s6BhdRkqt3")
        .scope("openid profile orders:read orders:write reports:read")
        .claim("jti", "dbe39bf3a3ba4238a513f51d6e1691c4")
        .claim("auth_time", 1_700_000_000)
        .claim("acr", "urn:mace:incommon:iap:silver")
        .claim("groups", serde_json::json!(["staff", "warehouse"]))
        .claim("roles", serde_json::json!(["editor"]))
        .claim("tenant", "tenant-0001")
        .claim("email", "ada.lovelace@example.com")
        .claim("name", "Ada Lovelace")
        .sign()
}

async fn run(app: &Router, token: &str) -> f64 {
    let mut app = app.clone();
    let requests: Vec<_> = (0..REQUESTS).map(|_| request(token)).collect();
    let start = Instant::now();
    for request in requests {
        let response = app.call(request).await.unwrap();
        assert_eq!(response.status(), 200);
        black_box(response);
    }
    start.elapsed().as_nanos() as f64 / REQUESTS as f64
}

async fn allocations(app: &Router, token: &str) -> usize {
    let mut app = app.clone();
    let request = request(token);
    let region = Region::new(ALLOCATOR);
    black_box(app.call(request).await.unwrap());
    let change = region.change();
    change.allocations + change.reallocations
}

fn request(token: &str) -> Request<Body> {
    Request::get("/orders").header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The physical limit: the signature is cut out and decoded beforehand.
#[derive(Clone)]
struct Limit(Arc<(ParsedPublicKey, Vec<u8>, Vec<u8>)>);

impl Limit {
    fn new(issuer: &MockIssuer, token: &str) -> Self {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = match issuer.algorithm() {
            Algorithm::RS256 => {
                let jwk = issuer.jwk();
                let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
                let components = RsaPublicKeyComponents { n: number("n"), e: number("e") };
                components.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256).unwrap()
            }
            Algorithm::ES256 => {
                ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, issuer.public_key_der()).unwrap()
            }
            _ => ParsedPublicKey::new(&signature::ED25519, issuer.public_key_der()).unwrap(),
        };
        Self(Arc::new((key, signed.as_bytes().to_vec(), signature)))
    }
}

impl<S> Layer<S> for Limit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited { inner, limit: self.clone() }
    }
}

#[derive(Clone)]
struct Limited<S> {
    inner: S,
    limit: Limit,
}

impl<S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>> Service<Request<Body>> for Limited<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (key, signed, signature) = &*self.limit.0;
        if key.verify_sig(signed, signature).is_ok() {
            Either::Left(self.inner.call(request))
        } else {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = http::StatusCode::UNAUTHORIZED;
            Either::Right(ready(Ok(refused)))
        }
    }
}
