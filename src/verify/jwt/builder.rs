//! What there is to say about a [`JwtVerifier`].

use std::{sync::Arc, time::Duration};

use super::{super::Preset, Claim, JwtVerifier, Rules};
use crate::{
    claims::{ClaimNames, Dialect},
    clock::{Clock, SystemClock},
    error::{ConfigError, ConfigMistake},
    issuer::Issuer,
    jws::{Algorithm, SUPPORTED, SignatureAlgorithm},
};

const MAX_LEEWAY: Duration = Duration::from_secs(300);
/// Members that are never read as scopes or client.
const READ_AS_THEMSELVES: [&str; 10] = ["iss", "sub", "jti", "acr", "aud", "exp", "nbf", "iat", "auth_time", "cnf"];

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
    presets: Vec<Preset>,
    clock: Arc<dyn Clock>,
}

impl JwtVerifierBuilder {
    pub(super) fn new(issuer: Issuer, audience: String, secret: Option<SignatureAlgorithm>) -> Self {
        Self {
            issuer,
            audience: vec![audience],
            algorithms: SUPPORTED.to_vec(),
            secret,
            plain_type: false,
            dispensable: Vec::new(),
            leeway: Duration::from_secs(30),
            names: ClaimNames::default(),
            presets: Vec::new(),
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

    /// Reads the roles from here instead of `roles` (RFC 9068 §2.2.3.1): the names of the members on the way, such as
    /// `["resource_access", "orders-api", "roles"]` or `["https://example.com/roles"]`. One place only, the last that
    /// was said; roles of two places are never pooled.
    pub fn read_roles_from<N: Into<Box<str>>>(mut self, path: impl IntoIterator<Item = N>) -> Self {
        self.dialect().roles = Some(path.into_iter().map(Into::into).collect());
        self
    }

    /// Accepts the tokens of a well-known issuer. What is lost is told at each [`Preset`]. More can be said beside it.
    pub fn preset(mut self, preset: Preset) -> Self {
        let said = self.dialect().roles.take();
        let usual = preset.dialect();
        *self.dialect() = Dialect { roles: said.or(usual.roles), ..usual };
        self.presets.push(preset);
        preset.relax(self)
    }

    /// Another source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// The verifier.
    ///
    /// # Errors
    /// All mistakes at once: an empty audience, a leeway of more than 5 min, no algorithm, one that this build lacks,
    /// none that a key of the issuer serves, an empty name of a member, two presets.
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
            if let Some(member) = members.iter().find(|member| READ_AS_THEMSELVES.contains(&member.as_str())) {
                let found = format!("{member:?} has a meaning of its own");
                mistakes.push(ConfigMistake::new(setting, found, "name the member that the issuer puts them into"));
            }
        }
        let roles = self.names.dialect.as_ref().and_then(|dialect| dialect.roles.as_ref());
        if roles.is_some_and(|path| path.is_empty() || path.iter().any(|name| name.is_empty())) {
            mistakes.push(ConfigMistake::new("read_roles_from", "a member's name is missing or empty", "name a claim"));
        }
        if self.presets.len() > 1 {
            let found = format!("{:?} do not go together", self.presets);
            mistakes.push(ConfigMistake::new("preset", found, "name one; other methods may say more"));
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
                preset: self.presets.first().copied(),
                clock: self.clock,
            }),
        })
    }

    fn dialect(&mut self) -> &mut Dialect {
        Arc::make_mut(self.names.dialect.get_or_insert_default())
    }

    fn check_algorithms(&self, mistakes: &mut Vec<ConfigMistake>) -> Vec<SignatureAlgorithm> {
        if let Some(secret) = self.secret {
            return vec![secret];
        }
        for lacking in self.algorithms.iter().filter(|algorithm| !SUPPORTED.contains(algorithm)) {
            let found = format!("this build cannot verify {lacking}");
            mistakes.push(ConfigMistake::new("algorithms", found, "leave it out, or turn on the feature aws-lc-rs"));
        }
        if self.algorithms.is_empty() {
            mistakes.push(ConfigMistake::new("algorithms", "there is none", "name at least one, or don't call it"));
        }
        let algorithms: Vec<_> = self.algorithms.iter().copied().map(SignatureAlgorithm::Asymmetric).collect();
        let known = self.issuer.known_keys();
        if !algorithms.is_empty()
            && known.is_some_and(|keys| !algorithms.iter().any(|algorithm| keys.serves(*algorithm)))
        {
            let change = "name an algorithm that a key of the issuer serves";
            mistakes.push(ConfigMistake::new("algorithms", "no key of the issuer serves any of them", change));
        }
        algorithms
    }
}
