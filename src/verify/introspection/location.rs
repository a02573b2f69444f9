//! The search for the introspection endpoint in the issuer's metadata (RFC 8414 §2, §3).
//!
//! *In*: the issuer. *Out*: the endpoint's URL, or why it is not known yet.
//!
//! A request waits for a short time only. The search goes on without it, because each of the well-known URLs may take its whole
//! timeout.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{runtime::Handle, sync::OwnedMutexGuard};

use super::IntrospectionRules;
use crate::{clock::Moment, fetch::FetchError, sync::lock};

/// The search for the endpoint in the issuer's metadata.
#[derive(Default)]
pub(super) struct LocationState {
    /// Held by the search that reads the metadata.
    running: Arc<tokio::sync::Mutex<()>>,
    /// The last failure and its time.
    failed: Mutex<Option<(Moment, FetchError)>>,
}

impl LocationState {
    /// Returns the last failure if it is younger than `age`.
    fn failure_within(&self, age: Duration, now: &Moment) -> Option<FetchError> {
        lock(&self.failed).as_ref().filter(|(since, _)| since.age(now) < age).map(|(_, error)| error.clone())
    }

    fn record(&self, now: Moment, error: Option<FetchError>) {
        *lock(&self.failed) = error.map(|error| (now, error));
    }
}

impl IntrospectionRules {
    /// Returns the endpoint's URL. One request at a time reads the metadata. The others wait for it, unless the last attempt
    /// failed.
    pub(super) async fn locate(self: &Arc<Self>) -> Result<String, FetchError> {
        let now = || Moment::now(&*self.issuer_client.clock);
        if let Some(url) = self.locator.known(&now()) {
            return Ok(url);
        }
        if self.location.running.try_lock().is_err() {
            // Another request reads the metadata.
            if let Some(url) = self.locator.stale() {
                return Ok(url);
            }
            if let Some(error) = self.location.failure_within(RECENT_FAILURE, &now()) {
                return Err(error);
            }
        }
        let late = || FetchError::new("the issuer's metadata did not arrive in time");
        let timeout = || self.issuer_client.clock.sleep(LOCATING_TIMEOUT);
        let one_at_a_time = tokio::select! {
            biased;
            guard = Arc::clone(&self.location.running).lock_owned() => guard,
            () = timeout() => return Err(late()),
        };
        if let Some(url) = self.locator.known(&now()) {
            return Ok(url);
        }
        if let Some(error) = self.location.failure_within(LOCATING_PAUSE, &now()) {
            return Err(error);
        }
        let mut search = Search(Some(Box::pin(Arc::clone(self).search(one_at_a_time))));
        tokio::select! {
            located = &mut search => return located,
            () = timeout() => {}
        }
        // Recorded before the search goes on, so that no other token waits for the rest of it.
        self.location.record(now(), Some(late()));
        drop(search);
        Err(late())
    }

    /// Reads the metadata, and records the result. It ends by the timeouts of the well-known URLs.
    async fn search(self: Arc<Self>, _one_at_a_time: OwnedMutexGuard<()>) -> Result<String, FetchError> {
        let located = self.locator.locate(&self.issuer_client).await;
        self.location.record(Moment::now(&*self.issuer_client.clock), located.as_ref().err().cloned());
        located
    }
}

/// A search that goes on in the background if the request that began it ends earlier.
struct Search(Option<Pin<Box<dyn SearchFuture>>>);

trait SearchFuture: Future<Output = Result<String, FetchError>> + Send {}

impl<F: Future<Output = Result<String, FetchError>> + Send> SearchFuture for F {}

impl Future for Search {
    type Output = Result<String, FetchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(search) = &mut self.0 else { return Poll::Pending };
        let located = ready!(search.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(located)
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if let (Some(search), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(search);
        }
    }
}

/// Minimum time between two attempts to locate the endpoint.
const LOCATING_PAUSE: Duration = Duration::from_secs(1);
/// For how long a failure also refuses the tokens that would wait for the next attempt.
const RECENT_FAILURE: Duration = Duration::from_secs(10);
/// Maximum time that a token waits for the endpoint: less than a whole introspection may take.
const LOCATING_TIMEOUT: Duration = Duration::from_secs(2);
