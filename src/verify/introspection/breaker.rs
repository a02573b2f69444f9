//! A circuit breaker: requests don't wait for a server that is down.
//!
//! *In*: the results of calls. *Out*: a permit for the next call, or the time until the next permit.
//!
//! Every HTTP response is a sign that the server works, whatever its status, except 429, 502, 503 and 504. Those, and no
//! response at all, are failures. A client can cause failures too, for example with a token that a firewall delays. So the
//! breaker opens only if at least half of the latest calls failed, for several different tokens, and only if tokens that were
//! active lately fail as well.
//!
//! While it is open, it permits one call at a time, the probe, preferably for a known token. A known token never waits while no
//! call for a known token has failed. Any response but 429, 502, 503 and 504 closes it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::known_tokens::TokenHash;
use crate::{
    clock::{Clock, Moment},
    sync::lock,
};

pub(super) struct Breaker {
    state: Mutex<BreakerState>,
    /// False if it only observes the server, and never opens.
    enforced: bool,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct BreakerState {
    /// The latest calls for known tokens, oldest first.
    known: VecDeque<RecentCall>,
    /// The latest calls for other tokens. Separate, so that no number of them displaces those for known tokens.
    others: VecDeque<RecentCall>,
    open: Option<OpenBreaker>,
    /// When a known token was last to be introspected.
    last_known: Option<Moment>,
    next_probe_id: u64,
}

struct RecentCall {
    ended: Moment,
    token: TokenHash,
    failed: bool,
}

struct OpenBreaker {
    /// When the pause began.
    since: Moment,
    /// When a probe of another token last failed.
    others_since: Moment,
    pause: Duration,
    /// The time that the server asked for with the latest failure.
    retry_after: Duration,
    /// True if a call for a known token failed. Otherwise known tokens need not wait for the end of the pause.
    known_failed: bool,
    /// The running probe and its start.
    probe: Option<(u64, Moment)>,
}

/// Permission for one call. If the permit of a probe is dropped unused, because the client disconnected, the next caller
/// probes.
#[must_use]
pub(super) struct Permit<'b> {
    breaker: &'b Breaker,
    token: TokenHash,
    known: bool,
    probe: Option<u64>,
}

/// What a failure shows.
pub(super) struct FailureEffect {
    pub(super) change: Option<BreakerChange>,
    /// True if the server seems to be down, not only for this token.
    pub(super) down: bool,
}

/// What the result of a call changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerChange {
    Opened,
    Closed,
}

impl Breaker {
    pub(super) fn new(enforced: bool, clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), enforced, clock }
    }

    /// Returns a permit to introspect a token, or the time to wait.
    pub(super) fn acquire(&self, token: TokenHash, known: bool) -> Result<Permit<'_>, Duration> {
        let now = Moment::now(&*self.clock);
        let mut state = lock(&self.state);
        let known_lately = state.last_known.is_some_and(|last| last.age(&now) < KNOWN_LATELY);
        if known {
            state.last_known = Some(now);
        }
        let probe_id = state.next_probe_id;
        let Some(open) = &mut state.open else { return Ok(Permit { breaker: self, token, known, probe: None }) };
        let wait = open.wait(known, known_lately, &now);
        if !wait.is_zero() {
            return Err(wait);
        }
        open.probe = Some((probe_id, now));
        state.next_probe_id = probe_id.wrapping_add(1);
        Ok(Permit { breaker: self, token, known, probe: Some(probe_id) })
    }
}

