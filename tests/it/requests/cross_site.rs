//! Requests of other sites with the user's cookie (RFC 6750 §5.3).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body, routing::any};
use http::{Method, Request, Version};
use serde_json::json;
use tower_oauth::{
    OAuthLayer, ResourceServer, Token,
    error::AuthErrorKind,
    server::ResourceServerBuilder,
    verify::{Verdict, Verify},
};

use crate::support::{Answer, send, verifier_from};

fn accept_all() -> impl Verify {
    verifier_from(|presented| Verdict::Now(presented.permit().token(&json!({"sub": "ada"}))))
}

fn app(configure: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder) -> Router {
    let server = configure(ResourceServer::builder(accept_all()).accept_cookie("session")).build().unwrap();
    Router::new()
        .fallback(any(async |_: Option<Token>| "served"))
        .layer(OAuthLayer::from_server(server).allow_anonymous())
}

/// A request to `api.test` with the cookie and these headers.
fn request(method: &Method, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::builder().method(method).uri("/").header("cookie", "session=a").header("host", "api.test");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(Body::empty()).unwrap()
}

fn is_refused(answer: &Answer) -> bool {
    answer.status == 403 && answer.challenges().is_empty() && answer.header("cache-control") == Some("no-store")
}

const UNSAFE: [&str; 6] = ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "post"];

type Headers = &'static [(&'static str, &'static str)];

