//! The claims of a token, read once (RFC 7519 §4, RFC 9068 §2.2, RFC 7662 §2.2).
//!
//! *In*: a JSON object. *Out*: its standard members, typed, as ranges of the JSON text. So reading them allocates nothing,
//! and the application can deserialize a type of its own from the same text later.
//!
//! A member that is used and has a wrong type is an error and never counts as absent (CVE-2026-25537). Null counts as absent. A
//! repeated member is an error. The values are *not* checked here; the verifier does that, for example compares `exp` with the clock.

pub(crate) mod acting;
mod parse;

use std::{
    any::Any,
    num::NonZeroU64,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer};

pub(crate) use self::parse::ClaimsError;
use crate::{acts_for::ActsFor, config_error::MistakeCollector, confirmation::Binding, json::object};

/// The claims that hold the scopes and the client. The first one that is present is used.
#[derive(Debug, Clone)]
pub(crate) struct ClaimNames {
    pub(crate) scopes: Vec<String>,
    pub(crate) client: Vec<String>,
    /// `None` for an issuer that follows RFC 9068.
    pub(crate) rules: Option<Arc<ProviderRules>>,
}

/// How a provider's tokens differ from RFC 9068. Evaluated only when the application needs the result.
#[derive(Debug, Clone)]
pub(crate) struct ProviderRules {
    pub(crate) acts_for: acting::ActsForRule,
    /// The names of the members on the path to the list.
    pub(crate) roles: Option<Vec<Box<str>>>,
    pub(crate) groups: Option<Vec<Box<str>>>,
}

impl Default for ProviderRules {
    fn default() -> Self {
        Self { acts_for: acting::ActsForRule::Fixed(acting::rfc9068), roles: None, groups: None }
    }
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { scopes: vec!["scope".to_owned()], client: vec!["client_id".to_owned()], rules: None }
    }
}

impl ClaimNames {
    pub(crate) fn rules_mut(&mut self) -> &mut ProviderRules {
        Arc::make_mut(self.rules.get_or_insert_default())
    }

    /// Checks the settings `scope_claim`, `client_claim` and `roles_claim`.
    pub(crate) fn check(&self, mistakes: &mut MistakeCollector) {
        for (setting, names) in [("scope_claim", &self.scopes), ("client_claim", &self.client)] {
            if names.iter().any(String::is_empty) {
                mistakes.add(setting, "the name is empty", "give the name of a claim");
            }
            if let Some(name) = names.iter().find(|name| REGISTERED.contains(&name.as_str())) {
                let found = format!("{name:?} is a registered claim with another meaning");
                mistakes.add(setting, found, "give the name of the claim that the issuer uses for this");
            }
        }
        let roles = self.rules.as_ref().and_then(|rules| rules.roles.as_ref());
        if roles.is_some_and(|path| path.is_empty() || path.iter().any(|name| name.is_empty())) {
            mistakes.add("roles_claim", "a name is missing or empty", "give the name of a claim");
        }
    }
}

/// The facts of a token, and the JSON text that they are in.
pub(crate) struct Facts {
    claims: String,
    pub(crate) issuer: Option<Text>,
    pub(crate) subject: Option<Text>,
    pub(crate) client_id: Option<Text>,
    pub(crate) jwt_id: Option<Text>,
    pub(crate) audience: Audience,
    pub(crate) scope: Option<Text>,
    pub(crate) acr: Option<Text>,
    pub(crate) expires_at: Option<NumericDate>,
    pub(crate) not_before: Option<NumericDate>,
    pub(crate) issued_at: Option<NumericDate>,
    pub(crate) auth_time: Option<NumericDate>,
    /// What the token is bound to, if `cnf` is present (RFC 7800). Boxed, because few tokens have it.
    pub(crate) binding: Option<Box<Binding>>,
    /// The first of `nonce`, `at_hash` and `c_hash` that is present and not null: a mark of an ID token (OIDC Core §2, §3.3.2.11).
    pub(crate) id_token_claim: Option<&'static str>,
    pub(crate) rules: Option<Arc<ProviderRules>>,
    /// The claims as a type of the application, for `Token::shared_claims`.
    pub(crate) shared: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// What was computed from the claims on first use.
    pub(crate) derived: DerivedFacts,
    pub(crate) origin: TokenOrigin,
}

/// Which verifier made a token, and with which keys.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenOrigin {
    /// `None` for a verifier of the application.
    pub(crate) verifier: Option<VerifierId>,
    /// Epoch of the key set that the signature was checked with. 0 if no key set was used.
    pub(crate) key_epoch: u64,
    /// True if the header's `typ` says that it is an access token (RFC 9068 §2.1).
    pub(crate) typed: bool,
}

