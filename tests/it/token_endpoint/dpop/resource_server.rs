//! The tokens of the endpoint at a resource server with DPoP.

use axum::{Router, routing::get};
use tower_oauth::{
    OAuthLayer, ResourceServer, Token,
    dpop::{Dpop, NonceSecret},
    testing::ProofKey,
};

use super::{CC, proof, send_with_key, token_with, world, world_with};
use crate::{
    support::{self, API, get_with_headers},
    token_endpoint::{OPAQUE, World, usual},
};

fn app(world: &World, audience: &str, dpop: Dpop) -> Router {
    let server = ResourceServer::builder(world.endpoint.verifier(audience)).dpop(dpop.clock(world.clock.clone()));
    let me = get(|token: Token| async move {
        token.confirmation().and_then(tower_oauth::confirmation::Confirmation::jwk_thumbprint).unwrap_or_default()
    });
    Router::new().route("/me", me).layer(OAuthLayer::from_server(server.build().unwrap()))
}

async fn call(app: &Router, token: &str, proof: &str) -> support::Answer {
    let authorization = format!("DPoP {token}");
    get_with_headers(app, "/me", &[("authorization", authorization.as_bytes()), ("dpop", proof.as_bytes())]).await
}

#[tokio::test]
async fn a_bound_token_is_accepted_only_with_its_key() {
    let world = world();
    let (key, other) = (ProofKey::new(), ProofKey::new());
    for audience in [API, OPAQUE] {
        let app = app(&world, audience, Dpop::new("https://api.test"));
        let answer = send_with_key(&world, &usual("reports"), &[CC, ("resource", audience)], Some(&key)).await;
        let token = answer.text("access_token");
        let made =
            |key: &ProofKey| key.proof("GET", "https://api.test/me").token(token).clock(world.clock.clone()).sign();
        let answer = call(&app, token, &made(&key)).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, key.thumbprint()));
        assert_eq!(call(&app, token, &made(&other)).await.status, 401);
        assert_eq!(support::get_with_token(&app, "/me", token).await.status, 401);
    }
}

/// RFC 9449 §9 (derived, refuses)
#[tokio::test]
async fn the_nonces_of_endpoint_and_resource_server_differ_with_one_secret() {
    let secret = || NonceSecret::shared([7; 32]);
    let world = world_with(|builder| builder.dpop_nonces(secret()));
    let key = ProofKey::new();
    let app = app(&world, API, Dpop::new("https://api.test").nonces(secret()));
    let answer = token_with(&world, &proof(&world, &key).sign()).await;
    let of_endpoint = super::nonces(&answer)[0].to_owned();
    let answer = token_with(&world, &proof(&world, &key).nonce(&of_endpoint).sign()).await;
    let token = answer.text("access_token");
    let made =
        |nonce: &str| key.proof("GET", "https://api.test/me").token(token).nonce(nonce).clock(world.clock.clone());
    let answer = call(&app, token, &made(&of_endpoint).sign()).await;
    assert_eq!(answer.status, 401);
    let of_server = answer.header("dpop-nonce").unwrap().to_owned();
    assert_ne!(of_server, of_endpoint);
    assert_eq!(call(&app, token, &made(&of_server).sign()).await.status, 200);
    let answer = token_with(&world, &proof(&world, &key).nonce(&of_server).sign()).await;
    answer.is_error(400, "use_dpop_nonce");
}
