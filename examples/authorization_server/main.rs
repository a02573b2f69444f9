//! The token endpoint as a program, with a page for login and consent, to try clients against it.
//!
//! ```sh
//! CLIENTS=clients.json USERS='ada:correct horse' \
//!     cargo run --example authorization_server --features token-endpoint
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `CLIENTS` | JSON file with an array of clients, in the names of RFC 7591; `clients.rs` lists the members. Required. |
//! | `USERS` | `name:password` pairs, separated by commas. Required if a client uses `authorization_code`. |
//! | `BIND` | Address to listen on. Default: `127.0.0.1:8080`. |
//! | `ISSUER` | Issuer identifier. Default: `http://BIND`. An `https` URL if a proxy terminates TLS. |
//! | `STORE` | `memory` (default), or a `redis://` or `rediss://` URL or `redis-cluster://host:port,host:port` (`--features redis`), or a `postgres://` or `postgresql://` URL (`--features postgres`). With a URL, several instances can serve one issuer. |
//! | `STORE_POOLER` | `transaction`: a pooler in transaction mode is between the program and PostgreSQL. |
//! | `JSON` | `on`: request bodies may be `application/json` too, an object of strings. Default: forms only. |
//! | `ALLOW_ORIGINS` | Origins of single-page apps, such as `https://app.example.com`, separated by commas, or `*` for every origin: their pages may call the token and revocation endpoints (CORS). Default: none. Every page may read metadata and keys. |
//! | `DPOP` | `on`: a token request with a DPoP proof gets tokens that are bound to its key (RFC 9449). Default: `off`, proofs are ignored. |
//! | `DPOP_NONCE_SECRET` | 64 hexadecimal digits, the same for all instances, or `random` for one instance: proofs need a nonce of this server. Default: no nonces. |
//! | `SIGNING_ALG` | `ES256` (default), `RS256`, `PS256` or `EdDSA`. |
//! | `SIGNING_KEY` | PEM file, created if it is missing. Default: a new key for each run with `STORE=memory`, else a file beside `CLIENTS`. |
//! | `SIGNING_KEYS` | Instead of `SIGNING_KEY`, a folder with PEM files, whose names end in `.pem`. The last one by name is the newest. On SIGHUP the program adds the files that are new, and signs with the newest an hour later. Files that are removed are used until the program starts again. |
//! | `CLIENT_DOCUMENT_HOSTS` | Hosts, separated by commas, or `*`. A client id that is an https URL on one of them is fetched as a Client ID Metadata Document. Default: none. |
//! | `CLIENT_DOCUMENT_SCOPE` | The scopes of such clients, separated by spaces. Default: all scopes in `CLIENTS`. |
//! | `CLIENT_DOCUMENT_AUDIENCES` | Their APIs, as the member `audiences` in `CLIENTS`. Default: all in `CLIENTS`. |
//! | `CLIENT_DOCUMENT_CA` | PEM file with further certificate authorities for the documents. |
//! | `CLIENT_DOCUMENT_LOOPBACK` | `1`: documents are also fetched from loopback addresses, for tests. |
//! | `RUST_LOG` | Filter of the log, with the crate's own events. Default: `info`. |
//!
//! `GET /healthz` answers 200 while the store and the registry answer, otherwise 503.
//!
//! With arguments, the program does not serve. It lists and ends sessions and keys in the store of the same environment:
//!
//! ```text
//! authorization_server sessions list SUBJECT
//! authorization_server sessions end ID
//! authorization_server sessions end --subject SUBJECT
//! authorization_server sessions end --client CLIENT_ID
//! authorization_server keys list
//! authorization_server keys withdraw KID
//! ```
//!
//! It exits with 0; with 1 if the store fails, or with 2 if the arguments or the environment are wrong.
//!
//! This program is not for production: the passwords are in the environment, and it hashes them with a fast hash. If a variable
//! or a file is wrong, it names every mistake and exits at once, with 2. After SIGTERM or Ctrl-C it completes the requests that are under way.

use std::{env, io, process};

use axum::{Router, extract::State, middleware, routing::get};
use http::StatusCode;
use tower_oauth::token_endpoint::TokenEndpoint;

use crate::settings::Settings;

mod authorize;
mod clients;
mod command;
mod csrf;
mod documents;
mod dpop;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/mistakes.rs"]
mod mistakes;
mod pages;
mod settings;
mod signing_key;
mod signing_keys;
#[path = "../support/stop.rs"]
mod stop;
mod store;
mod users;

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if !arguments.is_empty() {
        process::exit(command::run(&arguments).await);
    }
    let stop = tokio::spawn(stop::requested());
    let Settings { listener, host, page_path, key_folder, summary } =
        settings::read().await.unwrap_or_else(|mistakes| {
            eprintln!("authorization_server cannot start:\n{mistakes}");
            process::exit(2)
        });
    let endpoint = host.endpoint.clone();
    if let Some(folder) = key_folder {
        folder.watch(endpoint.clone())?;
    }
    let page =
        Router::new().route(&page_path, get(authorize::show).post(authorize::submit).options(authorize::options));
    let page = page.route("/healthz", get(health)).with_state(host);
    let app = page.layer(middleware::from_fn(pages::add_security_headers)).fallback_service(endpoint);
    println!("authorization server at {summary}");
    axum::serve(listener, app).with_graceful_shutdown(async { stop.await.unwrap_or_default() }).await
}

/// Returns whether requests can be answered.
async fn health(State(endpoint): State<TokenEndpoint>) -> StatusCode {
    match endpoint.is_ready().await {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(%error, "not ready");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
