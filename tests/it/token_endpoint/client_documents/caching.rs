//! When documents are fetched again, by a clock that the test moves.

use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use serde_json::json;
use tower_oauth::{clock::Clock as _, keys::Algorithm, testing::MockIssuer};

use super::{Answer, CB, Documents, JWT_BEARER, UNAVAILABLE, assertion, document};
use crate::token_endpoint::sent;

const SECOND: Duration = Duration::from_secs(1);

/// Threat T65
#[tokio::test]
async fn a_document_is_fetched_again_when_its_headers_say_so() {
    let Some(documents) = Documents::new() else { return };
    let cases = [("none", 30), ("max-age=1", 30), ("max-age=600", 600), ("no-store", 30), ("max-age=31536000", 86_400)];
    for (index, (header, seconds)) in cases.into_iter().enumerate() {
        let path = format!("/{index}");
        let id = documents.server.url(&path);
        let answer = Answer::json(&document(&id, &json!({})));
        documents.server.answer(&path, if header == "none" { answer } else { answer.header("cache-control", header) });
        let before = documents.server.requests();
        documents.ask(&id).await.unwrap();
        documents.world.clock.advance(Duration::from_secs(seconds - 1));
        documents.ask(&id).await.unwrap();
        assert_eq!(documents.server.requests(), before + 1, "{header}");
        documents.world.clock.advance(SECOND);
        documents.ask(&id).await.unwrap();
        assert_eq!(documents.server.requests(), before + 2, "{header}");
    }
}

/// Threat T64
#[tokio::test]
async fn a_failure_is_cached_for_five_seconds() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.server.url("/c");
    for (status, text) in [(404, super::UNKNOWN), (500, UNAVAILABLE), (200, super::UNKNOWN), (429, UNAVAILABLE)] {
        let answer = Answer::new(status, "").header("cache-control", "max-age=86400");
        documents.server.answer("/c", answer);
        let before = documents.server.requests();
        for _ in 0..3 {
            assert_eq!(documents.ask(&id).await.unwrap_err(), text);
        }
        documents.world.clock.advance(SECOND * 4);
        assert_eq!(documents.ask(&id).await.unwrap_err(), text);
        assert_eq!(documents.server.requests(), before + 1);
        documents.world.clock.advance(SECOND);
    }
    documents.publish("/c", &json!({}));
    documents.ask(&id).await.unwrap();
}

/// Threat T60
#[tokio::test]
async fn a_server_that_fails_is_503_and_never_an_unknown_client() {
    let Some(documents) = Documents::new() else { return };
    let unreachable = "https://localhost:1/c".to_owned();
    let mut urls = vec![unreachable];
    for status in [500, 502, 503, 401, 403, 407, 408, 421, 429] {
        // The status counts, also with a larger body than that of a document.
        let large = "x".repeat(6 * 1024);
        let chunked = Answer::new(status, format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()));
        let answers =
            [Answer::new(status, ""), Answer::new(status, large), chunked.header("transfer-encoding", "chunked")];
        for (index, answer) in answers.into_iter().enumerate() {
            let path = format!("/{status}-{index}");
            documents.server.answer(&path, answer);
            urls.push(documents.server.url(&path));
        }
    }
    for id in &urls {
        let error = documents.world.ask(&[("client_id", id)]).await.unwrap_err();
        assert_eq!(error.into_response().status(), 503, "{id}");
        documents.world.redeem("x", &[("client_id", id)]).await.is_error(503, "temporarily_unavailable");
    }
}

/// Threat T60
#[tokio::test]
async fn while_its_server_is_down_an_expired_document_is_not_used_for_approvals_but_else_for_a_day() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.publish("/c", &json!({}));
    let world = &documents.world;
    let code = world.code(&[("client_id", &id)]).await;
    let issued = world.redeem(&code, &[("client_id", &id)]).await;
    let access = issued.text("access_token");
    documents.server.answer("/c", Answer::new(503, ""));
    documents.ask(&id).await.unwrap();
    world.clock.advance(SECOND * 30);
    assert!(world.is_active(access).await);
    assert_eq!(documents.ask(&id).await.unwrap_err(), UNAVAILABLE);
    assert!(world.is_active(access).await);
    world.refresh(issued.text("refresh_token"), &[("client_id", &id)]).await.is_ok();
    assert_eq!(documents.server.requests(), 2, "a failure is cached");
    world.clock.advance(SECOND * 5);
    assert!(world.is_active(access).await);
    assert_eq!(documents.server.requests(), 3);
    world.clock.advance(SECOND * (86_400 - 36));
    world.redeem("x", &[("client_id", &id)]).await.is_error(400, "invalid_grant");
    world.clock.advance(SECOND);
    world.redeem("x", &[("client_id", &id)]).await.is_error(503, "temporarily_unavailable");
    documents.publish("/c", &json!({}));
    world.clock.advance(SECOND * 5);
    documents.ask(&id).await.unwrap();
}

