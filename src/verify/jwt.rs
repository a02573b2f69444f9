//! JWT access tokens, checked here (RFC 9068 §4, RFC 8725 §3).
//!
//! *In*: a token's text. *Out*: a [`Token`], or why not.
//!
//! In this order, and each step only when the one before it was passed: three segments; a strict header; `crit`; `typ`;
//! `alg` on the allow-list; a key of the issuer for exactly this `alg` and `kid`; the signature; UTF-8 and JSON; `iss`,
//! `aud`, `exp`, `nbf`, `iat`; the claims RFC 9068 §2.2 requires; no `cnf`.
//!
//! This does *not* ask whether the token was revoked, and it does not check scopes: that is a handler's business.

use std::{fmt, sync::Arc, time::Duration};

use super::{Presented, Verdict, Verify};
use crate::{
    claims::{ClaimNames, Facts, NumericDate, Text},
    clock::{Clock, SystemClock},
    error::{AuthError, ConfigError, ConfigMistake, Reason},
    issuer::Issuer,
    jws::{Algorithm, Compact, HeaderBuffer, JoseHeader, SUPPORTED, SignatureAlgorithm},
    keys::{KeySet, SharedSecret},
    token::Token,
};

const MAX_LEEWAY: Duration = Duration::from_secs(300);
/// The last second of the year 9999: what lies beyond is no date.
const LAST_DATE: NumericDate = NumericDate(253_402_300_799.0);

/// Verifies the JWT access tokens of one issuer. RFC 9068 by default; relaxations are methods of the
/// [builder](Self::builder) and say what they relax.
#[derive(Clone)]
pub struct JwtVerifier {
    rules: Arc<Rules>,
}

struct Rules {
    issuer: Issuer,
    audience: Vec<String>,
    algorithms: Vec<SignatureAlgorithm>,
    plain_type: bool,
    dispensable: Vec<Claim>,
    leeway: f64,
    names: ClaimNames,
    clock: Arc<dyn Clock>,
}

/// A claim that RFC 9068 §2.2 requires and some servers leave out. `iss`, `aud` and `exp` are always required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Claim {
    /// `sub`. Without it a token counts as a client's own.
    Subject,
    /// `client_id`. Without it a user's token can't be told from a client's.
    ClientId,
    /// `iat`.
    IssuedAt,
    /// `jti`.
    JwtId,
}

impl Claim {
    const ALL: [Self; 4] = [Self::Subject, Self::ClientId, Self::IssuedAt, Self::JwtId];

    /// Its name in the token, if it is missing or blank there.
    fn missing_in(self, facts: &Facts) -> Option<&'static str> {
        let blank = |text: &Option<Text>| facts.text(text.as_ref()).is_none_or(|text| text.trim().is_empty());
        match self {
            Self::Subject => blank(&facts.subject).then_some("sub"),
            Self::ClientId => blank(&facts.client_id).then_some("client_id"),
            Self::IssuedAt => facts.issued_at.is_none().then_some("iat"),
            Self::JwtId => blank(&facts.jwt_id).then_some("jti"),
        }
    }
}

impl JwtVerifier {
    /// Accepts what `issuer` issued for `audience`, by RFC 9068.
    ///
    /// # Errors
    /// The audience is empty, or no key of the issuer serves an accepted algorithm.
    pub fn new(issuer: Issuer, audience: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(issuer, audience).build()
    }

    /// The same, with more to say.
    pub fn builder(issuer: Issuer, audience: impl Into<String>) -> JwtVerifierBuilder {
        JwtVerifierBuilder::new(issuer, audience.into(), None)
    }

    /// Accepts what was signed with a secret that we share with the issuer. Tokens of this kind prove less: whoever
    /// can check them can also issue them. `issuer` is the value of `iss`; it need not be a URL.
    ///
    /// # Errors
    /// The issuer's name is empty.
    pub fn shared_secret(
        issuer: &str,
        secret: SharedSecret,
        audience: impl Into<String>,
    ) -> Result<JwtVerifierBuilder, ConfigError> {
        let algorithm = SignatureAlgorithm::Hmac(secret.algorithm());
        let issuer = Issuer::named(issuer, KeySet::of_secret(secret)?)?;
        Ok(JwtVerifierBuilder::new(issuer, audience.into(), Some(algorithm)))
    }
}

impl Verify for JwtVerifier {
    fn verify(&self, presented: &Presented<'_>) -> Verdict {
        Verdict::Now(self.rules.judge(presented.token()))
    }
}

