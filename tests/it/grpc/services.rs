//! A tonic server with one protected and one open service, and methods that require more than their service.

use std::time::Duration;

use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use tonic::{
    Code, Request, Status,
    service::{LayerExt as _, interceptor::InterceptedService},
    transport::Server,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceBuilder;
use tower_oauth::{
    AuthError, OAuthLayer, ProtectedResource, ResourceServer, Token, layer::require::RequireScopesLayer,
    server::ResourceServerBuilder, verify::Verdict,
};

use super::{
    Shop, call, connect, example,
    example::orders::{LIST, OrdersServer, PLACE},
    grpc_layer, metadata, serve,
};
use crate::{
    log::Log,
    support::{API, issuer, layer_with, valid_token, verifier_from, write_raw},
};

/// Requires `orders:read` at `shop.Orders`, and nothing at the health service.
macro_rules! shop {
    ($layer:expr) => {{
        let (_, health) = tonic_health::server::health_reporter();
        let readers = RequireScopesLayer::all(["orders:read"]).unwrap();
        let protect = ServiceBuilder::new().layer($layer).layer(readers);
        serve!(Server::builder().add_service(health).add_service(protect.named_layer(OrdersServer::new(Shop))))
    }};
}

/// gRPC 4 (derived, accepts)
#[tokio::test]
async fn a_layer_around_one_service_leaves_the_other_services_open() {
    let address = shop!(grpc_layer());
    for token in [None, Some("not-a-token")] {
        let mut health = HealthClient::with_interceptor(connect(address).await, move |mut request: Request<()>| {
            if let Some(token) = token {
                request.metadata_mut().insert("authorization", token.parse().unwrap());
            }
            Ok(request)
        });
        assert!(health.check(HealthCheckRequest::default()).await.is_ok(), "{token:?}");
    }
    assert_eq!(call(address, LIST, None).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(call(address, LIST, Some(&valid_token().sign())).await.unwrap(), "the orders of ada");
}

/// gRPC 1 (MUST NOT, refuses)
#[tokio::test]
async fn a_service_requires_its_scope_at_each_method() {
    let address = shop!(grpc_layer());
    let without_scope = issuer().token("ada").sign();
    for method in [LIST, PLACE, "/shop.Orders/NoSuchMethod"] {
        let refused = call(address, method, Some(&without_scope)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{method}");
        assert_eq!(refused.message(), "The access token does not grant the required scope");
        let challenge = metadata(&refused, WWW_AUTHENTICATE.as_str()).unwrap();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.contains("scope=\"orders:read\""), "{challenge}");
        assert_eq!(metadata(&refused, CACHE_CONTROL.as_str()), Some("no-store"));
    }
}

/// gRPC 4 (derived, refuses)
#[tokio::test]
async fn a_method_requires_more_than_its_service() {
    let address = shop!(grpc_layer());
    let reader = valid_token().sign();
    let refused = call(address, PLACE, Some(&reader)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.message(), "The access token does not grant the required scope");
    let writer = valid_token().scope("orders:read orders:write").sign();
    assert_eq!(call(address, PLACE, Some(&writer)).await.unwrap(), "placed");
}

/// The example's `Place` records its refusal.
///
/// gRPC 4 (derived, refuses)
#[tokio::test]
async fn the_client_of_a_method_that_records_its_refusal_gets_the_challenge() {
    let shop = OrdersServer::new(example::Shop);
    let readers = RequireScopesLayer::all(["orders:read"]).unwrap();
    let protect = ServiceBuilder::new().layer(grpc_layer().late_refusals()).layer(readers);
    let address = serve!(Server::builder().add_service(protect.named_layer(shop)));
    let refused = call(address, PLACE, Some(&valid_token().sign())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.message(), "The access token does not grant the required scope");
    let challenge = metadata(&refused, WWW_AUTHENTICATE.as_str()).unwrap();
    let (_, scope) = challenge.split_once("scope=\"").unwrap();
    let scope = scope.split('"').next().unwrap();
    assert_eq!(scope, "orders:read orders:write");
    // A client may ask for exactly these scopes, so the token must pass the service's requirement too.
    let writer = valid_token().scope(scope).sign();
    assert_eq!(call(address, PLACE, Some(&writer)).await.unwrap(), "placed for ada");
    let without_late_refusals =
        serve!(Server::builder().layer(grpc_layer()).add_service(OrdersServer::new(example::Shop)));
    let refused = call(without_late_refusals, PLACE, Some(&writer)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "never a pass");
}

/// gRPC 4 (derived, refuses)
/// Threat W9
#[tokio::test]
async fn a_method_without_a_layer_around_it_refuses_every_token_and_reports_the_mistake() {
    let log = Log::default();
    let _guard = log.install();
    let writer = valid_token().scope("orders:write").sign();
    for (address, method, file) in [
        (serve!(Server::builder().add_service(OrdersServer::new(Shop))), PLACE, "tests/it/grpc/mod.rs:"),
        (serve!(Server::builder().add_service(OrdersServer::new(example::Shop))), LIST, "examples/grpc.rs:"),
    ] {
        let refused = call(address, method, Some(&writer)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Internal, "The server is misconfigured"));
        let text = log.text();
        let reports = text.lines().filter(|line| line.contains("ERROR") && line.contains("has no OAuthLayer"));
        assert_eq!(reports.filter(|line| line.contains(file)).count(), 1, "{text}");
    }
}

/// RFC 9728 §3.1 (MUST, accepts)
#[tokio::test]
async fn a_server_with_a_layer_around_it_serves_the_metadata_of_its_resource() {
    let resource = ProtectedResource::new(API).unwrap();
    let server = ResourceServer::builder(issuer().verifier(API)).resource(resource).grpc_status().build().unwrap();
    let layer = OAuthLayer::from_server(server).serve_metadata().late_refusals().token_lifetimes();
    let services = Server::builder().accept_http1(true).layer(layer).add_service(OrdersServer::new(example::Shop));
    let address = serve!(services);
    let request = "GET /.well-known/oauth-protected-resource HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n";
    let document = write_raw(address, request).await;
    assert!(
        document.starts_with("HTTP/1.1 200 ") && document.contains("\"resource\":\"https://api.test\""),
        "{document}"
    );
    assert_eq!(call(address, LIST, Some(&valid_token().sign())).await.unwrap(), "the orders of ada");
    let refused = call(address, LIST, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let challenge = metadata(&refused, WWW_AUTHENTICATE.as_str()).unwrap();
    assert!(challenge.contains("/.well-known/oauth-protected-resource"), "{challenge}");
}

/// gRPC 1 (MUST NOT, refuses)
#[tokio::test]
async fn a_method_behind_anonymous_access_refuses_requests_without_a_token() {
    let address = serve!(Server::builder().layer(grpc_layer().allow_anonymous()).add_service(OrdersServer::new(Shop)));
    assert_eq!(call(address, LIST, None).await.unwrap(), "the orders of no token");
    let refused = call(address, PLACE, None).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "An access token is required"));
    assert_eq!(call(address, LIST, Some("x")).await.unwrap_err().code(), Code::Unauthenticated);
}

