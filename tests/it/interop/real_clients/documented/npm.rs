//! Packages of npm.

use serde_json::{Value, json};

use super::{Client, Servers, WITHOUT_PKCE, WORKS};
use crate::program::Program;

#[tokio::test]
async fn passport_oauth2() {
    let Some(client) = Client::npm("passport-oauth2", "1.8", "passport-oauth2.mjs") else { return };
    client.needs_pkce(WITHOUT_PKCE, Some("pkce, state")).await;
}

#[tokio::test]
async fn grant() {
    let Some(client) = Client::npm("grant", "5.4", "grant.mjs") else { return };
    client.needs_pkce("refused: ", Some("pkce")).await;
}

#[tokio::test]
async fn simple_oauth2() {
    let Some(client) = Client::npm("simple-oauth2", "5.1", "simple-oauth2.mjs") else { return };
    client.needs_pkce(WITHOUT_PKCE, None).await;
}

#[tokio::test]
async fn oauth4webapi() {
    let Some(client) = Client::npm("oauth4webapi", "3.8", "oauth4webapi.mjs") else { return };
    let Some(servers) = Servers::start().await else { return };
    client.prints(&servers, "as documented", WORKS, &[("CLIENT_ID", "web")]).await;
}

#[tokio::test]
async fn oauth4webapi_discovers_the_resources_of_protected_api() {
    let Some(client) = Client::npm("oauth4webapi", "3.8", "resource_discovery.mjs") else { return };
    let Some(servers) = Servers::start().await else { return };
    // The script starts the program itself, with several identifiers.
    let Some(program) = Program::example("protected_api").built() else { return };
    client.prints(&servers, "as documented", WORKS, &[("PROTECTED_API", program.to_str().unwrap())]).await;
}

#[tokio::test]
async fn auth_js() {
    let Some(client) = Client::npm("@auth/core", "0.41", "auth-js.mjs") else { return };
    let Some(servers) = Servers::start().await else { return };
    let variables = [("CLIENT_ID", "web"), ("PKCE", "1")];
    client.prints(&servers, "client: endpoints, userinfo.request", WORKS, &variables).await;
}

#[tokio::test]
async fn appauth() {
    let Some(client) = Client::npm("@openid/appauth", "1.4", "appauth.mjs") else { return };
    let Some(servers) = Servers::start().await else { return };
    client.prints(&servers, "server: any_localhost_port", WORKS, &[("CLIENT_ID", "localhost")]).await;
}

// --- With DPoP: what these clients see is compared in tests/it/interop/sender_constrained_clients. ---

/// A client that requests tokens for itself.
fn job() -> Value {
    json!({"client_id": "bound-job", "client_secret": "a secret", "scope": "read"})
}

/// A client that gets tokens of a user.
fn native() -> Value {
    json!({"client_id": "bound-native", "redirect_uri": "http://127.0.0.1:8799/cb", "scope": "profile"})
}

/// Runs a script of `tests/clients/sender_constrained` with these settings and `protected_api`.
async fn works_with_dpop(client: Client, setting: &str, mut settings: Value) {
    let Some(servers) = Servers::start().await else { return };
    let Some(api) = servers.protected_api().await else { return };
    let issuer = servers.issuer();
    settings["token_endpoint"] = format!("{issuer}/token").into();
    settings["issuer"] = issuer.into();
    settings["resource"] = "https://api.test".into();
    settings["url"] = api.url("/whoami").into();
    client.prints(&servers, setting, WORKS, &[("SERVER", &settings.to_string())]).await;
}

#[tokio::test]
async fn dpop() {
    let Some(client) = Client::npm("dpop", "2.1", "sender_constrained/dpop.mjs") else { return };
    works_with_dpop(client, "servers: DPOP, OAUTH_DPOP_BASE", job()).await;
}

#[tokio::test]
async fn oauth4webapi_with_dpop() {
    let Some(client) = Client::npm("oauth4webapi", "3.8", "sender_constrained/oauth4webapi.mjs") else { return };
    works_with_dpop(client, "client: DPoP", job()).await;
}

#[tokio::test]
async fn openid_client_with_dpop_for_itself() {
    let Some(client) = Client::npm("openid-client", "6.9", "sender_constrained/openid-client.mjs") else { return };
    works_with_dpop(client, "client: DPoP, own tokens", job()).await;
}

#[tokio::test]
async fn openid_client_with_dpop_for_a_user() {
    let Some(client) = Client::npm("openid-client", "6.9", "sender_constrained/openid-client.mjs") else { return };
    works_with_dpop(client, "client: DPoP, tokens of a user", native()).await;
}

#[tokio::test]
async fn the_client_of_the_at_protocol() {
    let script = "sender_constrained/atproto.mjs";
    let Some(client) = Client::npm("@atproto/oauth-client", "0.8", script) else { return };
    let settings = json!({"redirect_uri": "http://127.0.0.1:8799/cb", "scope": "atproto"});
    works_with_dpop(client, "client: sub in the token response", settings).await;
}
