//! Key sets on a machine that is suspended, or whose time of day is set: an age is the greater of both clocks' differences.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tower_oauth::{clock::Clock as _, error::AuthErrorKind, keys::Algorithm, testing::ManualClock};

use crate::{
    fake_issuer::Answer,
    keys::remote::{HOUR, MINUTE, RemoteKeysFixture, wait_for_attempt},
    random::check,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

impl RemoteKeysFixture {
    /// A token of the first key that is valid for a month.
    fn long_lived(&self) -> String {
        self.fake.signer(Algorithm::ES256).token("ada").expires_in(30 * DAY).sign()
    }

    fn set_back(&self, by: Duration) {
        self.clock.set(self.clock.now() - by);
    }
}

/// Threat J10
#[tokio::test]
async fn after_a_day_of_suspension_the_set_is_fetched_before_a_withdrawn_key_is_used() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.fake.publish(&[Algorithm::EdDSA]);
    let token = fixture.long_lived();
    assert_eq!(fixture.kind(&token).await, None);
    fixture.clock.suspend(DAY);
    assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.fetches(), 2);
}

/// Threat J10
#[tokio::test]
async fn after_a_day_of_suspension_no_old_key_is_used_while_the_issuer_is_down() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.fake.answer(Answer::Reset);
    let token = fixture.long_lived();
    fixture.clock.suspend(DAY.saturating_sub(SECOND));
    assert_eq!(fixture.kind(&token).await, None);
    fixture.clock.suspend(SECOND);
    assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::Unavailable));
    assert!(!fixture.issuer.is_ready());
}

#[tokio::test]
async fn after_a_short_suspension_the_first_request_starts_a_refresh() {
    let fixture = RemoteKeysFixture::warm().await;
    let token = fixture.long_lived();
    for fetches in 2..5 {
        fixture.clock.suspend(11 * MINUTE);
        assert_eq!(fixture.kind(&token).await, None);
        fixture.wait_for_fetches(fetches).await;
        wait_for_attempt(&fixture).await;
    }
    fixture.fake.publish(&[Algorithm::EdDSA]);
    fixture.clock.suspend(11 * MINUTE);
    assert_eq!(fixture.kind(&token).await, None, "the stale set is used until the new one is there");
    fixture.wait_for_fetches(5).await;
    wait_for_attempt(&fixture).await;
    assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
}

/// Threat J10
#[tokio::test]
async fn a_time_of_day_that_is_set_back_lengthens_neither_the_use_of_a_set_nor_a_pause() {
    let fixture = RemoteKeysFixture::warm().await;
    assert_eq!(fixture.kind(&fixture.with_unknown_kid("x")).await, Some(AuthErrorKind::InvalidToken));
    fixture.set_back(7 * DAY);
    fixture.clock.advance(30 * SECOND);
    assert_eq!(fixture.kind(&fixture.with_unknown_kid("x")).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.fetches(), 3, "the cooldown is over");
    fixture.fake.answer(Answer::Status(500));
    fixture.clock.advance(30 * SECOND);
    for fetches in 4..6 {
        assert_eq!(fixture.kind(&fixture.with_unknown_kid("y")).await, Some(AuthErrorKind::Unavailable));
        assert_eq!(fixture.fake.fetches(), fetches, "neither the cooldown nor the back-off is longer");
        fixture.set_back(7 * DAY);
        fixture.clock.advance(30 * SECOND);
    }
    fixture.set_back(7 * DAY);
    fixture.clock.advance(DAY);
    assert!(!fixture.issuer.is_ready());
}

#[tokio::test]
async fn a_suspension_counts_for_cooldown_back_off_and_the_record_of_unknown_kids() {
    let fixture = RemoteKeysFixture::warm().await;
    let token = fixture.with_unknown_kid("x");
    for fetches in 2..4 {
        assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
        fixture.clock.suspend(29 * SECOND);
        assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
        assert_eq!(fixture.fake.fetches(), fetches);
        fixture.clock.suspend(SECOND);
    }
    fixture.fake.answer(Answer::Status(500));
    for fetches in 4..7 {
        assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::Unavailable));
        assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::Unavailable));
        assert_eq!(fixture.fake.fetches(), fetches);
        fixture.clock.suspend(30 * SECOND);
    }
}

#[tokio::test]
async fn after_a_suspension_the_metadata_is_read_again() {
    let fixture = RemoteKeysFixture::warm().await;
    for reads in 2..4 {
        fixture.clock.suspend(HOUR);
        wait_for_attempt(&fixture).await;
        assert_eq!(fixture.fake.hits("/.well-known/oauth-authorization-server"), reads);
    }
}

/// A step of the two clocks.
#[derive(Debug, Clone, Copy)]
enum Step {
    Advance(Duration),
    Suspend(Duration),
    SetBack(Duration),
}

impl Step {
    fn any(longest: u64) -> impl Strategy<Value = Self> {
        let time = (0..=longest).prop_map(Duration::from_secs);
        prop_oneof![
            time.clone().prop_map(Self::Advance),
            time.clone().prop_map(Self::Suspend),
            time.prop_map(Self::SetBack)
        ]
    }

    fn apply(self, fixture: &RemoteKeysFixture) {
        match self {
            Self::Advance(time) => fixture.clock.advance(time),
            Self::Suspend(time) => fixture.clock.suspend(time),
            Self::SetBack(time) => fixture.set_back(time),
        }
    }
}

/// Both clocks at one moment.
struct Reading(Duration, SystemTime);

impl Reading {
    fn of(clock: &ManualClock) -> Self {
        Self(clock.elapsed(), clock.now())
    }

    fn age(&self, clock: &ManualClock) -> Duration {
        let Self(elapsed, now) = Self::of(clock);
        now.duration_since(self.1).unwrap_or_default().max(elapsed.saturating_sub(self.0))
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Threat J10
#[test]
fn with_any_steps_of_both_clocks_a_set_is_usable_until_either_age_is_max_stale() {
    check(24, prop::collection::vec(Step::any(40_000), 1..30), |steps| {
        run(async {
            let fixture = RemoteKeysFixture::warm().await;
            let fetched = Reading::of(&fixture.clock);
            fixture.fake.answer(Answer::Reset);
            for step in steps {
                step.apply(&fixture);
                prop_assert_eq!(fixture.issuer.is_ready(), fetched.age(&fixture.clock) < DAY);
            }
            Ok(())
        })
    });
}

/// Threat J10
#[test]
fn with_any_steps_of_both_clocks_an_unknown_kid_is_looked_for_again_when_either_age_is_the_cooldown() {
    check(24, prop::collection::vec(Step::any(20), 1..30), |steps| {
        run(async {
            // The set stays fresh, so that nothing else causes a fetch.
            let fixture = RemoteKeysFixture::cold_with(|builder| {
                builder.lifetime(365 * DAY).lifetime_bounds(SECOND, 365 * DAY).max_stale(365 * DAY)
            });
            let fixture = fixture.await;
            fixture.issuer.warm_up().await.unwrap();
            let token = fixture.with_unknown_kid("x");
            let (mut searched, mut fetches) = (None::<Reading>, 1);
            for step in steps {
                step.apply(&fixture);
                if searched.as_ref().is_none_or(|searched| searched.age(&fixture.clock) >= 30 * SECOND) {
                    (searched, fetches) = (Some(Reading::of(&fixture.clock)), fetches + 1);
                }
                prop_assert_eq!(fixture.kind(&token).await, Some(AuthErrorKind::InvalidToken));
                prop_assert_eq!(fixture.fake.fetches(), fetches);
            }
            Ok(())
        })
    });
}
