//! Parsing of requests: RFC 6749 §3.2, §5.2.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use http::{Method, Request};
use tower_oauth::{
    clock::Clock as _,
    keys::{Algorithm, PrivateKey},
    testing::ManualClock,
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientCredentialsGrant, ClientRegistry, Clients, StoreError, TokenEndpoint,
        TokenEndpointBuilder,
    },
};

use super::{AUTHORIZE, FORM, ISSUER, World, assertion, basic, clients::assert_with, encode, usual};

const CC: (&str, &str) = ("grant_type", "client_credentials");

fn request(method: Method, content_type: &str, uri: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri).header("authorization", usual("reports"));
    let request = if content_type.is_empty() { request } else { request.header("content-type", content_type) };
    request.body(body.into()).unwrap()
}

/// RFC 6749 §3.2 a (MUST, refuses)
/// RFC 7662 §2.1 c (MUST, refuses)
/// Threat T2
#[tokio::test]
async fn only_a_post_is_a_request_for_a_token() {
    let world = World::new();
    for path in ["/token", "/introspect", "/revoke"] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE] {
            let uri = format!("{path}?grant_type=client_credentials&token=x");
            let answer = world.send(request(method, FORM, &uri, encode(&[CC]))).await;
            answer.is_error(400, "invalid_request");
            assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
        }
    }
    assert_eq!(world.get("/nowhere").await.status(), 404);
    assert_eq!(world.send(request(Method::POST, FORM, "/jwks.json", "")).await.status(), 405);
}

/// RFC 6749 §3.2 a (MUST, accepts)
/// RFC 6749 §3.2 b (MUST, accepts and refuses)
/// Threat T2
#[tokio::test]
async fn a_body_that_is_not_a_form_is_refused() {
    let world = World::new();
    let form = encode(&[CC]);
    let json = r#"{"grant_type":"client_credentials"}"#;
    for content_type in ["", "text/plain", "application/json", "multipart/form-data; boundary=x", "form"] {
        for body in [&*form, json] {
            let answer = world.send(request(Method::POST, content_type, "/token", body.to_owned())).await;
            answer.is_error(400, "invalid_request");
        }
    }
    let twice = Request::post("/token").header("content-type", FORM).header("content-type", FORM);
    let twice = twice.header("authorization", usual("reports")).body(Body::from(form.clone())).unwrap();
    world.send(twice).await.is_error(400, "invalid_request");
    for content_type in
        [FORM, "Application/X-WWW-Form-Urlencoded;charset=UTF-8", "application/x-www-form-urlencoded ; x"]
    {
        world.send(request(Method::POST, content_type, "/token", form.clone())).await.is_ok();
    }
    world.send(request(Method::POST, FORM, "/token", "grant_type=%FF")).await.is_error(400, "invalid_request");
    let large = format!("{form}&x={}", "y".repeat(70_000));
    world.send(request(Method::POST, FORM, "/token", large)).await.is_error(400, "invalid_request");
}

/// RFC 6749 §3.2 a (MUST, refuses)
/// Threat T2
#[tokio::test]
async fn parameters_in_the_url_are_not_read() {
    let world = World::new();
    let uri = format!("/token?{}", encode(&[CC, ("scope", "orders:write")]));
    world.send(request(Method::POST, FORM, &uri, "")).await.is_error(400, "invalid_request");
    let answer = world.send(request(Method::POST, FORM, &uri, encode(&[CC]))).await;
    answer.is_ok();
    assert_eq!(answer.text("scope"), "orders:read");
    let form = [CC, ("client_id", "reports"), ("client_secret", "reports-secret")];
    world.post(&format!("/token?{}", encode(&form)), "", &[CC]).await.is_error(401, "invalid_client");
}

/// RFC 6749 §3.2 c (MUST, accepts and refuses)
/// Threat T1
#[tokio::test]
async fn a_repeated_parameter_is_refused_and_an_unknown_one_ignored() {
    let world = World::new();
    for name in ["grant_type", "scope", "code", "redirect_uri", "code_verifier", "refresh_token"] {
        for (one, other) in [("x", "y"), ("client_credentials", "client_credentials"), ("", "x"), ("", "")] {
            let form = [CC, (name, one), (name, other)];
            world.post("/token", &usual("reports"), &form).await.is_error(400, "invalid_request");
        }
    }
    for name in ["client_id", "client_secret", "client_assertion", "client_assertion_type"] {
        let form = [CC, (name, "reports"), (name, "reports")];
        world.post("/token", "", &form).await.is_error(400, "invalid_request");
    }
    for path in ["/introspect", "/revoke"] {
        let form = [("token", "x"), ("token", "x")];
        world.post(path, &usual("reports"), &form).await.is_error(400, "invalid_request");
        world.post(path, &usual("reports"), &[]).await.is_error(400, "invalid_request");
        world.post(path, &usual("reports"), &[("token", "x"), ("z", "1"), ("z", "2")]).await.is_ok();
    }
    let form = [CC, ("x", "1"), ("x", "2"), ("", "3"), ("audience", ""), ("scope", "")];
    world.post("/token", &usual("reports"), &form).await.is_ok();
    world.post("/token", &usual("reports"), &[("grant_type", "")]).await.is_error(400, "invalid_request");
}

