//! An MCP server (rmcp, streamable HTTP) whose tools require scopes. `support/mcp_settings.rs` lists its variables. See
//! `tower_oauth::guide::mcp` for an authorization server, for the settings of rmcp, and for several public names.

use std::{error::Error, sync::Arc};

use axum::Router;
use http::request::Parts;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};
use rmcp::{ErrorData, handler::server::tool::Extension, tool, tool_router};
use serde_json::json;
use tower_oauth::{
    AnyOf, JwtVerifier, OAuthLayer, Scoped, layer::late_refusals::LateRefusals, scope::RequiredScopes,
    verify::JwtVerifierBuilder,
};

use crate::mcp_settings::McpSettings;

#[path = "support/log.rs"]
mod log;
#[path = "support/mcp_settings.rs"]
mod mcp_settings;
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

/// Returns evidence of the scopes. If they are missing, the client gets 403 with a challenge instead of the tool's error.
fn require<S: RequiredScopes>(parts: &Parts) -> Result<Scoped<S>, ErrorData> {
    let required = LateRefusals::of(&parts.extensions).require();
    required.map_err(|error| ErrorData::invalid_request(error.description(), None))
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

    #[tool(description = "Requires mcp:tools and mcp:admin")]
    async fn admin_op(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        require::<(McpTools, McpAdmin)>(&parts).map(|_| "administered".to_owned())
    }

    #[tool(description = "Requires mcp:tools, and mcp:write or mcp:root")]
    async fn any_op(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        require::<(McpTools, AnyOf<(McpWrite, McpRoot)>)>(&parts).map(|_| "written".to_owned())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = tokio::spawn(stop::requested());
    let McpSettings { listener, issuer, resource } = mcp_settings::read().await;
    let verifier = JwtVerifier::builder(issuer, resource.identifier());
    let verifier = resource.identifiers().skip(1).fold(verifier, JwtVerifierBuilder::audience).build()?;
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(resource.hosts())
        .with_legacy_session_mode(false) // Both let the tool run before the head of the response leaves,
        .with_json_response(true); // so that its refusal can be the response.
    let mcp = StreamableHttpService::new(|| Ok(Tools), Arc::<NeverSessionManager>::default(), config);
    let layer = OAuthLayer::for_resource(resource, verifier)?.late_refusals();
    println!("mcp at http://{}/mcp", listener.local_addr()?);
    let app = Router::new().nest_service("/mcp", mcp).layer(layer);
    Ok(axum::serve(listener, app).with_graceful_shutdown(async { drop(stop.await) }).await?)
}