impl Permit<'_> {
    /// Records a response of the server.
    pub(super) fn succeeded(mut self) -> Option<BreakerChange> {
        self.probe = None;
        let now = Moment::now(&*self.breaker.clock);
        let mut state = lock(&self.breaker.state);
        let closed = state.open.take().is_some();
        if closed {
            state.known.clear();
            state.others.clear();
        }
        state.record(&self, false, now);
        closed.then_some(BreakerChange::Closed)
    }

    /// Records a failure. `retry_after` is the time that the server asked for.
    pub(super) fn failed(mut self, retry_after: Option<Duration>) -> FailureEffect {
        let probe = self.probe.take();
        let now = Moment::now(&*self.breaker.clock);
        let mut state = lock(&self.breaker.state);
        let known = self.known;
        if let Some(open) = &mut state.open {
            // Calls that began before the breaker opened say nothing new, except the first failure of a known token.
            let running = probe.is_some() && open.probe.is_some_and(|(running, _)| Some(running) == probe);
            if running || (known && !open.known_failed) {
                open.probe_failed(known, retry_after, now);
            }
            return FailureEffect { change: None, down: true };
        }
        state.record(&self, true, now);
        let down = state.must_open();
        if !down || !self.breaker.enforced {
            return FailureEffect { change: None, down };
        }
        state.open = Some(OpenBreaker {
            since: now,
            others_since: now,
            pause: FIRST_PAUSE,
            retry_after: retry_after.unwrap_or_default(),
            known_failed: state.known.iter().any(|call| call.failed),
            probe: None,
        });
        FailureEffect { change: Some(BreakerChange::Opened), down }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Some(unused) = self.probe else { return };
        let mut state = lock(&self.breaker.state);
        if let Some(open) = &mut state.open
            && open.probe.is_some_and(|(running, _)| running == unused)
        {
            open.probe = None;
        }
    }
}

impl BreakerState {
    fn record(&mut self, permit: &Permit<'_>, failed: bool, now: Moment) {
        for calls in [&mut self.known, &mut self.others] {
            calls.retain(|call| call.ended.age(&now) < WINDOW);
        }
        let calls = if permit.known { &mut self.known } else { &mut self.others };
        if calls.len() >= MAX_RECENT {
            calls.pop_front();
        }
        calls.push_back(RecentCall { ended: now, token: permit.token, failed });
    }

    fn must_open(&self) -> bool {
        let half = |failed: usize, all: usize| failed.saturating_mul(2) >= all;
        let known_failed = self.known.iter().filter(|call| call.failed).count();
        let mut tokens: Vec<_> =
            self.known.iter().chain(&self.others).filter(|call| call.failed).map(|call| call.token).collect();
        let failed = tokens.len();
        tokens.sort_unstable();
        tokens.dedup();
        failed >= MIN_FAILURES
            && tokens.len() >= MIN_TOKENS
            && half(failed, self.known.len().saturating_add(self.others.len()))
            && half(known_failed, self.known.len())
    }
}

impl OpenBreaker {
    /// Returns how long a token must wait. Zero: it may be the probe.
    fn wait(&self, known: bool, known_lately: bool, now: &Moment) -> Duration {
        // Only other tokens have failed, perhaps because of their client.
        if known && !self.known_failed {
            return Duration::ZERO;
        }
        // A probe that never ends doesn't keep the breaker open.
        let probing = self.probe.map_or(Duration::ZERO, |(_, began)| MAX_PROBE.saturating_sub(began.age(now)));
        let pause = self.pause.max(self.retry_after);
        // Known tokens probe first, if there are any.
        let factor = if !known && known_lately { 2 } else { 1 };
        let age = if known { self.since.age(now) } else { self.since.age(now).min(self.others_since.age(now)) };
        let rest = pause.saturating_mul(factor).saturating_sub(age);
        // A short time for a request that comes while a probe runs, because the probe may succeed at once.
        if probing.is_zero() { rest } else { rest.max(FIRST_PAUSE) }
    }

    fn probe_failed(&mut self, known: bool, retry_after: Option<Duration>, now: Moment) {
        self.probe = None;
        // Any client can make the probe of an unknown token fail, so that of a known token does not wait longer for it.
        if !known {
            self.others_since = now;
            return;
        }
        self.pause = MAX_PAUSE.min(self.pause.saturating_mul(2));
        self.retry_after = retry_after.unwrap_or_default();
        self.known_failed = true;
        self.since = now;
    }
}

/// Only calls that ended within this time count.
const WINDOW: Duration = Duration::from_secs(10);
const MAX_RECENT: usize = 256;
/// Minimum number of failures, and of different tokens among them.
const MIN_FAILURES: usize = 5;
const MIN_TOKENS: usize = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Longer than a call can take.
const MAX_PROBE: Duration = Duration::from_secs(6);
/// If a known token was to be introspected within this time, the next one is expected soon.
const KNOWN_LATELY: Duration = Duration::from_secs(60);
