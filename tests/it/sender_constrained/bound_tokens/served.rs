//! A server in this process, on a real socket: for rows that need another clock, another store or routes that the program does
//! not have.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use tower_oauth::{
    OAuthLayer, ResourceServer, Scoped, Token,
    dpop::Dpop,
    server::ResourceServerBuilder,
    testing::{ManualClock, MockIssuer, ProofBuilder, ProofKey},
};

use crate::{
    programs::protected_api::sender_fixture::{BASE, Offer, RawResponse},
    support::{API, Admin, ISSUER, serve, write_raw},
};

/// A client, and what its server needs. All use one clock that a test moves.
pub(super) struct Served {
    pub(super) clock: ManualClock,
    pub(super) issuer: MockIssuer,
    pub(super) key: ProofKey,
    pub(super) token: String,
}

impl Served {
    pub(super) fn new() -> Self {
        // The begin of a minute, so that a nonce is current for a whole one.
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let issuer = MockIssuer::new(ISSUER).with_clock(clock.clone());
        let key = ProofKey::new().with_clock(clock.clone());
        let token = issuer.token("ada").expires_in(Duration::from_secs(3600)).bound_to(&key).sign();
        Self { clock, issuer, key, token }
    }

    /// The settings of DPoP at [`BASE`], with the clock.
    pub(super) fn dpop(&self) -> Dpop {
        Dpop::new(BASE).clock(self.clock.clone())
    }

    pub(super) fn builder(&self, dpop: Dpop) -> ResourceServerBuilder {
        ResourceServer::builder(self.issuer.verifier(API)).clock(self.clock.clone()).dpop(dpop)
    }

    /// Serves the usual routes with these settings of DPoP.
    pub(super) async fn start(&self, dpop: Dpop) -> SocketAddr {
        self.serve(OAuthLayer::from_server(self.builder(dpop).build().unwrap())).await
    }

    /// Serves the usual routes behind this layer.
    pub(super) async fn serve(&self, layer: OAuthLayer) -> SocketAddr {
        serve(routes().layer(layer)).await
    }

    /// A valid, unsigned proof for `GET path`.
    pub(super) fn proof(&self, path: &str) -> ProofBuilder {
        self.key.proof("GET", &format!("{BASE}{path}")).token(&self.token)
    }

    /// `GET path` with the token under DPoP, and this proof.
    pub(super) async fn present(&self, address: SocketAddr, path: &str, proof: &str) -> RawResponse {
        let authorization = format!("DPoP {}", self.token);
        send(address, "GET", path, &[("Authorization", &authorization), ("DPoP", proof)]).await
    }
}

/// Sends a request with these headers to a server with DPoP and its default settings.
pub(super) async fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> RawResponse {
    let headers = header_lines(headers);
    let request = format!("{method} {path} HTTP/1.1\r\nHost: inside.test\r\nConnection: close\r\n{headers}\r\n");
    RawResponse::parse(&write_raw(address, request).await, Offer::default_proofs())
}

/// Returns the lines of these headers, each with its end.
pub(super) fn header_lines(headers: &[(&str, &str)]) -> String {
    headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect()
}

/// `/orders` and `/` accept every valid token, `/admin` requires a scope, `/broken` fails, `/stored` may be cached. Other paths
/// are 404.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/", get(|_: Token| async { "root" }))
        .route("/orders", get(|_: Token| async { "[]" }).post(|_: Token| async { "placed" }))
        .route("/admin", get(|_: Scoped<Admin>| async { "admin" }))
        .route("/broken", get(|_: Token| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/stored", get(|_: Token| async { ([(header::CACHE_CONTROL, "private, max-age=5")], "stored") }))
}
