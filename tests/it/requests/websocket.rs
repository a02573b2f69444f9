//! The token of a WebSocket handshake in a subprotocol (RFC 6455 §1.9): over sockets, and which heads are accepted.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::{WebSocketUpgrade, ws::WebSocket},
    response::Response,
    routing::any,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, client::IntoClientRequest as _, error::ProtocolError},
};
use tower_oauth::{
    OAuthLayer, ResourceServer, Token,
    server::ResourceServerBuilder,
    verify::{BearerMethod, Verdict, Verify},
};

use crate::{
    log::Log,
    support::{API, Answer, issuer, send, serve, valid_token, verifier_from, write_raw},
};

const PROTOCOL: &str = "sec-websocket-protocol";

/// Accepts the tokens `good` and `go/od==`. Each token of the tests contains `go`.
fn good() -> impl Verify {
    verifier_from(|presented| {
        assert!(!format!("{:?}", presented.parts()).contains("go"), "the head that the verifier sees hides the token");
        let permit = presented.permit();
        Verdict::Now(if ["good", "go/od=="].contains(&presented.token()) {
            permit.token(&json!({"sub": "ada", "method": format!("{:?}", presented.bearer_method())}))
        } else {
            Err(tower_oauth::AuthError::invalid_token())
        })
    })
}

fn accepting(server: ResourceServerBuilder) -> ResourceServerBuilder {
    server.accept_websocket_protocol("bearer")
}

fn layer(configure: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder) -> OAuthLayer {
    OAuthLayer::from_server(configure(accepting(ResourceServer::builder(good()))).build().unwrap())
}

/// Responds with 101 and the subprotocols that the handler sees, as no server does: in a header.
async fn handler(headers: HeaderMap, token: Option<Token>) -> Response {
    let seen: Vec<_> = headers.get_all(PROTOCOL).iter().map(|value| value.to_str().unwrap()).collect();
    assert!(!format!("{headers:?}").contains("go"), "the handler never sees the token");
    let response = Response::builder().status(101).header("x-seen", seen.join(" | "));
    response
        .header("x-subject", token.as_ref().map_or("anonymous", |token| token.subject().unwrap()))
        .body(Body::empty())
        .unwrap()
}

fn app(configure: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder) -> Router {
    Router::new().fallback(any(handler)).layer(layer(configure))
}

/// A handshake over HTTP/1.1 with these lines of subprotocols.
fn handshake(lines: &[&str]) -> Request<Body> {
    let request = Request::get("/").header("upgrade", "websocket").header("connection", "Upgrade");
    lines.iter().fold(request, |request, line| request.header(PROTOCOL, *line)).body(Body::empty()).unwrap()
}

fn encoded(token: &str) -> String {
    format!("bearer.{}", URL_SAFE_NO_PAD.encode(token))
}

/// What the handler sees, and what the response chooses.
fn opened(answer: &Answer) -> (u16, &str, Option<&str>) {
    (answer.status.as_u16(), answer.header("x-seen").unwrap_or("refused"), answer.header(PROTOCOL))
}

/// RFC 6455 §1.9 (own, accepts)
/// RFC 6750 §2 b (MUST, accepts)
#[tokio::test]
async fn the_entry_after_bearer_is_the_token_wherever_the_pair_is() {
    let app = app(|server| server);
    for (lines, seen) in [
        (&["bearer, good"][..], "bearer"),
        (&["bearer,good"], "bearer"),
        (&[" bearer\t,\t good "], "bearer"),
        (&["bearer", "good"], "bearer"),
        (&["chat, bearer, good"], "chat, bearer"),
        (&["bearer, good, chat"], "bearer, chat"),
        (&["v1, chat, bearer, good, v2"], "v1, chat, bearer, v2"),
        (&["chat", "bearer", "good", "v2"], "chat, bearer, v2"),
        (&["chat, bearer", "good, v2"], "chat, bearer, v2"),
        (&[", ,bearer,, good,"], "bearer"),
    ] {
        let answer = send(&app, handshake(lines)).await;
        assert_eq!(opened(&answer), (101, seen, Some("bearer")), "{lines:?}");
        assert_eq!(answer.header("x-subject"), Some("ada"));
    }
}

