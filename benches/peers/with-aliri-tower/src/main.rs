//! aliri_tower. As in its documentation: an `Authority` from the key set's URL, refreshed in the background, with
//! algorithm, audience, issuer, expiry and `nbf` checked; `BasicClaimsWithScope` from the request's extensions.
//! Signatures by ring. It has no discovery.
//!
//! Observed: accepts ID tokens (`typ: JWT`), an unknown `crit`, and bound tokens (`cnf`).

use std::time::Duration;

use aliri::{jwa::Algorithm, jwt};
use aliri_oauth2::{Authority, scope::BasicClaimsWithScope};
use aliri_tower::Oauth2Authorizer;
use axum::{Extension, Router, body::Body, routing::get};
use contestant::{PATH, Setup};

fn main() {
    contestant::run(build);
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let validator = jwt::CoreValidator::default()
        .add_approved_algorithm(Algorithm::RS256)
        .add_allowed_audience(jwt::Audience::new(setup.audience.clone()))
        .require_issuer(jwt::Issuer::new(setup.issuer.clone()))
        .check_expiration()
        .check_not_before();
    let authority = Authority::new_from_url(setup.jwks_uri.clone(), validator).await;
    let authority = authority.map_err(|error| error.to_string())?;
    authority.spawn_refresh(Duration::from_secs(600));
    let layer = Oauth2Authorizer::new().with_terse_error_handler::<Body>().jwt_layer(authority);
    Ok(Router::new().route(PATH, get(orders)).layer(layer))
}

async fn orders(Extension(claims): Extension<BasicClaimsWithScope>) -> &'static str {
    contestant::read(jwt::CoreClaims::sub(&claims).map(|subject| subject.as_str()))
}
