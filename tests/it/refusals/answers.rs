//! The responses of the layer: status, challenge and body of every refusal (RFC 6750 §3, RFC 9110 §11.6.1, RFC 9470 §3,
//! RFC 9728 §5.1).

use std::{error::Error, time::Duration};

use axum::{Router, body::Body, extract::State, routing::get};
use http::{HeaderValue, Method, Request, Version};
use proptest::prelude::*;
use tower::ServiceExt as _;
use tower_oauth::{
    AuthError, Claims, OAuthLayer, ResourceServer, Token,
    challenge::SchemeChallenge,
    error::AuthErrorKind,
    layer::require::RequireScopesLayer,
    layer::{ProblemJson, Refusal},
    scope::Scopes,
    server::ResourceServerBuilder,
    step_up::{StepUp, StepUpBuilder},
    testing::{ManualClock, TestToken},
    verify::Verdict,
};

use crate::support::{
    API, Answer, OrdersWrite, get_with, get_with_headers, get_with_token, get_without_token, issuer, layer_with,
    router, send, valid_token, verifier_from,
};

const METADATA: &str = "https://api.test/.well-known/oauth-protected-resource";

/// Sets everything that a challenge can contain.
fn with_all_settings(server: ResourceServerBuilder) -> ResourceServerBuilder {
    server.realm("orders").scopes(Scopes::new(["orders:read", "orders:write"]).unwrap()).resource_metadata(METADATA)
}

fn unavailable_layer(after: Duration) -> OAuthLayer {
    let verifier = verifier_from(move |_| Verdict::Now(Err(AuthError::unavailable(after))));
    OAuthLayer::from_server(with_all_settings(ResourceServer::builder(verifier)).build().unwrap())
}

/// Checks the status, the headers and the body of a refusal.
#[track_caller]
fn assert_answer(answer: &Answer, status: u16, challenge: Option<&str>, what: &str) {
    assert_eq!(answer.status, status, "{what}");
    assert_eq!(answer.challenges(), challenge.into_iter().collect::<Vec<_>>(), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.header("retry-after"), None, "{what}");
    assert_eq!((answer.header("content-type"), &*answer.body), (None, ""), "{what}");
}

