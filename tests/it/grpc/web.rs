//! gRPC-Web: the order of CORS, the translation of tonic-web, and the layer.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};
use tonic::{Code, Status, body::Body, client::Grpc, transport::Server};
use tonic_web::{GrpcWebCall, GrpcWebClientLayer, GrpcWebLayer};
use tower::{BoxError, Layer, Service, ServiceBuilder, service_fn};

use super::{
    Shop, example,
    example::orders::{LIST, OrdersServer, PLACE, Text, WATCH},
    grpc_layer, serve, with_token,
};
use crate::support::{issuer, valid_token};

/// What a CORS layer does that allows one origin: it answers preflight requests, and marks the other responses.
#[derive(Clone, Copy)]
struct Cors;

impl<S> Layer<S> for Cors
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Service = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, S::Error>;

    fn layer(&self, inner: S) -> Self::Service {
        let inner = std::sync::Arc::new(std::sync::Mutex::new(inner));
        tower::util::BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
            let preflight = request.method() == Method::OPTIONS;
            let calling = (!preflight).then(|| inner.lock().unwrap().clone().call(request));
            async move {
                let mut response = match calling {
                    Some(calling) => calling.await?,
                    None => Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap(),
                };
                let headers = response.headers_mut();
                headers.insert("access-control-allow-origin", HeaderValue::from_static("https://shop.test"));
                headers.insert("access-control-expose-headers", HeaderValue::from_static("grpc-status, grpc-message"));
                Ok(response)
            }
        }))
    }
}

/// The three layers in the order that the name says, from the outside to the inside.
fn cors_web_oauth() -> SocketAddr {
    let mut server = Server::builder().accept_http1(true).layer(Cors).layer(GrpcWebLayer::new()).layer(grpc_layer());
    serve!(server.add_service(OrdersServer::new(Shop)))
}

fn cors_oauth_web() -> SocketAddr {
    let mut server = Server::builder().accept_http1(true).layer(Cors).layer(grpc_layer()).layer(GrpcWebLayer::new());
    serve!(server.add_service(OrdersServer::new(Shop)))
}

fn oauth_cors_web() -> SocketAddr {
    let mut server = Server::builder().accept_http1(true).layer(grpc_layer()).layer(Cors).layer(GrpcWebLayer::new());
    serve!(server.add_service(OrdersServer::new(Shop)))
}

/// A response with its body.
struct WebAnswer {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl WebAnswer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The HTTP status, and the gRPC status in the headers.
    fn statuses(&self) -> (u16, Option<&str>) {
        (self.status, self.header("grpc-status"))
    }
}

/// Sends a request on a connection of its own.
async fn send_over(version: Version, address: SocketAddr, request: Request<Full<Bytes>>) -> WebAnswer {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let response = if version == Version::HTTP_2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let (head, body) = response.into_parts();
    WebAnswer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

/// The call of a browser's gRPC-Web client: one message in a frame.
fn web_request(address: SocketAddr, path: &str, content_type: &str, token: Option<&str>) -> Request<Full<Bytes>> {
    let request = Request::post(format!("http://{address}{path}"))
        .header("host", address.to_string())
        .header("origin", "https://shop.test")
        .header("content-type", content_type)
        .header("accept", content_type)
        .header("x-grpc-web", "1");
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    let frame = if content_type.contains("-text") { "AAAAAAVoZWxsbw==" } else { "\0\0\0\0\x05hello" };
    request.body(Full::from(frame)).unwrap()
}

const BINARY: &str = "application/grpc-web+proto";

/// gRPC 6 (MUST, accepts)
#[tokio::test]
async fn a_grpc_web_call_with_a_token_gets_its_message_and_its_trailers() {
    let token = valid_token().sign();
    for address in [cors_web_oauth(), cors_oauth_web()] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let answer = send_over(version, address, web_request(address, LIST, BINARY, Some(&token))).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.test"));
            let (message, trailers) = answer.body.split_at(5 + "the orders of ada".len());
            assert_eq!(message, b"\0\0\0\0\x11the orders of ada", "{version:?}");
            assert_eq!(trailers[0], 0x80, "a frame with trailers");
            assert!(String::from_utf8_lossy(&trailers[5..]).contains("grpc-status:0"), "{trailers:?}");
        }
    }
}

/// gRPC 6 (MUST, accepts)
#[tokio::test]
async fn a_grpc_web_call_in_base64_reaches_the_service() {
    let (address, token) = (cors_web_oauth(), valid_token().sign());
    let request = web_request(address, LIST, "application/grpc-web-text", Some(&token));
    let answer = send_over(Version::HTTP_11, address, request).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with(b"AAAAABF0aGUgb3JkZXJzIG9mIGFkY"), "{:?}", answer.body);
}

