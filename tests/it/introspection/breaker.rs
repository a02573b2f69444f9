//! The circuit breaker of introspection: what opens it, for how long, which tokens probe, and that neither a burst of failures,
//! nor a lost probe, nor an attacker's tokens keep out the tokens of others.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::json;
use tower_oauth::{error::AuthErrorKind, verify::IntrospectionVerifierBuilder};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    introspection::{IntrospectionFixture, NOW, SECOND, client, soon},
    log::Log,
    random::check,
};

/// The smallest number of failures that opens the breaker.
const FIVE: usize = 5;
/// A status that counts as a failure.
const DOWN: Answer = Answer::Status(502);

async fn fixture() -> IntrospectionFixture {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    fixture.respond_with(&fixture.active_with("exp", json!(NOW + 1_000_000)));
    fixture
}

/// Sends `count` different unknown tokens. Returns the kinds of the refusals.
async fn send_unknown(fixture: &IntrospectionFixture, name: &str, count: usize) -> Vec<Option<AuthErrorKind>> {
    let mut kinds = Vec::new();
    for index in 0..count {
        kinds.push(fixture.kind(&format!("{name}-{index}")).await);
    }
    kinds
}

/// A fixture whose breaker is open after five failures of unknown tokens.
async fn opened() -> IntrospectionFixture {
    let fixture = fixture().await;
    fixture.fake.introspection(DOWN);
    send_unknown(&fixture, "unknown", FIVE).await;
    assert_eq!(fixture.fake.introspection_count(), FIVE);
    fixture
}

#[tokio::test]
async fn after_five_failures_of_several_tokens_it_stays_open_for_a_second() {
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

/// Threat V4
#[tokio::test]
async fn only_no_response_and_the_statuses_429_502_503_and_504_open_it() {
    let unreadable = || Answer::Body("<html>".to_owned());
    for (answer, opens) in [
        (Answer::Status(429), true),
        (Answer::Status(502), true),
        (Answer::Status(503), true),
        (Answer::Status(504), true),
        (Answer::Reset, true),
        (Answer::Truncated, true),
        (Answer::Status(400), false),
        (Answer::Status(401), false),
        (Answer::Status(403), false),
        (Answer::Status(404), false),
        (Answer::Status(406), false),
        (Answer::Status(413), false),
        (Answer::Status(414), false),
        (Answer::Status(422), false),
        (Answer::Status(431), false),
        (Answer::Status(500), false),
        (Answer::Status(501), false),
        (Answer::Redirect("https://elsewhere.test".to_owned()), false),
        (unreadable(), false),
        (Answer::Body(json!({"active": "true"}).to_string()), false),
    ] {
        let fixture = fixture().await;
        fixture.fake.introspection(answer);
        send_unknown(&fixture, "unknown", 15).await;
        fixture.respond_with(&fixture.active());
        let refused = fixture.kind("ada").await;
        assert_eq!(refused.is_some(), opens, "{:?}", fixture.fake.introspection_count());
    }
}

/// Threat V4
#[tokio::test]
async fn a_few_tokens_cannot_open_it() {
    let fixture = fixture().await;
    for token in ["eve-1", "eve-2"] {
        fixture.fake.introspection_of(token, DOWN);
    }
    for _ in 0..50 {
        assert_eq!(fixture.kind("eve-1").await, Some(AuthErrorKind::Unavailable));
        assert_eq!(fixture.kind("eve-2").await, Some(AuthErrorKind::Unavailable));
    }
    assert_eq!(fixture.kind("ada").await, None);
}

/// Threat V4
#[tokio::test]
async fn it_stays_closed_if_most_calls_succeed_or_the_failures_are_old() {
    let fixture = fixture().await;
    for round in 0..20 {
        fixture.fake.introspection_of(&format!("eve-{round}"), DOWN);
        assert_eq!(fixture.kind(&format!("eve-{round}")).await, Some(AuthErrorKind::Unavailable));
        assert_eq!(send_unknown(&fixture, &format!("honest-{round}"), 2).await, [None, None]);
    }
    let fixture = self::fixture().await;
    fixture.fake.introspection(DOWN);
    for round in 0..20 {
        assert_eq!(send_unknown(&fixture, &format!("unknown-{round}"), 2).await.len(), 2);
        fixture.clock.advance(5 * SECOND);
    }
    assert_eq!(fixture.fake.introspection_count(), 40, "never five failures within ten seconds");
}

/// 15 tokens of a stranger, which a firewall answers with 503, and a client whose token is accepted.
///
/// Threat V4
#[tokio::test]
async fn a_stranger_cannot_keep_out_a_token_that_was_active_lately() {
    let fixture = fixture().await;
    assert_eq!(fixture.kind("ada").await, None);
    fixture.respond_with(&fixture.active_with("exp", json!(NOW + 1_000_000)));
    fixture.fake.introspection_of("ada", Answer::Body(fixture.active_with("exp", json!(NOW + 1_000_000)).to_string()));
    fixture.fake.introspection(DOWN);
    for second in 0..181 {
        send_unknown(&fixture, &format!("eve-{second}"), 15).await;
        assert_eq!(fixture.kind("ada").await, None, "second {second}");
        fixture.clock.advance(SECOND);
    }
    // Also after a quiet time, in which only the stranger sent tokens.
    for second in 0..30 {
        send_unknown(&fixture, &format!("eve-later-{second}"), 15).await;
        fixture.clock.advance(SECOND);
    }
    assert_eq!(fixture.kind("ada").await, None, "the first known token probes at once");
}

/// Threat V4
#[tokio::test]
async fn probes_go_to_known_tokens_first_and_then_to_any() {
    let fixture = fixture().await;
    assert_eq!(fixture.kind("ada").await, None);
    fixture.fake.introspection(DOWN);
    for round in 0..2 {
        send_unknown(&fixture, &format!("unknown-{round}"), 3).await;
        assert_eq!(fixture.kind("ada").await, Some(AuthErrorKind::Unavailable));
    }
    fixture.respond_with(&fixture.active());
    let before = fixture.fake.introspection_count();
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.kind("unknown").await, Some(AuthErrorKind::Unavailable), "a known token is expected");
    assert_eq!(fixture.fake.introspection_count(), before);
    assert_eq!(fixture.kind("ada").await, None);
    assert_eq!(fixture.kind("unknown").await, None, "it is closed");
    // If no known token comes within another pause, any token probes.
    fixture.fake.introspection(DOWN);
    for round in 2..6 {
        send_unknown(&fixture, &format!("unknown-{round}"), 3).await;
        fixture.kind("ada").await;
    }
    fixture.respond_with(&fixture.active());
    fixture.clock.advance(2 * SECOND);
    assert_eq!(fixture.kind("unknown").await, None);
}

