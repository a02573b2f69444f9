//! The layer with tower, hyper, tonic and axum: readiness, no request without a verdict, real sockets.

mod extension_points;
mod late_refusals;
mod settings;
mod unsent_refusals;

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    mem,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{Code, metadata::AsciiMetadataValue, transport::Channel};
use tonic_health::{ServingStatus, pb::HealthCheckRequest, pb::health_client::HealthClient};
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _, limit::ConcurrencyLimit, service_fn};
use tower_oauth::{
    AuthError, OAuthLayer, Token, layer::require::RequireScopesLayer, testing::TestToken, verify::Verdict,
};

use crate::support::{
    API, app, get_with_token, issuer, layer_with, router, serve, valid_token, verifier_from, write_raw,
};

// --- tower ---

/// An inner service that is ready only after the second poll and panics if it is called before. It counts its calls. A
/// clone is not ready.
#[derive(Debug)]
struct ReadinessCheck {
    ready: bool,
    polled: bool,
    calls: Arc<AtomicUsize>,
}

impl ReadinessCheck {
    fn new() -> Self {
        Self { ready: false, polled: false, calls: Arc::default() }
    }

    fn calls(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.calls)
    }
}

impl Clone for ReadinessCheck {
    fn clone(&self) -> Self {
        Self { ready: false, polled: false, calls: self.calls() }
    }
}

