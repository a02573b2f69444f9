//! [`HttpClient`]: reqwest with rustls, with limits of time and size.
//!
//! *In*: a request. *Out*: its whole response, or an error without the request's URL.

use std::{
    cell::Cell,
    error::Error,
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use reqwest::{Certificate, Proxy, redirect};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Fetch, FetchError, FetchFuture, MAX_BODY_BYTES, SentOnce,
    public_addresses::{LoopbackAddresses, NotPublicAddress, PublicAddresses},
};
use crate::config_error::{ConfigError, ConfigMistake, MistakeCollector};

/// An HTTP and HTTPS client with limits of time and size. Clones share its open connections.
///
/// A server may close an idle connection at the moment at which a request is sent over it. Such a request is sent once more if
/// the connection was reused and ended before the head of the response (its status line and all header lines) was complete,
/// within the same [`timeout`](HttpClientBuilder::timeout). Part of the head may have arrived, and the server may have processed
/// the request. This includes POST requests, so send no request that must not arrive twice. A response whose head is complete is
/// never requested again.
///
/// The crate's own introspection requests with a client assertion of
/// [`private_key_jwt`](crate::verify::ClientAuthentication::private_key_jwt) are sent once, because a server may accept each assertion only
/// once. With [`with_reused_assertions`](crate::verify::ClientAuthentication::with_reused_assertions) they are repeated too.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    timeout: Duration,
    max_body_bytes: usize,
    /// `None` if every address is accepted.
    addresses: Option<PublicAddresses>,
}

impl HttpClient {
    /// Returns a client that trusts the certificate authorities of the machine.
    ///
    /// # Errors
    /// The machine's TLS can't be set up.
    pub fn new() -> Result<Self, ConfigError> {
        Self::builder().build()
    }

    /// Returns a builder for further settings.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_oauth::{Issuer, fetch::HttpClient};
    ///
    /// let client = HttpClient::builder()
    ///     .root_certificates(std::fs::read("company-ca.pem")?)
    ///     .proxy("http://proxy.example.com:3128")
    ///     .timeout(Duration::from_secs(3))
    ///     .build()?;
    /// let issuer = Issuer::builder("https://auth.example.com").fetch(client).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder {
            root_certificates: Vec::new(),
            proxy: None,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            max_body_bytes: MAX_BODY_BYTES,
            addresses: None,
        }
    }
}

/// Builder for an [`HttpClient`]. [`build`](Self::build) reports every mistake at once.
#[must_use]
pub struct HttpClientBuilder {
    root_certificates: Vec<Vec<u8>>,
    proxy: Option<String>,
    connect_timeout: Duration,
    timeout: Duration,
    max_body_bytes: usize,
    addresses: Option<LoopbackAddresses>,
}

impl HttpClientBuilder {
    /// Also trusts these certificate authorities: one or more certificates in PEM.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// Sends all requests through this HTTP proxy: `http://host:port`. Default: none; variables such as
    /// `HTTPS_PROXY` are ignored.
    pub fn proxy(self, url: impl Into<String>) -> Self {
        Self { proxy: Some(url.into()), ..self }
    }

    /// Maximum time to open a connection. Default: 2 s.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// Maximum time from sending a request to the end of its response, with a second attempt. Default: 5 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Maximum size of a response's body, in bytes. A larger one is an error, but the larger body of a response with an error
    /// status is left out: the status says enough. Default and maximum: 512 KiB.
    pub fn max_body_bytes(self, max: usize) -> Self {
        Self { max_body_bytes: max.min(MAX_BODY_BYTES), ..self }
    }

    /// Connects only to public addresses, for URLs that another party chose. Default: every address.
    ///
    /// A host is refused if one of its addresses is of special use (RFC 6890): loopback, private, link-local, shared,
    /// documentation, multicast, or an IPv6 address with an IPv4 address in it, such as NAT64. The address is checked when the
    /// connection is opened, so a name can't change it after the check. The error's cause is a
    /// [`NotPublicAddress`](super::NotPublicAddress).
    pub fn public_addresses_only(self) -> Self {
        Self { addresses: Some(LoopbackAddresses::Refused), ..self }
    }