#[tokio::test]
async fn pauses_grow_to_30_seconds_if_known_tokens_fail() {
    let fixture = fixture().await;
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.fake.introspection(DOWN);
    fixture.kind("opaque").await;
    send_unknown(&fixture, "unknown", FIVE).await;
    let open_after = fixture.fake.introspection_count();
    for (round, pause) in [1, 2, 4, 8, 16, 30, 30, 30].into_iter().enumerate() {
        fixture.assert_unavailable(&pause.to_string(), "the pause").await;
        fixture.clock.advance(Duration::from_millis(pause * 1000 - 1));
        fixture.assert_unavailable("1", "the pause").await;
        assert_eq!(fixture.fake.introspection_count(), open_after + round);
        fixture.clock.advance(Duration::from_millis(1));
        let verdicts = join_all((0..100).map(|_| fixture.kind("opaque"))).await;
        assert!(verdicts.iter().all(|kind| *kind == Some(AuthErrorKind::Unavailable)));
        assert_eq!(fixture.fake.introspection_count(), open_after + round + 1, "one of a hundred requests is a probe");
    }
    fixture.respond_with(&fixture.active_with("exp", json!(NOW + 1_000_000)));
    fixture.clock.advance(30 * SECOND);
    assert_eq!(fixture.kind("opaque").await, None);
    // After a success, the count and the pauses start again.
    fixture.fake.introspection(DOWN);
    fixture.kind("opaque").await;
    send_unknown(&fixture, "again", FIVE).await;
    fixture.assert_unavailable("1", "").await;
}

/// Threat V4
#[tokio::test]
async fn failed_probes_of_unknown_tokens_do_not_lengthen_the_pause() {
    let fixture = opened().await;
    for second in 0..20 {
        fixture.clock.advance(SECOND);
        assert_eq!(fixture.kind(&format!("eve-{second}")).await, Some(AuthErrorKind::Unavailable));
        assert_eq!(fixture.fake.introspection_count(), FIVE + second + 1, "one probe each second");
    }
    fixture.respond_with(&fixture.active());
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.kind("new").await, None);
}

