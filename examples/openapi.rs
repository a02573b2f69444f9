//! An API with an OpenAPI document, by utoipa-axum. Nothing is written twice: the names and descriptions of the scopes come from
//! `scopes!`, and what an operation requires comes from the signature of its handler.
//!
//! ```sh
//! cargo run --example openapi
//! ```
//!
//! `BIND=127.0.0.1:0` selects another address. A test can compare document and API with `tower_oauth::testing::described`.

#![allow(clippy::exhaustive_structs, clippy::indexing_slicing)] // utoipa's structs; a member is set by indexing

use std::error::Error;

use axum::{Json, Router, extract::Path, routing::get};
use serde_json::Value;
use tokio::{net::TcpListener, signal};
use tower_oauth::{
    AnyOf, OAuthLayer, Scoped,
    openapi::{ScopedHandler, oauth2_scheme, requirements_of},
    testing::MockIssuer,
};
use utoipa::openapi::{Info, OpenApi, Paths, SecurityRequirement};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

tower_oauth::scopes! {
    /// Read any order.
    pub OrdersRead = "orders:read";
    /// Change any order.
    pub OrdersWrite = "orders:write";
    /// Do everything.
    pub Admin = "admin";
}

const SCHEME: &str = "oauth2";

#[utoipa::path(get, path = "/orders/{id}", params(("id" = u64, Path, description = "The order's number")))]
async fn read(_: Scoped<OrdersRead>, Path(id): Path<u64>) -> String {
    format!("order {id}\n")
}

#[utoipa::path(delete, path = "/orders/{id}", params(("id" = u64, Path, description = "The order's number")))]
async fn cancel(_: Scoped<(OrdersRead, AnyOf<(OrdersWrite, Admin)>)>, Path(id): Path<u64>) -> String {
    format!("order {id} is cancelled\n")
}

/// Adds what the handler requires to the operation of its route.
fn secured<A, H: ScopedHandler<A>>(handler: &H, (schemas, mut paths, route): UtoipaMethodRouter) -> UtoipaMethodRouter {
    let security: Option<Vec<SecurityRequirement>> = serde_json::from_value(requirements_of(handler, SCHEME)).ok();
    for item in paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(|operation| operation.security.clone_from(&security));
    }
    (schemas, paths, route)
}

/// Returns the routes without protection, and the document.
pub(crate) fn api() -> Result<(Router, Value), Box<dyn Error>> {
    let api = OpenApiRouter::with_openapi(OpenApi::new(Info::new("Orders", "1.0.0"), Paths::new()));
    let api = api.routes(secured(&read, routes!(read))).routes(secured(&cancel, routes!(cancel)));
    let (router, document) = api.split_for_parts();
    let (authorize, token) = ("https://auth.example.com/authorize", "https://auth.example.com/token");
    let scheme = oauth2_scheme(DESCRIBED).authorization_code(authorize, token).client_credentials(token);
    let mut document = serde_json::to_value(document)?;
    document["components"]["securitySchemes"][SCHEME] = scheme.build()?;
    Ok((router, document))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (api, document) = api()?;
    let verifier = MockIssuer::new("https://auth.example.com").verifier("https://api.example.com");
    let app = api.layer(OAuthLayer::new(verifier)).route("/openapi.json", get(async || Json(document)));
    let listener = TcpListener::bind(std::env::var("BIND").unwrap_or_else(|_| "127.0.0.1:3000".to_owned())).await?;
    println!("curl http://{}/openapi.json\n\n# Ctrl-C stops the program.", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { drop(signal::ctrl_c().await) }).await?;
    Ok(())
}
