//! Both parts of the crate together: the resource server accepts the tokens that the endpoint issues.

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_oauth::{
    ClientToken, IntrospectionVerifier, Issuer, JwtOrOpaque, JwtVerifier, OAuthLayer, Scoped,
    fetch::{Fetch, FetchError, FetchFuture},
    keys::{Algorithm, PrivateKey},
    token_endpoint::{ClientCredentialsGrant, MemoryStore, Store, TokenEndpoint},
    verify::ClientAuthentication,
};

use super::{ISSUER, OPAQUE, World, usual};
use crate::support::{API, OrdersRead, OrdersWrite, get_with_token};

/// A network of one server: passes each request to the endpoint.
pub(crate) struct Wire(pub(crate) TokenEndpoint);

impl Fetch for Wire {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        let endpoint = self.0.clone();
        let (mut parts, body) = request.into_parts();
        parts.uri = parts.uri.path().parse().unwrap();
        FetchFuture::new(async move {
            let request = Request::from_parts(parts, Body::from(body));
            let (parts, body) = endpoint.oneshot(request).await.map_err(|_| FetchError::new("no"))?.into_parts();
            let body = body.collect().await.map_err(|_| FetchError::new("no"))?.to_bytes();
            Ok(Response::from_parts(parts, body))
        })
    }
}

async fn read(_: Scoped<OrdersRead>, client: ClientToken) -> String {
    client.client_id().unwrap_or_default().to_owned()
}

fn api(layer: OAuthLayer) -> Router {
    let write = get(|_: Scoped<OrdersWrite>| async { "written" });
    Router::new().route("/orders", get(read)).route("/write", write).layer(layer)
}

/// RFC 9068 §2 (MUST, accepts)
#[tokio::test]
async fn accepts_every_jwt_of_every_algorithm_found_by_the_metadata() {
    for algorithm in [Algorithm::ES256, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA] {
        let world = World::new();
        let key = PrivateKey::generate(algorithm).unwrap();
        let endpoint = TokenEndpoint::builder(ISSUER, key, world.clients.clone());
        let endpoint = endpoint.grant(ClientCredentialsGrant::new()).clock(world.clock.clone()).build().unwrap();
        let world = World { endpoint, ..world };
        let issuer = Issuer::builder(ISSUER).fetch(Wire(world.endpoint.clone())).discover().await.unwrap();
        let verifier = JwtVerifier::builder(issuer, API).clock(world.clock.clone()).build().unwrap();
        let app = api(OAuthLayer::new(verifier));

        let token = world.access_token("reports", &[]).await;
        let answer = get_with_token(&app, "/orders", &token).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "reports"));
        assert!(get_with_token(&app, "/write", &token).await.is_refusal(403, "insufficient_scope"));
        let writer = world.access_token("reports", &[("scope", "orders:write")]).await;
        assert_eq!(get_with_token(&app, "/write", &writer).await.status, 200);
        let elsewhere = world.access_token("reports", &[("resource", OPAQUE)]).await;
        assert!(get_with_token(&app, "/orders", &elsewhere).await.is_refusal(401, "invalid_token"));

        // A token with the next key is accepted at once, because the verifier refreshes its keys.
        world.endpoint.rotate_key(PrivateKey::generate(algorithm).unwrap()).await.unwrap();
        world.clock.advance(std::time::Duration::from_secs(3600));
        let token = world.access_token("others", &[]).await;
        assert_eq!(get_with_token(&app, "/orders", &token).await.body, "others");
        world.post("/revoke", &usual("others"), &[("token", &token)]).await.is_ok();
    }
}

/// RFC 9068 §2 (MUST, refuses)
#[tokio::test]
async fn one_layer_accepts_jwts_and_opaque_tokens_of_the_endpoint() {
    accepts_every_token(MemoryStore::new()).await;
}

/// Checks that one layer accepts JWTs and opaque tokens of an endpoint with this store, until they are revoked or expire.
pub(crate) async fn accepts_every_token(store: impl Store) {
    let world = World::with(|builder| builder.store(store));
    let wire = || Wire(world.endpoint.clone());
    let issuer = Issuer::builder(ISSUER).fetch(wire()).discover().await.unwrap();
    let jwts = JwtVerifier::builder(issuer.clone(), API).clock(world.clock.clone()).build().unwrap();
    let client = ClientAuthentication::secret_basic("watch", "watch-secret");
    let asks = IntrospectionVerifier::builder(issuer, client, OPAQUE).fetch(wire()).clock(world.clock.clone());
    let app = api(OAuthLayer::new(JwtOrOpaque::new(jwts, asks.build().unwrap())));

    let jwt = world.access_token("reports", &[("resource", API)]).await;
    let opaque = world.access_token("reports", &[("resource", OPAQUE)]).await;
    for token in [&jwt, &opaque] {
        let answer = get_with_token(&app, "/orders", token).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "reports"));
        assert!(get_with_token(&app, "/write", token).await.is_refusal(403, "insufficient_scope"));
        world.post("/revoke", &usual("reports"), &[("token", token)]).await.is_ok();
    }
    assert!(get_with_token(&app, "/orders", &opaque).await.is_refusal(401, "invalid_token"));
    assert_eq!(
        get_with_token(&app, "/orders", &jwt).await.status,
        200,
        "a JWT is checked locally and accepted until it expires"
    );
    world.clock.advance(std::time::Duration::from_secs(3700));
    assert!(get_with_token(&app, "/orders", &jwt).await.is_refusal(401, "invalid_token"));
}