/// RFC 6749 §7.2 (SHOULD, accepts)
/// RFC 6750 §3 a (MUST, accepts)
/// RFC 6750 §3 f (SHOULD, accepts and refuses)
/// RFC 6750 §3.1 a (SHOULD, accepts)
/// RFC 9068 §4 g (MUST, accepts and refuses)
/// RFC 9728 §5.1 (MAY, accepts)
#[tokio::test]
async fn each_refusal_has_the_documented_status_and_challenge() {
    let app = router().layer(layer_with(with_all_settings));
    let scopes_parameter = r#"scope="orders:read orders:write""#;
    let metadata_parameter = format!(r#"resource_metadata="{METADATA}""#);
    let with = |rest: &str| format!(r#"Bearer realm="orders", {rest}, {metadata_parameter}"#);
    let described = |code: &str, text: &str| format!(r#"error="{code}", error_description="{text}""#);
    let good = valid_token();

    let bare = with(scopes_parameter);
    assert_answer(&get_without_token(&app, "/orders").await, 401, Some(&bare), "no credentials");
    assert_answer(&get_with(&app, "/orders", "Basic x").await, 401, Some(&bare), "another scheme");

    let malformed = with(&described("invalid_request", "The credentials are malformed"));
    assert_answer(&get_with(&app, "/orders", "Bearer a b").await, 400, Some(&malformed), "malformed");
    let repeated = get_with_headers(&app, "/orders", &[("authorization", b"Bearer x"), ("authorization", b"Bearer x")]);
    let twice = with(&described("invalid_request", "The header with the access token must be sent once"));
    assert_answer(&repeated.await, 400, Some(&twice), "repeated");
    let two_methods_challenge = with(&described("invalid_request", "The access token must be sent in one way only"));
    let two_methods = get_with_token(&app, "/orders?access_token=x", &good.sign()).await;
    assert_answer(&two_methods, 400, Some(&two_methods_challenge), "two bearer methods");

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let bad_tokens = [
        ("not a token", "x".to_owned(), "The access token is invalid"),
        ("forged", format!("{}x", good.sign()), "The access token is invalid"),
        ("expired", good.clone().claim("exp", now - 100).sign(), "The access token expired"),
        ("not yet valid", good.clone().claim("nbf", now + 100).sign(), "The access token is not valid yet"),
        ("another issuer", good.clone().claim("iss", "https://x.test").sign(), "The access token is invalid"),
        (
            "another audience",
            good.clone().audience("https://x.test").sign(),
            "The access token is meant for another resource",
        ),
        ("no exp", good.clone().without_claim("exp").sign(), "The access token lacks a required claim"),
        (
            "bound",
            good.clone().claim("cnf", serde_json::json!({"jkt": "x"})).sign(),
            "The access token is bound to a key and cannot be used as a plain bearer token",
        ),
    ];
    for (what, token, description) in bad_tokens {
        let challenge = with(&format!("{}, {scopes_parameter}", described("invalid_token", description)));
        assert_answer(&get_with_token(&app, "/orders", &token).await, 401, Some(&challenge), what);
    }

    let scope = format!(
        r#"{}, scope="orders:read admin""#,
        described("insufficient_scope", "The access token does not grant the required scope")
    );
    let too_little = get_with_token(&app, "/admin", &good.sign()).await;
    assert_answer(&too_little, 403, Some(&with(&scope)), "too little scope");

    let unlayered = get_without_token(&router(), "/orders").await;
    assert_answer(&unlayered, 500, None, "without the layer");
}

/// RFC 6750 §3 b (MUST, accepts)
#[tokio::test]
async fn a_server_with_default_settings_sends_only_its_realm() {
    let app = router().layer(layer_with(|server| server));
    assert_answer(&get_without_token(&app, "/orders").await, 401, Some(r#"Bearer realm="api""#), "no credentials");
    let bad = get_with_token(&app, "/orders", "x").await;
    let challenge = r#"Bearer realm="api", error="invalid_token", error_description="The access token is invalid""#;
    assert_answer(&bad, 401, Some(challenge), "bad token");
}

/// RFC 6750 §3 a (MUST, refuses)
/// RFC 9110 §15.5.2 (MUST, refuses)
#[tokio::test]
async fn responds_503_with_retry_after_if_a_token_cannot_be_checked() {
    for (millis, seconds) in [(0, "0"), (1, "1"), (999, "1"), (1_000, "1"), (1_001, "2"), (30_000, "30")] {
        let app = router().layer(unavailable_layer(Duration::from_millis(millis)));
        let answer = get_with_token(&app, "/orders", "x").await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some(seconds)), "{millis} ms");
        assert!(answer.challenges().is_empty(), "a challenge would mean that the token is invalid: {answer:?}");
        assert_eq!((answer.header("cache-control"), &*answer.body), (Some("no-store"), ""));
    }
    let longest = router().layer(unavailable_layer(Duration::MAX));
    let answer = get_with_token(&longest, "/orders", "x").await;
    assert_eq!(answer.header("retry-after"), Some(&*u64::MAX.to_string()));
}

/// RFC 6749 §7.2 (SHOULD, accepts)
#[tokio::test]
async fn the_layer_adds_the_challenge_to_refusals_of_inner_services() {
    async fn in_the_handler(token: Token) -> Result<&'static str, AuthError> {
        token.require::<OrdersWrite>()?;
        Ok("made")
    }
    let app = router()
        .route("/by-hand", get(in_the_handler))
        .merge(
            Router::new()
                .route("/layered", get(|| async { "" }))
                .layer(RequireScopesLayer::all(["orders:write"]).unwrap()),
        )
        .route("/claims", get(|_: Claims<std::collections::BTreeMap<String, u8>>| async { "" }))
        .layer(layer_with(with_all_settings));
    let token = valid_token().sign();
    let scoped = |scope: &str| {
        let error =
            r#"error="insufficient_scope", error_description="The access token does not grant the required scope""#;
        format!(r#"Bearer realm="orders", {error}, scope="{scope}", resource_metadata="{METADATA}""#)
    };
    for (path, scope) in [("/admin", "orders:read admin"), ("/by-hand", "orders:write"), ("/layered", "orders:write")] {
        assert_answer(&get_with_token(&app, path, &token).await, 403, Some(&scoped(scope)), path);
    }
    let error = r#"error="invalid_token", error_description="The access token lacks a required claim""#;
    let mismatch =
        format!(r#"Bearer realm="orders", {error}, scope="orders:read orders:write", resource_metadata="{METADATA}""#);
    assert_answer(&get_with_token(&app, "/claims", &token).await, 401, Some(&mismatch), "claims");
}

#[tokio::test]
async fn an_inner_refusal_keeps_its_headers_except_those_of_its_old_body() {
    async fn handler(token: Token) -> (HeaderPair, Result<(), AuthError>) {
        ([("x-trace", "7")], token.require::<OrdersWrite>().map(drop))
    }
    type HeaderPair = [(&'static str, &'static str); 1];
    let app = Router::new().route("/", get(handler)).layer(layer_with(with_all_settings).render(ProblemJson::new()));
    let answer = get_with_token(&app, "/", &valid_token().sign()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-trace")), (403, Some("7")));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let length = answer.header("content-length").map(str::to_owned);
    assert!(length.is_none_or(|length| length == answer.body.len().to_string()), "{answer:?}");
}

/// RFC 6749 §7.2 (SHOULD, refuses)
/// RFC 6750 §3 a (MUST, refuses)
#[tokio::test]
async fn the_layer_does_not_change_a_403_of_the_application() {
    let app = Router::new()
        .route("/", get(|_: Token| async { (http::StatusCode::FORBIDDEN, "not your order") }))
        .layer(layer_with(with_all_settings).render(ProblemJson::new()));
    let answer = get_with_token(&app, "/", &valid_token().sign()).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (403, "not your order"));
    assert!(answer.challenges().is_empty());
}

/// RFC 6750 §3 a (MUST, accepts)
#[tokio::test]
async fn a_problem_document_has_the_same_content_as_the_challenge() {
    let app = router().layer(layer_with(with_all_settings).render(ProblemJson::new()));
    let plain = router().layer(layer_with(with_all_settings));
    let read_only = valid_token().sign();
    let rows = [
        ("Basic x", 401, "Unauthorized", "An access token is required", None),
        ("Bearer a b", 400, "Bad Request", "The credentials are malformed", Some("invalid_request")),
        ("Bearer x", 401, "Unauthorized", "The access token is invalid", Some("invalid_token")),
        (
            &*format!("Bearer {read_only}"),
            403,
            "Forbidden",
            "The access token does not grant the required scope",
            Some("insufficient_scope"),
        ),
    ];
    for (authorization, status, title, detail, code) in rows {
        let answer = get_with(&app, "/admin", authorization).await;
        let mut problem =
            serde_json::json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
        if let Some(code) = code {
            problem["error"] = code.into();
        }
        assert_eq!(serde_json::from_str::<serde_json::Value>(&answer.body).unwrap(), problem);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let plain = get_with(&plain, "/admin", authorization).await;
        assert_eq!((answer.status, answer.challenges()), (plain.status, plain.challenges()));
    }
    let unavailable = router().layer(unavailable_layer(Duration::from_secs(5)).render(ProblemJson::new()));
    let answer = get_with_token(&unavailable, "/admin", "x").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("5")));
    assert!(answer.body.contains("cannot be checked at the moment") && !answer.body.contains("error"), "{answer:?}");
}

/// RFC 6750 §3 a (MUST, accepts)
#[tokio::test]
async fn a_refusal_with_a_custom_body_keeps_its_challenge() {
    let custom = layer_with(with_all_settings).render(|refusal: &Refusal<'_>| {
        let text = format!("<h1>{}</h1>{}", refusal.error().description(), refusal.status());
        (HeaderValue::from_static("text/html"), Body::from(text))
    });
    let (app, plain) = (router().layer(custom), router().layer(layer_with(with_all_settings)));
    let read_only = format!("Bearer {}", valid_token().sign());
    for authorization in ["Basic x", "Bearer a b", "Bearer x", &*read_only] {
        let answer = get_with(&app, "/admin", authorization).await;
        let plain = get_with(&plain, "/admin", authorization).await;
        assert_eq!((answer.status, answer.challenges()), (plain.status, plain.challenges()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("text/html"));
        assert!(answer.body.starts_with("<h1>"), "{answer:?}");
        assert!(answer.body.ends_with(&answer.status.to_string()), "{answer:?}");
    }
}

/// RFC 6750 §3 c (MUST NOT, accepts)
/// RFC 9110 §11.6.1 (MAY, accepts and refuses)
#[tokio::test]
async fn each_challenge_has_its_own_header_line() {
    let basic = SchemeChallenge::builder("Basic").parameter("realm", "reports, \tno").build().err();
    assert!(basic.is_some(), "a parameter value with a tab is refused");
    let basic = SchemeChallenge::builder("Basic").parameter("realm", "reports, all").build().unwrap();
    let app = router().layer(layer_with(|server| {
        server.additional_challenge(basic).additional_challenge(SchemeChallenge::builder("Negotiate").build().unwrap())
    }));
    let answer = get_without_token(&app, "/me").await;
    assert_eq!(answer.challenges(), [r#"Bearer realm="api""#, r#"Basic realm="reports, all""#, "Negotiate"]);
    assert!(
        get_with_token(&app, "/me", "x").await.is_refusal(401, "invalid_token"),
        "the layer sends no challenge for schemes that the client did not use"
    );
}

#[tokio::test]
async fn the_response_extensions_hold_the_error_for_outer_layers() {
    let app = router().layer(layer_with(with_all_settings));
    let good = valid_token().sign();
    for (authorization, kind) in [
        (None, AuthErrorKind::MissingCredentials),
        (Some("Bearer a b".to_owned()), AuthErrorKind::InvalidRequest),
        (Some("Bearer x".to_owned()), AuthErrorKind::InvalidToken),
        (Some(format!("Bearer {good}")), AuthErrorKind::InsufficientScope),
    ] {
        let mut request = Request::get("/admin").body(Body::empty()).unwrap();
        if let Some(value) = authorization {
            request.headers_mut().insert("authorization", value.parse().unwrap());
        }
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.extensions().get::<AuthError>().map(AuthError::kind), Some(kind));
    }
    let request = Request::get("/me").header("authorization", format!("Bearer {good}")).body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert!(response.status() == 200 && response.extensions().get::<AuthError>().is_none());
}

#[tokio::test]
async fn the_response_never_contains_the_source_of_an_error() {
    let verifier = verifier_from(|_| {
        let cause = std::io::Error::other("connection to 10.0.0.7 refused");
        Verdict::Now(Err(AuthError::unavailable(Duration::from_secs(1)).with_source(cause)))
    });
    let app = router().layer(OAuthLayer::new(verifier).render(ProblemJson::new()));
    let request = Request::get("/me").header("authorization", "Bearer x").body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let error = response.extensions().get::<AuthError>().unwrap();
    assert_eq!(error.source().unwrap().to_string(), "connection to 10.0.0.7 refused");
    assert!(!format!("{:?}", get_with_token(&app, "/me", "x").await).contains("10.0.0.7"));
}

fn grpc_request(path: &str, content_type: &str, authorization: &str) -> Request<Body> {
    let request = Request::post(path).version(Version::HTTP_2).header("content-type", content_type);
    request.header("authorization", authorization).body(Body::empty()).unwrap()
}

/// gRPC 2 (MUST, refuses)
#[tokio::test]
async fn only_a_post_over_http_2_or_3_gets_a_grpc_status() {
    let app = router().layer(layer_with(ResourceServerBuilder::grpc_status));
    for method in [Method::POST, Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
            let mut request = grpc_request("/orders", "application/grpc", "Bearer x");
            *request.method_mut() = method.clone();
            *request.version_mut() = version;
            let answer = send(&app, request).await;
            let grpc = method == Method::POST && [Version::HTTP_2, Version::HTTP_3].contains(&version);
            let expected = if grpc { (200, Some("16")) } else { (401, None) };
            assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), expected, "{method} {version:?}");
        }
    }
}

