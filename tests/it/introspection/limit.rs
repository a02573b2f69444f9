//! The limit of introspection requests: how many run at a time, which tokens get a slot, and which calls are stopped when
//! all of them are in use. Nothing that a client does may keep out the tokens that were active lately.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::poll_immediate};
use http::{Request, Response};
use proptest::prelude::*;
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};
use tower_oauth::{
    AuthError, Cached, IntrospectionVerifier, JwtOrOpaque, ResourceServer, Token,
    error::AuthErrorKind,
    fetch::{Fetch, FetchError, FetchFuture},
    testing::ManualClock,
    verify::{IntrospectionVerifierBuilder, PresentedToken, Verdict, Verify},
};

use crate::{
    introspection::client,
    random::check,
    support::{API, ISSUER, issuer},
};

const HOUR: Duration = Duration::from_secs(3600);

type Reply = Result<Response<Bytes>, FetchError>;

/// An introspection endpoint without the network, whose calls end when the test says so.
#[derive(Clone, Default)]
struct HeldCalls {
    state: Arc<Mutex<HeldState>>,
}

#[derive(Default)]
struct HeldState {
    waiting: HashMap<String, Vec<oneshot::Sender<Reply>>>,
    running: usize,
    most: usize,
}

/// A running call. It counts until it is dropped.
struct Running(Arc<Mutex<HeldState>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().unwrap().running -= 1;
    }
}

impl HeldCalls {
    fn verifier(
        &self,
        clock: &ManualClock,
        configure: impl FnOnce(IntrospectionVerifierBuilder) -> IntrospectionVerifierBuilder,
    ) -> IntrospectionVerifier {
        let builder = IntrospectionVerifier::builder(issuer().issuer(), client(), API);
        let builder = builder.endpoint("https://one.test/introspect").fetch(self.clone()).clock(clock.clone());
        configure(builder).build().unwrap()
    }

    fn running(&self) -> usize {
        self.state.lock().unwrap().running
    }

    fn most(&self) -> usize {
        self.state.lock().unwrap().most
    }

    /// Ends every running call for this token.
    fn end(&self, token: &str, reply: impl Fn() -> Reply) {
        for call in self.state.lock().unwrap().waiting.remove(token).unwrap_or_default() {
            call.send(reply()).ok();
        }
    }

    fn end_active(&self, token: &str) {
        self.end(token, || Ok(Response::new(active(token))));
    }

    fn tokens(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let running = state.waiting.iter().filter(|(_, calls)| calls.iter().any(|call| !call.is_closed()));
        running.map(|(token, _)| token.clone()).collect()
    }
}

fn active(subject: &str) -> Bytes {
    json!({"active": true, "iss": ISSUER, "aud": API, "sub": subject}).to_string().into()
}

impl Fetch for HeldCalls {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        let body = String::from_utf8(request.into_body().to_vec()).unwrap();
        let token = body.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap().to_owned();
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock().unwrap();
        state.running += 1;
        state.most = state.most.max(state.running);
        state.waiting.entry(token).or_default().push(sender);
        let running = Running(Arc::clone(&self.state));
        FetchFuture::new(async move {
            let _running = running;
            receiver.await.unwrap_or_else(|_| Err(FetchError::new("the test ended")))
        })
    }
}

type Verdicts = JoinHandle<Result<Token, AuthError>>;

fn send(verifier: &Arc<dyn Verify>, token: &str) -> Verdicts {
    let (server, token) = (ResourceServer::new(Arc::clone(verifier)), token.to_owned());
    tokio::spawn(async move { server.authenticate_token(&token).await })
}

/// Lets every task run until all of them wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn kind(verdict: Verdicts) -> Option<AuthErrorKind> {
    verdict.await.unwrap().err().map(|error| error.kind())
}

/// A verifier with four slots, one of them reserved, of which `configure` makes more.
fn four_slots(held: &HeldCalls, clock: &ManualClock) -> IntrospectionVerifier {
    held.verifier(clock, |builder| builder.max_concurrent_calls(4))
}