/// RFC 6749 §3.2 b (MUST, refuses)
#[tokio::test]
async fn json_is_read_only_if_configured() {
    let world = World::with(TokenEndpointBuilder::accept_json);
    let json = |text: &str| request(Method::POST, "application/json; charset=utf-8", "/token", text.to_owned());
    let good =
        r#"{"grant_type":"client_credentials","scope":"orders:write","audience":["https://opaque.test"],"x":{"y":1}}"#;
    let answer = world.send(json(good)).await;
    answer.is_ok();
    assert_eq!((answer.text("scope"), answer.text("access_token").len()), ("orders:write", 64));
    for bad in [
        "",
        "[]",
        "null",
        r#"{"grant_type":1}"#,
        r#"{"grant_type":["client_credentials"]}"#,
        r#"{"grant_type":"client_credentials","grant_type":"client_credentials"}"#,
        r#"{"grant_type":"client_credentials","grant\u005ftype":"x"}"#,
        r#"{"grant_type":"client_credentials"} x"#,
        "grant_type=client_credentials",
    ] {
        world.send(json(bad)).await.is_error(400, "invalid_request");
    }
    // Forms are still read. Credentials in JSON count as one method, and a second one is refused.
    world.post("/token", &usual("reports"), &[CC]).await.is_ok();
    let body = r#"{"grant_type":"client_credentials","client_id":"reports","client_secret":"reports-secret"}"#;
    world.send(json(body)).await.is_error(400, "invalid_request");
    let alone = Request::post("/token").header("content-type", "application/json").body(Body::from(body)).unwrap();
    world.send(alone).await.is_ok();
}

/// RFC 6749 §5.2 (MUST, refuses)
/// Threat T25
#[tokio::test]
async fn no_response_repeats_the_request() {
    let world = World::new();
    let mark = "Zq\"<script>\\Zq";
    for form in [
        vec![("grant_type", mark)],
        vec![CC, ("scope", mark)],
        vec![CC, ("resource", mark)],
        vec![CC, ("client_id", mark)],
        vec![CC, ("client_secret", mark)],
    ] {
        let answer = world.post("/token", &usual("reports"), &form).await;
        assert_eq!(answer.status(), 400, "{answer:?}");
        assert!(!format!("{answer:?}").contains("Zq"), "{answer:?}");
    }
    let answer = world.post("/token", &basic(mark, mark), &[CC]).await;
    assert!(!format!("{answer:?}").contains("Zq"), "{answer:?}");
}

/// A body that sends a form byte by byte, with this time before each byte.
fn slow(clock: &ManualClock, pause: Duration) -> Body {
    let bytes = stream::iter(encode(&[CC]).into_bytes());
    let clock = clock.clone();
    Body::from_stream(bytes.then(move |byte| {
        let pause = clock.sleep(pause);
        async move {
            pause.await;
            Ok::<_, Infallible>(Bytes::from(vec![byte]))
        }
    }))
}

/// Threat T36
#[tokio::test]
async fn a_body_that_is_not_complete_after_ten_seconds_gets_408() {
    let world = World::with(TokenEndpointBuilder::accept_json);
    let took = || world.clock.elapsed();
    for content_type in [FORM, "application/json"] {
        let before = took();
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let answer = world.send_and_wait(request(Method::POST, content_type, "/token", never)).await;
        answer.is_error(408, "invalid_request");
        assert_eq!(took(), before + Duration::from_secs(10));
    }
    // Each byte arrives in time, but the whole body doesn't.
    let body = slow(&world.clock, Duration::from_millis(500));
    world.send_and_wait(request(Method::POST, FORM, "/token", body)).await.is_error(408, "invalid_request");
    let body = slow(&world.clock, Duration::from_millis(200));
    let before = took();
    world.send_and_wait(request(Method::POST, FORM, "/token", body)).await.is_ok();
    assert!(took() > before + Duration::from_secs(5), "{:?}", took());
}