/// gRPC 2 (MUST, accepts)
#[tokio::test]
async fn grpc_requests_get_a_grpc_status_if_the_server_enables_it() {
    let read_only = format!("Bearer {}", valid_token().sign());
    let rows = [
        ("Basic x", "16", "An access token is required"),
        ("Bearer a b", "3", "The credentials are malformed"),
        ("Bearer x", "16", "The access token is invalid"),
        (&*read_only, "7", "The access token does not grant the required scope"),
    ];
    let post_as_content_type = async |app: &Router, content_type: &str, authorization: &str| {
        send(app, grpc_request("/orders", content_type, authorization)).await
    };
    let app = router().layer(layer_with(ResourceServerBuilder::grpc_status));
    for (authorization, code, message) in rows {
        for content_type in ["application/grpc", "application/grpc+proto"] {
            let answer = post_as_content_type(&app, content_type, authorization).await;
            assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some(code)), "{authorization}");
            assert_eq!(answer.header("grpc-message"), Some(message));
            assert_eq!((answer.header("content-type"), &*answer.body), (Some("application/grpc"), ""));
            assert_eq!(answer.challenges().len(), 1, "the response still has the challenge, as gRPC metadata");
        }
        for content_type in ["application/json", "application/grpc-web", "application/grpcx"] {
            let http = post_as_content_type(&app, content_type, authorization).await;
            assert!(http.status.is_client_error() && http.header("grpc-status").is_none(), "{http:?}");
        }
    }
    let without =
        post_as_content_type(&router().layer(layer_with(|server| server)), "application/grpc", "Bearer x").await;
    assert!(without.is_refusal(401, "invalid_token") && without.header("grpc-status").is_none());

    let verifier = verifier_from(|_| Verdict::Now(Err(AuthError::unavailable(Duration::from_secs(2)))));
    let server = ResourceServer::builder(verifier).grpc_status().build().unwrap();
    let unavailable =
        post_as_content_type(&router().layer(OAuthLayer::from_server(server)), "application/grpc", "Bearer x").await;
    assert_eq!((unavailable.header("grpc-status"), unavailable.header("retry-after")), (Some("14"), Some("2")));
}

