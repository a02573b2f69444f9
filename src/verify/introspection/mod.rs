//! Token introspection (RFC 7662), for opaque tokens.
//!
//! *In*: a token. *Out*: a [`Token`], or why it was refused.
//!
//! The server decides whether the token is active. The verifier also checks `iss`, `aud`, `exp` and `nbf` of the response,
//! with the same rules as for a JWT. A response without `aud` is refused, because the token of any API would be accepted.
//!
//! The status depends on which party failed. An inactive token gets 401. If the server rejects *our* credentials, fails,
//! doesn't respond or sends a malformed response, the request gets 503 with `Retry-After`, and an error event is logged:
//! nothing is known about the token then.
//!
//! Nothing is cached here. [`Cached`](crate::Cached) caches verdicts, and [`JwtOrOpaque`](crate::JwtOrOpaque) uses
//! introspection only for tokens that can't be verified locally.

mod breaker;
mod builder;
mod client;
mod response;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderMap, Request, StatusCode, header};

use self::{breaker::Breaker, response::IntrospectionResult};
pub use self::{builder::IntrospectionVerifierBuilder, client::ClientAuthentication};
use super::{CacheKey, PresentedToken, Verdict, Verify, expected::Expected};
use crate::{
    claims::{Audience, ClaimNames, Facts, VerifierId},
    config_error::ConfigError,
    error::{AuthError, Reason},
    fetch::{Fetch, FetchError, MAX_BODY_BYTES},
    issuer::{
        Issuer,
        client::{EndpointLocator, IssuerClient},
    },
    jws::SignatureAlgorithm,
    log,
    sync::lock,
    token::Token,
};

/// Verifies tokens by calling their issuer's introspection endpoint (RFC 7662). Clones share everything.
///
/// `iss`, `aud`, `exp` and `nbf` of the response are checked too, and a response without `aud` is refused. An inactive token
/// gets 401. If the server rejects this API's credentials, fails, doesn't respond within 5 s or sends a malformed response,
/// the request gets 503.
///
/// Each request calls the endpoint. See [`Cached`](crate::Cached) and [`JwtOrOpaque`](crate::JwtOrOpaque) for fewer calls.
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
    /// Held by the one request that locates the endpoint.
    locating: tokio::sync::Mutex<()>,
    /// The last failure to locate the endpoint, and its time by [`Clock::elapsed`](crate::clock::Clock::elapsed).
    location_failed: Mutex<Option<(Duration, FetchError)>>,
    breaker: Option<Breaker>,
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
        let (rules, token) = (Arc::clone(&self.rules), presented.token().to_owned());
        Verdict::later(async move { rules.introspect(&token).await })
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        let _ = presented;
        key.add_verifier(self.rules.id);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        token.facts().origin.verifier == Some(self.rules.id) && self.rules.check_claims(token.facts()).is_ok()
    }
}

/// The reason why there is no usable response.
struct IntrospectionFailure {
    error: FetchError,
    retry_after: Option<Duration>,
    /// True if the server works, and rejects only this request, perhaps because of the token.
    only_this_request: bool,
}

impl From<FetchError> for IntrospectionFailure {
    fn from(error: FetchError) -> Self {
        Self { error, retry_after: None, only_this_request: false }
    }
}

impl IntrospectionRules {
    async fn introspect(&self, token: &str) -> Result<Token, AuthError> {
        let permit = match self.breaker.as_ref().map(Breaker::acquire).transpose() {
            Ok(permit) => permit,
            Err(pause) => return Err(AuthError::unavailable(pause)),
        };
        let began = self.issuer_client.clock.elapsed();
        let result = tokio::select! {
            result = self.call_endpoint(token) => result,
            () = self.issuer_client.clock.sleep(DEADLINE) => Err(FetchError::new("no response in time").into()),
        };
        let duration = self.issuer_client.clock.elapsed().saturating_sub(began);
        let active = result.as_ref().map(|result| !matches!(result, IntrospectionResult::Inactive));
        log::introspected(self.issuer.identifier(), active.map_err(|failure| &failure.error), duration);
        if let Some(permit) = permit {
            match &result {
                Err(IntrospectionFailure { only_this_request: false, .. }) => permit.failed(),
                _ => permit.succeeded(),
            }
        }
        match result {
            Ok(IntrospectionResult::Active(token)) => self.check_claims(token.facts()).map(|()| token),
            Ok(IntrospectionResult::NotBearer(error)) => Err(error),
            Ok(IntrospectionResult::Inactive) => Err(Reason::Inactive.into()),
            Err(IntrospectionFailure { error, retry_after, .. }) => {
                Err(AuthError::unavailable(retry_after.unwrap_or(RETRY_AFTER)).with_source(error))
            }
        }
    }

