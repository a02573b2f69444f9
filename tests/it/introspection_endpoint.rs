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
    introspection::{Bench, NOW, SECOND, client, soon},
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
            let bench = Bench::of(fake, client(), |verifier| verifier);
            assert_eq!(bench.kind("opaque").await, None, "{place}");
            assert_eq!((bench.fake.hits(place), bench.fake.asked(), bench.fake.fetches()), (1, 1, 0), "{place}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_was_given_is_asked_and_no_metadata_is() {
    let bench = Bench::new().await;
    let given = FakeIssuer::start().await;
    given.introspection(Answer::Body(bench.good().to_string()));
    let endpoint = format!("{}?tenant=x", given.introspection_endpoint());
    let bench = Bench::of(bench.fake, client(), |verifier| verifier.endpoint(endpoint));
    assert_eq!(bench.kind("opaque").await, None);
    assert_eq!((bench.fake.requests().len(), given.asked()), (0, 1));
    assert!(given.questions()[0].head.starts_with("POST /introspect?tenant=x HTTP/1.1\r\n"));
    given.introspection(Answer::Status(404));
    assert_eq!(bench.kind("opaque").await, Some(AuthErrorKind::Unavailable));
    assert_eq!(bench.fake.requests().len(), 0, "what was given is not looked for elsewhere");
}

#[tokio::test]
async fn the_metadata_is_read_once_an_hour() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        assert_eq!(bench.kind("opaque").await, None);
    }
    assert_eq!(bench.fake.hits(METADATA), 1);
    let exp = bench.good_but("exp", json!(NOW + 100_000));
    bench.says(&exp);
    bench.clock.advance(Duration::from_millis(3_599_999));
    assert_eq!((bench.kind("opaque").await, bench.fake.hits(METADATA)), (None, 1));
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!((bench.kind("opaque").await, bench.fake.hits(METADATA)), (None, 2));
    assert_eq!((bench.kind("opaque").await, bench.fake.hits(METADATA)), (None, 2));
    // What the metadata says now is believed, though the old place still answers.
    let new = FakeIssuer::start().await;
    new.introspection(Answer::Body(exp.to_string()));
    let moved = json!({"issuer": bench.fake.identifier, "introspection_endpoint": new.introspection_endpoint()});
    bench.fake.metadata(METADATA, moved);
    bench.clock.advance(HOUR);
    assert_eq!((bench.kind("opaque").await, new.asked()), (None, 1));
}

#[tokio::test]
async fn metadata_that_is_gone_costs_nobody_an_endpoint_that_is_still_where_it_was() {
    let bench = Bench::new().await;
    assert_eq!(bench.kind("opaque").await, None);
    bench.says(&bench.good_but("exp", json!(NOW + 100_000)));
    let other = json!({"issuer": "https://stranger.test", "introspection_endpoint": "https://stranger.test/steal"});
    bench.fake.metadata(METADATA, other);
    bench.clock.advance(HOUR);
    assert_eq!((bench.kind("opaque").await, bench.fake.hits(METADATA)), (None, 2));
    bench.fake.without_metadata();
    bench.clock.advance(HOUR);
    assert_eq!((bench.kind("opaque").await, bench.fake.hits(METADATA)), (None, 3));
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
    let bench = Bench::with(|verifier| verifier.fetch(way)).await;
    assert_eq!(bench.kind("opaque").await, None);
    bench.says(&bench.good_but("exp", json!(NOW + 100_000)));
    silence.fallen.store(true, Ordering::Relaxed);
    bench.clock.advance(HOUR);
    let mut waiting = Box::pin(bench.kind("opaque"));
    assert!(poll_immediate(&mut waiting).await.is_none());
    bench.clock.advance(Duration::from_millis(1499));
    assert!(poll_immediate(&mut waiting).await.is_none());
    assert_eq!(bench.fake.asked(), 1);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(soon(waiting).await, None);
    assert_eq!(soon(bench.kind("opaque")).await, None, "and not again for an hour");
}

