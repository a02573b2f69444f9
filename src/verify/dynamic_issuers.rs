//! Issuers that are unknown until a token names them, for APIs with many tenants.
//!
//! *In*: a token. *Out*: the verdict of the verifier that a callback returned for the token's issuer.
//!
//! The callback is the allow-list. An approval is cached for 5 min, a refusal for 30 s. Both caches are bounded and separate,
//! so that any number of invented issuers evicts no approved one. Nothing is fetched from an issuer that is not approved.
//!
//! Any client can cause a call of the callback, with any issuer, and a client that knows the tenants' names can cause fetches
//! of their keys. So within 30 s at most `max_issuers` verifiers are made; a token of a further issuer gets 503.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{CacheKey, JwtVerifier, PresentedToken, Verdict, Verify, trusted_issuers::unverified_token_issuer};
use crate::{
    claims::VerifierId,
    clock::{Clock, SystemClock},
    error::{AuthError, AuthErrorKind, Reason},
    sync::lock,
    token::Token,
};

/// Verifies the JWT access tokens of issuers that a callback approves.
///
#[cfg_attr(feature = "http-client", doc = "```")]
#[cfg_attr(not(feature = "http-client"), doc = "```ignore")]
/// use std::collections::HashSet;
/// use tower_oauth::{fetch::HttpClient, verify::DynamicIssuers, Issuer, JwtVerifier, OAuthLayer};
///
/// # fn example(customers: HashSet<String>) -> Result<(), tower_oauth::ConfigError> {
/// let client = HttpClient::new()?; // one for all issuers: a new client takes milliseconds
/// // The issuer of Entra ID contains the tenant.
/// let approve = move |issuer: &str| {
///     let tenant = DynamicIssuers::match_template("https://login.microsoftonline.com/{tenantid}/v2.0", issuer)?;
///     if !customers.contains(tenant) {
///         return None;
///     }
///     let issuer = Issuer::builder(issuer).fetch(client.clone()).build().ok()?;
///     JwtVerifier::builder(issuer, "api://orders").accept_plain_jwt_type().build().ok()
/// };
/// let layer = OAuthLayer::new(DynamicIssuers::builder(approve).max_issuers(500).build());
/// # Ok(())
/// # }
/// ```
///
/// The callback runs while the request waits, so it must not block. Look the tenant up in memory, and use
/// [`IssuerBuilder::build`](crate::issuer::IssuerBuilder::build), which fetches nothing at first.
#[derive(Clone)]
pub struct DynamicIssuers {
    id: VerifierId,
    approve: Arc<dyn Approve>,
    approved: Arc<Cache<String, ApprovedIssuer>>,
    /// The time of each refusal, by [`Clock::elapsed`].
    refused: Arc<Cache<String, Duration>>,
    max_issuers: u32,
    budget: Arc<Mutex<VerifierBudget>>,
    /// Number of calls of `invalidate`.
    invalidations: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// The callback.
trait Approve: Fn(&str) -> Option<JwtVerifier> + Send + Sync {}

impl<F: Fn(&str) -> Option<JwtVerifier> + Send + Sync> Approve for F {}

#[derive(Clone)]
struct ApprovedIssuer {
    verifier: JwtVerifier,
    /// By [`Clock::elapsed`].
    since: Duration,
}

/// The number of verifiers made in the current window.
#[derive(Default)]
struct VerifierBudget {
    window_start: Duration,
    made: u32,
}

impl DynamicIssuers {
    /// Trusts the issuers for which `approve` returns a verifier. A verifier for another issuer counts as a refusal.
    ///
    /// After 5 min `approve` is called again. If it still approves, the first verifier stays, because it has the issuer's
    /// keys; the new one is dropped. To replace the first verifier, call [`invalidate`](Self::invalidate).
    pub fn new(approve: impl Fn(&str) -> Option<JwtVerifier> + Send + Sync + 'static) -> Self {
        Self::builder(approve).build()
    }