// --- step-up (RFC 9470) ---

fn step_up_app(rule: StepUpBuilder, clock: &ManualClock) -> Router {
    async fn transfer(State(rule): State<StepUp>, token: Token) -> Result<&'static str, AuthError> {
        rule.check(&token)?;
        Ok("done")
    }
    let verifier = issuer().with_clock(clock.clone()).verifier(API);
    let server = ResourceServer::builder(verifier).realm("bank").build().unwrap();
    Router::new()
        .route("/transfer", get(transfer))
        .with_state(rule.clock(clock.clone()).build().unwrap())
        .layer(OAuthLayer::from_server(server))
}

/// RFC 9470 §3 a (derived, accepts)
/// RFC 9470 §6 a (derived, refuses)
#[tokio::test]
async fn refuses_a_weak_or_old_authentication_and_names_the_requirements() {
    let clock = ManualClock::default();
    let rule = StepUp::builder().acr("urn:mfa").acr("urn:hw").max_age(Duration::from_secs(60));
    let app = step_up_app(rule, &clock);
    let now = tower_oauth::clock::Clock::now(&clock).duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let token = || issuer().with_clock(clock.clone()).token("ada");
    for (acr, age) in [("urn:mfa", 0), ("urn:mfa", 59), ("urn:hw", 59)] {
        let good = token().claim("acr", acr).claim("auth_time", now - age).sign();
        assert_eq!(get_with_token(&app, "/transfer", &good).await.body, "done", "{acr} {age}");
    }
    let error = r#"error="insufficient_user_authentication", error_description="This resource requires a more recent or stronger authentication""#;
    let challenge = format!(r#"Bearer realm="bank", {error}, acr_values="urn:mfa urn:hw", max_age="60""#);
    let lacking = [
        ("too old", token().claim("acr", "urn:mfa").claim("auth_time", now - 62).sign()),
        ("too weak", token().claim("acr", "urn:pwd").claim("auth_time", now).sign()),
        ("a longer name", token().claim("acr", "urn:mfa2").claim("auth_time", now).sign()),
        ("another case", token().claim("acr", "URN:MFA").claim("auth_time", now).sign()),
        ("no acr", token().claim("auth_time", now).sign()),
        ("no auth_time", token().claim("acr", "urn:mfa").sign()),
        ("neither", token().sign()),
        ("auth_time is not a number", token().claim("acr", "urn:mfa").claim("auth_time", now.to_string()).sign()),
        ("acr is not a string", token().claim("acr", vec!["urn:mfa"]).claim("auth_time", now).sign()),
    ];
    for (what, lacking) in lacking {
        assert_answer(&get_with_token(&app, "/transfer", &lacking).await, 401, Some(&challenge), what);
    }
}

/// RFC 9470 §6 a (derived, accepts)
#[test]
fn accepts_an_authentication_for_exactly_max_age() {
    let clock = ManualClock::new(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000));
    let rule = StepUp::builder().max_age(Duration::from_secs(60)).clock(clock.clone()).build().unwrap();
    let token = TestToken::user("ada").claim("auth_time", 1_000_000).build();
    clock.advance(Duration::from_secs(60));
    assert!(rule.check(&token).is_ok());
    clock.advance(Duration::from_secs(1));
    assert_eq!(rule.check(&token).unwrap_err().kind(), AuthErrorKind::InsufficientUserAuthentication);
    for (ahead, fresh) in [(30, true), (31, false)] {
        let token = TestToken::user("ada").claim("auth_time", 1_000_061 + ahead).build();
        assert_eq!(rule.check(&token).is_ok(), fresh, "an authentication {ahead} s in the future");
    }
}

