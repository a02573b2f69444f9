//! `TokenLifetime`: when a token ends, how its verifier is asked again, and how it is renewed. The tests move the clock.

mod program;
mod recheck;
mod renewal;
mod requests;
mod streams;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::{Layer as _, Service as _, service_fn};
use tower_oauth::{
    AuthError, OAuthLayer, ResourceServer,
    error::AuthErrorKind,
    lifetime::{Ended, TokenLifetime},
    testing::{ManualClock, TestToken},
    verify::{BearerMethod, Verdict, Verify},
};

use crate::{
    log::Log,
    support::{API, issuer, verifier_from},
};

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW))
}

pub(super) fn server(verifier: impl Verify, clock: &ManualClock) -> ResourceServer {
    ResourceServer::builder(verifier).clock(clock.clone()).build().unwrap()
}

/// Sends a request through the layer, and returns the lifetime that its handler gets.
pub(super) async fn request(server: ResourceServer, request: Request<String>) -> Result<TokenLifetime, AuthError> {
    let found: Arc<Mutex<Option<Result<TokenLifetime, AuthError>>>> = Arc::default();
    let handler = {
        let found = Arc::clone(&found);
        service_fn(move |request: Request<String>| {
            *found.lock().unwrap() = Some(TokenLifetime::of(request.extensions()));
            async { Ok::<_, Infallible>(Response::new(String::new())) }
        })
    };
    let response = OAuthLayer::from_server(server).token_lifetimes().layer(handler).call(request).await.unwrap();
    let found = found.lock().unwrap().take();
    found.unwrap_or_else(|| Err(response.extensions().get::<AuthError>().unwrap().clone()))
}

pub(super) async fn lifetime(server: ResourceServer, token: &str) -> TokenLifetime {
    let head = Request::get("/").header("authorization", format!("Bearer {token}")).header("x-tenant", "acme");
    request(server, head.body(String::new()).unwrap()).await.unwrap()
}

/// A JWT of Ada's that expires this long after [`NOW`].
pub(super) fn expires_after(time: Duration) -> String {
    let exp = NOW + time.as_secs();
    issuer().token("ada").scope("orders:read").claim("iat", NOW).claim("exp", exp).sign()
}

/// A server of JWTs with this clock.
pub(super) fn jwt_server(clock: &ManualClock) -> ResourceServer {
    server(issuer().verifier_builder(API).clock(clock.clone()).build().unwrap(), clock)
}

/// Whether the lifetime has ended by now.
pub(super) fn has_ended(lifetime: &TokenLifetime) -> bool {
    lifetime.ended().now_or_never().is_some()
}

/// Emits each event once that the tests look for. tracing decides for each place in the code whether its events are wanted when it
/// is first reached, and again when a log is made. With one log in the process it asks only that of the current thread, so a
/// test without a log must not be the first there.
pub(super) async fn reach_the_events() {
    let events = async {
        let mut extensions = http::Extensions::new();
        TokenLifetime::of(&extensions).unwrap_err();
        extensions.insert(TestToken::user("ada").build());
        TokenLifetime::of(&extensions).unwrap_err();
        let lifetime = lifetime(server(Chosen::ada().verifier(), &clock()), "a").await;
        lifetime.renew("no token").await.unwrap_err();
    };
    Log::default().capture(events).await;
}

pub(super) fn reason_of(ended: &Ended) -> &'static str {
    match ended {
        Ended::Refused(error) => error.reason(),
        _ => "expired",
    }
}

/// What a verifier of the tests was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) token: String,
    pub(super) method: BearerMethod,
    pub(super) uri: http::Uri,
    pub(super) headers: http::HeaderMap,
}

/// A verifier whose verdict the test chooses. It counts its calls.
#[derive(Clone)]
pub(super) struct Chosen {
    verdict: Arc<Mutex<Result<Value, AuthError>>>,
    asked: watch::Sender<Vec<Asked>>,
}

impl Chosen {
    pub(super) fn new(claims: Value) -> Self {
        Self { verdict: Arc::new(Mutex::new(Ok(claims))), asked: watch::Sender::new(Vec::new()) }
    }

    /// Accepts Ada's tokens, without `exp`.
    pub(super) fn ada() -> Self {
        Self::new(json!({"iss": "https://auth.test", "sub": "ada", "client_id": "web", "scope": "orders:read"}))
    }

