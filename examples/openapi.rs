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
use tower_oauth::{AnyOf, OAuthLayer, Scoped, openapi, testing::MockIssuer};
use utoipa::openapi::{Info, OpenApi, PathItem, Paths, SecurityRequirement};
use utoipa_axum::{router::OpenApiRouter, routes};

tower_oauth::scopes! {
    /// Read any order.
    pub OrdersRead = "orders:read";
    /// Change any order.
    pub OrdersWrite = "orders:write";
    /// Do everything.
    pub Admin = "admin";
}

const ISSUER: &str = "https://auth.example.com";
const SCHEME: &str = "oauth2";

#[utoipa::path(get, path = "/orders/{id}", params(("id" = u64, Path, description = "The order's number")))]
async fn read(_: Scoped<OrdersRead>, Path(id): Path<u64>) -> String {
    format!("order {id}\n")
}

#[utoipa::path(delete, path = "/orders/{id}", params(("id" = u64, Path, description = "The order's number")))]
async fn cancel(_: Scoped<(OrdersRead, AnyOf<(OrdersWrite, Admin)>)>, Path(id): Path<u64>) -> String {
    format!("order {id} is cancelled\n")
}

/// Returns the route of a handler. Its operation in the document names what the handler requires.
macro_rules! secured {
    ($handler:ident) => {{
        let (schemas, mut paths, route) = routes!($handler);
        let security: Vec<SecurityRequirement> = serde_json::from_value(openapi::requirements_of(&$handler, SCHEME))?;
        for item in paths.paths.values_mut() {
            let PathItem { get, put, post, delete, options, head, patch, trace, query, .. } = item;
            let operations = [get, put, post, delete, options, head, patch, trace, query].into_iter().flatten();
            operations.for_each(|operation| operation.security = Some(security.clone()));
        }
        (schemas, paths, route)
    }};
}

/// Returns the routes without protection, and the document.
pub(crate) fn api() -> Result<(Router, Value), Box<dyn Error>> {
    let api = OpenApiRouter::with_openapi(OpenApi::new(Info::new("Orders", "1.0.0"), Paths::new()));
    let (router, document) = api.routes(secured!(read)).routes(secured!(cancel)).split_for_parts();
    let [authorize, token] = ["authorize", "token"].map(|path| format!("{ISSUER}/{path}"));
    let scheme = openapi::oauth2_scheme(DESCRIBED).authorization_code(authorize, &token).client_credentials(&token);
    let mut document = serde_json::to_value(document)?;
    document["components"]["securitySchemes"][SCHEME] = scheme.build()?;
    Ok((router, document))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (api, document) = api()?;
    let verifier = MockIssuer::new(ISSUER).verifier("https://api.example.com");
    let app = api.layer(OAuthLayer::new(verifier)).route("/openapi.json", get(async || Json(document)));
    let listener = TcpListener::bind(std::env::var("BIND").unwrap_or_else(|_| "127.0.0.1:3000".to_owned())).await?;
    println!("curl http://{}/openapi.json\n\n# Ctrl-C stops the program.", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { drop(signal::ctrl_c().await) }).await?;
    Ok(())
}
