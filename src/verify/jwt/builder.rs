//! The settings of a [`JwtVerifier`].
//!
//! *In*: an issuer, the audience and options. *Out*: a verifier, or every mistake at once.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use super::{
    super::{Preset, expected::Expected},
    JwtRules, JwtVerifier, OptionalClaim, TokenTypes,
};
use crate::{
    acts_for::ActingRule,
    claims::{ClaimNames, ProviderRules, VerifierId, acting::ActsForRule},
    clock::Clock,
    config_error::{ConfigError, MistakeCollector},
    issuer::Issuer,
    jws::{Algorithm, SUPPORTED, SignatureAlgorithm},
};

/// Builder for [`JwtVerifier`]. [`build`](Self::build) reports every mistake at once.
#[derive(Debug)]
#[must_use]
pub struct JwtVerifierBuilder {
    issuer: Result<Issuer, ConfigError>,
    expected: Expected,
    algorithms: Vec<Algorithm>,
    /// The algorithm of a shared secret. It replaces `algorithms`.
    secret_algorithm: Option<SignatureAlgorithm>,
    plain_type: bool,
    id_tokens_accepted: bool,
    missing_audience_accepted: bool,
    optional_claims: Vec<OptionalClaim>,
    names: ClaimNames,
    presets: Vec<Preset>,
    acting_rule: Option<ActingRule>,
}

impl JwtVerifierBuilder {
    pub(super) fn new(
        issuer: Result<Issuer, ConfigError>,
        audience: String,
        secret_algorithm: Option<SignatureAlgorithm>,
    ) -> Self {
        Self {
            issuer,
            expected: Expected::new(audience, MISSING_AUDIENCE),
            algorithms: SUPPORTED.to_vec(),
            secret_algorithm,
            plain_type: false,
            id_tokens_accepted: false,
            missing_audience_accepted: false,
            optional_claims: Vec::new(),
            names: ClaimNames::default(),
            presets: Vec::new(),
            acting_rule: None,
        }
    }

    /// Returns a builder with the issuer, audience, clock and algorithms of a verifier, and without its relaxations.
    pub(super) fn from_rules(rules: &JwtRules) -> Self {
        let mut builder = Self::new(Ok(rules.issuer.clone()), String::new(), None);
        builder.expected = rules.expected.clone();
        builder.algorithms.clear();
        for algorithm in &rules.algorithms {
            match algorithm {
                SignatureAlgorithm::Asymmetric(algorithm) => builder.algorithms.push(*algorithm),
                SignatureAlgorithm::Hmac(_) => builder.secret_algorithm = Some(*algorithm),
            }
        }
        builder
    }

