//! How long a verdict is cached, to the nanosecond, with a clock that the test advances.

use proptest::prelude::*;
use tower_oauth::verify::CachedBuilder;

use super::{
    AuthErrorKind, Cached, Clock as _, Duration, HOUR, INSTANT, SECOND, Server, ServerResponse, Value, cached, clock,
    json, seconds_from_now, subject,
};
use crate::random::check;

/// Sends a token with this `exp` at these moments. Returns the number of the server's calls after each.
async fn calls_with(exp: Value, max_age: Duration, moments: &[Duration]) -> Vec<usize> {
    let server = Server::new();
    let (cached, clock) = cached(&server, max_age);
    server.set_response(
        "ada",
        ServerResponse::Active(if exp.is_null() { json!({"sub": "ada"}) } else { json!({"sub": "ada", "exp": exp}) }),
    );
    let mut calls = Vec::new();
    let start = clock.now();
    for moment in moments {
        let passed = clock.now().duration_since(start).unwrap();
        clock.advance(*moment - passed);
        assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
        calls.push(server.calls());
    }
    calls
}

const AGE: Duration = Duration::from_secs(30);

/// RFC 7662 §4 c (MUST NOT, accepts)
#[tokio::test]
async fn a_verdict_is_cached_for_exactly_max_age() {
    let moments = [Duration::ZERO, AGE - INSTANT, AGE, AGE + AGE - INSTANT, AGE + AGE];
    assert_eq!(calls_with(Value::Null, AGE, &moments).await, [1, 1, 2, 2, 3]);
}

