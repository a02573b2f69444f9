//! The clock of the database server, as far as this process knows it.
//!
//! *In*: times in replies. *Out*: a deadline by the server's clock.

use std::{sync::Mutex, time::Instant};

use crate::sync::lock;

/// The difference between the server's clock and this process's.
pub(super) struct ServerClock {
    start: Instant,
    /// Microseconds that are added to those since `start`.
    offset: Mutex<Option<i64>>,
}

impl ServerClock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), offset: Mutex::new(None) }
    }

    /// Learns from a reply. The server has read its clock between the two moments.
    ///
    /// The offset begins with its minimum, and changes only as far as a reply requires. So a deadline is never later by the
    /// server's clock than by this one, unless the server's clock was set; then the next reply corrects it.
    pub(super) fn learn(&self, sent: Instant, received: Instant, server: i64) {
        let min = server.saturating_sub(self.micros(received));
        let max = server.saturating_sub(self.micros(sent)).max(min);
        let mut offset = lock(&self.offset);
        *offset = Some(offset.unwrap_or(min).clamp(min, max));
    }

    /// Returns the moment by the server's clock, in microseconds since 1970-01-01 (UTC). It has passed if nothing is known.
    pub(super) fn at(&self, moment: Instant) -> i64 {
        lock(&self.offset).map_or(0, |offset| self.micros(moment).saturating_add(offset))
    }

    /// Returns the microseconds since the start, rounded down. A moment before the start is negative.
    fn micros(&self, moment: Instant) -> i64 {
        let number = |micros: u128| i64::try_from(micros).unwrap_or(i64::MAX);
        match moment.checked_duration_since(self.start) {
            Some(since) => number(since.as_micros()),
            None => -number(self.start.saturating_duration_since(moment).as_micros()),
        }
    }
}
