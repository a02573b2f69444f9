//! Which web pages of other origins may read responses (CORS).

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use tower_oauth::{
    error::ConfigMistake,
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientCredential, ClientCredentialsGrant, Clients, MemoryStore,
        RefreshTokenGrant, TokenEndpoint, TokenEndpointBuilder,
    },
};

use super::{AUTHORIZE, Answer, ISSUER, VERIFIER, World, basic, post, usual, with_users};

/// The origin of the redirect URI of `app`.
const ORIGIN: &str = "https://app.test";
const OTHERS: [&str; 9] = [
    "https://evil.test",
    "https://app.test.evil.test",
    "https://APP.test",
    "https://app.test/",
    "https://app.test:443",
    "https://app.test:8443",
    "http://app.test",
    "null",
    "",
];
const CC: (&str, &str) = ("grant_type", "client_credentials");
const PUBLIC: [&str; 2] = ["/jwks.json", "/.well-known/oauth-authorization-server"];

fn from(origin: &str, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert("origin", origin.parse().unwrap());
    request
}

fn bare(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

fn preflight(origin: &str, path: &str) -> Request<Body> {
    let mut request = from(origin, bare(Method::OPTIONS, path));
    let headers = request.headers_mut();
    headers.insert("access-control-request-method", "POST".parse().unwrap());
    headers.insert("access-control-request-headers", "authorization,content-type,dpop".parse().unwrap());
    request
}

#[track_caller]
fn readable(answer: &Answer, by: Option<&str>, varies: bool) {
    assert_eq!(answer.header("access-control-allow-origin"), by, "{answer:?}");
    let exposed = answer.header("access-control-expose-headers");
    assert_eq!(exposed, by.map(|_| "www-authenticate, retry-after, dpop-nonce"), "{answer:?}");
    assert_eq!(answer.header("vary"), varies.then_some("origin"), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), None, "{answer:?}");
}

fn with_codes(configure: impl FnOnce(TokenEndpointBuilder) -> TokenEndpointBuilder) -> World {
    World::with(|builder| {
        configure(builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new()))
    })
}

/// RFC 9700 §2.6 (MAY, MUST NOT, accepts)
#[tokio::test]
async fn every_page_may_read_the_metadata_and_the_key_set() {
    for world in [World::new(), World::with(|builder| builder.allow_origins([ORIGIN]))] {
        for path in PUBLIC {
            for origin in [ORIGIN, "https://evil.test", "null"] {
                let answer = world.send(from(origin, bare(Method::GET, path))).await;
                readable(&answer, Some("*"), false);
                assert_eq!(answer.status(), 200);
                let answer = world.send(preflight(origin, path)).await;
                readable(&answer, Some("*"), false);
                assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
            }
            readable(&world.get(path).await, Some("*"), false);
            readable(&world.send(from(ORIGIN, bare(Method::DELETE, path))).await, Some("*"), false);
        }
    }
}

/// RFC 9700 §2.6 (MAY, MUST NOT, refuses)
#[tokio::test]
async fn no_page_may_read_tokens_by_default_nor_ever_an_introspection() {
    let world = World::new();
    for path in ["/token", "/revoke", "/introspect"] {
        for form in [&[CC, ("token", "x")][..], &[]] {
            readable(&world.send(from(ORIGIN, post(path, &usual("reports"), form))).await, None, false);
        }
        let answer = world.send(preflight(ORIGIN, path)).await;
        readable(&answer, None, false);
        assert_eq!(answer.header("access-control-allow-methods"), None);
    }
    for world in [
        World::with(|builder| builder.allow_origins([ORIGIN])),
        World::with(TokenEndpointBuilder::allow_any_origin),
        World::with(TokenEndpointBuilder::allow_origins_of_redirect_uris),
    ] {
        let answer = world.send(from(ORIGIN, post("/introspect", &usual("reports"), &[("token", "x")]))).await;
        readable(&answer, None, false);
        let answer = world.send(preflight(ORIGIN, "/introspect")).await;
        readable(&answer, None, false);
        assert_eq!(answer.header("access-control-allow-headers"), None);
    }
}

