//! Discovery of the introspection endpoint (RFC 8414 §2, §3): it is found, cached and found again after a move, and only
//! the issuer's own metadata counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{join_all, poll_immediate};
use http::Request;
use serde_json::json;
use tower_oauth::{
    error::AuthErrorKind,
    fetch::{Fetch, FetchFuture, HttpClient},
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    introspection::{IntrospectionFixture, NOW, SECOND, client, soon},
};

const METADATA: &str = "/.well-known/oauth-authorization-server";
const HOUR: Duration = Duration::from_secs(3600);

/// RFC 8414 §2 a (MUST, accepts)
#[tokio::test]
async fn finds_the_endpoint_in_any_of_the_well_known_documents() {
    for (path, places) in [
        ("", vec![METADATA, "/.well-known/openid-configuration"]),
        (
            "/realms/x",
            vec![
                "/.well-known/oauth-authorization-server/realms/x",
                "/.well-known/openid-configuration/realms/x",
                "/realms/x/.well-known/openid-configuration",
            ],
        ),
    ] {
        for place in places {
            let fake = FakeIssuer::start_with_path(path).await;
            fake.without_metadata();
            fake.metadata(place, fake.document());
            let fixture = IntrospectionFixture::with_parts(fake, client(), |verifier| verifier);
            assert_eq!(fixture.kind("opaque").await, None, "{place}");
            assert_eq!(
                (fixture.fake.hits(place), fixture.fake.introspection_count(), fixture.fake.fetches()),
                (1, 1, 0),
                "{place}"
            );
        }
    }
}

/// RFC 8414 §2 a (MUST, refuses)
#[tokio::test]
async fn uses_a_configured_endpoint_and_fetches_no_metadata() {
    let fixture = IntrospectionFixture::new().await;
    let configured = FakeIssuer::start().await;
    configured.introspection(Answer::Body(fixture.active().to_string()));
    let endpoint = format!("{}?tenant=x", configured.introspection_endpoint());
    let fixture = IntrospectionFixture::with_parts(fixture.fake, client(), |verifier| verifier.endpoint(endpoint));
    assert_eq!(fixture.kind("opaque").await, None);
    assert_eq!((fixture.fake.requests().len(), configured.introspection_count()), (0, 1));
    assert!(configured.introspection_requests()[0].head.starts_with("POST /introspect?tenant=x HTTP/1.1\r\n"));
    configured.introspection(Answer::Status(404));
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable));
    assert_eq!(fixture.fake.requests().len(), 0, "a configured endpoint is not looked up in the metadata");
}

/// RFC 8414 §2 a (MUST, accepts)
#[tokio::test]
async fn fetches_the_metadata_once_an_hour() {
    let fixture = IntrospectionFixture::new().await;
    for _ in 0..3 {
        assert_eq!(fixture.kind("opaque").await, None);
    }
    assert_eq!(fixture.fake.hits(METADATA), 1);
    let exp = fixture.active_with("exp", json!(NOW + 100_000));
    fixture.respond_with(&exp);
    fixture.clock.advance(Duration::from_millis(3_599_999));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 1));
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 2));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 2));
    // The new metadata counts, though the old endpoint still responds.
    let new = FakeIssuer::start().await;
    new.introspection(Answer::Body(exp.to_string()));
    let moved = json!({"issuer": fixture.fake.identifier, "introspection_endpoint": new.introspection_endpoint()});
    fixture.fake.metadata(METADATA, moved);
    fixture.clock.advance(HOUR);
    assert_eq!((fixture.kind("opaque").await, new.introspection_count()), (None, 1));
}

#[tokio::test]
async fn keeps_the_endpoint_if_later_metadata_is_missing_or_of_another_issuer() {
    let fixture = IntrospectionFixture::new().await;
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.respond_with(&fixture.active_with("exp", json!(NOW + 100_000)));
    let other = json!({"issuer": "https://evil.test", "introspection_endpoint": "https://evil.test/steal"});
    fixture.fake.metadata(METADATA, other);
    fixture.clock.advance(HOUR);
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 2));
    fixture.fake.without_metadata();
    fixture.clock.advance(HOUR);
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 3));
}

/// An HTTP client that can stop responding to requests for metadata.
#[derive(Clone)]
struct SilentMetadata {
    client: HttpClient,
    silent: Arc<AtomicBool>,
}

impl Fetch for SilentMetadata {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        if request.uri().path().contains("well-known") && self.silent.load(Ordering::Relaxed) {
            return FetchFuture::new(std::future::pending());
        }
        self.client.fetch(request)
    }
}

