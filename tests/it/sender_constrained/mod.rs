//! Tokens that are bound to their sender, in one process: challenges, layers, streams and settings. `protected_api` has the
//! tests over sockets, `dpop` the unit tests of proofs.

// With the features of the program that it drives.
#[cfg(feature = "aws-lc-rs")]
mod bound_tokens;
mod challenges;
mod forged_proofs;
mod layers;
mod mutual_tls;
mod proof_keys;
mod replay_stores;
mod settings;
mod streams;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Router, routing::get};
use http::Request;
use tower_oauth::{
    OAuthLayer, ResourceServer, Scoped, Token,
    dpop::{Dpop, Insertion, MemoryReplayStore, ReplayError, ReplayKey, ReplayStore},
    extract::SenderConstrained,
    server::ResourceServerBuilder,
    step_up::StepUp,
    testing::{ManualClock, MockIssuer, ProofKey},
};

use crate::support::{API, Answer, ISSUER, OrdersRead, OrdersWrite, send};

/// A client with a key, a token that is bound to it, and an API that checks proofs, by one clock that a test moves.
struct Fixture {
    clock: ManualClock,
    issuer: MockIssuer,
    key: ProofKey,
    token: String,
}

impl Fixture {
    fn new() -> Self {
        // The begin of a minute, so that a nonce is current for a whole one.
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let issuer = MockIssuer::new(ISSUER).with_clock(clock.clone());
        let key = ProofKey::new().with_clock(clock.clone());
        let token = issuer.token("ada").scope("orders:read").expires_in(HOUR).bound_to(&key).sign();
        Self { clock, issuer, key, token }
    }

    fn dpop(&self) -> Dpop {
        Dpop::new(API).clock(self.clock.clone())
    }

    fn server(&self, configure: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder) -> ResourceServer {
        let builder = ResourceServer::builder(self.issuer.verifier(API)).dpop(self.dpop()).clock(self.clock.clone());
        configure(builder).build().unwrap()
    }

    fn app(&self, configure: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder) -> Router {
        router(&self.clock).layer(OAuthLayer::from_server(self.server(configure)))
    }

    fn unbound(&self) -> String {
        self.issuer.token("ada").scope("orders:read").sign()
    }

    fn proof(&self, path: &str) -> String {
        self.key.proof("GET", &format!("{API}{path}")).token(&self.token).sign()
    }

    /// `GET path` with the bound token and a new proof.
    async fn get(&self, app: &Router, path: &str) -> Answer {
        self.get_with_proof(app, path, &self.proof(path)).await
    }

    async fn get_with_proof(&self, app: &Router, path: &str, proof: &str) -> Answer {
        get_as(app, path, &format!("DPoP {}", self.token), Some(proof)).await
    }
}

const HOUR: Duration = Duration::from_secs(3600);

async fn get_as(app: &Router, path: &str, authorization: &str, proof: Option<&str>) -> Answer {
    let request = Request::get(path).header("authorization", authorization);
    let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
    send(app, request.body(axum::body::Body::empty()).unwrap()).await
}

fn router(clock: &ManualClock) -> Router {
    let step_up = Arc::new(StepUp::builder().acr("mfa").clock(clock.clone()).build().unwrap());
    let strong = move |token: Token| async move { step_up.check(&token).map(|()| "done") };
    Router::new()
        .route("/me", get(|token: Token| async move { format!("{:?}", token.confirmation()) }))
        .route("/orders", get(|_: Scoped<OrdersRead>| async { "[]" }))
        .route("/write", get(|_: Scoped<OrdersWrite>| async { "made" }))
        .route("/pay", get(|_: SenderConstrained<Scoped<OrdersRead>>| async { "paid" }))
        .route("/maybe", get(|token: Option<SenderConstrained<Token>>| async move { token.is_some().to_string() }))
        .route("/strong", get(strong))
}

/// A store that can't be reached, and one whose answer comes later.
struct Unreachable;

impl ReplayStore for Unreachable {
    fn insert_if_absent(&self, _: &ReplayKey, _: u64, _: u64) -> Insertion {
        Insertion::Now(Err(ReplayError::new("the server is down")))
    }
}

struct Later(MemoryReplayStore);

impl ReplayStore for Later {
    fn insert_if_absent(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Insertion {
        let insertion = self.0.insert_if_absent(key, expires_at, now);
        Insertion::later(async move {
            tokio::task::yield_now().await;
            insertion.resolve().await
        })
    }
}
