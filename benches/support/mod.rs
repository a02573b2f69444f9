//! Shared by the benches: one token, in-process requests and paired rounds.
#![allow(dead_code)] // Each bench uses only a part.

pub(crate) mod limit;

use std::{
    cell::{Cell, RefCell},
    hint::black_box,
    time::Instant,
};

use axum::{Router, body::Body, routing::get};
use http::Request;
use tower::Service;
use tower_oauth::{
    OAuthLayer, Token,
    testing::{MockIssuer, TokenBuilder},
    verify::Verify,
};

pub(crate) const AUDIENCE: &str = "https://api.example.com";

/// Returns a token of about 1 KB with RS256: the claims of RFC 9068 and a few custom claims.
pub(crate) fn token(issuer: &MockIssuer) -> TokenBuilder {
    issuer
        .token("5ba552d67")
        .audience(AUDIENCE)
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
}

/// Returns a route without protection.
pub(crate) fn bare() -> Router {
    Router::new().route("/orders", get(async || "sub"))
}

/// Returns the route behind this verifier. The handler reads `sub`.
pub(crate) fn protected(verifier: impl Verify) -> Router {
    Router::new().route("/orders", get(orders)).layer(OAuthLayer::new(verifier))
}

pub(crate) async fn orders(token: Token) -> &'static str {
    if black_box(token.subject()).is_some() { "sub" } else { "" }
}

/// What is measured: a router, and the tokens of its requests, perhaps with proofs.
pub(crate) struct Contestant {
    pub(crate) app: Router,
    tokens: Vec<String>,
    next: Cell<usize>,
    /// Each is sent once.
    proofs: RefCell<Vec<String>>,
}

impl Contestant {
    pub(crate) fn new(app: Router, token: impl Into<String>) -> Self {
        Self::with_tokens(app, vec![token.into()])
    }

    /// Uses the tokens in an order that no prefetcher predicts.
    pub(crate) fn with_tokens(app: Router, tokens: Vec<String>) -> Self {
        Self { app, tokens, next: Cell::new(0), proofs: RefCell::default() }
    }

    /// Sends the tokens under the scheme `DPoP`, each with one of these proofs.
    pub(crate) fn with_proofs(self, proofs: Vec<String>) -> Self {
        Self { proofs: RefCell::new(proofs), ..self }
    }

    /// Sends one request with each token.
    pub(crate) async fn send_all(&self) {
        self.run(self.tokens.len()).await;
    }

    /// Sends this number of requests.
    pub(crate) async fn send(&self, count: usize) {
        self.run(count).await;
    }

    /// Sends `count` sequential requests. Returns the nanoseconds per request.
    async fn run(&self, count: usize) -> f64 {
        let mut app = self.app.clone();
        let requests: Vec<_> = (0..count).map(|_| self.request()).collect();
        let start = Instant::now();
        for request in requests {
            let response = app.call(request).await.unwrap();
            assert_eq!(response.status(), 200);
            black_box(response);
        }
        start.elapsed().as_nanos() as f64 / count as f64
    }

    /// Returns the next request.
    pub(crate) fn request(&self) -> Request<Body> {
        const STRIDE: usize = 7919;
        let index = self.next.replace((self.next.get() + STRIDE) % self.tokens.len());
        let (token, proof) = (&self.tokens[index], self.proofs.borrow_mut().pop());
        let scheme = if proof.is_some() { "DPoP" } else { "Bearer" };
        let request = Request::get("/orders").header("authorization", format!("{scheme} {token}"));
        let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
        request.body(Body::empty()).unwrap()
    }
}

/// Runs every contestant in every round, after ten rounds that don't count. Returns the times of each contestant, round by
/// round.
pub(crate) async fn paired(contestants: &[Contestant], rounds: usize, requests: usize) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..rounds + 10 {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            let nanoseconds = contestant.run(requests).await;
            if round >= 10 {
                times.push(nanoseconds);
            }
        }
    }
    times
}

/// Returns the median of the rounds' ratios.
pub(crate) fn ratio(times: &[f64], to: &[f64]) -> f64 {
    median(times.iter().zip(to).map(|(one, other)| one / other).collect())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}