    pub(super) fn choose(&self, verdict: Result<Value, AuthError>) {
        *self.verdict.lock().unwrap() = verdict;
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// Waits until the verifier was asked this often.
    pub(super) async fn asked_times(&self, times: usize) {
        self.asked.subscribe().wait_for(|asked| asked.len() >= times).await.unwrap();
    }

    pub(super) fn verifier(&self) -> impl Verify {
        let this = self.clone();
        verifier_from(move |presented| {
            let asked = Asked {
                token: presented.token().to_owned(),
                method: presented.bearer_method(),
                uri: presented.parts().uri.clone(),
                headers: presented.parts().headers.clone(),
            };
            this.asked.send_modify(|all| all.push(asked));
            let verdict = this.verdict.lock().unwrap().clone();
            Verdict::Now(verdict.and_then(|claims| presented.permit().token(&claims)))
        })
    }
}

/// RFC 9068 §2.2 c (MUST, accepts)
#[tokio::test]
async fn a_token_ends_exactly_at_exp_by_the_servers_clock() {
    let clock = clock();
    let lifetime = lifetime(jwt_server(&clock), &expires_after(60 * SECOND)).await;
    let waiting = tokio::spawn(lifetime.ended());
    clock.advance(Duration::from_millis(59_999));
    assert!(!has_ended(&lifetime) && !waiting.is_finished());
    clock.advance(Duration::from_millis(1));
    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Ended::Expired), "{ended:?}");
    assert_eq!((ended.description(), ended.to_string()), ("The access token expired", ended.description().to_owned()));
    assert!(has_ended(&lifetime), "the end is not reported only once");
}

/// RFC 9068 §2.2 c (MUST, refuses)
#[tokio::test]
async fn a_token_that_is_accepted_within_the_leeway_has_ended_already() {
    let clock = clock();
    let token = expires_after(SECOND);
    clock.advance(5 * SECOND);
    assert!(has_ended(&lifetime(jwt_server(&clock), &token).await));
}

/// RFC 9068 §2.2 c (MUST, refuses)
#[tokio::test]
async fn a_token_without_exp_does_not_end_by_time() {
    let (clock, chosen) = (clock(), Chosen::ada());
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await;
    let waiting = tokio::spawn(lifetime.ended());
    clock.advance(Duration::from_secs(100 * 365 * 86_400));
    assert!(!has_ended(&lifetime) && !waiting.is_finished());
    assert_eq!(chosen.asked().len(), 1, "without recheck_every the verifier is not asked again");
}

/// RFC 9068 §2.2 c (MUST, refuses)
#[tokio::test]
async fn the_time_of_a_suspended_machine_counts_and_is_noticed_within_half_a_minute() {
    let clock = clock();
    let lifetime = lifetime(jwt_server(&clock), &expires_after(3_600 * SECOND)).await;
    let waiting = tokio::spawn(lifetime.ended());
    tokio::task::yield_now().await;
    clock.suspend(3_600 * SECOND);
    clock.advance(30 * SECOND);
    assert!(matches!(waiting.await.unwrap(), Ended::Expired));
}

/// RFC 9068 §2.2 c (MUST, refuses)
#[tokio::test]
async fn a_time_of_day_that_is_set_back_lengthens_no_lifetime() {
    let clock = clock();
    let lifetime = lifetime(jwt_server(&clock), &expires_after(60 * SECOND)).await;
    clock.set(UNIX_EPOCH + Duration::from_secs(NOW - 86_400));
    assert!(!has_ended(&lifetime));
    clock.advance(60 * SECOND);
    assert!(matches!(lifetime.ended().await, Ended::Expired));
}

/// RFC 9068 §2.2 c (MUST, accepts)
#[tokio::test]
async fn a_token_of_a_first_message_has_a_lifetime_too() {
    let clock = clock();
    let lifetime = TokenLifetime::authenticate(&jwt_server(&clock), &expires_after(60 * SECOND)).await.unwrap();
    assert_eq!(lifetime.token().subject(), Some("ada"));
    assert!(!has_ended(&lifetime));
    clock.advance(60 * SECOND);
    assert!(has_ended(&lifetime));
    let error = TokenLifetime::authenticate(&jwt_server(&clock), "a.b.c").await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::InvalidToken);
}