/// RFC 6455 §1.9 (own, accepts)
/// RFC 6455 §4.2.2 (MUST, accepts)
#[tokio::test]
async fn a_token_in_base64url_is_read_too_and_bearer_chosen_only_if_it_was_offered() {
    let app = app(|server| server);
    for token in ["good", "go/od=="] {
        let encoded = encoded(token);
        for (lines, seen, chosen) in [
            (vec![encoded.clone()], "", None),
            (vec![format!("{encoded}, chat")], "chat", None),
            (vec![format!("{encoded}, bearer")], "bearer", Some("bearer")),
            (vec![format!("bearer, {encoded}")], "bearer", Some("bearer")),
            (vec!["chat".to_owned(), encoded.clone(), "bearer".to_owned()], "chat, bearer", Some("bearer")),
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(opened(&send(&app, handshake(&lines)).await), (101, seen, chosen), "{lines:?}");
        }
    }
}

/// RFC 6455 §1.9 (own, refuses)
#[tokio::test]
async fn malformed_subprotocols_are_refused() {
    let app = app(|server| server);
    let (with_space, long) = (encoded("go od"), "go".repeat(9_000));
    let (empty, long) = (format!("bearer, {}", encoded("")), format!("bearer, {long}"));
    for (line, status) in [
        ("", 401),
        ("bearer", 401),
        ("bearer,", 401),
        ("good, bearer", 401),
        ("chat, good", 401),
        ("Bearer, good", 401),
        ("bearer good", 401),
        ("bearer:good", 401),
        ("bearer, bad-go", 401),
        ("bearer, bearer", 401),
        (&long, 401),
        ("bearer, go/od==", 400),
        ("bearer, \"good\"", 400),
        ("bearer, go od", 400),
        ("bearer, good;q=1", 400),
        ("bearer.", 400),
        ("bearer, bearer.", 400),
        ("bearer.Z29vZA==", 400),
        ("bearer.Z29vZB", 400),
        ("bearer.g+++", 400),
        (&with_space, 400),
        (&empty, 400),
    ] {
        let answer = send(&app, handshake(&[line])).await;
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.header(PROTOCOL), None, "{line}");
    }
    let mut bytes = handshake(&[]);
    bytes.headers_mut().insert(PROTOCOL, HeaderValue::from_bytes(b"bearer, \xff\xfe").unwrap());
    assert_eq!(send(&app, bytes).await.status, 400);
}

/// RFC 6750 §2 b (MUST, refuses)
#[tokio::test]
async fn two_tokens_in_one_handshake_are_refused() {
    let app = app(|server| server.accept_cookie("session").accept_header("x-token").danger_accept_query());
    let both = format!("bearer, good, {}", encoded("good"));
    for line in [
        "bearer, good, bearer, good",
        &both,
        &format!("{both}, bearer"),
        &format!("{}, {}", encoded("good"), encoded("good")),
    ] {
        let answer = send(&app, handshake(&[line])).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{line}: {answer:?}");
    }
    for (name, value) in [("authorization", "Bearer good"), ("cookie", "session=good"), ("x-token", "good")] {
        let mut request = handshake(&["bearer, good"]);
        request.headers_mut().insert(name, value.parse().unwrap());
        assert!(send(&app, request).await.is_refusal(400, "invalid_request"), "{name}");
    }
    // Also beside a query that is not accepted.
    for app in [app, self::app(|server| server)] {
        let mut request = handshake(&["bearer, good"]);
        *request.uri_mut() = "/?access_token=good".parse().unwrap();
        assert!(send(&app, request).await.is_refusal(400, "invalid_request"));
    }
}

