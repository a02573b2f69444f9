//! Shared by all contestants: a process that builds its router once and then runs the commands of the driver, one per line.
//!
//! | command | response |
//! |---|---|
//! | (none, at the start) | `ready`, or `failed: …` |
//! | `run 100` | nanoseconds per request, of 100 in-process requests |
//! | `allocations` | Rust's allocations per request, and their bytes |
//! | `status <token>` | the status for a request with this token |
//! | `serve` | an address where the same router listens |
//! | `quit` | |

mod counting;

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::Pin,
    time::{Duration, Instant},
};

use http::{Request, Response};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
};
use tower_service::Service;

/// The driver's setup for every contestant: the issuer, the API's identifier, and a valid token.
#[derive(Serialize, Deserialize)]
pub struct Setup {
    /// The configuration, for a program with several.
    pub variant: String,
    pub issuer: String,
    pub jwks_uri: String,
    pub audience: String,
    pub token: String,
    pub jwk: serde_json::Value,
}

/// The one route.
pub const PATH: &str = "/orders";

/// Returns the response of every handler, which reads `sub`.
pub fn read(subject: Option<&str>) -> &'static str {
    if black_box(subject).is_some() { "sub" } else { "" }
}

/// A contestant on axum 0.8.
pub fn run(build: impl AsyncFnOnce(&Setup) -> Result<axum::Router, String>) {
    run_with(build, axum::body::Body::empty, |listener, app: axum::Router| {
        Box::pin(async move { axum::serve(listener, app).await.expect("serving never fails") })
    });
}

/// A server that never ends.
pub type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// A contestant on any `http` service, with one thread.
pub fn run_with<S, B, R>(
    build: impl AsyncFnOnce(&Setup) -> Result<S, String>,
    empty: fn() -> B,
    serve: impl Fn(TcpListener, S) -> Serving,
) where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone,
{
    let setup = std::env::args().nth(1).expect("the driver passes the setup");
    let setup: Setup = serde_json::from_str(&setup).expect("the setup is valid");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let app = match build(&setup).await {
            Ok(app) => Contestant { app, empty, token: setup.token },
            Err(reason) => return println!("failed: {}", reason.replace('\n', " ")),
        };
        if let Err(status) = app.ready().await {
            return println!("failed: the response to the valid token is {status}");
        }
        println!("ready");
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("run", count) => println!("{}", app.time(count.parse().expect("a number")).await),
                ("allocations", _) => {
                    let (allocations, bytes) = app.allocations().await;
                    println!("{allocations} {bytes}");
                }
                ("status", token) => println!("{}", app.status(token).await),
                ("serve", _) => {
                    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
                    println!("{}", listener.local_addr().expect("bound"));
                    tokio::task::spawn_local(serve(listener, app.app.clone()));
                }
                _ => break,
            }
        }
    });
}

struct Contestant<S, B> {
    app: S,
    empty: fn() -> B,
    token: String,
}

impl<S, B, R> Contestant<S, B>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone,
{
    /// Waits up to five seconds until the valid token is accepted, because some contestants fetch keys in the background.
    async fn ready(&self) -> Result<(), u16> {
        let start = Instant::now();
        loop {
            match self.status(&self.token).await {
                200 => return Ok(()),
                status if start.elapsed() > Duration::from_secs(5) => return Err(status),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn status(&self, token: &str) -> u16 {
        call(&mut self.app.clone(), self.request(token)).await.status().as_u16()
    }

    async fn time(&self, count: u32) -> f64 {
        let mut app = self.app.clone();
        // The first requests warm the caches of this core, which another process used before.
        let mut requests = self.requests(count + 5);
        for request in requests.split_off(count as usize) {
            black_box(call(&mut app, request).await);
        }
        let start = Instant::now();
        for request in requests {
            let response = call(&mut app, request).await;
            assert_eq!(response.status(), 200);
            black_box(response);
        }
        start.elapsed().as_nanos() as f64 / f64::from(count)
    }

    async fn allocations(&self) -> (f64, f64) {
        const COUNT: u32 = 100;
        let mut app = self.app.clone();
        let requests = self.requests(COUNT);
        counting::start();
        for request in requests {
            black_box(call(&mut app, request).await);
        }
        let (allocations, bytes) = counting::stop();
        (allocations as f64 / f64::from(COUNT), bytes as f64 / f64::from(COUNT))
    }

    fn requests(&self, count: u32) -> Vec<Request<B>> {
        (0..count).map(|_| self.request(&self.token)).collect()
    }

    fn request(&self, token: &str) -> Request<B> {
        let request = Request::get(PATH).header("authorization", format!("Bearer {token}"));
        request.body((self.empty)()).expect("a valid request")
    }
}

async fn call<S, B, R>(app: &mut S, request: Request<B>) -> Response<R>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    let Ok(()) = std::future::poll_fn(|cx| app.poll_ready(cx)).await;
    let Ok(response) = app.call(request).await;
    response
}