/// Threat V1
#[tokio::test]
async fn at_most_the_configured_number_of_calls_runs_and_the_rest_gets_503_after_a_quarter_second() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let verifier: Arc<dyn Verify> = Arc::new(four_slots(&held, &clock));
    let requests: Vec<_> = (0..100).map(|index| send(&verifier, &format!("unknown-{index}"))).collect();
    settle().await;
    assert_eq!(held.running(), 3, "one of four slots is reserved");
    // Four wait; the others were refused at once, because the queue is as long as the limit.
    assert_eq!(requests.iter().filter(|request| request.is_finished()).count(), 100 - 3 - 4);
    clock.advance(Duration::from_millis(249));
    settle().await;
    assert_eq!(requests.iter().filter(|request| request.is_finished()).count(), 100 - 3 - 4);
    clock.advance(Duration::from_millis(1));
    settle().await;
    assert_eq!(requests.iter().filter(|request| request.is_finished()).count(), 100 - 3);
    for token in held.tokens() {
        held.end_active(&token);
    }
    let mut accepted = 0;
    for request in requests {
        match request.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(error) => assert_eq!((error.kind(), error.reason()), (AuthErrorKind::Unavailable, "unavailable")),
        }
    }
    assert_eq!((accepted, held.most(), held.running()), (3, 3, 0));
}

/// Threat V1
#[tokio::test]
async fn a_hundred_calls_run_at_a_time_by_default() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let verifier: Arc<dyn Verify> = Arc::new(held.verifier(&clock, |builder| builder));
    let requests: Vec<_> = (0..500).map(|index| send(&verifier, &format!("unknown-{index}"))).collect();
    settle().await;
    assert_eq!(held.running(), 75, "25 of 100 slots are reserved");
    drop(requests);
}

/// Threat V1
#[tokio::test]
async fn a_waiting_token_gets_the_next_free_slot() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let verifier: Arc<dyn Verify> = Arc::new(four_slots(&held, &clock));
    let first: Vec<_> = ["a", "b", "c"].map(|token| send(&verifier, token)).into();
    settle().await;
    let next = send(&verifier, "next");
    settle().await;
    assert!(!held.tokens().contains(&"next".to_owned()));
    held.end_active("b");
    settle().await;
    assert!(held.tokens().contains(&"next".to_owned()), "it waited for less than a quarter of a second");
    held.end_active("next");
    assert_eq!(kind(next).await, None);
    drop(first);
}

/// Threat V1
#[tokio::test]
async fn tokens_that_were_active_lately_have_reserved_slots() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let verifier: Arc<dyn Verify> = Arc::new(four_slots(&held, &clock));
    let accept = async |token: &str| {
        let request = send(&verifier, token);
        settle().await;
        held.end_active(token);
        kind(request).await
    };
    assert_eq!(accept("ada").await, None);
    let strangers: Vec<_> = (0..50).map(|index| send(&verifier, &format!("unknown-{index}"))).collect();
    settle().await;
    assert_eq!(held.running(), 3);
    for _ in 0..10 {
        assert_eq!(accept("ada").await, None, "all shared slots are in use");
    }
    // After an hour, and after the issuer reported it as inactive, a token is as unknown as any other.
    clock.advance(HOUR);
    settle().await;
    let strangers_again: Vec<_> = (50..100).map(|index| send(&verifier, &format!("unknown-{index}"))).collect();
    settle().await;
    assert_eq!(kind(send(&verifier, "ada")).await, Some(AuthErrorKind::Unavailable));
    drop((strangers, strangers_again));
}

