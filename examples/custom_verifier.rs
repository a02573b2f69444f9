//! A verifier of your own, for a provider that is no OAuth server: after the app center of Spiceworks, which is asked about
//! a token by `GET /api/app_user_authorization`. Run it and paste the lines that it prints:
//!
//! ```sh
//! cargo run --example custom_verifier
//! ```
//!
//! A request brings its token as `Authorization: Bearer`, and whose it is in `X-Host-Auid` and `X-User-Auid`. The answer
//! opens a session in a cookie, which is enough from then on. `APP_CENTER` is the URL of another provider than our stand-in.

use std::{env, error::Error, time::Duration};

use axum::{Router, http::Request, middleware, routing::get};
use bytes::Bytes;
use serde::Deserialize;
use tokio::{net::TcpListener, signal};
use tower_oauth::{
    AuthError, Cached, Claims, Fetch as _, OAuthLayer, ResourceServer, Scoped,
    fetch::HttpClient,
    scope::ScopeHierarchy,
    verify::{BearerMethod, CacheKey, PresentedToken, Verdict, Verify},
};

use crate::session::{Session, Sessions};

#[path = "support/app_center.rs"]
mod app_center;
#[path = "support/session.rs"]
mod session;

tower_oauth::scopes! {
    /// One user's things.
    UserAccess = "user";
    /// Everything of a host.
    HostAccess = "host";
}

/// Asks the app center about tokens.
struct AppCenter {
    client: HttpClient,
    url: String,
    app_secret: String,
    sessions: Sessions,
}

/// Its answer: 200 with the one, 403 with the other.
#[derive(Deserialize)]
struct Answer {
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
            return Verdict::Now(self.sessions.read(presented));
        }
        let [Some(host), Some(user)] = whose(presented) else { return Verdict::Now(Err(AuthError::invalid_token())) };
        let (host, user) = (host.to_owned(), user.to_owned());
        // This provider wants all in the query, so keep that out of your logs: `HttpClient` does.
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("access_token", presented.token()), ("app_secret", &self.app_secret)])
            .extend_pairs([("host_auid", &host), ("user_auid", &user)])
            .finish();
        let question = Request::get(format!("{}/api/app_user_authorization?{query}", self.url)).body(Bytes::new());
        let (client, permit, sessions) = (self.client.clone(), presented.permit(), self.sessions.clone());
        Verdict::later(async move {
            // Whatever is neither a yes nor a no says nothing about the token: 503, not 401.
            let unavailable = || AuthError::unavailable(Duration::from_secs(5));
            let question = question.map_err(|error| unavailable().with_source(error))?;
            let answer = client.fetch(question).await.map_err(|error| unavailable().with_source(error))?;
            match (answer.status().as_u16(), serde_json::from_slice(answer.body())) {
                (200, Ok(Answer { authorization: Some(it), .. })) => {
                    permit.token(&sessions.begin(user, host, it.access))
                }
                (403, Ok(Answer { errors: Some(_), .. })) => Err(AuthError::invalid_token()),
                _ => Err(unavailable()),
            }
        })
    }

    /// All that the verdict depends on beside the token.
    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add(if presented.bearer_method() == BearerMethod::Cookie { "session" } else { "token" });
        for part in whose(presented) {
            key.add(part.unwrap_or_default());
        }
    }
}

/// The host and the user that the token is said to be of.
fn whose<'r>(presented: &PresentedToken<'r>) -> [Option<&'r str>; 2] {
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
    let verifier = Cached::new(verifier, Duration::from_secs(30)); // so long a token may be good that was taken back
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
    println!("# Ada's token: her tickets, and a session.");
    println!("curl -i -c {jar} -H 'Authorization: Bearer token-of-ada' {ada} {tickets}/mine\n");
    println!("# The session is enough:\ncurl -i -b {jar} {tickets}/mine\n");
    println!("# Not for all tickets:\ncurl -i -b {jar} {tickets}\n");
    println!("# They need the token of the whole host:");
    println!("curl -i -H 'Authorization: Bearer token-of-acme' {ada} {tickets}\n\n# Ctrl-C ends it.");
    axum::serve(listener, app).with_graceful_shutdown(async { drop(signal::ctrl_c().await) }).await?;
    Ok(())
}
