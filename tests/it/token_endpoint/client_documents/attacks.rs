//! Attempts to make the server fetch what it must not, or to exhaust it (draft-ietf-oauth-client-id-metadata-document §8).

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use axum::body::Body;
use futures_util::future::join_all;
use serde_json::json;
use tower_oauth::token_endpoint::ClientDocumentsBuilder;

use super::{
    Answer, Documents, UNAVAILABLE, UNKNOWN, assert_unknown, document,
    server::{ADDRESSES, DocumentServer},
};
use crate::{log::Log, support::not_run, token_endpoint::sent};

/// Threat T62
#[tokio::test]
async fn a_host_that_is_not_trusted_is_neither_resolved_nor_fetched() {
    let Some(documents) = Documents::new() else { return };
    let port = documents.server.port();
    documents.publish("/c", &json!({}));
    for id in [
        format!("https://127.0.0.1:{port}/c"),
        format!("https://localhost.:{port}/c"),
        format!("https://sub.localhost:{port}/c"),
        format!("https://localhost.evil.test:{port}/c"),
        format!("https://evil.test:{port}/c?@localhost/"),
        format!("https://localhost@127.0.0.1:{port}/c"),
        format!("https://127.0.0.1:{port}\\@localhost/c"),
        format!("http://localhost:{port}/c"),
        format!("https://localhost:{port}"),
        format!("https://localhost:{port}/c#x"),
        format!("https://localhost:{port}/x/../c"),
        format!("https://localhost:{port}/x/%2e%2e/c"),
        format!("https://ada:pw@localhost:{port}/c"),
        format!("https://localhost:{port}/{}", "c".repeat(1024)),
    ] {
        assert_unknown(documents.ask(&id).await, &id);
        documents.world.redeem("x", &[("client_id", &id)]).await.is_error(401, "invalid_client");
    }
    assert_eq!(documents.server.connections(), 0);
}

/// Threat T61
#[tokio::test]
async fn no_spelling_of_a_special_use_address_is_connected_to() {
    let Some(documents) = Documents::with(ClientDocumentsBuilder::danger_trust_any_host) else { return };
    let port = documents.server.port();
    documents.publish("/c", &json!({}));
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2606:4700::5efe:7f00:1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "[2001:db8::1]",
    ] {
        let id = format!("https://{host}:{port}/c");
        let begun = Instant::now();
        let text = documents.ask(&id).await.unwrap_err();
        // Not every resolver knows this name.
        assert!(text == UNKNOWN || host == "localhost.", "{id}: {text}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{id} was connected to");
    }
    assert_eq!(documents.server.connections(), 0);
}

/// Threat T63
#[tokio::test]
async fn the_url_of_keys_has_the_same_limits_as_that_of_a_document() {
    let Some(documents) = Documents::new() else { return };
    let keys = tower_oauth::testing::MockIssuer::new("https://client.test").jwks();
    let port = documents.server.port();
    documents.server.answer("/keys", Answer::json(&keys));
    documents.server.answer("/moved", Answer::new(302, "").header("location", "/keys"));
    documents.server.answer("/large", Answer::json_text(format!("{}{}", keys, " ".repeat(6000))));
    let urls = [
        format!("https://127.0.0.1:{port}/keys"),
        format!("http://localhost:{port}/keys"),
        format!("https://localhost:{port}/x/../keys"),
        documents.server.url("/moved"),
        documents.server.url("/large"),
    ];
    for (index, url) in urls.into_iter().enumerate() {
        let change = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": url});
        let id = documents.publish(&format!("/{index}"), &change);
        assert_unknown(documents.ask(&id).await, &url);
    }
}