fn with(request: &mut Request<Body>, name: &'static str, value: &'static str) {
    request.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// RFC 6455 §4.2.1 (MUST, accepts and refuses)
#[tokio::test]
async fn only_a_handshake_is_read() {
    let app = app(|server| server);
    let send_changed = async |change: fn(&mut Request<Body>)| {
        let mut request = handshake(&["bearer, good"]);
        change(&mut request);
        send(&app, request).await.status.as_u16()
    };
    let accepted: [fn(&mut Request<Body>); 5] = [
        |_| {},
        |request| with(request, "upgrade", "WebSocket"),
        |request| with(request, "upgrade", "foo, websocket"),
        |request| with(request, "connection", "keep-alive, upgrade"),
        |request| {
            with(request, "connection", "keep-alive");
            request.headers_mut().append("connection", HeaderValue::from_static("upgrade"));
        },
    ];
    for (number, change) in accepted.into_iter().enumerate() {
        assert_eq!(send_changed(change).await, 101, "{number}");
    }
    let refused: [fn(&mut Request<Body>); 11] = [
        |request| drop(request.headers_mut().remove("upgrade")),
        |request| drop(request.headers_mut().remove("connection")),
        |request| with(request, "upgrade", "h2c"),
        |request| with(request, "upgrade", "websocket/13"),
        |request| with(request, "connection", "keep-alive"),
        |request| *request.method_mut() = Method::POST,
        |request| *request.method_mut() = Method::HEAD,
        |request| *request.version_mut() = Version::HTTP_10,
        |request| *request.version_mut() = Version::HTTP_2,
        // CONNECT to a host: a tunnel, no WebSocket.
        |request| {
            (*request.method_mut(), *request.version_mut()) = (Method::CONNECT, Version::HTTP_2);
            *request.uri_mut() = "api.test:443".parse().unwrap();
            with(request, "sec-websocket-version", "13");
        },
        // Extended CONNECT of another protocol.
        |request| {
            (*request.method_mut(), *request.version_mut()) = (Method::CONNECT, Version::HTTP_2);
            *request.uri_mut() = "https://api.test/".parse().unwrap();
        },
    ];
    for (number, change) in refused.into_iter().enumerate() {
        assert_eq!(send_changed(change).await, 401, "{number}");
    }
}

/// RFC 6455 §1.9 (own, refuses)
#[tokio::test]
async fn by_default_no_subprotocol_is_read() {
    let server = ResourceServer::builder(issuer().verifier(API)).build().unwrap();
    let app = Router::new().fallback(any(async || "served")).layer(OAuthLayer::from_server(server));
    let line = format!("bearer, {}", valid_token().sign());
    assert!(send(&app, handshake(&[&line])).await.is_refusal(401, ""));
}

/// RFC 6455 §4.2.2 (MUST, accepts)
#[tokio::test]
async fn the_subprotocol_that_the_handler_chose_stays() {
    let chooses = async || Response::builder().status(101).header(PROTOCOL, "chat").body(Body::empty()).unwrap();
    let app = Router::new().fallback(any(chooses)).layer(layer(|server| server));
    assert_eq!(send(&app, handshake(&["bearer, good, chat"])).await.header(PROTOCOL), Some("chat"));
}

/// RFC 6455 §4.2.2 (MUST, refuses)
#[tokio::test]
async fn only_the_response_that_opens_a_websocket_gets_the_subprotocol() {
    let app = Router::new().fallback(any(async || "no WebSocket here")).layer(layer(|server| server));
    let answer = send(&app, handshake(&["bearer, good"])).await;
    assert_eq!((answer.status.as_u16(), answer.header(PROTOCOL)), (200, None));
    assert_eq!(answer.header("cache-control"), Some("private"), "caches don't know that it had a token");
    // Nor one whose token came in another way.
    let mut request = handshake(&["bearer"]);
    request.headers_mut().insert("authorization", "Bearer good".parse().unwrap());
    let answer = send(&self::app(|server| server), request).await;
    assert_eq!(opened(&answer), (101, "bearer", None));
}

/// RFC 6455 §4.2.2 (MUST, refuses)
#[tokio::test]
async fn an_anonymous_handshake_keeps_its_subprotocols() {
    let app = Router::new().fallback(any(handler)).layer(layer(|server| server).allow_anonymous());
    let answer = send(&app, handshake(&["chat", "bearer"])).await;
    assert_eq!(opened(&answer), (101, "chat | bearer", None));
    assert_eq!(answer.header("x-subject"), Some("anonymous"));
    assert_eq!(send(&app, handshake(&["bearer, bad-go"])).await.status, 401);
}

/// RFC 6750 §5.3 b (MUST, accepts and refuses)
#[tokio::test]
async fn a_handshake_with_a_cookie_must_come_from_the_own_origin() {
    let app = app(|server| server.accept_cookie("session"));
    for (origin, status) in
        [(Some("https://api.test"), 101), (Some("https://evil.test"), 403), (Some("null"), 403), (None, 101)]
    {
        let mut request = handshake(&["chat"]);
        request.headers_mut().insert("host", "api.test".parse().unwrap());
        request.headers_mut().insert("cookie", "session=good".parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        assert_eq!(send(&app, request).await.status, status, "{origin:?}");
        // A token in a subprotocol is not sent by a browser of its own accord.
        let mut request = handshake(&["bearer, good"]);
        request.headers_mut().insert("origin", "https://evil.test".parse().unwrap());
        assert_eq!(send(&app, request).await.status, 101);
    }
}

/// RFC 6750 §2 b (MUST, refuses)
#[tokio::test]
async fn an_inner_layer_does_not_see_the_token() {
    let inner = Router::new().fallback(any(handler)).layer(layer(|server| server));
    let app = inner.layer(layer(|server| server));
    assert!(send(&app, handshake(&["bearer, good"])).await.is_refusal(401, ""));
}

/// RFC 6455 §1.9 (own, accepts)
#[tokio::test]
async fn another_name_is_read_in_the_same_way() {
    let app = app(|server| server.accept_websocket_protocol("base64url.bearer.example"));
    let dotted = format!("base64url.bearer.example.{}, v1", URL_SAFE_NO_PAD.encode("good"));
    assert_eq!(opened(&send(&app, handshake(&[&dotted])).await), (101, "v1", None));
    assert_eq!(send(&app, handshake(&["bearer, good"])).await.status, 401, "only the last name counts");
}

/// RFC 6455 §1.9 (own, refuses)
#[test]
fn the_name_of_the_subprotocol_is_checked_at_start_up() {
    for name in ["", " ", "a b", "a,b", "bearer/1", "ä", "\"a\"", "a\n"] {
        let error = ResourceServer::builder(good()).accept_websocket_protocol(name).build().unwrap_err();
        assert!(error.to_string().contains("accept_websocket_protocol"), "{name:?}: {error}");
    }
    for name in ["bearer", "b", "access_token", "a.b-c~1"] {
        assert!(ResourceServer::builder(good()).accept_websocket_protocol(name).build().is_ok(), "{name}");
    }
}

// --- over sockets ---

/// Opens a WebSocket whose first message is the subprotocols that the handler sees, and how the token was sent.
async fn open(upgrade: WebSocketUpgrade, headers: HeaderMap, token: Token) -> Response {
    let seen = format!("{:?} {:?}", headers.get_all(PROTOCOL).iter().collect::<Vec<_>>(), token.subject());
    upgrade.on_upgrade(async move |mut socket: WebSocket| drop(socket.send(seen.into()).await))
}

/// How the token of each handshake was sent, in the log of the server.
fn jwts() -> impl Verify {
    let verifier = issuer().verifier(API);
    verifier_from(move |presented| {
        assert_eq!(presented.bearer_method(), BearerMethod::WebSocketProtocol);
        verifier.verify(presented)
    })
}

async fn serve_websocket() -> SocketAddr {
    let server = ResourceServer::builder(jwts()).accept_websocket_protocol("bearer").build().unwrap();
    serve(Router::new().route("/", any(open)).layer(OAuthLayer::from_server(server))).await
}

/// Like a browser: it drops the connection if the response chooses none of the subprotocols that it offered.
async fn connect(address: SocketAddr, protocols: &[&str]) -> Result<(Option<String>, String), tungstenite::Error> {
    let mut request = format!("ws://{address}/").into_client_request().unwrap();
    request.headers_mut().insert(PROTOCOL, protocols.join(", ").parse().unwrap());
    let (mut socket, response) = connect_async(request).await?;
    let chosen = response.headers().get(PROTOCOL).map(|value| value.to_str().unwrap().to_owned());
    Ok((chosen, socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()))
}

/// RFC 6455 §4.2.2 (MUST, accepts)
/// RFC 6749 §10.3 b (MUST, accepts)
#[tokio::test]
async fn a_browser_opens_a_websocket_and_the_token_is_never_echoed() {
    let (log, address) = (Log::default(), serve_websocket().await);
    let _guard = log.install();
    let token = valid_token().sign();
    let encoded = encoded(&token);
    for protocols in [["bearer", &token], [&encoded, "bearer"]] {
        let (chosen, seen) = connect(address, &protocols).await.unwrap();
        assert_eq!((chosen.as_deref(), &*seen), (Some("bearer"), r#"["bearer"] Some("ada")"#));
    }
    // The raw bytes of the response.
    let head = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: {encoded}, bearer\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(
        std::time::Duration::from_secs(10),
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer),
    )
    .await
    .ok();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("sec-websocket-protocol: bearer\r\n"), "{answer}");
    let signature = token.rsplit('.').next().unwrap();
    assert!(!answer.contains(signature) && !answer.contains(&encoded) && !log.text().contains(signature));
}

/// RFC 6455 §4.2.2 (MUST, refuses)
#[tokio::test]
async fn a_browser_drops_a_response_that_chooses_nothing() {
    let (address, token) = (serve_websocket().await, valid_token().sign());
    let error = connect(address, &[&encoded(&token)]).await.unwrap_err();
    let dropped = matches!(error, tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)));
    assert!(dropped, "{error}: so the second form needs bearer beside it");
}