/// Threat V1
#[tokio::test]
async fn an_inactive_token_loses_its_reserved_slot() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let verifier: Arc<dyn Verify> = Arc::new(four_slots(&held, &clock));
    let request = send(&verifier, "ada");
    settle().await;
    held.end_active("ada");
    assert_eq!(kind(request).await, None);
    let request = send(&verifier, "ada");
    settle().await;
    held.end("ada", || Ok(Response::new(r#"{"active":false}"#.into())));
    assert_eq!(kind(request).await, Some(AuthErrorKind::InvalidToken));
    let strangers: Vec<_> = (0..50).map(|index| send(&verifier, &format!("unknown-{index}"))).collect();
    settle().await;
    assert_eq!(kind(send(&verifier, "ada")).await, Some(AuthErrorKind::Unavailable), "the queue is full");
    drop(strangers);
}

/// Behind a cache, a call continues when its client disconnects, until its slot is needed.
///
/// Threat V1
#[tokio::test]
async fn calls_without_a_waiting_client_are_stopped_first_when_slots_run_out() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let cached = Cached::builder(four_slots(&held, &clock), HOUR).clock(clock.clone()).build();
    // Also through a second cache and a verifier in between.
    let nested = JwtOrOpaque::new(issuer().verifier(API), cached.clone());
    let nested = Cached::builder(nested, HOUR).clock(clock.clone()).build();
    let shapes = [("one", Arc::new(cached.clone()) as Arc<dyn Verify>), ("two", Arc::new(nested))];
    for (shape, verifier) in shapes {
        let strangers: Vec<_> = (0..3).map(|index| send(&verifier, &format!("unknown-{index}"))).collect();
        settle().await;
        strangers.iter().for_each(JoinHandle::abort);
        settle().await;
        assert_eq!(held.running(), 3, "there is room, so the calls continue");
        let names = ["ada", "edsger", "grace"].map(|name| format!("{name}-{shape}"));
        let honest: Vec<_> = names.iter().map(|token| send(&verifier, token)).collect();
        settle().await;
        let mut tokens = held.tokens();
        tokens.sort();
        assert_eq!((&*tokens, held.running()), (&names[..], 3), "{shape}");
        // Now a client waits for each call, so none is stopped.
        let late = send(&verifier, "late");
        settle().await;
        assert_eq!(held.running(), 3);
        clock.advance(Duration::from_millis(250));
        assert_eq!(kind(late).await, Some(AuthErrorKind::Unavailable));
        for (token, request) in names.iter().zip(honest) {
            held.end_active(token);
            assert_eq!(kind(request).await, None, "{token}");
        }
        cached.clear();
    }
}

/// Threat V1
#[tokio::test]
async fn a_call_with_one_of_several_waiting_clients_left_is_not_stopped() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let verifier: Arc<dyn Verify> =
        Arc::new(Cached::builder(four_slots(&held, &clock), HOUR).clock(clock.clone()).build());
    let shared: Vec<_> = (0..5).map(|_| send(&verifier, "shared")).collect();
    let others: Vec<_> = ["x", "y"].map(|token| send(&verifier, token)).into();
    settle().await;
    shared[1..].iter().for_each(JoinHandle::abort);
    settle().await;
    let late = send(&verifier, "late");
    settle().await;
    assert_eq!(held.running(), 3);
    clock.advance(Duration::from_millis(250));
    assert_eq!(kind(late).await, Some(AuthErrorKind::Unavailable));
    held.end_active("shared");
    let [first, ..] = <[_; 5]>::try_from(shared).unwrap();
    assert_eq!(kind(first).await, None);
    drop(others);
}

/// Threat V1
#[tokio::test]
async fn a_full_table_of_the_cache_stops_calls_without_a_waiting_client_first() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let verifier = held.verifier(&clock, |builder| builder.max_concurrent_calls(1_000));
    let verifier: Arc<dyn Verify> = Arc::new(Cached::builder(verifier, HOUR).clock(clock.clone()).build());
    let strangers: Vec<_> = (0..1024).map(|index| send(&verifier, &format!("unknown-{index}"))).collect();
    settle().await;
    assert_eq!(kind(send(&verifier, "ada")).await, Some(AuthErrorKind::Unavailable), "clients wait for all of them");
    strangers.iter().for_each(JoinHandle::abort);
    settle().await;
    clock.advance(Duration::from_millis(100));
    let honest = send(&verifier, "ada");
    settle().await;
    held.end_active("ada");
    assert_eq!(kind(honest).await, None);
}