/// Threat T63
#[tokio::test]
async fn no_redirect_is_followed() {
    let (Some(documents), Some(target)) = (Documents::new(), DocumentServer::start()) else { return };
    for status in [301, 302, 303, 307, 308] {
        let path = format!("/{status}");
        let id = documents.server.url(&path);
        target.answer("/c", Answer::json(&document(&id, &json!({}))));
        let answer = Answer::json(&document(&id, &json!({})));
        let answer = Answer { status, ..answer }.header("location", target.url("/c"));
        documents.server.answer(&path, answer);
        assert_unknown(documents.ask(&id).await, &path);
    }
    assert_eq!((documents.server.requests(), target.connections()), (5, 0));
}

/// Threat T63
#[tokio::test]
async fn only_status_200_is_a_document() {
    let Some(documents) = Documents::new() else { return };
    for status in [201, 203, 206, 304, 400, 404, 405, 406, 410, 451] {
        let path = format!("/{status}");
        let id = documents.server.url(&path);
        documents.server.answer(&path, Answer { status, ..Answer::json(&document(&id, &json!({}))) });
        assert_unknown(documents.ask(&id).await, &path);
    }
}

/// Threat T64
#[tokio::test]
async fn a_document_has_at_most_5_kib() {
    let Some(documents) = Documents::new() else { return };
    let padded = |id: &str, length: usize| {
        let text = document(id, &json!({})).to_string();
        format!("{text}{}", " ".repeat(length - text.len()))
    };
    for (path, length, is_accepted) in [("/most", 5120, true), ("/more", 5121, false), ("/far", 10 << 20, false)] {
        let id = documents.server.url(path);
        documents.server.answer(path, Answer::json_text(padded(&id, length)));
        assert_eq!(documents.ask(&id).await.is_ok(), is_accepted, "{path}");
        // Without a length, in chunks.
        let path = &format!("{path}-chunked");
        let id = documents.server.url(path);
        let text = padded(&id, length);
        let chunks = format!("{length:x}\r\n{text}\r\n0\r\n\r\n");
        documents.server.answer(path, Answer::json_text(chunks).header("transfer-encoding", "chunked"));
        let asked = documents.ask(&id).await;
        assert_eq!(asked.is_ok(), is_accepted, "{path}");
        if !is_accepted {
            assert_unknown(asked, path);
        }
    }
}

/// Threat T64
#[tokio::test]
async fn a_compressed_document_is_refused() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.server.url("/c");
    let answer = Answer::json(&document(&id, &json!({}))).header("content-encoding", "gzip");
    documents.server.answer("/c", answer);
    assert_unknown(documents.ask(&id).await, "gzip");
}

/// Threat T64
#[tokio::test]
async fn a_slow_document_ends_after_three_seconds() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.server.url("/c");
    let answer = Answer::json(&document(&id, &json!({})));
    documents.server.answer("/c", Answer { hangs: true, ..answer });
    let begun = Instant::now();
    documents.world.redeem("x", &[("client_id", &id)]).await.is_error(503, "temporarily_unavailable");
    let time = begun.elapsed();
    assert!(time >= Duration::from_secs(2) && time < Duration::from_secs(5), "{time:?}");
}

/// Threat T64
#[tokio::test]
async fn a_flood_of_ids_causes_at_most_4_fetches_of_one_host_at_once() {
    let Some(documents) = Documents::new() else { return };
    let ids: Vec<_> = (0..40).map(|index| slow(&documents, "localhost", index)).collect();
    for asked in join_all(ids.iter().map(|id| documents.ask(id))).await {
        asked.unwrap();
    }
    let most = documents.server.most_open();
    assert!((2..=4).contains(&most), "{most}");
    assert_eq!(documents.server.requests(), 40);
}