/// HTTP/2 is what browsers use with TLS.
///
/// gRPC 6 (MUST, refuses)
#[tokio::test]
async fn a_refused_grpc_web_call_over_http_2_gets_a_grpc_status_in_the_headers() {
    let address = cors_web_oauth();
    let answer = send_over(Version::HTTP_2, address, web_request(address, LIST, BINARY, None)).await;
    assert_eq!(answer.statuses(), (200, Some("16")));
    assert_eq!(answer.header("grpc-message"), Some("An access token is required"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"api\""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.test"));
    assert_eq!((answer.header("content-type"), answer.body.len()), (Some("application/grpc-web+proto"), 0));
}

/// tonic-web translates the content type, but not the version. A 200 over HTTP/1.1 would be an approval to some proxies.
///
/// gRPC 6 (MUST, refuses)
#[tokio::test]
async fn a_refused_grpc_web_call_over_http_1_gets_an_http_status() {
    let address = cors_web_oauth();
    for (token, status) in [(None, 401), (Some("x"), 401), (Some("a b"), 400)] {
        let answer = send_over(Version::HTTP_11, address, web_request(address, LIST, BINARY, token)).await;
        assert_eq!(answer.statuses(), (status, None));
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm=\"api\""));
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.test"));
        assert!(answer.body.is_empty());
    }
}

/// gRPC 6 (MUST, refuses)
#[tokio::test]
async fn the_layer_around_the_translation_refuses_grpc_web_calls_with_an_http_status() {
    let address = cors_oauth_web();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let answer = send_over(version, address, web_request(address, LIST, BINARY, None)).await;
        assert_eq!(answer.statuses(), (401, None), "{version:?}");
        assert_eq!(answer.header("content-type"), None, "the translation does not see the refusal");
    }
}

#[tokio::test]
async fn a_method_refuses_a_grpc_web_call_with_a_grpc_status_in_any_version() {
    let reader = valid_token().sign();
    for address in [cors_web_oauth(), cors_oauth_web()] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let answer = send_over(version, address, web_request(address, PLACE, BINARY, Some(&reader))).await;
            assert_eq!(answer.statuses(), (200, Some("7")), "{version:?}");
        }
    }
}

/// gRPC 7 (derived, accepts and refuses)
#[tokio::test]
async fn a_preflight_request_passes_only_with_cors_outside_of_the_layer() {
    for (address, status) in [(cors_web_oauth(), 204), (cors_oauth_web(), 204), (oauth_cors_web(), 401)] {
        let preflight = Request::options(format!("http://{address}{LIST}"))
            .header("origin", "https://shop.test")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,x-grpc-web");
        let answer = send_over(Version::HTTP_11, address, preflight.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status, status);
    }
    let inside = oauth_cors_web();
    let refused = send_over(Version::HTTP_11, inside, web_request(inside, LIST, BINARY, None)).await;
    assert_eq!(refused.header("access-control-allow-origin"), None, "the browser hides this refusal from its script");
}

/// The status of a stream is in its trailers, which gRPC-Web sends in the body.
///
/// gRPC 5 (derived, accepts)
#[tokio::test]
async fn a_grpc_web_stream_ends_with_its_token() {
    let layer = grpc_layer().token_lifetimes();
    let mut server = Server::builder().accept_http1(true).layer(Cors).layer(GrpcWebLayer::new()).layer(layer);
    let address = serve!(server.add_service(OrdersServer::new(example::Shop)));
    let token = issuer().token("ada").expires_in(Duration::from_secs(2)).sign();
    let call = send_over(Version::HTTP_11, address, web_request(address, WATCH, BINARY, Some(&token)));
    let answer = timeout(Duration::from_secs(10), call).await.expect("the stream ends");
    let body = String::from_utf8_lossy(&answer.body);
    assert!(answer.status == 200 && body.starts_with("\0\0\0\0\x03one\0\0\0\0\x03two"), "{body:?}");
    assert!(body.contains("grpc-status:16\r\n") && body.contains("The%20access%20token%20expired"), "{body:?}");
}

/// Calls `List` with the gRPC-Web client of tonic, which uses HTTP/1.1.
async fn call_with_web_client(address: SocketAddr, token: Option<&str>) -> Result<String, Status> {
    let http = service_fn(move |request: Request<GrpcWebCall<Body>>| async move {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok::<_, BoxError>(sender.send_request(request).await?)
    });
    let web = ServiceBuilder::new().layer(GrpcWebClientLayer::new()).service(http);
    let mut client = Grpc::with_origin(web, format!("http://{address}").parse::<Uri>().unwrap());
    client.ready().await.unwrap();
    let response = client.unary(with_token(token), PathAndQuery::from_static(LIST), Text).await?;
    Ok(response.into_inner())
}

/// gRPC 6 (MUST, refuses)
#[tokio::test]
async fn the_grpc_web_client_of_tonic_understands_both_forms_of_a_refusal() {
    for address in [cors_web_oauth(), cors_oauth_web()] {
        assert_eq!(call_with_web_client(address, Some(&valid_token().sign())).await.unwrap(), "the orders of ada");
        for token in [None, Some("x")] {
            assert_eq!(call_with_web_client(address, token).await.unwrap_err().code(), Code::Unauthenticated);
        }
    }
}
