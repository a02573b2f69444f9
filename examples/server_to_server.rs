//! One server calls the API of another with a token of its own. Provider and consumer are one program, over real sockets.
//!
//! ```sh
//! cargo run --example server_to_server --features token-endpoint
//! ```

use std::{error::Error, time::Duration};

use axum::{Router, routing::get, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use tokio::{net::TcpListener, sync::RwLock};
use tower_oauth::{
    OAuthLayer, Scoped,
    fetch::{Fetch as _, HttpClient},
    keys::{Algorithm, PrivateKey},
    token_endpoint::{Client, ClientCredentialsGrant, ClientSecret, Clients, TokenEndpoint, TokenFormat},
};

tower_oauth::scopes! {
    pub Read = "read";
    pub Write = "write";
}

static RESOURCE: RwLock<Bytes> = RwLock::const_new(Bytes::from_static(b"the first value"));

/// Builds a token endpoint, and an API that accepts its tokens.
fn provider(url: &str, secret: &str) -> Result<Router, Box<dyn Error>> {
    let consumer = Client::builder("consumer", ClientSecret::new(secret))
        .grant_types(["client_credentials"])
        .default_scopes(["read"])
        .optional_scopes(["write"])
        .audience(url, TokenFormat::Jwt)
        .access_token_lifetime(Duration::from_secs(3600));
    let (key, clients) = (PrivateKey::generate(Algorithm::ES256)?, Clients::new([consumer.build()?])?);
    let endpoint = TokenEndpoint::builder(url, key, clients).grant(ClientCredentialsGrant::new()).build()?;
    let api = Router::new()
        .route("/read-resource", get(|_: Scoped<Read>| async { RESOURCE.read().await.clone() }))
        .route("/write-resource", post(|_: Scoped<Write>, value: Bytes| async { *RESOURCE.write().await = value }));
    let public = Router::new().route("/public", get(|| async { "this needs no token" }));
    Ok(api.layer(OAuthLayer::new(endpoint.verifier(url))).merge(public).fallback_service(endpoint))
}

/// Sends a request of the consumer. Returns the response as text, and the token in it as the value of `Authorization`.
async fn send(what: &str, url: &str, auth: &str, body: &'static str) -> Result<(String, String), Box<dyn Error>> {
    let (method, path) = what.split_once(' ').ok_or("not a request")?;
    let form = "application/x-www-form-urlencoded";
    let request = Request::builder().method(method).uri(format!("{url}{path}")).header("content-type", form);
    let request = if auth.is_empty() { request } else { request.header("authorization", auth) };
    let response = HttpClient::new()?.fetch(request.body(body.into())?).await?;
    let challenge = response.headers().get("www-authenticate").map_or(Ok(""), |challenge| challenge.to_str())?;
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let text = String::from_utf8_lossy(response.body());
    let token = format!("Bearer {}", json.get("access_token").and_then(|token| token.as_str()).unwrap_or_default());
    Ok((format!("{what}\n  {} {challenge} {text}", response.status()), token))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = &format!("http://{}", listener.local_addr()?);
    let secret = ClientSecret::generate()?.1;
    tokio::spawn(axum::serve(listener, provider(url, &secret)?).into_future());

    let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("consumer:{secret}")));
    let form = "grant_type=client_credentials";
    println!("{}\n{}", send("GET /public", url, "", "").await?.0, send("GET /read-resource", url, "", "").await?.0);
    println!("{}", send("POST /token", url, &basic("wrong"), form).await?.0);
    let (shown, reader) = send("POST /token", url, &basic(&secret), form).await?;
    println!("{shown}\n{}", send("GET /read-resource", url, &reader, "").await?.0);
    println!("{}", send("POST /write-resource", url, "Bearer wrong", "a new value").await?.0);
    // The first token grants only `read`, so the consumer requests another one.
    let form = "grant_type=client_credentials&scope=write";
    let (_, writer) = send("POST /token", url, &basic(&secret), form).await?;
    println!("{}", send("POST /write-resource", url, &writer, "a new value").await?.0);
    println!("{}", send("GET /read-resource", url, &reader, "").await?.0);
    Ok(())
}
