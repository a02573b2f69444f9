//! Where the introspection endpoint is (RFC 8414 §2, §3): found, remembered, moved, and never where a stranger says.

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

#[tokio::test]
async fn the_endpoint_is_found_by_any_one_of_the_well_known_documents() {
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
            let fixture = IntrospectionFixture::of(fake, client(), |verifier| verifier);
            assert_eq!(fixture.kind("opaque").await, None, "{place}");
            assert_eq!(
                (fixture.fake.hits(place), fixture.fake.introspection_count(), fixture.fake.fetches()),
                (1, 1, 0),
                "{place}"
            );
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_was_given_is_asked_and_no_metadata_is() {
    let fixture = IntrospectionFixture::new().await;
    let given = FakeIssuer::start().await;
    given.introspection(Answer::Body(fixture.good().to_string()));
    let endpoint = format!("{}?tenant=x", given.introspection_endpoint());
    let fixture = IntrospectionFixture::of(fixture.fake, client(), |verifier| verifier.endpoint(endpoint));
    assert_eq!(fixture.kind("opaque").await, None);
    assert_eq!((fixture.fake.requests().len(), given.introspection_count()), (0, 1));
    assert!(given.introspection_requests()[0].head.starts_with("POST /introspect?tenant=x HTTP/1.1\r\n"));
    given.introspection(Answer::Status(404));
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable));
    assert_eq!(fixture.fake.requests().len(), 0, "what was given is not looked for elsewhere");
}

#[tokio::test]
async fn the_metadata_is_read_once_an_hour() {
    let fixture = IntrospectionFixture::new().await;
    for _ in 0..3 {
        assert_eq!(fixture.kind("opaque").await, None);
    }
    assert_eq!(fixture.fake.hits(METADATA), 1);
    let exp = fixture.good_but("exp", json!(NOW + 100_000));
    fixture.says(&exp);
    fixture.clock.advance(Duration::from_millis(3_599_999));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 1));
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 2));
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 2));
    // What the metadata says now is believed, though the old place still answers.
    let new = FakeIssuer::start().await;
    new.introspection(Answer::Body(exp.to_string()));
    let moved = json!({"issuer": fixture.fake.identifier, "introspection_endpoint": new.introspection_endpoint()});
    fixture.fake.metadata(METADATA, moved);
    fixture.clock.advance(HOUR);
    assert_eq!((fixture.kind("opaque").await, new.introspection_count()), (None, 1));
}

#[tokio::test]
async fn metadata_that_is_gone_costs_nobody_an_endpoint_that_is_still_where_it_was() {
    let fixture = IntrospectionFixture::new().await;
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.says(&fixture.good_but("exp", json!(NOW + 100_000)));
    let other = json!({"issuer": "https://stranger.test", "introspection_endpoint": "https://stranger.test/steal"});
    fixture.fake.metadata(METADATA, other);
    fixture.clock.advance(HOUR);
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 2));
    fixture.fake.without_metadata();
    fixture.clock.advance(HOUR);
    assert_eq!((fixture.kind("opaque").await, fixture.fake.hits(METADATA)), (None, 3));
}

/// A way to the network on which the metadata can fall silent.
#[derive(Clone)]
struct Silence {
    way: HttpClient,
    fallen: Arc<AtomicBool>,
}

impl Fetch for Silence {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        if request.uri().path().contains("well-known") && self.fallen.load(Ordering::Relaxed) {
            return FetchFuture::new(std::future::pending());
        }
        self.way.fetch(request)
    }
}

#[tokio::test]
async fn metadata_that_falls_silent_is_waited_for_a_second_and_a_half() {
    let silence = Silence { way: HttpClient::new().unwrap(), fallen: Arc::default() };
    let way = silence.clone();
    let fixture = IntrospectionFixture::with(|verifier| verifier.fetch(way)).await;
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.says(&fixture.good_but("exp", json!(NOW + 100_000)));
    silence.fallen.store(true, Ordering::Relaxed);
    fixture.clock.advance(HOUR);
    let mut waiting = Box::pin(fixture.kind("opaque"));
    assert!(poll_immediate(&mut waiting).await.is_none());
    fixture.clock.advance(Duration::from_millis(1499));
    assert!(poll_immediate(&mut waiting).await.is_none());
    assert_eq!(fixture.fake.introspection_count(), 1);
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(soon(waiting).await, None);
    assert_eq!(soon(fixture.kind("opaque")).await, None, "and not again for an hour");
}

