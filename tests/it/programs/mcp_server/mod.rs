//! The example program `mcp_server`, as a process. `cargo test` builds it with the tests.

#[cfg(feature = "token-endpoint")]
mod rmcp_client;
mod session_mode;
mod settings;

use axum::{Json, Router, routing::get};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_oauth::testing::{MockIssuer, TokenBuilder};

use crate::{
    program::{Launch, Program},
    support::ISSUER,
};

/// Begins the line that names the URL of the program.
const READY: &str = "mcp at ";

/// A running program, which is killed when this value is dropped.
struct Mcp {
    /// What its first line names.
    url: String,
    program: Program,
    issuer: MockIssuer,
}

/// A response, and its body as JSON or else as a text.
#[derive(Debug)]
struct Received {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Mcp {
    /// Starts the program with these variables. Returns `None` and reports it if the program was not built.
    async fn start(settings: &[(&str, &str)]) -> Option<Self> {
        let program = launch(settings).start(READY).await?;
        let url = program.lines_with_start(READY)[0][READY.len()..].to_owned();
        Some(Self { url, program, issuer: MockIssuer::new(ISSUER) })
    }

    /// Starts the program for tokens of a mock issuer, whose keys it fetches.
    async fn with_mock_issuer(settings: &[(&str, &str)]) -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identifier = format!("http://{}", listener.local_addr().unwrap());
        let issuer = MockIssuer::new(&identifier);
        let keys = issuer.jwks();
        let keys = Router::new().route("/jwks", get(async || Json(keys)));
        tokio::spawn(async move { axum::serve(listener, keys).await });
        let jwks_uri = format!("{identifier}/jwks");
        let all = [&[("OAUTH_ISSUER", &*identifier), ("OAUTH_JWKS_URI", &jwks_uri)], settings].concat();
        Self::start(&all).await.map(|mcp| Self { issuer, ..mcp })
    }

    /// The URL without the path.
    fn origin(&self) -> &str {
        self.url.strip_suffix("/mcp").unwrap()
    }

    /// A token of `ada` for this server, still unsigned.
    fn token(&self, scope: &str) -> TokenBuilder {
        self.issuer.token("ada").client_id("agent").audience(&self.url).scope(scope)
    }

    async fn call_with(&self, tool: &str, token: &str, headers: &[(&str, &str)], meta: Value) -> Received {
        let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "_meta": meta}});
        send(|client| {
            let request = client.post(&self.url).header("content-type", "application/json").body(call.to_string());
            let request = request.header("accept", "application/json, text/event-stream").bearer_auth(token);
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        })
        .await
    }

    /// Calls a tool as clients of 2025-11-25 do.
    async fn call(&self, tool: &str, token: &str) -> Received {
        self.call_with(tool, token, &[("mcp-protocol-version", "2025-11-25")], json!({})).await
    }

    /// Calls a tool as clients of 2026-07-28 do.
    async fn call_newest(&self, tool: &str, token: &str) -> Received {
        let version = "2026-07-28";
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let headers = [("mcp-protocol-version", version), ("mcp-method", "tools/call"), ("mcp-name", tool)];
        self.call_with(tool, token, &headers, meta).await
    }
}

impl Received {
    /// Returns the challenge. There must be exactly one.
    #[track_caller]
    fn challenge(&self) -> &str {
        let values: Vec<_> = self.headers.get_all("www-authenticate").iter().collect();
        let [value] = values[..] else { panic!("{self:?}") };
        value.to_str().unwrap()
    }

