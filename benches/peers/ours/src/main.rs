//! The bare route, the limit, and tower-oauth as in its README: with discovery, without and with a cache.

#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../../support/limit.rs"]
mod limit;

use std::time::Duration;

use axum::{Router, routing::get};
use contestant::{PATH, Setup};
use limit::Limit;
use tower_oauth::{Cached, Issuer, JwtVerifier, OAuthLayer, Token, verify::Verify};

fn main() {
    contestant::run(build);
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let bare = || Router::new().route(PATH, get(async || "sub"));
    Ok(match setup.variant.as_str() {
        "bare" => bare(),
        "limit" => bare().layer(Limit::new(&setup.jwk, &setup.token)),
        "no cache" => protected(verifier(setup).await?),
        _ => protected(Cached::new(verifier(setup).await?, Duration::from_secs(600))),
    })
}

async fn verifier(setup: &Setup) -> Result<JwtVerifier, String> {
    let issuer = Issuer::discover(&setup.issuer).await.map_err(|error| error.to_string())?;
    JwtVerifier::new(issuer, &setup.audience).map_err(|error| error.to_string())
}

fn protected(verifier: impl Verify) -> Router {
    Router::new().route(PATH, get(orders)).layer(OAuthLayer::new(verifier))
}

async fn orders(token: Token) -> &'static str {
    contestant::read(token.subject())
}