/// Threat T36
#[tokio::test]
async fn more_than_a_hundred_parameters_are_refused() {
    let world = World::with(|builder| builder.accept_json().grant(AuthorizationCodeGrant::new(AUTHORIZE)));
    for (number, status) in [(99, 200), (100, 400), (10_000, 400)] {
        for more in ["&a", "&", "&a=b"] {
            let form = encode(&[CC]) + &more.repeat(number);
            let answer = world.send(request(Method::POST, FORM, "/token", form)).await;
            assert_eq!(answer.status(), status, "{answer:?}");
        }
        let members: Vec<_> = (0..number).map(|member| format!(r#""x{member}":[1,"y"]"#)).collect();
        let values = vec![r#""https://api.example.test""#; number].join(",");
        let json = format!(r#"{{"grant_type":"client_credentials",{}}}"#, members.join(","));
        let answer = world.send(request(Method::POST, "application/json", "/token", json)).await;
        assert_eq!(answer.status(), status, "{answer:?}");
        let json = format!(r#"{{"grant_type":"client_credentials","resource":[{values}]}}"#);
        let answer = world.send(request(Method::POST, "application/json", "/token", json)).await;
        answer.is_error(400, if status == 200 { "invalid_target" } else { "invalid_request" });
    }
    // The query of an authorization request.
    let more = vec![("a", "b"); 95];
    assert!(world.ask(&more[1..]).await.is_ok(), "100 parameters");
    assert!(world.ask(&more).await.is_err(), "101 parameters");
}

/// Threat T36
#[tokio::test]
async fn an_unknown_member_of_json_may_have_any_value() {
    let world = World::with(TokenEndpointBuilder::accept_json);
    let (deep, long) = ("[".repeat(30_000) + &"]".repeat(30_000), vec!["1"; 20_000].join(","));
    for value in ["1", "-1", "1.5e300", "true", "null", "{}", r#"{"a":{"b":[{}]}}"#, &deep, &format!("[{long}]")] {
        let json = format!(r#"{{"grant_type":"client_credentials","x":{value}}}"#);
        world.send(request(Method::POST, "application/json", "/token", json)).await.is_ok();
        for name in ["scope", "resource"] {
            let json = format!(r#"{{"grant_type":"client_credentials","{name}":{value}}}"#);
            let answer = world.send(request(Method::POST, "application/json", "/token", json)).await;
            assert_eq!(answer.status(), if value == "null" { 200 } else { 400 }, "{name}: {answer:?}");
        }
    }
}

/// Counts look-ups, and never finds `slow`.
#[derive(Clone)]
struct Counted {
    clients: Clients,
    calls: Arc<AtomicUsize>,
}

impl ClientRegistry for Counted {
    async fn find(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if client_id == "slow" {
            std::future::pending::<()>().await;
        }
        self.clients.find(client_id).await
    }
}

fn counted() -> (World, Counted) {
    let world = World::new();
    let registry = Counted { clients: world.clients.clone(), calls: Arc::default() };
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let endpoint = TokenEndpoint::builder(ISSUER, key, registry.clone())
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new(AUTHORIZE))
        .clock(world.clock.clone());
    (World { endpoint: endpoint.build().unwrap(), ..world }, registry)
}

/// Threat T36
#[tokio::test]
async fn an_id_of_more_than_a_kilobyte_is_unknown_without_a_look_up() {
    let (world, registry) = counted();
    for (length, calls) in [(1025, 0), (20_000, 0), (1024, 4)] {
        let id = "x".repeat(length);
        world.post("/token", &basic(&id, "secret"), &[CC]).await.is_error(401, "invalid_client");
        world.post("/token", "", &[CC, ("client_id", &id)]).await.is_error(401, "invalid_client");
        let signed = assertion(&world, "1").claim("iss", &*id).claim("sub", &*id).sign();
        assert_with(&world, &signed).await.is_error(401, "invalid_client");
        assert!(world.ask(&[("client_id", &id)]).await.is_err());
        assert_eq!(registry.calls.load(Ordering::Relaxed), calls, "{length}");
    }
}

/// Threat T36
#[tokio::test]
async fn a_registry_that_does_not_respond_within_two_seconds_is_unavailable() {
    let (world, _) = counted();
    for (authorization, form) in [(usual("slow"), &[CC][..]), (String::new(), &[CC, ("client_id", "slow")])] {
        let before = world.clock.elapsed();
        let answer = world.post_and_wait("/token", &authorization, form).await;
        answer.is_error(503, "temporarily_unavailable");
        assert_eq!(world.clock.elapsed(), before + Duration::from_secs(2));
    }
    world.post("/token", &usual("reports"), &[CC]).await.is_ok();
}
