//! How long a verdict lives, to the nanosecond, by a clock that is turned by hand.

use tower_oauth::verify::CachedBuilder;

use super::{
    Answer, AuthErrorKind, Cached, Clock as _, Duration, HOUR, INSTANT, SECOND, Server, Value, cached, clock, json,
    later, subject,
};

/// How often the server is asked about a token with this `exp` that comes at these moments.
async fn asked_with(exp: Value, max_age: Duration, moments: &[Duration]) -> Vec<usize> {
    let server = Server::new();
    let (cached, clock) = cached(&server, max_age);
    server.says(
        "ada",
        Answer::Active(if exp.is_null() { json!({"sub": "ada"}) } else { json!({"sub": "ada", "exp": exp}) }),
    );
    let mut asked = Vec::new();
    let began = clock.now();
    for moment in moments {
        let passed = clock.now().duration_since(began).unwrap();
        clock.advance(*moment - passed);
        assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
        asked.push(server.asked());
    }
    asked
}

const AGE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_verdict_lives_for_max_age_and_not_a_nanosecond_longer() {
    let moments = [Duration::ZERO, AGE - INSTANT, AGE, AGE + AGE - INSTANT, AGE + AGE];
    assert_eq!(asked_with(Value::Null, AGE, &moments).await, [1, 1, 2, 2, 3]);
}

#[tokio::test]
async fn a_verdict_dies_at_exp_without_any_leeway() {
    let exp = json!(later(&clock(), Duration::from_secs(10)));
    let ten = Duration::from_secs(10);
    // An f64 at this date tells quarters of a microsecond apart.
    let moments = [Duration::ZERO, ten - Duration::from_micros(1), ten, ten, ten + SECOND];
    assert_eq!(asked_with(exp, HOUR, &moments).await, [1, 1, 2, 3, 4]);
}

#[tokio::test]
async fn half_a_second_of_exp_counts() {
    let exp = json!(later(&clock(), Duration::from_millis(500)));
    let moments = [Duration::ZERO, Duration::from_millis(499), Duration::from_millis(500), SECOND];
    assert_eq!(asked_with(exp, HOUR, &moments).await, [1, 1, 2, 3]);
}

#[tokio::test]
async fn an_exp_that_has_passed_is_not_kept_at_all() {
    for exp in [json!(0), json!(-1), json!(later(&clock(), Duration::ZERO)), json!(-1e300)] {
        assert_eq!(asked_with(exp.clone(), HOUR, &[Duration::ZERO, Duration::ZERO]).await, [1, 2], "{exp}");
    }
}

#[tokio::test]
async fn an_exp_that_is_no_date_is_no_reason_to_keep_anything() {
    for exp in [json!(1e300), json!(f64::MAX), json!(2e19)] {
        assert_eq!(asked_with(exp.clone(), HOUR, &[Duration::ZERO, SECOND, HOUR]).await, [1, 2, 3], "{exp}");
    }
}

#[tokio::test]
async fn an_exp_in_a_million_years_does_not_outlive_max_age() {
    for exp in [json!(1e13), json!(i64::MAX), json!(u64::MAX)] {
        assert_eq!(asked_with(exp.clone(), AGE, &[Duration::ZERO, AGE - INSTANT, AGE]).await, [1, 1, 2], "{exp}");
    }
}

#[tokio::test]
async fn max_age_may_be_as_long_as_a_duration_can_be() {
    let centuries = Duration::from_secs(10_000_000_000);
    assert_eq!(asked_with(Value::Null, Duration::MAX, &[Duration::ZERO, centuries]).await, [1, 1]);
    let exp = json!(later(&clock(), SECOND));
    assert_eq!(asked_with(exp, Duration::MAX, &[Duration::ZERO, SECOND]).await, [1, 2]);
}

