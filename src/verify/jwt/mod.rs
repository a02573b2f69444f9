//! JWT access tokens (RFC 9068 §4, RFC 8725 §3).
//!
//! *In*: a token. *Out*: a [`Token`], or why it was refused.
//!
//! The steps, in this order; the first one that fails ends the verification: three segments; a strict header; `crit`;
//! `typ`; `alg` on the allow-list; a key of the issuer for this `alg` and `kid`; the signature; UTF-8 and JSON; `iss`,
//! `aud`, `exp`, `nbf`, `iat`; the claims of ID tokens, unless `typ` is `at+jwt`; the rules of the preset; the claims that RFC
//! 9068 §2.2 requires.
//!
//! Revocation, scopes and `cnf` are *not* checked here. The server checks `cnf`, handlers the scopes, and
//! [`introspection`](crate::IntrospectionVerifier) the revocation.

mod builder;
mod explain;
mod findings;
mod header;
mod token_types;

use std::{fmt, iter, sync::Arc};

use arc_swap::ArcSwapOption;

pub(super) use self::findings::not_a_jws;
pub(crate) use self::header::check_signature;
use self::header::{CheckedHeader, parse_header, verify_signature};
pub(crate) use self::token_types::TokenTypes;
pub use self::{
    builder::JwtVerifierBuilder,
    explain::{Check, Cure, Explanation, SuitablePreset},
};
use super::{
    CacheKey, PresentedToken, Verdict, Verify,
    expected::{Expected, wrong_issuer},
    id_token::refuse_id_token,
    preset::Preset,
    trusted_issuers::unverified_token_issuer,
};
use crate::{
    claims::{ClaimNames, Facts, Text, TokenOrigin, VerifierId},
    config_error::ConfigError,
    error::{AuthError, Reason},
    issuer::Issuer,
    jws::{Compact, HeaderBuffer, SignatureAlgorithm},
    keys::{KeySet, SharedSecret, remote::MissingKey},
    token::Token,
};

/// Verifies the JWT access tokens of one issuer, by RFC 9068. The [builder](Self::builder) has methods that relax this; each
/// documents the cost. Clones share everything.
#[doc(alias("JWT", "decode"))]
#[derive(Clone)]
pub struct JwtVerifier {
    rules: Arc<JwtRules>,
}

struct JwtRules {
    id: VerifierId,
    issuer: Issuer,
    expected: Expected,
    algorithms: Vec<SignatureAlgorithm>,
    types: TokenTypes,
    /// True if a claim that only ID tokens have is refused, in a token whose type may be that of an ID token.
    refuses_id_tokens: bool,
    missing_audience_accepted: bool,
    optional_claims: Vec<OptionalClaim>,
    names: ClaimNames,
    preset: Option<Preset>,
    /// Tokens that are signed with one key usually have identical headers, so the header is parsed once.
    known_header: ArcSwapOption<KnownHeader>,
}

/// The header of a token with a valid signature.
struct KnownHeader {
    text: Box<[u8]>,
    algorithm: SignatureAlgorithm,
    key_id: Option<Box<str>>,
    typed: bool,
}

/// A claim that RFC 9068 §2.2 requires and some servers leave out. `iss`, `aud` and `exp` are always required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptionalClaim {
    /// `sub`. A token without it acts for its client, unless a preset has another rule.
    Subject,
    /// `client_id`. For a token without it, a user can't be distinguished from a client.
    ClientId,
    /// `iat`.
    IssuedAt,
    /// `jti`.
    JwtId,
}

impl OptionalClaim {
    const ALL: [Self; 4] = [Self::Subject, Self::ClientId, Self::IssuedAt, Self::JwtId];

    /// Returns the claim's name.
    fn name(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::ClientId => "client_id",
            Self::IssuedAt => "iat",
            Self::JwtId => "jti",
        }
    }

    /// Returns the claim's name if it is missing or blank.
    #[inline]
    fn missing_in(self, facts: &Facts) -> Option<&'static str> {
        let blank =
            |text: &Option<Text>| facts.text(text.as_ref()).is_none_or(|text| text.chars().all(char::is_whitespace));
        let missing = match self {
            Self::Subject => blank(&facts.subject),
            Self::ClientId => blank(&facts.client_id),
            Self::IssuedAt => facts.issued_at.is_none(),
            Self::JwtId => blank(&facts.jwt_id),
        };
        missing.then_some(self.name())
    }
}