    /// Returns a builder for further settings.
    pub fn builder(approve: impl Fn(&str) -> Option<JwtVerifier> + Send + Sync + 'static) -> DynamicIssuersBuilder {
        DynamicIssuersBuilder {
            approve: Arc::new(approve),
            max_issuers: MAX_ISSUERS,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Removes the decision about an issuer. The next token of this issuer calls the callback again, even if a call is
    /// running now.
    pub fn invalidate(&self, issuer: &str) {
        // Increment first, so a concurrent decision sees the new count or is removed below.
        self.invalidations.fetch_add(1, Ordering::SeqCst);
        self.remove(issuer);
    }

    fn remove(&self, issuer: &str) {
        self.approved.remove(issuer);
        self.refused.remove(issuer);
    }

    /// Returns the part of `issuer` that the template has as `{…}`, or `None` if they don't match. Everything else must be
    /// equal, byte for byte.
    ///
    /// The part may contain ASCII letters, digits, `-`, `_` and `.`, and must not begin with a dot. So it can't contain a
    /// slash or another host.
    #[must_use]
    pub fn match_template<'i>(template: &str, issuer: &'i str) -> Option<&'i str> {
        let (before, rest) = template.split_once('{')?;
        let (_, after) = rest.split_once('}')?;
        let tenant = issuer.strip_prefix(before)?.strip_suffix(after)?;
        let legal_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let legal = !tenant.is_empty() && tenant.bytes().all(legal_byte) && !tenant.starts_with('.');
        legal.then_some(tenant)
    }

    fn verifier(&self, issuer: &str) -> Result<JwtVerifier, AuthError> {
        let now = self.clock.elapsed();
        let invalidations = self.invalidations.load(Ordering::SeqCst);
        let known = self.approved.get(issuer);
        if let Some(ApprovedIssuer { verifier, since }) = &known
            && now.saturating_sub(*since) < APPROVAL_AGE
        {
            return Ok(verifier.clone());
        }
        let refused = self.refused.get(issuer).is_some_and(|since| now.saturating_sub(since) < REFUSAL_AGE);
        if refused || issuer.len() > MAX_IDENTIFIER_BYTES {
            return Err(Reason::WrongIssuer.into());
        }
        let decision = self.call_approve(issuer, known, now);
        // The callback may have read data from before the invalidation.
        if self.invalidations.load(Ordering::SeqCst) != invalidations {
            self.remove(issuer);
        }
        decision
    }

    fn call_approve(
        &self,
        issuer: &str,
        known: Option<ApprovedIssuer>,
        now: Duration,
    ) -> Result<JwtVerifier, AuthError> {
        let Some(verifier) = (self.approve)(issuer).filter(|verifier| verifier.issuer().identifier() == issuer) else {
            self.approved.remove(issuer);
            self.refused.insert(issuer.into(), now);
            return Err(Reason::WrongIssuer.into());
        };
        if let Some(ApprovedIssuer { verifier, .. }) = known {
            // Still approved. The verifier that has the keys stays.
            self.approved.insert(issuer.into(), ApprovedIssuer { verifier: verifier.clone(), since: now });
            return Ok(verifier);
        }
        // Tokens that arrive together share one verifier, and so one fetch and one unit of the budget.
        let approve = || self.spend_budget(now).map(|()| ApprovedIssuer { verifier, since: now });
        self.approved.get_or_insert_with(issuer, approve).map(|approved| approved.verifier)
    }

