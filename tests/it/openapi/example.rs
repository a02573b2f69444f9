//! The document of `examples/openapi.rs` is what its API does.

use tower_oauth::{OAuthLayer, testing::described};

use crate::support::{API, issuer};

#[path = "../../../examples/openapi.rs"]
#[allow(dead_code, reason = "the test calls no main")]
mod program;

fn token(scopes: &str) -> String {
    issuer().token("ada").scope(scopes).sign()
}

#[tokio::test]
async fn the_example_documents_exactly_what_it_enforces() {
    let (router, document) = program::api().unwrap();
    let app = router.layer(OAuthLayer::new(issuer().verifier(API)));
    described(&document, app, token).await.unwrap();

    assert_eq!(document["info"]["title"], "Orders");
    let scopes = &document["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]["scopes"];
    assert_eq!(scopes["orders:write"], "Change any order.");
    let cancel = &document["paths"]["/orders/{id}"]["delete"]["security"];
    let alternatives = [["orders:read", "orders:write"], ["orders:read", "admin"]];
    assert_eq!(*cancel, serde_json::json!(alternatives.map(|scopes| serde_json::json!({"oauth2": scopes}))));
}