    /// As [`public_addresses_only`](Self::public_addresses_only), but also connects to loopback addresses, for tests.
    pub fn public_and_loopback_addresses_only(self) -> Self {
        Self { addresses: Some(LoopbackAddresses::Accepted), ..self }
    }

    /// Builds the client.
    ///
    /// # Errors
    /// Every mistake at once: certificates that are not PEM, a proxy that is not an `http` or `https` URL, a proxy
    /// that would resolve names beside `public_addresses_only`, a timeout of zero, or a machine whose TLS can't be set up.
    pub fn build(self) -> Result<HttpClient, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        let mut client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Another crate in the program may have turned these on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .pool_idle_timeout(IDLE_TIMEOUT)
            .connect_timeout(self.connect_timeout)
            .connector_layer(ConnectionMarkLayer)
            .user_agent(concat!("tower-oauth/", env!("CARGO_PKG_VERSION")));
        for pem in &self.root_certificates {
            if let Some(certificates) = mistakes.check(certificates(pem)) {
                client = client.tls_certs_merge(certificates);
            }
        }
        if let Some(proxy) = self.proxy.as_deref().and_then(|url| mistakes.check(proxy(url))) {
            client = client.proxy(proxy);
        }
        if self.proxy.is_some() && self.addresses.is_some() {
            let found = "the proxy resolves the names, so their addresses can't be checked";
            mistakes.add("public_addresses_only", found, "use no proxy, or let the proxy refuse such addresses");
        }
        let addresses = self.addresses.map(PublicAddresses::new);
        if let Some(addresses) = &addresses {
            client = client.dns_resolver(Arc::new(addresses.clone()));
        }
        for (setting, timeout) in [("connect_timeout", self.connect_timeout), ("timeout", self.timeout)] {
            if timeout.is_zero() {
                mistakes.add(setting, "it is zero", "give a time above zero");
            }
        }
        mistakes.finish()?;
        let client = client.build().map_err(|error| {
            ConfigMistake::new("http client", error.to_string(), "check the TLS configuration of the machine")
        })?;
        Ok(HttpClient { client, timeout: self.timeout, max_body_bytes: self.max_body_bytes, addresses })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, ConfigMistake> {
    let found = match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => return Ok(certificates),
        Ok(_) => "there is no certificate".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(ConfigMistake::new("root_certificates", found, "give one or more certificates in PEM"))
}

fn proxy(url: &str) -> Result<Proxy, ConfigMistake> {
    let change = "give a URL such as http://proxy.example.com:3128";
    // The URL is not quoted, because it may contain a password.
    let has_scheme = url.starts_with("http://") || url.starts_with("https://");
    let proxy = Proxy::all(url).ok().filter(|_| has_scheme);
    proxy.ok_or_else(|| ConfigMistake::new("proxy", "it is not an http or https URL", change))
}

impl fmt::Debug for HttpClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientBuilder")
            .field("root_certificates", &self.root_certificates.len())
            .field("proxy", &self.proxy.as_ref().map(|_| "[redacted]"))
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("addresses", &self.addresses)
            .finish()
    }
}

impl Fetch for HttpClient {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        let this = self.clone();
        FetchFuture::new(async move {
            let late = |_| Err(FetchError::new(LATE));
            tokio::time::timeout(this.timeout, this.send(request)).await.unwrap_or_else(late)
        })
    }
}

