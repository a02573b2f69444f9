//! axum-jwks. As in its documentation: `Jwks::from_oidc_url` with an audience, `Claims<…>` in the handler. It has no
//! setting for the issuer and none for `nbf`. Signatures by jsonwebtoken 9, which is ring.
//!
//! Observed: accepts any issuer's `iss`, tokens without `aud`, before their `nbf`, ID tokens (`typ: JWT`), an unknown
//! `crit`, and bound tokens (`cnf`).

use axum::{
    Router,
    extract::FromRef,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use axum_jwks::{Claims, Jwks, ParseTokenClaims, TokenError};
use contestant::{PATH, Setup};
use serde::Deserialize;

#[derive(Clone)]
struct AppState {
    jwks: Jwks,
}

impl FromRef<AppState> for Jwks {
    fn from_ref(state: &AppState) -> Self {
        state.jwks.clone()
    }
}

#[derive(Deserialize)]
struct User {
    sub: String,
}

impl ParseTokenClaims for User {
    type Rejection = Refused;
}

struct Refused;

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

impl From<TokenError> for Refused {
    fn from(_: TokenError) -> Self {
        Self
    }
}

fn main() {
    contestant::run(build);
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let metadata = format!("{}/.well-known/openid-configuration", setup.issuer);
    let jwks = Jwks::from_oidc_url(&metadata, Some(&setup.audience)).await.map_err(|error| error.to_string())?;
    Ok(Router::new().route(PATH, get(orders)).with_state(AppState { jwks }))
}

async fn orders(Claims(user): Claims<User>) -> &'static str {
    contestant::read(Some(&user.sub))
}
