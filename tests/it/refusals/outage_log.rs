//! Log lines that an unauthenticated client can cause: one at the beginning and one at the end of an outage, and one about
//! each response that looks like a wrong configuration.

use std::time::Duration;

use serde_json::json;
use tower_oauth::{error::AuthErrorKind, testing::ManualClock, verify::IntrospectionVerifierBuilder};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    introspection::{IntrospectionFixture, NOW, SECOND},
    log::Log,
};

/// The lines of this crate at `WARN` or above, and those at `INFO`.
fn lines(log: &Log) -> (Vec<String>, Vec<String>) {
    let text = log.text();
    let of = |levels: &[&str]| -> Vec<String> {
        let is = |line: &&str| levels.iter().any(|level| line.contains(&format!("{level} tower_oauth:")));
        text.lines().filter(is).map(str::to_owned).collect()
    };
    (of(&["WARN", "ERROR"]), of(&["INFO"]))
}

/// Threat V11
#[tokio::test]
async fn two_hundred_tokens_of_a_stranger_cause_one_line_for_each_kind_of_response() {
    let (log, fixture) = (Log::default(), IntrospectionFixture::new().await);
    log.capture(async {
        let unreadable = Answer::Body("<html>blocked</html>".to_owned());
        for (round, answer) in [403, 404, 500].map(Answer::Status).into_iter().chain([unreadable]).enumerate() {
            fixture.fake.introspection(answer);
            for index in 0..200 {
                let token = format!("stranger-{round}-{index}");
                assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::Unavailable));
            }
            fixture.clock.advance(3600 * SECOND);
        }
    })
    .await;
    if cfg!(feature = "tracing") {
        let (loud, quiet) = lines(&log);
        assert_eq!((loud.len(), quiet.len()), (4, 0), "{loud:#?} {quiet:#?}");
        assert!(loud.iter().all(|line| line.contains("WARN") && line.contains(&fixture.fake.identifier)), "{loud:#?}");
        assert!(loud[0].contains("check this API's client credentials"), "{loud:#?}");
    }
}

/// Threat V11
#[tokio::test]
async fn an_outage_is_logged_when_it_begins_then_every_ten_seconds_with_a_count_and_when_it_ends() {
    let (log, fixture) = (Log::default(), IntrospectionFixture::new().await);
    log.capture(async {
        fixture.fake.introspection(Answer::Status(503));
        for second in 0..25 {
            for index in 0..8 {
                fixture.kind(&format!("token-{second}-{index}")).await;
            }
            fixture.clock.advance(SECOND);
        }
        fixture.respond_with(&fixture.active_with("exp", json!(NOW + 100_000)));
        for _ in 0..20 {
            assert_eq!(fixture.kind("ada").await, None);
        }
    })
    .await;
    if cfg!(feature = "tracing") {
        let (loud, quiet) = lines(&log);
        assert!(loud[0].contains("WARN") && loud[0].contains("check that this API can reach"), "{loud:#?}");
        let failures: Vec<_> =
            loud[1..].iter().map(|line| line.split("failures=").nth(1).unwrap_or_default()).collect();
        assert_eq!(failures, ["1", "76", "80"], "from the fifth failure: {loud:#?}");
        assert!(loud[1..].iter().all(|line| line.contains("ERROR")), "{loud:#?}");
        assert_eq!(quiet.len(), 1, "{quiet:#?}");
        assert!(quiet[0].contains("tokens can be introspected again"), "{quiet:#?}");
    }
}

/// Threat V11
#[tokio::test]
async fn a_failure_for_a_token_that_was_active_lately_is_logged_as_an_outage_at_once() {
    let (log, fixture) = (Log::default(), IntrospectionFixture::new().await);
    log.capture(async {
        assert_eq!(fixture.kind("ada").await, None);
        fixture.fake.introspection(Answer::Reset);
        assert_eq!(fixture.kind("ada").await, Some(AuthErrorKind::Unavailable));
    })
    .await;
    if cfg!(feature = "tracing") {
        let (loud, _) = lines(&log);
        assert!(loud.len() == 1 && loud[0].contains("ERROR tower_oauth: tokens can't be introspected"), "{loud:#?}");
    }
}