impl Service<Request<Full<Bytes>>> for ReadinessCheck {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if mem::replace(&mut self.polled, true) {
            self.ready = true;
            return Poll::Ready(Ok(()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        assert!(mem::take(&mut self.ready), "called before it was ready");
        self.polled = false;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let subject = request.extensions().get::<Token>().and_then(Token::subject).unwrap_or("no subject").to_owned();
        ready(Ok(Response::new(subject)))
    }
}

/// Accepts the token `good` and refuses all others, after it has yielded to other tasks.
fn slow() -> OAuthLayer {
    OAuthLayer::new(verifier_from(|presented| {
        let (good, permit) = (presented.token() == "good", presented.permit());
        Verdict::later(async move {
            tokio::task::yield_now().await;
            if good { permit.token(&serde_json::json!({"sub": "ada"})) } else { Err(AuthError::invalid_token()) }
        })
    }))
}

fn request(authorization: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    if let Some(value) = authorization {
        request.headers_mut().insert("authorization", value.parse().unwrap());
    }
    request
}

/// Threat W1
#[tokio::test]
#[should_panic(expected = "called before it was ready")]
async fn the_mock_service_panics_if_called_before_it_is_ready() {
    let _ = ReadinessCheck::new().call(request(None)).await;
}

/// Threat W1
#[tokio::test]
async fn calls_the_inner_service_only_when_ready_and_for_valid_tokens() {
    let good = format!("Bearer {}", valid_token().sign());
    for (layer, good) in [(layer_with(|server| server), &*good), (slow(), "Bearer good")] {
        let inner = ReadinessCheck::new();
        let calls = inner.calls();
        let mut service = layer.layer(inner);
        for (authorization, status, expected) in [
            (Some(good), 200, 1),
            (None, 401, 1),
            (Some("Bearer bad"), 401, 1),
            (Some(good), 200, 2),
            (Some("Bearer"), 400, 2),
            (Some(good), 200, 3),
        ] {
            let response = service.ready().await.unwrap().call(request(authorization)).await.unwrap();
            assert_eq!(response.status(), status, "{authorization:?}");
            assert_eq!(response.body(), if status == 200 { "ada" } else { "" });
            assert_eq!(calls.load(Ordering::Relaxed), expected, "{authorization:?}");
        }
    }
}

/// Threat W1
#[tokio::test]
async fn every_service_calls_its_inner_service_only_after_poll_ready() {
    let token = || TestToken::user("ada").scope("a").into_layer();
    let inner = ReadinessCheck::new();
    let calls = inner.calls();
    let mut accepting = token().layer(RequireScopesLayer::all(["a"]).unwrap().layer(inner.clone()));
    let mut refusing = token().layer(RequireScopesLayer::all(["b"]).unwrap().layer(inner.clone()));
    let mut late = slow().late_refusals().layer(inner.clone());
    let mut form = slow().accept_form_body(100).layer(inner.clone());
    let mut rendered = slow().render(tower_oauth::layer::ProblemJson::new()).layer(inner);
    let form_request = || {
        let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        request.body(Full::from("access_token=good")).unwrap()
    };
    for round in 1..=2 {
        assert_eq!(accepting.ready().await.unwrap().call(request(None)).await.unwrap().status(), 200);
        assert_eq!(refusing.ready().await.unwrap().call(request(None)).await.unwrap().status(), 403);
        assert_eq!(late.ready().await.unwrap().call(request(Some("Bearer good"))).await.unwrap().body(), "ada");
        assert_eq!(form.ready().await.unwrap().call(form_request()).await.unwrap().body(), "ada");
        assert_eq!(form.ready().await.unwrap().call(request(Some("Bearer good"))).await.unwrap().body(), "ada");
        assert_eq!(rendered.ready().await.unwrap().call(request(Some("Bearer good"))).await.unwrap().body(), "ada");
        assert_eq!(calls.load(Ordering::Relaxed), round * 5);
    }
}

/// Threat W3
#[tokio::test]
async fn handles_requests_concurrently_while_verdicts_are_pending() {
    let inner = ReadinessCheck::new();
    let calls = inner.calls();
    let mut service = slow().layer(inner);
    let mut answers = JoinSet::new();
    for index in 0..20 {
        let authorization = if index % 2 == 0 { "Bearer good" } else { "Bearer bad" };
        answers.spawn(service.ready().await.unwrap().call(request(Some(authorization))));
    }
    let statuses: Vec<_> = answers.join_all().await.into_iter().map(|answer| answer.unwrap().status()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    assert_eq!(calls.load(Ordering::Relaxed), 10);
}

/// Threat W3
#[tokio::test]
async fn never_calls_the_inner_service_without_a_verdict() {
    let inner = ReadinessCheck::new();
    let calls = inner.calls();
    let mut service = OAuthLayer::new(verifier_from(|_| Verdict::later(pending()))).layer(inner);
    let future = service.ready().await.unwrap().call(request(Some("Bearer good")));
    let outcome = tokio::time::timeout(Duration::from_millis(20), future).await;
    assert!(outcome.is_err(), "the future must wait for the verdict until it is dropped");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_clone_works_independently_of_the_original() {
    let layer = layer_with(|server| server);
    let good = format!("Bearer {}", valid_token().sign());
    let mut first = layer.layer(ReadinessCheck::new());
    let mut second = first.clone();
    let mut third = layer.clone().layer(ReadinessCheck::new());
    for service in [&mut first, &mut second, &mut third] {
        assert_eq!(service.ready().await.unwrap().call(request(Some(&good))).await.unwrap().body(), "ada");
        assert_eq!(service.ready().await.unwrap().call(request(None)).await.unwrap().status(), 401);
    }
}

/// Threat W2
#[tokio::test]
async fn a_refused_request_releases_its_concurrency_permit() {
    for (layer, good) in [(layer_with(|server| server), valid_token().sign()), (slow(), "good".to_owned())] {
        let mut service = layer.layer(ConcurrencyLimit::new(ReadinessCheck::new(), 1));
        for _ in 0..3 {
            let refused = service.ready().await.unwrap().call(request(Some("Bearer bad"))).await.unwrap();
            assert_eq!(refused.status(), 401);
            let served = service.ready().await.unwrap().call(request(Some(&format!("Bearer {good}"))));
            assert_eq!(served.await.unwrap().body(), "ada");
        }
        // The limit is one: if a refusal did not release its permit, the next request would wait without end.
        for _ in 0..3 {
            let refused = service.clone().oneshot(request(Some("Bearer bad"))).await.unwrap();
            assert_eq!(refused.status(), 401);
        }
    }
}

#[tokio::test]
async fn returns_errors_of_the_inner_service_unchanged() {
    #[derive(Clone)]
    struct Failing(bool);
    impl Service<Request<Full<Bytes>>> for Failing {
        type Response = Response<String>;
        type Error = &'static str;
        type Future = Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(if self.0 { Ok(()) } else { Err("not ready") })
        }

        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            ready(Err("failed"))
        }
    }
    for layer in [layer_with(|server| server), slow()] {
        assert_eq!(layer.layer(Failing(false)).ready().await.err(), Some("not ready"));
    }
    let answer = slow().layer(Failing(true)).oneshot(request(Some("Bearer good"))).await;
    assert_eq!(answer.unwrap_err(), "failed");
    let good = format!("Bearer {}", valid_token().sign());
    let answer = layer_with(|server| server).layer(Failing(true)).oneshot(request(Some(&good))).await;
    assert_eq!(answer.unwrap_err(), "failed");
}

#[tokio::test]
async fn responds_503_to_an_asynchronous_unavailable_verdict() {
    let layer = OAuthLayer::new(verifier_from(|_| {
        Verdict::later(async {
            tokio::task::yield_now().await;
            Err(AuthError::unavailable(Duration::from_secs(7)))
        })
    }));
    let answer = get_with_token(&router().layer(layer), "/me", "x").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("7")));
    assert!(answer.challenges().is_empty());
}

