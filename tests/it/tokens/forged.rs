//! The verifier refuses every forgery that the crate can make, for every algorithm. It accepts the original token.

use tower_oauth::{OAuthLayer, keys::Algorithm, testing::MockIssuer};

use crate::support::{API, ISSUER, get_with, router};

/// RFC 6749 §7 (MUST, refuses)
/// RFC 7515 §3.1 (MUST, refuses)
/// RFC 7515 §4 (MUST, refuses)
/// RFC 7515 §4.1.1 (MUST, refuses)
/// RFC 7515 §4.1.11 (MUST, refuses)
/// RFC 7515 §5.2 (MUST, refuses)
/// RFC 7515 §4.1.2 (derived, refuses)
/// RFC 7516 §7.1 (derived, refuses)
/// RFC 7518 §3.4 (MUST, refuses)
/// RFC 7519 §4 a (MUST, refuses)
/// RFC 7519 §8 (derived, refuses)
/// RFC 8725 §3.1 b (MUST, refuses)
/// RFC 8725 §3.2 (MUST, refuses)
/// RFC 8725 §3.7 (MUST, refuses)
/// RFC 8725 §3.10 a (MUST, refuses)
/// RFC 8725bis §3.15 (MUST, refuses)
/// RFC 9068 §4 d (MUST, refuses)
/// Threats A1, A2, A3, A4, A5, A6, A9, K1, K2, K3, K4, K5, X1, X2, X3, X4, X5, X6, X7, X8, X9, S1, S2, S3, S5
/// Threats S9, E1, E2, E3, E4, E6, E7, E8
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
