//! What operators see: an event for everything that happens, with its exact reason and without a secret.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use metrics_util::debugging::DebuggingRecorder;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientRegistry, Clients, Event, EventKind, MemoryStore, RefreshTokenGrant,
        SessionId, StoreError, TokenEndpoint,
    },
};

use super::{
    AUTHORIZE, Answer, ISSUER, OPAQUE, VERIFIER, World, assertion, basic, sent,
    stores::faulty_store::{Fault, FaultyStore},
    usual,
};
use crate::log::Log;

/// An event, with texts of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    kind: EventKind,
    client: Option<String>,
    subject: Option<String>,
    grant: Option<String>,
    session: Option<SessionId>,
    error: Option<&'static str>,
    reason: Option<String>,
}

impl Seen {
    fn new(event: &Event<'_>) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Self {
            kind: event.kind(),
            client: own(event.client_id()),
            subject: own(event.subject()),
            grant: own(event.grant_type()),
            session: event.session(),
            error: event.error(),
            reason: own(event.reason()),
        }
    }

    /// Checks everything but the session.
    #[track_caller]
    fn is(&self, kind: EventKind, [client, subject, grant]: [&str; 3], [error, reason]: [&str; 2]) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let found = (self.kind, [text(&self.client), text(&self.subject), text(&self.grant)]);
        assert_eq!(found, (kind, [client, subject, grant].map(str::to_owned)), "{self:?}");
        assert_eq!([self.error.unwrap_or_default(), &*text(&self.reason)], [error, reason], "{self:?}");
    }
}

#[derive(Clone, Default)]
struct Trail(Arc<Mutex<Vec<Seen>>>);

impl Trail {
    /// Returns the events since the last call, without those about keys, which have no request as their cause.
    fn take(&self) -> Vec<Seen> {
        let of_keys = [EventKind::KeyAdded, EventKind::KeyUsed, EventKind::KeyWithdrawn];
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.into_iter().filter(|seen| !of_keys.contains(&seen.kind)).collect()
    }

    #[track_caller]
    fn one(&self) -> Seen {
        let [seen] = <[Seen; 1]>::try_from(self.take()).unwrap();
        seen
    }
}

fn watched() -> (World, FaultyStore<MemoryStore>, Trail) {
    let (store, trail) = (FaultyStore::new(MemoryStore::new()), Trail::default());
    let world = World::with(|builder| {
        let trail = trail.clone();
        builder
            .store(store.clone())
            .grant(AuthorizationCodeGrant::new(AUTHORIZE))
            .grant(RefreshTokenGrant::new())
            .observe(move |event| trail.0.lock().unwrap().push(Seen::new(event)))
    });
    (world, store, trail)
}

const NONE: [&str; 3] = [""; 3];
const NO_ERROR: [&str; 2] = [""; 2];
const USED: [&str; 2] = ["invalid_grant", "it was used before"];

