//! The times that an issuer gives for its key set (`Age`, `Retry-After`), and the time limits of its metadata.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use serde_json::json;
use tower_oauth::{
    AuthError, Issuer,
    fetch::{Fetch, FetchFuture, HttpClient},
    testing::ManualClock,
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    keys::remote::rotation::retry_after,
    keys::remote::{HOUR, MINUTE, RemoteKeysFixture},
};

/// RFC 9111 §5.1 (derived, accepts and refuses)
#[tokio::test]
async fn the_age_of_a_response_counts_against_its_max_age_within_bounds() {
    for (headers, at_least, at_most) in [
        ("Cache-Control: max-age=1200\r\nAge: 600", 450, 510),
        ("Cache-Control: max-age=1200\r\nAge: 1200", 45, 51),
        ("Cache-Control: max-age=1200\r\nAge: 99999999999999999999999", 45, 51),
        ("Cache-Control: max-age=999999999\r\nAge: 600", 2700, 3060),
        // Without `max-age`, there is nothing to count against.
        ("Age: 600", 450, 510),
        // Malformed or repeated.
        ("Cache-Control: max-age=1200\r\nAge: -600", 900, 1020),
        ("Cache-Control: max-age=1200\r\nAge: 600s", 900, 1020),
        ("Cache-Control: max-age=1200\r\nAge:", 900, 1020),
        ("Cache-Control: max-age=1200\r\nAge: 600\r\nAge: 600", 900, 1020),
    ] {
        let fixture = RemoteKeysFixture::cold().await;
        fixture.fake.jwks_headers(&format!("{headers}\r\n"));
        fixture.issuer.warm_up().await.unwrap();
        fixture.wait(Duration::from_secs(at_least - 1));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(fixture.fake.fetches(), 1, "{headers}: too early");
        fixture.wait(Duration::from_secs(at_most - at_least + 2));
        fixture.wait_for_fetches(2).await;
    }
}

/// RFC 9110 §10.2.3 (derived, accepts)
#[tokio::test]
async fn no_attempt_is_made_before_the_retry_after_of_the_issuer_up_to_five_minutes() {
    for (status, header, pause) in [
        (429, "120", 120),
        (503, "120", 120),
        (503, "999999999999999999999999", 300),
        // The cooldown is longer.
        (503, "1", 30),
        // Not about later requests, or not in seconds.
        (500, "120", 30),
        (404, "120", 30),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", 30),
        (503, "-120", 30),
    ] {
        let fixture = RemoteKeysFixture::warm().await;
        fixture.fake.answer(Answer::Whole(status, format!("Retry-After: {header}\r\n"), Vec::new()));
        let unknown = fixture.with_unknown_kid("new");
        for fetches in 2..4 {
            let error = fixture.authenticate(&unknown).await.unwrap_err();
            let context = format!("{status}, {header}");
            let seconds = if pause == 30 { 1 } else { pause };
            assert_eq!(
                retry_after(&fixture.server, &error),
                Some((seconds * (fetches - 1)).min(pause).to_string()),
                "{context}"
            );
            assert_eq!(fixture.fake.fetches(), fetches, "{context}");
            fixture.wait(Duration::from_millis(pause as u64 * 1000 - 1));
            assert_eq!(fixture.authenticate(&unknown).await.unwrap_err().reason(), "unavailable", "{context}");
            assert_eq!(fixture.fake.fetches(), fetches, "{context}: too early");
            assert!(fixture.authenticate(&fixture.fake.valid_token()).await.is_ok(), "{context}: the set stays in use");
            fixture.wait(Duration::from_millis(1));
        }
    }
}

/// RFC 9110 §10.2.3 (derived, refuses)
#[tokio::test]
async fn the_background_refresh_keeps_to_the_retry_after_of_the_issuer() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.answer(Answer::Whole(503, "Retry-After: 200\r\n".to_owned(), Vec::new()));
    fixture.issuer.warm_up().await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(20)).await;
    fixture.wait(Duration::from_secs(199));
    assert!(!fixture.issuer.is_ready());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(fixture.fake.fetches(), 1);
    fixture.fake.answer(Answer::Keys);
    fixture.wait(2 * MINUTE);
    fixture.wait_for_fetches(2).await;
}

/// An HTTP client that doesn't respond to requests for some paths, or responds 503 with `Retry-After: 100`.
struct FaultyPaths {
    client: HttpClient,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    silent: Mutex<Vec<&'static str>>,
    busy: Mutex<Vec<&'static str>>,
    /// Number of requests for silent and busy paths.
    requests: AtomicUsize,
}

