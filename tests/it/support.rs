//! What several modules need: an app to knock at, and the answer in full.

use axum::{Json, Router, body::Body, routing::get};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_oauth::{OAuthLayer, Scoped, Token, testing::MockIssuer};

pub const ISSUER: &str = "https://auth.test";
pub const API: &str = "https://api.test";

tower_oauth::scopes! {
    /// Read any order.
    pub OrdersRead = "orders:read";
    pub OrdersWrite = "orders:write";
    pub Admin = "admin";
}

pub fn issuer() -> MockIssuer {
    MockIssuer::new(ISSUER)
}

/// `/me` takes any token, `/orders` and `/admin` want scopes.
pub fn router() -> Router {
    Router::new()
        .route("/me", get(|token: Token| async move { Json(token.subject().map(str::to_owned)) }))
        .route("/orders", get(|_: Scoped<OrdersRead>| async { "[]" }).post(|_: Scoped<OrdersWrite>| async { "made" }))
        .route("/admin", get(|_: Scoped<(OrdersRead, Admin)>| async { "admin" }))
}

pub fn app() -> Router {
    router().layer(OAuthLayer::new(issuer().verifier(API)))
}

/// An answer with its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The values of `WWW-Authenticate`.
    pub fn challenges(&self) -> Vec<&str> {
        self.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

pub async fn read(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub async fn send(app: &Router, request: Request<Body>) -> Answer {
    read(app.clone().oneshot(request).await.unwrap()).await
}

/// `GET path` with this `Authorization` value.
pub async fn get_with(app: &Router, path: &str, authorization: &str) -> Answer {
    send(app, Request::get(path).header("authorization", authorization).body(Body::empty()).unwrap()).await
}

pub async fn get_with_token(app: &Router, path: &str, token: &str) -> Answer {
    get_with(app, path, &format!("Bearer {token}")).await
}