/// RFC 9110 §10.2.3.
///
/// Threat V5
#[tokio::test]
async fn keeps_to_the_retry_after_of_the_server() {
    let fixture = fixture().await;
    fixture.fake.introspection(Answer::Whole(503, "Retry-After: 20\r\n".to_owned(), Vec::new()));
    send_unknown(&fixture, "unknown", FIVE).await;
    fixture.respond_with(&fixture.active());
    fixture.assert_unavailable("20", "the server's time").await;
    fixture.clock.advance(Duration::from_millis(19_999));
    fixture.assert_unavailable("1", "the server's time").await;
    assert_eq!(fixture.fake.introspection_count(), FIVE);
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.kind("opaque").await, None);
}

#[tokio::test]
async fn without_a_breaker_every_request_calls_the_issuer() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.introspection(DOWN);
    for index in 0..20 {
        assert_eq!(fixture.kind(&format!("token-{index}")).await, Some(AuthErrorKind::Unavailable));
    }
    assert_eq!(fixture.fake.introspection_count(), 20);
}

#[tokio::test]
async fn a_hundred_failures_at_once_open_it_for_one_second() {
    let fixture = fixture().await;
    fixture.fake.introspection(DOWN);
    let tokens: Vec<_> = (0..60).map(|index| format!("token-{index}")).collect();
    join_all(tokens.iter().map(|token| fixture.kind(token))).await;
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

#[tokio::test]
async fn a_probe_without_a_response_ends_after_five_seconds_and_the_next_one_follows() {
    let fixture = opened().await;
    fixture.fake.introspection(Answer::Hang);
    fixture.clock.advance(SECOND);
    let mut probe = Box::pin(fixture.authenticate("opaque"));
    tokio::select! {
        verdict = &mut probe => panic!("{verdict:?}"),
        () = fixture.fake.wait_for_introspections(FIVE + 1) => {}
    }
    fixture.respond_with(&fixture.active());
    fixture.clock.advance(5 * SECOND);
    assert_eq!(soon(probe).await.unwrap_err().kind(), AuthErrorKind::Unavailable);
    fixture.assert_unavailable("1", "the next pause").await;
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.kind("opaque").await, None);
}

/// Threat V4
#[tokio::test]
async fn logs_when_it_opens_and_when_it_closes() {
    let (log, fixture) = (Log::default(), fixture().await);
    log.capture(async {
        fixture.fake.introspection(DOWN);
        send_unknown(&fixture, "unknown", 20).await;
        fixture.respond_with(&fixture.active());
        fixture.clock.advance(SECOND);
        assert_eq!(fixture.kind("opaque").await, None);
        assert_eq!(fixture.kind("opaque").await, None);
    })
    .await;
    if cfg!(feature = "tracing") {
        let text = log.text();
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!(count("INFO tower_oauth: the circuit breaker opened"), 1, "{text}");
        assert_eq!(count("INFO tower_oauth: the circuit breaker closed"), 1, "{text}");
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// A stranger sends this many made-up tokens.
    Strangers(u8),
    /// A client sends one of three tokens that were active at the beginning.
    Known(u8),
    /// The server fails for made-up tokens only, for all tokens, or for none.
    Server(u8),
    Pass(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (1_u8..12).prop_map(Event::Strangers),
        3 => (0_u8..3).prop_map(Event::Known),
        2 => (0_u8..3).prop_map(Event::Server),
        2 => (0_u16..3000).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..40)
}

/// In any order of events: while the server works for known tokens, and did since the last pause of 30 s, a known token is
/// accepted. A server that fails for all tokens is called for at most a few of them.
///
/// Threat V4
#[test]
fn a_known_token_is_accepted_in_any_order_of_events_while_the_server_accepts_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    check(60, events(), |events| runtime.block_on(run(events)));
}

