//! axum-jwt-auth. As in its README: `RemoteJwksDecoder` with audience and issuer, initialized before the first
//! request, `Claims<…>` in the handler. It turns jsonwebtoken's `rust_crypto` on and leaves no choice; the variant
//! `aws-lc-rs` is what an application can do about it by hand: turn the other one on as well and install it.
//!
//! Observed: accepts tokens without `aud` or without `iss`, ID tokens (`typ: JWT`), and bound tokens (`cnf`); responds with 500
//! to an unknown `crit`.

use std::sync::Arc;

use axum::{Router, routing::get};
use axum_jwt_auth::{Claims, Decoder, RemoteJwksDecoder};
use contestant::{PATH, Setup};
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

#[derive(Deserialize)]
struct User {
    sub: String,
}

fn main() {
    #[cfg(feature = "aws-lc-rs")]
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().expect("no other provider is installed");
    contestant::run(build);
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[&setup.audience]);
    validation.set_issuer(&[&setup.issuer]);
    validation.validate_nbf = true;
    let decoder = RemoteJwksDecoder::builder().jwks_url(setup.jwks_uri.clone()).validation(validation).build();
    let decoder = Arc::new(decoder.map_err(|error| error.to_string())?);
    let _shutdown = decoder.initialize().await.map_err(|error| error.to_string())?;
    let decoder: Decoder<User> = decoder;
    Ok(Router::new().route(PATH, get(orders)).with_state(decoder))
}

async fn orders(user: Claims<User>) -> &'static str {
    contestant::read(Some(&user.claims.sub))
}
