//! Issuers whose keys are fetched.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    Issuer, Keys, Plain, check_identifier, check_url,
    discovery::{self, Endpoint},
    site::{Place, Site, default_fetch, lock},
};
use crate::{
    clock::{Clock, SystemClock},
    error::{AuthError, ConfigError, ConfigMistake},
    fetch::{Fetch, FetchError},
    keys::{
        KeySet,
        remote::{FetchKeys, Fetched, Policy, RemoteKeys},
    },
    log,
};

/// More keys than any issuer needs.
const MAX_KEYS: usize = 100;

/// Collects what there is to say about an issuer whose keys are fetched.
///
/// What it does without a word:
///
/// - The key set is fresh for what its `Cache-Control` says, between one minute and one hour, and for ten minutes where
///   that is silent. At 80 % of it a background task renews it; the task ends with the last clone of the [`Issuer`].
/// - A token with an unknown `kid` causes one refresh, at most one in 30 seconds, failures included, and waits for it
///   for at most three seconds. Tokens with known keys never wait.
/// - While the issuer is down its last good set is used for 24 hours. An empty or broken set never replaces a good one.
/// - Without any usable set a token can't be judged: 503 with `Retry-After`.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use std::time::Duration;
/// use tower_oauth::Issuer;
///
/// # #[cfg(feature = "http-client")]
/// let issuer = Issuer::builder("https://auth.example.com").max_stale(Duration::from_secs(3600)).lazy()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct IssuerBuilder {
    identifier: String,
    jwks_uri: Option<String>,
    fetch: Option<Arc<dyn Fetch>>,
    clock: Arc<dyn Clock>,
    policy: Policy,
    seed: Option<KeySet>,
    plain: Plain,
}

impl IssuerBuilder {
    pub(super) fn new(identifier: impl Into<String>) -> Self {
        Self {
            identifier: identifier.into(),
            jwks_uri: None,
            fetch: None,
            clock: Arc::new(SystemClock::new()),
            policy: Policy::default(),
            seed: None,
            plain: Plain::Loopback,
        }
    }

    /// Where the key set is; without it the issuer's metadata says so (RFC 8414 §3).
    pub fn jwks_uri(self, url: impl Into<String>) -> Self {
        Self { jwks_uri: Some(url.into()), ..self }
    }

    /// Another way to the network.
    pub fn fetch(self, fetch: impl Fetch) -> Self {
        Self { fetch: Some(Arc::new(fetch)), ..self }
    }

    /// Keys to begin with, from a file or an earlier run; they are used until the issuer's own are here.
    pub fn seed(self, keys: KeySet) -> Self {
        Self { seed: Some(keys), ..self }
    }

    /// How long a set is fresh where the issuer doesn't say; ten minutes unless said.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.lifetime = lifetime;
        self
    }

    /// The bounds within which `Cache-Control` is honoured; one minute and one hour unless said.
    pub fn lifetime_bounds(mut self, shortest: Duration, longest: Duration) -> Self {
        (self.policy.min_lifetime, self.policy.max_lifetime) = (shortest, longest);
        self
    }

    /// How long a set is used that can't be renewed; 24 hours unless said. A withdrawn key lives no longer than this.
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.policy.max_stale = max_stale;
        self
    }

    /// The least time between two refreshes that unknown `kid`s cause; 30 seconds unless said.
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.policy.cool_down = cool_down;
        self
    }

    /// How long a request waits for a refresh; three seconds unless said.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.policy.patience = patience;
        self
    }

    /// Another source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Accepts plain `http` for this issuer and its keys, whatever the host.
    ///
    /// Whoever is on the way to it can then put in keys of his own. For a closed test network.
    pub fn danger_accept_plain_http(self) -> Self {
        Self { plain: Plain::Anywhere, ..self }
    }

    /// The issuer, without any I/O yet: the keys are fetched when the first token needs them, or by
    /// [`Issuer::warm_up`].
    ///
    /// # Errors
    /// All mistakes at once: URLs that are not `https`, bounds that contradict each other, no way to the network.
    pub fn lazy(self) -> Result<Issuer, ConfigError> {
        let mut mistakes = Vec::new();
        let mut collect = |checked: Result<(), ConfigError>| {
            if let Err(error) = checked {
                mistakes.extend(error.into_mistakes());
            }
        };
        collect(check_identifier("issuer", &self.identifier, self.plain));
        // Plain http for the keys only where the issuer itself is on this machine.
        let plain = if self.plain == Plain::Loopback && self.identifier.starts_with("https:") {
            Plain::Nowhere
        } else {
            self.plain
        };
        if let Some(url) = &self.jwks_uri {
            collect(check_url("jwks_uri", url, plain));
        }
        collect(self.policy.check());
        let fetch = match self.fetch.map_or_else(default_fetch, Ok) {
            Ok(fetch) => fetch,
            Err(error) => return Err(error.and(mistakes)),
        };
        ConfigError::unless_empty(mistakes)?;
        let identifier: Arc<str> = self.identifier.into();
        let clock = Arc::clone(&self.clock);
        let site = Arc::new(Site { identifier: Arc::clone(&identifier), fetch, clock, plain });
        let place = Place::new(Endpoint::Jwks, self.jwks_uri);
        let source = Source { site: Arc::clone(&site), place, fetched_from: Mutex::new(None) };
        let keys = RemoteKeys::new(Arc::clone(&identifier), Box::new(source), self.policy, self.clock, self.seed);
        Ok(Issuer { identifier, keys: Keys::Remote(Arc::new(keys)), site: Some(site) })
    }

    /// The issuer, with its keys fetched.
    ///
    /// # Errors
    /// What [`lazy`](Self::lazy) refuses, and an issuer that can't be reached or has no usable keys now.
    pub async fn discover(self) -> Result<Issuer, DiscoveryError> {
        let issuer = self.lazy().map_err(DiscoveryError::Config)?;
        match issuer.warm_up().await {
            Ok(()) => Ok(issuer),
            Err(cause) => Err(DiscoveryError::Unavailable { issuer: issuer.identifier().to_owned(), cause }),
        }
    }
}

