//! The builder of [`DynamicIssuers`].
//!
//! *In*: the callback and the settings. *Out*: the verifier. Nothing can be wrong: every value is usable.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    DynamicIssuers,
    decider::{DecideIssuer, IssuerDecider},
    known_issuers::DecisionSettings,
};
use crate::{
    claims::VerifierId,
    clock::{Clock, SystemClock},
};

/// Builder for [`DynamicIssuers`].
#[must_use]
pub struct DynamicIssuersBuilder {
    callback: Arc<dyn DecideIssuer>,
    settings: DecisionSettings,
    clock: Arc<dyn Clock>,
}

impl DynamicIssuersBuilder {
    pub(super) fn new(callback: impl DecideIssuer + 'static) -> Self {
        let settings = DecisionSettings {
            max_issuers: 100,
            max_newcomers: 16,
            approval_age: Duration::from_secs(300),
            refusal_age: Duration::from_secs(30),
            newcomers_at_once: 20,
            newcomer_interval: Duration::from_millis(500),
        };
        Self { callback: Arc::new(callback), settings, clock: Arc::new(SystemClock::new()) }
    }

    /// Maximum number of established issuers in memory, with their keys. Default: 100.
    ///
    /// Set at least the number of tenants. If there are more, the issuer that was named least recently loses its place: it is a
    /// newcomer again, and its keys are fetched again.
    pub fn max_issuers(mut self, max_issuers: u32) -> Self {
        self.settings.max_issuers = max_issuers;
        self
    }

    /// Maximum number of approved issuers in memory of which no token was accepted yet. Default: 16.
    pub fn max_newcomers(mut self, max_newcomers: u32) -> Self {
        self.settings.max_newcomers = max_newcomers;
        self
    }

    /// Number of new verifiers that may be made at once, and the time in which one more may be made. Default: 20, and 500 ms.
    ///
    /// Each new verifier may cause fetches of keys. A token of an approved issuer gets 503 with `Retry-After` if no new
    /// verifier may be made for it. Established issuers need no new verifier. After a restart none is established: with
    /// thousands of tenants, set a larger number.
    pub fn newcomer_budget(mut self, at_once: u32, interval: Duration) -> Self {
        self.settings.newcomers_at_once = at_once;
        self.settings.newcomer_interval = interval;
        self
    }

    /// Time for which an approval is stored. Default: 300 s.
    ///
    /// A removed tenant is noticed after this time, or at once by [`invalidate`](DynamicIssuers::invalidate).
    pub fn approval_age(mut self, approval_age: Duration) -> Self {
        self.settings.approval_age = approval_age;
        self
    }

    /// Time for which a refusal is stored. Default: 30 s.
    ///
    /// A new tenant whose tokens were refused before is noticed after this time, or at once by
    /// [`invalidate`](DynamicIssuers::invalidate).
    pub fn refusal_age(mut self, refusal_age: Duration) -> Self {
        self.settings.refusal_age = refusal_age;
        self
    }

    /// Replaces the source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Builds the verifier, without calling the callback.
    #[must_use]
    pub fn build(self) -> DynamicIssuers {
        let Self { callback, settings, clock } = self;
        DynamicIssuers { id: VerifierId::new(), decider: Arc::new(IssuerDecider::new(callback, settings, clock)) }
    }
}

impl fmt::Debug for DynamicIssuersBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicIssuersBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