impl Fetch for FaultyPaths {
    fn fetch(&self, request: Request<bytes::Bytes>) -> FetchFuture {
        let is_in = |paths: &Mutex<Vec<&str>>| paths.lock().unwrap().contains(&request.uri().path());
        if is_in(&self.faults.silent) {
            self.faults.requests.fetch_add(1, Ordering::SeqCst);
            return FetchFuture::new(std::future::pending());
        }
        if is_in(&self.faults.busy) {
            self.faults.requests.fetch_add(1, Ordering::SeqCst);
            let response = Response::builder().status(503).header("retry-after", "100").body(bytes::Bytes::new());
            return FetchFuture::new(async { Ok(response.unwrap()) });
        }
        self.client.fetch(request)
    }
}

impl Faults {
    async fn wait_for_requests(&self, count: usize) {
        let reached = async {
            while self.requests.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached).await.expect("too few requests");
    }
}

const WELL_KNOWN: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

async fn with_faulty_paths() -> (FakeIssuer, ManualClock, Issuer, Arc<Faults>) {
    let (fake, clock, faults) = (FakeIssuer::start().await, ManualClock::default(), Arc::new(Faults::default()));
    let fetch = FaultyPaths { client: HttpClient::new().unwrap(), faults: Arc::clone(&faults) };
    let issuer = fake.builder().fetch(fetch).clock(clock.clone()).build().unwrap();
    (fake, clock, issuer, faults)
}

/// Starts a warm-up. It fails if it has not ended after ten seconds of the machine's clock.
fn spawn_warm_up(issuer: &Issuer) -> tokio::task::JoinHandle<Result<(), AuthError>> {
    let issuer = issuer.clone();
    tokio::spawn(async move {
        tokio::time::timeout(Duration::from_secs(10), issuer.warm_up()).await.expect("the attempt didn't end")
    })
}

#[tokio::test]
async fn keeps_the_jwks_uri_if_the_metadata_server_stops_responding() {
    let (fake, clock, issuer, faults) = with_faulty_paths().await;
    issuer.warm_up().await.unwrap();
    *faults.silent.lock().unwrap() = WELL_KNOWN.to_vec();
    clock.advance(2 * HOUR);
    let refreshed = spawn_warm_up(&issuer);
    faults.wait_for_requests(1).await;
    clock.advance(Duration::from_millis(1500));
    assert!(refreshed.await.unwrap().is_ok());
    assert_eq!(fake.fetches(), 2);
}

/// Threat J12
#[tokio::test]
async fn a_well_known_url_that_hangs_leaves_time_for_the_next_one() {
    let (fake, clock, issuer, faults) = with_faulty_paths().await;
    fake.without_metadata();
    fake.metadata(WELL_KNOWN[1], json!({"issuer": fake.identifier, "jwks_uri": fake.jwks_uri()}));
    faults.silent.lock().unwrap().push(WELL_KNOWN[0]);
    let warm = spawn_warm_up(&issuer);
    faults.wait_for_requests(1).await;
    clock.advance(Duration::from_millis(1500));
    assert!(warm.await.unwrap().is_ok(), "the clock stands at 1.5 s");
    assert_eq!(fake.fetches(), 1);
}

#[tokio::test]
async fn an_attempt_whose_well_known_urls_all_hang_ends_after_their_timeouts() {
    let (_fake, clock, issuer, faults) = with_faulty_paths().await;
    *faults.silent.lock().unwrap() = WELL_KNOWN.to_vec();
    let warm = spawn_warm_up(&issuer);
    for requests in 1..=2 {
        faults.wait_for_requests(requests).await;
        clock.advance(Duration::from_millis(1500));
    }
    assert!(warm.await.unwrap().is_err(), "the clock stands at 3 s");
}

/// RFC 9110 §10.2.3 (derived, accepts)
#[tokio::test]
async fn the_retry_after_of_the_metadata_counts_too() {
    let (fake, clock, issuer, faults) = with_faulty_paths().await;
    faults.busy.lock().unwrap().push(WELL_KNOWN[0]);
    assert!(issuer.warm_up().await.is_err());
    clock.advance(Duration::from_secs(99));
    assert!(issuer.warm_up().await.is_err());
    assert_eq!(faults.requests.load(Ordering::SeqCst), 1);
    faults.busy.lock().unwrap().clear();
    clock.advance(Duration::from_secs(1));
    assert!(issuer.warm_up().await.is_ok());
    assert_eq!(fake.fetches(), 1);
}