/// RFC 9470 §3 a (derived, refuses)
#[tokio::test]
async fn a_step_up_challenge_has_only_the_configured_requirements() {
    let clock = ManualClock::default();
    let token = issuer().with_clock(clock.clone()).token("ada").sign();
    for (rule, parameters, other) in [
        (StepUp::builder().acr("urn:mfa"), r#", acr_values="urn:mfa""#, "max_age"),
        (StepUp::builder().max_age(Duration::from_secs(9)), r#", max_age="9""#, "acr_values"),
    ] {
        let answer = get_with_token(&step_up_app(rule, &clock), "/transfer", &token).await;
        assert_eq!(answer.status, 401);
        assert!(answer.challenges()[0].ends_with(parameters) && !answer.challenges()[0].contains(other), "{answer:?}");
    }
    assert_eq!(get_with_token(&step_up_app(StepUp::builder(), &clock), "/transfer", &token).await.body, "done");
}

// --- start-up ---

/// RFC 6750 §3 c (MUST NOT, refuses)
/// RFC 6750 §3 d (MUST NOT, refuses)
/// RFC 9110 §11.2 (MUST, refuses)
/// RFC 9728 §5.1 (MAY, refuses)
#[test]
fn build_of_a_server_reports_all_mistakes_with_their_settings() {
    let builder = || ResourceServer::builder(verifier_from(|_| Verdict::Now(Err(AuthError::invalid_token()))));
    let error = builder()
        .realm("a\"b")
        .resource_metadata("http://api.test/x")
        .accept_header("not a header")
        .accept_cookie("a=b")
        .max_token_bytes(0)
        .build()
        .unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["realm", "resource_metadata", "accept_header", "accept_cookie", "max_token_bytes"]);
    let message = error.to_string();
    assert_eq!(message.lines().count(), 5, "{message}");
    for (line, setting) in message.lines().zip(settings) {
        assert!(line.starts_with(&format!("{setting}: ")) && line.contains("; "), "{line}");
    }
    for realm in ["a\\b", "a\r\nSet-Cookie: x", "ä", "\0", "\t"] {
        assert!(builder().realm(realm).build().is_err(), "{realm:?}");
    }
    for url in ["", "api.test", "ftp://api.test", "https://api.test/?a=b", "https://api.test/#a", "https://u@api.test"]
    {
        assert!(builder().resource_metadata(url).build().is_err(), "{url:?}");
    }
    for name in ["authorization", "Authorization", "cookie", "", "a:b", "ä"] {
        assert!(builder().accept_header(name).build().is_err(), "{name:?}");
    }
    for name in ["", "a b", "a;b", "ä"] {
        assert!(builder().accept_cookie(name).build().is_err(), "{name:?}");
    }
    for acr in ["", "a b", "a\"b", "a\\b", "ä", " "] {
        assert!(StepUp::builder().acr(acr).build().is_err(), "{acr:?}");
    }
    for scheme in ["", "a b", "Basic,", "ä", "a=b"] {
        assert!(SchemeChallenge::builder(scheme).build().is_err(), "{scheme:?}");
    }
    let basic = || SchemeChallenge::builder("Basic").parameter("realm", "x");
    assert!(
        basic().parameter("Realm", "y").build().is_err(),
        "build refuses a repeated parameter; the case of its name does not matter"
    );
    assert!(basic().parameter("a b", "y").build().is_err() && basic().parameter("a", "\"").build().is_err());
    let error = basic().parameter("a b", "y").parameter("c", "\"").build().unwrap_err();
    assert_eq!(error.mistakes().len(), 2, "build must report all mistakes: {error}");
}

// --- a strict parser of challenges ---

/// `challenge = auth-scheme [ 1*SP #auth-param ]`, parameters as quoted strings (RFC 9110 §11.6.1, §5.6.4). Returns
/// `None` if the line does not match the grammar. Shares no code with the crate.
fn parse_challenge(line: &str) -> Option<(String, Vec<(String, String)>)> {
    fn token(text: &str) -> Option<(&str, &str)> {
        let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)));
        let (token, rest) = text.split_at(length.unwrap_or(text.len()));
        (!token.is_empty()).then_some((token, rest))
    }
    fn quoted(text: &str) -> Option<(String, &str)> {
        let mut chars = text.strip_prefix('"')?.char_indices();
        let mut value = String::new();
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => return Some((value, &text[index + 2..])),
                '\\' => value.push(chars.next().filter(|(_, c)| matches!(c, '\t' | ' '..='~'))?.1),
                '\t' | ' '..='~' => value.push(c),
                _ => return None,
            }
        }
        None
    }
    let (scheme, mut rest) = token(line)?;
    let mut parameters: Vec<(String, String)> = Vec::new();
    if rest.is_empty() {
        return Some((scheme.to_owned(), parameters));
    }
    rest = rest.strip_prefix(' ')?.trim_start_matches(' ');
    loop {
        let (name, after) = token(rest)?;
        let (value, after) = quoted(after.strip_prefix('=')?)?;
        let name = name.to_ascii_lowercase();
        if parameters.iter().any(|(known, _)| *known == name) {
            return None;
        }
        parameters.push((name, value));
        if after.is_empty() {
            return Some((scheme.to_owned(), parameters));
        }
        rest = after.strip_prefix(',')?.trim_start_matches(' ');
    }
}

