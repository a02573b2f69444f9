//! gRPC with tonic over sockets: status codes, services, methods, gRPC-Web, streams.

mod codes;
#[path = "../../../examples/grpc.rs"]
#[allow(dead_code, reason = "the tests call the services themselves")]
mod example;
mod program;
mod services;
mod streams;
mod web;

use std::net::SocketAddr;

use tonic::{Code, Request, Response, Status, codegen::BoxStream, metadata::AsciiMetadataValue, transport::Channel};
use tower_oauth::{AuthError, OAuthLayer, Token, scope::RequiredScopes, server::ResourceServerBuilder};

use self::example::orders::{Orders, OrdersClient};
use crate::support::{OrdersWrite, layer_with};

/// Serves the router of a `tonic::transport::Server` on a socket and returns its address.
macro_rules! serve {
    ($router:expr) => {{
        let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        tokio::spawn($router.serve_with_incoming(incoming));
        address
    }};
}
use serve;

/// Any accepted token may list and watch; placing an order requires `orders:write`.
struct Shop;

#[tonic::async_trait]
impl Orders for Shop {
    async fn list(&self, request: Request<String>) -> Result<Response<String>, Status> {
        let subject = request.extensions().get::<Token>().and_then(Token::subject).unwrap_or("no token");
        Ok(Response::new(format!("the orders of {subject}")))
    }

    async fn place(&self, request: Request<String>) -> Result<Response<String>, Status> {
        require::<OrdersWrite>(&request).map_err(|error| status(&error))?;
        Ok(Response::new("placed".to_owned()))
    }

    async fn watch(&self, _: Request<String>) -> Result<Response<BoxStream<String>>, Status> {
        Err(Status::unimplemented("no orders to watch"))
    }
}

/// The recipe of the guide for one method.
fn require<S: RequiredScopes>(request: &Request<String>) -> Result<tower_oauth::Scoped<S>, AuthError> {
    Token::of(request.extensions())?.require()
}

fn status(error: &AuthError) -> Status {
    Status::new(Code::from_i32(error.grpc_code()), error.description())
}

fn grpc_layer() -> OAuthLayer {
    layer_with(ResourceServerBuilder::grpc_status)
}

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Calls a method with this token.
async fn call(address: SocketAddr, method: &'static str, token: Option<&str>) -> Result<String, Status> {
    OrdersClient::new(connect(address).await).call(method, with_token(token)).await
}

fn with_token(token: Option<&str>) -> Request<String> {
    let mut request = Request::new("a message".to_owned());
    if let Some(token) = token {
        let value = AsciiMetadataValue::try_from(format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// The value of a status's metadata, which are the headers of the response.
fn metadata<'s>(status: &'s Status, name: &str) -> Option<&'s str> {
    status.metadata().get(name).map(|value| value.to_str().unwrap())
}
