//! TrustedIssuers that are known only when a token names them: for APIs with many tenants.
//!
//! *In*: a token's text. *Out*: the verdict of the verifier that a callback gave for the issuer it names.
//!
//! The callback is the allow-list. What it approved is kept, the hundred most used unless said, and asked again after five
//! minutes; what it refused is remembered for 30 seconds, apart from the others, so that a flood of invented issuers drives
//! nobody out. An issuer that was not approved causes no look-up of anything.
//!
//! Strangers call the callback too, with any name they like, and whoever knows the names of tenants can have their keys
//! fetched: in a window of 30 seconds no more new verifiers are made than there is room for, and further tenants
//! get 503.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{JwtVerifier, PresentedToken, Verdict, Verify, trusted_issuers::named_issuer};
use crate::{
    clock::{Clock, SystemClock},
    error::{AuthError, AuthErrorKind, Reason},
    token::Token,
};

const MAX_ISSUERS: u32 = 100;
const MAX_REFUSED: usize = 1_000;
const REFUSAL_HOLDS: Duration = Duration::from_secs(30);
const APPROVAL_HOLDS: Duration = Duration::from_secs(300);
/// In which no more new verifiers are made than there is room for.
const WINDOW: Duration = Duration::from_secs(30);
/// Longer identifiers are nobody's, and not worth a place in memory.
const MAX_IDENTIFIER_BYTES: usize = 512;

/// Verifies the JWT access tokens of issuers that a callback approves.
///
#[cfg_attr(feature = "http-client", doc = "```")]
#[cfg_attr(not(feature = "http-client"), doc = "```ignore")]
/// use std::collections::HashSet;
/// use tower_oauth::{fetch::HttpClient, verify::DynamicIssuers, Issuer, JwtVerifier, OAuthLayer};
///
/// # fn example(customers: HashSet<String>) -> Result<(), tower_oauth::ConfigError> {
/// let client = HttpClient::new()?; // one for all: making one takes milliseconds
/// // Entra ID names the tenant in the issuer.
/// let verifier = DynamicIssuers::new(move |issuer: &str| {
///     let tenant = DynamicIssuers::match_template("https://login.microsoftonline.com/{tenantid}/v2.0", issuer)?;
///     if !customers.contains(tenant) {
///         return None;
///     }
///     let issuer = Issuer::builder(issuer).fetch(client.clone()).build().ok()?;
///     JwtVerifier::builder(issuer, "api://orders").accept_plain_jwt_type().build().ok()
/// });
/// let layer = OAuthLayer::new(verifier.max_issuers(500));
/// # Ok(())
/// # }
/// ```
///
/// The callback is called on the request's way and must not block: look into memory, and start issuers lazily.
#[derive(Clone)]
pub struct DynamicIssuers {
    approve: Arc<dyn Approve>,
    approved: Arc<Cache<String, Approved>>,
    /// When, by [`Clock::elapsed`].
    refused: Arc<Cache<String, Duration>>,
    max_issuers: u32,
    budget: Arc<Mutex<Budget>>,
    /// How often something was forgotten.
    invalidations: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// The callback.
trait Approve: Fn(&str) -> Option<JwtVerifier> + Send + Sync {}

impl<F: Fn(&str) -> Option<JwtVerifier> + Send + Sync> Approve for F {}

#[derive(Clone)]
struct Approved {
    verifier: JwtVerifier,
    /// By [`Clock::elapsed`].
    since: Duration,
}

/// How many new verifiers were made since when.
#[derive(Default)]
struct Budget {
    since: Duration,
    made: u32,
}

impl DynamicIssuers {
    /// Trusts the issuers for which `approve` gives a verifier. One whose issuer is another than asked for counts as no.
    ///
    /// When it is asked again, only the yes or no counts: the verifier that has the issuer's keys stays. New rules for an
    /// issuer need [`forget`](Self::forget).
    pub fn new(approve: impl Fn(&str) -> Option<JwtVerifier> + Send + Sync + 'static) -> Self {
        Self {
            approve: Arc::new(approve),
            approved: room_for(MAX_ISSUERS),
            refused: Arc::new(Cache::new(MAX_REFUSED)),
            max_issuers: MAX_ISSUERS,
            budget: Arc::default(),
            invalidations: Arc::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// How many approved issuers are kept, with their keys: give at least the number of tenants that are active together.
    /// One that has to make room loses its keys, which are fetched again when it comes back.
    #[must_use]
    pub fn max_issuers(self, max_issuers: u32) -> Self {
        Self { approved: room_for(max_issuers), max_issuers, ..self }
    }

    /// Another source of time, for tests.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Forgets what was decided of an issuer: the next token asks the callback again, also while it is being asked now.
    pub fn forget(&self, issuer: &str) {
        // Counted first: who decides meanwhile sees it, or what he decided is removed here.
        self.invalidations.fetch_add(1, Ordering::SeqCst);
        self.remove(issuer);
    }

    fn remove(&self, issuer: &str) {
        self.approved.remove(issuer);
        self.refused.remove(issuer);
    }

    /// What stands in `issuer` in the place of the template's only `{…}`, if the rest is equal byte for byte.
    ///
    /// A tenant is made of letters, digits, `-`, `_` and `.`; a slash or anything else that could lead elsewhere is none.
    #[must_use]
    pub fn match_template<'i>(template: &str, issuer: &'i str) -> Option<&'i str> {
        let (before, rest) = template.split_once('{')?;
        let (_, after) = rest.split_once('}')?;
        let tenant = issuer.strip_prefix(before)?.strip_suffix(after)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let plain = !tenant.is_empty() && tenant.bytes().all(legal) && !tenant.starts_with('.');
        plain.then_some(tenant)
    }