/// RFC 9700 §2.6 (MAY, MUST NOT, accepts)
/// Threat T58
#[tokio::test]
async fn pages_of_listed_origins_may_read_tokens_and_refusals() {
    let limited = |builder: TokenEndpointBuilder| {
        builder.allow_origins(["https://other.test", ORIGIN]).max_failed_authentications(1, Duration::from_secs(60))
    };
    let world = World::with(limited);
    let full = World::with(|builder| limited(builder).store(MemoryStore::builder().capacity(0).build()));
    let wrong = basic("reports", "wrong");
    for origin in OTHERS.into_iter().chain([ORIGIN]) {
        let by = Some(origin).filter(|origin| *origin == ORIGIN);
        let send = async |world: &World, status, request| {
            let answer = world.send_and_wait(from(origin, request)).await;
            assert_eq!(answer.status(), status, "{origin}: {answer:?}");
            readable(&answer, by, true);
        };
        send(&world, 200, post("/token", &usual("reports"), &[CC])).await;
        send(&world, 200, post("/revoke", &usual("reports"), &[("token", "x")])).await;
        send(&world, 400, post("/token", &usual("reports"), &[])).await;
        send(&world, 400, bare(Method::GET, "/token")).await;
        send(&world, 401, post("/token", &wrong, &[CC])).await;
        send(&world, 429, post("/token", &wrong, &[CC])).await;
        send(&full, 503, post("/token", &usual("reports"), &[CC])).await;
        world.clock.advance(Duration::from_secs(120));
    }
    // A request without an origin, and one with two.
    readable(&world.token("reports", &[]).await, None, true);
    let mut twice = from(ORIGIN, post("/token", &usual("reports"), &[CC]));
    twice.headers_mut().append("origin", ORIGIN.parse().unwrap());
    readable(&world.send(twice).await, None, true);
    readable(&world.send(from(ORIGIN, bare(Method::GET, "/nowhere"))).await, None, false);
}

