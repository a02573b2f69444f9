//! Several trusted issuers behind one layer, as an allow-list (RFC 8725 §3.8, RFC 9068 §4).
//!
//! *In*: a token. *Out*: the verdict of the verifier for the token's issuer.
//!
//! The unverified `iss` only selects the verifier. Each verifier has its own keys, audience, algorithms and relaxations,
//! and accepts tokens of its own issuer only. Nothing is fetched for a token of an issuer that is not on the list.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{
    CacheKey, Check, Explanation, JwtVerifier, PresentedToken, Verdict, Verify, expected::wrong_issuer, jwt::not_a_jws,
};
use crate::{
    claims::{VerifierId, unverified_issuer},
    config_error::{ConfigError, MistakeCollector},
    error::{AuthError, Reason},
    jws::unverified_payload,
    token::Token,
};

/// Verifies the JWT access tokens of several issuers, each with its own verifier.
///
/// ```
/// # fn example(staff: tower_oauth::Issuer, partners: tower_oauth::Issuer) -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::{verify::TrustedIssuers, JwtVerifier, OAuthLayer};
///
/// let staff = JwtVerifier::new(staff, "https://api.example.com")?;
/// let partners = JwtVerifier::builder(partners, "https://api.example.com").accept_plain_jwt_type().build()?;
/// let layer = OAuthLayer::new(TrustedIssuers::new([staff, partners])?);
/// # Ok(())
/// # }
/// ```
///
/// A `sub` or `client_id` is unique only within its issuer. Use it together with [`Token::issuer`](crate::Token::issuer).
#[derive(Clone)]
pub struct TrustedIssuers {
    id: VerifierId,
    verifiers: Arc<HashMap<Box<str>, JwtVerifier>>,
    /// The first identifiers in the order of the alphabet. Any client can cause a refusal that lists them.
    shown: Arc<[Box<str>]>,
}

impl TrustedIssuers {
    /// Trusts the issuers of these verifiers.
    ///
    /// # Errors
    /// There is no verifier, or there are two for the same issuer.
    pub fn new(verifiers: impl IntoIterator<Item = JwtVerifier>) -> Result<Self, ConfigError> {
        let (mut by_issuer, mut mistakes) = (HashMap::new(), MistakeCollector::new());
        for verifier in verifiers {
            let identifier: Box<str> = verifier.issuer().identifier().into();
            if by_issuer.insert(identifier.clone(), verifier).is_some() {
                let found = format!("{identifier:?} has two verifiers");
                mistakes.add("issuers", found, "give one verifier for each issuer");
            }
        }
        if by_issuer.is_empty() {
            mistakes.add("issuers", "the list is empty", "give at least one verifier");
        }
        mistakes.finish()?;
        let mut shown: Vec<Box<str>> = by_issuer.keys().cloned().collect();
        shown.sort_unstable();
        shown.truncate(MAX_SHOWN);
        Ok(Self { id: VerifierId::new(), verifiers: Arc::new(by_issuer), shown: shown.into() })
    }
}

impl TrustedIssuers {
    /// Makes every check of a token, as [`JwtVerifier::explain`] does, with the verifier for the token's issuer.
    pub async fn explain(&self, token: &str) -> Explanation {
        match self.verifier_for(token) {
            Ok(verifier) => verifier.explain(token).await,
            Err(error) => Explanation::of(Check::failed("iss", &error)),
        }
    }

    /// Returns the verifier for the token's issuer.
    fn verifier_for(&self, token: &str) -> Result<&JwtVerifier, AuthError> {
        let issuer = unverified_token_issuer(token)?;
        self.verifiers.get(&*issuer).ok_or_else(|| self.wrong_issuer(&issuer))
    }

    fn wrong_issuer(&self, found: &str) -> AuthError {
        wrong_issuer(found, self.shown.iter().map(|issuer| &**issuer))
    }
}

impl Verify for TrustedIssuers {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        match self.verifier_for(presented.token()) {
            Ok(verifier) => presented.called_instead(self.id, || verifier.verify(presented)),
            Err(error) => {
                presented.called(self.id);
                Verdict::Now(Err(error))
            }
        }
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let verifier = self.verifiers.get(&*unverified_token_issuer(presented.token()).ok()?)?;
        Some(presented.called_instead(self.id, || verifier.verify(presented)))
    }

    // One id stands for all verifiers, because nothing but the token chooses one of them.
    fn cache_key(&self, _: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add_verifier(self.id);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        let verifier = token.issuer().and_then(|issuer| self.verifiers.get(issuer));
        verifier.is_some_and(|verifier| verifier.is_still_valid(token))
    }

    fn issuers(&self) -> Vec<String> {
        let mut issuers: Vec<String> = self.verifiers.keys().map(ToString::to_string).collect();
        issuers.sort_unstable();
        issuers
    }

    fn audiences(&self) -> Option<Vec<String>> {
        let of_each: Option<Vec<Vec<String>>> = self.verifiers.values().map(Verify::audiences).collect();
        let mut audiences = of_each?.concat();
        audiences.sort_unstable();
        audiences.dedup();
        Some(audiences)
    }
}

/// Returns the unverified `iss` of a token. It selects a verifier, and proves nothing.
///
/// Also reads the `iss` of a token without a signature or with a fourth segment. Otherwise no verifier would be responsible
/// for such a token, and [`JwtOrOpaque`](crate::JwtOrOpaque) would pass it on.
pub(crate) fn unverified_token_issuer(token: &str) -> Result<String, AuthError> {
    let claims = unverified_payload(token).ok_or_else(|| not_a_jws(token.as_bytes()))?;
    unverified_issuer(&claims).ok_or_else(|| {
        let change = "let the client send the token exactly as it got it";
        Reason::WrongIssuer.because("claims without a readable iss", "the iss of a trusted issuer", change)
    })
}

/// Maximum number of issuers with which the `iss` of a refused token is compared for the log.
const MAX_SHOWN: usize = 16;

impl fmt::Debug for TrustedIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.verifiers.keys()).finish()
    }
}
