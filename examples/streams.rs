//! Server-sent events and a WebSocket that end with their token. Run it and paste the lines that it prints:
//!
//! ```sh
//! cargo run --example streams
//! ```
//!
//! `BIND=127.0.0.1:0` selects another address. With a verifier that asks the issuer (`IntrospectionVerifier`),
//! `lifetime.recheck_every(…)` also ends the streams of a token that was revoked.

use std::{convert::Infallible, error::Error, time::Duration};

use axum::{
    Router,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::{any, get},
};
use futures_util::{StreamExt as _, stream};
use tokio::{net::TcpListener, signal, time};
use tower_oauth::{OAuthLayer, ResourceServer, lifetime::TokenLifetime, testing::MockIssuer};

/// One event each second, until the token ends.
async fn events(lifetime: TokenLifetime) -> impl IntoResponse {
    let ticks = stream::unfold(time::interval(Duration::from_secs(1)), async |mut interval| {
        interval.tick().await;
        Some((Ok::<_, Infallible>(Event::default().data("tick")), interval))
    });
    Sse::new(ticks.take_until(lifetime.ended()))
}

/// A WebSocket until the token ends.
async fn socket(upgrade: WebSocketUpgrade, lifetime: TokenLifetime) -> Response {
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        let end = tokio::select! {
            end = lifetime.ended() => end,
            () = talk(&mut socket, &lifetime) => return,
        };
        let close = CloseFrame { code: close_code::POLICY, reason: end.description().into() };
        drop(socket.send(Message::Close(Some(close))).await);
    })
}

/// Each message is a new token, which moves the end. A program with other messages gives this one a form of its own.
async fn talk(socket: &mut WebSocket, lifetime: &TokenLifetime) {
    while let Some(Ok(Message::Text(token))) = socket.recv().await {
        let answer = lifetime.renew(&token).await.map_or_else(|error| error.description(), |()| "renewed");
        drop(socket.send(answer.into()).await);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = MockIssuer::new("https://auth.example.com");
    let verifier = issuer.verifier("https://api.example.com");
    let server = ResourceServer::builder(verifier).accept_websocket_protocol("bearer").build()?;
    let routes = Router::new().route("/events", get(events)).route("/socket", any(socket));
    let app = routes.layer(OAuthLayer::from_server(server).token_lifetimes());
    let bind = std::env::var("BIND").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&bind).await.map_err(|error| format!("cannot listen on {bind}: {error}"))?;

    let address = listener.local_addr()?;
    let ada = issuer.token("ada").audience("https://api.example.com").expires_in(Duration::from_secs(5));
    let token = ada.sign();
    println!("# After 5 s the events end when the token expires.");
    println!("curl -iN -H 'Authorization: Bearer {token}' http://{address}/events\n");
    println!("# In a browser's console: the code is 1008, and the reason that the token expired.");
    println!(
        "new WebSocket('ws://{address}/socket', ['bearer', '{token}']).onclose = e => console.log(e.code, e.reason)"
    );
    println!("\n# Ctrl-C stops the program.");

    axum::serve(listener, app).with_graceful_shutdown(async { drop(signal::ctrl_c().await) }).await?;
    Ok(())
}