impl JwtVerifier {
    /// Accepts tokens of `issuer` for `audience`.
    ///
    /// # Errors
    /// The audience is empty, or no key of the issuer can verify an accepted algorithm.
    pub fn new(issuer: Issuer, audience: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(issuer, audience).build()
    }

    /// Returns a builder for further settings.
    pub fn builder(issuer: Issuer, audience: impl Into<String>) -> JwtVerifierBuilder {
        JwtVerifierBuilder::new(Ok(issuer), audience.into(), None)
    }

    /// Returns a builder for tokens that are signed with a secret shared with the issuer.
    ///
    /// `issuer` is the value of `iss`; it need not be a URL. The cost: everyone who can verify such a token can also issue
    /// one.
    pub fn builder_from_secret(
        issuer: impl Into<String>,
        secret: SharedSecret,
        audience: impl Into<String>,
    ) -> JwtVerifierBuilder {
        let algorithm = SignatureAlgorithm::Hmac(secret.algorithm());
        let issuer = KeySet::from_secret(secret).and_then(|keys| Issuer::from_keys(issuer, keys));
        JwtVerifierBuilder::new(issuer, audience.into(), Some(algorithm))
    }

    /// Returns the issuer whose tokens are accepted.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.rules.issuer
    }
}

impl Verify for JwtVerifier {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        presented.called(self.rules.id);
        match self.rules.check_token(presented.credentials.token_bytes()) {
            Ok(token) => Verdict::Now(Ok(token)),
            Err(Fault::Refused(error)) => Verdict::Now(Err(self.rules.refusal(error))),
            Err(Fault::NoKey(missing)) => self.wait_for_key(presented.token(), &missing),
        }
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        self.rules.has_our_issuer(presented.token()).then(|| self.verify(presented))
    }

    fn cache_key(&self, _: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add_verifier(self.rules.id);
    }

    /// Checks that this verifier made the token, that the issuer has withdrawn no key since, and the times again. The other
    /// claims and the settings can't have changed.
    fn is_still_valid(&self, token: &Token) -> bool {
        let facts = token.facts();
        let TokenOrigin { verifier, key_epoch, .. } = facts.origin;
        if verifier != Some(self.rules.id) {
            return false;
        }
        let keys = self.rules.issuer.current_keys();
        keys.set().is_some_and(|keys| keys.epoch() == key_epoch) && self.rules.expected.check_times(facts).is_ok()
    }

    fn issuers(&self) -> Vec<String> {
        vec![self.rules.issuer.identifier().to_owned()]
    }

    fn audiences(&self) -> Option<Vec<String>> {
        Some(self.rules.expected.audience.clone())
    }
}

/// The reason why a token is not accepted at once.
pub(crate) enum Fault {
    Refused(AuthError),
    /// The token is well-formed, but no key of the current set verifies it.
    NoKey(MissingKey),
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        Self::Refused(error)
    }
}

impl JwtVerifier {
    /// Waits for a refresh of the key set: the issuer may have a new key. This is the only case in which a JWT waits.
    fn wait_for_key(&self, token: &str, missing: &MissingKey) -> Verdict {
        let refused = |error| Verdict::Now(Err(self.rules.refusal(error)));
        match unverified_token_issuer(token) {
            Ok(issuer) if issuer == self.rules.issuer.identifier() => {}
            // A token of another issuer must not cause a refresh of our keys, and its issuer says more than its key.
            Ok(issuer) => return refused(self.rules.wrong_issuer(&issuer)),
            Err(_) => return refused(missing.error()),
        }
        if self.rules.issuer.known_keys().is_some() {
            return refused(missing.error());
        }
        match self.rules.issuer.seek(missing) {
            Ok(waiting) => {
                let (rules, token) = (Arc::clone(&self.rules), token.to_owned());
                Verdict::later(async move {
                    let refresh = waiting.wait().await;
                    rules.check_token(token.as_bytes()).map_err(|fault| match fault {
                        Fault::Refused(error) => rules.refusal(error),
                        Fault::NoKey(missing) => rules.refusal(refresh.error_for(&missing)),
                    })
                })
            }
            // A new key set may have arrived since the first check.
            Err(error) if missing.may_be_in(self.rules.issuer.current_keys().set()) => {
                Verdict::Now(self.rules.check_token(token.as_bytes()).map_err(|fault| match fault {
                    Fault::Refused(error) => self.rules.refusal(error),
                    Fault::NoKey(missing) => self.rules.refusal(missing.error_or(error)),
                }))
            }
            Err(error) => refused(error),
        }
    }
}

