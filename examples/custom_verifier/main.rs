//! A custom verifier for a provider that is not an OAuth server. It checks a token by calling
//! `GET /api/app_user_authorization`, as the app center of Spiceworks requires. Run it and paste the lines that it prints:
//!
//! ```sh
//! cargo run --example custom_verifier
//! ```
//!
//! A request carries its token as `Authorization: Bearer`, and the token's host and user in `X-Host-Auid` and `X-User-Auid`.
//! The response opens a session in a cookie, which replaces the token in later requests. The program starts a stand-in for
//! the provider; `APP_CENTER` is the URL of another one.

use std::{env, error::Error, time::Duration};

use axum::{Router, http::Request, middleware, routing::get};
use bytes::Bytes;
use serde::Deserialize;
use tokio::{net::TcpListener, signal};
use tower_oauth::{
    AuthError, Cached, Claims, OAuthLayer, ResourceServer, Scoped,
    fetch::{Fetch as _, HttpClient},
    scope::ScopeHierarchy,
    verify::{BearerMethod, CacheKey, PresentedToken, Verdict, Verify},
};

use crate::session::{Session, Sessions};

mod app_center;
mod session;

tower_oauth::scopes! {
    /// The tickets of one user.
    UserAccess = "user";
    /// All tickets of a host.
    HostAccess = "host";
}

/// Verifies tokens by calling the app center, and sessions by itself.
struct AppCenter {
    client: HttpClient,
    url: String,
    app_secret: String,
    sessions: Sessions,
}

/// The provider's response: 200 with an authorization, 403 with errors.
#[derive(Deserialize)]
struct CheckResponse {
    authorization: Option<Authorization>,
    errors: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Authorization {
    access: String,
}

impl Verify for AppCenter {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        if presented.bearer_method() == BearerMethod::Cookie {
            return Verdict::Now(self.sessions.verify(presented));
        }
        let [Some(host), Some(user)] = host_and_user(presented) else {
            return Verdict::Now(Err(AuthError::invalid_token()));
        };
        let (host, user) = (host.to_owned(), user.to_owned());
        // This provider expects secrets in the query. Never log it; `HttpClient` doesn't.
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("access_token", presented.token()), ("app_secret", &self.app_secret)])
            .extend_pairs([("host_auid", &host), ("user_auid", &user)])
            .finish();
        let request = Request::get(format!("{}/api/app_user_authorization?{query}", self.url)).body(Bytes::new());
        let (client, permit, sessions) = (self.client.clone(), presented.permit(), self.sessions.clone());
        Verdict::later(async move {
            // Any response but a well-formed 200 or 403 says nothing about the token: 503, not 401.
            let unavailable = || AuthError::unavailable(Duration::from_secs(5));
            let request = request.map_err(|error| unavailable().with_source(error))?;
            let response = client.fetch(request).await.map_err(|error| unavailable().with_source(error))?;
            match (response.status().as_u16(), serde_json::from_slice(response.body())) {
                (200, Ok(CheckResponse { authorization: Some(authorization), .. })) => {
                    permit.token(&sessions.begin(user, host, authorization.access))
                }
                (403, Ok(CheckResponse { errors: Some(_), .. })) => Err(AuthError::invalid_token()),
                _ => Err(unavailable()),
            }
        })
    }

    /// Adds everything that the verdict depends on besides the token.
    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add(if presented.bearer_method() == BearerMethod::Cookie { "session" } else { "token" });
        for part in host_and_user(presented) {
            key.add(part.unwrap_or_default());
        }
    }
}

/// Returns the host and the user that the request claims for its token.
fn host_and_user<'r>(presented: &PresentedToken<'r>) -> [Option<&'r str>; 2] {
    ["x-host-auid", "x-user-auid"].map(|name| presented.parts().headers.get(name)?.to_str().ok())
}

async fn my_tickets(_: Scoped<UserAccess>, Claims(Session { sub, host, .. }): Claims<Session>) -> String {
    format!("the tickets of {sub} at {host}\n")
}

async fn all_tickets(_: Scoped<HostAccess>, Claims(Session { host, .. }): Claims<Session>) -> String {
    format!("all tickets of {host}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app_secret = env::var("APP_SECRET").unwrap_or_else(|_| "correct-horse".to_owned());
    let url = match env::var("APP_CENTER") {
        Ok(url) => url,
        Err(_) => app_center::start(app_secret.clone()).await?,
    };
    let sessions = Sessions::new(env::var("SESSION_SECONDS").map_or(Ok(600), |seconds| seconds.parse())?);
    let verifier = AppCenter { client: HttpClient::new()?, url, app_secret, sessions: sessions.clone() };
    let verifier = Cached::new(verifier, Duration::from_secs(30)); // a revoked token is accepted for up to 30 s
    let server = ResourceServer::builder(verifier)
        .accept_cookie(session::COOKIE)
        .scope_hierarchy(ScopeHierarchy::new().implies::<HostAccess, UserAccess>())
        .build()?;
    let app = Router::new()
        .route("/tickets/mine", get(my_tickets))
        .route("/tickets", get(all_tickets))
        .route_layer(middleware::from_fn_with_state(sessions, session::open))
        .route_layer(OAuthLayer::from_server(server));

    let bind = env::var("BIND").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&bind).await.map_err(|error| format!("cannot listen on {bind}: {error}"))?;
    let tickets = format!("http://{}/tickets", listener.local_addr()?);
    let jar = env::temp_dir().join("custom_verifier.cookies");
    let (jar, ada) = (jar.display(), "-H 'X-Host-Auid: acme' -H 'X-User-Auid: ada'");
    println!("# 200: the token of ada grants access to her tickets, and the response opens a session.");
    println!("curl -i -c {jar} -H 'Authorization: Bearer token-of-ada' {ada} {tickets}/mine\n");
    println!("# 200: the session replaces the token.\ncurl -i -b {jar} {tickets}/mine\n");
    println!("# 403: the session does not grant access to all tickets.\ncurl -i -b {jar} {tickets}\n");
    println!("# 200: the token of the host does.");
    println!("curl -i -H 'Authorization: Bearer token-of-acme' {ada} {tickets}\n\n# Ctrl-C stops the program.");
    axum::serve(listener, app).with_graceful_shutdown(async { drop(signal::ctrl_c().await) }).await?;
    Ok(())
}
