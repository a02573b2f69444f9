//! How an issuer is reached, and where its endpoints are.
//!
//! *In*: an endpoint's URL, or the issuer's metadata. *Out*: the URL, which is asked for again now and then.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Plain,
    discovery::{self, Endpoint},
};
use crate::{
    clock::Clock,
    error::ConfigError,
    fetch::{Fetch, FetchError},
};

/// How long what the metadata said is taken for true.
const METADATA_HOLDS: Duration = Duration::from_secs(3600);
/// How long metadata is waited for that was there before: much less than an attempt may take.
const METADATA_PATIENCE: Duration = Duration::from_millis(1500);

/// An issuer on the network.
pub(crate) struct Site {
    pub(crate) identifier: Arc<str>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) plain: Plain,
}

/// Where one endpoint is.
pub(crate) struct Place {
    endpoint: Endpoint,
    given: Option<String>,
    discovered: Mutex<Option<Discovered>>,
}

/// What the metadata said, and when by [`Clock::elapsed`], as long as it is to be believed.
struct Discovered {
    url: String,
    since: Option<Duration>,
}

/// Since when the endpoint's URL was believed, before somebody began to doubt it.
pub(crate) struct Doubt(Option<Duration>);

impl Place {
    /// At `given`; without it the metadata says where.
    pub(crate) fn new(endpoint: Endpoint, given: Option<String>) -> Self {
        Self { endpoint, given, discovered: Mutex::new(None) }
    }

    /// The endpoint's URL. The metadata is read again now and then; neither its absence nor its silence costs anybody an
    /// endpoint that is still where it was.
    pub(crate) async fn locate(&self, site: &Site) -> Result<String, FetchError> {
        let now = site.clock.elapsed();
        if let Some(url) = self.known(now) {
            return Ok(url);
        }
        let known = lock(&self.discovered).as_ref().map(|discovered| discovered.url.clone());
        let discovering = discovery::locate(&*site.fetch, &site.identifier, self.endpoint, site.plain);
        let url = match known {
            None => discovering.await?,
            Some(known) => tokio::select! {
                discovered = discovering => discovered.unwrap_or(known),
                () = site.clock.sleep(METADATA_PATIENCE) => known,
            },
        };
        *lock(&self.discovered) = Some(Discovered { url: url.clone(), since: Some(now) });
        Ok(url)
    }

    /// The URL, if nobody needs to be asked for it.
    pub(crate) fn known(&self, now: Duration) -> Option<String> {
        if let Some(url) = &self.given {
            return Some(url.clone());
        }
        let discovered = lock(&self.discovered);
        let Discovered { url, since: Some(since) } = discovered.as_ref()? else { return None };
        (now.saturating_sub(*since) < METADATA_HOLDS).then(|| url.clone())
    }

    /// From now on the metadata is asked again, unless [`settle`](Self::settle) takes it back.
    pub(crate) fn doubt(&self) -> Doubt {
        Doubt(lock(&self.discovered).as_mut().and_then(|discovered| discovered.since.take()))
    }

    /// From now on the metadata is asked again, unless it was read within the last `pause`: it would say the same.
    pub(crate) fn doubt_unless_new(&self, now: Duration, pause: Duration) {
        if let Some(Discovered { since, .. }) = lock(&self.discovered).as_mut() {
            *since = since.filter(|since| now.saturating_sub(*since) < pause);
        }
    }

    /// The endpoint is where it was.
    pub(crate) fn settle(&self, Doubt(since): Doubt) {
        if let Some(discovered) = lock(&self.discovered).as_mut() {
            discovered.since = discovered.since.max(since);
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way to the network where nobody gave another.
pub(crate) fn default_fetch() -> Result<Arc<dyn Fetch>, ConfigError> {
    #[cfg(feature = "http-client")]
    return Ok(Arc::new(crate::fetch::HttpClient::new()?));
    #[cfg(not(feature = "http-client"))]
    {
        let change = "turn on the feature http-client, or give a Fetch of your own";
        Err(crate::error::ConfigMistake::new("fetch", "there is no HTTP client", change).into())
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("identifier", &self.identifier).finish_non_exhaustive()
    }
}