/// Why an issuer could not be discovered: whether to mend the configuration or to try again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The settings can't work.
    Config(ConfigError),
    /// The issuer can't be reached, or has no usable metadata or keys now.
    #[non_exhaustive]
    Unavailable {
        /// The issuer's identifier.
        issuer: String,
        /// What stands in the way.
        cause: AuthError,
    },
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Unavailable { issuer, cause } => {
                write!(f, "no keys could be fetched for {issuer:?}")?;
                if let Some(causes) = log::causes(cause) {
                    write!(f, ": {causes}")?;
                }
                f.write_str("; check the URL and that the issuer is up, or start without it (`lazy`)")
            }
        }
    }
}

impl std::error::Error for DiscoveryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Unavailable { cause, .. } => Some(cause),
        }
    }
}

impl Policy {
    fn check(&self) -> Result<(), ConfigError> {
        let mut mistakes = Vec::new();
        if self.min_lifetime > self.max_lifetime || self.min_lifetime.is_zero() {
            let change = "give a shortest lifetime above zero and not above the longest";
            mistakes.push(ConfigMistake::new(
                "lifetime_bounds",
                format!("{:?} to {:?}", self.min_lifetime, self.max_lifetime),
                change,
            ));
        }
        for (setting, value) in
            [("max_stale", self.max_stale), ("cool_down", self.cool_down), ("patience", self.patience)]
        {
            if value.is_zero() {
                mistakes.push(ConfigMistake::new(setting, "it is zero", "give a time above zero"));
            }
        }
        ConfigError::unless_empty(mistakes)
    }
}

/// Where the keys are, and how to get there.
struct Source {
    site: Arc<Site>,
    place: Place,
    /// Where the last good set came from: an `ETag` means something there only (RFC 9110 §8.8.3).
    fetched_from: Mutex<Option<String>>,
}

impl FetchKeys for Source {
    fn fetch_keys(
        &self,
        etag: Option<HeaderValue>,
    ) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + '_>> {
        Box::pin(async move {
            let url = self.place.locate(&self.site).await?;
            let etag = etag.filter(|_| lock(&self.fetched_from).as_ref() == Some(&url));
            // Until it has succeeded, whatever happens: the set may have moved, and the metadata is asked again.
            let doubt = self.place.doubt();
            let answer = discovery::get(&*self.site.fetch, &url, etag.as_ref()).await?;
            let fetched = judge(&answer, etag.is_some())?;
            self.place.settle(doubt);
            *lock(&self.fetched_from) = Some(url);
            Ok(fetched)
        })
    }
}

fn judge(answer: &Response<Bytes>, had_one: bool) -> Result<Fetched, FetchError> {
    let max_age = max_age(answer.headers());
    match answer.status() {
        StatusCode::NOT_MODIFIED if had_one => Ok(Fetched::Unchanged { max_age }),
        StatusCode::OK => {
            let keys = KeySet::from_fetched(answer.body(), MAX_KEYS)
                .map_err(|reason| FetchError::new(format!("the key set is unusable: {reason}")))?;
            let etag = answer.headers().get(header::ETAG).cloned();
            Ok(Fetched::New { keys, json: answer.body().clone(), etag, max_age })
        }
        status => Err(FetchError::new(format!("the key set's URL answered {}", status.as_u16()))),
    }
}

/// `Cache-Control` (RFC 9111 §5.2.2): `max-age`, or zero where nothing may be kept; the bounds have the last word.
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

impl fmt::Debug for IssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerBuilder")
            .field("identifier", &self.identifier)
            .field("jwks_uri", &self.jwks_uri)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
