//! What rmcp's settings mean for refusals of tools: with its defaults the head of the response leaves before the tool runs.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{Request, Response, request::Parts};
use http_body_util::BodyExt as _;
use rmcp::{
    ErrorData,
    handler::server::tool::Extension,
    tool, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;
use tower_oauth::layer::late_refusals::LateRefusals;

use crate::{
    log::Log,
    support::{Admin, issuer, layer_with, valid_token},
};

struct Tools;

#[tool_router(server_handler)]
impl Tools {
    #[tool(description = "requires the scope admin")]
    async fn wipe(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        let required = LateRefusals::of(&parts.extensions).require::<Admin>();
        let required = required.map_err(|error| ErrorData::invalid_request(error.description(), None));
        required.map(|_| "wiped".to_owned())
    }
}

fn app(config: StreamableHttpServerConfig) -> Router {
    let mcp = StreamableHttpService::new(|| Ok(Tools), Arc::<LocalSessionManager>::default(), config);
    Router::new().nest_service("/mcp", mcp).layer(layer_with(|server| server).late_refusals())
}

async fn post(app: &Router, session: Option<&str>, message: &Value) -> Response<Body> {
    post_as(app, &valid_token().sign(), session, message).await
}

async fn post_as(app: &Router, token: &str, session: Option<&str>, message: &Value) -> Response<Body> {
    let request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {token}"));
    let mut request = request.header("accept", "application/json, text/event-stream");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
    }
    app.clone().oneshot(request.body(Body::from(message.to_string())).unwrap()).await.unwrap()
}

fn wipe() -> Value {
    json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "wipe"}})
}

async fn text(response: Response<Body>) -> String {
    let body = timeout(Duration::from_secs(5), response.into_body().collect()).await.expect("the response ends");
    String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap()
}

/// Opens a session with the usual token, and returns its id.
async fn open_session(app: &Router) -> String {
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    }});
    let initialized = post(app, None, &initialize).await;
    assert_eq!(initialized.status(), 200);
    let session = initialized.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(app, Some(&session), &ready).await.status(), 202);
    session
}

/// MCP 8 (derived, refuses)
#[tokio::test]
async fn in_session_mode_the_head_leaves_first_so_the_tool_refuses_with_200_and_one_log_line() {
    let log = Log::default();
    let _guard = log.install();
    let app = app(StreamableHttpServerConfig::default());
    let session = open_session(&app).await;
    let called = post(&app, Some(&session), &wipe()).await;
    assert_eq!((called.status().as_u16(), called.headers().get("www-authenticate")), (200, None));
    let body = text(called).await;
    assert!(body.contains("does not grant the required scope") && !body.contains("wiped"), "{body}");
    let log = log.text();
    let late = log.lines().filter(|line| line.contains("after the head of the response had left")).count();
    assert_eq!(late, 1, "{log}");
}

/// MCP 8 (derived, accepts)
#[tokio::test]
async fn without_sessions_and_with_json_the_refusal_of_the_tool_is_the_response() {
    let log = Log::default();
    let _guard = log.install();
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let response = post(&app(config), None, &wipe()).await;
    let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(response.status() == 403 && challenge.contains("scope=\"admin\""), "{challenge}");
    assert_eq!(text(response).await, "");
    assert!(!log.text().contains("after the head of the response had left"), "{}", log.text());
}

/// rmcp binds a session to no user. What a tool may do depends on the token of its own request.
///
/// MCP 9 (MUST NOT, refuses)
#[tokio::test]
async fn another_users_token_passes_with_the_id_of_a_session_and_its_own_scopes_count() {
    let app = app(StreamableHttpServerConfig::default());
    let session = open_session(&app).await;
    let bob = issuer().token("bob").scope("admin").sign();
    let wiped = text(post_as(&app, &bob, Some(&session), &wipe()).await).await;
    assert!(wiped.contains("wiped"), "the session of ada: {wiped}");
    let refused = text(post(&app, Some(&session), &wipe()).await).await;
    assert!(!refused.contains("wiped"), "the token of ada, after that of bob: {refused}");
    assert_eq!(post_as(&app, "x", Some(&session), &wipe()).await.status(), 401, "the id authenticates nothing");
}
