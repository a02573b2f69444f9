//! Token introspection (RFC 7662), for opaque tokens.
//!
//! *In*: a token. *Out*: a [`Token`], or why it was refused.
//!
//! The server decides whether the token is active. The verifier also checks `iss`, `aud`, `exp` and `nbf` of the response,
//! with the same rules as for a JWT. A response without `aud` is refused, because the token of any API would be accepted.
//!
//! The status depends on which party failed. An inactive token gets 401, and so does one that the server doesn't introspect (400
//! `unsupported_token_type`, RFC 7009 §2.2.1). If the server rejects *our* credentials, fails,
//! doesn't respond or sends a malformed response, the request gets 503 with `Retry-After`: nothing is known about the token
//! then.
//!
//! Any client can cause introspection requests, so the number that runs at a time is bounded (`call_limit.rs`).
//!
//! Nothing is cached here. [`Cached`](crate::Cached) caches verdicts, and [`JwtOrOpaque`](crate::JwtOrOpaque) uses
//! introspection only for tokens that can't be verified locally.

mod breaker;
mod builder;
mod call_limit;
mod client;
mod endpoint;
mod known_tokens;
mod location;
mod response;

use std::{fmt, iter, sync::Arc, time::Duration};

use self::{
    breaker::{Breaker, BreakerChange, FailureEffect, Permit},
    call_limit::{Call, CallLimit},
    endpoint::{FailureCause, IntrospectionFailure, ReportedFailures},
    known_tokens::KnownTokens,
    location::LocationState,
    response::IntrospectionResult,
};
pub use self::{builder::IntrospectionVerifierBuilder, client::ClientAuthentication};
use super::{
    CacheKey, PresentedToken, Verdict, Verify,
    demand::Demand,
    expected::{Expected, wrong_issuer},
};
use crate::{
    claims::{Audience, ClaimNames, Facts, VerifierId},
    clock::Moment,
    config_error::ConfigError,
    error::{AuthError, Reason},
    fetch::FetchError,
    issuer::{
        Issuer,
        client::{EndpointLocator, IssuerClient},
    },
    jws::{SignatureAlgorithm, has_jwt_form},
    log::{self, Outage},
    token::Token,
};

/// Verifies tokens by calling their issuer's introspection endpoint (RFC 7662). Clones share everything.
///
/// `iss`, `aud`, `exp` and `nbf` of the response are checked too, and a response without `aud` is refused. An inactive token
/// gets 401. If the server rejects this API's credentials, fails, doesn't respond within 5 s or sends a malformed response,
/// the request gets 503.
///
/// Each request calls the endpoint. See [`Cached`](crate::Cached) and [`JwtOrOpaque`](crate::JwtOrOpaque) for fewer calls. At most 100
/// calls run at a time
/// ([`max_concurrent_calls`](IntrospectionVerifierBuilder::max_concurrent_calls)); a request that finds no room within a quarter
/// of a second gets 503. A quarter of the calls is reserved for tokens that were active within the last hour, and calls that no
/// client waits for are stopped first.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use std::time::Duration;
/// use tower_oauth::{verify::ClientAuthentication, Cached, IntrospectionVerifier, Issuer, OAuthLayer};
///
/// # #[cfg(feature = "http-client")] {
/// let issuer = Issuer::builder("https://auth.example.com").build()?; // its metadata names the endpoint
/// let client = ClientAuthentication::secret_basic("orders-api", "correct horse battery staple");
/// let verifier = IntrospectionVerifier::new(issuer, client, "https://api.example.com")?;
/// let layer = OAuthLayer::new(Cached::new(verifier, Duration::from_secs(30)));
/// # }
/// # Ok(())
/// # }
/// ```
#[doc(alias("introspect", "opaque"))]
#[derive(Clone)]
pub struct IntrospectionVerifier {
    rules: Arc<IntrospectionRules>,
}

struct IntrospectionRules {
    id: VerifierId,
    issuer: Issuer,
    client: ClientAuthentication,
    expected: Expected,
    missing_audience_accepted: bool,
    names: ClaimNames,
    /// True if signed responses are requested.
    signed: bool,
    algorithms: Vec<SignatureAlgorithm>,
    issuer_client: IssuerClient,
    locator: EndpointLocator,
    location: LocationState,
    limit: CallLimit,
    known_tokens: KnownTokens,
    breaker: Breaker,
    outage: Outage,
    reported: ReportedFailures,
}

impl IntrospectionVerifier {
    /// Calls the endpoint in the metadata of `issuer` as `client`, and accepts tokens for `audience`.
    ///
    /// # Errors
    /// The audience or the client is empty, or the issuer has fixed keys, so that its metadata is never fetched.
    pub fn new(issuer: Issuer, client: ClientAuthentication, audience: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(issuer, client, audience).build()
    }

    /// Returns a builder for further settings, such as the endpoint.
    pub fn builder(
        issuer: Issuer,
        client: ClientAuthentication,
        audience: impl Into<String>,
    ) -> IntrospectionVerifierBuilder {
        IntrospectionVerifierBuilder::new(issuer, client, audience.into())
    }

    /// Returns the issuer whose endpoint is called.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.rules.issuer
    }
}

impl Verify for IntrospectionVerifier {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        presented.called(self.rules.id);
        let rules = Arc::clone(&self.rules);
        Verdict::later(rules.introspect(presented.token().to_owned(), presented.demand()))
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        let _ = presented;
        key.add_verifier(self.rules.id);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        token.facts().origin.verifier == Some(self.rules.id) && self.rules.check_claims(token.facts()).is_ok()
    }

    fn issuers(&self) -> Vec<String> {
        vec![self.rules.issuer.identifier().to_owned()]
    }

    fn audiences(&self) -> Option<Vec<String>> {
        Some(self.rules.expected.audience.clone())
    }
}