    fn spend_budget(&self, now: Duration) -> Result<(), AuthError> {
        let mut budget = lock(&self.budget);
        let elapsed = now.saturating_sub(budget.window_start);
        if elapsed >= WINDOW {
            *budget = VerifierBudget { window_start: now, made: 0 };
        } else if budget.made >= self.max_issuers {
            return Err(AuthError::unavailable(WINDOW.saturating_sub(elapsed)));
        }
        budget.made = budget.made.saturating_add(1);
        Ok(())
    }
}

/// Returns a cache with one shard, because several shards would fill up unevenly.
fn cache_for(issuers: u32) -> Arc<Cache<String, ApprovedIssuer>> {
    let entries = usize::try_from(issuers).unwrap_or(usize::MAX);
    let options =
        OptionsBuilder::new().shards(1).estimated_items_capacity(entries).weight_capacity(issuers.into()).build();
    Arc::new(match options {
        Ok(options) => {
            Cache::with_options(options, UnitWeighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
        }
        // All required options are set. The fallback keeps the bound.
        Err(_) => Cache::new(entries),
    })
}

impl Verify for DynamicIssuers {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        match unverified_token_issuer(presented.token()).and_then(|issuer| self.verifier(&issuer)) {
            Ok(verifier) => presented.called_instead(self.id, || verifier.verify(presented)),
            Err(error) => {
                presented.called(self.id);
                Verdict::Now(Err(error))
            }
        }
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let issuer = unverified_token_issuer(presented.token()).ok()?;
        match self.verifier(&issuer) {
            Ok(verifier) => Some(presented.called_instead(self.id, || verifier.verify(presented))),
            // Not our issuer. A tenant above the limit is ours and gets 503.
            Err(error) if error.kind() == AuthErrorKind::InvalidToken => None,
            Err(error) => Some(Verdict::Now(Err(error))),
        }
    }

    // One id stands for all verifiers, because nothing but the token chooses one of them.
    fn cache_key(&self, _: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add_verifier(self.id);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        let verifier = token.issuer().and_then(|issuer| self.verifier(issuer).ok());
        verifier.is_some_and(|verifier| verifier.is_still_valid(token))
    }
}

impl fmt::Debug for DynamicIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicIssuers").field("approved", &self.approved.len()).finish_non_exhaustive()
    }
}

/// Builder for [`DynamicIssuers`].
#[must_use]
pub struct DynamicIssuersBuilder {
    approve: Arc<dyn Approve>,
    max_issuers: u32,
    clock: Arc<dyn Clock>,
}

impl DynamicIssuersBuilder {
    /// Maximum number of approved issuers in memory, with their keys. Default: 100.
    ///
    /// Set at least the number of tenants that are active at the same time. The keys of an evicted issuer are fetched again
    /// with its next token. Also limits the new verifiers within 30 s; a token of a further issuer gets 503.
    pub fn max_issuers(self, max_issuers: u32) -> Self {
        Self { max_issuers, ..self }
    }

    /// Replaces the source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Builds the verifier, without calling the callback.
    #[must_use]
    pub fn build(self) -> DynamicIssuers {
        let Self { approve, max_issuers, clock } = self;
        DynamicIssuers {
            id: VerifierId::new(),
            approve,
            approved: cache_for(max_issuers),
            refused: Arc::new(Cache::new(MAX_REFUSED)),
            max_issuers,
            budget: Arc::default(),
            invalidations: Arc::default(),
            clock,
        }
    }
}

impl fmt::Debug for DynamicIssuersBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicIssuersBuilder").field("max_issuers", &self.max_issuers).finish_non_exhaustive()
    }
}

const MAX_ISSUERS: u32 = 100;
const MAX_REFUSED: usize = 1_000;
const REFUSAL_AGE: Duration = Duration::from_secs(30);
const APPROVAL_AGE: Duration = Duration::from_secs(300);
/// Time in which at most `max_issuers` verifiers are made.
const WINDOW: Duration = Duration::from_secs(30);
/// A longer issuer is refused without a call of the callback, and not stored.
const MAX_IDENTIFIER_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::DynamicIssuers;

    #[test]
    fn a_template_matches_one_plain_tenant_and_nothing_else() {
        let template = "https://login.test/{tenantid}/v2.0";
        let tenant = |issuer| DynamicIssuers::match_template(template, issuer);
        assert_eq!(tenant("https://login.test/aaaa-0000/v2.0"), Some("aaaa-0000"));
        for issuer in [
            "https://login.test//v2.0",
            "https://login.test/a/b/v2.0",
            "https://login.test/a/v2.0/",
            "https://login.test/../v2.0",
            "https://login.test/a%2f/v2.0",
            "https://login.test/a/v1.0",
            "https://LOGIN.test/a/v2.0",
            "https://attacker.test/https://login.test/a/v2.0",
            "https://login.test/{tenantid}/v2.0",
        ] {
            assert_eq!(tenant(issuer), None, "{issuer}");
        }
        assert_eq!(DynamicIssuers::match_template("https://login.test", "https://login.test"), None);
    }
}