/// Threat V1
#[test]
fn a_limit_of_no_or_too_many_calls_is_a_configuration_mistake() {
    let builder = IntrospectionVerifier::builder(issuer().issuer(), client(), API).endpoint("https://one.test/i");
    let error = builder.fetch(HeldCalls::default()).max_concurrent_calls(0).build().unwrap_err().to_string();
    assert!(error.contains("max_concurrent_calls: 0 permits no call; give at least 1"), "{error}");
    let builder = IntrospectionVerifier::builder(issuer().issuer(), client(), API).endpoint("https://one.test/i");
    let error = builder.fetch(HeldCalls::default()).max_concurrent_calls(1001).build().unwrap_err().to_string();
    assert!(error.contains("max_concurrent_calls: 1001 is too many; give at most 1000"), "{error}");
}

/// What happens in a random order.
#[derive(Debug, Clone)]
enum Event {
    Send(u8),
    Disconnect(u8),
    Answer(u8, bool),
    Pass(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0_u8..24).prop_map(Event::Send),
        2 => (0_u8..24).prop_map(Event::Disconnect),
        2 => (0_u8..24, any::<bool>()).prop_map(|(token, active)| Event::Answer(token, active)),
        1 => (0_u16..400).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..150)
}

/// With any order of requests, disconnects, responses and waits: the number of calls is bounded; a known token is never refused
/// while fewer known tokens are verified than slots are reserved; and no slot is lost.
///
/// Threat V1
#[test]
fn keeps_its_promises_for_any_order_of_events() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for behind_a_cache in [false, true] {
        check(100, events(), |events| runtime.block_on(run(&events, behind_a_cache)));
    }
}

async fn run(events: &[Event], behind_a_cache: bool) -> Result<(), TestCaseError> {
    const SLOTS: usize = 8;
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let introspection = held.verifier(&clock, |builder| builder.max_concurrent_calls(SLOTS));
    let verifier: Arc<dyn Verify> = if behind_a_cache {
        Arc::new(Cached::builder(introspection, Duration::ZERO).clock(clock.clone()).build())
    } else {
        Arc::new(introspection)
    };
    let (mut open, mut known) = (HashMap::<u8, Verdicts>::new(), HashSet::new());
    for event in events {
        match event {
            Event::Send(token) => {
                // At most one request for each known token, and no more of them than slots are reserved.
                let known_open = open.keys().filter(|token| known.contains(*token)).count();
                if known.contains(token) && (open.contains_key(token) || known_open >= SLOTS / 4) {
                    continue;
                }
                open.entry(*token).or_insert_with(|| send(&verifier, &format!("token-{token}")));
                settle().await;
                if known.contains(token) {
                    let name = format!("token-{token}");
                    prop_assert!(held.tokens().contains(&name), "a known token waits: {token}");
                }
            }
            Event::Disconnect(token) => {
                if let Some(request) = open.remove(token) {
                    request.abort();
                }
            }
            Event::Answer(token, active_token) => {
                let name = format!("token-{token}");
                let waits = held.tokens().contains(&name);
                let body = if *active_token { active(&name) } else { r#"{"active":false}"#.into() };
                held.end(&name, || Ok(Response::new(body.clone())));
                settle().await;
                if waits && *active_token {
                    known.insert(*token);
                } else if waits {
                    known.remove(token);
                }
            }
            Event::Pass(milliseconds) => clock.advance(Duration::from_millis((*milliseconds).into())),
        }
        settle().await;
        prop_assert!(held.running() <= SLOTS, "{} calls run", held.running());
        open.retain(|_, request| !request.is_finished());
    }
    for request in open.into_values() {
        request.abort();
    }
    // A call that waited for a slot starts when another one ends.
    while !held.tokens().is_empty() {
        held.tokens().iter().for_each(|token| held.end_active(token));
        settle().await;
    }
    prop_assert_eq!(held.running(), 0);
    let requests: Vec<_> = (0..20).map(|index| send(&verifier, &format!("last-{index}"))).collect();
    settle().await;
    prop_assert_eq!(held.running(), SLOTS - SLOTS / 4, "every slot is free again");
    drop(requests);
    Ok(())
}

/// A verifier of the application that never returns.
struct Hangs;

impl Verify for Hangs {
    fn verify(&self, _: &PresentedToken<'_>) -> Verdict {
        Verdict::later(std::future::pending())
    }
}

/// Threat V2
#[tokio::test]
async fn a_verifier_that_hangs_gets_503_after_the_verification_timeout() {
    let builder = |clock: &ManualClock| ResourceServer::builder(Hangs).clock(clock.clone());
    for (milliseconds, configured) in [(10_000, false), (2_000, true)] {
        let clock = ManualClock::default();
        let timeout = Duration::from_millis(milliseconds);
        let builder = if configured { builder(&clock).verification_timeout(timeout) } else { builder(&clock) };
        let server = builder.build().unwrap();
        let mut verdict = Box::pin(server.authenticate_token("token"));
        assert!(poll_immediate(&mut verdict).await.is_none());
        clock.advance(Duration::from_millis(milliseconds - 1));
        assert!((&mut verdict).now_or_never().is_none());
        clock.advance(Duration::from_millis(1));
        let error = verdict.now_or_never().unwrap().unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Unavailable);
        let challenge = server.challenge(&error);
        assert_eq!(challenge.status(), 503);
    }
    let zero = ResourceServer::builder(Hangs).verification_timeout(Duration::ZERO).build().unwrap_err().to_string();
    assert!(zero.contains("verification_timeout: it is zero"), "{zero}");
}

