//! huskarl-axum. As in its documentation: RFC 8414 discovery, `Rfc9068Validator` with the key set's URL from there,
//! `ValidatorLayer::authenticated`, `ValidatedToken` in the handler. Signatures by its own JOSE code over its default
//! platform's verifier, which is RustCrypto's `rsa` 0.10. Without TLS: it is on loopback.
//!
//! Observed: refuses every invalid token of the driver.

use axum::{Router, routing::get};
use contestant::{PATH, Setup};
use huskarl_axum::{
    extractors::ValidatedToken,
    layers::ValidatorLayer,
    resource_server::{
        core::server_metadata::AuthorizationServerMetadata,
        validator::rfc9068::{Rfc9068AccessTokenClaims, Rfc9068Validator},
    },
};
use huskarl_reqwest::{ReqwestClient, mtls::NoMtls};

fn main() {
    contestant::run(build);
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let client = ReqwestClient::builder().mtls(NoMtls).build().await.map_err(|error| error.to_string())?;
    let metadata = AuthorizationServerMetadata::fetch().http_client(&client).issuer(&setup.issuer).call().await;
    let metadata = metadata.map_err(|error| error.to_string())?;
    let validator: Rfc9068Validator = Rfc9068Validator::builder_from_metadata(&metadata)
        .audience(&setup.audience)
        .jwks_source(client)
        .build()
        .await
        .map_err(|error| error.to_string())?;
    let layer = ValidatorLayer::builder().validator(validator).build();
    Ok(Router::new().route(PATH, get(orders)).layer(layer.authenticated()))
}

async fn orders(token: ValidatedToken<Rfc9068AccessTokenClaims>) -> &'static str {
    contestant::read(token.sub.as_deref())
}