async fn run(events: Vec<Event>) -> Result<(), TestCaseError> {
    let fixture = IntrospectionFixture::with_parts(
        FakeIssuer::start().await,
        client(),
        IntrospectionVerifierBuilder::circuit_breaker,
    );
    let good = Answer::Body(fixture.active_with("exp", json!(NOW + 1_000_000)).to_string());
    fixture.fake.introspection(good.clone());
    let known: Vec<_> = (0..3).map(|index| format!("known-{index}")).collect();
    for token in &known {
        prop_assert_eq!(fixture.kind(token).await, None);
    }
    let (mut strangers, mut failed_for_known, mut seen) = (0, false, HashSet::new());
    for event in events {
        match event {
            Event::Strangers(count) => {
                for _ in 0..count {
                    strangers += 1;
                    fixture.kind(&format!("stranger-{strangers}")).await;
                }
            }
            Event::Known(index) => {
                let verdict = fixture.kind(&known[usize::from(index)]).await;
                seen.insert(verdict);
                prop_assert!(failed_for_known || verdict.is_none(), "{verdict:?}");
            }
            Event::Server(state) => {
                let answer = if state == 0 { good.clone() } else { DOWN };
                fixture.fake.introspection(answer);
                let for_known = if state == 2 { DOWN } else { good.clone() };
                for token in &known {
                    fixture.fake.introspection_of(token, for_known.clone());
                }
                // Once the server failed for known tokens, the breaker may be open for them too.
                failed_for_known |= state == 2;
            }
            Event::Pass(milliseconds) => fixture.clock.advance(Duration::from_millis(milliseconds.into())),
        }
    }
    // Whatever happened, a known token is accepted at the latest after the longest pause.
    fixture.fake.introspection(good.clone());
    for token in &known {
        fixture.fake.introspection_of(token, good.clone());
    }
    fixture.clock.advance(30 * SECOND);
    prop_assert_eq!(fixture.kind(&known[0]).await, None);
    prop_assert_eq!(fixture.kind("new").await, None, "and it closed the breaker");
    Ok(())
}

/// Sets the response for the known tokens.
fn respond_to_known(fixture: &IntrospectionFixture, answer: &Answer) {
    for token in ["ada", "bob"] {
        fixture.fake.introspection_of(token, answer.clone());
    }
}

async fn fixture_with_known_tokens() -> (IntrospectionFixture, Answer) {
    let fixture = fixture().await;
    let good = Answer::Body(fixture.active_with("exp", json!(NOW + 1_000_000)).to_string());
    for token in ["ada", "bob"] {
        fixture.fake.introspection_of(token, good.clone());
        assert_eq!(fixture.kind(token).await, None);
        assert_eq!(fixture.kind(token).await, None, "known now");
    }
    (fixture, good)
}

/// Threat V4
#[tokio::test]
async fn the_probe_of_a_stranger_keeps_out_no_known_token() {
    let (fixture, _) = fixture_with_known_tokens().await;
    fixture.clock.advance(61 * SECOND); // as with a cache and few users
    fixture.fake.introspection(DOWN);
    send_unknown(&fixture, "eve", FIVE).await;
    fixture.clock.advance(SECOND);
    fixture.fake.introspection_of("slow", Answer::Hang);
    let count = fixture.fake.introspection_count();
    let mut probe = Box::pin(fixture.authenticate("slow"));
    tokio::select! { _ = &mut probe => panic!(), () = fixture.fake.wait_for_introspections(count + 1) => {} }
    assert_eq!(fixture.kind("ada").await, None, "the stranger's probe runs for up to 5 s");
}

/// Threat V4
#[tokio::test]
async fn the_probe_of_a_known_token_keeps_out_no_other_one_while_none_has_failed() {
    let (fixture, _) = fixture_with_known_tokens().await;
    fixture.clock.advance(11 * SECOND);
    fixture.fake.introspection(DOWN);
    send_unknown(&fixture, "eve", FIVE).await;
    fixture.fake.introspection_of("ada", Answer::Hang);
    let count = fixture.fake.introspection_count();
    let mut probe = Box::pin(fixture.authenticate("ada"));
    tokio::select! { _ = &mut probe => panic!(), () = fixture.fake.wait_for_introspections(count + 1) => {} }
    assert_eq!(fixture.kind("bob").await, None, "no known token has failed");
}

fn times_opened(log: &Log) -> usize {
    log.text().lines().filter(|line| line.contains("the circuit breaker opened")).count()
}

/// Threat V4
#[tokio::test]
async fn many_failures_of_strangers_do_not_displace_the_successes_of_known_tokens() {
    let (log, (fixture, _)) = (Log::default(), fixture_with_known_tokens().await);
    log.capture(async {
        fixture.fake.introspection(DOWN);
        send_unknown(&fixture, "eve", 300).await;
    })
    .await;
    assert_eq!(times_opened(&log), 0, "known tokens were accepted in this very second");
}

