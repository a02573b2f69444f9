//! Parsing of requests: RFC 6749 §3.2, §5.2.

use axum::body::Body;
use http::{Method, Request};
use tower_oauth::token_endpoint::TokenEndpointBuilder;

use super::{FORM, World, encode, usual};

const CC: (&str, &str) = ("grant_type", "client_credentials");

fn request(method: Method, content_type: &str, uri: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri).header("authorization", usual("reports"));
    let request = if content_type.is_empty() { request } else { request.header("content-type", content_type) };
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn only_a_post_is_a_request_for_a_token() {
    let world = World::new();
    for path in ["/token", "/introspect", "/revoke"] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let uri = format!("{path}?grant_type=client_credentials&token=x");
            let answer = world.send(request(method, FORM, &uri, encode(&[CC]))).await;
            answer.is_error(400, "invalid_request");
            assert_eq!(answer.header("allow"), Some("POST"));
        }
    }
    assert_eq!(world.get("/nowhere").await.status(), 404);
    assert_eq!(world.send(request(Method::POST, FORM, "/jwks.json", "")).await.status(), 405);
}

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
    let answer = world.post("/token", &super::basic(mark, mark), &[CC]).await;
    assert!(!format!("{answer:?}").contains("Zq"), "{answer:?}");
}
