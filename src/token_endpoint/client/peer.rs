//! The sender of a request, as far as the application knows it.
//!
//! *In*: an address or a text from the application. *Out*: a key to count failed authentications by (RFC 6749 §2.3.1).

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The sender of a request: an extension that the application adds, so that failed authentications of other senders don't count
/// against it.
///
/// Without it, failures are counted by client id only. Take it from the connection, or from a header that your own proxy
/// overwrites, never from a header that a client can write. Behind a proxy, the connection's address is that of the proxy.
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::{
///     Router,
///     extract::{ConnectInfo, Request},
///     middleware::{Next, from_fn},
///     response::Response,
/// };
/// use tower_oauth::token_endpoint::{Peer, TokenEndpoint};
///
/// async fn add_peer(ConnectInfo(address): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
///     request.extensions_mut().insert(Peer::from(address.ip()));
///     next.run(request).await
/// }
///
/// fn app(endpoint: TokenEndpoint) -> Router {
///     Router::new().fallback_service(endpoint).layer(from_fn(add_peer))
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Peer(String);

impl Peer {
    /// Returns a sender with this name, such as the address that the proxy reports.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name: of an address, the part that is counted.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<IpAddr> for Peer {
    /// Returns the sender with this address. Of an IPv6 address only the first 64 bits count, because one sender usually has all
    /// addresses that begin with them.
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Peer {
    /// Shows no address, which is personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}
