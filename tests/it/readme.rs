//! A copy of the first test in the guide about tests, for people who look for it here.

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use tower::ServiceExt as _;
use tower_oauth::{OAuthLayer, Scoped, testing::MockIssuer};

tower_oauth::scopes! {
    pub OrdersRead = "orders:read";
}

fn app(protect: OAuthLayer) -> Router {
    Router::new().route("/orders", get(async |_: Scoped<OrdersRead>| "[]")).layer(protect)
}

#[tokio::test]
async fn only_readers_read_orders() {
    let issuer = MockIssuer::new("https://auth.test");
    let app = app(OAuthLayer::new(issuer.verifier("https://api.test")));
    let status = async |token: &str| {
        let request = Request::get("/orders").header("authorization", format!("Bearer {token}"));
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    };
    let ada = issuer.token("ada").audience("https://api.test");

    assert_eq!(status(&ada.clone().scope("orders:read").sign()).await, StatusCode::OK);
    assert_eq!(status(&ada.clone().sign()).await, StatusCode::FORBIDDEN);
    for forgery in ada.scope("orders:read").forgeries() {
        assert!(status(forgery.token()).await.is_client_error(), "{forgery}");
    }
}

// End of the guide's test.

#[test]
fn the_guide_shows_the_test_above() {
    let (_, here) = include_str!("readme.rs").split_once("\n\n").unwrap();
    let (shown, _) = here.split_once("\n// End of the guide's test.").unwrap();
    assert!(include_str!("../../src/guide/testing.md").contains(shown), "the guide's test and this copy differ");
}