/// Threat T64
#[tokio::test]
async fn a_flood_of_ids_causes_at_most_16_fetches_at_once() {
    let trusted = |builder: ClientDocumentsBuilder| builder.trust_hosts(ADDRESSES).danger_allow_loopback();
    let Some(documents) = Documents::with(trusted) else { return };
    if !ADDRESSES[1..].iter().all(|address| documents.server.also_at(address)) {
        return not_run(
            "the limit of all fetches",
            "further loopback addresses, 127.0.0.2 and others, as Linux has them",
        );
    }
    let ids = ADDRESSES.iter().enumerate().flat_map(|(number, host)| {
        let documents = &documents;
        (0..8).map(move |index| slow(documents, host, number * 8 + index))
    });
    let ids: Vec<_> = ids.collect();
    for asked in join_all(ids.iter().map(|id| documents.ask(id))).await {
        asked.unwrap();
    }
    let most = documents.server.most_open();
    assert!((5..=16).contains(&most), "{most}");
    assert_eq!(documents.server.requests(), 48);
}

/// Threat T64
#[tokio::test]
async fn a_slow_host_occupies_no_places_of_other_hosts() {
    let trusted =
        |builder: ClientDocumentsBuilder| builder.trust_hosts(["localhost", "127.0.0.1"]).danger_allow_loopback();
    let Some(documents) = Documents::with(trusted) else { return };
    let hanging: Vec<_> = (0..40).map(|index| hanging(&documents, index)).collect();
    let id = documents.server.url_at("127.0.0.1", "/c");
    documents.server.answer("/c", Answer::json(&document(&id, &json!({}))));
    tokio::select! {
        biased;
        _ = join_all(hanging.iter().map(|id| documents.ask(id))) => panic!("the slow host had responded"),
        asked = documents.ask(&id) => assert!(asked.is_ok(), "{asked:?}"),
    }
}

/// Threat T64
#[tokio::test]
async fn a_time_out_while_waiting_for_a_place_is_not_cached() {
    let Some(documents) = Documents::new() else { return };
    let hanging: Vec<_> = (0..4).map(|index| hanging(&documents, index)).collect();
    let id = documents.publish("/c", &json!({}));
    let mut others = pin!(join_all(hanging.iter().map(|id| documents.ask(id))));
    assert!(futures_util::poll!(&mut others).is_pending());
    let mut waiting = pin!(documents.ask(&id));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    documents.world.clock.advance(Duration::from_secs(3));
    assert_eq!(waiting.await.unwrap_err(), UNAVAILABLE);
    for asked in others.await {
        assert_eq!(asked.unwrap_err(), UNAVAILABLE);
    }
    documents.ask(&id).await.unwrap();
    // A fetch that had a place has failed.
    let before = documents.server.requests();
    assert_eq!(documents.ask(&hanging[0]).await.unwrap_err(), UNAVAILABLE);
    assert_eq!(documents.server.requests(), before);
}

/// Threat T64a
#[tokio::test]
async fn a_flood_of_ids_does_not_delay_the_removal_of_a_document() {
    let Some(documents) = Documents::new() else { return };
    let used = documents.publish("/used", &json!({}));
    documents.ask(&used).await.unwrap();
    documents.world.clock.advance(Duration::from_secs(30));
    documents.server.answer("/used", Answer::new(404, ""));
    let hanging: Vec<_> = (0..40).map(|index| hanging(&documents, index)).collect();
    let credential = [("client_id", &*used)];
    tokio::select! {
        biased;
        _ = join_all(hanging.iter().map(|id| documents.ask(id))) => panic!("the flood ended first"),
        answer = documents.world.redeem("x", &credential) => answer.is_error(401, "invalid_client"),
    }
}