#[tokio::test]
async fn waits_1500_ms_for_metadata_and_then_uses_the_cached_endpoint() {
    let fetch = SilentMetadata { client: HttpClient::new().unwrap(), silent: Arc::default() };
    let client = fetch.clone();
    let fixture = IntrospectionFixture::with(|verifier| verifier.fetch(client)).await;
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.respond_with(&fixture.active_with("exp", json!(NOW + 100_000)));
    fetch.silent.store(true, Ordering::Relaxed);
    fixture.clock.advance(HOUR);
    let mut waiting = Box::pin(fixture.kind("opaque"));
    assert!(poll_immediate(&mut waiting).await.is_none());
    fixture.clock.advance(Duration::from_millis(1499));
    assert!(poll_immediate(&mut waiting).await.is_none());
    assert_eq!(fixture.fake.introspection_count(), 1);
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(soon(waiting).await, None);
    assert_eq!(soon(fixture.kind("opaque")).await, None, "no second wait within the hour");
}

/// RFC 8414 §2 a (MUST, accepts)
#[tokio::test]
async fn finds_a_moved_endpoint_with_the_next_request() {
    for moved_status in [404, 405, 410] {
        let (fixture, new) = (IntrospectionFixture::new().await, FakeIssuer::start().await);
        assert_eq!(fixture.kind("opaque").await, None);
        new.introspection(Answer::Body(fixture.active().to_string()));
        let moved = json!({"issuer": fixture.fake.identifier, "introspection_endpoint": new.introspection_endpoint()});
        fixture.fake.metadata(METADATA, moved);
        fixture.clock.advance(SECOND);
        for status in [400, 401, 403, 429, 500, 503] {
            fixture.fake.introspection(Answer::Status(status));
            assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable));
        }
        assert_eq!(fixture.fake.hits(METADATA), 1, "these statuses don't mean that the endpoint moved");
        fixture.fake.introspection(Answer::Status(moved_status));
        assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable), "{moved_status}");
        assert_eq!(fixture.kind("opaque").await, None, "{moved_status}");
        assert_eq!((fixture.fake.hits(METADATA), new.introspection_count()), (2, 1));
    }
}

#[tokio::test]
async fn looks_up_a_missing_endpoint_at_most_once_a_second() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.introspection(Answer::Status(404));
    for _ in 0..20 {
        fixture.assert_unavailable("5", "").await;
    }
    assert_eq!(fixture.fake.hits(METADATA), 1);
    fixture.clock.advance(SECOND);
    for _ in 0..20 {
        fixture.assert_unavailable("5", "").await;
    }
    assert_eq!(fixture.fake.hits(METADATA), 2);
}

#[tokio::test]
async fn an_api_that_starts_while_its_issuer_is_down_recovers_by_itself() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.without_metadata();
    for _ in 0..3 {
        fixture.assert_unavailable("5", "").await;
    }
    assert_eq!(
        (fixture.fake.hits(METADATA), fixture.fake.introspection_count()),
        (1, 0),
        "the metadata is not fetched again at once"
    );
    fixture.fake.metadata(METADATA, fixture.fake.document());
    fixture.clock.advance(Duration::from_millis(999));
    fixture.assert_unavailable("5", "").await;
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.get("opaque").await.status, 200);
    assert_eq!((fixture.fake.hits(METADATA), fixture.fake.introspection_count()), (2, 1));
}

#[tokio::test]
async fn a_hundred_concurrent_first_requests_cause_one_look_up() {
    let fixture = IntrospectionFixture::new().await;
    let verdicts = join_all((0..100).map(|_| fixture.kind("opaque"))).await;
    assert!(verdicts.iter().all(Option::is_none), "{verdicts:?}");
    assert_eq!((fixture.fake.hits(METADATA), fixture.fake.introspection_count()), (1, 100));

    let fixture = IntrospectionFixture::new().await;
    fixture.fake.without_metadata();
    let verdicts = join_all((0..100).map(|_| fixture.kind("opaque"))).await;
    assert!(verdicts.iter().all(|kind| *kind == Some(AuthErrorKind::Unavailable)), "{verdicts:?}");
    assert_eq!((fixture.fake.hits(METADATA), fixture.fake.introspection_count()), (1, 0));
}

#[tokio::test]
async fn cancelling_the_request_that_looks_up_the_endpoint_affects_no_other() {
    let fixture = IntrospectionFixture::new().await;
    let mut first = Box::pin(fixture.authenticate("opaque"));
    assert!(poll_immediate(&mut first).await.is_none());
    let mut second = Box::pin(fixture.authenticate("opaque"));
    assert!(poll_immediate(&mut second).await.is_none());
    drop(first);
    assert!(soon(second).await.is_ok());
}

/// Waits until the issuer got this number of requests for metadata.
async fn wait_for_look_ups(fake: &FakeIssuer, places: &[String], count: usize) {
    let enough = async {
        while places.iter().map(|place| fake.hits(place)).sum::<usize>() < count {
            tokio::task::yield_now().await;
        }
    };
    soon(enough).await;
}

