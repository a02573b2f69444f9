//! HTTP requests to authorization servers. All of the crate's requests go through [`Fetch`].
//!
//! *In*: a request to an authorization server. *Out*: its whole response, within limits of time and size.
//!
//! [`HttpClient`] (feature `http-client`) follows no redirect, uses no proxy from the environment, decodes no compression,
//! and reads at most 512 KiB within five seconds. The caller decides which URLs may be fetched.

#[cfg(feature = "http-client")]
mod http_client;

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};

#[cfg(feature = "http-client")]
pub use self::http_client::{HttpClient, HttpClientBuilder};

/// Maximum size of a response body, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 512 * 1024;

/// Sends HTTP requests to an authorization server.
///
/// Implement it for another HTTP client, or to present a client certificate. An implementation must not follow redirects:
/// otherwise the target of a redirect could send keys or responses instead of the issuer. It should limit the time and
/// the size of a response.
pub trait Fetch: Send + Sync + 'static {
    /// Sends one request and reads the whole response.
    ///
    /// The future returns an error if there is no complete response. A response with an error status is not an error.
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture;
}

/// The future of [`Fetch::fetch`].
pub struct FetchFuture(Pin<Box<dyn Future<Output = Result<Response<Bytes>, FetchError>> + Send>>);

impl FetchFuture {
    /// Wraps a future.
    pub fn new(future: impl Future<Output = Result<Response<Bytes>, FetchError>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for FetchFuture {
    type Output = Result<Response<Bytes>, FetchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for FetchFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchFuture").finish_non_exhaustive()
    }
}

impl<F: Fetch + ?Sized> Fetch for Arc<F> {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        (**self).fetch(request)
    }
}

/// Why there is no usable response.
#[derive(Debug, Clone)]
pub struct FetchError {
    description: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
    retry_after: Option<Duration>,
    oversized: bool,
}

impl FetchError {
    /// Returns an error with a short description, which is logged and must not contain a secret.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), source: None, retry_after: None, oversized: false }
    }

    /// Returns the error with its cause, for logs.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// Returns the error with the time for which the server asked not to repeat the request.
    pub(crate) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// Returns the error for a response of more than [`MAX_BODY_BYTES`].
    pub(crate) fn oversized() -> Self {
        Self { oversized: true, ..Self::new("the response is too large") }
    }

    /// True if the server responded, with too large a body.
    pub(crate) fn is_oversized(&self) -> bool {
        self.oversized
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Returns the value of a header that is a number of seconds. A larger number than `u64::MAX` is the maximum.
pub(crate) fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim();
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| seconds.parse().map_or(Duration::MAX, Duration::from_secs))
}

/// Returns `Retry-After` in seconds, from 1 s to `maximum`. A date is ignored (RFC 9110 §10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, maximum: Duration) -> Option<Duration> {
    let seconds = seconds(headers.get(header::RETRY_AFTER)?)?;
    Some(seconds.clamp(Duration::from_secs(1), maximum))
}
