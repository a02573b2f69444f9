//! The circuit breaker of introspection: when it opens, for how long, and that neither a burst, nor a probe, nor a stranger's
//! token locks anybody out.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tower_oauth::{error::AuthErrorKind, verify::IntrospectionVerifierBuilder};

use crate::{
    fake_issuer::Answer,
    introspection::{IntrospectionFixture, NOW, SECOND, soon},
};

const FIVE: usize = 5;

/// With a breaker, after five failures in a row.
async fn broken() -> IntrospectionFixture {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    fixture.fake.introspection(Answer::Status(500));
    for _ in 0..FIVE {
        fixture.is_unavailable("5", "the server's failure").await;
    }
    assert_eq!(fixture.fake.introspection_count(), FIVE);
    fixture
}

#[tokio::test]
async fn after_five_failures_in_a_row_nobody_is_asked_for_a_second() {
    let fixture = broken().await;
    fixture.says(&fixture.good());
    for _ in 0..10 {
        fixture.is_unavailable("1", "at once").await;
    }
    fixture.clock.advance(Duration::from_millis(999));
    fixture.is_unavailable("1", "at once").await;
    assert_eq!(fixture.fake.introspection_count(), FIVE);
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.kind("opaque").await, None, "the probe");
    for _ in 0..10 {
        assert_eq!(fixture.kind("opaque").await, None, "the way is open for all");
    }
    assert_eq!(fixture.fake.introspection_count(), FIVE + 11);
}

#[tokio::test]
async fn failures_that_are_not_in_a_row_open_nothing() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    for healthy in [fixture.good(), json!({"active": false}), fixture.good_but("exp", json!(1))] {
        for _ in 0..3 {
            fixture.fake.introspection(Answer::Status(500));
            for _ in 0..4 {
                fixture.is_unavailable("5", "").await;
            }
            fixture.says(&healthy);
            drop(fixture.authenticate("opaque").await);
        }
    }
    assert_eq!(fixture.fake.introspection_count(), 45, "each of them asked");
}

#[tokio::test]
async fn without_a_breaker_every_request_asks() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.introspection(Answer::Status(500));
    for _ in 0..20 {
        fixture.is_unavailable("5", "").await;
    }
    assert_eq!(fixture.fake.introspection_count(), 20);
}

#[tokio::test]
async fn one_probe_goes_out_and_the_pauses_grow_up_to_half_a_minute() {
    let fixture = broken().await;
    for (round, pause) in [1, 2, 4, 8, 16, 30, 30, 30].into_iter().enumerate() {
        fixture.is_unavailable(&pause.to_string(), "the pause").await;
        fixture.clock.advance(Duration::from_millis(pause * 1000 - 1));
        fixture.is_unavailable("1", "the pause").await;
        assert_eq!(fixture.fake.introspection_count(), FIVE + round);
        fixture.clock.advance(Duration::from_millis(1));
        let verdicts = join_all((0..100).map(|_| fixture.kind("opaque"))).await;
        assert!(verdicts.iter().all(|kind| *kind == Some(AuthErrorKind::Unavailable)));
        assert_eq!(fixture.fake.introspection_count(), FIVE + round + 1, "one probe of a hundred requests");
    }
    fixture.says(&fixture.good_but("exp", json!(NOW + 100_000)));
    fixture.clock.advance(30 * SECOND);
    assert_eq!(fixture.kind("opaque").await, None);
    // And from the beginning again.
    fixture.fake.introspection(Answer::Status(500));
    for _ in 0..FIVE {
        fixture.is_unavailable("5", "").await;
    }
    fixture.is_unavailable("1", "").await;
}

#[tokio::test]
async fn a_hundred_failures_at_once_cost_the_same_second_as_five() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    fixture.fake.introspection(Answer::Status(500));
    join_all((0..100).map(|_| fixture.kind("opaque"))).await;
    let asked = fixture.fake.introspection_count();
    fixture.says(&fixture.good());
    fixture.is_unavailable("1", "a moment's trouble is over in a moment").await;
    fixture.clock.advance(SECOND);
    assert_eq!((fixture.kind("opaque").await, fixture.fake.introspection_count()), (None, asked + 1));
}

#[tokio::test]
async fn a_probe_that_hangs_or_whose_request_went_away_locks_nobody_out_for_ever() {
    let fixture = broken().await;
    fixture.fake.introspection(Answer::Hang);
    fixture.clock.advance(SECOND);
    let mut probe = Box::pin(fixture.authenticate("opaque"));
    tokio::select! {
        verdict = &mut probe => panic!("{verdict:?}"),
        () = fixture.fake.wait_for_introspections(FIVE + 1) => {}
    }
    fixture.says(&fixture.good());
    fixture.is_unavailable("1", "while it hangs").await;
    drop(probe);
    assert_eq!(fixture.kind("opaque").await, None, "its request went away, so the next one probes");
    assert_eq!(fixture.fake.introspection_count(), FIVE + 2);
}

/// While the server hangs, a probe goes out with each pause; when they are given up, they count as one.
#[tokio::test]
async fn probes_that_were_outrun_by_another_make_no_pause_longer() {
    let fixture = broken().await;
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
    fixture.says(&fixture.good());
    fixture.clock.advance(2 * SECOND);
    for probe in probes {
        fixture.clock.advance(SECOND);
        assert_eq!(soon(probe).await.unwrap_err().kind(), AuthErrorKind::Unavailable);
    }
    assert_eq!(fixture.kind("opaque").await, None, "two seconds after the first was given up");
}

#[tokio::test]
async fn a_question_that_only_the_token_can_have_spoilt_does_not_open_the_breaker() {
    // oidc-provider answers so when it is asked about a JWT, and anybody can send one.
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    for status in [400, 413, 414, 422, 431] {
        let unsupported = br#"{"error":"unsupported_token_type"}"#.to_vec();
        fixture.fake.introspection_of("eve.s.jwt", Answer::Whole(status, String::new(), unsupported));
        for _ in 0..20 {
            assert_eq!(fixture.kind("eve.s.jwt").await, Some(AuthErrorKind::Unavailable));
        }
    }
    assert_eq!(fixture.kind("opaque").await, None, "Ada does not pay for it");
}
