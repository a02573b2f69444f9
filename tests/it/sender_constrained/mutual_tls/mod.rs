//! Tokens that are bound to a client's certificate (RFC 8705), over real sockets: the program `protected_api` ends TLS itself,
//! or is behind a proxy that does.

mod certificates;
mod client;
mod connection;
mod headers;
mod proxies;
mod settings;

use tower_oauth::{keys::Algorithm, testing::TokenBuilder};

use crate::{fake_issuer::FakeIssuer, programs::protected_api::Api, support::API};

/// Starts the program for the tokens of this issuer.
async fn start(issuer: &FakeIssuer, settings: &[(&str, &str)]) -> Option<Api> {
    let usual = [("OAUTH_ISSUER", &*issuer.identifier), ("OAUTH_AUDIENCE", API)];
    Api::start(&[&usual[..], settings].concat()).await
}

/// A valid token that is bound to nothing.
fn token(issuer: &FakeIssuer) -> TokenBuilder {
    issuer.signer(Algorithm::ES256).token("ada").audience(API).scope("orders:read orders:write")
}
