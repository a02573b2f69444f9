//! Issuers whose keys are fetched.
//!
//! *In*: the identifier and settings. *Out*: an [`Issuer`](crate::Issuer) whose keys are fetched and refreshed.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    DiscoveryError, Issuer,
    client::{EndpointLocator, IssuerClient, default_fetch, no_fetch},
    discovery::{self, EndpointKind},
    trusted::IssuerKeys,
};
use crate::{
    clock::{Clock, SystemClock},
    config_error::{ConfigError, MistakeCollector},
    error::quoted,
    fetch::{Fetch, FetchError, seconds},
    keys::{
        KeySet,
        remote::{FetchKeys, FetchedKeys, RefreshPolicy, RemoteKeys},
    },
    log::IssuerLabel,
    sync::lock,
    url::{PlainHttp, check_name, check_resolvable_identifier, check_url, is_loopback_http},
};

/// Builder for an [`Issuer`](crate::Issuer) whose keys are fetched. [`build`](Self::build) reports every mistake at once.
///
/// Defaults:
///
/// - A key set is fresh for the `max-age` of its `Cache-Control` less its `Age`, at least one minute and at most one hour, or
///   for ten minutes if it has no `max-age`. After 80 % of that time a background task fetches it again. The task ends with
///   the last clone of the issuer.
/// - A token with an unknown `kid` starts a refresh, at most one in 30 seconds including failures, and waits for it at most
///   three seconds. If the new key set lacks the `kid`, the token is refused: 401. In the rest of the 30 seconds a token with
///   another unknown `kid` can't be checked: 503 with `Retry-After`.
/// - A token that no key fits, though its `kid` is known or it has no `kid`, starts such a refresh too, because an issuer may
///   replace the key of a `kid`. This limit of one in 30 seconds is independent of the one for unknown `kid`s. In the rest of
///   the 30 seconds, and while the issuer is down, such tokens are refused.
/// - After a refresh for a token that found other keys, the next one may start after one second.
/// - Tokens that a known key verifies never wait.
/// - While the issuer is down, its last valid key set is used for up to 24 hours. An empty or malformed key set never
///   replaces a valid one. Failed attempts are repeated after 1 s, 2 s, 4 s and so on, up to 30 s, and not before the
///   `Retry-After` of a 429 or 503 response in seconds, up to five minutes.
/// - Without a usable key set a token can't be checked: 503 with `Retry-After`.
/// - Each age includes the time for which the machine was suspended.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use std::time::Duration;
/// use tower_oauth::Issuer;
///
/// # #[cfg(feature = "http-client")]
/// let issuer = Issuer::builder("https://auth.example.com").max_stale(Duration::from_secs(3600)).build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct IssuerBuilder {
    identifier: String,
    jwks_uri: Option<String>,
    fetch: Option<Arc<dyn Fetch>>,
    clock: Arc<dyn Clock>,
    policy: RefreshPolicy,
    initial_keys: Option<KeySet>,
    plain: PlainHttp,
    in_metrics: bool,
}

impl IssuerBuilder {
    pub(super) fn new(identifier: impl Into<String>) -> Self {
        Self {
            identifier: identifier.into(),
            jwks_uri: None,
            fetch: None,
            clock: Arc::new(SystemClock::new()),
            policy: RefreshPolicy::default(),
            initial_keys: None,
            plain: PlainHttp::LoopbackByDefault,
            in_metrics: true,
        }
    }

    /// URL of the key set. Default: the `jwks_uri` of the issuer's metadata (RFC 8414 §3). With this setting the metadata is not
    /// needed, and the identifier need not be a URL (RFC 7519 §4.1.1).
    pub fn jwks_uri(self, url: impl Into<String>) -> Self {
        Self { jwks_uri: Some(url.into()), ..self }
    }

    /// Sends requests to the issuer with another HTTP client. Default: an `HttpClient` (feature `http-client`).
    pub fn fetch(self, fetch: impl Fetch) -> Self {
        Self { fetch: Some(Arc::new(fetch)), ..self }
    }

    /// Keys to start with, from a file or an earlier run. They are used until the issuer's keys are fetched.
    pub fn initial_keys(self, keys: KeySet) -> Self {
        Self { initial_keys: Some(keys), ..self }
    }

