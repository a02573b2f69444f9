//! Checks of audience and times, for JWTs and introspection responses.
//!
//! *In*: the facts of a token. *Out*: nothing, or why the token is refused.

use std::{sync::Arc, time::Duration};

use crate::{
    claims::{Facts, NumericDate},
    clock::{Clock, SystemClock},
    config_error::MistakeCollector,
    error::{AuthError, Reason, likely_slip, quoted, quoted_list},
};

/// The expected audience, and the tolerance for clocks.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// The identifiers of this API.
    pub(super) audience: Vec<String>,
    /// Tolerance for the difference between our clock and the issuer's.
    pub(super) leeway: Duration,
    pub(super) clock: Arc<dyn Clock>,
    /// What to change if tokens have no audience. It depends on the verifier.
    missing_audience: &'static str,
}

impl Expected {
    pub(super) fn new(audience: String, missing_audience: &'static str) -> Self {
        let (leeway, clock) = (Duration::from_secs(30), Arc::new(SystemClock::new()));
        Self { audience: vec![audience], leeway, clock, missing_audience }
    }

    /// Checks the configuration.
    pub(super) fn check(&self, mistakes: &mut MistakeCollector) {
        for audience in &self.audience {
            if audience.trim().is_empty() {
                mistakes.add("audience", "it is empty", "give this API's identifier, as in the tokens' aud");
            }
        }
        if self.leeway > MAX_LEEWAY {
            let found = format!("{} s", self.leeway.as_secs());
            mistakes.add("leeway", found, "give at most 300 s (RFC 9068 §4: no more than a few minutes)");
        }
    }

    /// Checks that the token's audience includes this API (RFC 7519 §4.1.3).
    pub(super) fn check_audience<'f>(&self, audience: impl Iterator<Item = &'f str> + Clone) -> Result<(), AuthError> {
        let mut named = audience.clone();
        if named.by_ref().any(|named| self.audience.iter().any(|ours| ours == named)) {
            return Ok(());
        }
        Err(self.wrong_audience(&audience.take(MAX_NAMED).collect::<Vec<_>>()))
    }

    fn wrong_audience(&self, named: &[&str]) -> AuthError {
        if named.is_empty() {
            return Reason::MissingClaim("aud").because("no aud", self.description(), self.missing_audience);
        }
        let mut pairs = named.iter().flat_map(|named| self.audience.iter().map(move |ours| (*named, ours)));
        let change = pairs.find_map(|(named, ours)| likely_slip(named, ours)).unwrap_or(
            "let the client ask for a token for this API, or add the audience if it is an identifier of this API (audience)",
        );
        let found = format!("aud {}", quoted_list(named.iter().copied()));
        Reason::WrongAudience.because(found, self.description(), change)
    }

    /// Returns the accepted audiences, for logs.
    pub(super) fn description(&self) -> String {
        let one_of = if self.audience.len() > 1 { "one of " } else { "" };
        format!("{one_of}{}", quoted_list(self.audience.iter().map(String::as_str)))
    }

    /// Checks those of `exp`, `nbf` and `iat` that are present (RFC 7519 §4.1.4, §4.1.5, §4.1.6).
    pub(super) fn check_times(&self, facts: &Facts) -> Result<(), AuthError> {
        let now = self.now();
        self.check_expiry(facts, now)?;
        self.check_not_before(facts, now)?;
        self.check_issued_at(facts, now)
    }

    /// Returns the time of the clock, in seconds since 1970.
    pub(super) fn now(&self) -> f64 {
        NumericDate::of(self.clock.now()).0
    }

    #[inline]
    pub(super) fn check_expiry(&self, facts: &Facts, now: f64) -> Result<(), AuthError> {
        match facts.expires_at {
            Some(expires) if expires > LAST_DATE => Err(not_a_date("exp after the year 9999")),
            Some(NumericDate(expires)) if now >= expires + self.leeway.as_secs_f64() => {
                let found = format!("exp {} ago", seconds(now - expires));
                let change =
                    "let the client get a new token; if new tokens are expired too, set the clocks, or raise leeway";
                Err(Reason::Expired.because(found, self.leeway_text(), change))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    pub(super) fn check_not_before(&self, facts: &Facts, now: f64) -> Result<(), AuthError> {
        match facts.not_before {
            Some(NumericDate(from)) if now < from - self.leeway.as_secs_f64() => {
                let found = format!("nbf {} ahead", seconds(from - now));
                Err(Reason::NotYetValid.because(found, self.leeway_text(), CLOCKS))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    pub(super) fn check_issued_at(&self, facts: &Facts, now: f64) -> Result<(), AuthError> {
        match facts.issued_at {
            Some(NumericDate(issued)) if issued < 0.0 => Err(not_a_date("iat before 1970")),
            Some(NumericDate(issued)) if issued > now + self.leeway.as_secs_f64() => {
                let found = format!("iat {} ahead", seconds(issued - now));
                Err(Reason::IssuedInTheFuture.because(found, self.leeway_text(), CLOCKS))
            }
            _ => Ok(()),
        }
    }

    fn leeway_text(&self) -> String {
        format!("a difference of at most {} (leeway)", seconds(self.leeway.as_secs_f64()))
    }
}

/// Returns the error for a token of another issuer. `expected` are the trusted ones.
pub(super) fn wrong_issuer<'i>(found: &str, expected: impl Iterator<Item = &'i str> + Clone) -> AuthError {
    let change = expected.clone().find_map(|expected| likely_slip(found, expected)).unwrap_or(
        "configure the issuer that the tokens name, or let the client get its token from the expected issuer",
    );
    Reason::WrongIssuer.because(format!("iss {}", quoted(found)), quoted_list(expected), change)
}

fn not_a_date(found: &'static str) -> AuthError {
    Reason::MalformedClaims.because(found, "seconds since 1970", "let the issuer write seconds since 1970")
}

/// Returns a length of time in whole seconds.
fn seconds(time: f64) -> String {
    format!("{time:.0} s")
}

const CLOCKS: &str = "set the clocks of this machine and of the issuer, or raise leeway";
/// The last second of the year 9999. A later date is malformed.
const LAST_DATE: NumericDate = NumericDate(253_402_300_799.0);
/// Maximum number of a token's audiences that are read for a log.
const MAX_NAMED: usize = 8;
const MAX_LEEWAY: Duration = Duration::from_secs(300);