impl Rules {
    fn judge(&self, token: &str) -> Result<Token, AuthError> {
        let jws = Compact::split(token).ok_or(Reason::NotAJws)?;
        self.check_signature(&jws)?;
        // A JWT is UTF-8 (RFC 8725 §3.7).
        let claims = jws.payload().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Reason::MalformedClaims)?;
        let token = Token::from_claims(claims, &self.names)?;
        self.check_claims(token.facts())?;
        Ok(token)
    }

    fn check_signature(&self, jws: &Compact<'_>) -> Result<(), Reason> {
        check_signature(jws, self.issuer.keys(), &self.algorithms, |typ| self.accepts_type(typ))
    }

    /// RFC 9068 §4: `at+jwt`, with or without `application/`, in any case (RFC 2045 §5.1).
    fn accepts_type(&self, typ: Option<&str>) -> bool {
        match typ {
            Some(typ) if typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt") => true,
            Some(typ) => self.plain_type && typ.eq_ignore_ascii_case("jwt"),
            None => self.plain_type,
        }
    }

    fn check_claims(&self, facts: &Facts) -> Result<(), AuthError> {
        match facts.text(facts.issuer.as_ref()) {
            None => return Err(Reason::MissingClaim("iss").into()),
            Some(issuer) if issuer != self.issuer.identifier() => return Err(Reason::WrongIssuer.into()),
            Some(_) => {}
        }
        let mut audience = facts.audience.iter().filter_map(|text| facts.text(Some(text))).peekable();
        if audience.peek().is_none() {
            return Err(Reason::MissingClaim("aud").into());
        }
        if !audience.any(|named| self.audience.iter().any(|ours| ours == named)) {
            return Err(Reason::WrongAudience.into());
        }
        self.check_times(facts)?;
        let mut required = Claim::ALL.iter().filter(|claim| !self.dispensable.contains(claim));
        if let Some(name) = required.find_map(|claim| claim.missing_in(facts)) {
            return Err(Reason::MissingClaim(name).into());
        }
        // RFC 9449 §7.2, RFC 8705 §3: bound to a key that nobody proved to hold.
        if facts.confirmation {
            return Err(Reason::SenderConstrained.into());
        }
        Ok(())
    }

    fn check_times(&self, facts: &Facts) -> Result<(), AuthError> {
        let NumericDate(now) = NumericDate::of(self.clock.now());
        let expires = facts.expires_at.ok_or(Reason::MissingClaim("exp"))?;
        if expires > LAST_DATE {
            return Err(Reason::MalformedClaims.into());
        }
        if now >= expires.0 + self.leeway {
            return Err(Reason::Expired.into());
        }
        if facts.not_before.is_some_and(|from| now < from.0 - self.leeway) {
            return Err(Reason::NotYetValid.into());
        }
        match facts.issued_at {
            Some(NumericDate(issued)) if issued < 0.0 => Err(Reason::MalformedClaims.into()),
            Some(NumericDate(issued)) if issued > now + self.leeway => Err(Reason::IssuedInTheFuture.into()),
            _ => Ok(()),
        }
    }
}

/// The steps that look at no claim; `testing` runs published test vectors through them.
pub(crate) fn check_signature(
    jws: &Compact<'_>,
    keys: &KeySet,
    algorithms: &[SignatureAlgorithm],
    accepts_type: impl Fn(Option<&str>) -> bool,
) -> Result<(), Reason> {
    let mut buffer = HeaderBuffer::new();
    let header = jws.header_bytes(&mut buffer).and_then(JoseHeader::parse).ok_or(Reason::MalformedHeader)?;
    if header.critical {
        return Err(Reason::CriticalHeader);
    }
    if !accepts_type(header.typ.as_deref()) {
        return Err(Reason::TypeNotAccepted);
    }
    let algorithm = header.algorithm.filter(|algorithm| algorithms.contains(algorithm));
    let algorithm = algorithm.ok_or(Reason::AlgorithmNotAccepted)?;
    let mut keys = keys.candidates(header.key_id.as_deref(), algorithm).peekable();
    if keys.peek().is_none() {
        return Err(Reason::UnknownKey);
    }
    if jws.is_signed_by(keys) { Ok(()) } else { Err(Reason::BadSignature) }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier")
            .field("issuer", &self.rules.issuer)
            .field("audience", &self.rules.audience)
            .field("algorithms", &self.rules.algorithms)
            .finish_non_exhaustive()
    }
}

/// Collects what there is to say about a [`JwtVerifier`]; [`build`](Self::build) tells all mistakes at once.
#[derive(Debug)]
#[must_use]
pub struct JwtVerifierBuilder {
    issuer: Issuer,
    audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    /// Instead of `algorithms`, where a secret is shared.
    secret: Option<SignatureAlgorithm>,
    plain_type: bool,
    dispensable: Vec<Claim>,
    leeway: Duration,
    names: ClaimNames,
    clock: Arc<dyn Clock>,
}

