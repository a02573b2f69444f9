//! The gRPC service `shop.Orders`, by hand: a program has this code from tonic-build, which makes it from a `.proto` file. The
//! messages are texts.

use std::{
    convert::Infallible,
    error::Error,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use tonic::{
    Extensions, Request, Response, Status, Streaming,
    body::Body,
    client,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{BoxFuture, BoxStream},
    server::{Grpc, NamedService},
    transport::{
        Channel,
        server::{Router, TcpIncoming},
    },
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Service, service_fn};

pub(crate) const LIST: &str = "/shop.Orders/List";
pub(crate) const PLACE: &str = "/shop.Orders/Place";
pub(crate) const WATCH: &str = "/shop.Orders/Watch";

/// The methods of the service.
#[tonic::async_trait]
pub(crate) trait Orders: Send + Sync + 'static {
    async fn list(&self, request: Request<String>) -> Result<Response<String>, Status>;
    async fn place(&self, request: Request<String>) -> Result<Response<String>, Status>;
    async fn watch(&self, request: Request<String>) -> Result<Response<BoxStream<String>>, Status>;
}

/// Serves the methods of `T`.
pub(crate) struct OrdersServer<T>(Arc<T>);

impl<T> OrdersServer<T> {
    pub(crate) fn new(orders: T) -> Self {
        Self(Arc::new(orders))
    }
}

impl<T> Clone for OrdersServer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for OrdersServer<T> {
    const NAME: &'static str = "shop.Orders";
}

impl<T: Orders> Service<http::Request<Body>> for OrdersServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let orders = Arc::clone(&self.0);
        Box::pin(async move {
            let mut grpc = Grpc::new(Text);
            Ok(match request.uri().path() {
                LIST => grpc.unary(service_fn(|request| orders.list(request)), request).await,
                PLACE => grpc.unary(service_fn(|request| orders.place(request)), request).await,
                WATCH => grpc.server_streaming(service_fn(|request| orders.watch(request)), request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// Calls the service.
#[derive(Clone)]
pub(crate) struct OrdersClient(client::Grpc<Channel>);

impl OrdersClient {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(client::Grpc::new(channel))
    }

    /// Calls [`LIST`] or [`PLACE`].
    pub(crate) async fn call(&mut self, method: &'static str, request: Request<String>) -> Result<String, Status> {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let response = self.0.unary(request, PathAndQuery::from_static(method), Text).await?;
        Ok(response.into_inner())
    }

    pub(crate) async fn watch(&mut self, request: Request<String>) -> Result<Streaming<String>, Status> {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let response = self.0.server_streaming(request, PathAndQuery::from_static(WATCH), Text).await?;
        Ok(response.into_inner())
    }
}

/// Serves on the loopback address, calls each method, and prints the responses. A program calls `serve(address)`.
pub(crate) async fn serve_and_call(services: Router, token: &str) -> Result<(), Box<dyn Error>> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let channel = Channel::from_shared(format!("http://{}", incoming.local_addr()?))?;
    tokio::spawn(services.serve_with_incoming(incoming));
    let channel = channel.connect().await?;
    let mut with_token = Request::new(String::new());
    with_token.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    println!("health without a token: {:?}", health.map(Response::into_inner));
    let mut client = OrdersClient::new(channel);
    println!("List without a token: {:?}", client.call(LIST, Request::new(String::new())).await);
    println!("List: {:?}", client.call(LIST, copy(&with_token)).await);
    println!("Place: {:?}", client.call(PLACE, copy(&with_token)).await);
    let mut updates = client.watch(with_token).await?;
    while let Some(update) = updates.message().await.transpose() {
        println!("Watch: {update:?}");
    }
    Ok(())
}

fn copy(request: &Request<String>) -> Request<String> {
    Request::from_parts(request.metadata().clone(), Extensions::new(), String::new())
}

/// Messages are texts in UTF-8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| Status::invalid_argument("the message is not UTF-8"))
    }
}