#[tokio::test]
async fn an_endpoint_that_moved_is_found_again_with_the_next_question() {
    for gone in [404, 405, 410] {
        let (bench, new) = (Bench::new().await, FakeIssuer::start().await);
        assert_eq!(bench.kind("opaque").await, None);
        new.introspection(Answer::Body(bench.good().to_string()));
        let moved = json!({"issuer": bench.fake.identifier, "introspection_endpoint": new.introspection_endpoint()});
        bench.fake.metadata(METADATA, moved);
        bench.clock.advance(SECOND);
        for status in [400, 401, 403, 429, 500, 503] {
            bench.fake.introspection(Answer::Status(status));
            assert_eq!(bench.kind("opaque").await, Some(AuthErrorKind::Unavailable));
        }
        assert_eq!(bench.fake.hits(METADATA), 1, "a server that fails has not moved");
        bench.fake.introspection(Answer::Status(gone));
        assert_eq!(bench.kind("opaque").await, Some(AuthErrorKind::Unavailable), "{gone}");
        assert_eq!(bench.kind("opaque").await, None, "{gone}");
        assert_eq!((bench.fake.hits(METADATA), new.asked()), (2, 1));
    }
}

#[tokio::test]
async fn an_endpoint_that_is_missing_is_looked_up_once_a_second_and_not_for_every_question() {
    let bench = Bench::new().await;
    bench.fake.introspection(Answer::Status(404));
    for _ in 0..20 {
        bench.is_unavailable("5", "").await;
    }
    assert_eq!(bench.fake.hits(METADATA), 1);
    bench.clock.advance(SECOND);
    for _ in 0..20 {
        bench.is_unavailable("5", "").await;
    }
    assert_eq!(bench.fake.hits(METADATA), 2);
}

#[tokio::test]
async fn an_api_starts_while_its_issuer_is_down_and_recovers_by_itself() {
    let bench = Bench::new().await;
    bench.fake.without_metadata();
    for _ in 0..3 {
        bench.is_unavailable("5", "").await;
    }
    assert_eq!((bench.fake.hits(METADATA), bench.fake.asked()), (1, 0), "it is not asked again at once");
    bench.fake.metadata(METADATA, bench.fake.document());
    bench.clock.advance(Duration::from_millis(999));
    bench.is_unavailable("5", "").await;
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.get("opaque").await.status, 200);
    assert_eq!((bench.fake.hits(METADATA), bench.fake.asked()), (2, 1));
}

#[tokio::test]
async fn a_hundred_first_requests_at_once_cost_one_look_up() {
    let bench = Bench::new().await;
    let verdicts = join_all((0..100).map(|_| bench.kind("opaque"))).await;
    assert!(verdicts.iter().all(Option::is_none), "{verdicts:?}");
    assert_eq!((bench.fake.hits(METADATA), bench.fake.asked()), (1, 100));

    let bench = Bench::new().await;
    bench.fake.without_metadata();
    let verdicts = join_all((0..100).map(|_| bench.kind("opaque"))).await;
    assert!(verdicts.iter().all(|kind| *kind == Some(AuthErrorKind::Unavailable)), "{verdicts:?}");
    assert_eq!((bench.fake.hits(METADATA), bench.fake.asked()), (1, 0));
}

#[tokio::test]
async fn who_looks_the_endpoint_up_and_goes_away_leaves_the_others_no_worse() {
    let bench = Bench::new().await;
    let mut first = Box::pin(bench.admit("opaque"));
    assert!(poll_immediate(&mut first).await.is_none());
    let mut second = Box::pin(bench.admit("opaque"));
    assert!(poll_immediate(&mut second).await.is_none());
    drop(first);
    assert!(soon(second).await.is_ok());
}

#[tokio::test]
async fn metadata_of_another_issuer_or_with_a_bent_endpoint_leads_nowhere() {
    let bench = Bench::new().await;
    let (own, endpoint) = (bench.fake.identifier.clone(), bench.fake.introspection_endpoint());
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
        bench.fake.metadata(METADATA, document.clone());
        bench.clock.advance(SECOND);
        bench.is_unavailable("5", &document.to_string()).await;
    }
    assert_eq!(bench.fake.asked(), 0);
    bench.fake.metadata(METADATA, bench.fake.document());
    bench.clock.advance(SECOND);
    assert_eq!(bench.kind("opaque").await, None);
}