/// Threat T60
#[tokio::test]
async fn a_document_that_is_removed_after_an_outage_ends_its_client() {
    let Some(documents) = Documents::new() else { return };
    let world = &documents.world;
    for (index, end) in [Answer::new(404, ""), Answer::json(&json!({}))].into_iter().enumerate() {
        let path = format!("/{index}");
        let id = documents.publish(&path, &json!({}));
        documents.ask(&id).await.unwrap();
        let steps = [
            (Answer::new(503, ""), 400, "invalid_grant"),
            (end, 401, "invalid_client"),
            (Answer::new(503, ""), 503, "temporarily_unavailable"),
        ];
        for (answer, status, code) in steps {
            documents.server.answer(&path, answer);
            world.clock.advance(SECOND * 30);
            world.redeem("x", &[("client_id", &id)]).await.is_error(status, code);
        }
    }
}

/// Threat T60
#[tokio::test]
async fn a_firewall_before_the_server_of_a_document_ends_no_client() {
    let Some(documents) = Documents::new() else { return };
    let world = &documents.world;
    for (status, refused, code) in [
        (401, 400, "invalid_grant"),
        (403, 400, "invalid_grant"),
        (407, 400, "invalid_grant"),
        (421, 400, "invalid_grant"),
        (404, 401, "invalid_client"),
        (410, 401, "invalid_client"),
    ] {
        let path = format!("/{status}");
        let id = documents.publish(&path, &json!({}));
        documents.ask(&id).await.unwrap();
        documents.server.answer(&path, Answer::new(status, ""));
        world.clock.advance(SECOND * 30);
        world.redeem("x", &[("client_id", &id)]).await.is_error(refused, code);
        let text = if refused == 400 { UNAVAILABLE } else { super::UNKNOWN };
        assert_eq!(documents.ask(&id).await.unwrap_err(), text, "{status}");
    }
}

/// Threat T65
#[tokio::test]
async fn a_suspended_machine_or_a_changed_time_of_day_lengthens_no_use_of_a_document() {
    let Some(documents) = Documents::new() else { return };
    let (id, clock) = (documents.publish("/c", &json!({})), &documents.world.clock);
    documents.ask(&id).await.unwrap();
    clock.suspend(SECOND * 30);
    documents.ask(&id).await.unwrap();
    assert_eq!(documents.server.requests(), 2);
    clock.set(clock.now() - SECOND * 86_400);
    clock.advance(SECOND * 30);
    documents.ask(&id).await.unwrap();
    assert_eq!(documents.server.requests(), 3);
    documents.server.answer("/c", Answer::new(503, ""));
    clock.suspend(SECOND * 86_399);
    documents.world.redeem("x", &[("client_id", &id)]).await.is_error(400, "invalid_grant");
    clock.suspend(SECOND);
    documents.world.redeem("x", &[("client_id", &id)]).await.is_error(503, "temporarily_unavailable");
}

/// Threat T60
#[tokio::test]
async fn of_more_than_1000_clients_those_that_were_used_last_survive_an_outage() {
    let Some(documents) = Documents::new() else { return };
    let world = &documents.world;
    let published = |index: usize| documents.publish(&format!("/{index}"), &json!({}));
    let used = async |id: &str| world.redeem("x", &[("client_id", id)]).await.json["error"].clone();
    let first = published(0);
    assert_eq!(used(&first).await, "invalid_grant");
    for hundred in 0..14 {
        let ids: Vec<_> = (1..=100).map(|index| published(hundred * 100 + index)).collect();
        for error in join_all(ids.iter().map(|id| used(id))).await {
            assert_eq!(error, "invalid_grant");
        }
        let before = documents.server.requests();
        assert_eq!(used(&first).await, "invalid_grant");
        assert_eq!(documents.server.requests(), before, "the first client is used, and not read again");
    }
    for path in ["/0", "/1", "/1200"] {
        documents.server.answer(path, Answer::new(503, ""));
    }
    world.clock.advance(SECOND * 30);
    let (oldest, newer) = (documents.server.url("/1"), documents.server.url("/1200"));
    let errors = [used(&first).await, used(&newer).await, used(&oldest).await];
    assert_eq!(errors, ["invalid_grant", "invalid_grant", "temporarily_unavailable"]);
}