impl HttpClient {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        let client = &self.client;
        let once = request.extensions().get::<SentOnce>().is_some();
        let request =
            reqwest::Request::try_from(request).map_err(|error| fetch_error("the request is malformed", error))?;
        let checked = self.addresses.as_ref().map_or(Ok(()), |addresses| addresses.check_literal(request.url()));
        checked.map_err(|error| FetchError::new(error.to_string()).with_source(error))?;
        let again = if once { None } else { request.try_clone() };
        let incoming = match (again, execute(client, request).await) {
            (Some(again), (Err(error), ConnectionUse::Reused)) if is_lost(&error) => execute(client, again).await.0,
            (_, (response, _)) => response,
        };
        read(incoming.map_err(|error| fetch_error("the connection failed", error))?, self.max_body_bytes).await
    }
}

/// Reads the whole response. A body that is too large is left out if the status is that of an error: the status counts.
async fn read(mut incoming: reqwest::Response, max_body_bytes: usize) -> Result<Response<Bytes>, FetchError> {
    let body = match read_body(&mut incoming, max_body_bytes).await {
        Err(error) if error.is_unreadable() && !incoming.status().is_success() => Bytes::new(),
        body => body?,
    };
    let mut response = Response::new(body);
    *response.status_mut() = incoming.status();
    *response.headers_mut() = std::mem::take(incoming.headers_mut());
    Ok(response)
}

async fn read_body(incoming: &mut reqwest::Response, max_body_bytes: usize) -> Result<Bytes, FetchError> {
    if incoming.content_length().is_some_and(|length| length > max_body_bytes as u64) {
        return Err(FetchError::oversized());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) =
        incoming.chunk().await.map_err(|error| fetch_error("the response was interrupted", error))?
    {
        if body.len() + chunk.len() > max_body_bytes {
            return Err(FetchError::oversized());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn fetch_error(description: &str, error: reqwest::Error) -> FetchError {
    // Without the URL, whose query may contain a secret.
    let error = error.without_url();
    let description = match NotPublicAddress::among_causes(&error) {
        Some(not_public) => not_public.to_string(),
        None if error.is_timeout() => LATE.to_owned(),
        None => description.to_owned(),
    };
    FetchError::new(description).with_source(error)
}

/// Sends the request once. Returns also whether it was sent over a reused connection.
async fn execute(
    client: &reqwest::Client,
    request: reqwest::Request,
) -> (Result<reqwest::Response, reqwest::Error>, ConnectionUse) {
    let sending = async {
        let response = client.execute(request).await;
        (response, CONNECTION.with(Cell::get))
    };
    CONNECTION.scope(Cell::new(ConnectionUse::Reused), sending).await
}

/// True if the server closed the connection before the end of the response's head. hyper has no code for that which reqwest
/// passes on, so its text is compared.
fn is_lost(error: &reqwest::Error) -> bool {
    if !error.is_request() || error.is_timeout() || error.is_connect() {
        return false;
    }
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            return matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
        }
        if cause.to_string() == "connection closed before message completed" {
            return true;
        }
        next = cause.source();
    }
    false
}

tokio::task_local! {
    /// The connection of the request that this task sends.
    static CONNECTION: Cell<ConnectionUse>;
}

/// Whether a request opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionUse {
    Reused,
    /// The request opened a connection. Perhaps another one became free earlier and was used.
    Opened,
}

/// Marks each request that opens a connection. reqwest does not return whether a connection was reused.
#[derive(Debug, Clone, Copy)]
struct ConnectionMarkLayer;

/// The service of [`ConnectionMarkLayer`].
#[derive(Debug, Clone)]
struct ConnectionMark<S> {
    connector: S,
}

impl<S> Layer<S> for ConnectionMarkLayer {
    type Service = ConnectionMark<S>;

    fn layer(&self, connector: S) -> ConnectionMark<S> {
        ConnectionMark { connector }
    }
}

impl<S: Service<R>, R> Service<R> for ConnectionMark<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> S::Future {
        // The request's own task calls the connector, and only if no idle connection is there.
        CONNECTION.try_with(|connection| connection.set(ConnectionUse::Opened)).ok();
        self.connector.call(target)
    }
}

const LATE: &str = "no response in time";
/// Some servers, among them Node's, close a connection that was idle for five seconds. A request that is sent at that moment
/// is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
