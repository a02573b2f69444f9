//! What there is to say about a [`JwtVerifier`].

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use super::{
    super::{Preset, expected::Expected},
    JwtRules, JwtVerifier, OptionalClaim,
};
use crate::{
    claims::{ClaimNames, ProviderRules},
    clock::Clock,
    config_error::{ConfigError, MistakeCollector},
    issuer::Issuer,
    jws::{Algorithm, SUPPORTED, SignatureAlgorithm},
};

/// Collects what there is to say about a [`JwtVerifier`]; [`build`](Self::build) tells all mistakes at once.
#[derive(Debug)]
#[must_use]
pub struct JwtVerifierBuilder {
    issuer: Issuer,
    expected: Expected,
    algorithms: Vec<Algorithm>,
    /// Instead of `algorithms`, where a secret is shared.
    secret: Option<SignatureAlgorithm>,
    plain_type: bool,
    dispensable: Vec<OptionalClaim>,
    names: ClaimNames,
    presets: Vec<Preset>,
}

impl JwtVerifierBuilder {
    pub(super) fn new(issuer: Issuer, audience: String, secret: Option<SignatureAlgorithm>) -> Self {
        Self {
            issuer,
            expected: Expected::new(audience),
            algorithms: SUPPORTED.to_vec(),
            secret,
            plain_type: false,
            dispensable: Vec::new(),
            names: ClaimNames::default(),
            presets: Vec::new(),
        }
    }

    /// One more identifier of ours that `aud` may name.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.expected.audience.push(audience.into());
        self
    }

    /// Only these algorithms. Without it: all asymmetric ones of this build. A shared secret has its own.
    pub fn algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        Self { algorithms: algorithms.into_iter().collect(), ..self }
    }

    /// How far the issuer's clock may be off, for `exp`, `nbf` and `iat`: 30 s unless said, at most 5 min.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.expected.leeway = leeway;
        self
    }

    /// Accepts `typ: JWT` and no `typ` beside `at+jwt`, as servers older than RFC 9068 need it.
    ///
    /// What is lost: an ID token of the same issuer for an audience that is also a client's id is no longer refused by
    /// its type.
    pub fn accept_plain_jwt_type(self) -> Self {
        Self { plain_type: true, ..self }
    }

    /// Accepts tokens without this claim, though RFC 9068 §2.2 requires it.
    pub fn accept_without(mut self, claim: OptionalClaim) -> Self {
        self.dispensable.push(claim);
        self
    }

    /// Reads the scopes from this member where there is no `scope`: `scp`, `permissions`, `roles`. A string separated
    /// by spaces, or an array of names.
    pub fn scope_claim(mut self, member: impl Into<String>) -> Self {
        self.names.scopes.push(member.into());
        self
    }

    /// Reads the client from this member where there is no `client_id`: `azp`, `cid`, `appid`, `clientId`.
    pub fn client_claim(mut self, member: impl Into<String>) -> Self {
        self.names.client.push(member.into());
        self
    }

    /// Reads the roles from here instead of `roles` (RFC 9068 §2.2.3.1): the names of the members on the way, such as
    /// `["resource_access", "orders-api", "roles"]` or `["https://example.com/roles"]`. One place only, the last that
    /// was said; roles of two places are never pooled.
    pub fn roles_claim<N: Into<Box<str>>>(mut self, path: impl IntoIterator<Item = N>) -> Self {
        self.names.rules_mut().roles = Some(path.into_iter().map(Into::into).collect());
        self
    }

    /// Applies the settings for a known provider; each [`Preset`](crate::Preset) lists what it relaxes. Other settings can be
    /// combined with it.
    pub fn preset(mut self, preset: Preset) -> Self {
        let own_roles = self.names.rules_mut().roles.take();
        let rules = preset.rules();
        *self.names.rules_mut() = ProviderRules { roles: own_roles.or(rules.roles), ..rules };
        self.presets.push(preset);
        preset.relax(self)
    }

    /// Another source of time, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.expected.clock = Arc::new(clock);
        self
    }

    /// The verifier.
    ///
    /// # Errors
    /// All mistakes at once: an empty audience, a leeway of more than 5 min, no algorithm, one that this build lacks,
    /// none that a key of the issuer serves, an empty name of a member, two presets.
    pub fn build(self) -> Result<JwtVerifier, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        self.expected.check(&mut mistakes);
        self.names.check(&mut mistakes);
        if self.presets.len() > 1 {
            let found = format!("{:?} can't be combined", self.presets);
            mistakes.add("preset", found, "give one preset; other methods can be combined with it");
        }
        let algorithms = self.check_algorithms(&mut mistakes);
        mistakes.finish()?;
        Ok(JwtVerifier {
            rules: Arc::new(JwtRules {
                issuer: self.issuer,
                expected: self.expected,
                algorithms,
                plain_type: self.plain_type,
                dispensable: self.dispensable,
                names: self.names,
                preset: self.presets.first().copied(),
                known_header: ArcSwapOption::empty(),
            }),
        })
    }

    fn check_algorithms(&self, mistakes: &mut MistakeCollector) -> Vec<SignatureAlgorithm> {
        if let Some(secret) = self.secret {
            return vec![secret];
        }
        for unsupported in self.algorithms.iter().filter(|algorithm| !SUPPORTED.contains(algorithm)) {
            let found = format!("this build can't verify {unsupported}");
            mistakes.add("algorithms", found, "leave it out, or turn on the feature aws-lc-rs");
        }
        if self.algorithms.is_empty() {
            mistakes.add("algorithms", "the list is empty", "name at least one, or don't call the method");
        }
        let algorithms: Vec<_> = self.algorithms.iter().copied().map(SignatureAlgorithm::Asymmetric).collect();
        let known = self.issuer.known_keys();
        if !algorithms.is_empty()
            && known.is_some_and(|keys| !algorithms.iter().any(|algorithm| keys.serves(*algorithm)))
        {
            let change = "name an algorithm that a key of the issuer can verify";
            mistakes.add("algorithms", "no key of the issuer can verify any of them", change);
        }
        algorithms
    }
}
