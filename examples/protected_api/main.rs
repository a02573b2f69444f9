//! A complete resource server that is configured by its environment, to try the crate against your own issuer:
//!
//! ```sh
//! BIND=127.0.0.1:3000 OAUTH_ISSUER=https://auth.example.com OAUTH_AUDIENCE=https://api.example.com \
//!     cargo run --example protected_api
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `BIND` | Address to listen on. Required. |
//! | `TLS_CERT`, `TLS_KEY` | Files in PEM: the certificates of this server, the leaf first, and its private key. With them the program speaks TLS, with HTTP/1.1 and HTTP/2. Default: no TLS. |
//! | `TLS_CLIENT_CERTS` | `optional`: asks each client for a certificate; `required`: refuses clients without one. The chain of a certificate is not checked. Default: asks for none. |
//! | `OAUTH_ISSUER`, `OAUTH_AUDIENCE` | Issuer of the tokens, and identifier of this API. Required. |
//! | `OAUTH_JWKS_URI` | URL of the key set, for an issuer without metadata. |
//! | `OAUTH_PRESET` | The provider, by the name of its [`Preset`](tower_oauth::Preset), such as `keycloak` or `better-auth`. |
//! | `OAUTH_ACCEPT` | What to accept beyond RFC 9068 and the preset, separated by commas or spaces; each weakens a check: `plain-type`, `missing-audience` (also in introspection responses), `id-tokens`, `plain-http`, `without-sub`, `without-client-id`, `without-iat`, `without-jti`. The names of the crate's methods are accepted too. |
//! | `OAUTH_LEEWAY` | Tolerance for the difference of the clocks, in seconds. Default: 30. Maximum: 300. |
//! | `OAUTH_HEADER` | A header that may contain the token, without a scheme, beside `Authorization`. Default: none; with the presets `cloudflare-access` and `google-iap`, the header in which they send it. |
//! | `OAUTH_MODE` | `jwt` (default); `introspection`: introspects every token; `mixed`: introspects every opaque token. |
//! | `OAUTH_CLIENT_ID`, `OAUTH_CLIENT_SECRET` | Credentials of this API at the introspection endpoint. |
//! | `OAUTH_INTROSPECTION_URL` | Introspection endpoint, which implies `mixed`. Default: from the issuer's metadata. |
//! | `OAUTH_INTROSPECTION_CACHE_SECONDS` | How long a verdict by introspection is cached. Default: 30. |
//! | `OAUTH_RESOURCE_METADATA` | `1`: publishes what clients can learn without a token (RFC 9728) about the resource `OAUTH_AUDIENCE`, which must then be a URL. Default: nothing. |
//! | `OAUTH_RESOURCE_ALSO` | Further identifiers of the resource, separated by commas, for an API with several hosts. Each is accepted as audience. Default: none. |
//! | `RUST_LOG` | Filter of the log, with the crate's own events. Default: `info`. |
//!
//! `--help` prints the variables. The program exits at once if a variable is wrong. It starts and serves while the issuer is down. After SIGTERM or Ctrl-C it
//! completes the requests that are under way.

use std::{env, io, process};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tower_oauth::{AnyOf, OAuthLayer, ResourceServer, Scoped, Token};
use tracing::info;

use crate::settings::Settings;

#[path = "../support/jwt_settings.rs"]
mod jwt_settings;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/mistakes.rs"]
mod mistakes;
mod settings;
#[path = "../support/stop.rs"]
mod stop;
mod tls;

tower_oauth::scopes! {
    OrdersRead = "orders:read";
    OrdersWrite = "orders:write";
    Admin = "admin";
}

async fn who_am_i(token: Token) -> Json<Value> {
    let (sub, client_id, iss) = (token.subject(), token.client_id(), token.issuer());
    let scopes: Vec<_> = token.scopes().iter().map(str::to_owned).collect();
    Json(json!({ "sub": sub, "client_id": client_id, "scopes": scopes, "iss": iss }))
}

fn app(server: ResourceServer) -> Router {
    // A route of its own, because `route_layer` protects only the routes above it.
    let documents = server.metadata().into_iter().fold(Router::new(), |documents, metadata| {
        metadata.paths().fold(documents, |documents, path| documents.route_service(path, metadata.clone()))
    });
    Router::new()
        .route("/whoami", get(who_am_i))
        .route("/orders", get(async |_: Scoped<OrdersRead>| "[]").post(async |_: Scoped<OrdersWrite>| "placed"))
        .route("/admin", get(async |_: Scoped<(OrdersRead, Admin)>| "welcome"))
        .route("/any", get(async |_: Scoped<(OrdersRead, AnyOf<(OrdersWrite, Admin)>)>| "allowed"))
        .route_layer(OAuthLayer::from_server(server))
        .route("/public", get(async || "open to all"))
        .merge(documents)
}

/// Ends the program if it has an argument: with the help, or because the argument is unknown.
fn read_arguments() {
    match env::args_os().nth(1) {
        None => {}
        Some(argument) if argument == "--help" || argument == "-h" => {
            println!("{}", settings::help());
            process::exit(0)
        }
        Some(argument) => {
            eprintln!("protected_api has no argument {:?}; --help prints its settings", argument.to_string_lossy());
            process::exit(2)
        }
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    read_arguments();
    let stop = tokio::spawn(stop::requested());
    let Settings { listener, tls, issuer, mode, server } = settings::read().await.unwrap_or_else(|mistakes| {
        eprintln!("protected_api cannot start:\n{mistakes}");
        process::exit(2)
    });
    info!(address = %listener.local_addr()?, issuer = issuer.identifier(), mode, "listening");
    if mode != "introspection" {
        // In the background, because the API serves while its issuer is down. The crate logs each failure.
        tokio::spawn(async move {
            if issuer.warm_up().await.is_ok() {
                info!("the issuer's key set is loaded");
            }
        });
    }
    let stop = async {
        stop.await.ok();
        info!("stopping");
    };
    match tls {
        Some(tls) => tls::serve(listener, tls, app(server), stop).await,
        None => axum::serve(listener, app(server)).with_graceful_shutdown(stop).await,
    }
}
