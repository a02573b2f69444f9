//! The issuer: an introspection endpoint over HTTP/1.1 that counts its sockets and questions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Form, Json, Router, extract::State, routing::post};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::Mutex,
    time::{Instant, sleep, sleep_until},
};

use crate::{clients::REGULAR, process, server::AUDIENCE};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum IssuerKind {
    Healthy,
    Slow,
    Unaware,
}

impl IssuerKind {
    pub(crate) fn named(name: &str) -> Self {
        [Self::Healthy, Self::Slow, Self::Unaware].into_iter().find(|kind| kind.name() == name).unwrap()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::Unaware => "unaware",
        }
    }
}

struct Endpoint {
    kind: IssuerKind,
    open: AtomicUsize,
    most_open: AtomicUsize,
    questions: AtomicUsize,
    /// The earliest time for the next response, if their number is limited. The lock is the queue: first in, first out.
    next: Mutex<Instant>,
}

pub(crate) async fn serve(kind: IssuerKind) {
    let counters = || AtomicUsize::new(0);
    let next = Mutex::new(Instant::now());
    let endpoint = Arc::new(Endpoint { kind, open: counters(), most_open: counters(), questions: counters(), next });
    let router = Router::new().route("/introspect", post(introspect)).with_state(Arc::clone(&endpoint));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let counted = Arc::clone(&endpoint);
    process::report(listener.local_addr().unwrap().port(), move || {
        [&counted.most_open, &counted.questions].map(|counter| counter.load(Ordering::Relaxed)).to_vec()
    });
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (open, service) = (OpenSocket::count(&endpoint), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // An error is a client that closed the connection early.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
            drop(open);
        });
    }
}

async fn introspect(State(endpoint): State<Arc<Endpoint>>, Form(form): Form<Vec<(String, String)>>) -> Json<Value> {
    endpoint.questions.fetch_add(1, Ordering::Relaxed);
    let token = form.into_iter().find_map(|(name, value)| (name == "token").then_some(value)).unwrap();
    let known = token.starts_with(REGULAR);
    match endpoint.kind {
        IssuerKind::Healthy => endpoint.take_turn().await,
        IssuerKind::Unaware => tokio::spawn(async move { endpoint.take_turn().await }).await.unwrap(),
        IssuerKind::Slow if known => sleep(QUICK).await,
        IssuerKind::Slow => sleep(SLOW).await,
    }
    Json(if known { json!({"active": true, "sub": token, "aud": AUDIENCE}) } else { json!({"active": false}) })
}

impl Endpoint {
    /// Waits for the next free turn. If the connection is closed meanwhile, the future is dropped and leaves the queue.
    async fn take_turn(&self) {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        // A timer may be late by some milliseconds. Without this much credit, there would be fewer turns in a second.
        *next = (*next).max(Instant::now() - QUICK) + Duration::from_secs(1) / QUESTIONS_PER_SECOND;
        drop(next);
        sleep(QUICK).await;
    }
}

/// A socket that is counted as open until it is dropped.
struct OpenSocket(Arc<Endpoint>);

impl OpenSocket {
    fn count(endpoint: &Arc<Endpoint>) -> Self {
        let open = endpoint.open.fetch_add(1, Ordering::Relaxed) + 1;
        endpoint.most_open.fetch_max(open, Ordering::Relaxed);
        Self(Arc::clone(endpoint))
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

const QUESTIONS_PER_SECOND: u32 = 400;
const QUICK: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_secs(4);