/// An interceptor makes responses with a body of its own, which is not `Default`, so the layer needs the body of tonic.
///
/// gRPC 4 (derived, accepts)
#[tokio::test]
async fn an_interceptor_inside_of_the_layer_sees_the_token() {
    let only_ada = |request: Request<()>| match request.extensions().get::<Token>().and_then(Token::subject) {
        Some("ada") => Ok(request),
        _ => Err(Status::permission_denied("only ada")),
    };
    let intercepted = InterceptedService::new(OrdersServer::new(Shop), only_ada);
    let protect = ServiceBuilder::new()
        .layer(grpc_layer())
        .map_response(|response: http::Response<_>| response.map(tonic::body::Body::new));
    let address = serve!(Server::builder().add_service(protect.named_layer(intercepted)));
    assert!(call(address, LIST, Some(&valid_token().sign())).await.is_ok());
    let refused = call(address, LIST, Some(&issuer().token("bob").sign())).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "only ada"));
    assert_eq!(call(address, LIST, None).await.unwrap_err().code(), Code::Unauthenticated);
}

/// A layer whose verifier can't check any token.
fn unavailable(configure: fn(ResourceServerBuilder) -> ResourceServerBuilder) -> OAuthLayer {
    let verifier = verifier_from(|_| Verdict::Now(Err(AuthError::unavailable(Duration::from_secs(2)))));
    OAuthLayer::from_server(configure(ResourceServer::builder(verifier)).build().unwrap())
}

/// gRPC 1 (MUST NOT, accepts)
#[tokio::test]
async fn a_client_retries_when_a_token_cannot_be_checked() {
    let address = shop!(unavailable(ResourceServerBuilder::grpc_status));
    let refused = call(address, LIST, Some("x")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "The access token cannot be checked at the moment");
    assert_eq!(metadata(&refused, RETRY_AFTER.as_str()), Some("2"));
    assert_eq!(metadata(&refused, WWW_AUTHENTICATE.as_str()), None);
}

/// The table of `guide::grpc`: what a tonic client makes of a refusal without `grpc_status`.
///
/// gRPC 3 (derived, accepts)
#[tokio::test]
async fn without_grpc_status_a_client_gets_the_code_that_grpc_assigns_to_the_http_status() {
    let plain = shop!(layer_with(|server| server));
    let no_scope = issuer().token("ada").sign();
    let rows = [("x", Code::Unauthenticated), ("a b", Code::Internal), (&*no_scope, Code::PermissionDenied)];
    for (token, code) in rows {
        let refused = call(plain, LIST, Some(token)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{token}");
        assert!(!refused.message().contains("access token"), "the text is not sent: {}", refused.message());
    }
    let down = shop!(unavailable(|server| server));
    assert_eq!(call(down, LIST, Some("x")).await.unwrap_err().code(), Code::Unavailable);
}
