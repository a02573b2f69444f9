//! Helpers for many test modules: an application to send requests to, and its responses with their bodies.

use std::net::SocketAddr;

use axum::{Json, Router, body::Body, routing::get};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt as _;
use tower_oauth::{
    OAuthLayer, ResourceServer, Scoped, Token,
    server::ResourceServerBuilder,
    testing::{MockIssuer, TokenBuilder},
    verify::{PresentedToken, Verdict, Verify},
};

pub(crate) use super::not_run::{not_run, not_run_here};

pub(crate) const ISSUER: &str = "https://auth.test";
pub(crate) const API: &str = "https://api.test";
/// The challenge of a server with default settings, for a request without credentials.
pub(crate) const DEFAULT_CHALLENGE: &str = r#"Bearer realm="api""#;

tower_oauth::scopes! {
    /// Read any order.
    pub(crate) OrdersRead = "orders:read";
    pub(crate) OrdersWrite = "orders:write";
    pub(crate) Admin = "admin";
}

pub(crate) fn issuer() -> MockIssuer {
    MockIssuer::new(ISSUER)
}

/// A valid, still unsigned token of the user `ada` with the scope `orders:read`.
pub(crate) fn valid_token() -> TokenBuilder {
    issuer().token("ada").scope("orders:read")
}

/// The name by which the harness runs a test of this module, which `module_path!` gives.
pub(crate) fn test_name(module: &str, test: &str) -> String {
    let (_, module) = module.split_once("::").unwrap();
    format!("{module}::{test}")
}

/// `/me` accepts every valid token; `/orders` and `/admin` require scopes.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/me", get(|token: Token| async move { Json(token.subject().map(str::to_owned)) }))
        .route("/orders", get(|_: Scoped<OrdersRead>| async { "[]" }).post(|_: Scoped<OrdersWrite>| async { "made" }))
        .route("/admin", get(|_: Scoped<(OrdersRead, Admin)>| async { "admin" }))
}

pub(crate) fn app() -> Router {
    router().layer(OAuthLayer::new(issuer().verifier(API)))
}

/// A layer whose server has the settings that `configure` adds.
pub(crate) fn layer_with(configure: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder) -> OAuthLayer {
    OAuthLayer::from_server(configure(ResourceServer::builder(issuer().verifier(API))).build().unwrap())
}

/// A verifier that returns the verdict of the closure.
pub(crate) fn verifier_from(verdict: impl Fn(&PresentedToken<'_>) -> Verdict + Send + Sync + 'static) -> impl Verify {
    ClosureVerifier(verdict)
}

struct ClosureVerifier<F>(F);

impl<F> Verify for ClosureVerifier<F>
where
    F: Fn(&PresentedToken<'_>) -> Verdict + Send + Sync + 'static,
{
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.0(presented)
    }
}

/// A response with its body as text.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The values of `WWW-Authenticate`.
    pub(crate) fn challenges(&self) -> Vec<&str> {
        self.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Returns the value of a header. Panics if the response has the header twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next();
        assert!(values.next().is_none(), "the response has {name} twice");
        value.map(|value| value.to_str().unwrap())
    }

    /// Whether this is a refusal with this status and this RFC 6750 error code. If `code` is empty, the challenge must
    /// have no error code (RFC 6750 §3.1).
    pub(crate) fn is_refusal(&self, status: u16, code: &str) -> bool {
        let [challenge] = self.challenges()[..] else { return false };
        let code_matches = match code {
            "" => !challenge.contains("error"),
            code => challenge.contains(&format!("error=\"{code}\", error_description=\"")),
        };
        self.status == status && challenge.starts_with("Bearer realm=\"") && code_matches && self.body.is_empty()
    }
}

pub(crate) async fn read(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub(crate) async fn send(app: &Router, request: Request<Body>) -> Answer {
    read(app.clone().oneshot(request).await.unwrap()).await
}

/// `GET path` without credentials.
pub(crate) async fn get_without_token(app: &Router, path: &str) -> Answer {
    get_with_headers(app, path, &[]).await
}

/// `GET path` with these headers, in this order. The values may have any bytes that HTTP allows in a header.
pub(crate) async fn get_with_headers(app: &Router, path: &str, headers: &[(&str, &[u8])]) -> Answer {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| {
        request.header(*name, HeaderValue::from_bytes(value).unwrap())
    });
    send(app, request.body(Body::empty()).unwrap()).await
}

/// `GET path` with this `Authorization` value.
pub(crate) async fn get_with(app: &Router, path: &str, authorization: &str) -> Answer {
    get_with_headers(app, path, &[("authorization", authorization.as_bytes())]).await
}

pub(crate) async fn get_with_token(app: &Router, path: &str, token: &str) -> Answer {
    get_with(app, path, &format!("Bearer {token}")).await
}

/// Serves the router on a TCP socket and returns its address.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Sends these bytes and returns everything that the server sends before it closes the connection.
pub(crate) async fn write_raw(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}
