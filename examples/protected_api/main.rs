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
//! | `OAUTH_ALWAYS_ASK` | `1`: in mode mixed, introspects good JWTs too, and both must accept the token. Default: introspects only opaque tokens. |
//! | `OAUTH_DPOP_BASE` | Accepts tokens that are bound to a key, with DPoP (RFC 9449). The public base URLs, separated by commas, that clients use up to where the paths of this program begin. Default: no DPoP. |
//! | `OAUTH_DPOP_ALGS` | Accepted algorithms of proofs, separated by spaces. Default: all that the program can verify. |
//! | `OAUTH_DPOP_MAX_AGE` | How old a proof may be, in seconds. Default: 60. Maximum: 300. |
//! | `OAUTH_DPOP_NONCE_SECRET` | Requires a nonce of this server in each proof. 64 hexadecimal digits, which all instances share, or `random`, for one instance. Default: no nonces. |
//! | `OAUTH_DPOP_REPLAY` | Where used proofs are stored: `memory` (default), a `redis://` URL (feature `redis-replay`), or `off`, which accepts a proof again until it is too old. |
//! | `OAUTH_SENDER_CONSTRAINT` | `accept` (default): tokens that are not bound are accepted too; `require`: they are refused. |
//! | `OAUTH_CLIENT_CERT` | Accepts tokens that are bound to a client certificate (RFC 8705), which is found in: `connection`, the TLS connection; `rfc9440`, the header `Client-Cert`; `xfcc`, the header `X-Forwarded-Client-Cert`; `pem:HEADER`, another header. A proxy must replace the header in each request. Default: no certificates. |
//! | `OAUTH_RESOURCE_METADATA` | `1`: publishes what clients can learn without a token (RFC 9728) about the resource `OAUTH_AUDIENCE`, which must then be a URL. Default: nothing. |
//! | `OAUTH_RESOURCE_ALSO` | Further identifiers of the resource, separated by commas, for an API with several hosts. Each is accepted as audience. Default: none. |
//! | `RUST_LOG` | Filter of the log, with the crate's own events. Default: `info`. |
//!
//! With `OAUTH_ALWAYS_ASK` or a variable about DPoP, certificates or TLS, web pages of every origin can call the API (CORS).
//!
//! `--help` prints the variables. The program exits at once if a variable is wrong. It starts and serves while the issuer is down. After SIGTERM or Ctrl-C it
//! completes the requests that are under way.

use std::{env, io, process, time::Duration};

use axum::{
    Json, Router,
    http::{HeaderName, Method, Uri, header},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower_http::cors::{Any, CorsLayer, Vary};
use tower_oauth::{
    AnyOf, OAuthLayer, ResourceServer, Scoped, Token, extract::SenderConstrained, layer::require::RequireStepUpLayer,
    step_up::StepUp,
};
use tracing::info;

use crate::settings::Settings;

#[path = "../support/jwt_settings.rs"]
mod jwt_settings;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/mistakes.rs"]
mod mistakes;
mod sender_settings;
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
    let confirmation = token.confirmation();
    Json(json!({ "sub": sub, "client_id": client_id, "scopes": scopes, "iss": iss, "confirmation": confirmation }))
}

/// Returns the path of the request, as it was received.
async fn echo(_: Token, url: Uri) -> String {
    url.path().to_owned()
}

fn app(server: ResourceServer, recent: StepUp) -> Router {
    // A route of its own, because `route_layer` protects only the routes above it.
    let documents = server.metadata().into_iter().fold(Router::new(), |documents, metadata| {
        metadata.paths().fold(documents, |documents, path| documents.route_service(path, metadata.clone()))
    });
    // The two layers share a server and see the same path, so both accept the same proof. With `Router::nest`, the inner one
    // would see another path.
    let nested = get(async |_: Scoped<OrdersRead>| "[]").layer(OAuthLayer::from_server(server.clone()));
    Router::new()
        .route("/whoami", get(who_am_i))
        .route("/orders", get(async |_: Scoped<OrdersRead>| "[]").post(async |_: Scoped<OrdersWrite>| "placed"))
        .route("/admin", get(async |_: Scoped<(OrdersRead, Admin)>| "welcome"))
        .route("/any", get(async |_: Scoped<(OrdersRead, AnyOf<(OrdersWrite, Admin)>)>| "allowed"))
        .route("/transfer", post(async |_: SenderConstrained<Scoped<OrdersWrite>>| "transferred"))
        .route("/step-up", get(async |_: Token| "allowed").layer(RequireStepUpLayer::new(recent)))
        .route("/nested/orders", nested)
        .route("/echo/{*path}", get(echo).post(echo))
        .route_layer(OAuthLayer::from_server(server))
        .route("/public", get(async || "open to all"))
        .merge(documents)
}

/// Returns the layer that lets web pages of every origin call the API, and read what a client needs for its next proof.
fn cors() -> CorsLayer {
    let proof = HeaderName::from_static("dpop");
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, proof, header::CONTENT_TYPE])
        .expose_headers([HeaderName::from_static("dpop-nonce"), header::WWW_AUTHENTICATE])
        // The headers are the same for every origin.
        .vary(Vary::list([]))
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
    let Settings { listener, tls, issuer, mode, server, cors: with_cors } =
        settings::read().await.unwrap_or_else(|mistakes| {
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
    let recent = StepUp::builder().acr("urn:example:mfa").max_age(Duration::from_secs(300));
    let app = app(server, recent.build().map_err(io::Error::other)?);
    // Outside of `OAuthLayer`, because a preflight has no token.
    let app = if with_cors { app.layer(cors()) } else { app };
    match tls {
        Some(tls) => tls::serve(listener, tls, app, stop).await,
        None => axum::serve(listener, app).with_graceful_shutdown(stop).await,
    }
}