// --- hyper ---

#[tokio::test]
async fn protects_a_hyper_server_over_a_socket() {
    let service = ServiceBuilder::new().layer(layer_with(|server| server)).service(service_fn(
        async |request: Request<Incoming>| {
            let subject =
                request.extensions().get::<Token>().and_then(Token::subject).unwrap_or("no subject").to_owned();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(subject)))
        },
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let good = write_raw(address, get_request("/", Some(&valid_token().sign()), true)).await;
    assert!(good.starts_with("HTTP/1.1 200 ") && good.ends_with("\r\n\r\nada"), "{good}");
    let bare = write_raw(address, get_request("/", None, true)).await;
    assert!(bare.starts_with("HTTP/1.1 401 ") && bare.contains("www-authenticate: Bearer realm=\"api\"\r\n"), "{bare}");
}

// --- tonic ---

async fn health_server(layer: OAuthLayer) -> SocketAddr {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("orders", ServingStatus::Serving).await;
    let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    tokio::spawn(tonic::transport::Server::builder().layer(layer).add_service(health).serve_with_incoming(incoming));
    address
}

async fn check_health(address: SocketAddr, token: Option<&str>) -> Result<i32, tonic::Status> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let value = token.map(|token| AsciiMetadataValue::try_from(format!("Bearer {token}")).unwrap());
    let mut client = HealthClient::with_interceptor(channel, move |mut request: tonic::Request<()>| {
        if let Some(value) = &value {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    });
    let answer = client.check(HealthCheckRequest { service: "orders".to_owned() }).await?;
    Ok(answer.into_inner().status)
}

/// gRPC 2 (MUST, accepts)
#[tokio::test]
async fn protects_a_tonic_server_over_a_socket() {
    let address = health_server(layer_with(|server| server.grpc_status().realm("grpc"))).await;
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    assert_eq!(check_health(address, Some(&valid_token().sign())).await.unwrap(), serving as i32);
    for (token, message) in [(None, "An access token is required"), (Some("x"), "The access token is invalid")] {
        let status = check_health(address, token).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, message));
        let challenge = status.metadata().get("www-authenticate").unwrap().to_str().unwrap();
        assert!(challenge.starts_with("Bearer realm=\"grpc\""), "{challenge}");
    }
}

/// gRPC 3 (derived, refuses)
#[tokio::test]
async fn a_tonic_client_understands_a_plain_http_refusal() {
    let address = health_server(layer_with(|server| server)).await;
    assert_eq!(check_health(address, Some("x")).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(check_health(address, Some(&valid_token().sign())).await.is_ok());
}

// --- axum::serve, with the exact bytes of the requests ---

fn get_request(path: &str, token: Option<&str>, close: bool) -> String {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let connection = if close { "connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nhost: api.test\r\n{authorization}{connection}\r\n")
}

/// Status and body of each response on a connection.
fn answers(text: &str) -> Vec<(u16, String)> {
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads
        .map(|answer| {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head[..3].parse().unwrap(), body.to_owned())
        })
        .collect()
}

/// Threat H11
#[tokio::test]
async fn requests_on_one_connection_never_share_a_token() {
    let address = serve(app()).await;
    let (ada, bob) = (valid_token().sign(), issuer().token("bob").sign());
    let pipelined = [
        get_request("/me", Some(&ada), false),
        get_request("/me", None, false),
        get_request("/me", Some(&bob), false),
        get_request("/me", Some("x.y.z"), false),
        get_request("/me", None, true),
    ];
    let answers = answers(&write_raw(address, pipelined.concat()).await);
    let expected = [(200, "\"ada\""), (401, ""), (200, "\"bob\""), (401, ""), (401, "")];
    assert_eq!(answers, expected.map(|(status, body)| (status, body.to_owned())));
}

