//! The host's own page for login and consent: code, PKCE, refresh, and an API that returns more to a user than to a client.
//!
//! ```sh
//! cargo run --example authorization_code --features token-endpoint
//! ```
//!
//! Provider, API, app and browser are one program, over real sockets. It prints each request and its response.

mod app;

use std::{collections::HashMap, error::Error};

use axum::extract::{Form, Path};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get};
use http::StatusCode;
use tokio::net::TcpListener;
use tower_oauth::{
    Issuer, JwtVerifier, OAuthLayer, UserToken,
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, AuthorizationRequest, Client, ClientCredential, ClientCredentialsGrant, ClientSecret,
        Clients, DenialReason, RefreshTokenGrant, TokenEndpoint, TokenFormat,
    },
};

/// Login and consent in one form. The browser posts it to the page's own URL, with its query.
///
/// There is no session that a form of another site could use (cross-site request forgery): every approval contains the
/// password. The page contains nothing of the request.
fn page(status: StatusCode, message: &str) -> Response {
    let headers =
        [("content-security-policy", "default-src 'none'; frame-ancestors 'none'"), ("cache-control", "no-store")];
    let page = format!(
        "<!doctype html><html lang=en><title>Log in</title><h1>The app wants to see your profile</h1>\
         <p role=alert>{message}</p><form method=post>\
         <label>Name <input name=name autocomplete=username></label> \
         <label>Password <input name=password type=password autocomplete=current-password></label> \
         <button name=answer value=allow>Allow</button> <button name=answer value=deny>Deny</button></form>"
    );
    (status, headers, Html(page)).into_response()
}

async fn show(_: AuthorizationRequest) -> Response {
    page(StatusCode::OK, "")
}

/// A production host stores password hashes and limits the attempts.
async fn submit(request: AuthorizationRequest, Form(form): Form<HashMap<String, String>>) -> Response {
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    match (field("answer"), field("name"), field("password")) {
        ("allow", "ada", "correct horse") => request.approve("ada", ["profile"]).await.into_response(),
        ("deny", ..) => request.deny(DenialReason::AccessDenied).into_response(),
        _ => page(StatusCode::FORBIDDEN, "Name or password is wrong"),
    }
}

/// The name is public. Only the member gets the mail address, and only with a token that acts for a user.
async fn member(Path(name): Path<String>, user: Option<UserToken>) -> String {
    let is_own = user.is_some_and(|user| user.subject() == Some(&name));
    if is_own { format!("name {name}, mail {name}@example.com") } else { format!("name {name}") }
}

fn provider(url: &str, secret: &str) -> Result<Router, Box<dyn Error>> {
    let app = Client::builder("app", ClientCredential::None)
        .grant_types(["authorization_code", "refresh_token"])
        .redirect_uri(app::CALLBACK);
    let job = Client::builder("job", ClientSecret::new(secret)).grant_types(["client_credentials"]);
    let clients = [app, job].map(|client| client.default_scopes(["profile"]).audience(url, TokenFormat::Jwt).build());
    let clients = Clients::new(clients.into_iter().collect::<Result<Vec<_>, _>>()?)?;
    let endpoint = TokenEndpoint::builder(url, PrivateKey::generate(Algorithm::ES256)?, clients)
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new(format!("{url}/authorize")))
        .grant(RefreshTokenGrant::new())
        .build()?;
    let protect = OAuthLayer::new(JwtVerifier::new(Issuer::builder(url).build()?, url)?).allow_anonymous();
    let api = Router::new().route("/members/{name}", get(member)).layer(protect);
    let pages = Router::new().route("/authorize", get(show).post(submit)).with_state(endpoint.clone());
    Ok(api.merge(pages).fallback_service(endpoint))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let secret = ClientSecret::generate()?.1;
    let router = provider(&url, &secret)?;
    tokio::spawn(async move { axum::serve(listener, router).await });

    let app = app::App::new(&url)?;
    let page = app.authorization_url();
    app.send(&format!("GET {page}"), "", &[]).await?;
    let ada = [("answer", "allow"), ("name", "ada"), ("password", "correct horse")];
    app.send(&format!("POST {page}"), "", &[ada[0], ada[1], ("password", "wrong")]).await?;
    let code = app.code(&app.send(&format!("POST {page}"), "", &ada).await?)?;
    let first = app.redeem(&code).await?;
    app.send("GET /members/ada", "", &[]).await?;
    let form = [("grant_type", "client_credentials"), ("client_id", "job"), ("client_secret", &*secret)];
    app.send("GET /members/ada", &app.request_tokens(&form).await?.access_token, &[]).await?;
    app.send("GET /members/ada", &first.access_token, &[]).await?;
    app.send("GET /members/bob", &first.access_token, &[]).await?;
    let second = app.refresh(&first.refresh_token).await?;
    app.send("GET /members/ada", &second.access_token, &[]).await?;
    // A code can be redeemed once. A second attempt revokes everything that was issued from it.
    app.redeem(&code).await?;
    app.refresh(&second.refresh_token).await?;
    Ok(())
}
