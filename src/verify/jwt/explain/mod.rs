//! Explains why a token would be accepted or refused, for people who set up an API.
//!
//! *In*: a token. *Out*: an [`Explanation`] of every check, also of those after the first one that fails.
//!
//! A request never comes here. The checks are those of [`JwtVerifier`](crate::JwtVerifier); this module only lists them.

mod cure;
mod cures;
mod judge;
mod table;

pub use self::cure::Cure;
use self::{
    cures::cures,
    judge::{Judgement, judge},
};
use super::{Fault, JwtVerifier, JwtVerifierBuilder};
use crate::{
    acts_for::ActsFor,
    error::{AuthError, Finding, Reason, causes},
    token::Token,
    verify::Preset,
};

/// The result of every check of a token, for people. [`JwtVerifier::explain`](crate::JwtVerifier::explain) makes it.
///
/// `Display` is a table. Neither it nor the texts contain the token, its signature, or the value of a personal claim.
#[derive(Debug, Clone)]
pub struct Explanation {
    checks: Vec<Check>,
    presets: Vec<SuitablePreset>,
    /// `None` if the claims could not be read.
    acts_for: Option<ActsFor>,
    scopes: Vec<String>,
}

/// A preset that accepts the type and the claims of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuitablePreset {
    /// The preset. Use it only if it is that of the issuer's provider.
    pub preset: Preset,
    /// For whom the token would act with it.
    pub acts_for: ActsFor,
}

/// One check of a token.
#[derive(Debug, Clone)]
pub struct Check {
    name: &'static str,
    found: String,
    expected: String,
    reason: Option<Reason>,
    cures: Vec<Cure>,
}

impl JwtVerifier {
    /// Makes every check of a token, instead of stopping at the first one that fails, and says what would make each pass.
    ///
    /// It is for people who set up an API, in a program of their own or in a test; see `examples/explain_token`. It fetches the
    /// issuer's keys if they are not known yet, and as a request does if the token's key is not among them. Don't call it while
    /// serving a request: it costs more than a verification, and the client must not see the result.
    ///
    /// ```
    /// # async fn example(verifier: &tower_oauth::JwtVerifier, token: &str) {
    /// let explanation = verifier.explain(token).await;
    /// println!("{explanation}");
    /// assert!(explanation.is_accepted());
    /// # }
    /// ```
    pub async fn explain(&self, token: &str) -> Explanation {
        let unavailable = self.fetch_keys(token).await.err();
        let Judgement { mut checks, claims } = judge(&self.rules, token);
        if let Some(error) = unavailable
            && let Some(check) = checks.iter_mut().find(|check| check.name == "signature")
        {
            let found = causes(&error).map_or_else(|| error.to_string(), |causes| format!("no keys: {causes}"));
            let error = error.with_finding(Finding::new(found, "the issuer's keys", ""));
            *check = Check::failed("signature", &error);
        }
        let facts = claims.as_ref().map(Token::facts);
        for check in &mut checks {
            check.cures = cures(check, &self.rules, facts);
        }
        let presets = self.suitable_presets(token, &checks);
        let scopes = claims.iter().flat_map(|token| token.scopes().iter().map(str::to_owned).collect::<Vec<_>>());
        Explanation { checks, presets, acts_for: claims.as_ref().map(Token::acts_for), scopes: scopes.collect() }
    }

    /// Fetches the keys that are needed for a token.
    async fn fetch_keys(&self, token: &str) -> Result<(), AuthError> {
        // A request is verified with old keys too, while new ones can't be fetched.
        if let Err(error) = self.rules.issuer.warm_up().await
            && self.rules.issuer.current_keys().set().is_none()
        {
            return Err(error);
        }
        if let Err(Fault::NoKey(missing)) = self.rules.check_token(token.as_bytes()) {
            // If no refresh may start now, the token is explained with the known keys.
            self.wait_for_key(token, &missing).resolve().await.ok();
        }
        Ok(())
    }

    /// Returns the presets with which no check of the token's type or claims fails, if one fails without them.
    fn suitable_presets(&self, token: &str, checks: &[Check]) -> Vec<SuitablePreset> {
        if !checks.iter().any(Check::may_depend_on_preset) {
            return Vec::new();
        }
        let suitable = |preset: &Preset| {
            let verifier = JwtVerifierBuilder::from_rules(&self.rules).preset(*preset).build().ok()?;
            let Judgement { checks, claims } = judge(&verifier.rules, token);
            let suits = !checks.iter().any(Check::may_depend_on_preset);
            suits.then_some(SuitablePreset { preset: *preset, acts_for: claims?.acts_for() })
        };
        Preset::all().iter().filter_map(suitable).collect()
    }
}

impl Explanation {
    /// Returns true if the verifier would accept the token.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.failed().next().is_none()
    }

    /// Returns all checks that could be made, in the order in which a verifier makes them.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Returns the checks that fail.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.is_passed())
    }

    /// Returns the presets that accept what this verifier refuses: the token's type, and missing or other claims. Empty if the
    /// verifier accepts them without another preset.
    ///
    /// Several presets may accept a token, and some of them accept much. Use one only if it is that of the issuer's provider;
    /// the docs of [`Preset`] state the cost of each.
    #[must_use]
    pub fn presets(&self) -> &[SuitablePreset] {
        &self.presets
    }

    /// Returns for whom the token would act, which decides between [`UserToken`](crate::UserToken) and
    /// [`ClientToken`](crate::ClientToken). `None` if the claims can't be read.
    #[must_use]
    pub fn acts_for(&self) -> Option<ActsFor> {
        self.acts_for
    }

    /// Returns the token's scopes.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Returns an explanation that consists of one failed check.
    pub(in crate::verify) fn of(check: Check) -> Self {
        Self { checks: vec![check], presets: Vec::new(), acts_for: None, scopes: Vec::new() }
    }
}

impl Check {
    /// Returns what was checked: a part of the token such as `signature`, or a member such as `typ` or `aud`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what was found.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// Returns what was expected.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// Returns true if the token passes this check.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.reason.is_none()
    }

    /// Returns the reason of the refusal, as [`AuthError::reason`] does. `None` if the token passes.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        self.reason.map(Reason::as_str)
    }

    /// Returns what would make the token pass this check. One of them is enough.
    #[must_use]
    pub fn cures(&self) -> &[Cure] {
        &self.cures
    }

    /// True if the check fails, and with a preset it might pass.
    fn may_depend_on_preset(&self) -> bool {
        matches!(self.reason, Some(Reason::TypeNotAccepted | Reason::NotAnAccessToken | Reason::MissingClaim(_)))
    }

    fn passed(name: &'static str, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { name, found: found.into(), expected: expected.into(), reason: None, cures: Vec::new() }
    }

    pub(in crate::verify) fn failed(name: &'static str, error: &AuthError) -> Self {
        let finding = error.finding();
        let found = finding.map_or_else(|| error.to_string(), |finding| finding.found().to_owned());
        let expected = finding.map(Finding::expected).unwrap_or_default().to_owned();
        Self { name, found, expected, reason: Some(error.exact_reason()), cures: Vec::new() }
    }

    fn of(
        name: &'static str,
        result: Result<(), AuthError>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        match result {
            Ok(()) => Self::passed(name, found, expected),
            Err(error) => Self::failed(name, &error),
        }
    }
}