/// RFC 9110 §5.3 (MUST NOT, refuses)
/// Threat H11
#[tokio::test]
async fn refuses_or_ignores_an_authorization_header_with_unusual_framing() {
    let address = serve(app()).await;
    let token = valid_token().sign();
    let head = "GET /me HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n";
    let rows = [
        ("a usual header", format!("{head}authorization: Bearer {token}\r\n\r\n"), 200),
        ("another case of the name", format!("{head}AUTHORIZATION: bearer {token}\r\n\r\n"), 200),
        ("spaces around the value", format!("{head}authorization:   Bearer {token}  \r\n\r\n"), 200),
        ("a folded line", format!("{head}authorization: Bearer\r\n {token}\r\n\r\n"), 400),
        ("a folded line with a tab", format!("{head}authorization:\r\n\tBearer {token}\r\n\r\n"), 400),
        ("a space before the colon", format!("{head}authorization : Bearer {token}\r\n\r\n"), 400),
        ("two lines", format!("{head}authorization: Bearer {token}\r\nauthorization: Bearer {token}\r\n\r\n"), 400),
        (
            "two lines of other cases",
            format!("{head}Authorization: Bearer {token}\r\nauthorization: Basic x\r\n\r\n"),
            400,
        ),
        ("an empty value", format!("{head}authorization:\r\n\r\n"), 401),
        (
            "a trailer",
            format!(
                "{head}transfer-encoding: chunked\r\ntrailer: authorization\r\n\r\n0\r\nauthorization: Bearer {token}\r\n\r\n"
            ),
            401,
        ),
    ];
    for (what, request, status) in rows {
        let answer = write_raw(address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(!answer.contains(&token[..24]), "{what}: {answer}");
    }
}

/// Threat H11
#[tokio::test]
async fn handles_http_1_0_like_http_1_1() {
    let address = serve(app()).await;
    let good =
        write_raw(address, format!("GET /me HTTP/1.0\r\nauthorization: Bearer {}\r\n\r\n", valid_token().sign())).await;
    assert!(good.starts_with("HTTP/1.0 200 ") && good.ends_with("\"ada\""), "{good}");
    let bare = write_raw(address, "GET /me HTTP/1.0\r\n\r\n").await;
    assert!(bare.starts_with("HTTP/1.0 401 ") && bare.contains("www-authenticate: Bearer"), "{bare}");
}

/// Threat E5
#[tokio::test]
async fn refuses_a_token_of_300_kb_and_handles_the_next_request() {
    let address = serve(app()).await;
    let answer = write_raw(address, get_request("/me", Some(&"A".repeat(300_000)), true)).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("error=\"invalid_token\""), "{answer}");
    assert!(answer.len() < 1_000);
    let next = write_raw(address, get_request("/me", Some(&valid_token().sign()), true)).await;
    assert!(next.starts_with("HTTP/1.1 200 "), "{next}");
}

/// Threat H12
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_of_100_users_never_exchange_subjects() {
    // The verdict's subject is the token itself; some verdicts take longer than others.
    let slow = OAuthLayer::new(verifier_from(|presented| {
        let (claims, permit) = (serde_json::json!({"sub": presented.token()}), presented.permit());
        let yields = presented.token().len() * 7 % 5;
        Verdict::later(async move {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            permit.token(&claims)
        })
    }));
    let quick = OAuthLayer::new(issuer().verifier(API));
    let sign_token: [fn(&str) -> String; 2] = [|user| issuer().token(user).sign(), str::to_owned];
    for (layer, sign_token) in [quick, slow].into_iter().zip(sign_token) {
        let address = serve(router().layer(layer)).await;
        let mut users = JoinSet::new();
        for number in 0..100 {
            let user = format!("user-{}-{number}", "x".repeat(number % 7));
            let token = sign_token(&user);
            users.spawn(async move {
                let pipelined: String = (0..5).map(|index| get_request("/me", Some(&token), index == 4)).collect();
                let expected = vec![(200, format!("\"{user}\"")); 5];
                answers(&write_raw(address, pipelined).await) == expected
            });
        }
        assert_eq!(users.join_all().await, [true; 100]);
    }
}
