//! Packages of `PyPI`.

use super::{Client, Servers, WITHOUT_PKCE, WORKS};

#[tokio::test]
async fn requests_oauthlib() {
    let Some(client) = Client::pypi("requests-oauthlib", "2.0", "oauthlib_client.py") else { return };
    client.needs_pkce(WITHOUT_PKCE, Some("pkce")).await;
}

#[tokio::test]
async fn flask_dance() {
    let Some(client) = Client::pypi("Flask-Dance", "7.1", "flask_dance_client.py") else { return };
    client.needs_pkce(WITHOUT_PKCE, Some("use_pkce")).await;
}

#[tokio::test]
async fn httpx_oauth() {
    let Some(client) = Client::pypi("httpx-oauth", "0.17", "httpx_oauth_client.py") else { return };
    client.needs_pkce(WITHOUT_PKCE, Some("code_challenge")).await;
}

/// It requests a token for itself before it connects to a broker.
#[tokio::test]
async fn librdkafka() {
    let Some(client) = Client::pypi("confluent-kafka", "2.16", "kafka_client.py") else { return };
    let Some(servers) = Servers::start().await else { return };
    client.prints(&servers, "as documented", WORKS, &[("CLIENT_SECRET", "a secret")]).await;
}