#[tokio::test]
async fn each_step_of_a_session_is_an_event_with_client_user_grant_and_session() {
    let (world, _, trail) = watched();
    let code = world.code(&[]).await;
    let approved = trail.one();
    approved.is(EventKind::Approved, ["app", "ada", ""], NO_ERROR);
    let session = approved.session.unwrap();
    let first = world.redeem(&code, &[]).await;
    let issued = trail.one();
    issued.is(EventKind::Issued, ["app", "ada", "authorization_code"], NO_ERROR);
    let second = world.refresh(first.text("refresh_token"), &[]).await;
    let refreshed = trail.one();
    refreshed.is(EventKind::Issued, ["app", "ada", "refresh_token"], NO_ERROR);
    world.refresh(second.text("refresh_token"), &[]).await.is_ok();
    assert_eq!([issued.session, refreshed.session, trail.one().session], [Some(session); 3]);
    let listed = world.endpoint.sessions_of_subject("ada", None).await.unwrap();
    assert_eq!(listed[0].id(), session);

    world.post("/revoke", "", &[("token", first.text("access_token")), ("client_id", "app")]).await.is_ok();
    trail.one().is(EventKind::Revoked, ["app", "", ""], NO_ERROR);
    world.refresh(first.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    let [theft, refused] = <[Seen; 2]>::try_from(trail.take()).unwrap();
    theft.is(EventKind::ReuseDetected, ["app", "ada", ""], NO_ERROR);
    assert_eq!(theft.session, Some(session));
    refused.is(EventKind::Refused, ["app", "", ""], USED);
}

/// RFC 9700 §2.2.2 (MUST, SHOULD, refuses)
#[tokio::test]
async fn a_reuse_that_only_the_store_finds_is_reported_too() {
    let (world, _, trail) = watched();
    let first = world.redeem(&world.code(&[]).await, &[]).await;
    world.refresh(first.text("refresh_token"), &[]).await.is_ok();
    trail.take();
    // It is the last one when it is read, and the grace has ended.
    world.clock.advance(Duration::from_secs(60));
    world.refresh(first.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    let [theft, refused] = <[Seen; 2]>::try_from(trail.take()).unwrap();
    theft.is(EventKind::ReuseDetected, ["app", "ada", ""], NO_ERROR);
    refused.is(EventKind::Refused, ["app", "", ""], ["invalid_grant", "the refresh token was used before"]);
}

#[tokio::test]
async fn the_end_of_a_session_and_a_code_used_twice_are_events() {
    let (world, _, trail) = watched();
    let code = world.code(&[]).await;
    let session = trail.one().session;
    world.redeem(&code, &[]).await.is_ok();
    trail.take();
    world.redeem(&code, &[]).await.is_error(400, "invalid_grant");
    let [replayed, refused] = <[Seen; 2]>::try_from(trail.take()).unwrap();
    replayed.is(EventKind::CodeReplayed, ["app", "ada", ""], NO_ERROR);
    assert_eq!(replayed.session, session);
    refused.is(EventKind::Refused, ["app", "", ""], USED);

    let first = world.redeem(&world.code(&[]).await, &[]).await;
    let session = trail.take()[0].session;
    world.post("/revoke", "", &[("token", first.text("refresh_token")), ("client_id", "app")]).await.is_ok();
    let ended = trail.one();
    ended.is(EventKind::SessionEnded, ["app", "ada", ""], NO_ERROR);
    assert_eq!(ended.session, session);

    world.redeem(&world.code(&[]).await, &[]).await.is_ok();
    let session = trail.take()[0].session;
    world.endpoint.end_sessions_of_subject("ada").await.unwrap();
    let ended = trail.one();
    assert_eq!((ended.kind, ended.session), (EventKind::SessionEnded, session));
}

/// Session 17 (design, accepts)
#[tokio::test]
async fn a_refusal_has_the_exact_reason_which_the_client_does_not_get() {
    let (world, store, trail) = watched();
    let own = [("grant_type", "client_credentials")];
    world.access_token("reports", &[]).await;
    trail.one().is(EventKind::Issued, ["reports", "reports", "client_credentials"], NO_ERROR);

    world.post("/token", &basic("reports", "wrong"), &own).await.is_error(401, "invalid_client");
    let wrong = trail.one();
    assert_eq!((wrong.error, wrong.reason.as_deref()), (Some("invalid_client"), Some("the client secret is wrong")));
    world.post("/token", &basic("no such client", "wrong"), &own).await.is_error(401, "invalid_client");
    trail.one().is(EventKind::Refused, NONE, ["invalid_client", "the client is unknown"]);
    world.token("reports", &[("scope", "admin")]).await.is_error(400, "invalid_scope");
    trail.one().is(
        EventKind::Refused,
        ["reports", "", ""],
        ["invalid_scope", "The requested scope exceeds what may be granted"],
    );

    let code = world.code(&[]).await;
    let first = world.redeem(&world.code(&[]).await, &[]).await;
    let unknown = world.code(&[]).await;
    world.endpoint.end_session(trail.take().last().unwrap().session.unwrap()).await.unwrap();
    trail.take();
    let other = VERIFIER.replace('d', "e");
    let text = first.text("refresh_token");
    for (answer, client, reason) in [
        (world.redeem("x", &[]).await, "app", "this is not a code"),
        (world.redeem(&unknown, &[]).await, "app", "the code is unknown or has expired, or its session has ended"),
        (world.redeem(&code, &[("code_verifier", &other)]).await, "app", "the code_verifier is missing or wrong"),
        (
            world.redeem(&code, &[("redirect_uri", "https://evil.test")]).await,
            "app",
            "the redirect_uri differs from that of the authorization request",
        ),
        (world.refresh("x", &[]).await, "app", "this is not a refresh token"),
    ] {
        answer.is_error(400, "invalid_grant");
        assert_eq!(answer.json["error_description"], "The code or refresh token is invalid");
        let seen = trail.0.lock().unwrap().remove(0);
        seen.is(EventKind::Refused, [client, "", ""], ["invalid_grant", reason]);
    }
    world.refresh(text, &[("client_id", "native")]).await.is_error(400, "invalid_grant");
    let seen = trail.one();
    assert!(seen.reason.as_deref().unwrap().starts_with("the refresh token was issued to another client"), "{seen:?}");

    store.fail_next_write(Fault::Unsent);
    assert_eq!(world.refresh(text, &[]).await.status(), 503);
    let [failed, refused] = <[Seen; 2]>::try_from(trail.take()).unwrap();
    failed.is(EventKind::StoreFailed, NONE, ["", "refresh"]);
    assert_eq!((refused.kind, refused.error), (EventKind::Refused, Some("temporarily_unavailable")));
}

#[tokio::test]
async fn a_client_that_is_held_off_is_named() {
    let (world, _, trail) = watched();
    let own = [("grant_type", "client_credentials")];
    for _ in 0..10 {
        world.post("/token", &basic("reports", "wrong"), &own).await.is_error(401, "invalid_client");
    }
    trail.take();
    let guess = async { world.post("/token", &basic("reports", "wrong"), &own).await };
    // The response is delayed by the endpoint's clock.
    let time = async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            world.clock.advance(Duration::from_millis(500));
        }
    };
    let (answer, ()) = tokio::join!(guess, time);
    answer.is_error(429, "temporarily_unavailable");
    let [held_off, refused] = <[Seen; 2]>::try_from(trail.take()).unwrap();
    held_off.is(EventKind::HeldOff, ["reports", "", ""], NO_ERROR);
    assert_eq!((refused.kind, refused.error), (EventKind::Refused, Some("temporarily_unavailable")));
}

