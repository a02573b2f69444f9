//! Row S21: a gRPC method behind a server with DPoP. In process, because `protected_api` has no gRPC.

use std::time::Duration;

use axum::{Router, body::Bytes, http::Request, routing::post};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower_oauth::{OAuthLayer, Scoped, Token, dpop::NonceSecret, testing::ProofBuilder};

use super::served::Served;
use crate::{
    programs::protected_api::sender_fixture::BASE,
    support::{Admin, serve},
};

const METHOD: &str = "/orders.Orders/List";

#[tokio::test]
async fn s21_refusals_are_status_200_with_grpc_status_challenges_and_nonce() {
    let client = Served::new();
    let server = client.builder(client.dpop().nonces(NonceSecret::shared([7; 32]))).grpc_status();
    let layer = OAuthLayer::from_server(server.build().unwrap());
    let routes = Router::new()
        .route(METHOD, post(|_: Token| async { ([("grpc-status", "0"), ("content-type", "application/grpc")], "") }))
        .route("/orders.Orders/Admin", post(|_: Scoped<Admin>| async { "" }));
    let address = serve(routes.layer(layer)).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let call = async |method: &str, authorization: Option<&str>, proof: Option<String>| {
        let request = Request::post(format!("http://inside.test{method}")).header("content-type", "application/grpc");
        let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        let request = proof.into_iter().fold(request, |request, value| request.header("dpop", value));
        let request = request.header("te", "trailers").body(Full::new(Bytes::from_static(&[0; 5]))).unwrap();
        sender.clone().send_request(request).await.unwrap().into_parts().0
    };
    let proof =
        |method: &str| -> ProofBuilder { client.key.proof("POST", &format!("{BASE}{method}")).token(&client.token) };
    let dpop = format!("DPoP {}", client.token);
    let bearer = format!("Bearer {}", client.token);
    let first = call(METHOD, Some(&dpop), Some(proof(METHOD).sign())).await;
    let nonce = first.headers["dpop-nonce"].to_str().unwrap().to_owned();
    client.clock.advance(Duration::from_secs(60));
    let used = proof(METHOD).nonce(&nonce).sign();
    let admin = "/orders.Orders/Admin";
    for (row, head, grpc, first_line, nonces) in [
        ("no nonce", first, "16", "DPoP realm=\"api\", error=\"use_dpop_nonce\"", 1),
        ("good, old nonce", call(METHOD, Some(&dpop), Some(used.clone())).await, "0", "", 1),
        (
            "a replay",
            call(METHOD, Some(&dpop), Some(used)).await,
            "16",
            "DPoP realm=\"api\", error=\"invalid_dpop_proof\"",
            1,
        ),
        (
            "no proof",
            call(METHOD, Some(&dpop), None).await,
            "16",
            "DPoP realm=\"api\", error=\"invalid_dpop_proof\"",
            1,
        ),
        (
            "as Bearer",
            call(METHOD, Some(&bearer), None).await,
            "16",
            "Bearer realm=\"api\", error=\"invalid_token\"",
            0,
        ),
        ("no credentials", call(METHOD, None, None).await, "16", "Bearer realm=\"api\"", 0),
        (
            "no scope",
            call(admin, Some(&dpop), Some(proof(admin).nonce(&nonce).sign())).await,
            "7",
            "DPoP realm=\"api\", error=\"insufficient_scope\"",
            1,
        ),
    ] {
        assert_eq!(head.status, 200, "S21: {row}: {head:?}");
        assert_eq!(head.headers["grpc-status"], grpc, "S21: {row}: {head:?}");
        assert_eq!(head.headers.get_all("dpop-nonce").iter().count(), nonces, "S21: {row}: {head:?}");
        let lines: Vec<_> =
            head.headers.get_all("www-authenticate").iter().map(|line| line.to_str().unwrap()).collect();
        if first_line.is_empty() {
            assert_eq!(lines, [""; 0], "S21: {row}");
            continue;
        }
        let [one, other] = lines[..] else { panic!("S21: {row}: {lines:?}") };
        assert!(one.starts_with(first_line), "S21: {row}: {one}");
        assert!(!other.contains("error"), "S21: {row}: {other}");
        assert_ne!(one.starts_with("DPoP "), other.starts_with("DPoP "), "S21: {row}: {other}");
        assert_eq!(head.headers["cache-control"], "no-store", "S21: {row}");
    }
}