/// RFC 6750 §3 b (MUST, refuses)
/// RFC 9110 §11.2 (MUST, refuses)
#[test]
fn the_strict_parser_refuses_malformed_challenges() {
    for good in ["Bearer realm=\"a\"", "Negotiate", "Basic  a=\"\", b=\"x\\\"y\",c=\",\""] {
        assert!(parse_challenge(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "Bearer ",
        "Bearer realm=\"a",
        "Bearer realm=a b",
        "Bearer a=\"1\", A=\"2\"",
        "Bearer a=\"1\",",
        "Bearer a=\"1\" b=\"2\"",
        "Bearer a=\"ä\"",
        "Bearer a=\"\"\"",
        "Bearer =\"a\"",
        "Bearer a=\"\\",
    ] {
        assert!(parse_challenge(bad).is_none(), "{bad}");
    }
}

/// Any text; often one that is allowed or almost allowed.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,20}", "[a-z:/. ]{0,20}", "[\"\\\\,=a-z\\r\\n\\t]{0,8}", any::<String>()]
}

fn allowed_by_rfc_6750(text: &str) -> bool {
    text.chars().all(|c| matches!(c, ' '..='!' | '#'..='[' | ']'..='~'))
}

proptest! {
    /// RFC 6750 §3 b (MUST, accepts)
    /// RFC 6750 §3 c (MUST NOT, refuses)
    /// RFC 6750 §3 d (MUST NOT, accepts)
    /// RFC 6750 §3.1 b (SHOULD NOT, refuses)
    /// RFC 9110 §11.2 (MUST, accepts)
    #[test]
    fn every_challenge_is_well_formed_with_any_settings(
        realm in text(),
        metadata in prop_oneof![text(), text().prop_map(|text| format!("https://api.test/{text}"))],
        scopes in prop::collection::vec(text(), 0..4),
        acr in text(),
        max_age in any::<u64>(),
        scheme in prop_oneof![text(), Just("Basic".to_owned())],
        (name, other) in (prop_oneof![text(), Just("realm".to_owned())], prop_oneof![text(), Just("realm".to_owned())]),
        description in text(),
    ) {
        let verifier = verifier_from(|_| Verdict::Now(Err(AuthError::invalid_token())));
        let mut builder = ResourceServer::builder(verifier);
        let with_realm = ResourceServer::builder(verifier_from(|_| Verdict::Now(Err(AuthError::invalid_token()))));
        prop_assert_eq!(with_realm.realm(&realm).build().is_ok(), allowed_by_rfc_6750(&realm));
        if allowed_by_rfc_6750(&realm) {
            builder = builder.realm(&realm);
        }
        let with_url = ResourceServer::builder(verifier_from(|_| Verdict::Now(Err(AuthError::invalid_token()))));
        let url_is_valid = with_url.resource_metadata(&metadata).build().is_ok();
        prop_assert!(!url_is_valid || allowed_by_rfc_6750(&metadata));
        if url_is_valid {
            builder = builder.resource_metadata(&metadata);
        }
        let scopes = Scopes::new(&scopes).ok();
        if let Some(scopes) = &scopes {
            prop_assert!(allowed_by_rfc_6750(&scopes.to_string()));
            builder = builder.scopes(scopes.clone());
        }
        let other_scheme =
            SchemeChallenge::builder(&scheme).parameter(&name, &description).parameter(&other, &description).build();
        if let Ok(challenge) = &other_scheme {
            prop_assert!(!name.eq_ignore_ascii_case(&other));
            builder = builder.additional_challenge(challenge.clone());
        }
        let server = builder.build().unwrap();

        let token = TestToken::user("ada").build();
        let step_up = StepUp::builder().acr(&acr).max_age(Duration::from_secs(max_age)).build();
        let step_up = step_up.map(|rule| rule.check(&token));
        let errors = [AuthError::missing_credentials(), AuthError::invalid_token()]
            .into_iter()
            .chain(scopes.clone().map(AuthError::insufficient_scope))
            .chain(step_up.ok().and_then(Result::err));
        for error in errors {
            let challenge = server.challenge(&error);
            let lines: Vec<_> = challenge.www_authenticate().map(|line| line.to_str().unwrap().to_owned()).collect();
            let additional = usize::from(other_scheme.is_ok() && error.kind() == AuthErrorKind::MissingCredentials);
            prop_assert_eq!(lines.len(), 1 + additional);
            for line in &lines {
                prop_assert!(parse_challenge(line).is_some(), "{}", line);
            }
            let (scheme, parameters) = parse_challenge(&lines[0]).unwrap();
            let parameter = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
            prop_assert_eq!(&*scheme, "Bearer");
            prop_assert_eq!(parameter("realm"), Some(if allowed_by_rfc_6750(&realm) { &*realm } else { "api" }));
            prop_assert_eq!(parameter("resource_metadata"), url_is_valid.then_some(&*metadata));
            prop_assert!(parameters.iter().all(|(_, value)| allowed_by_rfc_6750(value)));
            match error.kind() {
                AuthErrorKind::MissingCredentials => {
                    prop_assert!(parameter("error").is_none() && parameter("error_description").is_none());
                }
                _ => prop_assert!(parameter("error").is_some() && parameter("error_description").is_some()),
            }
            if error.kind() == AuthErrorKind::InsufficientUserAuthentication {
                prop_assert_eq!(parameter("acr_values"), Some(&*acr));
                prop_assert_eq!(parameter("max_age"), Some(&*max_age.to_string()));
            }
        }
    }
}

#[tokio::test]
async fn a_layer_that_allows_anonymous_requests_sends_a_vary_header() {
    let layer = OAuthLayer::new(issuer().verifier(API));
    let anonymous = router().layer(layer.clone().allow_anonymous());
    assert_eq!(
        get_without_token(&anonymous, "/me").await.header("vary"),
        None,
        "caches never store a refusal, so it needs no vary header"
    );
    let token = issuer().token("ada").sign();
    assert_eq!(get_with_token(&anonymous, "/me", &token).await.header("vary"), Some("authorization"));
    assert_eq!(get_with_token(&router().layer(layer), "/me", &token).await.header("vary"), None);
    let cookies = layer_with(|server| server.accept_cookie("at")).allow_anonymous();
    let answer = get_with_token(&router().layer(cookies), "/me", &token).await;
    let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["authorization", "cookie"]);
}