    /// Adds an identifier of this API that `aud` may contain.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.expected.audience.push(audience.into());
        self
    }

    /// The accepted algorithms. Default: all asymmetric ones of this build. Ignored for a shared secret, which has its own.
    pub fn algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        Self { algorithms: algorithms.into_iter().collect(), ..self }
    }

    /// Tolerance for the difference of the clocks, for `exp`, `nbf` and `iat`. Default: 30 s. Maximum: 5 min.
    #[doc(alias = "clock skew")]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.expected.leeway = leeway;
        self
    }

    /// Accepts tokens without `aud`, or with an empty one. An `aud` that is present must still include this API.
    ///
    /// What is lost: every token of the issuer without `aud` is accepted, also one that a client got for another API
    /// (RFC 9068 §5, RFC 9700 §2.3). Use it only if the issuer has no other API, or if each operation requires scopes or
    /// claims that only this API has.
    pub fn danger_accept_missing_audience(self) -> Self {
        Self { missing_audience_accepted: true, ..self }
    }

    /// Also accepts `typ: JWT` (or `application/jwt`) or a missing `typ`, for servers that predate RFC 9068.
    ///
    /// The cost: an ID token of the same issuer is no longer refused by its type, only by its audience, or if it has `nonce`,
    /// `at_hash` or `c_hash` (OpenID Connect Core §2, §3.3.2.11). So the audience must be the API's identifier, never a
    /// client's id.
    pub fn accept_plain_jwt_type(self) -> Self {
        Self { plain_type: true, ..self }
    }

    /// Where plain types are accepted, also accepts tokens with `nonce`, `at_hash` or `c_hash`. For issuers whose access
    /// token is an ID token, such as Dex.
    ///
    /// What is lost: an ID token identifies a user to a client, and grants no access to an API. The client's own server, and
    /// every program that logs or forwards its ID tokens, can call this API with them. Configure an audience that only
    /// clients of this API use.
    ///
    /// Without effect for presets that recognize ID tokens by the provider's own claims: [`Keycloak`](Preset::Keycloak),
    /// [`Cognito`](Preset::Cognito), [`EntraId`](Preset::EntraId) and [`Authentik`](Preset::Authentik).
    pub fn danger_accept_id_tokens(self) -> Self {
        Self { id_tokens_accepted: true, ..self }
    }

    /// Accepts tokens without this claim, which RFC 9068 §2.2 requires. See [`OptionalClaim`] for the cost.
    pub fn accept_without(mut self, claim: OptionalClaim) -> Self {
        self.optional_claims.push(claim);
        self
    }

    /// Name of the member that contains the scopes if there is no `scope`, such as `scp` or `permissions`. Its value is a
    /// string with spaces between the scopes, or an array of scopes. Can be called repeatedly; the first member that is
    /// present counts. Default: none.
    pub fn scope_claim(mut self, member: impl Into<String>) -> Self {
        self.names.scopes.push(member.into());
        self
    }

    /// Name of the member that contains the client if there is no `client_id`, such as `azp`, `cid` or `appid`. Can be called
    /// repeatedly; the first member that is present counts. Default: none.
    pub fn client_claim(mut self, member: impl Into<String>) -> Self {
        self.names.client.push(member.into());
        self
    }

    /// Path to the roles, such as `["resource_access", "orders-api", "roles"]` or `["https://example.com/roles"]`. Default:
    /// `roles` (RFC 9068 §2.2.3.1).
    ///
    /// The last call counts. The roles of two paths are never combined.
    pub fn roles_claim<N: Into<Box<str>>>(mut self, path: impl IntoIterator<Item = N>) -> Self {
        self.names.rules_mut().roles = Some(path.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the rule that decides for whom a token acts. It replaces that of a preset. Default: the rule of the preset, or that
    /// of RFC 9068 §2.2.
    ///
    /// The last call counts. If the rule is wrong for the issuer, a handler with `UserToken` accepts tokens of clients, or one
    /// with `ClientToken` those of users.
    pub fn acting_rule(self, rule: ActingRule) -> Self {
        Self { acting_rule: Some(rule), ..self }
    }

    /// Applies the settings for a known provider; each [`Preset`] lists what it relaxes. Other settings can be
    /// combined with it.
    pub fn preset(mut self, preset: Preset) -> Self {
        // A path to the roles that the application has set counts more than that of the preset.
        let set_roles = self.names.rules_mut().roles.take();
        let rules = preset.rules();
        *self.names.rules_mut() = ProviderRules { roles: set_roles.or(rules.roles), ..rules };
        self.presets.push(preset);
        preset.relax(self)
    }

    /// Replaces the source of time, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.expected.clock = Arc::new(clock);
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    /// All mistakes at once: an empty audience; a leeway of more than 5 min; no algorithm, one that this build lacks, or none
    /// that a key of the issuer can verify; an empty name of a member; two presets; `danger_accept_id_tokens` where plain
    /// types are not accepted; for a shared secret, an empty issuer.
    pub fn build(mut self) -> Result<JwtVerifier, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        self.expected.check(&mut mistakes);
        self.names.check(&mut mistakes);
        if self.presets.len() > 1 {
            let found = format!("{:?} can't be combined", self.presets);
            mistakes.add("preset", found, "give one preset; other methods can be combined with it");
        }
        if self.id_tokens_accepted && !self.plain_type {
            let change = "call accept_plain_jwt_type or preset as well, or don't call the method";
            mistakes.add("danger_accept_id_tokens", "typ must be at+jwt, so no ID token is accepted", change);
        }
        if let Some(rule) = self.acting_rule.take() {
            if rule.claim().is_some_and(str::is_empty) {
                mistakes.add("acting_rule", "the name is empty", "give the name of a claim");
            }
            self.names.rules_mut().acts_for = ActsForRule::Configured(rule);
        }
        let algorithms = self.check_algorithms(&mut mistakes);
        let refuses_id_tokens = self.refuses_id_tokens();
        mistakes.check(self.issuer.clone());
        mistakes.finish()?;
        Ok(JwtVerifier {
            rules: Arc::new(JwtRules {
                id: VerifierId::new(),
                issuer: self.issuer?,
                expected: self.expected,
                algorithms,
                types: if self.plain_type { TokenTypes::AccessTokenOrPlain } else { TokenTypes::AccessToken },
                refuses_id_tokens,
                missing_audience_accepted: self.missing_audience_accepted,
                optional_claims: self.optional_claims,
                names: self.names,
                preset: self.presets.first().copied(),
                known_header: ArcSwapOption::empty(),
            }),
        })
    }

    /// True if a token with a claim that only ID tokens have is refused. Some presets recognize ID tokens in another way.
    fn refuses_id_tokens(&self) -> bool {
        !self.id_tokens_accepted && !self.presets.iter().any(|preset| preset.recognizes_id_tokens())
    }

    fn check_algorithms(&self, mistakes: &mut MistakeCollector) -> Vec<SignatureAlgorithm> {
        if let Some(algorithm) = self.secret_algorithm {
            return vec![algorithm];
        }
        for unsupported in self.algorithms.iter().filter(|algorithm| !SUPPORTED.contains(algorithm)) {
            let found = format!("this build can't verify {unsupported}");
            mistakes.add("algorithms", found, "leave it out, or turn on the feature aws-lc-rs");
        }
        if self.algorithms.is_empty() {
            mistakes.add("algorithms", "the list is empty", "name at least one, or don't call the method");
        }
        let algorithms: Vec<_> = self.algorithms.iter().copied().map(SignatureAlgorithm::Asymmetric).collect();
        let known = self.issuer.as_ref().ok().and_then(Issuer::known_keys);
        if !algorithms.is_empty()
            && known.is_some_and(|keys| !algorithms.iter().any(|algorithm| keys.can_verify(*algorithm)))
        {
            let change = "name an algorithm that a key of the issuer can verify";
            mistakes.add("algorithms", "no key of the issuer can verify any of them", change);
        }
        algorithms
    }
}

/// What to change if tokens have no audience.
const MISSING_AUDIENCE: &str = "let the issuer write this API's identifier into aud, give the preset of the provider, or accept \
                                tokens without it (danger_accept_missing_audience)";