    /// Sends one request, and parses the response in the requested form.
    async fn call_endpoint(&self, token: &str) -> Result<IntrospectionResult, IntrospectionFailure> {
        let url = self.locate().await?;
        let request = self.make_request(&url, token).await?;
        let response = self.issuer_client.fetch.fetch(request).await?;
        if response.body().len() > MAX_BODY_BYTES {
            return Err(FetchError::new("the response is too large").into());
        }
        if response.status() != StatusCode::OK {
            return Err(self.failure(response.status(), response.headers()));
        }
        match (self.signed, is_signed(response.headers())) {
            (false, false) => Ok(self.parse_response(response.body())?),
            (true, true) => Ok(self.parse_signed_response(response.body()).await?),
            (true, false) => Err(FetchError::new("the response is not signed, but that was requested").into()),
            (false, true) => Err(FetchError::new("the response is signed, but that was not requested").into()),
        }
    }

    /// Makes the request (RFC 7662 §2.1). The token is in the body only.
    async fn make_request(&self, url: &str, token: &str) -> Result<Request<Bytes>, FetchError> {
        let now = self.issuer_client.clock.now();
        let proof = self.client.authenticate(self.issuer.identifier(), now).await?;
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token").extend_pairs(&proof.form);
        let mut request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, if self.signed { SIGNED_RESPONSE } else { "application/json" });
        if let Some(authorization) = proof.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request
            .body(Bytes::from(form.finish()))
            .map_err(|error| FetchError::new("the endpoint is not a URL").with_source(error))
    }

    /// Returns the failure for a status other than 200.
    fn failure(&self, status: StatusCode, headers: &HeaderMap) -> IntrospectionFailure {
        // The endpoint may have a new URL.
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE) {
            self.locator.mark_stale_unless_new(self.issuer_client.clock.elapsed(), LOCATING_PAUSE);
        }
        let cause = match status {
            // RFC 7662 §2.3.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": the server rejected this API's client credentials",
            _ => "",
        };
        let error = FetchError::new(format!("the introspection endpoint responded {}{cause}", status.as_u16()));
        // A client can cause these by its token: some servers reject a JWT, or a long token.
        let only_this_request = matches!(
            status,
            StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::URI_TOO_LONG
                | StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        );
        IntrospectionFailure { error, retry_after: retry_after(headers), only_this_request }
    }

    /// Returns the endpoint's URL. One request at a time fetches the metadata; the others wait for it.
    async fn locate(&self) -> Result<String, FetchError> {
        if let Some(url) = self.locator.known(self.issuer_client.clock.elapsed()) {
            return Ok(url);
        }
        let _one_at_a_time = self.locating.lock().await;
        let now = self.issuer_client.clock.elapsed();
        if let Some(url) = self.locator.known(now) {
            return Ok(url);
        }
        if let Some((since, error)) = &*lock(&self.location_failed)
            && now.saturating_sub(*since) < LOCATING_PAUSE
        {
            return Err(error.clone());
        }
        let located = self.locator.locate(&self.issuer_client).await;
        let failed = located.as_ref().err().map(|error| (self.issuer_client.clock.elapsed(), error.clone()));
        *lock(&self.location_failed) = failed;
        located
    }

    /// Checks the claims of an active token too, as RFC 7662 §4 requires.
    fn check_claims(&self, facts: &Facts) -> Result<(), AuthError> {
        if facts.text(facts.issuer.as_ref()).is_some_and(|issuer| issuer != self.issuer.identifier()) {
            return Err(Reason::WrongIssuer.into());
        }
        // An empty list differs from a missing `aud`: the token is for no API.
        if !(self.missing_audience_accepted && matches!(facts.audience, Audience::Absent)) {
            self.expected.check_audience(facts.audience.iter().filter_map(|text| facts.text(Some(text))))?;
        }
        self.expected.check_times(facts)
    }
}

fn is_signed(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(SIGNED_RESPONSE))
}

/// Returns `Retry-After` in seconds, within bounds. A date is ignored (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.then(|| seconds.parse().map_or(Duration::MAX, Duration::from_secs))?;
    Some(seconds.clamp(Duration::from_secs(1), MAX_RETRY_AFTER))
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
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Minimum time between two attempts to locate the endpoint.
const LOCATING_PAUSE: Duration = Duration::from_secs(1);
/// The media type of signed responses (RFC 9701 §4).
const SIGNED_RESPONSE: &str = "application/token-introspection+jwt";