impl JwtVerifierBuilder {
    fn new(issuer: Issuer, audience: String, secret: Option<SignatureAlgorithm>) -> Self {
        Self {
            issuer,
            audience: vec![audience],
            algorithms: SUPPORTED.to_vec(),
            secret,
            plain_type: false,
            dispensable: Vec::new(),
            leeway: Duration::from_secs(30),
            names: ClaimNames::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// One more identifier of ours that `aud` may name.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience.push(audience.into());
        self
    }

    /// Only these algorithms. Without it: all asymmetric ones of this build. A shared secret has its own.
    pub fn algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        Self { algorithms: algorithms.into_iter().collect(), ..self }
    }

    /// How far the issuer's clock may be off, for `exp`, `nbf` and `iat`: 30 s unless said, at most 5 min.
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { leeway, ..self }
    }

    /// Accepts `typ: JWT` and no `typ` beside `at+jwt`, as servers older than RFC 9068 need it.
    ///
    /// What is lost: an ID token of the same issuer for an audience that is also a client's id is no longer refused by
    /// its type.
    pub fn accept_plain_jwt_type(self) -> Self {
        Self { plain_type: true, ..self }
    }

    /// Accepts tokens without this claim, though RFC 9068 §2.2 requires it.
    pub fn accept_without(mut self, claim: Claim) -> Self {
        self.dispensable.push(claim);
        self
    }

    /// Reads the scopes from this member where there is no `scope`: `scp`, `permissions`, `roles`. A string separated
    /// by spaces, or an array of names.
    pub fn read_scopes_from(mut self, member: impl Into<String>) -> Self {
        self.names.scopes.push(member.into());
        self
    }

    /// Reads the client from this member where there is no `client_id`: `azp`, `cid`, `appid`, `clientId`.
    pub fn read_client_from(mut self, member: impl Into<String>) -> Self {
        self.names.client.push(member.into());
        self
    }

    /// Another source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// The verifier.
    ///
    /// # Errors
    /// All mistakes at once: an empty audience, a leeway of more than 5 min, no algorithm, one that this build lacks,
    /// none that a key of the issuer serves.
    pub fn build(self) -> Result<JwtVerifier, ConfigError> {
        let mut mistakes = Vec::new();
        for audience in &self.audience {
            if audience.trim().is_empty() {
                let change = "give this API's identifier, as the tokens' aud has it";
                mistakes.push(ConfigMistake::new("audience", "it is empty", change));
            }
        }
        if self.leeway > MAX_LEEWAY {
            let found = format!("{} s", self.leeway.as_secs());
            mistakes.push(ConfigMistake::new(
                "leeway",
                found,
                "give at most 300 s (RFC 9068 §4: no more than a few minutes)",
            ));
        }
        for (setting, members) in [("read_scopes_from", &self.names.scopes), ("read_client_from", &self.names.client)] {
            if members.iter().any(String::is_empty) {
                mistakes.push(ConfigMistake::new(setting, "the member's name is empty", "name a claim"));
            }
        }
        let algorithms = self.check_algorithms(&mut mistakes);
        ConfigError::unless_empty(mistakes)?;
        Ok(JwtVerifier {
            rules: Arc::new(Rules {
                issuer: self.issuer,
                audience: self.audience,
                algorithms,
                plain_type: self.plain_type,
                dispensable: self.dispensable,
                leeway: self.leeway.as_secs_f64(),
                names: self.names,
                clock: self.clock,
            }),
        })
    }

    fn check_algorithms(&self, mistakes: &mut Vec<ConfigMistake>) -> Vec<SignatureAlgorithm> {
        if let Some(secret) = self.secret {
            return vec![secret];
        }
        for lacking in self.algorithms.iter().filter(|algorithm| !SUPPORTED.contains(algorithm)) {
            let found = format!("this build cannot verify {lacking}");
            mistakes.push(ConfigMistake::new("algorithms", found, "leave it out, or turn on the feature aws-lc-rs"));
        }
        let algorithms: Vec<_> = self.algorithms.iter().copied().map(SignatureAlgorithm::Asymmetric).collect();
        if !algorithms.iter().any(|algorithm| self.issuer.keys().serves(*algorithm)) {
            let change = "name an algorithm that a key of the issuer serves";
            mistakes.push(ConfigMistake::new("algorithms", "no key of the issuer serves any of them", change));
        }
        algorithms
    }
}
