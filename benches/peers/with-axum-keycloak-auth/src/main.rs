//! axum-keycloak-auth. As in its documentation: an instance by server and realm, discovered; a layer that blocks,
//! with an audience and no raw claims kept; `Extension<KeycloakToken<String>>` in the handler. It has no setting for the
//! issuer and none for `nbf`. Signatures by jsonwebtoken 9, which is ring.
//!
//! Observed: accepts any issuer's `iss`, tokens without `aud`, before their `nbf`, ID tokens (`typ: JWT`), an unknown
//! `crit`, and bound tokens (`cnf`); responds with 500 to a token without `iss`; panics if a request comes before discovery
//! has begun.

use axum::{Extension, Router, routing::get};
use axum_keycloak_auth::{
    PassthroughMode, Url,
    decode::KeycloakToken,
    instance::{KeycloakAuthInstance, KeycloakConfig},
    layer::KeycloakAuthLayer,
};
use contestant::{PATH, Setup};

fn main() {
    contestant::run(build);
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let (server, realm) = setup.issuer.split_once("/realms/").ok_or("the issuer is no Keycloak realm")?;
    let server = Url::parse(server).map_err(|error| error.to_string())?;
    let instance = KeycloakAuthInstance::new(KeycloakConfig::builder().server(server).realm(realm.to_owned()).build());
    while !instance.is_operational().await {
        tokio::task::yield_now().await; // A request before the discovery has begun panics.
    }
    let layer = KeycloakAuthLayer::<String>::builder()
        .instance(instance)
        .passthrough_mode(PassthroughMode::Block)
        .persist_raw_claims(false)
        .expected_audiences(vec![setup.audience.clone()])
        .build();
    Ok(Router::new().route(PATH, get(orders)).layer(layer))
}

async fn orders(Extension(token): Extension<KeycloakToken<String>>) -> &'static str {
    contestant::read(Some(&token.subject))
}