/// Passes everything on; reads the request, and adds it to the key only if told so.
struct ReadsRequest<V>(V, bool);
impl<V: Verify> Verify for ReadsRequest<V> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let _ = presented.parts();
        self.0.verify(presented)
    }
    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut tower_oauth::verify::CacheKey) {
        if self.1 {
            key.add(presented.parts().uri.path());
        }
        self.0.cache_key(presented, key);
    }
}

/// Threat V1
#[tokio::test]
async fn unwanted_calls_behind_an_inner_cache_that_cannot_cache_are_stopped() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let inner = Cached::builder(ReadsRequest(four_slots(&held, &clock), false), HOUR).clock(clock.clone()).build();
    let outer = Cached::builder(ReadsRequest(inner, true), HOUR).clock(clock.clone()).build();
    let verifier: Arc<dyn Verify> = Arc::new(outer);
    let requests: Vec<_> = ["a", "b", "c"].map(|token| send(&verifier, token)).into();
    settle().await;
    assert_eq!(held.running(), 3);
    requests.iter().for_each(JoinHandle::abort);
    settle().await;
    let next = send(&verifier, "next");
    settle().await;
    assert!(held.tokens().contains(&"next".to_owned()), "{:?}", held.tokens());
    held.end_active("next");
    assert_eq!(kind(next).await, None);
}

/// Threat V1
#[tokio::test]
async fn a_free_slot_goes_to_a_call_that_a_client_waits_for() {
    let (held, clock) = (HeldCalls::default(), ManualClock::default());
    let verifier: Arc<dyn Verify> = Arc::new(held.verifier(&clock, |b| b.max_concurrent_calls(4)));
    let verifier: Arc<dyn Verify> = Arc::new(Cached::builder(verifier, HOUR).clock(clock.clone()).build());
    let first: Vec<_> = ["a", "b", "c"].map(|token| send(&verifier, token)).into();
    settle().await;
    let waiting = send(&verifier, "w");
    let other = send(&verifier, "x");
    settle().await;
    waiting.abort();
    settle().await;
    held.end_active("a");
    settle().await;
    assert!(held.tokens().contains(&"x".to_owned()), "{:?}", held.tokens());
    drop((first, other));
}