    /// Checks for 403 with these scopes in the challenge, and nothing of the tool's response.
    #[track_caller]
    fn lacks(&self, scopes: &str) {
        assert_eq!((self.status, &self.body), (403, &Value::from("")), "{self:?}");
        let challenge = self.challenge();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.contains(&format!("scope=\"{scopes}\"")), "{challenge}");
        assert!(challenge.contains("resource_metadata=\""), "{challenge}");
        assert!(!self.headers.contains_key("content-type"), "{self:?}");
    }

    /// Returns the text of a tool's result.
    #[track_caller]
    fn text(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        self.body["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// Sends a request without a proxy.
async fn send(request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> Received {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = request(&client).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    Received { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// The program with these variables and no others, at a free port.
fn launch(settings: &[(&str, &str)]) -> Launch {
    Program::example("mcp_server").settings(settings)
}

/// MCP 3 (MUST, accepts)
/// MCP 4 (MUST, accepts)
/// MCP 7 (SHOULD, refuses)
/// MCP 10 (MUST, accepts)
#[tokio::test]
async fn each_tool_needs_its_scopes_and_a_refusal_names_the_least() {
    let Some(mcp) = Mcp::with_mock_issuer(&[]).await else { return };
    let rows = [
        ("whoami", "mcp:admin mcp:write", "mcp:tools"),
        ("admin_op", "mcp:tools", "mcp:tools mcp:admin"),
        ("admin_op", "mcp:admin", "mcp:tools mcp:admin"),
        ("any_op", "mcp:tools", "mcp:tools mcp:write"),
        ("any_op", "mcp:root", "mcp:tools mcp:root"),
        ("any_op", "other", "mcp:tools mcp:write"),
    ];
    for (tool, scope, least) in rows {
        let token = mcp.token(scope).sign();
        mcp.call(tool, &token).await.lacks(least);
        mcp.call_newest(tool, &token).await.lacks(least);
    }
    let granted = [
        ("admin_op", "mcp:tools mcp:admin", "administered"),
        ("any_op", "mcp:tools mcp:write", "written"),
        ("any_op", "mcp:tools mcp:root", "written"),
    ];
    for (tool, scope, text) in granted {
        let token = mcp.token(scope).sign();
        assert_eq!(mcp.call(tool, &token).await.text(), text, "{tool} {scope}");
        assert_eq!(mcp.call_newest(tool, &token).await.text(), text, "{tool} {scope}");
    }
    let who: Value = serde_json::from_str(mcp.call("whoami", &mcp.token("mcp:tools a").sign()).await.text()).unwrap();
    assert_eq!(who, json!({"client_id": "agent", "sub": "ada", "scopes": ["mcp:tools", "a"]}));
    let unknown = mcp.call("nothing", &mcp.token("mcp:tools").sign()).await;
    assert!(unknown.status == 200 && unknown.body["error"].is_object(), "an error of the protocol stays: {unknown:?}");
}

/// MCP 9 (MUST NOT, refuses)
/// MCP 10 (MUST, refuses)
#[tokio::test]
async fn neither_a_name_in_a_header_nor_a_session_id_opens_a_tool() {
    let Some(mcp) = Mcp::with_mock_issuer(&[]).await else { return };
    let token = mcp.token("mcp:tools").sign();
    for version in ["2025-11-25", "2026-07-28"] {
        let headers = [("mcp-protocol-version", version), ("mcp-method", "tools/call"), ("mcp-name", "whoami")];
        let received = mcp.call_with("admin_op", &token, &headers, json!({})).await;
        // rmcp compares the headers with the body for the newer version only.
        let refused = if version == "2025-11-25" { 403 } else { 400 };
        assert_eq!(received.status, refused, "{version}: {received:?}");
    }
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "whoami"}}).to_string();
    let received = send(|client| {
        let request = client.post(&mcp.url).header("content-type", "application/json").body(call);
        request.header("accept", "application/json, text/event-stream").header("mcp-session-id", "1")
    })
    .await;
    assert_eq!(received.status, 401, "{received:?}");
}

/// MCP 3 (MUST, refuses)
/// MCP 4 (MUST, refuses)
/// MCP 5 (MUST, refuses)
/// MCP 6 (MUST, refuses)
/// MCP 9 (MUST NOT, refuses)
#[tokio::test]
async fn every_method_needs_a_token_for_this_server() {
    let Some(mcp) = Mcp::with_mock_issuer(&[]).await else { return };
    let metadata = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", mcp.origin());
    let expired = mcp.token("mcp:tools").claim("exp", 1_700_000_000);
    let tokens = [
        ("", ""),
        (&mcp.token("mcp:tools").audience("https://other.test/mcp").sign(), "meant for another resource"),
        (&mcp.token("mcp:tools").audience(mcp.origin()).sign(), "meant for another resource"),
        (&expired.sign(), "expired"),
        ("x.y.z", "invalid"),
    ];
    for (token, text) in tokens {
        for method in ["POST", "GET", "DELETE", "PUT"] {
            let answer = send(|client| {
                let request = client.request(method.parse().unwrap(), &mcp.url);
                if token.is_empty() { request } else { request.bearer_auth(token) }
            });
            let answer = answer.await;
            let challenge = answer.challenge();
            assert_eq!(answer.status, 401, "{method} {answer:?}");
            assert!(challenge.contains("scope=\"mcp:tools\"") && challenge.contains(&metadata), "{challenge}");
            assert_eq!(challenge.contains("error=\"invalid_token\""), !token.is_empty(), "{challenge}");
            assert!(challenge.contains(text), "{challenge}");
        }
    }
    let token = mcp.token("mcp:tools").sign();
    for method in ["GET", "DELETE"] {
        let answer = send(|client| client.request(method.parse().unwrap(), &mcp.url).bearer_auth(&token)).await;
        assert_eq!(answer.status, 405, "there are no sessions: {answer:?}");
    }
    let malformed = send(|client| client.post(&mcp.url).header("authorization", "Bearer")).await;
    assert_eq!(malformed.status, 400, "{malformed:?}");
}

/// MCP 6 (MUST, accepts)
#[tokio::test]
async fn the_metadata_names_the_issuer_and_needs_no_token() {
    let Some(mcp) = Mcp::with_mock_issuer(&[]).await else { return };
    let url = format!("{}/.well-known/oauth-protected-resource/mcp", mcp.origin());
    let answer = send(|client| client.get(&url).header("mcp-protocol-version", "2026-07-28")).await;
    assert_eq!((answer.status, &answer.headers["access-control-allow-origin"]), (200, &"*".parse().unwrap()));
    for (member, value) in [
        ("resource", json!(mcp.url)),
        ("authorization_servers", json!([mcp.issuer.identifier()])),
        ("scopes_supported", json!(["mcp:tools"])),
        ("bearer_methods_supported", json!(["header"])),
    ] {
        assert_eq!(answer.body[member], value, "{answer:?}");
    }
}

/// MCP 5 (MUST, accepts)
#[tokio::test]
async fn the_hosts_are_those_of_the_identifiers() {
    let also = [("OAUTH_RESOURCE", "https://mcp.example.com/mcp"), ("OAUTH_RESOURCE_ALSO", "http://127.0.0.2:9/x")];
    let Some(mcp) = Mcp::with_mock_issuer(&also).await else { return };
    let post = async |host: &str, audience: &str| {
        let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "whoami"}});
        let token = mcp.token("mcp:tools").audience(audience).sign();
        send(|client| {
            let request = client.post(&mcp.url).header("host", host).bearer_auth(token).body(call.to_string());
            let request = request.header("content-type", "application/json").header("x-forwarded-host", "evil.test");
            request.header("accept", "application/json, text/event-stream")
        })
        .await
    };
    let (first, second) = ("https://mcp.example.com/mcp", "http://127.0.0.2:9/x");
    for (host, audience) in [("mcp.example.com", first), ("MCP.example.com:443", second), ("127.0.0.2:9", first)] {
        assert_eq!(post(host, audience).await.status, 200, "{host} {audience}");
    }
    for host in ["evil.test", "127.0.0.1", "127.0.0.2", "localhost", "mcp.example.com.evil.test"] {
        let answer = post(host, first).await;
        assert_eq!((answer.status, answer.body), (403, Value::from("Forbidden: Host header is not allowed")), "{host}");
        assert!(!answer.headers.contains_key("www-authenticate"), "no scope would help");
    }
    assert_eq!(post("mcp.example.com", &mcp.url).await.status, 401, "the listening address is no identifier");
    let bare = async |host: &str| send(|client| client.post(&mcp.url).header("host", host)).await;
    for (host, metadata) in [
        ("mcp.example.com", "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"),
        ("127.0.0.2:9", "http://127.0.0.2:9/.well-known/oauth-protected-resource/x"),
        ("evil.test", "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"),
    ] {
        let answer = bare(host).await;
        assert!(answer.challenge().contains(&format!("resource_metadata=\"{metadata}\"")), "{host}: {answer:?}");
    }
}
