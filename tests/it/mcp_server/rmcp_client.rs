//! rmcp's own client against the program, with tokens of the token endpoint.

use axum::Router;
use reqwest::Url;
use rmcp::{
    RoleClient, ServiceError, ServiceExt as _,
    model::CallToolRequestParams,
    service::RunningService,
    transport::{
        StreamableHttpClientTransport,
        auth::{AuthClient, ClientCredentialsConfig, OAuthState, WWWAuthenticateParams},
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{Client, ClientCredentialsGrant, ClientSecret, Clients, TokenEndpoint, TokenFormat},
};

use super::Mcp;

/// Starts the program, and a token endpoint as its issuer.
async fn start() -> Option<Mcp> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let mcp = Mcp::start(&[("OAUTH_ISSUER", &issuer)]).await?;
    let agent = Client::builder("agent", ClientSecret::new("agent-secret"))
        .grant_types(["client_credentials"])
        .default_scopes(["mcp:tools"])
        .optional_scopes(["mcp:admin", "mcp:write"])
        .audience(&mcp.url, TokenFormat::Jwt);
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let endpoint = TokenEndpoint::builder(&issuer, key, Clients::new([agent.build().unwrap()]).unwrap())
        .grant(ClientCredentialsGrant::new())
        .publish_authorization_endpoint(format!("{issuer}/authorize"))
        .build()
        .unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback_service(endpoint)).await });
    Some(mcp)
}

/// Gets a token with these scopes, and connects.
async fn connect(mcp: &Mcp, scopes: &[String]) -> RunningService<RoleClient, ()> {
    let mut state = OAuthState::new(&mcp.url, None).await.unwrap();
    let credentials = ClientCredentialsConfig::ClientSecret {
        client_id: "agent".to_owned(),
        client_secret: "agent-secret".to_owned(),
        scopes: scopes.to_vec(),
        resource: Some(mcp.url.clone()),
    };
    state.authenticate_client_credentials(credentials).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let client = AuthClient::new(http, state.into_authorization_manager().unwrap());
    let config = StreamableHttpClientTransportConfig::with_uri(mcp.url.clone());
    ().serve(StreamableHttpClientTransport::with_client(client, config)).await.unwrap()
}

async fn call(client: &RunningService<RoleClient, ()>, tool: &'static str) -> Result<String, ServiceError> {
    client.call_tool(CallToolRequestParams::new(tool)).await.map(|result| format!("{result:?}"))
}

#[tokio::test]
async fn gets_a_token_connects_and_calls_a_tool() {
    let Some(mcp) = start().await else { return };
    let client = connect(&mcp, &[]).await;
    let who = call(&client, "whoami").await.unwrap();
    assert!(who.contains("agent") && who.contains("mcp:tools"), "{who}");
}

#[tokio::test]
async fn recognizes_403_as_insufficient_scope_and_succeeds_with_the_scope_of_the_challenge() {
    let Some(mcp) = start().await else { return };
    let base = Url::parse(&mcp.url).unwrap();
    for (tool, scope, text) in
        [("admin_op", "mcp:tools mcp:admin", "administered"), ("any_op", "mcp:tools mcp:write", "written")]
    {
        let client = connect(&mcp, &["mcp:tools".to_owned()]).await;
        let error = call(&client, tool).await.unwrap_err();
        let challenge = error.auth_challenge().unwrap_or_else(|| panic!("{tool}: {error:?}"));
        let parsed = WWWAuthenticateParams::parse(challenge, &base);
        assert!(parsed.is_insufficient_scope(), "{challenge}");
        assert_eq!(parsed.scope.as_deref(), Some(scope), "{tool}");
        // The connection is good for further calls.
        assert!(call(&client, "whoami").await.is_ok());
        let scopes: Vec<_> = scope.split(' ').map(str::to_owned).collect();
        let granted = call(&connect(&mcp, &scopes).await, tool).await.unwrap();
        assert!(granted.contains(text), "{granted}");
    }
}

#[tokio::test]
async fn without_a_token_the_client_learns_where_the_metadata_is() {
    let Some(mcp) = start().await else { return };
    let config = StreamableHttpClientTransportConfig::with_uri(mcp.url.clone());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let error = ().serve(StreamableHttpClientTransport::with_client(http, config)).await.unwrap_err();
    let challenge = error.auth_challenge().unwrap_or_else(|| panic!("{error:?}"));
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", mcp.origin());
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
}