/// An issuer with a path, behind a proxy that drops requests for the first two of its three well-known addresses.
async fn issuer_with_two_hanging_addresses() -> (IntrospectionFixture, [String; 3]) {
    let fake = FakeIssuer::start_with_path("/realms/x").await;
    let places = [
        "/.well-known/oauth-authorization-server/realms/x",
        "/.well-known/openid-configuration/realms/x",
        "/realms/x/.well-known/openid-configuration",
    ]
    .map(str::to_owned);
    fake.metadata_answer(&places[0], Answer::Hang);
    fake.metadata_answer(&places[1], Answer::Hang);
    fake.metadata(&places[2], fake.document());
    (IntrospectionFixture::with_parts(fake, client(), |verifier| verifier), places)
}

/// RFC 8414 §2 a (MUST, refuses)
#[tokio::test]
async fn a_token_waits_two_seconds_for_the_endpoint_and_the_search_goes_on_without_it() {
    let (fixture, places) = issuer_with_two_hanging_addresses().await;
    let mut first = Box::pin(fixture.kind("opaque"));
    tokio::select! {
        kind = &mut first => panic!("{kind:?}"),
        () = wait_for_look_ups(&fixture.fake, &places, 1) => {}
    }
    fixture.clock.advance(Duration::from_millis(1500));
    tokio::select! {
        kind = &mut first => panic!("{kind:?}"),
        () = wait_for_look_ups(&fixture.fake, &places, 2) => {}
    }
    fixture.clock.advance(Duration::from_millis(499));
    assert!(poll_immediate(&mut first).await.is_none(), "too early");
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(soon(first).await, Some(AuthErrorKind::Unavailable));
    for _ in 0..20 {
        let kind = soon(fixture.kind("opaque")).await;
        assert_eq!(kind, Some(AuthErrorKind::Unavailable), "no other token waits for the rest of the search");
    }
    fixture.clock.advance(SECOND);
    wait_for_look_ups(&fixture.fake, &places, 3).await;
    let found = async {
        while fixture.kind("opaque").await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    soon(found).await;
    assert_eq!(places.each_ref().map(|place| fixture.fake.hits(place)), [1; 3], "one search found it");
}

#[tokio::test]
async fn the_search_for_the_endpoint_goes_on_if_its_request_is_cancelled() {
    let (fixture, places) = issuer_with_two_hanging_addresses().await;
    let mut first = Box::pin(fixture.kind("opaque"));
    tokio::select! {
        kind = &mut first => panic!("{kind:?}"),
        () = wait_for_look_ups(&fixture.fake, &places, 1) => {}
    }
    drop(first);
    for count in [2, 3] {
        fixture.clock.advance(Duration::from_millis(1500));
        wait_for_look_ups(&fixture.fake, &places, count).await;
    }
    assert_eq!(soon(fixture.kind("opaque")).await, None);
    assert_eq!(places.each_ref().map(|place| fixture.fake.hits(place)), [1; 3], "one search found it");
}

/// RFC 7662 §4 d (MUST, refuses)
/// RFC 8414 §2 a (MUST, refuses)
/// Threat I16
#[tokio::test]
async fn ignores_metadata_of_another_issuer_or_with_an_invalid_endpoint() {
    let fixture = IntrospectionFixture::new().await;
    let (own, endpoint) = (fixture.fake.identifier.clone(), fixture.fake.introspection_endpoint());
    let port = own.rsplit(':').next().unwrap();
    for document in [
        json!({"issuer": format!("{own}/"), "introspection_endpoint": endpoint}),
        json!({"issuer": "https://evil.test", "introspection_endpoint": endpoint}),
        json!({"issuer": [own], "introspection_endpoint": endpoint}),
        json!({"introspection_endpoint": endpoint}),
        json!([own, endpoint, endpoint]),
        json!({"issuer": own}),
        json!({"issuer": own, "introspection_endpoint": null}),
        json!({"issuer": own, "introspection_endpoint": 1}),
        json!({"issuer": own, "introspection_endpoint": [endpoint]}),
        json!({"issuer": own, "introspection_endpoint": "/introspect"}),
        json!({"issuer": own, "introspection_endpoint": "http://evil.test/introspect"}),
        json!({"issuer": own, "introspection_endpoint": format!("http://0.0.0.0:{port}/introspect")}),
        json!({"issuer": own, "introspection_endpoint": format!("http://localhost.evil.test:{port}/introspect")}),
        json!({"issuer": own, "introspection_endpoint": format!("http://127.0.0.1:{port}@evil.test/introspect")}),
        json!({"issuer": own, "introspection_endpoint": "file:///etc/passwd"}),
        json!({"issuer": own, "token_endpoint": endpoint, "jwks_uri": endpoint}),
    ] {
        fixture.fake.metadata(METADATA, document.clone());
        fixture.clock.advance(SECOND);
        fixture.assert_unavailable("5", &document.to_string()).await;
    }
    assert_eq!(fixture.fake.introspection_count(), 0);
    fixture.fake.metadata(METADATA, fixture.fake.document());
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.kind("opaque").await, None);
}
