//! What there is to say about an [`IntrospectionVerifier`].

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Breaker, ClientAuthentication, IntrospectionRules, IntrospectionVerifier};
use crate::{
    claims::{ClaimNames, acting},
    clock::Clock,
    config_error::{ConfigError, MistakeCollector},
    fetch::Fetch,
    issuer::{
        Issuer,
        client::{EndpointLocator, IssuerClient, default_fetch, no_fetch},
        discovery::EndpointKind,
    },
    jws::{SUPPORTED, SignatureAlgorithm, sha256},
    url::{PlainHttp, check_url},
    verify::expected::Expected,
};

/// Collects what there is to say about an [`IntrospectionVerifier`]; [`build`](Self::build) tells all mistakes at once.
#[must_use]
pub struct IntrospectionVerifierBuilder {
    issuer: Issuer,
    client: ClientAuthentication,
    expected: Expected,
    any_audience: bool,
    names: ClaimNames,
    endpoint: Option<String>,
    fetch: Option<Arc<dyn Fetch>>,
    signed: bool,
    breaker: bool,
}

impl IntrospectionVerifierBuilder {
    pub(super) fn new(issuer: Issuer, client: ClientAuthentication, audience: String) -> Self {
        let mut names = ClaimNames::default();
        names.rules_mut().acts_for = acting::introspected;
        Self {
            issuer,
            client,
            expected: Expected::new(audience),
            any_audience: false,
            names,
            endpoint: None,
            fetch: None,
            signed: false,
            breaker: false,
        }
    }

    /// Where the introspection endpoint is; without it the issuer's metadata says so (RFC 8414 §2).
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        Self { endpoint: Some(url.into()), ..self }
    }

    /// One more identifier of ours that `aud` may name.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.expected.audience.push(audience.into());
        self
    }

    /// Accepts answers without `aud`, which RFC 7662 §2.2 leaves to the server. One that is there must still name us.
    ///
    /// What is lost: where the server doesn't itself tell us apart from its other APIs, a token for any of them, or for
    /// none, is good here (RFC 9700 §2.3).
    pub fn danger_accept_missing_audience(self) -> Self {
        Self { any_audience: true, ..self }
    }

    /// Takes a token without `sub` for a client's own, as some servers issue them by client credentials.
    ///
    /// What is lost: a server that never tells `sub` has its users' tokens taken for their clients' own. Without this, a
    /// token without `sub` acts for [`Unknown`](crate::acts_for::ActsFor::Unknown).
    pub fn accept_missing_subject_as_client(mut self) -> Self {
        self.names.rules_mut().acts_for = acting::rfc9068;
        self
    }

    /// How far the server's clock may be off, for `exp` and `nbf`: 30 s unless said, at most 5 min.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.expected.leeway = leeway;
        self
    }

    /// Reads the scopes from this member where there is no `scope`; as
    /// [`JwtVerifierBuilder::scope_claim`](crate::verify::JwtVerifierBuilder::scope_claim).
    pub fn scope_claim(mut self, member: impl Into<String>) -> Self {
        self.names.scopes.push(member.into());
        self
    }

    /// Reads the client from this member where there is no `client_id`.
    pub fn client_claim(mut self, member: impl Into<String>) -> Self {
        self.names.client.push(member.into());
        self
    }

    /// Reads the roles from here instead of `roles`; as
    /// [`JwtVerifierBuilder::roles_claim`](crate::verify::JwtVerifierBuilder::roles_claim).
    pub fn roles_claim<N: Into<Box<str>>>(mut self, path: impl IntoIterator<Item = N>) -> Self {
        self.names.rules_mut().roles = Some(path.into_iter().map(Into::into).collect());
        self
    }

    /// Asks for a signed answer (RFC 9701) and accepts no other. It must be signed by a key of the issuer's set.
    pub fn signed_answers(self) -> Self {
        Self { signed: true, ..self }
    }

    /// After five failures in a row nobody is asked for a while, from one second up to thirty: requests get 503 at once.
    /// Then one question goes out as a probe, and an answer ends it. A 400 is an answer here: anybody can send a token that
    /// makes a bad question.
    pub fn circuit_breaker(self) -> Self {
        Self { breaker: true, ..self }
    }

    /// Another way to the network than the issuer's own: with a client certificate
    /// ([`ClientAuthentication::tls`]), or through a proxy.
    pub fn fetch(self, fetch: impl Fetch) -> Self {
        Self { fetch: Some(Arc::new(fetch)), ..self }
    }

    /// Another source of time, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.expected.clock = Arc::new(clock);
        self
    }

    /// The verifier.
    ///
    /// # Errors
    /// All mistakes at once: an empty audience or client, a leeway of more than 5 min, an empty name of a member, an
    /// endpoint that is no `https` URL (plain `http` is accepted for a loopback address), no endpoint for an issuer whose
    /// metadata is never fetched, no way to the network.
    pub fn build(self) -> Result<IntrospectionVerifier, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        self.client.check(&mut mistakes);
        self.expected.check(&mut mistakes);
        self.names.check(&mut mistakes);
        let issuer_client = self.issuer.client();
        let plain = issuer_client.map_or(PlainHttp::Loopback, |client| client.plain);
        if let Some(url) = &self.endpoint {
            // The application names this URL itself, so it may be on this machine whatever the issuer is.
            let plain = if plain == PlainHttp::Nowhere { PlainHttp::Loopback } else { plain };
            mistakes.check(check_url("endpoint", url, plain));
        } else if issuer_client.is_none() {
            mistakes.add(
                "endpoint",
                "the metadata of an issuer with fixed keys is never fetched, so it can't name the endpoint",
                "give the introspection endpoint's URL, or use Issuer::builder",
            );
        }
        let fetch = self.fetch.or_else(|| issuer_client.map(|client| Arc::clone(&client.fetch)));
        let fetch = mistakes.check(fetch.map_or_else(default_fetch, Ok));
        mistakes.finish()?;
        let Some(fetch) = fetch else { return Err(no_fetch().into()) };
        let client = self.client.client_id().unwrap_or_default();
        let asked = [self.issuer.identifier(), self.endpoint.as_deref().unwrap_or_default(), client];
        let parts = asked.into_iter().chain(self.expected.audience.iter().map(String::as_str));
        let parts: Vec<_> = parts.map(|part| sha256([part.as_bytes()])).collect();
        let identity = sha256(parts.iter().map(<[u8; 32]>::as_slice));
        let clock = Arc::clone(&self.expected.clock);
        let breaker = self.breaker.then(|| Breaker::new(Arc::clone(&clock)));
        let issuer_client = IssuerClient { identifier: self.issuer.identifier().into(), fetch, clock, plain };
        Ok(IntrospectionVerifier {
            rules: Arc::new(IntrospectionRules {
                issuer: self.issuer,
                client: self.client,
                expected: self.expected,
                any_audience: self.any_audience,
                names: self.names,
                identity,
                signed: self.signed,
                algorithms: SUPPORTED.iter().copied().map(SignatureAlgorithm::Asymmetric).collect(),
                issuer_client,
                locator: EndpointLocator::new(EndpointKind::Introspection, self.endpoint),
                locating: tokio::sync::Mutex::default(),
                location_failed: Mutex::default(),
                breaker,
            }),
        })
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
