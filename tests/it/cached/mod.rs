//! Cached verdicts: what a hit must still check, which requests must not share a verdict, and when there must be no hit.

#![allow(clippy::unchecked_time_subtraction)]

mod bounds;
mod cache_keys;
mod cves;
mod invalidation;
mod isolation;
mod keys;
mod lifetimes;
#[cfg(feature = "metrics")]
mod metrics;
mod model;
mod nesting;
mod single_flight;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::Request;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tower_oauth::{
    AuthError, Cached, ResourceServer, Token,
    clock::Clock,
    error::AuthErrorKind,
    testing::ManualClock,
    verify::{CacheKey, PresentedToken, Verdict, Verify},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const INSTANT: Duration = Duration::from_nanos(1);

/// Presents this token, with these other headers in the request.
async fn authenticate_with_headers(
    verifier: &(impl Verify + Clone),
    token: &str,
    headers: &[(&str, &str)],
) -> Result<Token, AuthError> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    ResourceServer::new(verifier.clone()).authenticate(&request.body(()).unwrap().into_parts().0).await
}

async fn authenticate(verifier: &(impl Verify + Clone), token: &str) -> Result<Token, AuthError> {
    authenticate_with_headers(verifier, token, &[]).await
}

/// Subject of the token, or the kind of its refusal.
async fn subject(verifier: &(impl Verify + Clone), token: &str) -> Result<String, AuthErrorKind> {
    let token = authenticate(verifier, token).await.map_err(|error| error.kind())?;
    Ok(token.subject().unwrap_or_default().to_owned())
}

/// Spawns a task that sends this token.
fn spawn_request<V: Verify>(cached: &Cached<V>, token: &'static str) -> JoinHandle<Result<String, AuthErrorKind>> {
    let cached = cached.clone();
    tokio::spawn(async move { subject(&cached, token).await })
}

/// The time after this duration, in seconds since the epoch.
fn seconds_from_now(clock: &ManualClock, time: Duration) -> f64 {
    clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() + time.as_secs_f64()
}

/// A clock at a whole second, so that no date is rounded.
fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

/// Waits until this is true. No test sleeps for a fixed time.
async fn wait_until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the condition was false for 10 s");
}

/// An authorization server without the network. It has a response for some tokens and counts the calls. While responses
/// are held back, calls wait; then each gets the response of that moment.
#[derive(Clone)]
struct Server {
    responses: Arc<Mutex<HashMap<String, ServerResponse>>>,
    calls: Arc<AtomicUsize>,
    released: watch::Sender<bool>,
}

#[derive(Clone)]
enum ServerResponse {
    Active(Value),
    Failure,
    Panic,
}

impl Server {
    fn new() -> Self {
        Self { responses: Arc::default(), calls: Arc::default(), released: watch::Sender::new(true) }
    }

    /// A server that accepts the token `ada`, whose subject is Ada.
    fn with_ada() -> Self {
        let server = Self::new();
        server.set_response("ada", ServerResponse::Active(json!({"sub": "ada"})));
        server
    }

    fn set_response(&self, token: &str, response: ServerResponse) {
        self.responses.lock().unwrap().insert(token.to_owned(), response);
    }

    fn revoke(&self, token: &str) {
        self.responses.lock().unwrap().remove(token);
    }

    fn hold_responses(&self) {
        self.released.send_replace(false);
    }

    fn release_responses(&self) {
        self.released.send_replace(true);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn verdict_for(&self, token: &str, presented: &PresentedToken<'_>) -> Verdict {
        let (server, token, permit, mut released) =
            (self.clone(), token.to_owned(), presented.permit(), self.released.subscribe());
        Verdict::later(async move {
            server.calls.fetch_add(1, Ordering::SeqCst);
            released.wait_for(|released| *released).await.unwrap();
            let response = server.responses.lock().unwrap().get(&token).cloned();
            match response {
                Some(ServerResponse::Active(claims)) => permit.token(&claims),
                Some(ServerResponse::Failure) => Err(AuthError::unavailable(SECOND)),
                Some(ServerResponse::Panic) => panic!("the verifier has a bug"),
                None => Err(AuthError::invalid_token()),
            }
        })
    }
}

impl Verify for Server {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.verdict_for(presented.token(), presented)
    }
}

/// Counts the calls of the inner verifier, and passes everything on to it.
#[derive(Clone)]
struct Counting<V> {
    inner: V,
    calls: Arc<AtomicUsize>,
}

impl<V> Counting<V> {
    fn new(inner: V) -> Self {
        Self { inner, calls: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<V: Verify> Verify for Counting<V> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.verify(presented)
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let verdict = self.inner.verify_if_responsible(presented)?;
        self.calls.fetch_add(1, Ordering::SeqCst);
        Some(verdict)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.inner.cache_key(presented, key);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        self.inner.is_still_valid(token)
    }
}

/// A cache of this server's verdicts, and the cache's clock.
fn cached(server: &Server, max_age: Duration) -> (Cached<Server>, ManualClock) {
    let clock = clock();
    (Cached::builder(server.clone(), max_age).clock(clock.clone()).build(), clock)
}
