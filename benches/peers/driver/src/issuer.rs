//! The issuer that all contestants trust: one RSA key, published on loopback at every URL that they fetch.

use axum::{Json, Router, http::Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_oauth::{keys::Algorithm, testing::MockIssuer};

/// Its identifier has the form of a Keycloak realm, because one contestant accepts no other.
pub(crate) async fn start() -> MockIssuer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let identifier = format!("http://{}/realms/bench", listener.local_addr().expect("bound"));
    let issuer = MockIssuer::new(&identifier).with_algorithm(Algorithm::RS256);
    let (keys, metadata) = (issuer.jwks(), metadata(&identifier));
    let answer = async move |uri: Uri| Json(if uri.path().ends_with("/jwks") { keys } else { metadata });
    tokio::task::spawn_local(async move {
        axum::serve(listener, Router::new().fallback(answer)).await.expect("serving never fails");
    });
    issuer
}

pub(crate) fn jwks_uri(issuer: &MockIssuer) -> String {
    format!("{}/jwks", issuer.identifier())
}

fn metadata(identifier: &str) -> Value {
    json!({
        "issuer": identifier,
        "jwks_uri": format!("{identifier}/jwks"),
        "authorization_endpoint": format!("{identifier}/authorize"),
        "token_endpoint": format!("{identifier}/token"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "nbf", "iat"],
    })
}
