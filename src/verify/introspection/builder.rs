//! The settings of an [`IntrospectionVerifier`].
//!
//! *In*: an issuer, our credentials, the audience and options. *Out*: a verifier, or every mistake at once.

use std::{sync::Arc, time::Duration};

use super::{
    Breaker, CallLimit, ClientAuthentication, IntrospectionRules, IntrospectionVerifier, KnownTokens, LocationState,
    Outage, ReportedFailures,
};
use crate::{
    claims::{
        ClaimNames, VerifierId,
        acting::{self, ActsForRule},
    },
    clock::Clock,
    config_error::{ConfigError, MistakeCollector},
    fetch::Fetch,
    issuer::{
        Issuer,
        client::{EndpointLocator, IssuerClient, default_fetch, no_fetch},
        discovery::EndpointKind,
    },
    jws::{SUPPORTED, SignatureAlgorithm},
    url::{PlainHttp, check_url},
    verify::expected::Expected,
};

/// Builder for [`IntrospectionVerifier`]. [`build`](Self::build) reports every mistake at once.
#[must_use]
pub struct IntrospectionVerifierBuilder {
    issuer: Issuer,
    client: ClientAuthentication,
    expected: Expected,
    missing_audience_accepted: bool,
    names: ClaimNames,
    endpoint: Option<String>,
    fetch: Option<Arc<dyn Fetch>>,
    signed: bool,
    breaker: bool,
    max_concurrent_calls: usize,
}

impl IntrospectionVerifierBuilder {
    pub(super) fn new(issuer: Issuer, client: ClientAuthentication, audience: String) -> Self {
        let mut names = ClaimNames::default();
        names.rules_mut().acts_for = ActsForRule::Fixed(acting::introspected);
        Self {
            issuer,
            client,
            expected: Expected::new(audience, MISSING_AUDIENCE),
            missing_audience_accepted: false,
            names,
            endpoint: None,
            fetch: None,
            signed: false,
            breaker: false,
            max_concurrent_calls: MAX_CONCURRENT_CALLS,
        }
    }

