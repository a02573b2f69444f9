//! Several trusted issuers behind one layer.

use tower_oauth::{JwtVerifier, OAuthLayer, keys::Algorithm, testing::MockIssuer, verify::TrustedIssuers};

use crate::{
    fake_issuer::FakeIssuer,
    support::{API, get_with_token, issuer, router},
};

/// RFC 8725 §3.8 b (MUST, accepts)
#[tokio::test]
async fn verifies_each_issuer_with_its_own_settings_and_keys() {
    let (strict, lenient) = (issuer(), MockIssuer::new("https://lenient.test").with_algorithm(Algorithm::EdDSA));
    let lenient_verifier =
        lenient.verifier_builder("https://lenient-api.test").accept_plain_jwt_type().build().unwrap();
    let app = router().layer(OAuthLayer::new(TrustedIssuers::new([strict.verifier(API), lenient_verifier]).unwrap()));
    let lenient_token = lenient.token("bob").audience("https://lenient-api.test");
    for good in
        [strict.token("ada").sign(), lenient_token.clone().sign(), lenient_token.clone().header("typ", "JWT").sign()]
    {
        assert_eq!(get_with_token(&app, "/me", &good).await.status, 200);
    }
    for (bad, case) in [
        (strict.token("ada").header("typ", "JWT").sign(), "typ JWT, which only the lenient issuer may use"),
        (strict.token("ada").audience("https://lenient-api.test").sign(), "the audience of the lenient issuer"),
        (strict.token("ada").sign_with(&lenient), "the key of the lenient issuer"),
        (lenient_token.clone().claim("iss", strict.identifier()).audience(API).sign(), "the iss of the strict issuer"),
        (
            lenient_token.clone().header("kid", strict.key_id()).sign_with(&strict),
            "the key and kid of the strict issuer",
        ),
        (MockIssuer::new("https://untrusted.test").token("eve").sign(), "an issuer that is not on the list"),
        (lenient_token.clone().without_claim("iss").sign(), "no issuer"),
        (lenient_token.claim("iss", serde_json::json!(["https://lenient.test"])).sign(), "a list of issuers"),
        ("a.b".to_owned(), "not a JWS"),
    ] {
        assert_eq!(get_with_token(&app, "/me", &bad).await.status, 401, "{case}");
    }
    for forgery in strict.token("ada").forgeries() {
        let value = http::HeaderValue::from_bytes(format!("Bearer {}", forgery.token()).as_bytes()).unwrap();
        let request = http::Request::get("/me").header("authorization", value).body(axum::body::Body::empty());
        let answer = crate::support::send(&app, request.unwrap()).await;
        assert!([400, 401].contains(&answer.status.as_u16()), "{forgery}: {}", answer.status);
    }
}

/// RFC 8725 §3.8 b (MUST, refuses)
#[tokio::test]
async fn never_fetches_keys_of_an_issuer_not_on_the_list() {
    let (trusted, untrusted) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let verifier = JwtVerifier::new(trusted.builder().build().unwrap(), API).unwrap();
    let app = router().layer(OAuthLayer::new(TrustedIssuers::new([verifier]).unwrap()));
    assert_eq!(get_with_token(&app, "/me", &untrusted.valid_token()).await.status, 401);
    assert_eq!((trusted.requests().len(), untrusted.requests().len()), (0, 0));
    assert_eq!(get_with_token(&app, "/me", &trusted.valid_token()).await.status, 200);
}

#[test]
fn refuses_an_empty_list_and_a_repeated_issuer() {
    assert!(TrustedIssuers::new([]).unwrap_err().to_string().contains("the list is empty"));
    let twice = TrustedIssuers::new([issuer().verifier(API), issuer().verifier("https://other.test")]);
    assert!(twice.unwrap_err().to_string().contains("\"https://auth.test\" has two verifiers"));
}
