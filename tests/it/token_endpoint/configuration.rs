//! The metadata (RFC 8414), the paths of the endpoints, and mistakes in the configuration.

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;
use tower_oauth::{
    error::ConfigMistake,
    keys::{Algorithm, PrivateKey},
    token_endpoint::{AuthorizationCodeGrant, ClientCredentialsGrant, Clients, SigningKeys, TokenEndpoint},
};

use super::{AUTHORIZE, CB, ISSUER, World, machine};

/// RFC 8414 §2 b (MUST, accepts)
#[tokio::test]
async fn the_metadata_is_correct_and_omits_what_is_not_offered() {
    let world = World::with(|builder| builder.scopes_supported(["orders:read"]));
    let answer = world.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let algorithms: Vec<_> = Algorithm::supported().iter().map(|algorithm| algorithm.as_str()).collect();
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    assert_eq!(
        answer.json,
        json!({
            "issuer": ISSUER,
            "token_endpoint": "https://as.test/token",
            "jwks_uri": "https://as.test/jwks.json",
            "scopes_supported": ["orders:read"],
            "response_types_supported": [], // RFC 8414 §2 requires it
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint": "https://as.test/revoke",
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint": "https://as.test/introspect",
            "introspection_endpoint_auth_methods_supported": methods,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        })
    );
    assert!(!answer.plain.body.contains("none"), "RFC 8414 §2: no alg none");
}

/// RFC 8414 §2 b (MUST, accepts)
#[tokio::test]
async fn an_issuer_without_codes_may_publish_an_authorization_endpoint_which_refuses_every_request() {
    let path = "/.well-known/oauth-authorization-server";
    let plain = World::new().get(path).await.json;
    let world = World::with(|builder| builder.publish_authorization_endpoint(AUTHORIZE));
    let mut published = world.get(path).await.json;
    assert_eq!(published.as_object_mut().unwrap().remove("authorization_endpoint"), Some(AUTHORIZE.into()));
    assert_eq!(published, plain, "nothing else differs");
    let error = world.ask(&[]).await.unwrap_err();
    assert_eq!((error.code(), error.redirect_uri()), ("unsupported_response_type", Some(CB)));
    assert_eq!(world.ask(&[("client_id", "reports")]).await.unwrap_err().redirect_uri(), None);

    let key = || PrivateKey::generate(Algorithm::ES256).unwrap();
    let builder =
        || TokenEndpoint::builder(ISSUER, key(), Clients::new([]).unwrap()).grant(ClientCredentialsGrant::new());
    let both = builder().grant(AuthorizationCodeGrant::new(AUTHORIZE)).publish_authorization_endpoint(AUTHORIZE);
    for wrong in [both, builder().publish_authorization_endpoint("http://as.test/authorize")] {
        let error = wrong.build().unwrap_err();
        let settings: Vec<_> = error.mistakes().iter().map(ConfigMistake::setting).collect();
        assert_eq!(settings, ["publish_authorization_endpoint"]);
    }
}

/// RFC 8414 §2 b (MUST, refuses)
/// Threat T29
#[tokio::test]
async fn nothing_of_the_metadata_comes_from_the_request() {
    let world = World::new();
    let honest = world.get("/.well-known/oauth-authorization-server").await;
    let misleading = Request::get("http://evil.test/.well-known/oauth-authorization-server")
        .header("host", "evil.test")
        .header("forwarded", "host=evil.test;proto=http")
        .header("x-forwarded-host", "evil.test")
        .header("x-forwarded-proto", "http");
    let answer = world.send(misleading.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.plain.body, honest.plain.body);
}

/// RFC 8414 §3 (MUST, accepts and refuses)
#[tokio::test]
async fn an_issuer_with_a_path_has_its_endpoints_below_it_and_its_metadata_before_it() {
    for issuer in ["https://as.test/tenants/a", "https://as.test/tenants/a/"] {
        let world = World::new();
        let key = PrivateKey::generate(Algorithm::ES256).unwrap();
        let endpoint = TokenEndpoint::builder(issuer, key, world.clients.clone());
        let endpoint = endpoint.grant(ClientCredentialsGrant::new()).clock(world.clock.clone()).build().unwrap();
        let paths: Vec<_> = endpoint.paths().map(str::to_owned).collect();
        assert_eq!(
            paths,
            [
                "/tenants/a/token",
                "/tenants/a/introspect",
                "/tenants/a/revoke",
                "/tenants/a/jwks.json",
                "/.well-known/oauth-authorization-server/tenants/a"
            ]
        );
        let world = World { endpoint, ..world };
        let metadata = world.get(&paths[4]).await.json;
        assert_eq!(metadata["issuer"], issuer);
        assert_eq!(metadata["token_endpoint"], "https://as.test/tenants/a/token");
        let form = [("grant_type", "client_credentials")];
        world.post(&paths[0], &super::usual("reports"), &form).await.is_ok();
        assert_eq!(world.get("/.well-known/oauth-authorization-server").await.status(), 404);
        assert_eq!(world.post("/token", &super::usual("reports"), &form).await.status(), 404);
    }
}

#[tokio::test]
async fn it_can_be_a_fallback_or_a_route_at_each_of_its_paths_in_an_axum_router() {
    let world = World::new();
    let fallback = Router::new().route("/", get(|| async { "home" })).fallback_service(world.endpoint.clone());
    let paths: Vec<_> = world.endpoint.paths().map(str::to_owned).collect();
    let routed = paths.iter().fold(Router::new().route("/", get(|| async { "home" })), |router, path| {
        router.route_service(path, world.endpoint.clone())
    });
    for app in [fallback, routed] {
        for (path, status) in [("/", 200), ("/jwks.json", 200), ("/token", 400), ("/nowhere", 404), (&*paths[4], 200)] {
            let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{path}");
        }
    }
}

/// RFC 8414 §2 b (MUST, refuses)
/// Threat T29
#[test]
fn every_mistake_of_an_endpoint_is_reported_at_once() {
    let key = || PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("same");
    let keys = SigningKeys::new(key()).with_next(key(), std::time::SystemTime::now());
    let error = TokenEndpoint::builder("http://as.test?x", keys, Clients::new([]).unwrap())
        .access_token_lifetime(Duration::from_secs(86_401))
        .max_failed_authentications(0, Duration::ZERO)
        .scopes_supported(["a b"])
        .build()
        .unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(ConfigMistake::setting).collect();
    assert_eq!(
        settings,
        ["issuer", "signing keys", "grant", "access_token_lifetime", "max_failed_authentications", "scopes_supported"]
    );
    let twice = TokenEndpoint::builder(ISSUER, key(), Clients::new([]).unwrap())
        .grant(ClientCredentialsGrant::new())
        .grant(ClientCredentialsGrant::new());
    assert_eq!(twice.build().unwrap_err().mistakes().len(), 1);
    let twice = Clients::new([machine("a").build().unwrap(), machine("a").build().unwrap()]);
    assert!(twice.unwrap_err().to_string().contains("two clients have the id \"a\""));
}
