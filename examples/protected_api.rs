//! A whole resource server that is set up by its environment, to try the crate against your own issuer:
//!
//! ```sh
//! BIND=127.0.0.1:3000 OAUTH_ISSUER=https://auth.example.com OAUTH_AUDIENCE=https://api.example.com \
//!     cargo run --example protected_api
//! ```
//!
//! `OAUTH_JWKS_URI` is for an issuer without metadata, `RUST_LOG` for the log (`--features tracing` adds the crate's own).
//! A wrong setting ends it at once, an issuer that is down does not; SIGTERM and Ctrl-C when what is under way is served.

use std::{env, fmt::Display, io, io::IsTerminal as _, process, time::Duration};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal, time::sleep};
use tower_oauth::{ConfigError, Issuer, JwtVerifier, OAuthLayer, Scoped, Token};
use tracing::info;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

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

fn app(protect: OAuthLayer) -> Router {
    Router::new()
        .route("/whoami", get(who_am_i))
        .route("/orders", get(async |_: Scoped<OrdersRead>| "[]").post(async |_: Scoped<OrdersWrite>| "placed"))
        .route("/admin", get(async |_: Scoped<(OrdersRead, Admin)>| "welcome"))
        .route_layer(protect)
        .route("/public", get(async || "open to all"))
}

/// What is wrong with the environment.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn add(&mut self, name: &str, found: impl Display) {
        self.0.push(format!("{name}: {found}"));
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        match env::var_os(name)?.into_string() {
            Ok(value) if value.trim().is_empty() => self.add(name, "it is empty"),
            Ok(value) if value.trim() != value => self.add(name, "there is space around it"),
            Ok(value) => return Some(value),
            Err(_) => self.add(name, "it is not UTF-8"),
        }
        None
    }

    fn required(&mut self, name: &str, example: &str) -> Option<String> {
        if env::var_os(name).is_none() {
            self.add(name, format_args!("it is missing; give for instance {example}"));
        }
        self.optional(name)
    }

    /// Calls the crate's own findings by the names of the environment.
    fn check<T>(&mut self, result: Result<T, ConfigError>) -> Option<T> {
        let name = |setting| match setting {
            "issuer" => "OAUTH_ISSUER",
            "jwks_uri" => "OAUTH_JWKS_URI",
            _ => "OAUTH_AUDIENCE",
        };
        match result {
            Ok(good) => return Some(good),
            Err(error) => error.mistakes().iter().for_each(|it| self.add(name(it.setting()), it)),
        }
        None
    }
}

/// Everything that the environment decides, or all that is wrong with it.
async fn set_up() -> Result<(TcpListener, Issuer, JwtVerifier), Mistakes> {
    let mut wrong = Mistakes::default();
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env();
    let filter = filter.map_err(|error| wrong.add("RUST_LOG", error)).unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
    if wrong.optional("OAUTH_MODE").is_some_and(|mode| mode != "jwt") {
        wrong.add("OAUTH_MODE", "introspection is not there yet; unset it, or say jwt");
    }
    for name in ["OAUTH_INTROSPECTION_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"] {
        if env::var_os(name).is_some() {
            wrong.add(name, "introspection is not there yet; unset it");
        }
    }
    let bind = wrong.required("BIND", "127.0.0.1:3000").unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&bind).await;
    let listener = listener.map_err(|error| wrong.add("BIND", format_args!("cannot listen on {bind:?}: {error}"))).ok();
    // What stands in for a missing setting lets the rest be looked at too.
    let issuer = wrong.required("OAUTH_ISSUER", "https://auth.example.com");
    let mut issuer = Issuer::builder(issuer.unwrap_or_else(|| "http://127.0.0.1".to_owned()));
    if let Some(jwks_uri) = wrong.optional("OAUTH_JWKS_URI") {
        issuer = issuer.jwks_uri(jwks_uri);
    }
    let audience = wrong.required("OAUTH_AUDIENCE", "https://api.example.com").unwrap_or_else(|| "-".to_owned());
    let issuer = wrong.check(issuer.lazy());
    let verifier = issuer.clone().and_then(|issuer| wrong.check(JwtVerifier::new(issuer, audience)));
    match (listener, issuer, verifier) {
        (Some(listener), Some(issuer), Some(verifier)) if wrong.0.is_empty() => Ok((listener, issuer, verifier)),
        _ => Err(wrong),
    }
}

async fn told_to_stop() {
    #[cfg(unix)]
    let terminated = async {
        if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
            terminate.recv().await;
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! { () = terminated => {}, _ = signal::ctrl_c() => {} }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let stop = tokio::spawn(told_to_stop());
    let (listener, issuer, verifier) = set_up().await.unwrap_or_else(|wrong| {
        eprintln!("protected_api cannot start:\n{}", wrong.0.join("\n"));
        process::exit(2)
    });
    info!(address = %listener.local_addr()?, issuer = issuer.identifier(), "listening");
    // In the background: the API serves while its issuer is down. The crate logs why there are no keys.
    tokio::spawn(async move {
        if issuer.warm_up().await.is_ok() {
            info!("the issuer's keys are here");
        }
    });
    let stop = async {
        stop.await.ok();
        info!("stopping");
        tokio::spawn(async {
            sleep(Duration::from_secs(10)).await;
            process::exit(0) // somebody never ends their request
        });
    };
    axum::serve(listener, app(OAuthLayer::new(verifier))).with_graceful_shutdown(stop).await
}
