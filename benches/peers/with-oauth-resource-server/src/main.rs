//! oauth-resource-server. As in its README: a resolved configuration with a required scope, one validator with its
//! background refresh, `AuthLayer` on the route, `Credential` in the handler; and `require_at_jwt`, its option for
//! RFC 9068. Signatures by jsonwebtoken 9, which is ring.
//!
//! Observed: refuses every invalid token of the driver.

use std::sync::Arc;

use axum::{Router, routing::get};
use contestant::{PATH, Setup};
use oauth_resource_server::{
    Credential, KeyNaming, OAuthConfig, OAuthValidator,
    axum::{AuthLayer, metadata_router},
    static_token_policy,
};

fn main() {
    contestant::run(build);
}

async fn build(setup: &Setup) -> Result<Router, String> {
    let config = OAuthConfig {
        enabled: true,
        issuer: setup.issuer.clone(),
        audience: setup.audience.clone(),
        resource: setup.audience.clone(),
        required_scope: Some("orders:read".to_owned()),
        require_at_jwt: true,
        ..OAuthConfig::default()
    };
    let resolved = config.resolve(KeyNaming::Dotted("oauth")).map_err(|error| error.to_string())?;
    let resolved = resolved.ok_or("it is not enabled")?;
    let oauth = Arc::new(OAuthValidator::new(&resolved).map_err(|error| error.to_string())?);
    oauth.spawn_background_refresh();
    let decision = static_token_policy(None, Some(&resolved), false).map_err(|error| error.to_string())?;
    let layer = AuthLayer::from_decision(decision, Some(Arc::clone(&oauth))).map_err(|error| error.to_string())?;
    Ok(Router::new().route(PATH, get(orders)).route_layer(layer).merge(metadata_router(Some(oauth))))
}

async fn orders(credential: Credential) -> &'static str {
    match credential {
        Credential::OAuth(token) => contestant::read(token.subject.as_deref()),
        _ => contestant::read(None),
    }
}
