//! Opaque tokens, judged by asking the authorization server (RFC 7662).
//!
//! *In*: a token's text. *Out*: a [`Token`], or why not.
//!
//! The server says whether the token is active. That alone is not enough: `iss`, `aud`, `exp` and `nbf` of its answer are
//! judged here by the same rules as a JWT's claims, and so are scopes and `cnf` further out. A token without `aud` is
//! refused, because any API's token would do.
//!
//! Whose fault it is decides the answer. Not active: 401. The server refuses *us*, fails, hangs or talks nonsense: 503 with
//! `Retry-After` and an event at error level, because it is our credentials or their outage, and nothing is known of the
//! token.
//!
//! Nothing is kept here: each request asks. [`Cached`](crate::Cached) keeps answers for as long as is chosen, and
//! [`JwtOrOpaque`](crate::JwtOrOpaque) asks only about tokens that can't be judged here.

mod answer;
mod breaker;
mod builder;
mod client;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderMap, Request, StatusCode, header};

use self::{answer::IntrospectionResult, breaker::Breaker};
pub use self::{builder::IntrospectionVerifierBuilder, client::ClientAuthentication};
use super::{CacheKey, PresentedToken, Verdict, Verify, expected::Expected};
use crate::{
    claims::{Audience, ClaimNames, Facts},
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

/// How long one question may take, with all that belongs to it.
const DEADLINE: Duration = Duration::from_secs(5);
/// When to come back after a failure, where the server doesn't say.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Where the endpoint is, is not asked again so soon after that failed, or led nowhere.
const LOCATING_PAUSE: Duration = Duration::from_secs(1);
/// RFC 9701 §4.
const SIGNED: &str = "application/token-introspection+jwt";

/// Verifies tokens by asking their issuer's introspection endpoint (RFC 7662). Clones share everything.
///
/// `iss`, `aud`, `exp` and `nbf` of its answer are judged here as well; an answer without `aud` is refused. A token that is
/// not active gets 401; when the server refuses this API, fails, hangs for five seconds or talks nonsense, that is 503.
/// Each request asks: see [`Cached`](crate::Cached) and [`JwtOrOpaque`](crate::JwtOrOpaque).
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
    issuer: Issuer,
    client: ClientAuthentication,
    expected: Expected,
    any_audience: bool,
    names: ClaimNames,
    /// A hash over the issuer, the endpoint, the client and the audience.
    identity: [u8; 32],
    /// Whether a signed answer is asked for.
    signed: bool,
    algorithms: Vec<SignatureAlgorithm>,
    issuer_client: IssuerClient,
    locator: EndpointLocator,
    locating: tokio::sync::Mutex<()>,
    /// By [`Clock::elapsed`](crate::clock::Clock::elapsed).
    location_failed: Mutex<Option<(Duration, FetchError)>>,
    breaker: Option<Breaker>,
}

impl IntrospectionVerifier {
    /// Asks `issuer` at the endpoint that its metadata names, as `client`, and accepts what was issued for `audience`.
    ///
    /// # Errors
    /// The audience or the client is empty, or the issuer is one with known keys only, whose metadata is never fetched.
    pub fn new(issuer: Issuer, client: ClientAuthentication, audience: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(issuer, client, audience).build()
    }

    /// The same, with more to say: where the endpoint is, and what the answers lack.
    pub fn builder(
        issuer: Issuer,
        client: ClientAuthentication,
        audience: impl Into<String>,
    ) -> IntrospectionVerifierBuilder {
        IntrospectionVerifierBuilder::new(issuer, client, audience.into())
    }

    /// Whom it asks.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.rules.issuer
    }
}

impl Verify for IntrospectionVerifier {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let (rules, token) = (Arc::clone(&self.rules), presented.token().to_owned());
        Verdict::later(async move { rules.introspect(&token).await })
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        let _ = presented;
        key.add(self.rules.identity);
    }

    fn still_holds(&self, token: &Token) -> bool {
        token.facts().key_epoch == 0 && self.rules.check_claims(token.facts()).is_ok()
    }
}

/// Why there is no answer to go by.
struct IntrospectionFailure {
    error: FetchError,
    retry_after: Option<Duration>,
    /// The server is there. It is this question that it can't answer, perhaps for the token in it.
    answered: bool,
}

impl From<FetchError> for IntrospectionFailure {
    fn from(error: FetchError) -> Self {
        Self { error, retry_after: None, answered: false }
    }
}