/// Threat T64a
#[tokio::test]
async fn without_a_place_for_the_fetch_a_document_is_used_for_at_most_an_hour() {
    let Some(documents) = Documents::new() else { return };
    let world = &documents.world;
    let used = documents.publish("/used", &json!({}));
    let others: Vec<_> = (0..5).map(|index| documents.publish(&format!("/hanging-{index}"), &json!({}))).collect();
    for id in others.iter().chain([&used]) {
        documents.ask(id).await.unwrap();
    }
    // So that all places of the host are occupied, also those for clients in use.
    (0..5).for_each(|index| drop(hanging(&documents, index)));
    // The age when the 3 seconds for the fetch are over.
    let mut age = 0;
    for (next, status, code) in
        [(33, 400, "invalid_grant"), (3599, 400, "invalid_grant"), (3607, 503, "temporarily_unavailable")]
    {
        world.clock.advance(Duration::from_secs(next - 3 - age));
        age = next;
        let mut flood = pin!(join_all(others.iter().map(|id| documents.ask(id))));
        assert!(futures_util::poll!(&mut flood).is_pending());
        let credential = [("client_id", &*used)];
        let mut answer = pin!(world.redeem("x", &credential));
        assert!(futures_util::poll!(&mut answer).is_pending());
        world.clock.advance(Duration::from_secs(3));
        answer.await.is_error(status, code);
        flood.await;
    }
}

/// Threat T61
#[tokio::test]
async fn a_subject_is_never_fetched() {
    let Some(documents) = Documents::new() else { return };
    let (id, user) = (documents.publish("/c", &json!({})), documents.publish("/user", &json!({})));
    let approve = async |subject: &str| {
        let request = documents.ask(&id).await.unwrap();
        sent(&request.approve(subject, ["orders:read"]).await.map(Body::new))
    };
    assert!(approve(&user).await.iter().any(|(name, _)| name == "code"));
    for client in [&*id, "watch"] {
        let refused = ("error".to_owned(), "server_error".to_owned());
        assert!(approve(client).await.contains(&refused), "{client}");
    }
    assert_eq!(documents.server.requests(), 1);
}

/// Threat T64
#[tokio::test]
async fn what_a_client_names_is_logged_as_a_short_warning() {
    let Some(documents) = Documents::new() else { return };
    let log = Log::default();
    let _guard = log.install();
    // Another thread may have registered the place of an event without this log.
    tracing::callsite::rebuild_interest_cache();
    let wrong = documents.publish("/wrong", &json!({"redirect_uris": "long".repeat(1000)}));
    documents.server.answer("/503", Answer::new(503, ""));
    let failing = documents.server.url("/503");
    for id in [&wrong, &failing] {
        documents.ask(id).await.unwrap_err();
        documents.world.redeem("x", &[("client_id", id)]).await;
    }
    let text = log.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("client metadata document: ")).collect();
    assert_eq!(lines.len(), 2, "once for each fetch: {text}");
    for (line, reason) in lines.iter().zip(["longlong", "the response has status 503"]) {
        assert!(line.contains(" WARN ") && line.contains(reason), "{line}");
        assert!(line.len() < 500 && !line.contains(&"long".repeat(50)), "{line}");
    }
    assert!(!text.contains("ERROR"), "{text}");
}

/// Threat T61
#[tokio::test]
async fn the_log_says_that_an_address_is_not_public() {
    let Some(documents) = Documents::with(|builder| builder.trust_hosts(["localhost", "127.0.0.1"])) else { return };
    let log = Log::default();
    let _guard = log.install();
    tracing::callsite::rebuild_interest_cache();
    for host in ["localhost", "127.0.0.1"] {
        assert_unknown(documents.ask(&documents.server.url_at(host, "/c")).await, host);
    }
    let text = log.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("client metadata document: refused")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for line in lines {
        assert!(line.contains("the host has an address that is not public"), "{line}");
    }
}

/// Publishes a document that arrives after 50 ms.
fn slow(documents: &Documents, host: &str, index: usize) -> String {
    let path = format!("/slow-{index}");
    let id = documents.server.url_at(host, &path);
    let answer = Answer::json(&document(&id, &json!({})));
    documents.server.answer(&path, Answer { delay: Duration::from_millis(50), ..answer });
    id
}

/// Publishes a document that never arrives completely.
fn hanging(documents: &Documents, index: usize) -> String {
    let path = format!("/hanging-{index}");
    let id = documents.server.url(&path);
    let answer = Answer::json(&document(&id, &json!({})));
    documents.server.answer(&path, Answer { hangs: true, ..answer });
    id
}