impl JwtRules {
    /// Returns the error with the issuer whose tokens this verifier accepts, for the log.
    fn refusal(&self, error: AuthError) -> AuthError {
        error.of_issuer(self.issuer.shared_identifier())
    }

    fn check_token(&self, token: &[u8]) -> Result<Token, Fault> {
        let jws = Compact::split(token).ok_or_else(|| not_a_jws(token))?;
        let (key_epoch, typed) = self.check_signature(&jws)?;
        // A JWT is UTF-8 (RFC 8725 §3.7).
        let claims = jws.payload().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Reason::MalformedClaims)?;
        let origin = TokenOrigin { verifier: Some(self.id), key_epoch, typed };
        let token = Token::from_claims(origin, claims, &self.names)?;
        self.check_claims(token.facts())?;
        Ok(token)
    }

    /// Returns the epoch of the key set that the signature was checked with, and whether `typ` says that it is an access token.
    fn check_signature(&self, jws: &Compact<'_>) -> Result<(u64, bool), Fault> {
        let keys = self.issuer.current_keys();
        let epoch = keys.set().map_or(0, KeySet::epoch);
        let known = self.known_header.load();
        if let Some(known) = known.as_ref().filter(|known| *known.text == *jws.header()) {
            verify_signature(jws, keys.set(), known.algorithm, known.key_id.as_deref())?;
            Ok((epoch, known.typed))
        } else {
            let mut buffer = HeaderBuffer::new();
            let header = parse_header(jws, &mut buffer, &self.algorithms, self.types)?;
            let CheckedHeader { algorithm, key_id, typed } = header;
            verify_signature(jws, keys.set(), algorithm, key_id.as_deref())?;
            let withdrawn = |id: &str| !keys.set().is_some_and(|keys| keys.has_key_id(id));
            // Caches the first header until its key is withdrawn. If tokens with two headers alternate, a cache of the latest
            // header would never hit.
            if known.as_ref().is_none_or(|known| known.key_id.as_deref().is_some_and(withdrawn)) {
                let (text, key_id) = (jws.header().into(), key_id.as_deref().map(Into::into));
                self.known_header.store(Some(Arc::new(KnownHeader { text, algorithm, key_id, typed })));
            }
            Ok((epoch, typed))
        }
    }

    /// True if the unverified `iss` is our issuer.
    fn has_our_issuer(&self, token: &str) -> bool {
        unverified_token_issuer(token).is_ok_and(|issuer| issuer == self.issuer.identifier())
    }

    fn check_claims(&self, facts: &Facts) -> Result<(), AuthError> {
        self.check_issuer(facts)?;
        self.check_audience(facts)?;
        if facts.expires_at.is_none() {
            return Err(findings::missing_claim("exp"));
        }
        self.expected.check_times(facts)?;
        self.check_kind(facts)?;
        let mut required = OptionalClaim::ALL.iter().filter(|claim| !self.optional_claims.contains(claim));
        if let Some(name) = required.find_map(|claim| claim.missing_in(facts)) {
            return Err(findings::missing_claim(name));
        }
        Ok(())
    }

    /// Checks the claims that distinguish access tokens from other kinds of tokens.
    fn check_kind(&self, facts: &Facts) -> Result<(), AuthError> {
        if self.refuses_id_tokens && !facts.origin.typed {
            refuse_id_token(facts)?;
        }
        self.preset.map_or(Ok(()), |preset| preset.check(facts))
    }

    #[inline]
    fn check_issuer(&self, facts: &Facts) -> Result<(), AuthError> {
        match facts.text(facts.issuer.as_ref()) {
            None => Err(findings::missing_claim("iss")),
            Some(issuer) if issuer != self.issuer.identifier() => Err(self.wrong_issuer(issuer)),
            Some(_) => Ok(()),
        }
    }

    fn wrong_issuer(&self, found: &str) -> AuthError {
        wrong_issuer(found, iter::once(self.issuer.identifier()))
    }

    #[inline]
    fn check_audience(&self, facts: &Facts) -> Result<(), AuthError> {
        let client = self.preset.and_then(|preset| preset.replaced_audience(facts));
        let audience = facts.audience.iter().filter_map(|text| facts.text(Some(text)));
        let mut audience = audience.chain(client.as_deref()).peekable();
        if self.missing_audience_accepted && audience.peek().is_none() {
            return Ok(());
        }
        self.expected.check_audience(audience)
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier")
            .field("issuer", &self.rules.issuer)
            .field("audience", &self.rules.expected.audience)
            .field("algorithms", &self.rules.algorithms)
            .finish_non_exhaustive()
    }
}