/// RFC 6749 §10.3 b (MUST, refuses)
#[tokio::test]
async fn a_refused_handshake_opens_nothing_and_echoes_nothing() {
    let address = serve_websocket().await;
    let expired = valid_token().claim("exp", 1_000_000_000).sign();
    let Err(tungstenite::Error::Http(response)) = connect(address, &["bearer", &expired]).await else {
        panic!("an expired token opens no WebSocket")
    };
    assert_eq!((response.status().as_u16(), response.headers().get(PROTOCOL)), (401, None));
    assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    let head = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\
         sec-websocket-protocol: bearer, {expired}\r\n\r\n"
    );
    let answer = write_raw(address, head).await;
    assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains(&expired), "{answer}");
}

/// RFC 6455 §4.2.1 (MUST, accepts and refuses)
#[tokio::test]
async fn extended_connect_over_http_2_is_a_handshake_too() {
    let address = serve_websocket().await;
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let token = valid_token().sign();
    for (protocols, status, chosen) in [
        (format!("bearer, {token}"), 200, Some("bearer")),
        (format!("{}, bearer", encoded(&token)), 200, Some("bearer")),
        (encoded(&token), 200, None),
        ("bearer, a.b.c".to_owned(), 401, None),
        ("bearer".to_owned(), 401, None),
    ] {
        // The client must have received the settings of the server before.
        client.ready().await.unwrap();
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://{address}/"))
            .extension(hyper::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header(PROTOCOL, &protocols)
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        let found = response.headers().get(PROTOCOL).map(|value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), found), (status, chosen), "{protocols}");
    }
}
