//! jwt-authorizer, axum 0.7. As in its README: OpenID Connect discovery, `Validation` with issuer, audience and
//! `nbf`, `JwtClaims<RegisteredClaims>` in the handler. Signatures by jsonwebtoken 9, which is ring. No TLS: it is on
//! loopback, and fetches once.
//!
//! Observed: accepts tokens without `aud` or without `iss`, ID tokens (`typ: JWT`), an unknown `crit`, and bound tokens
//! (`cnf`).

use axum::{Router, body::Body, routing::get};
use contestant::{PATH, Setup};
use jwt_authorizer::{IntoLayer as _, JwtAuthorizer, JwtClaims, RegisteredClaims, Validation};

fn main() {
    contestant::run_with(build, Body::empty, |listener, app: Router| {
        Box::pin(async move { axum::serve(listener, app).await.expect("it listens") })
    });
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let validation = Validation::new().iss(&[&setup.issuer]).aud(&[&setup.audience]).nbf(true);
    let authorizer = JwtAuthorizer::<RegisteredClaims>::from_oidc(&setup.issuer).validation(validation).build().await;
    let authorizer = authorizer.map_err(|error| error.to_string())?;
    Ok(Router::new().route(PATH, get(orders)).layer(authorizer.into_layer()))
}

async fn orders(JwtClaims(user): JwtClaims<RegisteredClaims>) -> &'static str {
    contestant::read(user.sub.as_deref())
}
