//! The only way to the network.
//!
//! *In*: a request to an authorization server. *Out*: its whole answer, within limits of time and size.
//!
//! [`HttpClient`] (feature `http-client`) follows no redirect, uses no proxy from the environment, unpacks no
//! compression, and reads at most 512 KiB within five seconds. Whether a URL may be asked at all is decided before.

use std::{error::Error, fmt, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};

/// The most that is read of an answer.
pub(crate) const MAX_BODY_BYTES: usize = 512 * 1024;

/// Asks an authorization server. Bring your own for another HTTP client, a proxy or a client certificate.
///
/// Your own must not follow redirects: the target of one would become the issuer.
pub trait Fetch: Send + Sync + 'static {
    /// Sends one request and reads the whole answer.
    fn fetch(&self, request: Request<Bytes>) -> Fetching;
}

/// The future of [`Fetch::fetch`].
pub struct Fetching(Pin<Box<dyn Future<Output = Result<Response<Bytes>, FetchError>> + Send>>);

impl Fetching {
    /// Wraps a future.
    pub fn new(future: impl Future<Output = Result<Response<Bytes>, FetchError>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for Fetching {
    type Output = Result<Response<Bytes>, FetchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetching").finish_non_exhaustive()
    }
}

impl<F: Fetch + ?Sized> Fetch for Arc<F> {
    fn fetch(&self, request: Request<Bytes>) -> Fetching {
        (**self).fetch(request)
    }
}

/// Why there is no answer that can be used.
#[derive(Debug, Clone)]
pub struct FetchError {
    what: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl FetchError {
    /// In a few words, without secrets: they may be logged.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(feature = "http-client")]
pub use self::client::HttpClient;

#[cfg(feature = "http-client")]
mod client {
    use std::time::Duration;

    use bytes::{Bytes, BytesMut};
    use http::{Request, Response};

    use super::{Fetch, FetchError, Fetching, MAX_BODY_BYTES};
    use crate::error::{ConfigError, ConfigMistake};

    const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
    /// Some servers close a connection that was idle for five seconds, Node's among them. A question that is sent at that
    /// very moment is lost, and can't be sent again unasked.
    const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

    /// A hardened HTTPS client. Connections are kept; clones share them.
    #[derive(Debug, Clone)]
    pub struct HttpClient {
        client: reqwest::Client,
    }

    impl HttpClient {
        /// Trusts the certificates that the machine trusts.
        ///
        /// # Errors
        /// The machine's TLS can't be set up.
        pub fn new() -> Result<Self, ConfigError> {
            let client = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                // Another crate in the program may have turned these on.
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate()
                .pool_idle_timeout(IDLE_TIMEOUT)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TOTAL_TIMEOUT)
                .user_agent(concat!("tower-oauth/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|error| {
                    ConfigMistake::new("http client", error.to_string(), "check the machine's TLS set-up")
                })?;
            Ok(Self { client })
        }
    }

    impl Fetch for HttpClient {
        fn fetch(&self, request: Request<Bytes>) -> Fetching {
            let client = self.client.clone();
            Fetching::new(async move { ask(&client, request).await })
        }
    }

    async fn ask(client: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        let failed = |what: &str, error: reqwest::Error| {
            let what = if error.is_timeout() { "no answer in time" } else { what };
            // Without the URL: its query is none of the log's business.
            FetchError::new(what).with_source(error.without_url())
        };
        let request = reqwest::Request::try_from(request).map_err(|error| failed("the request is malformed", error))?;
        let mut answer = client.execute(request).await.map_err(|error| failed("the connection failed", error))?;
        if answer.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(FetchError::new("the answer is too large"));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed("the answer broke off", error))? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(FetchError::new("the answer is too large"));
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}
