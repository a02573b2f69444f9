//! What time it is at a server of Redis.
//!
//! *In*: when a command was sent, when its reply came, and the server's time in the reply. *Out*: a moment of this process as the
//! server's time, in milliseconds.
//!
//! The clocks of two machines are never compared directly: the difference is learned from replies. The server was at its time
//! between the sending and the reply, so each reply gives a lower and an upper bound.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{redis_link::SLOTS, sync::lock};

/// The differences to the clocks of all servers. In a cluster, the client does not know which server executes a command. So there
/// is one difference for each 64 slots: nearly all of these are on one server.
pub(super) struct Clocks {
    start: Instant,
    differences: Mutex<Vec<Option<Difference>>>,
}

/// The server's time minus the time since `start`, in nanoseconds, is from `low` to `high`.
#[derive(Debug, Clone, Copy)]
struct Difference {
    low: i64,
    high: i64,
    learned_at: i64,
}

impl Clocks {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), differences: Mutex::new(vec![None; usize::from(SLOTS / SLOTS_OF_ONE)]) }
    }

    /// Learns from a reply.
    pub(super) fn learn(&self, slot: u16, sent: Instant, received: Instant, server_time: i64) {
        let (sent, received) = (self.since_start(sent), self.since_start(received));
        let server_time = server_time.saturating_mul(MILLISECOND);
        // The server's time is rounded down.
        let (low, high) = (server_time - received, server_time + MILLISECOND - sent);
        let mut differences = lock(&self.differences);
        let Some(place) = differences.get_mut(usize::from(slot / SLOTS_OF_ONE)) else { return };
        let bounds = place.map(|known| {
            let drift = (received - known.learned_at).max(0) / DRIFT;
            (low.max(known.low - drift), high.min(known.high + drift))
        });
        // If both do not fit together, the clock was set, or another server has the slot now.
        let (low, high) = bounds.filter(|(low, high)| low <= high).unwrap_or((low, high));
        *place = Some(Difference { low, high, learned_at: received });
    }

    /// Returns the moment as time of the server that has the slot. It is never too early if the server's clock was not set: a
    /// server may execute a command too late by the time that the fastest reply took. Returns `None` if nothing was learned yet.
    pub(super) fn server_time(&self, slot: u16, moment: Instant) -> Option<i64> {
        let differences = lock(&self.differences);
        let own = differences.get(usize::from(slot / SLOTS_OF_ONE)).copied().flatten();
        // The clocks of a cluster are nearly the same.
        let high = own.map(|own| own.high).or_else(|| differences.iter().flatten().map(|other| other.high).max())?;
        Some((self.since_start(moment) + high) / MILLISECOND)
    }

    fn since_start(&self, moment: Instant) -> i64 {
        let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 4);
        match moment.checked_duration_since(self.start) {
            Some(since) => nanoseconds(since),
            None => -nanoseconds(self.start.saturating_duration_since(moment)),
        }
    }
}

const SLOTS_OF_ONE: u16 = 64;
const MILLISECOND: i64 = 1_000_000;
/// In this time a bound becomes less exact by one: the rates of two clocks differ by less than a thousandth.
const DRIFT: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reply_does_not_make_a_known_difference_less_exact() {
        let clocks = Clocks::new();
        let at = |ms| clocks.start + Duration::from_millis(ms);
        clocks.learn(0, at(10), at(11), 1_000_010);
        clocks.learn(0, at(100), at(2600), 1_002_599);
        let time = clocks.server_time(0, at(5000)).unwrap();
        assert!((1_005_000..1_005_010).contains(&time), "{time}");
        // Also for slots of which nothing is known.
        assert_eq!(clocks.server_time(9999, at(5000)), Some(time));
    }

    #[test]
    fn a_clock_that_was_set_is_learned_from_one_reply() {
        let clocks = Clocks::new();
        let at = |ms| clocks.start + Duration::from_millis(ms);
        assert_eq!(clocks.server_time(0, at(0)), None);
        for hour in [3_600_000, 0, 7_200_000] {
            clocks.learn(0, at(10), at(11), hour + 10);
            let time = clocks.server_time(0, at(20)).unwrap() - hour;
            assert!((20..25).contains(&time), "{time}");
        }
    }

    #[test]
    fn clocks_that_run_differently_are_followed() {
        let clocks = Clocks::new();
        let at = |ms| clocks.start + Duration::from_millis(ms);
        for ms in (0..1_000_000).step_by(100) {
            // The server's clock is faster by a two-thousandth.
            clocks.learn(0, at(ms), at(ms + 1), i64::try_from(ms + ms / 2000).unwrap());
            let time = clocks.server_time(0, at(ms)).unwrap() - i64::try_from(ms + ms / 2000).unwrap();
            assert!((0..5).contains(&time), "{time} at {ms}");
        }
    }
}