    /// Time that a key set is fresh if its response has no `Cache-Control: max-age`. Default: 10 minutes.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.lifetime = lifetime;
        self
    }

    /// Minimum and maximum for the `max-age` of `Cache-Control`. Default: 1 minute and 1 hour.
    pub fn lifetime_bounds(mut self, minimum: Duration, maximum: Duration) -> Self {
        (self.policy.min_lifetime, self.policy.max_lifetime) = (minimum, maximum);
        self
    }

    /// Maximum age of a key set that can't be refreshed. A withdrawn key is accepted no longer than this. Default: 24 hours.
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.policy.max_stale = max_stale;
        self
    }

    /// Minimum interval between refreshes caused by unknown `kid`s, and also between those caused by signatures that no key
    /// fits. Default: 30 s. After a refresh that found other keys: 1 s.
    pub fn unknown_kid_cooldown(mut self, cooldown: Duration) -> Self {
        self.policy.unknown_kid_cooldown = cooldown;
        self
    }

    /// Maximum time that a request waits for a refresh. Default: 3 s.
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.policy.refresh_timeout = timeout;
        self
    }

    /// Records the metrics of this issuer without the label `issuer`, for APIs that accept the tokens of many tenants: each
    /// label value is a time series of its own. Log events still name the issuer.
    pub fn without_issuer_label(self) -> Self {
        Self { in_metrics: false, ..self }
    }

    /// Uses another clock, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Accepts plain `http` for this issuer and its keys, on any host. For a closed test network.
    ///
    /// The cost: an on-path attacker can substitute keys.
    pub fn danger_accept_plain_http(self) -> Self {
        Self { plain: PlainHttp::Anywhere, ..self }
    }

    /// Builds the issuer without I/O. The keys are fetched when the first token needs them, or by
    /// [`Issuer::warm_up`](crate::Issuer::warm_up).
    ///
    /// # Errors
    /// Every mistake at once: a URL that is not `https`, an identifier that is not in its normal form (`https://auth.test` and not
    /// `HTTPS://AUTH.test:443/a/..`) or, with a [`jwks_uri`](Self::jwks_uri), is blank, a minimum above its maximum, a time of zero, no HTTP client.
    pub fn build(self) -> Result<Issuer, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        // Plain http for the keys only if the issuer itself is on this machine.
        let plain = match self.plain {
            PlainHttp::LoopbackByDefault if !is_loopback_http(&self.identifier) => PlainHttp::Nowhere,
            plain => plain,
        };
        match &self.jwks_uri {
            // The identifier is then only compared.
            Some(url) => {
                mistakes.check(check_name("issuer", &self.identifier));
                mistakes.check(check_url("jwks_uri", url, plain));
            }
            None => {
                mistakes.check(check_resolvable_identifier("issuer", &self.identifier, self.plain));
            }
        }
        self.policy.check(&mut mistakes);
        let fetch = mistakes.check(self.fetch.map_or_else(default_fetch, Ok));
        mistakes.finish()?;
        let Some(fetch) = fetch else { return Err(no_fetch().into()) };
        let identifier: Arc<str> = self.identifier.into();
        let clock = Arc::clone(&self.clock);
        let client = Arc::new(IssuerClient { identifier: Arc::clone(&identifier), fetch, clock, plain });
        let locator = EndpointLocator::new(EndpointKind::Jwks, self.jwks_uri);
        let source = KeySource { client: Arc::clone(&client), locator, fetched_from: Mutex::new(None) };
        let label = IssuerLabel { identifier: &identifier, in_metrics: self.in_metrics };
        let keys = RemoteKeys::new(label, Box::new(source), self.policy, self.clock, self.initial_keys);
        let keys = IssuerKeys::Remote(Arc::new(keys));
        Ok(Issuer { identifier, keys, client: Some(client), in_metrics: self.in_metrics })
    }

    /// Builds the issuer and fetches its keys.
    ///
    /// # Errors
    /// Those of [`build`](Self::build) as [`DiscoveryError::Config`]. [`DiscoveryError::OtherIssuer`] if the metadata names
    /// another issuer. [`DiscoveryError::Unavailable`] if the issuer can't be reached or has no usable keys now.
    pub async fn discover(self) -> Result<Issuer, DiscoveryError> {
        let issuer = self.build().map_err(DiscoveryError::Config)?;
        match issuer.warm_up().await {
            Ok(()) => Ok(issuer),
            Err(cause) => Err(DiscoveryError::of(issuer.identifier(), cause)),
        }
    }
}