impl IntrospectionRules {
    async fn introspect(&self, token: &str) -> Result<Token, AuthError> {
        let permit = match self.breaker.as_ref().map(Breaker::acquire).transpose() {
            Ok(permit) => permit,
            Err(pause) => return Err(AuthError::unavailable(pause)),
        };
        let began = self.issuer_client.clock.elapsed();
        let answer = tokio::select! {
            answer = self.ask(token) => answer,
            () = self.issuer_client.clock.sleep(DEADLINE) => Err(FetchError::new("no answer in time").into()),
        };
        let took = self.issuer_client.clock.elapsed().saturating_sub(began);
        let outcome = answer
            .as_ref()
            .map(|answer| !matches!(answer, IntrospectionResult::Inactive))
            .map_err(|failure| &failure.error);
        log::introspected(self.issuer.identifier(), outcome, took);
        if let Some(permit) = permit {
            match &answer {
                Err(IntrospectionFailure { answered: false, .. }) => permit.failed(),
                _ => permit.succeeded(),
            }
        }
        match answer {
            Ok(IntrospectionResult::Active(token)) => self.check_claims(token.facts()).map(|()| token),
            Ok(IntrospectionResult::NotBearer(error)) => Err(error),
            Ok(IntrospectionResult::Inactive) => Err(Reason::Inactive.into()),
            Err(IntrospectionFailure { error, retry_after, .. }) => {
                Err(AuthError::unavailable(retry_after.unwrap_or(RETRY_AFTER)).with_source(error))
            }
        }
    }

    /// One question, and the answer in whatever form was asked for.
    async fn ask(&self, token: &str) -> Result<IntrospectionResult, IntrospectionFailure> {
        let url = self.locate().await?;
        let answer = self.issuer_client.fetch.fetch(self.question(&url, token)?).await?;
        if answer.body().len() > MAX_BODY_BYTES {
            return Err(FetchError::new("the answer is too large").into());
        }
        match answer.status() {
            StatusCode::OK => {}
            status => {
                // It may have moved.
                if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE) {
                    self.locator.mark_stale_unless_new(self.issuer_client.clock.elapsed(), LOCATING_PAUSE);
                }
                let whose = match status {
                    // RFC 7662 §2.3: it is we who are not allowed to ask.
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ", so it refuses this API's own credentials",
                    _ => "",
                };
                let error = FetchError::new(format!("the introspection endpoint answered {}{whose}", status.as_u16()));
                // Anybody can send a token that makes a bad question: a JWT for some servers, a long one for others.
                let answered = matches!(
                    status,
                    StatusCode::BAD_REQUEST
                        | StatusCode::PAYLOAD_TOO_LARGE
                        | StatusCode::URI_TOO_LONG
                        | StatusCode::UNPROCESSABLE_ENTITY
                        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
                );
                return Err(IntrospectionFailure { error, retry_after: retry_after(answer.headers()), answered });
            }
        }
        let read = match (self.signed, is_signed(answer.headers())) {
            (false, false) => self.parse_response(answer.body())?,
            (true, true) => self.parse_signed_response(answer.body()).await?,
            (true, false) => return Err(FetchError::new("the answer is not signed, as was asked for").into()),
            (false, true) => return Err(FetchError::new("the answer is signed, which was not asked for").into()),
        };
        Ok(read)
    }

    /// RFC 7662 §2.1. The token stands in the body only.
    fn question(&self, url: &str, token: &str) -> Result<Request<Bytes>, FetchError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token");
        let now = self.issuer_client.clock.now();
        let authorization = self.client.authenticate(&mut form, self.issuer.identifier(), now)?;
        let mut question = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, if self.signed { SIGNED } else { "application/json" });
        if let Some(authorization) = authorization {
            question = question.header(header::AUTHORIZATION, authorization);
        }
        question
            .body(Bytes::from(form.finish()))
            .map_err(|error| FetchError::new("the endpoint is not a URL").with_source(error))
    }

    /// Where to ask. Many may want to know at once, at the start; one of them looks it up.
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

    /// RFC 7662 §4: the server's word does not relieve us of looking ourselves.
    fn check_claims(&self, facts: &Facts) -> Result<(), AuthError> {
        if facts.text(facts.issuer.as_ref()).is_some_and(|issuer| issuer != self.issuer.identifier()) {
            return Err(Reason::WrongIssuer.into());
        }
        // An empty list is not absent: it names nobody.
        if !(self.any_audience && matches!(facts.audience, Audience::Absent)) {
            self.expected.check_audience(facts.audience.iter().filter_map(|text| facts.text(Some(text))))?;
        }
        self.expected.check_times(facts)
    }
}

fn is_signed(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(SIGNED))
}

/// RFC 9110 §10.2.3, in seconds; within bounds, and none for a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let said = digits.then(|| seconds.parse().map_or(Duration::MAX, Duration::from_secs))?;
    Some(said.clamp(Duration::from_secs(1), MAX_RETRY_AFTER))
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
