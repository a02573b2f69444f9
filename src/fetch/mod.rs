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
};

use bytes::Bytes;
use http::{Request, Response};

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
}

impl FetchError {
    /// Returns an error with a short description, which is logged and must not contain a secret.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), source: None }
    }

    /// Returns the error with its cause, for logs.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
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
