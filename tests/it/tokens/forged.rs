//! The verifier refuses every forgery that the crate can make, for every algorithm. It accepts the original token.

use tower_oauth::{OAuthLayer, keys::Algorithm, testing::MockIssuer};

use crate::support::{API, ISSUER, get_with, router};

#[tokio::test]
async fn refuses_every_forgery_of_every_algorithm() {
    for &algorithm in Algorithm::supported() {
        let issuer = MockIssuer::new(ISSUER).with_algorithm(algorithm);
        let app = router().layer(OAuthLayer::new(issuer.verifier(API)));
        let good = issuer.token("ada").scope("orders:read orders:write admin");
        let answer = get_with(&app, "/admin", &format!("Bearer {}", good.sign())).await;
        assert_eq!(answer.status, 200, "{algorithm}: {answer:?}");
        let forgeries = good.forgeries();
        assert!(forgeries.len() > 300, "{}", forgeries.len());
        for forgery in forgeries {
            let value = http::HeaderValue::from_bytes(format!("Bearer {}", forgery.token()).as_bytes());
            let value = value.unwrap_or_else(|_| panic!("{forgery} is no valid header value"));
            let request = http::Request::get("/admin").header("authorization", value).body(axum::body::Body::empty());
            let answer = crate::support::send(&app, request.unwrap()).await;
            assert!([400, 401].contains(&answer.status.as_u16()), "{algorithm}, {forgery}: {}", answer.status);
        }
    }
}
