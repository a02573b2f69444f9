//! Issuers that are known only when a token names them: for APIs with many tenants.
//!
//! *In*: a token's text. *Out*: the verdict of the verifier that a callback gave for the issuer it names.
//!
//! The callback is the allow-list. What it approved is kept, the hundred most used; what it refused is remembered for 30
//! seconds, apart from the others, so that a flood of invented issuers drives nobody out. An issuer that was not approved
//! causes no look-up of anything.

use std::{fmt, sync::Arc, time::Duration};

use moka::sync::Cache;

use super::{JwtVerifier, Presented, Verdict, Verify, issuers::named_issuer};
use crate::{
    clock::{Clock, SystemClock},
    error::{AuthError, Reason},
};

const MAX_APPROVED: u64 = 100;
const MAX_REFUSED: u64 = 1_000;
const REFUSAL_HOLDS: Duration = Duration::from_secs(30);
/// Longer identifiers are nobody's, and not worth a place in memory.
const MAX_IDENTIFIER_BYTES: usize = 512;

/// Verifies the JWT access tokens of issuers that a callback approves.
///
/// ```
/// use std::collections::HashSet;
/// use tower_oauth::{DynamicIssuers, Issuer, JwtVerifier, OAuthLayer};
///
/// # #[cfg(feature = "http-client")]
/// # fn example(customers: HashSet<String>) {
/// // Entra ID names the tenant in the issuer.
/// let verifier = DynamicIssuers::new(move |issuer: &str| {
///     let tenant = DynamicIssuers::match_template("https://login.microsoftonline.com/{tenantid}/v2.0", issuer)?;
///     if !customers.contains(tenant) {
///         return None;
///     }
///     let issuer = Issuer::builder(issuer).lazy().ok()?;
///     JwtVerifier::builder(issuer, "api://orders").accept_plain_jwt_type().build().ok()
/// });
/// let layer = OAuthLayer::new(verifier);
/// # }
/// ```
///
/// The callback is called on the request's way and must not block: look into memory, and start issuers lazily.
#[derive(Clone)]
pub struct DynamicIssuers {
    approve: Arc<dyn Fn(&str) -> Option<JwtVerifier> + Send + Sync>,
    approved: Cache<Box<str>, JwtVerifier>,
    /// When, by [`Clock::elapsed`].
    refused: Cache<Box<str>, Duration>,
    clock: Arc<dyn Clock>,
}

impl DynamicIssuers {
    /// Trusts the issuers for which `approve` gives a verifier. One whose issuer is another than asked for counts as no.
    pub fn new(approve: impl Fn(&str) -> Option<JwtVerifier> + Send + Sync + 'static) -> Self {
        Self {
            approve: Arc::new(approve),
            approved: Cache::new(MAX_APPROVED),
            refused: Cache::new(MAX_REFUSED),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Another source of time, for tests.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Forgets what was decided of an issuer: the next token asks the callback again.
    pub fn forget(&self, issuer: &str) {
        self.approved.invalidate(issuer);
        self.refused.invalidate(issuer);
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
        if let Some(verifier) = self.approved.get(issuer) {
            return Ok(verifier);
        }
        let now = self.clock.elapsed();
        let refused = self.refused.get(issuer).is_some_and(|since| now.saturating_sub(since) < REFUSAL_HOLDS);
        if refused || issuer.len() > MAX_IDENTIFIER_BYTES {
            return Err(Reason::WrongIssuer.into());
        }
        // Tokens that arrive together ask once, and share one set of keys.
        let verifier = self.approved.optionally_get_with(issuer.into(), || {
            (self.approve)(issuer).filter(|verifier| verifier.issuer().identifier() == issuer)
        });
        verifier.ok_or_else(|| {
            self.refused.insert(issuer.into(), now);
            Reason::WrongIssuer.into()
        })
    }
}

impl Verify for DynamicIssuers {
    fn verify(&self, presented: &Presented<'_>) -> Verdict {
        match named_issuer(presented.token()).and_then(|issuer| self.verifier(&issuer)) {
            Ok(verifier) => verifier.verify(presented),
            Err(error) => Verdict::Now(Err(error)),
        }
    }
}

impl fmt::Debug for DynamicIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicIssuers").field("approved", &self.approved.entry_count()).finish_non_exhaustive()
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
