//! The token endpoint as a program, with a page to log in on: to try clients against it.
//!
//! ```sh
//! CLIENTS=clients.json USERS='ada:correct horse' \
//!     cargo run --example authorization_server --features redis,postgres
//! ```
//!
//! | setting | |
//! |---|---|
//! | `CLIENTS` | A JSON file with an array of clients, in the names of RFC 7591; `support/authorization_server/clients.rs` lists them. |
//! | `USERS` | `name:password`, with commas between them. |
//! | `BIND` | Where it listens: `127.0.0.1:8080`. |
//! | `ISSUER` | How it calls itself: `http://BIND`. An `https` URL where a proxy of yours speaks TLS. |
//! | `STORE` | `memory`, or a `redis://`, `rediss://`, `postgres://` or `postgresql://` URL, for several instances of one issuer. |
//! | `SIGNING_ALG` | `ES256`, or `RS256`, `PS256`, `EdDSA`. |
//! | `SIGNING_KEY` | A PEM file, which is made if it is missing. With `STORE=memory` there is none, and each run has a key of its own; otherwise it lies beside the clients. |
//! | `RUST_LOG` | `--features tracing` adds what the crate itself logs. |
//!
//! This is for trying and not for production: the passwords stand in the environment, and their hashes are fast ones. A wrong
//! setting ends it at once; SIGTERM and Ctrl-C when what is under way is served.

use std::{collections::HashMap, io, process, sync::Arc, time::SystemTime};

use axum::extract::{Form, FromRef, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware, routing::get};
use http::{HeaderMap, StatusCode, Uri, header};
use tower_oauth::token_endpoint::{AuthorizationError, AuthorizationRequest, TokenEndpoint};

use crate::{csrf::Csrf, pages::Problem, users::Refused, users::Users};

#[path = "support/authorization_server/clients.rs"]
mod clients;
#[path = "support/authorization_server/csrf.rs"]
mod csrf;
#[path = "support/mistakes.rs"]
mod mistakes;
#[path = "support/authorization_server/pages.rs"]
mod pages;
#[path = "support/authorization_server/settings.rs"]
mod settings;
#[path = "support/authorization_server/signing_key.rs"]
mod signing_key;
#[path = "support/stop.rs"]
mod stop;
#[path = "support/authorization_server/users.rs"]
mod users;

/// What the page knows.
#[derive(Clone)]
struct Host {
    endpoint: TokenEndpoint,
    users: Arc<Users>,
    csrf: Arc<Csrf>,
    /// What clients are called, by `client_id`.
    names: Arc<HashMap<String, String>>,
}

impl FromRef<Host> for TokenEndpoint {
    fn from_ref(host: &Host) -> Self {
        host.endpoint.clone()
    }
}

impl Host {
    /// The form, for this browser and this request.
    fn page(
        &self,
        request: &AuthorizationRequest,
        headers: &HeaderMap,
        uri: &Uri,
        problem: Option<(&Problem, &str)>,
    ) -> Response {
        let id = request.client_id();
        let Ok((csrf, cookie)) = self.csrf.for_form(headers, uri.query().unwrap_or_default()) else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response(); // no random bytes
        };
        let mut response = pages::ask(request, self.names.get(id).map_or(id, String::as_str), &csrf, problem);
        response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
        response
    }
}

/// The request stands in the query; who sends a bad one for the user to see is told so on a page.
type Asked = Result<AuthorizationRequest, AuthorizationError>;

fn refused(error: AuthorizationError) -> Response {
    if error.redirect_uri().is_some() {
        return error.into_response().into_response();
    }
    let reason = error.to_string();
    pages::refused(error.into_response().status(), &reason)
}

async fn ask(State(host): State<Host>, uri: Uri, headers: HeaderMap, asked: Asked) -> Response {
    match asked {
        Ok(request) => host.page(&request, &headers, &uri, None),
        Err(error) => refused(error),
    }
}

async fn answer(
    State(host): State<Host>,
    uri: Uri,
    headers: HeaderMap,
    asked: Asked,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let request = match asked {
        Ok(request) => request,
        Err(error) => return refused(error),
    };
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let problem = if !host.csrf.accepts(&headers, uri.query().unwrap_or_default(), field("csrf")) {
        Problem::NotOurForm
    } else if field("answer") == "deny" {
        return request.deny().into_response();
    } else if field("answer") != "allow" {
        Problem::NoAnswer
    } else {
        match host.users.judge(field("name"), field("password")) {
            Ok(()) => {
                let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
                return request
                    .authenticated_at(SystemTime::now())
                    .approve(field("name"), scopes)
                    .await
                    .into_response();
            }
            Err(Refused::Wrong) => Problem::WrongNameOrPassword,
            Err(Refused::TooOften(wait)) => Problem::TooOften(wait),
        }
    };
    host.page(&request, &headers, &uri, Some((&problem, field("name"))))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let stop = tokio::spawn(stop::when_told());
    let settings::Server { listener, host, page, told } = settings::read().await.unwrap_or_else(|wrong| {
        eprintln!("authorization_server cannot start:\n{wrong}");
        process::exit(1)
    });
    let endpoint = host.endpoint.clone();
    let pages =
        Router::new().route(&page, get(ask).post(answer)).with_state(host).layer(middleware::from_fn(pages::guard));
    println!("authorization server at {told}");
    let app = pages.fallback_service(endpoint);
    axum::serve(listener, app).with_graceful_shutdown(async { stop.await.unwrap_or_default() }).await
}