#[tokio::test]
async fn the_challenge_omits_an_invalid_scope_name_of_a_manual_impl() {
    struct InvalidName;
    impl tower_oauth::scope::Scope for InvalidName {
        const NAME: &'static str = "x\" error=\"none";
    }
    let error = TestToken::user("ada").build().require::<(InvalidName, InvalidName)>().unwrap_err();
    let server = ResourceServer::new(issuer().verifier(API));
    let challenge = server.challenge(&error);
    let lines: Vec<_> = challenge.www_authenticate().map(|line| line.to_str().unwrap()).collect();
    assert_eq!(lines.len(), 1);
    assert!(!lines[0].contains("none"), "{lines:?}");
}

#[tokio::test]
async fn refuses_a_sender_constrained_token_of_a_custom_verifier() {
    let custom_verifier = verifier_from(|presented| {
        let claims = serde_json::json!({"sub": "ada", "cnf": {"jkt": "x"}});
        Verdict::Now(presented.permit().token(&claims))
    });
    let app = router().layer(OAuthLayer::new(custom_verifier));
    assert!(get_with_token(&app, "/me", "anything").await.is_refusal(401, "invalid_token"));
}

/// gRPC 2 (MUST, refuses)
#[tokio::test]
async fn a_layer_with_a_renderer_never_responds_with_a_grpc_status() {
    let server = ResourceServer::builder(issuer().verifier(API)).grpc_status().build().unwrap();
    let app = router().layer(OAuthLayer::from_server(server).render(ProblemJson::new()));
    let answer = send(&app, grpc_request("/me", "application/grpc", "Bearer x")).await;
    assert!(answer.status == 401 && answer.header("grpc-status").is_none(), "{answer:?}");
}