/// Threat V11
#[tokio::test]
async fn one_token_of_a_stranger_is_no_outage() {
    let (log, fixture) = (Log::default(), IntrospectionFixture::new().await);
    log.capture(async {
        fixture.fake.introspection_of("eve", Answer::Status(503));
        for _ in 0..200 {
            assert_eq!(fixture.kind("eve").await, Some(AuthErrorKind::Unavailable));
            fixture.clock.advance(SECOND);
        }
    })
    .await;
    if cfg!(feature = "tracing") {
        let (loud, quiet) = lines(&log);
        assert!(loud.len() == 1 && loud[0].contains("WARN") && quiet.is_empty(), "{loud:#?} {quiet:#?}");
    }
}

/// A token that a firewall answers with 503, alternating with one that the server answers.
///
/// Threat V11
#[tokio::test]
async fn alternating_failures_and_successes_cause_few_lines() {
    let (log, fixture) = (Log::default(), IntrospectionFixture::new().await);
    log.capture(async {
        fixture.fake.introspection_of("eve", Answer::Status(503));
        for _ in 0..200 {
            fixture.kind("eve").await;
            fixture.kind("mallory").await;
            fixture.clock.advance(Duration::from_millis(100));
        }
    })
    .await;
    let (loud, quiet) = lines(&log);
    assert!(loud.len() + quiet.len() <= 5, "20 seconds: {loud:#?} {quiet:#?}");
}

/// Threat V11
#[tokio::test]
async fn an_outage_of_the_key_set_is_logged_when_it_begins_and_when_it_ends() {
    let (log, fake, clock) = (Log::default(), FakeIssuer::start().await, ManualClock::default());
    let issuer = fake.builder().clock(clock.clone()).build().unwrap();
    let guard = log.install();
    fake.answer(Answer::Status(500));
    for _ in 0..8 {
        assert!(issuer.warm_up().await.is_err());
        clock.advance(Duration::from_millis(1100));
    }
    fake.answer(Answer::Keys);
    clock.advance(60 * SECOND);
    assert!(issuer.warm_up().await.is_ok());
    drop(guard);
    if cfg!(feature = "tracing") {
        let (loud, quiet) = lines(&log);
        assert!(loud.len() == 1 && loud[0].contains("WARN") && loud[0].contains(&fake.identifier), "{loud:#?}");
        assert!(quiet.len() == 1 && quiet[0].contains("the issuer's keys were fetched again"), "{quiet:#?}");
    }
}

/// Metadata URLs that hang: the first request waits for two seconds, and the others are refused while they are tried again.
///
/// Threat V3
#[tokio::test]
async fn a_metadata_url_that_hangs_does_not_make_each_request_wait_for_five_seconds() {
    use tower_oauth::fetch::{Fetch, FetchFuture};
    struct Silent;
    impl Fetch for Silent {
        fn fetch(&self, _: http::Request<bytes::Bytes>) -> FetchFuture {
            FetchFuture::new(std::future::pending())
        }
    }
    let fixture = IntrospectionFixture::with(|builder: IntrospectionVerifierBuilder| builder.fetch(Silent)).await;
    let mut first = Box::pin(fixture.kind("first"));
    let mut second = Box::pin(fixture.kind("second"));
    assert!(futures_util::future::poll_immediate(&mut first).await.is_none());
    assert!(futures_util::future::poll_immediate(&mut second).await.is_none());
    fixture.clock.advance(2 * SECOND);
    assert_eq!(crate::introspection::soon(&mut first).await, Some(AuthErrorKind::Unavailable));
    assert_eq!(crate::introspection::soon(&mut second).await, Some(AuthErrorKind::Unavailable));
    for _ in 0..3 {
        // The search goes on after its request has given up, and meanwhile no request waits.
        assert_eq!(crate::introspection::soon(fixture.kind("early")).await, Some(AuthErrorKind::Unavailable));
        tokio::task::yield_now().await;
        fixture.clock.advance(2 * SECOND);
        tokio::task::yield_now().await;
        // While one request tries again, the others don't wait.
        fixture.clock.advance(SECOND);
        let mut trying = Box::pin(fixture.kind("trying"));
        assert!(futures_util::future::poll_immediate(&mut trying).await.is_none());
        for token in ["a", "b", "c"] {
            assert_eq!(crate::introspection::soon(fixture.kind(token)).await, Some(AuthErrorKind::Unavailable));
        }
        fixture.clock.advance(2 * SECOND);
        assert_eq!(crate::introspection::soon(trying).await, Some(AuthErrorKind::Unavailable));
    }
}