#[tokio::test]
async fn a_slow_store_is_reported_with_the_operation() {
    let (world, store, trail) = watched();
    store.delay(Duration::from_millis(600));
    world.access_token("reports", &[]).await;
    let [slow, issued] = <[Seen; 2]>::try_from(trail.take()).unwrap();
    slow.is(EventKind::StoreSlow, NONE, ["", "issue"]);
    assert_eq!(issued.kind, EventKind::Issued);
}

const SUBJECT: &str = "user-4711-that-is-confidential";

/// Everything that a run through all endpoints has made or sent, which must not be in a log.
#[derive(Default)]
struct Secrets(Vec<String>);

impl Secrets {
    fn keep(&mut self, answer: &Answer) {
        self.0.extend(answer.json["refresh_token"].as_str().map(str::to_owned));
        self.0.extend(answer.json["access_token"].as_str().map(secret_part));
    }

    #[track_caller]
    fn are_not_in(&self, text: &str, what: &str) {
        for secret in &self.0 {
            // Any 20 characters in a row would be too many.
            let pieces = (0..secret.len().saturating_sub(19)).step_by(4).map(|start| &secret[start..start + 20]);
            for piece in pieces.chain([&**secret]) {
                assert!(!text.contains(piece), "{what} contains {piece:?} of {secret:?}");
            }
        }
    }
}

