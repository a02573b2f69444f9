//! A whole resource server that is set up by its environment, to try the crate against your own issuer:
//!
//! ```sh
//! BIND=127.0.0.1:3000 OAUTH_ISSUER=https://auth.example.com OAUTH_AUDIENCE=https://api.example.com \
//!     cargo run --example protected_api
//! ```
//!
//! `OAUTH_JWKS_URI` is for an issuer without metadata, `RUST_LOG` for the log (`--features tracing` adds the crate's own).
//! `OAUTH_MODE` is `jwt`, or `introspection`, which has the issuer asked about every token, or `mixed`, which has it asked
//! about those that are no JWTs of its own: as `OAUTH_CLIENT_ID` with `OAUTH_CLIENT_SECRET`, at `OAUTH_INTROSPECTION_URL`
//! (which implies `mixed`) or where its metadata says, and what it says holds for `OAUTH_INTROSPECTION_CACHE_SECONDS` (30).
//! A wrong setting ends it at once, an issuer that is down does not; SIGTERM and Ctrl-C when what is under way is served.

use std::{env, io, io::IsTerminal as _, process, sync::Arc, time::Duration};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_oauth::{
    Cached, IntrospectionVerifier, Issuer, JwtOrOpaque, JwtVerifier, OAuthLayer, Scoped, Token,
    verify::{ClientAuthentication, Verify},
};
use tracing::info;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::mistakes::Mistakes;

#[path = "support/mistakes.rs"]
mod mistakes;
#[path = "support/stop.rs"]
mod stop;

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

/// Everything that the environment decides, or all that is wrong with it.
async fn set_up() -> Result<(TcpListener, Issuer, String, Arc<dyn Verify>), Mistakes> {
    let mut wrong = Mistakes::default();
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env();
    let filter = filter.map_err(|error| wrong.add("RUST_LOG", error)).unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
    let bind = wrong.required("BIND", "127.0.0.1:3000").unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&bind).await;
    let listener = listener.map_err(|error| wrong.add("BIND", format_args!("cannot listen on {bind:?}: {error}"))).ok();
    // What stands in for a missing or wrong setting lets the rest be looked at too.
    let stand_in = || "http://127.0.0.1".to_owned();
    let issuer = wrong.required("OAUTH_ISSUER", "https://auth.example.com").unwrap_or_else(stand_in);
    let mut issuer = Issuer::builder(issuer);
    if let Some(jwks_uri) = wrong.optional("OAUTH_JWKS_URI") {
        issuer = issuer.jwks_uri(jwks_uri);
    }
    let audience = wrong.required("OAUTH_AUDIENCE", "https://api.example.com").unwrap_or_else(|| "-".to_owned());
    let issuer = wrong.check(name_of, issuer.build()).or_else(|| Issuer::builder(stand_in()).build().ok());
    let verifier = issuer.as_ref().and_then(|issuer| verifier(&mut wrong, issuer, &audience));
    match (listener, issuer, verifier) {
        (Some(listener), Some(issuer), Some((mode, verifier))) if wrong.is_empty() => {
            Ok((listener, issuer, mode, verifier))
        }
        _ => Err(wrong),
    }
}

/// Who judges the tokens.
fn verifier(wrong: &mut Mistakes, issuer: &Issuer, audience: &str) -> Option<(String, Arc<dyn Verify>)> {
    let implied = if env::var_os("OAUTH_INTROSPECTION_URL").is_some() { "mixed" } else { "jwt" };
    let mode = wrong.optional("OAUTH_MODE").unwrap_or_else(|| implied.to_owned());
    if !["jwt", "introspection", "mixed"].contains(&&*mode) {
        wrong.add("OAUTH_MODE", "it is none of jwt, introspection and mixed");
        return None;
    }
    let jwt = wrong.check(name_of, JwtVerifier::new(issuer.clone(), audience))?;
    if mode == "jwt" {
        for name in ["INTROSPECTION_URL", "CLIENT_ID", "CLIENT_SECRET", "INTROSPECTION_CACHE_SECONDS"] {
            let name = format!("OAUTH_{name}");
            if env::var_os(&name).is_some() {
                wrong.add(&name, "nobody is asked in mode jwt; unset it, or set OAUTH_MODE=mixed");
            }
        }
        return Some((mode, Arc::new(jwt)));
    }
    let id = wrong.required("OAUTH_CLIENT_ID", "orders-api").unwrap_or_else(|| "-".to_owned());
    let secret = wrong.required("OAUTH_CLIENT_SECRET", "what the issuer gave to this client");
    let client = ClientAuthentication::secret_basic(id, secret.unwrap_or_else(|| "-".to_owned()));
    let seconds = wrong.optional("OAUTH_INTROSPECTION_CACHE_SECONDS").map_or(Ok(30), |seconds| seconds.parse());
    let seconds = seconds.map_err(|_| wrong.add("OAUTH_INTROSPECTION_CACHE_SECONDS", "it is no number of seconds"));
    let mut asking = IntrospectionVerifier::builder(issuer.clone(), client, audience);
    if let Some(endpoint) = wrong.optional("OAUTH_INTROSPECTION_URL") {
        asking = asking.endpoint(endpoint);
    }
    let asking = Cached::new(wrong.check(name_of, asking.build())?, Duration::from_secs(seconds.ok()?));
    let verifier: Arc<dyn Verify> =
        if mode == "mixed" { Arc::new(JwtOrOpaque::new(jwt, asking)) } else { Arc::new(asking) };
    Some((mode, verifier))
}

/// The crate's settings by the names of the environment.
fn name_of(setting: &str) -> &'static str {
    match setting {
        "issuer" => "OAUTH_ISSUER",
        "jwks_uri" => "OAUTH_JWKS_URI",
        "endpoint" => "OAUTH_INTROSPECTION_URL",
        _ => "OAUTH_AUDIENCE",
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let stop = tokio::spawn(stop::when_told());
    let (listener, issuer, mode, verifier) = set_up().await.unwrap_or_else(|wrong| {
        eprintln!("protected_api cannot start:\n{wrong}");
        process::exit(2)
    });
    info!(address = %listener.local_addr()?, issuer = issuer.identifier(), mode, "listening");
    if mode != "introspection" {
        // In the background: the API serves while its issuer is down. The crate logs why there are no keys.
        tokio::spawn(async move {
            if issuer.warm_up().await.is_ok() {
                info!("the issuer's keys are here");
            }
        });
    }
    let stop = async {
        stop.await.ok();
        info!("stopping");
    };
    axum::serve(listener, app(OAuthLayer::new(verifier))).with_graceful_shutdown(stop).await
}
