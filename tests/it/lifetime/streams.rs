//! Event streams and sockets over real connections: they end with their token.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::ws::{CloseFrame, Message as ServerMessage, WebSocket, WebSocketUpgrade, close_code},
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::{any, get},
};
use futures_util::{SinkExt as _, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tower_oauth::{
    AuthError, OAuthLayer, ResourceServer,
    lifetime::{Ended, TokenLifetime},
};

use super::{Chosen, NOW, SECOND, clock, expires_after, jwt_server, server};
use crate::support::{API, issuer, serve, valid_token};

/// Sends one event, and then none until the token ends.
async fn events(lifetime: TokenLifetime) -> impl IntoResponse {
    let first = stream::iter([Ok::<_, Infallible>(Event::default().data("first"))]);
    Sse::new(first.chain(stream::pending()).take_until(lifetime.recheck_every(60 * SECOND).ended()))
}

/// Renews the token with each message.
async fn socket(upgrade: WebSocketUpgrade, lifetime: TokenLifetime) -> Response {
    let lifetime = lifetime.recheck_every(60 * SECOND);
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        let end = tokio::select! {
            end = lifetime.ended() => end,
            () = renew_with_each_message(&mut socket, &lifetime) => return,
        };
        close(socket, &end).await;
    })
}

/// Ends a WebSocket as the docs and `examples/streams.rs` do.
async fn close(mut socket: WebSocket, end: &Ended) {
    let close = CloseFrame { code: close_code::POLICY, reason: end.description().into() };
    drop(timeout(SECOND, socket.send(ServerMessage::Close(Some(close)))).await);
}

async fn renew_with_each_message(socket: &mut WebSocket, lifetime: &TokenLifetime) {
    drop(socket.send("open".into()).await);
    while let Some(Ok(ServerMessage::Text(token))) = socket.recv().await {
        let answer = lifetime.renew(&token).await.map_or_else(|error| error.reason(), |()| "renewed");
        drop(socket.send(answer.into()).await);
    }
}

async fn serve_streams(server: ResourceServer) -> SocketAddr {
    let routes = Router::new().route("/events", get(events)).route("/socket", any(socket));
    serve(routes.layer(OAuthLayer::from_server(server).token_lifetimes())).await
}

/// Reads an event stream over HTTP/1.1 until its first event.
async fn open_events(address: SocketAddr, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /events HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(5).any(|window| window == b"first") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
    stream
}