/// RFC 9700 §2.6 (MAY, MUST NOT, accepts)
#[tokio::test]
async fn options_gets_204_with_allow_on_every_path() {
    let world = World::with(|builder| builder.allow_origins([ORIGIN]).metadata_at_openid_configuration());
    let paths: Vec<_> = world.endpoint.paths().map(str::to_owned).collect();
    for path in paths {
        let is_post = ["/token", "/revoke", "/introspect"].contains(&&*path);
        let allow = if is_post { "POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
        let requests = OTHERS.map(|origin| preflight(origin, &path)).into_iter();
        for request in requests.chain([bare(Method::OPTIONS, &path), preflight(ORIGIN, &path)]) {
            let answer = world.send(request).await;
            assert_eq!((answer.status(), answer.header("allow")), (204, Some(allow)), "{path}");
            assert_eq!(answer.plain.body, "");
        }
    }
    for path in ["/token", "/revoke"] {
        let answer = world.send(preflight(ORIGIN, path)).await;
        readable(&answer, Some(ORIGIN), true);
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST, OPTIONS"));
        let allowed = "authorization, content-type, dpop, mcp-protocol-version";
        assert_eq!(answer.header("access-control-allow-headers"), Some(allowed));
        assert_eq!(answer.header("access-control-max-age"), Some("7200"));
        for other in OTHERS {
            let answer = world.send(preflight(other, path)).await;
            readable(&answer, None, true);
            for name in ["methods", "headers"] {
                assert_eq!(answer.header(&format!("access-control-allow-{name}")), None, "{other}");
            }
        }
    }
    assert_eq!(world.send(preflight(ORIGIN, "/nowhere")).await.status(), 404);
}

/// Threat T58
#[tokio::test]
async fn any_origin_is_allowed_only_by_its_own_setting() {
    let world = World::with(|builder| builder.allow_any_origin().allow_origins([ORIGIN]));
    for origin in [ORIGIN, "https://evil.test", "null"] {
        readable(&world.send(from(origin, post("/token", &usual("reports"), &[CC]))).await, Some("*"), false);
        readable(&world.send(preflight(origin, "/token")).await, Some("*"), false);
    }
}

/// Threat T59
#[tokio::test]
async fn pages_at_the_redirect_uris_of_a_public_client_may_read_the_responses_to_its_requests_only() {
    let world = with_codes(TokenEndpointBuilder::allow_origins_of_redirect_uris);
    let code = world.code(&[]).await;
    let redeem = |id: &str, code: &str| {
        let form =
            [("grant_type", "authorization_code"), ("client_id", id), ("code_verifier", VERIFIER), ("code", code)];
        post("/token", "", &form)
    };
    // In refusals too.
    for path in ["/token", "/revoke"] {
        let answer = world.send(from(ORIGIN, post(path, "", &[("client_id", "app")]))).await;
        assert_eq!(answer.status(), 400);
        readable(&answer, Some(ORIGIN), true);
    }
    for other in OTHERS {
        readable(&world.send(from(other, redeem("app", "x"))).await, None, true);
    }
    // Another client, an unknown one, and a confidential one with a redirect URI at this origin.
    let form = [CC, ("client_id", "web"), ("client_secret", "web-secret")];
    readable(&world.send(from("https://web.test", post("/token", "", &form))).await, None, true);
    for id in ["native", "unknown", "", "web"] {
        readable(&world.send(from(ORIGIN, redeem(id, "x"))).await, None, true);
    }
    let answer = world.send(from(ORIGIN, redeem("app", &code))).await;
    answer.is_ok();
    readable(&answer, Some(ORIGIN), true);
    // The client of a preflight request is unknown.
    for path in ["/token", "/revoke"] {
        let answer = world.send(preflight("https://evil.test", path)).await;
        readable(&answer, Some("https://evil.test"), true);
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST, OPTIONS"));
    }

    let client = |id| with_users(Client::builder(id, ClientCredential::None));
    world.clients.insert(client("dev").redirect_uri("http://localhost:5173/cb").build().unwrap());
    let any_port = client("any").redirect_uri("http://localhost/cb").any_localhost_port();
    world.clients.insert(any_port.redirect_uri("com.example.app:/cb").build().unwrap());
    world.clients.insert(client("odd").redirect_uri("https://ODD.test:443/cb?x=y").build().unwrap());
    for (id, origin, is_own) in [
        ("native", "http://127.0.0.1:5173", true),
        ("native", "http://127.0.0.1", true),
        ("native", "https://127.0.0.1:5173", false),
        ("native", "http://127.0.0.1.evil.test", false),
        ("native", "http://localhost:5173", false),
        ("dev", "http://localhost:5173", true),
        ("dev", "http://localhost:5174", false),
        ("any", "http://localhost:5174", true),
        ("any", "http://localhost.evil.test", false),
        ("any", "com.example.app", false),
        ("any", "null", false),
        ("odd", "https://odd.test", true),
        ("odd", "https://ODD.test:443", false),
    ] {
        let answer = world.send(from(origin, redeem(id, "x"))).await;
        readable(&answer, Some(origin).filter(|_| is_own), true);
    }
}

/// Threat T58
#[test]
fn an_origin_in_another_form_than_browsers_send_it_is_a_mistake() {
    for wrong in [
        "*",
        "",
        "null",
        "app.test",
        "https://app.test/",
        "https://app.test/cb",
        "https://App.test",
        "https://app.test:443",
        "https://*.app.test",
        "https://ada:hush@app.test",
    ] {
        let key = PrivateKey::generate(Algorithm::ES256).unwrap();
        let builder =
            TokenEndpoint::builder(ISSUER, key, Clients::new([]).unwrap()).grant(ClientCredentialsGrant::new());
        let error = builder.allow_origins([ORIGIN, wrong, "capacitor://localhost"]).build().unwrap_err();
        let settings: Vec<_> = error.mistakes().iter().map(ConfigMistake::setting).collect();
        assert_eq!(settings, ["allow_origins"], "{wrong}");
        assert!(!error.to_string().contains("hush"), "{error}");
        assert_eq!(error.to_string().contains("allow_any_origin"), wrong == "*", "{error}");
    }
}
