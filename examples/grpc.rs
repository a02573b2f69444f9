//! A tonic server: one service requires a token, the health service does not. A method requires more than its service, and a
//! stream ends with its token. The program calls itself and prints the responses:
//!
//! ```sh
//! cargo run --example grpc
//! ```
//!
//! A production program has an `Issuer` instead of `MockIssuer`, and the code of tonic-build instead of `support/orders.rs`.

#[path = "support/orders.rs"]
pub(crate) mod orders;

use std::{error::Error, time::Duration};

use futures_util::stream::{self, Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, codegen::BoxStream, service::LayerExt as _, transport::Server};
use tower::ServiceBuilder;
use tower_oauth::layer::{late_refusals::LateRefusals, require::RequireScopesLayer};
use tower_oauth::{AuthError, OAuthLayer, ResourceServer, Token, lifetime::TokenLifetime, testing::MockIssuer};

use self::orders::{Orders, OrdersServer};

tower_oauth::scopes! { pub(crate) OrdersRead = "orders:read"; pub(crate) OrdersWrite = "orders:write"; }

pub(crate) struct Shop;

#[tonic::async_trait]
impl Orders for Shop {
    /// Requires what the service requires.
    async fn list(&self, request: Request<String>) -> Result<Response<String>, Status> {
        let token = Token::of(request.extensions()).map_err(status)?;
        Ok(Response::new(format!("the orders of {}", token.subject().unwrap_or_default())))
    }

    /// Requires a scope of its own, beside that of the service, so that the challenge names both.
    async fn place(&self, request: Request<String>) -> Result<Response<String>, Status> {
        let writer = LateRefusals::of(request.extensions()).require::<(OrdersRead, OrdersWrite)>().map_err(status)?;
        Ok(Response::new(format!("placed for {}", writer.subject().unwrap_or_default())))
    }

    /// A stream that ends when its token expires, or within a minute after its issuer revoked it.
    async fn watch(&self, request: Request<String>) -> Result<Response<BoxStream<String>>, Status> {
        let lifetime = TokenLifetime::of(request.extensions()).map_err(status)?;
        let orders = stream::iter(["one", "two"]).map(str::to_owned).chain(stream::pending());
        Ok(Response::new(until_ended(orders, &lifetime.recheck_every(Duration::from_secs(60)))))
    }
}

/// The gRPC status of a refusal, or of the end of a token.
fn status(error: impl Into<AuthError>) -> Status {
    let error = error.into();
    Status::new(Code::from_i32(error.grpc_code()), error.description())
}

/// Passes the items on until the token ends. Then the status is that of a refused request.
fn until_ended(items: impl Stream<Item = String> + Send + 'static, lifetime: &TokenLifetime) -> BoxStream<String> {
    Box::pin(stream::unfold(Some((Box::pin(items), lifetime.ended())), async |state| {
        let (mut items, mut ended) = state?;
        tokio::select! {
            biased;
            end = &mut ended => Some((Err(status(end)), None)),
            item = items.next() => Some((Ok(item?), Some((items, ended)))),
        }
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = MockIssuer::new("https://auth.example.com");
    let server = ResourceServer::builder(issuer.verifier("https://api.example.com")).grpc_status().build()?;
    let protect = ServiceBuilder::new()
        .layer(OAuthLayer::from_server(server).token_lifetimes().late_refusals())
        .layer(RequireScopesLayer::all(["orders:read"])?); // at each method of the service
    let services = Server::builder()
        .add_service(tonic_health::server::health_reporter().1)
        .add_service(protect.named_layer(OrdersServer::new(Shop)));

    let token = issuer.token("ada").audience("https://api.example.com").scope("orders:read");
    orders::serve_and_call(services, &token.expires_in(Duration::from_secs(3)).sign()).await
}