/// RFC 7662 §4 c (MUST NOT, refuses)
/// Threat I8
#[tokio::test]
async fn a_cached_verdict_expires_at_exp_without_leeway() {
    let exp = json!(seconds_from_now(&clock(), Duration::from_secs(10)));
    let ten = Duration::from_secs(10);
    // At this date, an f64 has a resolution of a quarter of a microsecond.
    let moments = [Duration::ZERO, ten - Duration::from_micros(1), ten, ten, ten + SECOND];
    assert_eq!(calls_with(exp, HOUR, &moments).await, [1, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_fraction_of_a_second_in_exp_counts() {
    let exp = json!(seconds_from_now(&clock(), Duration::from_millis(500)));
    let moments = [Duration::ZERO, Duration::from_millis(499), Duration::from_millis(500), SECOND];
    assert_eq!(calls_with(exp, HOUR, &moments).await, [1, 1, 2, 3]);
}

#[tokio::test]
async fn a_token_with_a_past_exp_is_not_cached() {
    for exp in [json!(0), json!(-1), json!(seconds_from_now(&clock(), Duration::ZERO)), json!(-1e300)] {
        assert_eq!(calls_with(exp.clone(), HOUR, &[Duration::ZERO, Duration::ZERO]).await, [1, 2], "{exp}");
    }
}

#[tokio::test]
async fn a_token_whose_exp_is_no_valid_date_is_not_cached() {
    for exp in [json!(1e300), json!(f64::MAX), json!(2e19)] {
        assert_eq!(calls_with(exp.clone(), HOUR, &[Duration::ZERO, SECOND, HOUR]).await, [1, 2, 3], "{exp}");
    }
}

#[tokio::test]
async fn an_exp_in_the_far_future_does_not_extend_max_age() {
    for exp in [json!(1e13), json!(i64::MAX), json!(u64::MAX)] {
        assert_eq!(calls_with(exp.clone(), AGE, &[Duration::ZERO, AGE - INSTANT, AGE]).await, [1, 1, 2], "{exp}");
    }
}

#[tokio::test]
async fn accepts_the_longest_duration_as_max_age() {
    let centuries = Duration::from_secs(10_000_000_000);
    assert_eq!(calls_with(Value::Null, Duration::MAX, &[Duration::ZERO, centuries]).await, [1, 1]);
    let exp = json!(seconds_from_now(&clock(), SECOND));
    assert_eq!(calls_with(exp, Duration::MAX, &[Duration::ZERO, SECOND]).await, [1, 2]);
}

/// Threat I9
#[tokio::test]
async fn with_a_max_age_of_zero_nothing_is_cached() {
    assert_eq!(calls_with(Value::Null, Duration::ZERO, &[Duration::ZERO; 3]).await, [1, 2, 3]);
    let server = Server::new();
    let (cached, _) = cached(&server, Duration::ZERO);
    for calls in 1..4 {
        assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
        assert_eq!(server.calls(), calls);
    }
}

#[tokio::test]
async fn setting_the_clock_back_does_not_extend_max_age() {
    let server = Server::with_ada();
    let (cached, clock) = cached(&server, AGE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    clock.set(clock.now() - HOUR);
    clock.advance(AGE - INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 1);
    clock.advance(INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 2);
}

/// Sends an invalid token at these moments. Returns the number of the server's calls after each.
async fn calls_when_refused(builder: CachedBuilder<Server>, server: &Server, moments: &[Duration]) -> Vec<usize> {
    let clock = clock();
    let cached = builder.clock(clock.clone()).build();
    let (start, mut calls) = (clock.now(), Vec::new());
    for moment in moments {
        clock.advance(*moment - clock.now().duration_since(start).unwrap());
        assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
        calls.push(server.calls());
    }
    calls
}

const FIVE: Duration = Duration::from_secs(5);

/// Threat I11
#[tokio::test]
async fn a_refusal_is_cached_for_exactly_five_seconds() {
    let server = Server::new();
    let builder = Cached::builder(server.clone(), HOUR);
    let moments = [Duration::ZERO, FIVE - INSTANT, FIVE, FIVE + FIVE - INSTANT, FIVE + FIVE];
    assert_eq!(calls_when_refused(builder, &server, &moments).await, [1, 1, 2, 2, 3]);
}

#[tokio::test]
async fn a_refusal_age_of_an_hour_is_limited_to_five_seconds() {
    let server = Server::new();
    let builder = Cached::builder(server.clone(), HOUR).refusal_age(HOUR);
    assert_eq!(calls_when_refused(builder, &server, &[Duration::ZERO, FIVE - INSTANT, FIVE]).await, [1, 1, 2]);
}

#[tokio::test]
async fn a_refusal_is_cached_no_longer_than_max_age_or_refusal_age() {
    let server = Server::new();
    let builder = Cached::builder(server.clone(), SECOND);
    assert_eq!(calls_when_refused(builder, &server, &[Duration::ZERO, SECOND - INSTANT, SECOND]).await, [1, 1, 2]);
    let server = Server::new();
    let builder = Cached::builder(server.clone(), HOUR).refusal_age(SECOND);
    assert_eq!(calls_when_refused(builder, &server, &[Duration::ZERO, SECOND - INSTANT, SECOND]).await, [1, 1, 2]);
    let server = Server::new();
    let builder = Cached::builder(server.clone(), HOUR).refusal_age(Duration::ZERO);
    assert_eq!(calls_when_refused(builder, &server, &[Duration::ZERO; 3]).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_refused_token_is_accepted_five_seconds_after_it_became_valid() {
    let server = Server::new();
    let (cached, clock) = cached(&server, HOUR);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
    server.set_response("ada", ServerResponse::Active(json!({"sub": "ada"})));
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
    clock.advance(FIVE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
}

/// Threat I9
#[tokio::test]
async fn a_revoked_token_is_refused_after_max_age() {
    let server = Server::with_ada();
    let (cached, clock) = cached(&server, AGE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.revoke("ada");
    clock.advance(AGE - INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"), "max_age delays the effect of a revocation");
    clock.advance(INSTANT);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}

/// Threat V7
#[tokio::test]
async fn the_time_that_a_machine_is_suspended_counts_for_the_age_of_a_verdict() {
    let server = Server::with_ada();
    let (cached, clock) = cached(&server, AGE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.revoke("ada");
    clock.suspend(AGE - INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    clock.suspend(24 * HOUR);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken), "a day later");
    // A refusal too.
    server.set_response("ada", ServerResponse::Active(json!({"sub": "ada"})));
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken), "a refusal is cached for 5 s");
    clock.suspend(5 * SECOND);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
}

/// Threat V7
#[tokio::test]
async fn a_time_of_day_that_is_set_back_lengthens_no_verdict() {
    let server = Server::with_ada();
    let (cached, clock) = cached(&server, AGE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.revoke("ada");
    clock.set(clock.now() - 24 * HOUR);
    clock.advance(AGE - INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    clock.advance(INSTANT);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}

/// How a clock may change.
#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    Suspend(u64),
    SetBack(u64),
}

/// For any steps of both clocks, a verdict is used only while it is younger than `max_age` by both of them.
///
/// Threat V7
#[test]
fn a_verdict_is_never_used_longer_than_its_age_by_either_clock() {
    let step = prop_oneof![
        (0_u64..20).prop_map(Step::Advance),
        (0_u64..20).prop_map(Step::Suspend),
        (0_u64..40).prop_map(Step::SetBack),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    check(200, prop::collection::vec(step, 1..20), |steps| {
        runtime.block_on(async {
            let server = Server::with_ada();
            let (cached, clock) = cached(&server, AGE);
            let (mut elapsed, mut stored) = (Duration::ZERO, None);
            for step in steps {
                match step {
                    Step::Advance(seconds) => {
                        clock.advance(SECOND * u32::try_from(seconds).unwrap());
                        elapsed += SECOND * u32::try_from(seconds).unwrap();
                    }
                    Step::Suspend(seconds) => clock.suspend(Duration::from_secs(seconds)),
                    Step::SetBack(seconds) => clock.set(clock.now() - Duration::from_secs(seconds)),
                }
                let calls = server.calls();
                prop_assert_eq!(subject(&cached, "ada").await, Ok("ada".to_owned()));
                let hit = server.calls() == calls;
                let (now, by_day) = (clock.now(), |since| clock.now().duration_since(since).unwrap_or_default());
                let young = stored.is_some_and(|(at, day)| elapsed - at < AGE && by_day(day) < AGE);
                prop_assert_eq!(hit, young);
                if !hit {
                    stored = Some((elapsed, now));
                }
            }
            Ok(())
        })
    });
}

/// Threat V7
#[tokio::test]
async fn a_time_of_day_that_is_set_back_makes_no_expired_verdict_valid() {
    let server = Server::with_ada();
    let (cached, clock) = cached(&server, AGE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    clock.suspend(24 * HOUR);
    // Seen as expired: the server fails, so no new verdict replaces it.
    server.set_response("ada", ServerResponse::Failure);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::Unavailable));
    clock.set(clock.now() - 24 * HOUR);
    server.revoke("ada");
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}
