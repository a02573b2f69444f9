//! Streams of bound tokens: the proof is checked once, when the stream begins.

use std::time::Duration;

use axum::{Router, routing::get};
use tower_oauth::{OAuthLayer, lifetime::TokenLifetime, testing::ProofKey};

use super::Fixture;
use crate::support::read;

#[tokio::test]
async fn a_stream_is_renewed_only_with_a_token_that_is_bound_to_the_same_key() {
    let fixture = Fixture::new();
    let tokens = |key: &ProofKey| fixture.issuer.token("ada").scope("orders:read").bound_to(key).sign();
    let (same, other, unbound) = (tokens(&fixture.key), tokens(&ProofKey::new()), fixture.unbound());
    let handler = move |lifetime: TokenLifetime| async move {
        let mut found = Vec::new();
        for token in [&same, &other, &unbound] {
            found.push(lifetime.renew(token).await.map_err(|error| error.reason()));
        }
        found.push(lifetime.token().confirmation().map(|_| ()).ok_or("not proven"));
        format!("{found:?}")
    };
    let server = fixture.server(|server| server);
    let app = Router::new().route("/me", get(handler)).layer(OAuthLayer::from_server(server).token_lifetimes());
    let answer = fixture.get(&app, "/me").await;
    assert_eq!(answer.body, r#"[Ok(()), Err("other_key"), Err("constraint_required"), Ok(())]"#);
}

#[tokio::test]
async fn a_further_check_of_a_bound_token_needs_no_proof() {
    let fixture = Fixture::new();
    let server = fixture.server(|server| server);
    let handler = async |lifetime: TokenLifetime| {
        let lifetime = lifetime.recheck_every(Duration::from_secs(1));
        match tokio::time::timeout(Duration::from_millis(50), lifetime.ended()).await {
            Ok(ended) => format!("{ended}"),
            Err(_) => "goes on".to_owned(),
        }
    };
    let app = Router::new().route("/me", get(handler)).layer(OAuthLayer::from_server(server).token_lifetimes());
    let request = http::Request::get("/me")
        .header("authorization", format!("DPoP {}", fixture.token))
        .header("dpop", fixture.proof("/me"))
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = tokio::spawn(async move { read(tower::ServiceExt::oneshot(app, request).await.unwrap()).await });
    tokio::task::yield_now().await;
    fixture.clock.advance(Duration::from_secs(2));
    assert_eq!(answer.await.unwrap().body, "goes on");
}
