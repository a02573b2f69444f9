//! How an issuer is reached, and where its endpoints are.
//!
//! *In*: an endpoint's URL, or the issuer's metadata. *Out*: the URL. The metadata is read again every hour.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::discovery::{self, EndpointKind};
use crate::{
    clock::{Clock, Moment},
    config_error::{ConfigError, ConfigMistake},
    fetch::{Fetch, FetchError},
    sync::lock,
    url::PlainHttp,
};

/// How to send requests to an issuer.
pub(crate) struct IssuerClient {
    pub(crate) identifier: Arc<str>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) plain: PlainHttp,
}

/// Locates one endpoint.
pub(crate) struct EndpointLocator {
    endpoint: EndpointKind,
    /// The URL from the configuration. With it the metadata is never read.
    given: Option<String>,
    discovered: Mutex<Option<Discovered>>,
}

/// A URL from the metadata.
struct Discovered {
    url: String,
    /// When it was read. `None`: the URL is stale.
    since: Option<Moment>,
}

/// When the URL was read, before it was marked as stale.
pub(crate) struct StaleMark(Option<Moment>);

impl EndpointLocator {
    /// Returns a locator that uses the URL `given`, or else the one in the metadata.
    pub(crate) fn new(endpoint: EndpointKind, given: Option<String>) -> Self {
        Self { endpoint, given, discovered: Mutex::new(None) }
    }

    /// Returns the endpoint's URL. The metadata is read again every hour. If that fails, or takes longer than
    /// [`discovery::METADATA_TIMEOUT`] in total, the known URL stays in use.
    pub(crate) async fn locate(&self, client: &IssuerClient) -> Result<String, FetchError> {
        let now = Moment::now(&*client.clock);
        if let Some(url) = self.known(&now) {
            return Ok(url);
        }
        let known = lock(&self.discovered).as_ref().map(|discovered| discovered.url.clone());
        let discovering =
            discovery::locate(&*client.fetch, &*client.clock, &client.identifier, self.endpoint, client.plain);
        let url = match known {
            None => discovering.await?,
            Some(known) => tokio::select! {
                discovered = discovering => discovered.unwrap_or(known),
                () = client.clock.sleep(discovery::METADATA_TIMEOUT) => known,
            },
        };
        *lock(&self.discovered) = Some(Discovered { url: url.clone(), since: Some(now) });
        Ok(url)
    }

    /// Returns the URL if it is known and not stale.
    pub(crate) fn known(&self, now: &Moment) -> Option<String> {
        if let Some(url) = &self.given {
            return Some(url.clone());
        }
        let discovered = lock(&self.discovered);
        let Discovered { url, since: Some(since) } = discovered.as_ref()? else { return None };
        (since.age(now) < METADATA_LIFETIME).then(|| url.clone())
    }

    /// Returns the URL, also if it is stale.
    pub(crate) fn stale(&self) -> Option<String> {
        self.given.clone().or_else(|| lock(&self.discovered).as_ref().map(|discovered| discovered.url.clone()))
    }

    /// Marks the URL as stale until [`confirm`](Self::confirm).
    pub(crate) fn mark_stale(&self) -> StaleMark {
        StaleMark(lock(&self.discovered).as_mut().and_then(|discovered| discovered.since.take()))
    }

    /// Marks the URL as stale, unless the metadata was read within the last `pause`.
    pub(crate) fn mark_stale_unless_new(&self, now: &Moment, pause: Duration) {
        if let Some(Discovered { since, .. }) = lock(&self.discovered).as_mut() {
            *since = since.filter(|since| since.age(now) < pause);
        }
    }

    /// Ends what [`mark_stale`](Self::mark_stale) began: a fetch from the URL succeeded.
    pub(crate) fn confirm(&self, StaleMark(since): StaleMark) {
        if let Some(discovered) = lock(&self.discovered).as_mut() {
            // A newer time, from metadata that was read since, stays.
            discovered.since = discovered.since.or(since);
        }
    }
}

/// Returns the default HTTP client.
pub(crate) fn default_fetch() -> Result<Arc<dyn Fetch>, ConfigError> {
    #[cfg(feature = "http-client")]
    return Ok(Arc::new(crate::fetch::HttpClient::new()?));
    #[cfg(not(feature = "http-client"))]
    {
        Err(no_fetch().into())
    }
}

/// Returns the mistake of a build without an HTTP client.
pub(crate) fn no_fetch() -> ConfigMistake {
    ConfigMistake::new("fetch", "there is no HTTP client", "turn on the feature http-client, or implement Fetch")
}

impl fmt::Debug for IssuerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerClient").field("identifier", &self.identifier).finish_non_exhaustive()
    }
}

/// How long the metadata is valid.
const METADATA_LIFETIME: Duration = Duration::from_secs(3600);
