//! Refusals that a handler records, but whose response is never sent; and what is left of a response that a refusal replaces.

use std::{convert::Infallible, future::pending};

use axum::{
    Router,
    extract::ws::WebSocketUpgrade,
    response::{IntoResponse as _, Redirect, Response},
    routing::any,
};
use futures_util::FutureExt as _;
use http::{Extensions, Request};
use tokio::sync::mpsc;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_oauth::layer::late_refusals::LateRefusals;

use crate::{
    log::Log,
    support::{Admin, OrdersRead, OrdersWrite, get_with_token, layer_with, serve, valid_token, write_raw},
};

const REFUSED: &str = "a request was refused";
const TOO_LATE: &str = "after the head of the response had left";

fn lines(log: &Log, text: &str) -> usize {
    log.text().lines().filter(|line| line.contains(text)).count()
}

fn request() -> Request<()> {
    let bearer = format!("Bearer {}", valid_token().sign());
    Request::get("/").header("authorization", bearer).body(()).unwrap()
}

/// Threat W6
#[tokio::test]
async fn a_recorded_refusal_that_is_not_sent_is_logged_once() {
    let (sender, mut handles) = mpsc::unbounded_channel();
    let record = move |request: &Request<()>| {
        let refusals = LateRefusals::of(request.extensions());
        refusals.require::<Admin>().unwrap_err();
        sender.send(refusals).unwrap();
    };
    let layer = layer_with(|server| server).late_refusals();
    let fails = {
        let record = record.clone();
        layer.layer(service_fn(move |request: Request<()>| {
            record(&request);
            async { Err::<Response<String>, _>("the connection is lost") }
        }))
    };
    let hangs = {
        let record = record.clone();
        layer.layer(service_fn(move |request: Request<()>| {
            record(&request);
            pending::<Result<Response<String>, Infallible>>()
        }))
    };
    let panics = layer.layer(service_fn(move |request: Request<()>| {
        record(&request);
        async { panic!("a mistake of the handler") as Result<Response<String>, Infallible> }
    }));
    for case in ["it fails", "the client leaves", "it panics"] {
        let log = Log::default();
        let _guard = log.install();
        match case {
            "it fails" => assert_eq!(fails.clone().oneshot(request()).await.unwrap_err(), "the connection is lost"),
            "the client leaves" => assert!(hangs.clone().oneshot(request()).now_or_never().is_none()),
            _ => assert!(tokio::spawn(panics.clone().oneshot(request())).await.unwrap_err().is_panic()),
        }
        assert_eq!((lines(&log, REFUSED), lines(&log, TOO_LATE)), (1, 0), "{case}: {}", log.text());
        assert!(log.text().contains("kind=\"insufficient_scope\" reason=\"scope\""), "{case}: {}", log.text());
        // The same operation goes on in a task of its own.
        handles.recv().await.unwrap().require::<OrdersWrite>().unwrap_err();
        assert_eq!((lines(&log, REFUSED), lines(&log, TOO_LATE)), (1, 0), "{case}: {}", log.text());
    }
}

/// Threat W6
#[tokio::test]
async fn a_refusal_after_the_client_left_comes_too_late() {
    let (sender, mut handles) = mpsc::unbounded_channel();
    let hangs = layer_with(|server| server).late_refusals().layer(service_fn(move |request: Request<()>| {
        let refusals = LateRefusals::of(request.extensions());
        refusals.require::<OrdersRead>().unwrap();
        sender.send(refusals).unwrap();
        pending::<Result<Response<String>, Infallible>>()
    }));
    let log = Log::default();
    let _guard = log.install();
    assert!(hangs.oneshot(request()).now_or_never().is_none());
    assert_eq!((lines(&log, REFUSED), lines(&log, TOO_LATE)), (0, 0), "{}", log.text());
    let refusals = handles.recv().await.unwrap();
    refusals.require::<Admin>().unwrap_err();
    refusals.require::<Admin>().unwrap_err();
    assert_eq!((lines(&log, REFUSED), lines(&log, TOO_LATE)), (0, 1), "{}", log.text());
}

/// Threat W8
#[tokio::test]
async fn a_replaced_handshake_or_redirect_keeps_none_of_its_headers() {
    async fn opens(extensions: Extensions, upgrade: WebSocketUpgrade) -> Response {
        LateRefusals::of(&extensions).require::<Admin>().unwrap_err();
        upgrade.protocols(["chat"]).on_upgrade(async |_| {})
    }
    async fn redirects(extensions: Extensions) -> Response {
        LateRefusals::of(&extensions).require::<Admin>().unwrap_err();
        Redirect::to("/elsewhere").into_response()
    }
    let app = Router::new().route("/socket", any(opens)).route("/redirect", any(redirects));
    let app = app.layer(layer_with(|server| server.accept_websocket_protocol("bearer")).late_refusals());
    let address = serve(app.clone()).await;
    let token = valid_token().sign();
    let head = format!(
        "GET /socket HTTP/1.1\r\nhost: api.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: chat, bearer, {token}\r\n"
    );
    let refused = write_raw(address, format!("{head}connection: close\r\n\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("scope=\"admin\""), "{refused}");
    let lower = refused.to_ascii_lowercase();
    assert!(!lower.contains("upgrade") && !lower.contains("sec-websocket") && !lower.contains(&token), "{refused}");
    let refused = get_with_token(&app, "/redirect", &token).await;
    assert!(refused.is_refusal(403, "insufficient_scope") && refused.header("location").is_none(), "{refused:?}");
}