/// Reads until the last chunk of the response.
async fn last_chunk(mut stream: TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"0\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "the response ends with its last chunk");
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

async fn open_socket(address: SocketAddr, token: &str) -> Socket {
    let mut request = format!("ws://{address}/socket").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    assert_eq!(next(&mut socket).await, "open");
    socket
}

/// The next message, or the code and the reason of the end.
async fn next(socket: &mut Socket) -> String {
    match timeout(10 * SECOND, socket.next()).await.expect("a message in time").unwrap().unwrap() {
        Message::Text(text) => text.to_string(),
        Message::Close(Some(close)) => format!("{} {}", u16::from(close.code), close.reason),
        other => panic!("{other:?}"),
    }
}

async fn say(socket: &mut Socket, text: &str) -> String {
    socket.send(Message::text(text)).await.unwrap();
    next(socket).await
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// RFC 9068 §2.2 c (MUST, accepts)
#[tokio::test]
async fn over_sockets_streams_end_within_a_second_of_exp() {
    let address = serve_streams(ResourceServer::new(issuer().verifier(API))).await;
    let exp = now().trunc() + 3.0;
    let token = valid_token().claim("exp", json!(exp)).sign();
    let (events, mut socket) = (open_events(address, &token).await, open_socket(address, &token).await);
    let within_a_second = |what: &str| {
        let late = now() - exp;
        assert!((0.0..1.0).contains(&late), "{what} ended {late} s after exp");
    };
    let events = async {
        last_chunk(events).await;
        within_a_second("the event stream");
    };
    let socket = async {
        assert_eq!(next(&mut socket).await, "1008 The access token expired");
        within_a_second("the WebSocket");
    };
    tokio::join!(events, socket);
}

/// RFC 9068 §2.2 c (MUST, accepts)
#[tokio::test]
async fn over_http_2_an_event_stream_ends_and_its_connection_does_not() {
    let clock = clock();
    let address = serve_streams(jwt_server(&clock)).await;
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut open = async |exp: Duration| {
        let request = http::Request::get(format!("http://{address}/events"))
            .header("authorization", format!("Bearer {}", expires_after(exp)))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let mut body = client.send_request(request).await.unwrap().into_body();
        assert!(body.frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"data: first"));
        body
    };
    let (short, long) = (open(60 * SECOND).await, open(120 * SECOND).await);
    clock.advance(60 * SECOND);
    timeout(10 * SECOND, short.collect()).await.unwrap().unwrap();
    clock.advance(60 * SECOND);
    timeout(10 * SECOND, long.collect()).await.unwrap().unwrap();
}

/// RFC 9068 §2.2 c (MUST, accepts)
#[tokio::test]
async fn over_sockets_streams_end_at_once_when_the_clock_reaches_exp() {
    let clock = clock();
    let address = serve_streams(jwt_server(&clock)).await;
    let token = expires_after(3_600 * SECOND);
    let (events, mut socket) = (open_events(address, &token).await, open_socket(address, &token).await);
    clock.advance(3_599 * SECOND);
    assert_eq!(say(&mut socket, "no token").await, "malformed_credentials", "it is still open");
    clock.advance(SECOND);
    timeout(10 * SECOND, last_chunk(events)).await.unwrap();
    assert_eq!(next(&mut socket).await, "1008 The access token expired");
}

/// Stream 2 (own, accepts)
#[tokio::test]
async fn a_message_renews_the_token_of_a_websocket() {
    let clock = clock();
    let address = serve_streams(jwt_server(&clock)).await;
    let mut socket = open_socket(address, &expires_after(60 * SECOND)).await;
    let eve = issuer().token("eve").scope("orders:read").claim("iat", NOW).claim("exp", NOW + 600).sign();
    assert_eq!(say(&mut socket, &eve).await, "other_identity");
    assert_eq!(say(&mut socket, &expires_after(120 * SECOND)).await, "renewed");
    clock.advance(119 * SECOND);
    assert_eq!(say(&mut socket, &eve).await, "other_identity", "the renewed token is still valid");
    clock.advance(SECOND);
    assert_eq!(next(&mut socket).await, "1008 The access token expired");
}

/// Stream 2 (own, refuses)
#[tokio::test]
async fn a_refused_renewal_does_not_move_the_end_of_a_websocket() {
    let clock = clock();
    let address = serve_streams(jwt_server(&clock)).await;
    let mut socket = open_socket(address, &expires_after(60 * SECOND)).await;
    let eve = issuer().token("eve").scope("orders:read").claim("iat", NOW).claim("exp", NOW + 600).sign();
    assert_eq!(say(&mut socket, &eve).await, "other_identity");
    clock.advance(60 * SECOND);
    assert_eq!(next(&mut socket).await, "1008 The access token expired");
}

/// Stream 1 (own, accepts)
#[tokio::test]
async fn streams_end_when_the_verifier_refuses_the_token() {
    let (clock, chosen) = (clock(), Chosen::ada());
    let address = serve_streams(server(chosen.verifier(), &clock)).await;
    let (events, mut socket) = (open_events(address, "a").await, open_socket(address, "b").await);
    chosen.choose(Err(AuthError::unavailable(SECOND)));
    clock.advance(60 * SECOND);
    chosen.asked_times(4).await;
    assert_eq!(say(&mut socket, "c").await, "unavailable", "an issuer that fails ends nothing");
    chosen.choose(Err(AuthError::invalid_token()));
    clock.advance(60 * SECOND);
    timeout(10 * SECOND, last_chunk(events)).await.unwrap();
    assert_eq!(next(&mut socket).await, "1008 The access token is invalid");
}

/// RFC 9068 §2.2 c (MUST, refuses)
#[tokio::test]
async fn a_client_that_reads_nothing_cannot_hold_the_socket() {
    /// Writes without end.
    async fn flood(socket: &mut WebSocket) {
        while socket.send(ServerMessage::Binary(vec![0; 65_536].into())).await.is_ok() {}
    }
    let (clock, (ended, mut has_ended)) = (clock(), tokio::sync::mpsc::channel(1));
    let handler = move |upgrade: WebSocketUpgrade, lifetime: TokenLifetime| async move {
        upgrade.on_upgrade(async move |mut socket| {
            let end = tokio::select! {
                end = lifetime.ended() => end,
                () = flood(&mut socket) => panic!("the client is still connected"),
            };
            close(socket, &end).await;
            ended.send(()).await.unwrap();
        })
    };
    let routes = Router::new().route("/socket", any(handler));
    let address = serve(routes.layer(OAuthLayer::from_server(jwt_server(&clock)).token_lifetimes())).await;
    let mut request = format!("ws://{address}/socket").into_client_request().unwrap();
    let bearer = format!("Bearer {}", expires_after(60 * SECOND));
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    let (_unread, _) = connect_async(request).await.unwrap();
    // Until the server has filled all buffers: then each further frame waits for the client.
    tokio::time::sleep(SECOND).await;
    clock.advance(60 * SECOND);
    timeout(10 * SECOND, has_ended.recv()).await.unwrap().unwrap();
}

/// RFC 9068 §2.2 c (MUST, refuses)
#[tokio::test]
async fn the_lifetime_of_one_request_is_not_that_of_another() {
    let clock = clock();
    let address = serve_streams(jwt_server(&clock)).await;
    let mut short = open_socket(address, &expires_after(60 * SECOND)).await;
    let mut long = open_socket(address, &expires_after(90 * SECOND)).await;
    assert_eq!(say(&mut long, &expires_after(120 * SECOND)).await, "renewed");
    clock.advance(60 * SECOND);
    assert_eq!(next(&mut short).await, "1008 The access token expired");
    clock.advance(59 * SECOND);
    assert_eq!(say(&mut long, "no token").await, "malformed_credentials");
}
