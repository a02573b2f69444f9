//! tower-oauth2-resource-server. As in its documentation: a tenant by its issuer's URL, discovered, with audiences;
//! `Extension<DefaultClaims>` in the handler. The backend is this package's feature. Without TLS: it is on loopback.
//!
//! Observed: accepts ID tokens (`typ: JWT`), an unknown `crit`, and bound tokens (`cnf`); `nbf` counts only if the
//! issuer's metadata list it among the supported claims.

use axum::{Extension, Router, routing::get};
use contestant::{PATH, Setup};
use tower_oauth2_resource_server::{claims::DefaultClaims, server::OAuth2ResourceServer, tenant::TenantConfiguration};

fn main() {
    contestant::run(build);
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let tenant = TenantConfiguration::builder(&setup.issuer).audiences(&[&setup.audience]).build().await;
    let tenant = tenant.map_err(|error| error.to_string())?;
    let server = <OAuth2ResourceServer>::builder().add_tenant(tenant).build().await;
    let server = server.map_err(|error| error.to_string())?;
    Ok(Router::new().route(PATH, get(orders)).layer(server.into_layer()))
}

async fn orders(Extension(claims): Extension<DefaultClaims>) -> &'static str {
    contestant::read(claims.sub.as_deref())
}