/// Returns a code or an access token without the id of its session, which is no secret.
fn secret_part(text: &str) -> String {
    if text.len() == 64 { text[22..].to_owned() } else { text.to_owned() }
}

/// Sends good and bad requests of all kinds.
async fn use_everything(world: &World, store: &FaultyStore<MemoryStore>) -> Secrets {
    let mut secrets = Secrets::default();
    let wrong_secret = "a wrong secret of a careless client";
    let own = [("grant_type", "client_credentials")];
    world.post("/token", &basic("reports", wrong_secret), &own).await;
    let approve = async || {
        let request = world.ask(&[]).await.unwrap();
        sent(&request.approve(SUBJECT, ["orders:read"]).await.map(Body::new)).swap_remove(0).1
    };
    let code = approve().await;
    let verifier = VERIFIER.replace('d', "e");
    world.redeem(&code, &[("code_verifier", &verifier)]).await;
    let first = world.redeem(&code, &[]).await;
    let second = world.refresh(first.text("refresh_token"), &[]).await;
    let third = world.refresh(second.text("refresh_token"), &[]).await;
    let own = world.token("reports", &[("resource", OPAQUE)]).await;
    for answer in [&first, &second, &third, &own] {
        secrets.keep(answer);
        world.introspect("watch", answer.text("access_token")).await;
    }
    for fault in Fault::ALL {
        store.fail_next_write(fault);
        world.refresh(third.text("refresh_token"), &[]).await;
    }
    store.fail_next_read();
    world.refresh(third.text("refresh_token"), &[]).await;
    world.refresh(first.text("refresh_token"), &[]).await;
    let other = approve().await;
    secrets.keep(&world.redeem(&other, &[]).await);
    world.redeem(&other, &[]).await;
    secrets.keep(&world.redeem(&approve().await, &[]).await);
    let signed = assertion(world, "an id of an assertion").sign();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &*signed),
    ];
    secrets.keep(&world.post("/token", "", &form).await);
    world.post("/token", "", &form).await.is_error(401, "invalid_client");
    world.post("/revoke", &usual("reports"), &[("token", own.text("access_token"))]).await;
    world.endpoint.sessions_of_subject(SUBJECT, None).await.unwrap();
    world.endpoint.end_sessions_of_subject(SUBJECT).await.unwrap();
    world.endpoint.is_ready().await.unwrap();
    assert!(secrets.0.len() >= 9);
    secrets.0.extend([
        secret_part(&code),
        secret_part(&other),
        verifier,
        VERIFIER.to_owned(),
        wrong_secret.to_owned(),
        signed,
    ]);
    secrets.0.extend(["reports-secret", "watch-secret"].map(str::to_owned));
    secrets
}

/// Runs the test on this thread, with a log and a recorder of metrics. Returns what was logged, and each label of a metric.
fn recorded(run: impl Future<Output = ()>) -> (String, String) {
    let (log, recorder) = (Log::default(), DebuggingRecorder::new());
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = log.install();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            // Another thread may register the place of an event while this log is installed, and turn it off for all threads.
            watched().0.code(&[]).await;
            tracing::callsite::rebuild_interest_cache();
            run.await;
        });
    });
    let keys = snapshotter.snapshot().into_vec().into_iter().map(|(key, ..)| key.key().to_string());
    (log.text(), keys.collect::<Vec<_>>().join("\n"))
}