/// The headers of a request, and whether it is accepted from the default origins and with `https://app.test` as trusted.
const ROWS: [(Headers, bool, bool); 30] = [
    (&[], true, true),
    (&[("sec-fetch-site", "same-origin")], true, true),
    (&[("sec-fetch-site", "none")], true, true),
    (&[("sec-fetch-site", "same-origin"), ("origin", "https://other.test")], true, true),
    (&[("sec-fetch-site", "none"), ("origin", "null")], true, true),
    (&[("sec-fetch-site", "cross-site")], false, false),
    (&[("sec-fetch-site", "same-site")], false, false),
    (&[("sec-fetch-site", "Same-Origin")], false, false),
    (&[("sec-fetch-site", "")], false, false),
    (&[("sec-fetch-site", "same-origin, none")], false, false),
    (&[("sec-fetch-site", "cross-site"), ("origin", "https://api.test")], false, false),
    (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.test")], false, true),
    (&[("sec-fetch-site", "same-site"), ("origin", "https://app.test")], false, true),
    (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false, false),
    (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false, false),
    (&[("origin", "https://api.test")], true, true),
    (&[("origin", "http://api.test")], true, true),
    (&[("origin", "https://other.test")], false, false),
    (&[("origin", "https://app.test")], false, true),
    (&[("origin", "http://app.test")], false, false),
    (&[("origin", "https://app.test:8443")], false, false),
    (&[("origin", "https://api.test:8443")], false, false),
    (&[("origin", "https://api.test.other.test")], false, false),
    (&[("origin", "https://other.test/https://api.test")], false, false),
    (&[("origin", "https://ada@api.test")], false, false),
    (&[("origin", "api.test")], false, false),
    (&[("origin", "null")], false, false),
    (&[("origin", "")], false, false),
    (&[("origin", "https://")], false, false),
    (&[("origin", "https://api.test"), ("origin", "https://api.test")], false, false),
];

/// RFC 6750 §5.3 a (MUST, refuses)
#[tokio::test]
async fn a_foreign_origin_cannot_use_a_cookie_with_an_unsafe_method() {
    let (default, trusting) = (app(|server| server), app(|server| server.trusted_origin("https://app.test")));
    let any_origin = app(ResourceServerBuilder::danger_accept_cookie_from_any_origin);
    for (headers, by_default, if_trusted) in ROWS {
        for method in UNSAFE {
            let request = || request(&Method::from_bytes(method.as_bytes()).unwrap(), headers);
            for (app, accepted) in [(&default, by_default), (&trusting, if_trusted), (&any_origin, true)] {
                let answer = send(app, request()).await;
                let expected = if accepted { answer.status == 200 } else { is_refused(&answer) };
                assert!(expected, "{method} {headers:?}, accepted: {accepted}: {answer:?}");
            }
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert_eq!(send(&default, request(&method, headers)).await.status, 200, "{method} {headers:?}");
        }
    }
}

/// RFC 6750 §5.3 a (MUST, accepts)
#[tokio::test]
async fn other_bearer_methods_and_anonymous_requests_need_no_origin() {
    let server = ResourceServer::builder(accept_all()).accept_cookie("session").accept_header("x-token");
    let layer = OAuthLayer::from_server(server.danger_accept_query().build().unwrap()).allow_anonymous();
    let app = Router::new().fallback(any(async || "served")).layer(layer.accept_form_body(100));
    let foreign = || Request::post("/").header("sec-fetch-site", "cross-site").header("origin", "https://other.test");
    for request in [
        foreign().header("authorization", "Bearer a"),
        foreign().header("x-token", "a"),
        foreign().uri("/?access_token=a"),
        foreign().header("cookie", "other=a"),
        foreign(),
    ] {
        assert_eq!(send(&app, request.body(Body::empty()).unwrap()).await.body, "served");
    }
    let form = foreign().header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(send(&app, form.body(Body::from("access_token=a")).unwrap()).await.body, "served");
}

/// RFC 6750 §5.3 a (MUST, accepts)
#[tokio::test]
async fn the_own_origin_has_the_host_and_port_that_the_request_was_sent_to() {
    let app = app(|server| server);
    let rows = [
        // uri, host, origin, accepted
        ("/", Some("api.test:8443"), "https://api.test:8443", true),
        ("/", Some("API.test"), "https://api.test", true),
        ("/", Some("api.test:8443"), "https://api.test", false),
        ("/", Some("[::1]:8443"), "https://[::1]:8443", true),
        ("/", Some(""), "https://", false),
        ("/", None, "https://api.test", false),
        ("https://api.test/", None, "https://api.test", true),
        ("https://api.test:8443/", None, "https://api.test:8443", true),
        ("https://api.test:8443/", None, "https://api.test", false),
        // The authority takes precedence over `Host`.
        ("https://api.test/", Some("other.test"), "https://api.test", true),
        ("https://api.test/", Some("other.test"), "https://other.test", false),
        ("https://ada@api.test/", None, "https://api.test", true),
    ];
    for (uri, host, origin, accepted) in rows {
        let request =
            Request::post(uri).version(Version::HTTP_2).header("cookie", "session=a").header("origin", origin);
        let request = host.into_iter().fold(request, |request, host| request.header("host", host));
        let answer = send(&app, request.body(Body::empty()).unwrap()).await;
        let expected = if accepted { answer.body == "served" } else { is_refused(&answer) };
        assert!(expected, "{uri} {host:?} {origin}: {answer:?}");
    }
    let two_hosts = request(&Method::POST, &[("host", "api.test"), ("origin", "https://api.test")]);
    assert!(is_refused(&send(&app, two_hosts).await), "a repeated Host names no host");
}

/// RFC 6750 §5.3 a (MUST, refuses)
#[tokio::test]
async fn a_cross_site_request_is_refused_before_the_verifier_runs() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let verifier = verifier_from(move |presented| {
        counter.fetch_add(1, Ordering::Relaxed);
        Verdict::Now(presented.permit().token(&json!({"sub": "ada"})))
    });
    let server = ResourceServer::builder(verifier).accept_cookie("session").build().unwrap();
    let (head, _) = request(&Method::POST, &[("sec-fetch-site", "cross-site")]).into_parts();
    let error = server.authenticate(&head).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (AuthErrorKind::Forbidden, "cross_site"));
    assert_eq!((server.challenge(&error).status().as_u16(), calls.load(Ordering::Relaxed)), (403, 0));
    let (head, _) = request(&Method::POST, &[("sec-fetch-site", "same-origin")]).into_parts();
    assert!(server.authenticate(&head).await.is_ok() && calls.load(Ordering::Relaxed) == 1);
}

/// RFC 6750 §5.3 a (MUST, accepts)
#[test]
fn a_trusted_origin_must_have_the_form_in_which_browsers_send_it() {
    let build = |origin: &str| ResourceServer::builder(accept_all()).trusted_origin(origin).build();
    for origin in [
        "https://app.example.com",
        "https://app.example.com:8443",
        "http://localhost:3000",
        "https://xn--mnchen-3ya.test",
        "https://[2001:db8::1]:8443",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
    ] {
        assert!(build(origin).is_ok(), "{origin}");
    }
    for origin in [
        "",
        "null",
        "*",
        "app.example.com",
        "//app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?",
        "https://app.example.com#",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://app.example.com:08443",
        "HTTPS://app.example.com",
        "https://App.example.com",
        "https://münchen.test",
        "https://*.example.com",
        "https://ada:secret@app.example.com",
        " https://app.example.com",
        "https://a.test, https://b.test",
        "capacitor://Localhost",
        "capacitor://localhost/",
        "capacitor://ada@localhost",
        "data:text/html,x",
        "mailto:ada@example.com",
    ] {
        let error = build(origin).unwrap_err();
        assert_eq!((error.mistakes().len(), error.mistakes()[0].setting()), (1, "trusted_origin"), "{origin}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
