//! Every answer to a bound token and its proof, row by row, over sockets: the example program `protected_api`, and servers in this
//! process where a row needs another clock or another route.
//!
//! The rows: P the proof as a JWT (RFC 9449 §4.3 items 1 to 7), C its claims and its replay (items 8 to 12, §11.1), N nonces (§9),
//! S schemes and the binding (§7). Each test begins its messages with the row.

mod binding;
mod claims;
mod grpc;
mod introspected;
mod methods;
mod nonces;
mod places;
mod proofs;
mod replay;
mod served;

use std::sync::Arc;

use tower_oauth::testing::{ProofBuilder, ProofKey};

use crate::programs::protected_api::sender_fixture::{RawResponse, Reply, SenderApi, proof};

/// The URL of `/orders`, at the base that the program has.
const URL: &str = "https://api.example.test/v1/orders";

/// The running program, and a client with a key and a token that is bound to it.
struct Bound {
    api: SenderApi,
    key: ProofKey,
    token: String,
}

/// A line of a table: the row, what is special, the headers of the request, and the reply.
struct Row(&'static str, &'static str, Vec<(&'static str, String)>, Reply<'static>);

impl Bound {
    /// Starts the program with these variables. `None` if it was not built.
    async fn start(settings: &[(&str, &str)]) -> Option<Self> {
        Self::with_key(ProofKey::new(), settings).await
    }

    async fn with_key(key: ProofKey, settings: &[(&str, &str)]) -> Option<Self> {
        let api = SenderApi::start(settings).await?;
        let token = api.bound_to(&key);
        Some(Self { api, key, token })
    }

    /// The same client at another program that has the same issuer.
    async fn another_instance(&self, settings: &[(&str, &str)]) -> Option<Self> {
        let api = SenderApi::trusting(Arc::clone(&self.api.issuer), settings).await?;
        Some(Self { api, key: self.key.clone(), token: self.token.clone() })
    }

    /// A valid, unsigned proof for `GET /orders`.
    fn proof(&self) -> ProofBuilder {
        self.proof_for("GET", "/orders")
    }

    fn proof_for(&self, method: &str, path: &str) -> ProofBuilder {
        proof(&self.key, method, path, &self.token)
    }

    /// The value of `Authorization` under DPoP.
    fn dpop(&self) -> String {
        format!("DPoP {}", self.token)
    }

    /// The value of `Authorization` with the bound token under Bearer.
    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Sends `GET /orders` with the token under DPoP, and this proof.
    async fn present(&self, proof: &str) -> RawResponse {
        let response = self.api.present("GET", "/orders", &self.token, proof).await;
        let text = format!("{response:?}");
        for secret in proof.split(['.', ',', ' ']).chain(self.token.split('.')).filter(|secret| secret.len() > 20) {
            assert!(!text.contains(secret), "the response has a part of the token or the proof: {text}");
        }
        response
    }

    /// Sends `GET /orders` with the token and this proof, to a server without nonces.
    async fn must(&self, row: &str, proof: &str, reply: Reply<'_>) {
        must_be(&self.present(proof).await, reply, row);
    }

    /// Sends `GET /orders` with the headers of each line, to a server without nonces.
    async fn check(&self, rows: Vec<Row>) {
        for Row(row, input, headers, reply) in rows {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            must_be(&self.api.send("GET", "/orders", &headers).await, reply, &format!("{row}: {input}"));
        }
    }
}

/// Panics unless this is the reply of a server without nonces.
#[track_caller]
fn must_be(response: &RawResponse, reply: Reply<'_>, row: &str) {
    with_nonces(response, reply, 0, row);
}

/// Panics unless this is the reply, with this number of `DPoP-Nonce` headers.
#[track_caller]
fn with_nonces(response: &RawResponse, reply: Reply<'_>, nonces: usize, row: &str) {
    response.must_be(reply, row);
    assert_eq!(response.all("dpop-nonce").len(), nonces, "{row}: {response:#?}");
    let wait = matches!(reply, Reply::Unavailable).then_some("1");
    assert_eq!(response.one("retry-after"), wait, "{row}: {response:#?}");
    if matches!(reply, Reply::Ok) {
        assert_eq!(response.one("cache-control"), None, "{row}: {response:#?}");
    }
}