impl IntrospectionRules {
    async fn introspect(self: Arc<Self>, token: String, demand: Option<Arc<Demand>>) -> Result<Token, AuthError> {
        let hash = KnownTokens::hash(&token);
        let call = Call { known: self.known_tokens.contains(&hash).await, demand };
        let permit = self.breaker.acquire(hash, call.known).map_err(AuthError::unavailable)?;
        let Some(slot) = self.limit.acquire(&call).await else {
            log::introspection_over_limit(self.issuer.label());
            return Err(AuthError::unavailable(NO_ROOM_RETRY_AFTER).with_source(FetchError::new(NO_ROOM)));
        };
        let began = Moment::now(&*self.issuer_client.clock);
        let result = tokio::select! {
            result = self.call_endpoint(&token) => result,
            () = self.issuer_client.clock.sleep(DEADLINE) => Err(FetchError::new("no response in time").into()),
        };
        drop(slot);
        self.report(&result, permit, call.known, began);
        let result = match result {
            Ok(IntrospectionResult::Active(token)) => self.check_claims(token.facts()).map(|()| token),
            Ok(IntrospectionResult::NotBearer(error)) => Err(error),
            Ok(IntrospectionResult::Inactive) => Err(inactive()),
            Ok(IntrospectionResult::Unsupported) => Err(unsupported_token_type(&token)),
            Err(IntrospectionFailure { error, retry_after, .. }) => {
                return Err(AuthError::unavailable(retry_after.unwrap_or(RETRY_AFTER)).with_source(error));
            }
        };
        match &result {
            Ok(_) => self.known_tokens.add(hash).await,
            Err(_) if call.known => self.known_tokens.remove(&hash).await,
            Err(_) => {}
        }
        result.map_err(|error| error.of_issuer(self.issuer.shared_identifier()))
    }

    /// Passes the result to the circuit breaker, the log and the metrics.
    fn report(
        &self,
        result: &Result<IntrospectionResult, IntrospectionFailure>,
        permit: Permit<'_>,
        known: bool,
        began: Moment,
    ) {
        let (issuer, now) = (self.issuer.label(), Moment::now(&*self.issuer_client.clock));
        let failure = result.as_ref().err();
        let (change, line) = match failure.filter(|failure| failure.cause == FailureCause::Outage) {
            Some(failure) => {
                let FailureEffect { change, down } = permit.failed(failure.retry_after);
                // One unknown token is no outage. Perhaps a firewall delays it.
                (change, if known || down { self.outage.failed(&now) } else { None })
            }
            None => (permit.succeeded(), self.outage.succeeded(&now)),
        };
        let active = result
            .as_ref()
            .map(|result| !matches!(result, IntrospectionResult::Inactive | IntrospectionResult::Unsupported));
        log::introspected(issuer, active.map_err(|failure| &failure.error), began.age(&now), line);
        if let Some(failure) = failure.filter(|failure| line.is_none() && self.reported.is_first(failure.cause, known))
        {
            log::introspection_misconfigured(issuer, failure.cause.advice(), &failure.error);
        }
        if let Some(change) = change {
            log::breaker_changed(issuer, change == BreakerChange::Opened);
        }
    }

    /// Checks the claims of an active token too, as RFC 7662 §4 requires.
    fn check_claims(&self, facts: &Facts) -> Result<(), AuthError> {
        if let Some(issuer) = facts.text(facts.issuer.as_ref()).filter(|issuer| *issuer != self.issuer.identifier()) {
            return Err(wrong_issuer(issuer, iter::once(self.issuer.identifier())));
        }
        if !(self.missing_audience_accepted && matches!(facts.audience, Audience::Absent)) {
            self.expected.check_audience(facts.audience.iter().filter_map(|text| facts.text(Some(text))))?;
        }
        self.expected.check_times(facts)
    }
}

fn inactive() -> AuthError {
    let change = "let the client get a new token; if new tokens are inactive too, check that this API introspects at the server \
                  that issued them, and may introspect the tokens of this client";
    Reason::Inactive.because("active: false in the introspection response", "an active token", change)
}

/// Returns the refusal of a token that the endpoint doesn't introspect.
fn unsupported_token_type(token: &str) -> AuthError {
    let (found, change) = if has_jwt_form(token) {
        (
            "a JWT, and the introspection endpoint responded 400 unsupported_token_type",
            "verify JWTs with JwtVerifier, or with JwtOrOpaque if both kinds arrive",
        )
    } else {
        (
            "an opaque token, and the introspection endpoint responded 400 unsupported_token_type",
            "check that the endpoint is that of the server that issued the token, and that the client sends its access token",
        )
    };
    Reason::UnsupportedTokenType.because(found, "a token of a kind that the endpoint introspects", change)
}

impl fmt::Debug for IntrospectionVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionVerifier")
            .field("issuer", &self.rules.issuer)
            .field("client", &self.rules.client)
            .field("audience", &self.rules.expected.audience)
            .finish_non_exhaustive()
    }
}

/// Maximum duration of one introspection, including the metadata and our own authentication.
const DEADLINE: Duration = Duration::from_secs(5);
/// `Retry-After` of our response if the server sends none.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// `Retry-After` if too many introspection requests are running.
const NO_ROOM_RETRY_AFTER: Duration = Duration::from_secs(1);
const NO_ROOM: &str = "too many introspection requests are running";
/// The media type of signed responses (RFC 9701 §4).
const SIGNED_RESPONSE: &str = "application/token-introspection+jwt";