#[tokio::test]
async fn with_a_max_age_of_zero_nothing_is_kept() {
    assert_eq!(asked_with(Value::Null, Duration::ZERO, &[Duration::ZERO; 3]).await, [1, 2, 3]);
    let server = Server::new();
    let (cached, _) = cached(&server, Duration::ZERO);
    for asked in 1..4 {
        assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
        assert_eq!(server.asked(), asked);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_gives_no_entry_more_than_max_age() {
    let server = Server::of_ada();
    let (cached, clock) = cached(&server, AGE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    clock.set(clock.now() - HOUR);
    clock.advance(AGE - INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 1);
    clock.advance(INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 2);
}

/// At which of these moments the server was asked about a bad token.
async fn asked_when_refused(
    builder: CachedBuilder<Server>,
    server: &Server,
    moments: &[Duration],
) -> Vec<usize> {
    let clock = clock();
    let cached = builder.clock(clock.clone()).build();
    let (began, mut asked) = (clock.now(), Vec::new());
    for moment in moments {
        clock.advance(*moment - clock.now().duration_since(began).unwrap());
        assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
        asked.push(server.asked());
    }
    asked
}

#[tokio::test]
async fn a_clock_that_is_set_back_gives_no_entry_more_than_max_age() {
    let server = Server::of_ada();
    let (cached, clock) = cached(&server, AGE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    clock.set(clock.now() - HOUR);
    clock.advance(AGE - INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 1);
    clock.advance(INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 2);
}

/// At which of these moments the server was asked about a bad token.
async fn asked_when_refused(
    builder: CachedBuilder<Server>,
    server: &Server,
    moments: &[Duration],
) -> Vec<usize> {
    let clock = clock();
    let cached = builder.clock(clock.clone()).build();
    let (began, mut asked) = (clock.now(), Vec::new());
    for moment in moments {
        clock.advance(*moment - clock.now().duration_since(began).unwrap());
        assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
        asked.push(server.asked());
    }
    asked
}

const FIVE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_refusal_is_kept_for_five_seconds_and_not_a_nanosecond_longer() {
    let server = Server::new();
    let cached = Cached::new(server.clone(), HOUR);
    let moments = [Duration::ZERO, FIVE - INSTANT, FIVE, FIVE + FIVE - INSTANT, FIVE + FIVE];
    assert_eq!(asked_when_refused(cached, &server, &moments).await, [1, 1, 2, 2, 3]);
}

#[tokio::test]
async fn a_refusal_age_of_an_hour_is_five_seconds_all_the_same() {
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).refusal_age(HOUR).build();
    assert_eq!(asked_when_refused(cached, &server, &[Duration::ZERO, FIVE - INSTANT, FIVE]).await, [1, 1, 2]);
}

#[tokio::test]
async fn a_refusal_lives_no_longer_than_max_age_or_refusal_age() {
    let server = Server::new();
    let cached = Cached::new(server.clone(), SECOND);
    assert_eq!(asked_when_refused(cached, &server, &[Duration::ZERO, SECOND - INSTANT, SECOND]).await, [1, 1, 2]);
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).refusal_age(SECOND).build();
    assert_eq!(asked_when_refused(cached, &server, &[Duration::ZERO, SECOND - INSTANT, SECOND]).await, [1, 1, 2]);
    let server = Server::new();
    let cached = Cached::builder(server.clone(), HOUR).refusal_age(Duration::ZERO).build();
    assert_eq!(asked_when_refused(cached, &server, &[Duration::ZERO; 3]).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_token_that_was_refused_is_accepted_five_seconds_after_it_became_good() {
    let server = Server::new();
    let (cached, clock) = cached(&server, HOUR);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
    server.says("ada", Answer::Active(json!({"sub": "ada"})));
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
    clock.advance(FIVE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn a_token_that_was_revoked_is_refused_max_age_later() {
    let server = Server::of_ada();
    let (cached, clock) = cached(&server, AGE);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.revoke("ada");
    clock.advance(AGE - INSTANT);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"), "this is what max_age costs");
    clock.advance(INSTANT);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}