    fn verifier(&self, issuer: &str) -> Result<JwtVerifier, AuthError> {
        let now = self.clock.elapsed();
        let invalidations = self.invalidations.load(Ordering::SeqCst);
        let known = self.approved.get(issuer);
        if let Some(Approved { verifier, since }) = &known
            && now.saturating_sub(*since) < APPROVAL_HOLDS
        {
            return Ok(verifier.clone());
        }
        let refused = self.refused.get(issuer).is_some_and(|since| now.saturating_sub(since) < REFUSAL_HOLDS);
        if refused || issuer.len() > MAX_IDENTIFIER_BYTES {
            return Err(Reason::WrongIssuer.into());
        }
        let decided = self.decide(issuer, known, now);
        // The callback may have answered by what was true before it was forgotten.
        if self.invalidations.load(Ordering::SeqCst) != invalidations {
            self.remove(issuer);
        }
        decided
    }

    fn decide(&self, issuer: &str, known: Option<Approved>, now: Duration) -> Result<JwtVerifier, AuthError> {
        let Some(verifier) = (self.approve)(issuer).filter(|verifier| verifier.issuer().identifier() == issuer) else {
            self.approved.remove(issuer);
            self.refused.insert(issuer.into(), now);
            return Err(Reason::WrongIssuer.into());
        };
        if let Some(Approved { verifier, .. }) = known {
            // Still approved: the one that has its keys stays.
            self.approved.insert(issuer.into(), Approved { verifier: verifier.clone(), since: now });
            return Ok(verifier);
        }
        // Tokens that arrive together share one verifier, and so one fetch and one place in the budget.
        let approve = || self.spend(now).map(|()| Approved { verifier, since: now });
        self.approved.get_or_insert_with(issuer, approve).map(|approved| approved.verifier)
    }

    fn spend(&self, now: Duration) -> Result<(), AuthError> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = now.saturating_sub(budget.since);
        if spent >= WINDOW {
            *budget = Budget { since: now, made: 0 };
        } else if budget.made >= self.max_issuers {
            return Err(AuthError::unavailable(WINDOW.saturating_sub(spent)));
        }
        budget.made = budget.made.saturating_add(1);
        Ok(())
    }
}

/// In one piece: shards would fill up one before the other.
fn room_for(issuers: u32) -> Arc<Cache<String, Approved>> {
    let entries = usize::try_from(issuers).unwrap_or(usize::MAX);
    let options =
        OptionsBuilder::new().shards(1).estimated_items_capacity(entries).weight_capacity(issuers.into()).build();
    Arc::new(match options {
        Ok(options) => {
            Cache::with_options(options, UnitWeighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
        }
        // It lacks nothing; and if it did, the bound would still hold.
        Err(_) => Cache::new(entries),
    })
}

impl Verify for DynamicIssuers {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        match named_issuer(presented.token()).and_then(|issuer| self.verifier(&issuer)) {
            Ok(verifier) => verifier.verify(presented),
            Err(error) => Verdict::Now(Err(error)),
        }
    }

    fn verify_own(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let issuer = named_issuer(presented.token()).ok()?;
        match self.verifier(&issuer) {
            Ok(verifier) => Some(verifier.verify(presented)),
            // Nobody's issuer; a tenant that there is no room for at the moment is ours all the same.
            Err(error) if error.kind() == AuthErrorKind::InvalidToken => None,
            Err(error) => Some(Verdict::Now(Err(error))),
        }
    }

    fn still_holds(&self, token: &Token) -> bool {
        let verifier = token.issuer().and_then(|issuer| self.verifier(issuer).ok());
        verifier.is_some_and(|verifier| verifier.still_holds(token))
    }
}

impl fmt::Debug for DynamicIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicIssuers").field("approved", &self.approved.len()).finish_non_exhaustive()
    }
}

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
            "https://stranger.test/https://login.test/a/v2.0",
            "https://login.test/{tenantid}/v2.0",
        ] {
            assert_eq!(tenant(issuer), None, "{issuer}");
        }
        assert_eq!(DynamicIssuers::match_template("https://login.test", "https://login.test"), None);
    }
}