/// Metadata and introspection without the network.
#[derive(Clone)]
struct SlowMetadata {
    metadata_calls: Arc<std::sync::atomic::AtomicUsize>,
    metadata: fn(usize) -> FetchFuture,
}

fn metadata_document() -> FetchFuture {
    FetchFuture::new(async {
        tokio::task::yield_now().await;
        let document = json!({"issuer": ISSUER, "jwks_uri": "https://auth.test/jwks",
            "introspection_endpoint": "https://auth.test/introspect"});
        Ok(Response::builder().header("content-type", "application/json").body(document.to_string().into()).unwrap())
    })
}

impl Fetch for SlowMetadata {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        let path = request.uri().path().to_owned();
        if path.contains(".well-known") {
            let number = self.metadata_calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return (self.metadata)(number);
        }
        if path != "/introspect" {
            return FetchFuture::new(std::future::pending());
        }
        let body = String::from_utf8(request.into_body().to_vec()).unwrap();
        let token = body.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap().to_owned();
        FetchFuture::new(async move {
            let status = if token.starts_with("eve") { 404 } else { 200 };
            Ok(Response::builder().status(status).body(active(&token)).unwrap())
        })
    }
}

fn verifier_with_metadata(clock: &ManualClock, metadata: fn(usize) -> FetchFuture) -> (SlowMetadata, Arc<dyn Verify>) {
    let fake = SlowMetadata { metadata_calls: Arc::default(), metadata };
    let issuer = tower_oauth::Issuer::builder(ISSUER).fetch(fake.clone()).clock(clock.clone()).build().unwrap();
    let builder = IntrospectionVerifier::builder(issuer, client(), API).clock(clock.clone()).circuit_breaker();
    (fake, Arc::new(builder.build().unwrap()))
}

/// Threat V3
#[tokio::test]
async fn a_404_for_a_stranger_makes_no_known_token_wait_for_slow_metadata() {
    let clock = ManualClock::default();
    let (_, verifier) = verifier_with_metadata(&clock, |n| {
        if n == 0 { metadata_document() } else { FetchFuture::new(std::future::pending()) }
    });
    assert_eq!(kind(send(&verifier, "ada")).await, None);
    let mut waited = 0;
    for second in 0..20 {
        clock.advance(Duration::from_secs(2));
        settle().await;
        kind(send(&verifier, "eve")).now_or_never();
        let eve = send(&verifier, &format!("eve-{second}"));
        settle().await;
        let ada = send(&verifier, "ada");
        settle().await;
        waited += usize::from(!ada.is_finished());
        clock.advance(Duration::from_millis(1500));
        settle().await;
        drop((eve, ada));
    }
    assert!(waited <= 1, "a known token waited {waited} of 20 times");
}

/// Threat V3
#[tokio::test]
async fn an_old_failure_of_the_metadata_refuses_no_token() {
    let clock = ManualClock::default();
    let (_, verifier) = verifier_with_metadata(&clock, |n| {
        if n < 2 { FetchFuture::new(async { Err(FetchError::new("down")) }) } else { metadata_document() }
    });
    assert_eq!(kind(send(&verifier, "ada")).await, Some(AuthErrorKind::Unavailable));
    clock.advance(HOUR);
    let requests: Vec<_> = (0..8).map(|n| send(&verifier, &format!("user-{n}"))).collect();
    let mut refused = 0;
    for request in requests {
        refused += usize::from(kind(request).await.is_some());
    }
    let after = kind(send(&verifier, "ada")).await;
    assert_eq!((refused, after), (0, None));
}

#[test]
fn a_verdict_that_is_ready_needs_no_timer() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let server = ResourceServer::new(crate::support::verifier_from(|presented| {
        let permit = presented.permit();
        Verdict::later(async move { permit.token(&json!({"sub": "ada"})) })
    }));
    assert!(runtime.block_on(server.authenticate_token("x")).is_ok());
}
