//! An MCP server (rmcp, streamable HTTP) whose tools name the scopes they require. A tool that lacks a scope answers 403 with the
//! challenge, so that the client asks for that scope and calls again. Settings: `BIND` (default 127.0.0.1:5001), `OAUTH_ISSUER`,
//! `OAUTH_JWKS_URI`, `OAUTH_RESOURCE` (default `http://BIND/mcp`), `OAUTH_RESOURCE_ALSO` (further identifiers, with commas).

use std::{env, io, net::SocketAddr, process, sync::Arc};

use axum::Router;
use http::{Uri, request::Parts};
use rmcp::{ErrorData, handler::server::tool::Extension, tool, tool_router};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};
use serde_json::json;
use tokio::net::TcpListener;
use tower_oauth::{
    AnyOf, Issuer, JwtVerifier, OAuthLayer, ProtectedResource, Scoped,
    layer::late_refusals::LateRefusals,
    scope::{RequiredScopes, Scope as _},
};

use crate::mistakes::Mistakes;

#[path = "support/log.rs"]
mod log;
#[path = "support/mistakes.rs"]
mod mistakes;
#[path = "support/stop.rs"]
mod stop;

tower_oauth::scopes! {
    McpTools = "mcp:tools";
    McpAdmin = "mcp:admin";
    McpWrite = "mcp:write";
    McpRoot = "mcp:root";
}

struct Tools;

#[tool_router(server_handler)]
impl Tools {
    #[tool(description = "Shows for whom the access token acts")]
    async fn whoami(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        let token = require::<McpTools>(&parts)?;
        let scopes: Vec<_> = token.scopes().iter().map(str::to_owned).collect();
        Ok(json!({ "client_id": token.client_id(), "sub": token.subject(), "scopes": scopes }).to_string())
    }

    #[tool(description = "Needs mcp:tools and mcp:admin")]
    async fn admin_op(&self, Extension(parts): Extension<Parts>) -> Result<&'static str, ErrorData> {
        require::<(McpTools, McpAdmin)>(&parts).map(|_| "done by an administrator")
    }

    #[tool(description = "Needs mcp:tools, and mcp:write or mcp:root")]
    async fn any_op(&self, Extension(parts): Extension<Parts>) -> Result<&'static str, ErrorData> {
        require::<(McpTools, AnyOf<(McpWrite, McpRoot)>)>(&parts).map(|_| "written")
    }
}

/// Returns evidence of the scopes. Without them, the HTTP response is 403 with a challenge instead of the tool's error.
fn require<S: RequiredScopes>(parts: &Parts) -> Result<Scoped<S>, ErrorData> {
    let required = LateRefusals::of(&parts.extensions).require();
    required.map_err(|error| ErrorData::invalid_request(error.description(), None))
}

