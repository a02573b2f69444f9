//! A server refuses every forged proof that the crate can make, for every algorithm. It accepts the unusual good ones.

use http::{HeaderValue, Request};
use tower_oauth::{
    OAuthLayer, ResourceServer, Scoped,
    dpop::{Dpop, NonceSecret},
    extract::SenderConstrained,
    testing::{ProofBuilder, ProofKey, TestToken},
};

use crate::{
    sender_constrained::proof_keys::algorithms,
    support::{API, Answer, OrdersRead, issuer, router, send},
};

const PATH: &str = "/orders";

async fn get_with_proof(app: &axum::Router, token: &str, proof: &str) -> Answer {
    let request = Request::get(PATH)
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", HeaderValue::from_str(proof).unwrap());
    send(app, request.body(axum::body::Body::empty()).unwrap()).await
}

fn app(dpop: Dpop) -> axum::Router {
    let server = ResourceServer::builder(issuer().verifier(API)).dpop(dpop).build().unwrap();
    router().layer(OAuthLayer::from_server(server))
}

fn token_of(key: &ProofKey) -> String {
    issuer().token("ada").scope("orders:read").bound_to(key).sign()
}

fn proof(key: &ProofKey, token: &str) -> ProofBuilder {
    key.proof("GET", &format!("{API}{PATH}")).token(token)
}

async fn refuses_all(app: &axum::Router, token: &str, proof: ProofBuilder, why: &str) {
    let forgeries = proof.forgeries();
    assert!(forgeries.len() > 400, "{}", forgeries.len());
    for forgery in forgeries {
        let answer = get_with_proof(app, token, forgery.proof()).await;
        assert_eq!(answer.status, 401, "{why}, {forgery}");
        let challenge = answer.challenges().first().copied().unwrap_or_default();
        assert!(challenge.starts_with("DPoP ") && challenge.contains("error=\""), "{why}, {forgery}: {challenge}");
    }
}

/// RFC 9449 §4.3 a (MUST, refuses)
#[tokio::test]
async fn refuses_every_forged_proof_of_every_algorithm() {
    for algorithm in algorithms() {
        let key = ProofKey::with_algorithm(algorithm);
        let (app, token) = (app(Dpop::new(API)), token_of(&key));
        let good = proof(&key, &token);
        refuses_all(&app, &token, good.clone(), algorithm.as_str()).await;
        // The refused proofs have not used up their `jti`.
        assert_eq!(get_with_proof(&app, &token, &good.sign()).await.status, 200, "{algorithm}");
    }
}

#[tokio::test]
async fn refuses_every_forged_proof_with_a_nonce() {
    let key = ProofKey::new();
    let (app, token) = (app(Dpop::new(API).nonces(NonceSecret::shared([3; 32]))), token_of(&key));
    let challenge = get_with_proof(&app, &token, &proof(&key, &token).sign()).await;
    let nonce = challenge.header("dpop-nonce").unwrap();
    refuses_all(&app, &token, proof(&key, &token).nonce(nonce), "nonce").await;
    assert_eq!(get_with_proof(&app, &token, &proof(&key, &token).nonce(nonce).sign()).await.status, 200);
}

/// RFC 9449 §4.3 a (MUST, accepts)
#[tokio::test]
async fn accepts_every_good_variant_of_a_proof() {
    for algorithm in algorithms() {
        let key = ProofKey::with_algorithm(algorithm);
        let (app, token) = (app(Dpop::new(API)), token_of(&key));
        for variant in proof(&key, &token).good_variants() {
            let answer = get_with_proof(&app, &token, variant.proof()).await;
            assert_eq!(answer.status, 200, "{algorithm}, {variant}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_test_token_can_be_bound_as_if_its_sender_had_proven_it() {
    let app = || {
        let handler = async |token: SenderConstrained<Scoped<OrdersRead>>| format!("{:?}", token.confirmation());
        axum::Router::new().route(PATH, axum::routing::get(handler))
    };
    let key = ProofKey::new();
    let token = || TestToken::user("ada").scope("orders:read");
    let status = async |token: TestToken| {
        let request = Request::get(PATH).body(axum::body::Body::empty()).unwrap();
        let answer = send(&app().layer(token.into_layer()), request).await;
        (answer.status.as_u16(), answer.body)
    };
    let (code, body) = status(token().bound_to(&key)).await;
    assert!(code == 200 && body.contains(&key.thumbprint()), "{body}");
    let (code, body) = status(token().bound_to_certificate(b"DER").bound_to(&key)).await;
    assert!(code == 200 && body.contains(&key.thumbprint()) && body.contains("x5t#S256"), "{body}");
    assert_eq!(status(token()).await.0, 401, "it is not bound");
    let unproven = token().claim("cnf", serde_json::json!({"jkt": key.thumbprint()}));
    assert_eq!(status(unproven).await.0, 401, "it is not proven");
}