/// Threat T65
#[tokio::test]
async fn a_document_with_keys_is_cached_for_at_most_an_hour() {
    let Some(documents) = Documents::new() else { return };
    let jwks = MockIssuer::new("https://client.test").jwks();
    let keys = Answer::json(&jwks).header("cache-control", "max-age=86400");
    documents.server.answer("/keys", keys);
    let ways = [json!({"jwks": jwks}), json!({"jwks_uri": documents.server.url("/keys")})];
    for (index, mut change) in ways.into_iter().enumerate() {
        change["token_endpoint_auth_method"] = json!("private_key_jwt");
        let path = format!("/{index}");
        let id = documents.server.url(&path);
        let answer = Answer::json(&document(&id, &change)).header("cache-control", "max-age=86400");
        documents.server.answer(&path, answer);
        documents.ask(&id).await.unwrap();
        let before = documents.server.requests();
        documents.world.clock.advance(SECOND * 3599);
        documents.ask(&id).await.unwrap();
        assert_eq!(documents.server.requests(), before, "{change}");
        documents.world.clock.advance(SECOND);
        documents.ask(&id).await.unwrap();
        assert!(documents.server.requests() > before, "{change}");
    }
}

/// Threat T64
#[tokio::test]
async fn concurrent_requests_with_one_id_cause_one_fetch() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.server.url("/c");
    let answer = Answer::json(&document(&id, &json!({})));
    documents.server.answer("/c", Answer { delay: Duration::from_millis(100), ..answer });
    for asked in join_all((0..50).map(|_| documents.ask(&id))).await {
        asked.unwrap();
    }
    assert_eq!(documents.server.connections(), 1);
}

#[tokio::test]
async fn a_request_that_is_cancelled_does_not_stop_the_others() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.server.url("/c");
    let answer = Answer::json(&document(&id, &json!({})));
    documents.server.answer("/c", Answer { delay: Duration::from_millis(100), ..answer });
    let (first, second) = (documents.ask(&id), documents.ask(&id));
    let mut first = Box::pin(first);
    assert!(futures_util::poll!(&mut first).is_pending());
    let (second, ()) = tokio::join!(second, async {
        tokio::task::yield_now().await;
        drop(first);
    });
    second.unwrap();
}

/// Threat T65
#[tokio::test]
async fn a_removed_document_ends_what_was_issued() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.publish("/c", &json!({}));
    let world = &documents.world;
    let code = world.code(&[("client_id", &id)]).await;
    let issued = world.redeem(&code, &[("client_id", &id)]).await;
    assert!(world.is_active(issued.text("access_token")).await);
    documents.server.answer("/c", Answer::new(404, ""));
    world.clock.advance(SECOND * 30);
    assert!(!world.is_active(issued.text("access_token")).await);
    world.refresh(issued.text("refresh_token"), &[("client_id", &id)]).await.is_error(401, "invalid_client");
}

/// Threat T65
#[tokio::test]
async fn a_removed_redirect_uri_gets_no_code_any_more() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.publish("/c", &json!({}));
    documents.ask(&id).await.unwrap();
    documents.publish("/c", &json!({"redirect_uris": ["https://new.test/cb"]}));
    documents.world.clock.advance(SECOND * 30);
    let refused = documents.ask(&id).await.unwrap_err();
    assert!(refused.contains("not registered"), "{refused}");
    let request = documents.world.ask(&[("client_id", &id), ("redirect_uri", "https://new.test/cb")]).await.unwrap();
    let response = request.approve("ada", ["orders:read"]).await.map(Body::new);
    assert!(response.headers()["location"].to_str().unwrap().starts_with("https://new.test/cb?"));
    assert!(sent(&response).iter().any(|(name, _)| name == "code"));
}

/// Threat T65
#[tokio::test]
async fn a_rotated_key_replaces_the_old_one() {
    let Some(documents) = Documents::new() else { return };
    let world = &documents.world;
    let key =
        |algorithm| MockIssuer::new("https://client.test").with_algorithm(algorithm).with_clock(world.clock.clone());
    let (old, new) = (key(Algorithm::ES256), key(Algorithm::ES384));
    documents.server.answer("/keys", Answer::json(&old.jwks()).header("cache-control", "max-age=60"));
    let change = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": documents.server.url("/keys")});
    let id = documents.server.url("/c");
    documents.server.answer("/c", Answer::json(&document(&id, &change)).header("cache-control", "max-age=3600"));
    let status = async |key: &MockIssuer, jti: &str| {
        let signed = assertion(key, &id, jti);
        let proof = [("client_id", &*id), ("client_assertion", &signed), ("client_assertion_type", JWT_BEARER)];
        world.redeem("unknown", &proof).await.json["error"].as_str().unwrap().to_owned()
    };
    assert_eq!((status(&old, "a").await, status(&new, "b").await), ("invalid_grant".into(), "invalid_client".into()));
    documents.server.answer("/keys", Answer::json(&new.jwks()).header("cache-control", "max-age=60"));
    world.clock.advance(SECOND * 60);
    assert_eq!((status(&old, "c").await, status(&new, "d").await), ("invalid_client".into(), "invalid_grant".into()));
    assert_eq!(documents.world.ask(&[("client_id", &id)]).await.unwrap().redirect_uri(), CB);
}