/// Identifies a verifier of this crate within the process. Clones of a verifier have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VerifierId(NonZeroU64);

impl VerifierId {
    /// Returns an id that no other verifier has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }

    /// Returns the id as a number, never 0.
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }
}

/// Facts that are computed on first use and then cached.
#[derive(Default)]
pub(crate) struct DerivedFacts {
    pub(crate) acts_for: OnceLock<ActsFor>,
    pub(crate) roles: OnceLock<Box<[String]>>,
    pub(crate) groups: OnceLock<Box<[String]>>,
    pub(crate) entitlements: OnceLock<Box<[String]>>,
}

/// A string: a range of the JSON text, or a copy if the text has escapes.
pub(crate) enum Text {
    Range { start: usize, end: usize },
    Copy(Box<str>),
}

/// `aud`: a string or an array of strings (RFC 7519 §4.1.3). An empty array is `Absent`.
#[derive(Default)]
pub(crate) enum Audience {
    #[default]
    Absent,
    One(Text),
    Many(Vec<Text>),
}

impl Audience {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Text> + Clone {
        match self {
            Self::Absent => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        }
        .iter()
    }
}

impl Facts {
    pub(crate) fn parse(origin: TokenOrigin, claims: String, names: &ClaimNames) -> Result<Self, ClaimsError> {
        let mut members = parse::read_members(&claims, names)?;
        let id_token_claim = members.id_token_claim;
        let (client_id, scope) = (members.take_client(), members.take_scope());
        Ok(Self {
            issuer: members.issuer.flatten(),
            subject: members.subject.flatten(),
            client_id,
            jwt_id: members.jwt_id.flatten(),
            audience: members.audience.flatten().unwrap_or_default(),
            scope,
            acr: members.acr.flatten(),
            expires_at: members.expires_at.flatten(),
            not_before: members.not_before.flatten(),
            issued_at: members.issued_at.flatten(),
            auth_time: members.auth_time.flatten(),
            binding: members.confirmation,
            id_token_claim,
            rules: names.rules.clone(),
            shared: OnceLock::new(),
            derived: DerivedFacts::default(),
            origin,
            claims,
        })
    }

    /// Returns the approximate size of the facts in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let copied_bytes = |text: &Text| match text {
            Text::Range { .. } => 0,
            Text::Copy(copy) => copy.len(),
        };
        let texts = [&self.issuer, &self.subject, &self.client_id, &self.jwt_id, &self.scope, &self.acr];
        let copies: usize = texts.into_iter().flatten().chain(self.audience.iter()).map(copied_bytes).sum();
        let binding = self.binding.as_ref().map_or(0, |_| size_of::<Binding>());
        size_of::<Self>() + binding + size_of::<Text>() * self.audience.iter().count() + self.claims.capacity() + copies
    }

    pub(crate) fn claims(&self) -> &str {
        &self.claims
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.text(self.subject.as_ref())
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.text(self.client_id.as_ref())
    }

    pub(crate) fn acts_for(&self) -> ActsFor {
        let decide = || self.rules.as_ref().map_or_else(|| acting::rfc9068(self), |rules| rules.acts_for.decide(self));
        *self.derived.acts_for.get_or_init(decide)
    }

    pub(crate) fn text<'f>(&'f self, text: Option<&'f Text>) -> Option<&'f str> {
        match text? {
            Text::Range { start, end } => self.claims.get(*start..*end),
            Text::Copy(copy) => Some(copy),
        }
    }
}

/// Returns `iss` of claims that are not verified. Use it only to choose the verifier.
pub(crate) fn unverified_issuer(claims: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct UnverifiedClaims {
        iss: String,
    }
    // Strict, as for a verified token: a repeated `iss`, bytes after the object, or a byte order mark are errors.
    object::<UnverifiedClaims>(str::from_utf8(claims).ok()?).ok().map(|claims| claims.iss)
}

/// Seconds since 1970-01-01 (UTC), possibly with a fraction (RFC 7519 §2). An `f64`, because its arithmetic can't overflow or
/// panic.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct NumericDate(pub(crate) f64);

impl NumericDate {
    pub(crate) fn of(time: SystemTime) -> Self {
        Self(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()))
    }

    pub(crate) fn to_system_time(self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(self.0).ok()?)
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self)
    }
}

/// Members that can't be configured as the scope or client claim.
const REGISTERED: [&str; 13] =
    ["iss", "sub", "jti", "acr", "aud", "exp", "nbf", "iat", "auth_time", "cnf", "nonce", "at_hash", "c_hash"];
