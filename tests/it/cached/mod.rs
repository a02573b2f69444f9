//! Verdicts that are kept: what a hit must not skip, whom it must not be mixed up with, and when it must not be.

#![allow(clippy::unchecked_time_subtraction)]

mod bounds;
mod cves;
mod forgetting;
mod keys;
mod lifetimes;
#[cfg(feature = "metrics")]
mod metrics;
mod model;
mod nesting;
mod single_flight;
mod telling_apart;

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

/// Presents this token with these headers beside it.
async fn admit_with(
    verifier: &(impl Verify + Clone),
    token: &str,
    headers: &[(&str, &str)],
) -> Result<Token, AuthError> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    ResourceServer::new(verifier.clone()).authenticate(&request.body(()).unwrap().into_parts().0).await
}

async fn authenticate(verifier: &(impl Verify + Clone), token: &str) -> Result<Token, AuthError> {
    admit_with(verifier, token, &[]).await
}

/// Whom the token acts for, or why it is refused.
async fn subject(verifier: &(impl Verify + Clone), token: &str) -> Result<String, AuthErrorKind> {
    let token = authenticate(verifier, token).await.map_err(|error| error.kind())?;
    Ok(token.subject().unwrap_or_default().to_owned())
}

/// A request of its own with this token.
fn asking<V: Verify>(cached: &Cached<V>, token: &'static str) -> JoinHandle<Result<String, AuthErrorKind>> {
    let cached = cached.clone();
    tokio::spawn(async move { subject(&cached, token).await })
}

/// The seconds of the epoch, in so long.
fn later(clock: &ManualClock, time: Duration) -> f64 {
    clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() + time.as_secs_f64()
}

/// A clock at a whole second, so that no date has to be rounded.
fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

/// Until this holds; no test sleeps and hopes.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it never came about");
}

/// An authorization server without the network: it knows some tokens, and counts what it is asked. A question is answered
/// when the door is open, by what is known then.
#[derive(Clone)]
struct Server {
    known: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<AtomicUsize>,
    door: watch::Sender<bool>,
}

#[derive(Clone)]
enum Answer {
    Active(Value),
    Failure,
    Panic,
}

impl Server {
    fn new() -> Self {
        Self { known: Arc::default(), asked: Arc::default(), door: watch::Sender::new(true) }
    }

    /// One that knows Ada's token `ada`.
    fn of_ada() -> Self {
        let server = Self::new();
        server.says("ada", Answer::Active(json!({"sub": "ada"})));
        server
    }

    fn says(&self, token: &str, answer: Answer) {
        self.known.lock().unwrap().insert(token.to_owned(), answer);
    }

    fn revoke(&self, token: &str) {
        self.known.lock().unwrap().remove(token);
    }

    fn shut(&self) {
        self.door.send_replace(false);
    }

    fn open(&self) {
        self.door.send_replace(true);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn question(&self, token: &str, presented: &PresentedToken<'_>) -> Verdict {
        let (server, token, permit, mut door) =
            (self.clone(), token.to_owned(), presented.permit(), self.door.subscribe());
        Verdict::later(async move {
            server.asked.fetch_add(1, Ordering::SeqCst);
            door.wait_for(|open| *open).await.unwrap();
            let answer = server.known.lock().unwrap().get(&token).cloned();
            match answer {
                Some(Answer::Active(claims)) => permit.token(&claims),
                Some(Answer::Failure) => Err(AuthError::unavailable(SECOND)),
                Some(Answer::Panic) => panic!("the verifier has a bug"),
                None => Err(AuthError::invalid_token()),
            }
        })
    }
}

impl Verify for Server {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.question(presented.token(), presented)
    }
}

/// Counts how often the one inside is asked, and hands everything on.
#[derive(Clone)]
struct Counting<V> {
    inside: V,
    asked: Arc<AtomicUsize>,
}

impl<V> Counting<V> {
    fn new(inside: V) -> Self {
        Self { inside, asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl<V: Verify> Verify for Counting<V> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inside.verify(presented)
    }

    fn verify_own(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let verdict = self.inside.verify_own(presented)?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        Some(verdict)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.inside.cache_key(presented, key);
    }

    fn still_holds(&self, token: &Token) -> bool {
        self.inside.still_holds(token)
    }
}

/// A cache of this server's verdicts, and the clock of both.
fn cached(server: &Server, max_age: Duration) -> (Cached<Server>, ManualClock) {
    let clock = clock();
    (Cached::new(server.clone(), max_age).clock(clock.clone()), clock)
}
