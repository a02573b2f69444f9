//! The circuit breaker of introspection: when it opens, for how long, and that neither a burst of failures, nor a lost
//! probe, nor an attacker's token keeps it open.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tower_oauth::{error::AuthErrorKind, verify::IntrospectionVerifierBuilder};

use crate::{
    fake_issuer::Answer,
    introspection::{IntrospectionFixture, NOW, SECOND, soon},
};

const FIVE: usize = 5;

/// A fixture whose breaker is open after five failures in a row.
async fn opened() -> IntrospectionFixture {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    fixture.fake.introspection(Answer::Status(500));
    for _ in 0..FIVE {
        fixture.assert_unavailable("5", "the server's failure").await;
    }
    assert_eq!(fixture.fake.introspection_count(), FIVE);
    fixture
}

#[tokio::test]
async fn after_five_failures_in_a_row_it_stays_open_for_a_second() {
    let fixture = opened().await;
    fixture.respond_with(&fixture.active());
    for _ in 0..10 {
        fixture.assert_unavailable("1", "at once").await;
    }
    fixture.clock.advance(Duration::from_millis(999));
    fixture.assert_unavailable("1", "at once").await;
    assert_eq!(fixture.fake.introspection_count(), FIVE);
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.kind("opaque").await, None, "the probe");
    for _ in 0..10 {
        assert_eq!(fixture.kind("opaque").await, None, "the breaker is closed");
    }
    assert_eq!(fixture.fake.introspection_count(), FIVE + 11);
}

#[tokio::test]
async fn failures_that_are_not_in_a_row_do_not_open_it() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    for healthy in [fixture.active(), json!({"active": false}), fixture.active_with("exp", json!(1))] {
        for _ in 0..3 {
            fixture.fake.introspection(Answer::Status(500));
            for _ in 0..4 {
                fixture.assert_unavailable("5", "").await;
            }
            fixture.respond_with(&healthy);
            drop(fixture.authenticate("opaque").await);
        }
    }
    assert_eq!(fixture.fake.introspection_count(), 45, "every request called the issuer");
}

#[tokio::test]
async fn without_a_breaker_every_request_calls_the_issuer() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.introspection(Answer::Status(500));
    for _ in 0..20 {
        fixture.assert_unavailable("5", "").await;
    }
    assert_eq!(fixture.fake.introspection_count(), 20);
}

#[tokio::test]
async fn sends_one_probe_after_each_pause_and_pauses_grow_to_30_seconds() {
    let fixture = opened().await;
    for (round, pause) in [1, 2, 4, 8, 16, 30, 30, 30].into_iter().enumerate() {
        fixture.assert_unavailable(&pause.to_string(), "the pause").await;
        fixture.clock.advance(Duration::from_millis(pause * 1000 - 1));
        fixture.assert_unavailable("1", "the pause").await;
        assert_eq!(fixture.fake.introspection_count(), FIVE + round);
        fixture.clock.advance(Duration::from_millis(1));
        let verdicts = join_all((0..100).map(|_| fixture.kind("opaque"))).await;
        assert!(verdicts.iter().all(|kind| *kind == Some(AuthErrorKind::Unavailable)));
        assert_eq!(fixture.fake.introspection_count(), FIVE + round + 1, "one of a hundred requests is a probe");
    }
    fixture.respond_with(&fixture.active_with("exp", json!(NOW + 100_000)));
    fixture.clock.advance(30 * SECOND);
    assert_eq!(fixture.kind("opaque").await, None);
    // After a success, the count and the pauses start again.
    fixture.fake.introspection(Answer::Status(500));
    for _ in 0..FIVE {
        fixture.assert_unavailable("5", "").await;
    }
    fixture.assert_unavailable("1", "").await;
}

#[tokio::test]
async fn a_hundred_failures_at_once_open_it_for_one_second() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    fixture.fake.introspection(Answer::Status(500));
    join_all((0..100).map(|_| fixture.kind("opaque"))).await;
    let asked = fixture.fake.introspection_count();
    fixture.respond_with(&fixture.active());
    fixture.assert_unavailable("1", "the first pause is one second").await;
    fixture.clock.advance(SECOND);
    assert_eq!((fixture.kind("opaque").await, fixture.fake.introspection_count()), (None, asked + 1));
}

#[tokio::test]
async fn the_request_after_a_cancelled_probe_is_the_next_probe() {
    let fixture = opened().await;
    fixture.fake.introspection(Answer::Hang);
    fixture.clock.advance(SECOND);
    let mut probe = Box::pin(fixture.authenticate("opaque"));
    tokio::select! {
        verdict = &mut probe => panic!("{verdict:?}"),
        () = fixture.fake.wait_for_introspections(FIVE + 1) => {}
    }
    fixture.respond_with(&fixture.active());
    fixture.assert_unavailable("1", "while it hangs").await;
    drop(probe);
    assert_eq!(fixture.kind("opaque").await, None, "the probe was cancelled, so the next request is a probe");
    assert_eq!(fixture.fake.introspection_count(), FIVE + 2);
}

/// While the server hangs, each pause ends with a new probe. When the probes time out, they count as one failure.
#[tokio::test]
async fn timed_out_probes_of_earlier_pauses_do_not_extend_the_pause() {
    let fixture = opened().await;
    fixture.fake.introspection(Answer::Hang);
    let mut probes = Vec::new();
    for count in 1..=3 {
        fixture.clock.advance(SECOND);
        let mut probe = Box::pin(fixture.authenticate("opaque"));
        tokio::select! {
            verdict = &mut probe => panic!("{verdict:?}"),
            () = fixture.fake.wait_for_introspections(FIVE + count) => {}
        }
        probes.push(probe);
    }
    fixture.respond_with(&fixture.active());
    fixture.clock.advance(2 * SECOND);
    for probe in probes {
        fixture.clock.advance(SECOND);
        assert_eq!(soon(probe).await.unwrap_err().kind(), AuthErrorKind::Unavailable);
    }
    assert_eq!(fixture.kind("opaque").await, None, "two seconds after the first probe timed out");
}

#[tokio::test]
async fn responses_that_only_the_token_can_have_caused_do_not_open_it() {
    // oidc-provider sends 400 in response to a JWT, and every client can send a JWT.
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    for status in [400, 413, 414, 422, 431] {
        let unsupported = br#"{"error":"unsupported_token_type"}"#.to_vec();
        fixture.fake.introspection_of("eve.s.jwt", Answer::Whole(status, String::new(), unsupported));
        for _ in 0..20 {
            assert_eq!(fixture.kind("eve.s.jwt").await, Some(AuthErrorKind::Unavailable));
        }
    }
    assert_eq!(fixture.kind("opaque").await, None, "Ada's token is still accepted");
}