impl RefreshPolicy {
    fn check(&self, mistakes: &mut MistakeCollector) {
        if self.min_lifetime > self.max_lifetime || self.min_lifetime.is_zero() {
            let found = format!("{:?} to {:?}", self.min_lifetime, self.max_lifetime);
            mistakes.add("lifetime_bounds", found, "give a minimum above zero and not above the maximum");
        }
        for (setting, value) in [
            ("max_stale", self.max_stale),
            ("unknown_kid_cooldown", self.unknown_kid_cooldown),
            ("refresh_timeout", self.refresh_timeout),
        ] {
            if value.is_zero() {
                mistakes.add(setting, "it is zero", "give a time above zero");
            }
        }
    }
}

/// Where the keys are, and how to fetch them.
struct KeySource {
    client: Arc<IssuerClient>,
    locator: EndpointLocator,
    /// URL of the last valid key set. An `ETag` is valid only there (RFC 9110 §8.8.3).
    fetched_from: Mutex<Option<String>>,
}

impl FetchKeys for KeySource {
    fn fetch_keys(
        &self,
        etag: Option<HeaderValue>,
    ) -> Pin<Box<dyn Future<Output = Result<FetchedKeys, FetchError>> + Send + '_>> {
        Box::pin(async move {
            let url = self.locator.locate(&self.client).await?;
            let etag = etag.filter(|_| lock(&self.fetched_from).as_ref() == Some(&url));
            // Stale until this fetch succeeds, so that after a failure the metadata is read again: the key set may have moved.
            let mark = self.locator.mark_stale();
            let response = discovery::get(&*self.client.fetch, &url, etag.as_ref())
                .await
                .map_err(|error| error.at(&key_set_url(&url)))?;
            let fetched = parse_response(&response, &url, etag.is_some())?;
            self.locator.confirm(mark);
            *lock(&self.fetched_from) = Some(url);
            Ok(fetched)
        })
    }
}

fn parse_response(response: &Response<Bytes>, url: &str, sent_etag: bool) -> Result<FetchedKeys, FetchError> {
    let max_age = max_age(response.headers()).map(|max_age| max_age.saturating_sub(age(response.headers())));
    match response.status() {
        StatusCode::NOT_MODIFIED if sent_etag => Ok(FetchedKeys::Unchanged { max_age }),
        StatusCode::OK => {
            let keys = KeySet::from_fetched(response.body(), MAX_KEYS).map_err(|reason| {
                FetchError::new(format!("the key set is unusable: {reason} ({})", key_set_url(url)))
            })?;
            let etag = response.headers().get(header::ETAG).cloned();
            Ok(FetchedKeys::New { keys, json: response.body().clone(), etag, max_age })
        }
        _ => Err(discovery::status_error(&key_set_url(url), response)),
    }
}

/// Names the URL of a key set in an error, without its query, which may contain a secret.
fn key_set_url(url: &str) -> String {
    format!("the key set's URL {}", quoted(url.split(['?', '#']).next().unwrap_or_default()))
}

/// Returns the `max-age` of `Cache-Control` (RFC 9111 §5.2.2), or zero for `no-store` and `no-cache`. The caller applies its
/// bounds.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in values.flat_map(|value| value.split(',')).map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => max_age = value.trim_matches('"').parse().ok().map(Duration::from_secs),
            _ => {}
        }
    }
    max_age
}

/// Returns the time that the response spent in caches (RFC 9111 §5.1). A malformed or repeated `Age` is ignored.
fn age(headers: &HeaderMap) -> Duration {
    let mut values = headers.get_all(header::AGE).iter();
    let age = match (values.next(), values.next()) {
        (Some(value), None) => seconds(value),
        _ => None,
    };
    age.unwrap_or_default()
}

impl fmt::Debug for IssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerBuilder")
            .field("identifier", &self.identifier)
            .field("jwks_uri", &self.jwks_uri)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Maximum number of keys in a fetched key set. No issuer needs more.
const MAX_KEYS: usize = 100;
