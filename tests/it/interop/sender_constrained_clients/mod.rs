//! Clients that applications use with sender-constrained tokens, over sockets, as the scripts in
//! `tests/clients/sender_constrained`: npm's oauth4webapi, openid-client, dpop, and the OAuth client of the AT Protocol.
//!
//! The tokens are those of oidc-provider or of the program `authorization_server`; the API is the program `protected_api`. Each
//! script prints its HTTP exchanges, and a test compares them, one line for each, such as
//! `first: 401 DPoP use_dpop_nonce, Bearer +nonce`: what the client did, the status, the challenges in their order with their
//! errors (or the error of the token endpoint), and whether the refusal has a nonce.

mod authorization_server;
mod certificates;
mod exchanges;
mod oidc_provider;
mod programs;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tower_oauth::{
    ResourceServer,
    dpop::{Dpop, NonceSecret},
    testing::ManualClock,
};

use self::programs::Program;
use crate::support::{API, issuer};

/// The secret of the API's nonces, and its value for the program.
const SECRET: [u8; 32] = [7; 32];
const SECRET_IN_HEX: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const CALLBACK: &str = "http://127.0.0.1:8799/cb";

/// Returns a nonce that the API offered 90 seconds ago.
fn old_nonce() -> String {
    let clock = ManualClock::new(SystemTime::now() - Duration::from_secs(90));
    let dpop = Dpop::new(API).nonces(NonceSecret::shared(SECRET)).clock(clock);
    let server = ResourceServer::builder(issuer().verifier(API)).dpop(dpop).build().unwrap();
    server.dpop_nonce().unwrap().to_str().unwrap().to_owned()
}

/// The settings of a confidential client with client credentials.
fn machine(issuer: &str, client: (&str, &str), resource: &str, api: &Program) -> Value {
    let mut settings = common(issuer, client.0, resource, "orders:read", api);
    settings["client_secret"] = client.1.into();
    settings
}

/// The settings of a public client with the authorization code flow.
fn native(issuer: &str, client_id: &str, resource: &str, scope: &str, api: &Program) -> Value {
    let mut settings = common(issuer, client_id, resource, scope, api);
    settings["redirect_uri"] = CALLBACK.into();
    settings
}

fn common(issuer: &str, client_id: &str, resource: &str, scope: &str, api: &Program) -> Value {
    let url = format!("{}/whoami", api.origin);
    json!({
        "issuer": issuer, "token_endpoint": format!("{issuer}/token"), "client_id": client_id, "scope": scope,
        "resource": resource, "url": url, "old_nonces": {url: old_nonce()},
    })
}

/// The client id of a native app of the AT Protocol, which contains its registration.
fn atproto_client_id() -> String {
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    parameters.extend_pairs([("scope", ATPROTO_SCOPE), ("redirect_uri", CALLBACK)]);
    format!("http://localhost?{}", parameters.finish())
}

const ATPROTO_SCOPE: &str = "atproto orders:read";

/// The settings of the client of the AT Protocol.
fn atproto(issuer: &str, api: &Program) -> Value {
    native(issuer, &atproto_client_id(), "", ATPROTO_SCOPE, api)
}

// --- What the clients see ---

/// The first request is refused once. The nonce of the second is 90 seconds old, so the response has the current one, which later
/// requests have.
const FIRST_REQUESTS: &[&str] =
    &["first: 401 DPoP use_dpop_nonce, Bearer +nonce", "first: 200", "second: 200", "third: 200"];

/// A bound token is of no use for another client that has it, also with a proof that was used.
const MISUSE: &[&str] = &[
    "as bearer: 401 Bearer invalid_token, DPoP",
    "without a proof: 401 DPoP invalid_dpop_proof, Bearer +nonce",
    "replayed: 401 DPoP invalid_dpop_proof, Bearer +nonce",
];

/// The requests of a client at a token endpoint that requires nonces.
const TOKEN_WITH_NONCE: &[&str] = &["token: 400 use_dpop_nonce +nonce", "token: 200"];
const MACHINE_REQUESTS: [&[&str]; 3] = [FIRST_REQUESTS, MISUSE, &["afterwards: 200"]];

/// A public client's refresh token is bound to its key.
const USER_TOKENS: [&[&str]; 2] = [
    TOKEN_WITH_NONCE,
    &[
        "refresh: 200",
        "refresh with another key: 400 use_dpop_nonce +nonce",
        "refresh with another key: 400 invalid_grant",
        "refresh without a proof: 400 invalid_grant",
        "refresh with the right key: 200",
    ],
];
const USER_REQUESTS: [&[&str]; 4] = [FIRST_REQUESTS, &["after the refresh: 200"], MISUSE, &["afterwards: 200"]];
const ATPROTO_REQUESTS: [&[&str]; 3] = [FIRST_REQUESTS, MISUSE, &["after the refresh: 200"]];

const DPOP_TOKENS: &[&str] = &[
    "token for RS256: 400 use_dpop_nonce +nonce",
    "token for RS256: 200",
    "token for PS256: 200",
    "token for Ed25519: 200",
    "token for ES256: 200",
];
const DPOP_REQUESTS: [&[&str]; 3] = [
    &[
        "request with RS256: 401 DPoP use_dpop_nonce, Bearer +nonce",
        "request with RS256: 200",
        "request with PS256: 200",
        "request with Ed25519: 200",
        "request with ES256: 200",
    ],
    MISUSE,
    &[
        "with a query: 200",
        "with another key: 401 DPoP invalid_token, Bearer",
        "with a proof for another URL: 401 DPoP invalid_dpop_proof, Bearer +nonce",
        "afterwards: 200",
    ],
];