#[tokio::test]
async fn an_endpoint_that_moved_is_found_again_with_the_next_question() {
    for gone in [404, 405, 410] {
        let (fixture, new) = (IntrospectionFixture::new().await, FakeIssuer::start().await);
        assert_eq!(fixture.kind("opaque").await, None);
        new.introspection(Answer::Body(fixture.good().to_string()));
        let moved = json!({"issuer": fixture.fake.identifier, "introspection_endpoint": new.introspection_endpoint()});
        fixture.fake.metadata(METADATA, moved);
        fixture.clock.advance(SECOND);
        for status in [400, 401, 403, 429, 500, 503] {
            fixture.fake.introspection(Answer::Status(status));
            assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable));
        }
        assert_eq!(fixture.fake.hits(METADATA), 1, "a server that fails has not moved");
        fixture.fake.introspection(Answer::Status(gone));
        assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::Unavailable), "{gone}");
        assert_eq!(fixture.kind("opaque").await, None, "{gone}");
        assert_eq!((fixture.fake.hits(METADATA), new.introspection_count()), (2, 1));
    }
}

#[tokio::test]
async fn an_endpoint_that_is_missing_is_looked_up_once_a_second_and_not_for_every_question() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.introspection(Answer::Status(404));
    for _ in 0..20 {
        fixture.is_unavailable("5", "").await;
    }
    assert_eq!(fixture.fake.hits(METADATA), 1);
    fixture.clock.advance(SECOND);
    for _ in 0..20 {
        fixture.is_unavailable("5", "").await;
    }
    assert_eq!(fixture.fake.hits(METADATA), 2);
}

#[tokio::test]
async fn an_api_starts_while_its_issuer_is_down_and_recovers_by_itself() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.without_metadata();
    for _ in 0..3 {
        fixture.is_unavailable("5", "").await;
    }
    assert_eq!(
        (fixture.fake.hits(METADATA), fixture.fake.introspection_count()),
        (1, 0),
        "it is not asked again at once"
    );
    fixture.fake.metadata(METADATA, fixture.fake.document());
    fixture.clock.advance(Duration::from_millis(999));
    fixture.is_unavailable("5", "").await;
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.get("opaque").await.status, 200);
    assert_eq!((fixture.fake.hits(METADATA), fixture.fake.introspection_count()), (2, 1));
}

#[tokio::test]
async fn a_hundred_first_requests_at_once_cost_one_look_up() {
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
async fn who_looks_the_endpoint_up_and_goes_away_leaves_the_others_no_worse() {
    let fixture = IntrospectionFixture::new().await;
    let mut first = Box::pin(fixture.authenticate("opaque"));
    assert!(poll_immediate(&mut first).await.is_none());
    let mut second = Box::pin(fixture.authenticate("opaque"));
    assert!(poll_immediate(&mut second).await.is_none());
    drop(first);
    assert!(soon(second).await.is_ok());
}

#[tokio::test]
async fn metadata_of_another_issuer_or_with_a_bent_endpoint_leads_nowhere() {
    let fixture = IntrospectionFixture::new().await;
    let (own, endpoint) = (fixture.fake.identifier.clone(), fixture.fake.introspection_endpoint());
    let port = own.rsplit(':').next().unwrap();
    for document in [
        json!({"issuer": format!("{own}/"), "introspection_endpoint": endpoint}),
        json!({"issuer": "https://stranger.test", "introspection_endpoint": endpoint}),
        json!({"issuer": [own], "introspection_endpoint": endpoint}),
        json!({"introspection_endpoint": endpoint}),
        json!([own, endpoint, endpoint]),
        json!({"issuer": own}),
        json!({"issuer": own, "introspection_endpoint": null}),
        json!({"issuer": own, "introspection_endpoint": 1}),
        json!({"issuer": own, "introspection_endpoint": [endpoint]}),
        json!({"issuer": own, "introspection_endpoint": "/introspect"}),
        json!({"issuer": own, "introspection_endpoint": "http://stranger.test/introspect"}),
        json!({"issuer": own, "introspection_endpoint": format!("http://0.0.0.0:{port}/introspect")}),
        json!({"issuer": own, "introspection_endpoint": format!("http://localhost.stranger.test:{port}/introspect")}),
        json!({"issuer": own, "introspection_endpoint": format!("http://127.0.0.1:{port}@stranger.test/introspect")}),
        json!({"issuer": own, "introspection_endpoint": "file:///etc/passwd"}),
        json!({"issuer": own, "token_endpoint": endpoint, "jwks_uri": endpoint}),
    ] {
        fixture.fake.metadata(METADATA, document.clone());
        fixture.clock.advance(SECOND);
        fixture.is_unavailable("5", &document.to_string()).await;
    }
    assert_eq!(fixture.fake.introspection_count(), 0);
    fixture.fake.metadata(METADATA, fixture.fake.document());
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.kind("opaque").await, None);
}
