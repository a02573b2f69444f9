//! rmcp's own client against the program, with tokens of the token endpoint.

use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::get,
};
use reqwest::{Url, redirect::Policy};
use rmcp::{
    RoleClient, ServiceError, ServiceExt as _,
    model::CallToolRequestParams,
    service::RunningService,
    transport::{
        StreamableHttpClientTransport,
        auth::{
            AuthClient, AuthorizationCallback, AuthorizationRequest, ClientCredentialsConfig, OAuthState,
            WWWAuthenticateParams,
        },
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, AuthorizationRequest as AskedForCode, Client, ClientCredential, ClientCredentialsGrant,
        ClientSecret, Clients, RefreshTokenGrant, TokenEndpoint, TokenFormat,
    },
};

use super::Mcp;

const CALLBACK: &str = "http://127.0.0.1:49152/callback";

/// Starts the program, and a token endpoint without pages as its issuer.
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

/// Starts the program, and a token endpoint with a page as its issuer.
async fn start_with_a_page() -> Option<Mcp> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let mcp = Mcp::start(&[("OAUTH_ISSUER", &issuer)]).await?;
    let app = Client::builder("app", ClientCredential::None)
        .grant_types(["authorization_code", "refresh_token"])
        .redirect_uri("http://127.0.0.1/callback")
        .default_scopes(["mcp:tools"])
        .optional_scopes(["mcp:admin", "mcp:write"])
        .audience(&mcp.url, TokenFormat::Jwt);
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let endpoint = TokenEndpoint::builder(&issuer, key, Clients::new([app.build().unwrap()]).unwrap())
        .grant(AuthorizationCodeGrant::new(format!("{issuer}/authorize")))
        .grant(RefreshTokenGrant::new())
        .build()
        .unwrap();
    let pages = Router::new().route("/authorize", get(page)).with_state(endpoint.clone());
    tokio::spawn(async move { axum::serve(listener, pages.fallback_service(endpoint)).await });
    Some(mcp)
}

/// The page of a user, Ada, who approves at once.
async fn page(request: AskedForCode) -> Response {
    let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
    request.approve("ada", scopes).await.into_response()
}

/// Opens the page, and returns the URL of its redirect to the client.
async fn open(page: &str) -> String {
    let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let response = http.get(page).send().await.unwrap();
    assert_eq!(response.status(), 303, "{response:?}");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with(CALLBACK), "{location}");
    location
}

/// Returns the value of a parameter of a URL. It must be there once.
fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    let values: Vec<_> =
        url.query_pairs().filter(|(own, _)| own == name).map(|(_, value)| value.into_owned()).collect();
    let [value] = &values[..] else { panic!("{name} in {url}") };
    value.clone()
}

/// Tries to connect with this token, or without one. Returns the challenge of the refusal.
async fn refused(mcp: &Mcp, token: Option<String>) -> String {
    let config = StreamableHttpClientTransportConfig::with_uri(mcp.url.clone());
    let config = token.into_iter().fold(config, StreamableHttpClientTransportConfig::auth_header);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let error = ().serve(StreamableHttpClientTransport::with_client(http, config)).await.unwrap_err();
    error.auth_challenge().unwrap_or_else(|| panic!("{error:?}")).to_owned()
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
    connect_with(mcp, authorized(state)).await
}

/// Returns the client of an authorization that is complete.
fn authorized(state: OAuthState) -> AuthClient<reqwest::Client> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    AuthClient::new(http, state.into_authorization_manager().unwrap())
}

async fn connect_with(mcp: &Mcp, client: AuthClient<reqwest::Client>) -> RunningService<RoleClient, ()> {
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

/// MCP 7 (SHOULD, accepts)
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

/// MCP 6 (MUST, accepts)
#[tokio::test]
async fn without_a_token_the_client_learns_where_the_metadata_is() {
    let Some(mcp) = start().await else { return };
    let challenge = refused(&mcp, None).await;
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", mcp.origin());
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
}

/// MCP 5 (MUST, accepts)
/// MCP 7 (SHOULD, accepts)
#[tokio::test]
async fn a_user_approves_the_scopes_of_the_401_and_later_those_of_the_403() {
    let Some(mcp) = start_with_a_page().await else { return };
    let mut state = OAuthState::new(&mcp.url, None).await.unwrap();
    let request = AuthorizationRequest::new(CALLBACK).with_preregistered_client("app").with_initial_scope_selection();
    state.start_authorization(request.with_challenge(refused(&mcp, None).await)).await.unwrap();
    let page = state.get_authorization_url().await.unwrap();
    assert_eq!([parameter(&page, "scope"), parameter(&page, "resource")], ["mcp:tools", &mcp.url]);
    state.handle_callback_url(&open(&page).await).await.unwrap();
    let authorized = authorized(state);
    let client = connect_with(&mcp, authorized.clone()).await;
    let who = call(&client, "whoami").await.unwrap();
    assert!(["app", "ada", "mcp:tools"].iter().all(|part| who.contains(part)) && !who.contains("mcp:admin"), "{who}");

    let error = call(&client, "admin_op").await.unwrap_err();
    let challenge = error.auth_challenge().unwrap_or_else(|| panic!("{error:?}"));
    let scope = WWWAuthenticateParams::parse(challenge, &Url::parse(&mcp.url).unwrap()).scope.unwrap();
    assert_eq!(scope, "mcp:tools mcp:admin");
    let manager = authorized.auth_manager.lock().await;
    let page = manager.request_scope_upgrade(&scope).await.unwrap();
    assert_eq!([parameter(&page, "scope"), parameter(&page, "resource")], [&*scope, &mcp.url]);
    let callback = AuthorizationCallback::from_redirect_url(&open(&page).await).unwrap();
    let (code, state, issuer) = (&callback.code, &callback.csrf_token, callback.issuer.as_deref());
    assert!(issuer.is_some(), "RFC 9207: the response names its issuer");
    manager.exchange_code_for_token_with_issuer(code, state, issuer).await.unwrap();
    drop(manager);
    // The same connection has the new token.
    assert!(call(&client, "admin_op").await.unwrap().contains("administered"));
}

/// MCP 5 (MUST, refuses)
#[tokio::test]
async fn recognizes_a_token_for_another_server_and_an_expired_one_as_invalid() {
    let Some(mcp) = Mcp::with_mock_issuer(&[]).await else { return };
    let base = Url::parse(&mcp.url).unwrap();
    for (token, text) in [
        (mcp.token("mcp:tools").audience("https://other.test/mcp"), "meant for another resource"),
        (mcp.token("mcp:tools").claim("exp", 1_700_000_000), "expired"),
    ] {
        let challenge = refused(&mcp, Some(token.sign())).await;
        let parsed = WWWAuthenticateParams::parse(&challenge, &base);
        assert!(parsed.is_invalid_token() && !parsed.is_insufficient_scope(), "{challenge}");
        assert_eq!(parsed.scope.as_deref(), Some("mcp:tools"), "{challenge}");
        assert!(challenge.contains(text) && parsed.resource_metadata_url.is_some(), "{challenge}");
    }
}
