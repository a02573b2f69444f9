//! A protected axum API on a real socket, with an issuer of its own. Run it and paste the lines that it prints:
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! `BIND=127.0.0.1:0` selects another address. A production program has no `MockIssuer`. It loads the key set of its issuer,
//! with `Issuer::from_keys("https://auth.example.com", KeySet::from_file("jwks.json")?)`.

use std::{error::Error, time::Duration};

use axum::{Router, routing::get};
use serde::Deserialize;
use tokio::{net::TcpListener, signal};
use tower_oauth::{Claims, OAuthLayer, Scoped, Token, UserToken, testing::MockIssuer};

tower_oauth::scopes! {
    /// Read any order.
    pub OrdersRead = "orders:read";
    /// Place and change orders.
    pub OrdersWrite = "orders:write";
}

/// A custom claim of this issuer.
#[derive(Deserialize)]
struct Tenant {
    tenant: String,
}

/// Requires a valid token with one scope.
async fn list(_: Scoped<OrdersRead>, Claims(Tenant { tenant }): Claims<Tenant>) -> String {
    format!("the orders of {tenant}\n")
}

/// Requires all scopes of the tuple.
async fn place(_: Scoped<(OrdersRead, OrdersWrite)>) -> &'static str {
    "placed\n"
}

/// Requires a token that acts for a user. A client with a token of its own is refused.
async fn me(user: UserToken) -> String {
    format!("you are {}\n", user.subject().unwrap_or_default())
}

/// Requires no token. An invalid token is still refused.
async fn home(token: Option<Token>) -> &'static str {
    if token.is_some() { "welcome back\n" } else { "welcome\n" }
}

fn app(protect: OAuthLayer) -> Router {
    let public = Router::new().route("/", get(home)).layer(protect.clone().allow_anonymous());
    Router::new().route("/orders", get(list).post(place)).route("/me", get(me)).layer(protect).merge(public)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = MockIssuer::new("https://auth.example.com");
    let app = app(OAuthLayer::new(issuer.verifier("https://api.example.com")));
    let bind = std::env::var("BIND").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&bind).await.map_err(|error| format!("cannot listen on {bind}: {error}"))?;

    let orders = format!("http://{}/orders", listener.local_addr()?);
    let ada = issuer.token("ada").audience("https://api.example.com").expires_in(Duration::from_secs(3600));
    let token = ada.scope("orders:read").claim("tenant", "acme").sign();
    println!("# 200: this token grants orders:read.\ncurl -i -H 'Authorization: Bearer {token}' {orders}\n");
    println!("# 403: it does not grant orders:write.");
    println!("curl -i -X POST -H 'Authorization: Bearer {token}' {orders}\n\n# Ctrl-C stops the program.");

    axum::serve(listener, app).with_graceful_shutdown(async { drop(signal::ctrl_c().await) }).await?;
    Ok(())
}
