//! Several trusted issuers behind one layer.

use tower_oauth::{Algorithm, Issuers, JwtVerifier, OAuthLayer, testing::MockIssuer};

use crate::{
    fake_issuer::FakeIssuer,
    support::{API, get_with_token, issuer, router},
};

#[tokio::test]
async fn each_issuer_is_judged_by_its_own_rules_and_keys() {
    let (strict, lax) = (issuer(), MockIssuer::with_algorithm("https://lax.test", Algorithm::EdDSA));
    let lax_verifier = lax.verifier_builder("https://lax-api.test").accept_plain_jwt_type().build().unwrap();
    let app = router().layer(OAuthLayer::new(Issuers::new([strict.verifier(API), lax_verifier]).unwrap()));
    let lax_token = lax.token("bob").audience("https://lax-api.test");
    for good in [strict.token("ada").sign(), lax_token.clone().sign(), lax_token.clone().header("typ", "JWT").sign()] {
        assert_eq!(get_with_token(&app, "/me", &good).await.status, 200);
    }
    for (bad, why) in [
        (strict.token("ada").header("typ", "JWT").sign(), "the other's relaxation"),
        (strict.token("ada").audience("https://lax-api.test").sign(), "the other's audience"),
        (strict.token("ada").sign_with(&lax), "the other's key"),
        (lax_token.clone().claim("iss", strict.identifier()).audience(API).sign(), "the other's name"),
        (lax_token.clone().header("kid", strict.key_id()).sign_with(&strict), "the other's key and kid"),
        (MockIssuer::new("https://stranger.test").token("eve").sign(), "nobody's issuer"),
        (lax_token.clone().without("iss").sign(), "no issuer"),
        (lax_token.claim("iss", serde_json::json!(["https://lax.test"])).sign(), "a list of issuers"),
        ("a.b".to_owned(), "not a JWS"),
    ] {
        assert_eq!(get_with_token(&app, "/me", &bad).await.status, 401, "{why}");
    }
    for forgery in strict.token("ada").forgeries() {
        let value = http::HeaderValue::from_bytes(format!("Bearer {}", forgery.token()).as_bytes()).unwrap();
        let request = http::Request::get("/me").header("authorization", value).body(axum::body::Body::empty());
        let answer = crate::support::send(&app, request.unwrap()).await;
        assert!([400, 401].contains(&answer.status.as_u16()), "{forgery}: {}", answer.status);
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_on_the_list_asks_nobody_for_keys() {
    let (trusted, stranger) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let verifier = JwtVerifier::new(trusted.builder().lazy().unwrap(), API).unwrap();
    let app = router().layer(OAuthLayer::new(Issuers::new([verifier]).unwrap()));
    assert_eq!(get_with_token(&app, "/me", &stranger.good_token()).await.status, 401);
    assert_eq!((trusted.requests().len(), stranger.requests().len()), (0, 0));
    assert_eq!(get_with_token(&app, "/me", &trusted.good_token()).await.status, 200);
}

#[test]
fn the_list_names_each_issuer_once_and_at_least_one() {
    assert!(Issuers::new([]).unwrap_err().to_string().contains("there is none"));
    let twice = Issuers::new([issuer().verifier(API), issuer().verifier("https://other.test")]);
    assert!(twice.unwrap_err().to_string().contains("\"https://auth.test\" is there twice"));
}
