//! A gRPC stream that ends with its token.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming, transport::Server};
use tower_oauth::{
    AuthError, OAuthLayer, ResourceServer,
    testing::ManualClock,
    verify::{Verdict, Verify},
};

use super::{
    connect,
    example::{
        self,
        orders::{OrdersClient, OrdersServer},
    },
    grpc_layer, serve, with_token,
};
use crate::support::{API, issuer, verifier_from};

const NOW: u64 = 1_800_000_000;
const SECOND: Duration = Duration::from_secs(1);

fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW))
}

fn shop(verifier: impl Verify, clock: &ManualClock) -> SocketAddr {
    let server = ResourceServer::builder(verifier).clock(clock.clone()).grpc_status().build().unwrap();
    let layer = OAuthLayer::from_server(server).token_lifetimes();
    serve!(Server::builder().layer(layer).add_service(OrdersServer::new(example::Shop)))
}

async fn watch(address: SocketAddr, token: &str) -> Result<Streaming<String>, Status> {
    OrdersClient::new(connect(address).await).watch(with_token(Some(token))).await
}

/// Reads the two messages that the example's stream has.
async fn read_both(updates: &mut Streaming<String>) {
    assert_eq!(updates.message().await.unwrap().unwrap(), "one");
    assert_eq!(updates.message().await.unwrap().unwrap(), "two");
}

/// Waits for the status that ends the stream.
async fn end_of(updates: &mut Streaming<String>) -> (Code, String) {
    let end = timeout(10 * SECOND, updates.message()).await.expect("the stream ends").unwrap_err();
    (end.code(), end.message().to_owned())
}

fn expired() -> (Code, String) {
    (Code::Unauthenticated, "The access token expired".to_owned())
}

/// gRPC 5 (derived, accepts)
#[tokio::test]
async fn a_stream_ends_at_the_expiry_of_its_token_by_the_servers_clock() {
    let clock = clock();
    let verifier = issuer().verifier_builder(API).clock(clock.clone()).build().unwrap();
    let address = shop(verifier, &clock);
    let token = issuer().token("ada").claim("iat", NOW).claim("exp", NOW + 3600).sign();
    let mut updates = watch(address, &token).await.unwrap();
    read_both(&mut updates).await;
    clock.advance(3599 * SECOND);
    assert!(timeout(Duration::from_millis(50), updates.message()).await.is_err(), "one second is left");
    clock.advance(SECOND);
    assert_eq!(end_of(&mut updates).await, expired());
    assert!(updates.message().await.unwrap().is_none(), "nothing follows the status");
}

/// gRPC 5 (derived, accepts)
#[tokio::test]
async fn a_stream_ends_within_a_second_of_the_expiry_of_its_token() {
    let layer = grpc_layer().token_lifetimes();
    let address = serve!(Server::builder().layer(layer).add_service(OrdersServer::new(example::Shop)));
    let begun = Instant::now();
    let mut updates = watch(address, &issuer().token("ada").expires_in(2 * SECOND).sign()).await.unwrap();
    read_both(&mut updates).await;
    assert_eq!(end_of(&mut updates).await, expired());
    // `exp` is in whole seconds, so between one and two seconds are left.
    let lasted = begun.elapsed();
    assert!((SECOND / 2..3 * SECOND).contains(&lasted), "{lasted:?}");
}

/// gRPC 5 (derived, refuses)
#[tokio::test]
async fn a_stream_ends_when_the_issuer_revoked_its_token() {
    let (clock, revoked) = (clock(), Arc::new(AtomicBool::new(false)));
    let verifier = {
        let revoked = Arc::clone(&revoked);
        verifier_from(move |presented| {
            if revoked.load(Ordering::SeqCst) {
                return Verdict::Now(Err(AuthError::invalid_token()));
            }
            Verdict::Now(presented.permit().token(&json!({"iss": "https://auth.test", "sub": "ada"})))
        })
    };
    let mut updates = watch(shop(verifier, &clock), "opaque").await.unwrap();
    read_both(&mut updates).await;
    revoked.store(true, Ordering::SeqCst);
    clock.advance(59 * SECOND);
    assert!(timeout(Duration::from_millis(50), updates.message()).await.is_err(), "the interval is not over");
    clock.advance(SECOND);
    assert_eq!(end_of(&mut updates).await, (Code::Unauthenticated, "The access token is invalid".to_owned()));
}

/// gRPC 5 (derived, refuses)
#[tokio::test]
async fn a_stream_without_token_lifetimes_is_refused() {
    let address = serve!(Server::builder().layer(grpc_layer()).add_service(OrdersServer::new(example::Shop)));
    let refused = watch(address, &issuer().token("ada").sign()).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Internal, "The server is misconfigured"));
}
