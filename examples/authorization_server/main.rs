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
//! | `STORE` | `memory` (default), or a `redis://` or `rediss://` URL (`--features redis`), or a `postgres://` or `postgresql://` URL (`--features postgres`). With a URL, several instances can serve one issuer. |
//! | `SIGNING_ALG` | `ES256` (default), `RS256`, `PS256` or `EdDSA`. |
//! | `SIGNING_KEY` | PEM file, created if it is missing. Default: a new key for each run with `STORE=memory`, else a file beside `CLIENTS`. |
//! | `RUST_LOG` | Filter of the log, with the crate's own events. Default: `info`. |
//!
//! This program is not for production: the passwords are in the environment, and it hashes them with a fast hash. It exits at
//! once if a variable is wrong. After SIGTERM or Ctrl-C it completes the requests that are under way.

use std::{collections::HashMap, io, process, sync::Arc, time::SystemTime};

use axum::extract::{Form, FromRef, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware, routing::get};
use http::{HeaderMap, StatusCode, Uri, header};
use tower_oauth::token_endpoint::{AuthorizationError, AuthorizationRequest, TokenEndpoint};

use crate::{
    csrf::Csrf,
    pages::Problem,
    settings::Settings,
    users::{LoginError, Users},
};

mod clients;
mod csrf;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/mistakes.rs"]
mod mistakes;
mod pages;
mod settings;
mod signing_key;
#[path = "../support/stop.rs"]
mod stop;
mod store;
mod users;

/// The state of the page.
#[derive(Clone)]
struct Host {
    endpoint: TokenEndpoint,
    users: Arc<Users>,
    csrf: Arc<Csrf>,
    /// The names of clients, by `client_id`.
    names: Arc<HashMap<String, String>>,
}

impl FromRef<Host> for TokenEndpoint {
    fn from_ref(host: &Host) -> Self {
        host.endpoint.clone()
    }
}

impl Host {
    /// Returns the form for this browser and this request.
    fn form(
        &self,
        request: &AuthorizationRequest,
        headers: &HeaderMap,
        uri: &Uri,
        problem: Option<(&Problem, &str)>,
    ) -> Response {
        let id = request.client_id();
        let Ok((csrf, cookie)) = self.csrf.for_form(headers, uri.query().unwrap_or_default()) else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response(); // the system has no random bytes
        };
        let mut response = pages::consent(request, self.names.get(id).map_or(id, String::as_str), &csrf, problem);
        response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
        response
    }
}

/// Redirects an error to the client, or shows it on a page if there is no valid redirect URI.
fn refuse(error: AuthorizationError) -> Response {
    if error.redirect_uri().is_some() {
        return error.into_response().into_response();
    }
    let reason = error.to_string();
    pages::refusal(error.into_response().status(), &reason)
}

async fn show(
    State(host): State<Host>,
    uri: Uri,
    headers: HeaderMap,
    request: Result<AuthorizationRequest, AuthorizationError>,
) -> Response {
    match request {
        Ok(request) => host.form(&request, &headers, &uri, None),
        Err(error) => refuse(error),
    }
}

async fn submit(
    State(host): State<Host>,
    uri: Uri,
    headers: HeaderMap,
    request: Result<AuthorizationRequest, AuthorizationError>,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let request = match request {
        Ok(request) => request,
        Err(error) => return refuse(error),
    };
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let problem = if !host.csrf.accepts(&headers, uri.query().unwrap_or_default(), field("csrf")) {
        Problem::InvalidForm
    } else if field("answer") == "deny" {
        return request.deny().into_response();
    } else if field("answer") != "allow" {
        Problem::NoAnswer
    } else {
        match host.users.log_in(field("name"), field("password")) {
            Ok(()) => {
                let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
                let request = request.with_authentication_time(SystemTime::now());
                return request.approve(field("name"), scopes).await.into_response();
            }
            Err(LoginError::WrongNameOrPassword) => Problem::WrongNameOrPassword,
            Err(LoginError::TooManyAttempts(wait)) => Problem::TooManyAttempts(wait),
        }
    };
    host.form(&request, &headers, &uri, Some((&problem, field("name"))))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let stop = tokio::spawn(stop::requested());
    let Settings { listener, host, page_path, summary } = settings::read().await.unwrap_or_else(|mistakes| {
        eprintln!("authorization_server cannot start:\n{mistakes}");
        process::exit(1)
    });
    let endpoint = host.endpoint.clone();
    let page = Router::new().route(&page_path, get(show).post(submit)).with_state(host);
    let app = page.layer(middleware::from_fn(pages::add_security_headers)).fallback_service(endpoint);
    println!("authorization server at {summary}");
    axum::serve(listener, app).with_graceful_shutdown(async { stop.await.unwrap_or_default() }).await
}
