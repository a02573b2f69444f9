//! HTTP requests to authorization servers. All of the crate's requests go through [`Fetch`].
//!
//! *In*: a request to an authorization server. *Out*: its whole response, within limits of time and size.
//!
//! [`HttpClient`] (feature `http-client`) follows no redirect, uses no proxy from the environment, decodes no compression,
//! and reads at most 512 KiB within five seconds. It repeats a request once if the server closed a reused connection before the
//! head of a response was complete, unless the request has a client assertion that the server may accept only once. The caller
//! decides which URLs may be fetched.
//!
//! The crate's requests have `Accept-Encoding: identity`. A compressed response is an error that names its `Content-Encoding`.

#[cfg(feature = "http-client")]
mod http_client;
#[cfg(feature = "http-client")]
mod public_addresses;

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
pub use self::{
    http_client::{HttpClient, HttpClientBuilder},
    public_addresses::NotPublicAddress,
};
use crate::error::quoted;

/// Maximum size of a response body, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 512 * 1024;
/// Maximum length of another issuer's identifier in an error.
const MAX_ISSUER_CHARS: usize = 200;

/// Sends HTTP requests to an authorization server.
///
/// Implement it for another HTTP client, or to present a client certificate. An implementation must not follow redirects:
/// otherwise the target of a redirect could send keys or responses instead of the issuer. It should limit the time and
/// the size of a response. It should not repeat a POST request: with
/// [`private_key_jwt`](crate::verify::ClientAuthentication::private_key_jwt) a server may accept each
/// request only once.
pub trait Fetch: Send + Sync + 'static {
    /// Sends one request and reads the whole response.
    ///
    /// The future returns an error if there is no complete response. A response with an error status is not an error.
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture;
}

/// Marks a request, by its extensions, that must not be sent twice: the server accepts its client assertion once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentOnce;

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
    mark: Option<FetchMark>,
}

/// What distinguishes an error for its caller.
#[derive(Debug, Clone)]
enum FetchMark {
    /// The server asked not to repeat the request for this time.
    RetryAfter(Duration),
    /// There was no response, or one that says that the server failed. A later one may be different.
    Temporary,
    /// The server responded, with a body that can't be read: too large, or compressed.
    Unreadable,
    /// The metadata names this issuer, and not the expected one.
    OtherIssuer(Arc<str>),
}

impl FetchError {
    /// Returns an error with a short description, which is logged and must not contain a secret.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), source: None, mark: None }
    }

    /// Returns the error with its cause, for logs.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// Returns the error with the URL or place that it is about.
    pub(crate) fn at(self, place: &str) -> Self {
        Self { description: format!("{place}: {}", self.description), ..self }
    }

    /// Returns the error with the time for which the server asked not to repeat the request.
    pub(crate) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { mark: retry_after.map(FetchMark::RetryAfter).or(self.mark), ..self }
    }

    /// Returns the error as one that says nothing about a later response, unless it is marked already.
    pub(crate) fn temporary(self) -> Self {
        Self { mark: self.mark.or(Some(FetchMark::Temporary)), ..self }
    }

    /// Returns the error for a response of more than [`MAX_BODY_BYTES`].
    pub(crate) fn oversized() -> Self {
        Self { mark: Some(FetchMark::Unreadable), ..Self::new("the response is too large") }
    }

    /// Returns the error for a response in a content coding that was not requested.
    fn encoded(coding: &str) -> Self {
        let found =
            format!("the response has the Content-Encoding {}, although identity was requested", quoted(coding));
        Self { mark: Some(FetchMark::Unreadable), ..Self::new(found) }
    }

    /// Returns the error for metadata that names the issuer `found`.
    pub(crate) fn with_other_issuer(self, found: &str) -> Self {
        let found: String = found.chars().take(MAX_ISSUER_CHARS).collect();
        Self { mark: Some(FetchMark::OtherIssuer(found.into())), ..self }
    }

    /// Returns the error with the longest `Retry-After` of `causes`, or else as temporary if one of them is, or else with the first
    /// of the other issuers. That comes last: what the server would have sent is not known before.
    pub(crate) fn with_mark_of<'e>(mut self, causes: impl Iterator<Item = &'e Self>) -> Self {
        for cause in causes {
            self.mark = match (self.mark.take(), &cause.mark) {
                (Some(FetchMark::RetryAfter(one)), Some(FetchMark::RetryAfter(other))) => {
                    Some(FetchMark::RetryAfter(one.max(*other)))
                }
                (_, Some(FetchMark::RetryAfter(pause))) => Some(FetchMark::RetryAfter(*pause)),
                (None | Some(FetchMark::OtherIssuer(_)), Some(FetchMark::Temporary)) => Some(FetchMark::Temporary),
                (None, Some(FetchMark::OtherIssuer(found))) => Some(FetchMark::OtherIssuer(Arc::clone(found))),
                (mark, _) => mark,
            };
        }
        self
    }

    /// True if the server responded, with a body that can't be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.mark, Some(FetchMark::Unreadable))
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.mark {
            Some(FetchMark::RetryAfter(pause)) => Some(pause),
            _ => None,
        }
    }

    /// Returns the issuer that the metadata names, if it is not the expected one.
    pub(crate) fn other_issuer(&self) -> Option<&str> {
        match &self.mark {
            Some(FetchMark::OtherIssuer(found)) => Some(found),
            _ => None,
        }
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

/// Sends a request that asks for a response without compression (RFC 9110 §12.5.3), and checks that the body of a successful
/// response can be read. Not every `Fetch` has a limit of the size.
pub(crate) async fn exchange(fetch: &dyn Fetch, mut request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let response = fetch.fetch(request).await?;
    if !response.status().is_success() {
        return Ok(response);
    }
    if response.body().len() > MAX_BODY_BYTES {
        return Err(FetchError::oversized());
    }
    let codings = response.headers().get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    match codings.map(<[u8]>::trim_ascii).find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
    {
        Some(coding) => Err(FetchError::encoded(&String::from_utf8_lossy(coding))),
        None => Ok(response),
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
