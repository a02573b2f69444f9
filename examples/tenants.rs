//! An API of two tenants, each with an issuer of its own. A token of one tenant is refused at the paths of the other. Run it and
//! paste the lines that it prints:
//!
//! ```sh
//! cargo run --example tenants
//! ```
//!
//! `BIND=127.0.0.1:0` selects another address. A production program has no `MockIssuer`: its callback looks the tenant up and
//! makes the verifier with `Issuer::builder(…).fetch(client).build()`.

use std::{error::Error, time::Duration};

use axum::{Router, extract::Path, routing::get};
use tokio::{net::TcpListener, signal};
use tower_oauth::{
    JwtVerifier, OAuthLayer, UserToken,
    testing::MockIssuer,
    verify::{DynamicIssuers, IssuerInquiry},
};

const API: &str = "https://api.example.com";
const TENANTS: [&str; 2] = ["acme", "globex"];

/// The callback: approves the issuer of a tenant, and only for requests to a path of this tenant. Because it reads the head of
/// the request, it runs for every request.
async fn approve(inquiry: IssuerInquiry) -> Option<JwtVerifier> {
    let tenant = DynamicIssuers::match_template("https://{tenant}.example.com", inquiry.issuer())?;
    let path = inquiry.head().uri.path().strip_prefix("/tenants/")?;
    let same = path.split('/').next() == Some(tenant);
    (same && TENANTS.contains(&tenant)).then(|| issuer(tenant).verifier(API))
}

fn issuer(tenant: &str) -> MockIssuer {
    MockIssuer::new(&format!("https://{tenant}.example.com"))
}

/// It doesn't compare the tenant with the token: the callback did.
async fn orders(Path(tenant): Path<String>, user: UserToken) -> String {
    format!("the orders of {tenant}, for {}\n", user.subject().unwrap_or_default())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let protect = OAuthLayer::new(DynamicIssuers::new(approve));
    let app = Router::new().route("/tenants/{tenant}/orders", get(orders)).layer(protect);
    let bind = std::env::var("BIND").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&bind).await.map_err(|error| format!("cannot listen on {bind}: {error}"))?;

    let tenants = format!("http://{}/tenants", listener.local_addr()?);
    let token = issuer("acme").token("ada").audience(API).expires_in(Duration::from_secs(3600)).sign();
    println!("# 200: a token of acme at a path of acme.");
    println!("curl -i -H 'Authorization: Bearer {token}' {tenants}/acme/orders\n");
    println!("# 401: the same token at a path of globex.");
    println!("curl -i -H 'Authorization: Bearer {token}' {tenants}/globex/orders\n\n# Ctrl-C stops the program.");

    axum::serve(listener, app).with_graceful_shutdown(async { drop(signal::ctrl_c().await) }).await?;
    Ok(())
}