/// Session 17 (design, refuses)
#[test]
fn no_event_no_log_line_and_no_metric_has_a_secret_and_the_log_names_no_user() {
    let (events, found) = (Trail::default(), Arc::new(Mutex::new(Secrets::default())));
    let (log, metrics) = recorded(async {
        let (world, store, trail) = watched();
        let secrets = use_everything(&world, &store).await;
        events.0.lock().unwrap().extend(trail.take());
        *found.lock().unwrap() = secrets;
    });
    let (events, secrets) = (events.take(), found.lock().unwrap());
    let kinds: HashSet<_> = events.iter().map(|seen| seen.kind).collect();
    for kind in [
        EventKind::Approved,
        EventKind::Issued,
        EventKind::Refused,
        EventKind::ReuseDetected,
        EventKind::CodeReplayed,
        EventKind::Revoked,
        EventKind::SessionEnded,
        EventKind::StoreFailed,
    ] {
        assert!(kinds.contains(&kind), "{kind}");
        assert!(log.contains(&format!("token endpoint: {kind}")), "{kind}: {log}");
        assert!(metrics.contains(&format!("kind = {kind}")), "{kind}: {metrics}");
    }
    secrets.are_not_in(&format!("{events:?}"), "an event");
    secrets.are_not_in(&log, "the log");
    secrets.are_not_in(&metrics, "a metric");
    assert!(!log.contains(SUBJECT), "the log names a user");
    assert!(!metrics.contains(SUBJECT) && !metrics.contains("client_id"), "{metrics}");
    assert!(format!("{events:?}").contains(SUBJECT), "an audit trail needs the user");
}

/// Session 17 (design, accepts)
#[test]
fn signs_of_theft_are_warnings_and_what_clients_can_cause_at_will_is_not() {
    let (log, _) = recorded(async {
        let (world, store, _) = watched();
        use_everything(&world, &store).await;
    });
    let is_at = |kind: EventKind, level: &str| {
        let text = format!("token endpoint: {kind}");
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&text)).collect();
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains(level)), "{kind}: {lines:?}");
        lines.len()
    };
    assert_eq!(is_at(EventKind::ReuseDetected, " WARN "), 1);
    assert_eq!(is_at(EventKind::CodeReplayed, " WARN "), 1);
    is_at(EventKind::SessionEnded, " INFO ");
    for kind in [EventKind::Approved, EventKind::Issued, EventKind::Refused, EventKind::Revoked] {
        is_at(kind, "DEBUG ");
    }
}

#[test]
fn the_time_of_each_operation_of_the_store_is_measured() {
    let (_, metrics) = recorded(async {
        let (world, store, _) = watched();
        use_everything(&world, &store).await;
    });
    for operation in
        ["add_code", "find_code", "redeem", "find_session", "refresh", "issue", "find_access", "end_session"]
    {
        let is_measured = |line: &str| {
            line.contains("tower_oauth_store_seconds") && line.contains(operation) && line.contains("outcome = ok")
        };
        assert!(metrics.lines().any(is_measured), "{operation}: {metrics}");
    }
    assert!(metrics.contains("outcome = error"));
}

/// A registry that can be turned off.
struct Switched(Clients, Arc<Mutex<bool>>);

impl ClientRegistry for Switched {
    async fn find(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        if *self.1.lock().unwrap() {
            return Err(StoreError::not_executed("the registry is off"));
        }
        self.0.find(client_id).await
    }
}

#[tokio::test]
async fn an_endpoint_is_ready_if_its_store_and_its_registry_are() {
    let (world, store, trail) = watched();
    world.endpoint.is_ready().await.unwrap();
    store.set_down(true);
    assert!(!world.endpoint.is_ready().await.unwrap_err().may_be_executed());
    trail.one().is(EventKind::StoreFailed, NONE, ["", "check"]);
    store.set_down(false);
    world.endpoint.is_ready().await.unwrap();

    let is_off = Arc::new(Mutex::new(false));
    let registry = Switched(world.clients.clone(), Arc::clone(&is_off));
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let grant = tower_oauth::token_endpoint::ClientCredentialsGrant::new();
    let endpoint = TokenEndpoint::builder(ISSUER, key, registry).grant(grant).build().unwrap();
    endpoint.is_ready().await.unwrap();
    *is_off.lock().unwrap() = true;
    assert!(endpoint.is_ready().await.is_err());
    *is_off.lock().unwrap() = false;
    endpoint.is_ready().await.unwrap();
}
