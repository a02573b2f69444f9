//! A custom verifier for a provider that is not an OAuth server: the app center of Spiceworks, with its documented protocol.
//! Run it and paste the lines that it prints:
//!
//! ```sh
//! cargo run --example custom_verifier
//! ```
//!
//! The app runs in a frame of the provider's pages. Its page gets a token there and posts it to `/sign_in`. The response opens
//! a session in a cookie, which replaces the token in later requests. A program without cookies sends the token as
//! `Authorization: Bearer`, and the token's host and user in `X-Host-Auid` and `X-User-Auid`.
//!
//! | variable | | default |
//! |---|---|---|
//! | `APP_CENTER` | URL of the provider, such as `https://frontend.spiceworks.com/appcenter` | a stand-in |
//! | `APP_SECRET`, `APP_NAMESPACE` | what the provider knows of this app | for the stand-in |
//! | `ACCESS` | `user`: each user has their own tickets. `host`: the users of a host share theirs | `user` |
//! | `BIND` | address to listen on | `127.0.0.1:3000` |
//! | `ORIGIN` | origin of this app, as browsers have it, such as `https://tickets.example.com` | the address |
//! | `SESSION_SECONDS` | lifetime of a session | 600 |

use std::{env, error::Error, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::post};
use tokio::{net::TcpListener, signal, sync::Semaphore};
use tower_oauth::{Cached, OAuthLayer, ResourceServer, fetch::HttpClient};

use crate::{
    app_center::{AppCenter, AppCenterVerifier},
    session::Sessions,
};

mod app_center;
mod session;
mod sign_in;
mod stand_in;
mod tickets;

/// Reads the settings of the app center from the environment. Starts a stand-in if none is set.
async fn app_center() -> Result<AppCenter, Box<dyn Error>> {
    let app_secret = env::var("APP_SECRET").unwrap_or_else(|_| "correct-horse".to_owned());
    let namespace = env::var("APP_NAMESPACE").unwrap_or_else(|_| "tickets".to_owned());
    let url = match env::var("APP_CENTER") {
        Ok(url) => url.trim_end_matches('/').to_owned(),
        Err(_) => stand_in::start(&app_secret, &namespace).await?,
    };
    let shared_by_host = match env::var("ACCESS").as_deref() {
        Ok("user") | Err(_) => false,
        Ok("host") => true,
        Ok(_) => return Err("ACCESS: give user or host".into()),
    };
    let sessions = Sessions::new(env::var("SESSION_SECONDS").map_or(Ok(600), |seconds| seconds.parse())?);
    let (client, slots) = (HttpClient::new()?, Semaphore::new(100));
    Ok(AppCenter { client, url, app_secret, namespace, shared_by_host, sessions, slots })
}

fn app(center: AppCenter, origin: &str) -> Result<Router, Box<dyn Error>> {
    let center = Arc::new(center);
    let verifier = AppCenterVerifier(center.clone());
    let verifier = Cached::new(verifier, Duration::from_secs(30)); // a revoked token is accepted for up to 30 s
    let server = ResourceServer::builder(verifier).accept_cookie(session::COOKIE).trusted_origin(origin).build()?;
    let sign_in = Router::new().route("/sign_in", post(sign_in::sign_in)).with_state(center);
    Ok(tickets::routes()
        .route_layer(OAuthLayer::from_server(server))
        .merge(sign_in)
        .layer(DefaultBodyLimit::max(16 * 1024))
        .layer(middleware::from_fn_with_state(Arc::<str>::from(origin), session::only_own_pages)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bind = env::var("BIND").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&bind).await.map_err(|error| format!("cannot listen on {bind}: {error}"))?;
    let url = format!("http://{}", listener.local_addr()?);
    let origin = env::var("ORIGIN").unwrap_or_else(|_| url.clone());
    let app = app(app_center().await?, &origin)?;

    let jar = env::temp_dir().join("custom_verifier.cookies");
    let (jar, tickets) = (jar.display(), format!("{url}/tickets"));
    println!("# 200: the page of ada signs in, and the response opens a session.");
    println!("curl -i -c {jar} -d auid=acme -d user_auid=ada -d access_token=token-of-ada {url}/sign_in\n");
    println!("# 201: the session grants access to her tickets. A page of this app opens one.");
    println!("curl -i -b {jar} -H 'Origin: {origin}' -d 'the printer is on fire' {tickets}/mine\n");
    println!("# 403: a page of another site can't, although the browser adds the cookie.");
    println!("curl -i -b {jar} -H 'Origin: https://evil.example' -d 'buy a car' {tickets}/mine\n");
    println!("# 200: the session replaces the token.\ncurl -i -b {jar} {tickets}/mine\n");
    println!("# 403: the session does not grant access to all tickets.\ncurl -i -b {jar} {tickets}\n");
    println!("# 200: the token of the host does.");
    println!("curl -i -H 'Authorization: Bearer token-of-acme' -H 'X-Host-Auid: acme' {tickets}");
    println!("\n# Ctrl-C stops the program.");
    axum::serve(listener, app).with_graceful_shutdown(async { drop(signal::ctrl_c().await) }).await?;
    Ok(())
}