    /// URL of the introspection endpoint. Default: the one in the issuer's metadata (RFC 8414 §2).
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        Self { endpoint: Some(url.into()), ..self }
    }

    /// Adds an identifier of this API that `aud` may contain.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.expected.audience.push(audience.into());
        self
    }

    /// Accepts responses without `aud`, which RFC 7662 §2.2 allows. An `aud` that is present must still include this API.
    ///
    /// What is lost: a token for another API is accepted here, unless the server itself responds differently to each API
    /// (RFC 9700 §2.3).
    pub fn danger_accept_missing_audience(self) -> Self {
        Self { missing_audience_accepted: true, ..self }
    }

    /// Treats a token without `sub` as one that acts for its client. Some servers issue such tokens for client credentials.
    ///
    /// The cost: if the server leaves out `sub` for users too, their tokens also count as those of the clients. Without this
    /// setting, a token without `sub` acts for [`Unknown`](crate::acts_for::ActsFor::Unknown).
    pub fn accept_missing_subject_as_client(mut self) -> Self {
        self.names.rules_mut().acts_for = ActsForRule::Fixed(acting::rfc9068);
        self
    }

    /// Tolerance for the difference of the clocks, for `exp`, `nbf` and `iat`. Default: 30 s. Maximum: 5 min.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.expected.leeway = leeway;
        self
    }

    /// Name of the member that contains the scopes if there is no `scope`. Default: none. See
    /// [`JwtVerifierBuilder::scope_claim`](crate::verify::JwtVerifierBuilder::scope_claim).
    pub fn scope_claim(mut self, member: impl Into<String>) -> Self {
        self.names.scopes.push(member.into());
        self
    }

    /// Name of the member that contains the client if there is no `client_id`. Default: none.
    pub fn client_claim(mut self, member: impl Into<String>) -> Self {
        self.names.client.push(member.into());
        self
    }

    /// Path to the roles. Default: `roles`. See
    /// [`JwtVerifierBuilder::roles_claim`](crate::verify::JwtVerifierBuilder::roles_claim).
    pub fn roles_claim<N: Into<Box<str>>>(mut self, path: impl IntoIterator<Item = N>) -> Self {
        self.names.rules_mut().roles = Some(path.into_iter().map(Into::into).collect());
        self
    }

    /// Requests signed responses (RFC 9701) and accepts no others. The signature must be by a key of the issuer's key set.
    pub fn signed_responses(self) -> Self {
        Self { signed: true, ..self }
    }

    /// Maximum number of introspection requests that run at a time, and so of connections to the issuer. Default: 100. Maximum:
    /// 1000.
    ///
    /// A quarter of them is reserved for tokens that were active within the last hour. If all are in use, a request waits for
    /// a quarter of a second at most, in a queue of the same length; then it gets 503. The process needs one open file for
    /// each connection, besides those of its clients.
    pub fn max_concurrent_calls(self, calls: usize) -> Self {
        Self { max_concurrent_calls: calls, ..self }
    }

    /// Adds a circuit breaker: while the server is down, requests get 503 at once, without a call of the endpoint.
    ///
    /// It opens if within 10 s at least 5 calls for 3 different tokens failed, and at least half of all calls. If tokens that
    /// were active within the last hour are among the calls, at least half of theirs must have failed too. So no client can
    /// open it with tokens of its own while the tokens of others are accepted. Failures are: no connection, no response in time, and the
    /// status 429, 502, 503 or 504. Every other response shows that the server works.
    ///
    /// A call counts when it ends. Without [`Cached`](crate::Cached), a call whose client disconnects ends without a result, also at
    /// the end of a
    /// [`verification_timeout`](crate::server::ResourceServerBuilder::verification_timeout) below 5 s.
    ///
    /// While it is open, one call at a time is made as a probe, after 1 s at first and 30 s at most, and not before the end
    /// of the server's `Retry-After`. Known tokens probe first. The first call that does not fail closes it. Each change is logged
    /// and has a metric.
    pub fn circuit_breaker(self) -> Self {
        Self { breaker: true, ..self }
    }

    /// HTTP client for introspection, such as one with a client certificate ([`ClientAuthentication::tls`]) or for a proxy.
    /// Default: the issuer's.
    pub fn fetch(self, fetch: impl Fetch) -> Self {
        Self { fetch: Some(Arc::new(fetch)), ..self }
    }

    /// Replaces the source of time, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.expected.clock = Arc::new(clock);
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    /// All mistakes at once: an empty audience, client id or secret; a leeway of more than 5 min; an empty name of a member;
    /// an endpoint that is not an `https` URL (plain `http` is accepted for a loopback address); no endpoint for an issuer
    /// whose metadata is never fetched, because its keys are fixed or its identifier is not an `https` URL; a maximum of 0 or over 1000 calls; no HTTP client.
    pub fn build(self) -> Result<IntrospectionVerifier, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        self.client.check(&mut mistakes);
        self.expected.check(&mut mistakes);
        self.names.check(&mut mistakes);
        self.check_endpoint(&mut mistakes);
        if self.max_concurrent_calls == 0 {
            mistakes.add("max_concurrent_calls", "0 permits no call", "give at least 1");
        }
        if self.max_concurrent_calls > MAX_CALLS {
            let found = format!("{} is too many", self.max_concurrent_calls);
            mistakes.add("max_concurrent_calls", found, "give at most 1000");
        }
        let fetch = mistakes.check(self.choose_fetch());
        mistakes.finish()?;
        let Some(fetch) = fetch else { return Err(no_fetch().into()) };
        let clock = Arc::clone(&self.expected.clock);
        let identifier = self.issuer.identifier().into();
        let plain = self.plain_http();
        let issuer_client = IssuerClient { identifier, fetch, clock: Arc::clone(&clock), plain };
        Ok(IntrospectionVerifier {
            rules: Arc::new(IntrospectionRules {
                id: VerifierId::new(),
                issuer: self.issuer,
                client: self.client,
                expected: self.expected,
                missing_audience_accepted: self.missing_audience_accepted,
                names: self.names,
                signed: self.signed,
                algorithms: SUPPORTED.iter().copied().map(SignatureAlgorithm::Asymmetric).collect(),
                issuer_client,
                locator: EndpointLocator::new(EndpointKind::Introspection, self.endpoint),
                location: LocationState::default(),
                limit: CallLimit::new(self.max_concurrent_calls, Arc::clone(&clock)),
                known_tokens: KnownTokens::new(Arc::clone(&clock)),
                breaker: Breaker::new(self.breaker, clock),
                outage: Outage::default(),
                reported: ReportedFailures::default(),
            }),
        })
    }

    fn check_endpoint(&self, mistakes: &mut MistakeCollector) {
        if let Some(url) = &self.endpoint {
            // The application sets this URL, so a loopback address is accepted whatever the issuer is.
            let plain = match self.plain_http() {
                PlainHttp::Nowhere => PlainHttp::LoopbackByDefault,
                plain => plain,
            };
            mistakes.check(check_url("endpoint", url, plain));
        } else if self.issuer.client().is_none() {
            mistakes.add(
                "endpoint",
                "the metadata of an issuer with fixed keys is never fetched, so it can't name the endpoint",
                "give the introspection endpoint's URL, or use Issuer::builder",
            );
        } else if !self.issuer.is_resolvable() {
            let identifier = self.issuer.identifier();
            mistakes.add(
                "endpoint",
                format!("the issuer {identifier:?} is not an https URL in its normal form, so it has no metadata"),
                "give the introspection endpoint's URL",
            );
        }
    }

    /// Returns the addresses for which plain `http` is accepted.
    fn plain_http(&self) -> PlainHttp {
        self.issuer.client().map_or(PlainHttp::Loopback, |client| client.plain)
    }

    fn choose_fetch(&self) -> Result<Arc<dyn Fetch>, ConfigError> {
        match (&self.fetch, self.issuer.client()) {
            (Some(fetch), _) => Ok(Arc::clone(fetch)),
            (None, Some(client)) => Ok(Arc::clone(&client.fetch)),
            (None, None) => default_fetch(),
        }
    }
}

impl std::fmt::Debug for IntrospectionVerifierBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntrospectionVerifierBuilder")
            .field("issuer", &self.issuer)
            .field("client", &self.client)
            .field("expected", &self.expected)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// What to change if responses have no audience.
const MISSING_AUDIENCE: &str = "let the server write this API's identifier into aud of its introspection responses, or accept \
                                responses without it (danger_accept_missing_audience)";
const MAX_CONCURRENT_CALLS: usize = 100;
/// Each waiting call may look at each running one.
const MAX_CALLS: usize = 1000;