/// Threat V4
#[tokio::test]
async fn the_success_that_closes_it_counts_against_opening_it_again() {
    let (log, (fixture, _)) = (Log::default(), fixture_with_known_tokens().await);
    log.capture(async {
        fixture.clock.advance(11 * SECOND);
        fixture.fake.introspection(DOWN);
        for round in 0..20 {
            send_unknown(&fixture, &format!("eve-{round}"), FIVE).await;
            assert_eq!(fixture.kind("ada").await, None);
        }
    })
    .await;
    assert_eq!(times_opened(&log), 1, "ada was accepted in this very second");
}

/// Threat V4
#[tokio::test]
async fn after_an_outage_a_rare_known_token_probes_before_strangers() {
    let (fixture, good) = fixture_with_known_tokens().await;
    // A real outage, with a Retry-After of 60 s.
    respond_to_known(&fixture, &DOWN);
    fixture.fake.introspection(DOWN);
    fixture.clock.advance(11 * SECOND);
    for token in ["ada", "bob", "e1", "e2", "e3", "e4"] {
        fixture.kind(token).await;
    }
    respond_to_known(&fixture, &good);
    // The server is back for ada; a stranger polls with tokens that a firewall answers with 502.
    let mut refused = 0;
    for step in 0..600 {
        fixture.clock.advance(Duration::from_millis(500));
        if step % 200 == 199 {
            refused += usize::from(fixture.kind("ada").await.is_some());
        }
        fixture.kind(&format!("eve-{step}")).await;
    }
    assert!(refused < 3, "ada was refused each time");
}

/// Threat V4
#[tokio::test]
async fn known_tokens_probe_first_also_with_a_long_retry_after() {
    let (fixture, good) = fixture_with_known_tokens().await;
    let down = || Answer::Whole(503, "Retry-After: 60\r\n".to_owned(), Vec::new());
    fixture.clock.advance(11 * SECOND);
    fixture.fake.introspection(down());
    respond_to_known(&fixture, &down());
    for token in ["ada", "bob", "e1", "e2", "e3", "e4"] {
        fixture.kind(token).await;
    }
    // The server is back, but a firewall answers a stranger's tokens with 503. Ada comes every second, eve before her.
    respond_to_known(&fixture, &good);
    let mut refused = 0;
    for second in 0..600 {
        fixture.clock.advance(SECOND);
        fixture.kind(&format!("eve-{second}")).await;
        refused += usize::from(fixture.kind("ada").await.is_some());
    }
    assert!(refused < 130, "ada was refused in {refused} of 600 seconds");
}

/// Threat V11
#[tokio::test]
async fn a_stranger_cannot_use_up_the_only_line_about_wrong_credentials() {
    let (log, fixture) = (Log::default(), fixture().await);
    log.capture(async {
        fixture.fake.introspection_of("eve", Answer::Status(403));
        fixture.kind("eve").await;
        assert_eq!(fixture.kind("ada").await, None);
        fixture.clock.advance(1800 * SECOND);
        // Now the secret of this API has expired.
        fixture.fake.introspection(Answer::Status(401));
        for index in 0..100 {
            fixture.kind("ada").await;
            fixture.kind(&format!("user-{index}")).await;
            fixture.clock.advance(SECOND);
        }
    })
    .await;
    let lines = log.text().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    assert!(lines >= 2, "no line about 200 requests with 503");
}

/// Threat V4
#[tokio::test]
async fn after_a_long_outage_a_rare_known_token_is_accepted() {
    let (fixture, good) = fixture_with_known_tokens().await;
    fixture.clock.advance(11 * SECOND);
    fixture.fake.introspection(DOWN);
    respond_to_known(&fixture, &DOWN);
    for token in ["ada", "bob", "e1", "e2", "e3", "e4"] {
        fixture.kind(token).await;
    }
    for _ in 0..300 {
        fixture.clock.advance(SECOND);
        fixture.kind("ada").await;
    }
    respond_to_known(&fixture, &good);
    let (mut refused, mut sent) = (0, 0);
    for step in 1..2000 {
        fixture.clock.advance(Duration::from_millis(500));
        fixture.kind(&format!("eve-{step}")).await;
        if step % 194 == 0 {
            sent += 1;
            refused += usize::from(fixture.kind("ada").await.is_some());
        }
    }
    assert!(refused <= 1, "ada was refused {refused} of {sent} times");
}
