//! What applications add to the layer: optional evidence, refusals of their own, step-up, access logs, bare tokens, clients.

use std::{
    env, fs,
    future::Future as _,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, middleware, middleware::Next, response::Response, routing::get};
use http::{HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tower::ServiceExt as _;
use tower_oauth::{
    AuthError, Claims, ClientToken, InRole, OAuthLayer, ResourceServer, Scoped, Token,
    error::AuthErrorKind,
    extract::SharedClaims,
    fetch::{Fetch as _, HttpClient},
    layer::{
        ProblemJson, Refusal, RenderedBody, TokenSlot,
        require::{RequireScopesLayer, RequireStepUpLayer},
    },
    step_up::StepUp,
    testing::{ManualClock, TestRequest, TestToken},
    verify::{BearerMethod, PresentedToken, Verdict, Verify},
};

use crate::support::{
    API, Admin, get_with_token, get_without_token, issuer, layer_with, not_run, send, valid_token, verifier_from,
};

tower_oauth::roles! {
    Accountant = "accountant";
}

#[derive(serde::Deserialize)]
struct Tenant {
    tenant: String,
}

/// A router whose handlers report which optional evidence they got.
fn optional_router() -> Router {
    Router::new()
        .route("/scoped", get(|token: Option<Scoped<Admin>>| async move { token.is_some().to_string() }))
        .route("/role", get(|token: Option<InRole<Accountant>>| async move { token.is_some().to_string() }))
        .route("/client", get(|token: Option<ClientToken>| async move { token.is_some().to_string() }))
        .route(
            "/claims",
            get(|claims: Option<Claims<Tenant>>| async move {
                claims.map_or_else(|| "none".to_owned(), |Claims(claims)| claims.tenant)
            }),
        )
        .route(
            "/shared",
            get(async |claims: Option<SharedClaims<Tenant>>| {
                claims.map_or_else(|| "none".to_owned(), |claims| claims.tenant.clone())
            }),
        )
}

#[tokio::test]
async fn optional_evidence_is_none_without_credentials_and_without_the_permission() {
    let app = optional_router().layer(layer_with(|server| server).allow_anonymous());
    for (path, none) in
        [("/scoped", "false"), ("/role", "false"), ("/client", "false"), ("/claims", "none"), ("/shared", "none")]
    {
        let anonymous = get_without_token(&app, path).await;
        assert_eq!((anonymous.status.as_u16(), anonymous.body.as_str()), (200, none), "{path}");
        assert!(get_with_token(&app, path, "garbage").await.is_refusal(401, "invalid_token"), "{path}");
    }
    let body = async |path: &str, token: String| {
        let response = get_with_token(&app, path, &token).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.body
    };
    assert_eq!(body("/scoped", valid_token().sign()).await, "false");
    assert_eq!(body("/scoped", valid_token().scope("admin").sign()).await, "true");
    assert_eq!(body("/role", valid_token().sign()).await, "false");
    assert_eq!(body("/role", valid_token().claim("roles", vec!["accountant"]).sign()).await, "true");
    assert_eq!(body("/client", valid_token().sign()).await, "false");
    assert_eq!(body("/client", issuer().client_token("batch").sign()).await, "true");
    for path in ["/claims", "/shared"] {
        assert_eq!(body(path, valid_token().claim("tenant", "acme").sign()).await, "acme");
        let unsuitable = get_with_token(&app, path, &valid_token().claim("tenant", 7).sign()).await;
        assert!(unsuitable.is_refusal(401, "invalid_token"), "claims that don't fit are an error: {unsuitable:?}");
    }
}

#[tokio::test]
async fn optional_evidence_on_a_route_without_the_layer_is_a_mistake_of_the_program() {
    for path in ["/scoped", "/role", "/client", "/claims", "/shared"] {
        assert_eq!(get_without_token(&optional_router(), path).await.status, 500, "{path}");
    }
}

#[tokio::test]
async fn a_403_of_a_handler_is_rendered_like_every_other_refusal() {
    let router = || {
        Router::new()
            .route("/", get(|_: Token| async { Err::<(), _>(AuthError::forbidden("This order is not yours")) }))
    };
    let response = get_with_token(&router().layer(layer_with(|server| server)), "/", &valid_token().sign()).await;
    assert_eq!((response.status.as_u16(), response.challenges(), &*response.body), (403, vec![], ""));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let app = router().layer(layer_with(|server| server).render(ProblemJson::new()));
    let response = get_with_token(&app, "/", &valid_token().sign()).await;
    let problem: serde_json::Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(problem["detail"], "This order is not yours");
    assert_eq!((&problem["status"], problem.get("error")), (&403.into(), None));
    let error = AuthError::forbidden("This order is not yours");
    assert_eq!((error.kind(), error.reason()), (AuthErrorKind::Forbidden, "forbidden"));
    for illegal in ["", "a \"quote\"", "back\\slash", "two\nlines", "\u{fc}"] {
        assert_eq!(AuthError::forbidden(illegal).description(), "The request is not allowed", "{illegal:?}");
    }
}

/// gRPC 2 (MUST, accepts)
#[tokio::test]
async fn a_403_of_a_handler_becomes_a_grpc_status() {
    let handler = |_: Token| async { Err::<(), _>(AuthError::forbidden("100 % yours")) };
    let app = Router::new()
        .route("/", axum::routing::post(handler))
        .layer(layer_with(tower_oauth::server::ResourceServerBuilder::grpc_status));
    let request = http::Request::post("/").version(http::Version::HTTP_2).header("content-type", "application/grpc");
    let request =
        request.header("authorization", format!("Bearer {}", valid_token().sign())).body(Body::empty()).unwrap();
    let response = send(&app, request).await;
    assert_eq!((response.status.as_u16(), response.header("grpc-status")), (200, Some("7")));
    assert_eq!(response.header("grpc-message"), Some("100 %25 yours"));
}

#[test]
fn every_reason_is_a_stable_name_in_snake_case() {
    let errors = [
        AuthError::invalid_token(),
        AuthError::missing_credentials(),
        AuthError::unavailable(Duration::from_secs(1)),
        AuthError::forbidden("no"),
        TestToken::user("ada").build().require::<Admin>().unwrap_err(),
        TestToken::user("ada").build().require_role::<Accountant>().unwrap_err(),
    ];
    let reasons: Vec<_> = errors.iter().map(AuthError::reason).collect();
    assert_eq!(reasons, ["refused_by_verifier", "no_credentials", "unavailable", "forbidden", "scope", "role"]);
}

#[tokio::test]
async fn a_closure_renders_a_body_alone_with_a_content_type_or_none() {
    let body = async |layer: OAuthLayer<_>| get_without_token(&crate::support::router().layer(layer), "/me").await;
    let alone = layer_with(|server| server).render(|refusal: &Refusal<'_>| Body::from(refusal.status().to_string()));
    let response = body(alone).await;
    assert_eq!((&*response.body, response.header("content-type")), ("401 Unauthorized", None));
    let none = layer_with(|server| server).render(|refusal: &Refusal<'_>| {
        assert_eq!(refusal.challenge().status(), 401);
        RenderedBody::<Body>::empty()
    });
    let response = get_without_token(&crate::support::router().layer(none), "/me").await;
    assert_eq!((response.status.as_u16(), &*response.body), (401, ""));
    let typed = layer_with(|server| server)
        .render(|refusal: &Refusal<'_>| (HeaderValue::from_static("text/plain"), Body::from(refusal.error().reason())));
    let response = get_without_token(&crate::support::router().layer(typed), "/me").await;
    assert_eq!((&*response.body, response.header("content-type")), ("no_credentials", Some("text/plain")));
}

#[tokio::test]
async fn the_step_up_layer_refuses_an_old_or_weak_authentication() {
    let clock = ManualClock::default();
    let step_up =
        StepUp::builder().acr("urn:mfa").max_age(Duration::from_secs(60)).clock(clock.clone()).build().unwrap();
    let app = Router::new()
        .route("/", get(|| async { "done" }))
        .layer(RequireStepUpLayer::new(step_up))
        .layer(OAuthLayer::new(issuer().with_clock(clock.clone()).verifier(API)));
    let now = tower_oauth::clock::Clock::now(&clock).duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let token = |acr: &str, age: u64| {
        issuer().with_clock(clock.clone()).token("ada").claim("acr", acr).claim("auth_time", now - age).sign()
    };
    assert_eq!(get_with_token(&app, "/", &token("urn:mfa", 59)).await.body, "done");
    for (acr, age) in [("urn:mfa", 62), ("urn:pwd", 0)] {
        let response = get_with_token(&app, "/", &token(acr, age)).await;
        assert!(response.is_refusal(401, "insufficient_user_authentication"), "{acr} {age}: {response:?}");
        assert!(response.challenges()[0].contains(r#"acr_values="urn:mfa", max_age="60""#), "{response:?}");
    }
    assert!(get_without_token(&app, "/").await.is_refusal(401, ""));
}

#[tokio::test]
async fn an_outer_layer_gets_the_token_or_the_reason_of_the_refusal() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    let access_log = middleware::from_fn(move |mut request: Request, next: Next| {
        let log = Arc::clone(&log);
        async move {
            let slot = TokenSlot::new();
            request.extensions_mut().insert(slot.clone());
            let response: Response = next.run(request).await;
            let reason = response.extensions().get::<AuthError>().map(AuthError::reason);
            let subject = slot.token().and_then(Token::subject);
            log.lock().unwrap().push(format!("{} {subject:?} {reason:?}", response.status().as_u16()));
            response
        }
    });
    let app = crate::support::router().layer(layer_with(|server| server)).layer(access_log);
    get_with_token(&app, "/me", &valid_token().sign()).await;
    get_with_token(&app, "/admin", &valid_token().sign()).await;
    get_with_token(&app, "/me", "garbage").await;
    get_without_token(&app, "/me").await;
    let expected = [
        r#"200 Some("ada") None"#,
        r#"403 Some("ada") Some("scope")"#,
        r#"401 None Some("not_a_jws")"#,
        r#"401 None Some("no_credentials")"#,
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_bare_token_is_authenticated_like_one_of_a_request() {
    let server = ResourceServer::builder(issuer().verifier(API)).max_token_bytes(2_000).build().unwrap();
    let token = server.authenticate_token(&valid_token().sign()).await.unwrap();
    assert_eq!((token.subject(), token.allows("orders:read")), (Some("ada"), true));
    let bound = valid_token().claim("cnf", serde_json::json!({"jkt": "x"})).sign();
    for (text, reason) in [
        ("", "malformed_credentials"),
        ("a b", "malformed_credentials"),
        ("\u{fc}", "malformed_credentials"),
        ("garbage", "not_a_jws"),
        (&"a".repeat(2_001), "too_large"),
        (&bound, "sender_constrained"),
    ] {
        assert_eq!(server.authenticate_token(text).await.unwrap_err().reason(), reason);
    }
    let methods: Arc<Mutex<Vec<BearerMethod>>> = Arc::default();
    let seen = Arc::clone(&methods);
    let server = ResourceServer::new(verifier_from(move |presented| {
        seen.lock().unwrap().push(presented.bearer_method());
        let token = presented.permit().token(&serde_json::json!({"sub": presented.parts().uri.path()}));
        Verdict::later(async { token })
    }));
    assert_eq!(server.authenticate_token("t").await.unwrap().subject(), Some("/"));
    assert_eq!(*methods.lock().unwrap(), [BearerMethod::Direct]);
}

#[tokio::test]
async fn a_custom_verifier_can_be_tested_without_a_server() {
    let verifier = verifier_from(|presented| {
        let tenant = presented.parts().headers.get("x-tenant").and_then(|value| value.to_str().ok());
        let claims = serde_json::json!({"sub": tenant, "scope": presented.token()});
        Verdict::Now(if presented.bearer_method() == BearerMethod::Cookie {
            Err(AuthError::invalid_token())
        } else {
            presented.permit().token(&claims)
        })
    });
    let request = TestRequest::new("read").header("x-tenant", "acme").uri("https://api.test/orders");
    let token = request.verify(&verifier).await.unwrap();
    assert_eq!((token.subject(), token.allows("read")), (Some("acme"), true));
    let request = request.bearer_method(BearerMethod::Cookie);
    assert_eq!(request.verify(&verifier).await.unwrap_err().kind(), AuthErrorKind::InvalidToken);
    assert_eq!(request.with_presented(|presented| presented.parts().uri.path().to_owned()), "/orders");
    assert!(!format!("{request:?}").contains("read"));
}

#[tokio::test]
async fn roles_groups_and_acts_for_are_computed_once() {
    let token = TestToken::user("ada").claim("roles", vec!["a"]).claim("groups", vec!["b"]).build();
    let clone = token.clone();
    assert!(std::ptr::eq(token.roles(), clone.roles()), "clones share the parsed list");
    assert!(std::ptr::eq(token.groups(), clone.groups()));
    assert!(std::ptr::eq(token.entitlements(), clone.entitlements()));
    assert_eq!((token.roles(), token.groups()), (&["a".to_owned()][..], &["b".to_owned()][..]));
    assert_eq!(token.acts_for(), clone.acts_for());
}

/// Polls a response future until it is ready, and once more.
async fn poll_after_ready<S>(mut service: S, request: http::Request<Body>)
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = std::convert::Infallible>,
{
    let mut future = Box::pin(service.ready().await.unwrap().call(request));
    future.as_mut().await.unwrap();
    let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

#[tokio::test]
#[should_panic(expected = "was polled after it had returned its response")]
async fn a_refused_response_future_panics_when_it_is_polled_again() {
    let inner = tower::service_fn(async |_: http::Request<Body>| Ok(http::Response::new(Body::empty())));
    let service = tower::Layer::layer(&layer_with(|server| server), inner);
    poll_after_ready(service, http::Request::get("/me").body(Body::empty()).unwrap()).await;
}

#[tokio::test]
#[should_panic(expected = "was polled after it had returned its response")]
async fn the_future_of_a_requirement_panics_when_it_is_polled_again() {
    let inner = tower::service_fn(async |_: http::Request<Body>| Ok(http::Response::new(Body::empty())));
    let service = tower::Layer::layer(&RequireScopesLayer::all(["a"]).unwrap(), inner);
    poll_after_ready(service, http::Request::get("/me").body(Body::empty()).unwrap()).await;
}

/// Accepts one connection and returns the first line of its request.
async fn first_line(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = vec![0; 4096];
    let length = stream.read(&mut bytes).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    String::from_utf8_lossy(&bytes[..length]).lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn the_http_client_sends_requests_through_its_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let client = HttpClient::builder().proxy(proxy).build().unwrap();
    let seen = tokio::spawn(first_line(listener));
    let request = http::Request::get("http://issuer.test/jwks").body(bytes::Bytes::new()).unwrap();
    assert_eq!(client.fetch(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(seen.await.unwrap(), "GET http://issuer.test/jwks HTTP/1.1");
}

/// Creates a certificate for localhost that no authority has signed. Returns `None` without `openssl`.
fn self_signed_certificate(key: &str, certificate: &str) -> Option<Vec<u8>> {
    let created = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=issuer.tower-oauth.test", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate])
        .output();
    created.is_ok_and(|output| output.status.success()).then(|| fs::read(certificate).unwrap())
}

#[tokio::test]
async fn the_http_client_trusts_the_root_certificates_it_is_given() {
    let folder = env::temp_dir().join(format!("tower-oauth-https-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let Some(pem) = self_signed_certificate(&key, &certificate) else {
        return not_run(
            "HTTPS with a certificate of its own",
            "openssl is not installed (Debian: apt-get install openssl)",
        );
    };
    // `-www` responds to each GET with a page, and port 0 lets the system choose a port.
    let mut server = Command::new("openssl")
        .args(["s_server", "-www", "-accept", "127.0.0.1:0", "-key", &key, "-cert", &certificate])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let address = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ACCEPT ").map(ToOwned::to_owned));
    let port = address.unwrap().rsplit(':').next().unwrap().to_owned();
    let request = || http::Request::get(format!("https://localhost:{port}/")).body(bytes::Bytes::new()).unwrap();

    let error = HttpClient::new().unwrap().fetch(request()).await.unwrap_err();
    let client = HttpClient::builder().root_certificates(pem).build().unwrap();
    let response = client.fetch(request()).await;
    server.kill().unwrap();
    server.wait().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    assert_eq!(response.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn the_http_client_gives_up_after_its_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let client = HttpClient::builder().timeout(Duration::from_millis(100)).build().unwrap();
    let request = http::Request::get(url).body(bytes::Bytes::new()).unwrap();
    assert_eq!(client.fetch(request).await.unwrap_err().to_string(), "no response in time");
}

#[test]
fn the_http_client_reports_every_wrong_setting_at_once() {
    let builder = HttpClient::builder()
        .root_certificates("no certificate")
        .root_certificates("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----")
        .proxy("socks://user:secret@proxy.test")
        .timeout(Duration::ZERO)
        .connect_timeout(Duration::ZERO);
    assert!(!format!("{builder:?}").contains("secret"));
    let error = builder.build().unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["root_certificates", "root_certificates", "proxy", "connect_timeout", "timeout"]);
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(error.mistakes().iter().all(|mistake| !mistake.found().is_empty() && !mistake.change().is_empty()));
}

#[tokio::test]
async fn a_boxed_verifier_forwards_every_method() {
    struct Inner;
    impl Verify for Inner {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            Verdict::Now(presented.permit().token(&serde_json::json!({"sub": "inner"})))
        }
        fn verify_if_responsible(&self, _: &PresentedToken<'_>) -> Option<Verdict> {
            None
        }
        fn is_still_valid(&self, _: &Token) -> bool {
            false
        }
    }
    let boxed: Box<dyn Verify> = Box::new(Inner);
    let request = TestRequest::new("t");
    assert_eq!(request.verify(&boxed).await.unwrap().subject(), Some("inner"));
    assert!(request.with_presented(|presented| boxed.verify_if_responsible(presented)).is_none());
    assert!(!boxed.is_still_valid(&TestToken::user("ada").build()));
    let server = ResourceServer::new(boxed);
    assert_eq!(server.authenticate_token("t").await.unwrap().subject(), Some("inner"));
}

#[test]
fn a_server_converts_into_a_layer() {
    let server = ResourceServer::new(issuer().verifier(API));
    let _: OAuthLayer = server.into();
}
