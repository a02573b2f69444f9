//! Requests that another site made with the user's cookie (RFC 6750 §5.3).
//!
//! *In*: the head of a request whose token came from a cookie. *Out*: nothing, or the refusal.
//!
//! The algorithm is that of `CrossOriginProtection` in Go's `net/http`: browsers say in `Sec-Fetch-Site`, or in `Origin`, which
//! site made a request. A request with neither comes from no current browser. The scheme is *not* compared, because a server
//! behind a proxy doesn't know its own.

use http::{HeaderMap, HeaderName, Method, header, request::Parts};

use crate::{
    error::{AuthError, Reason},
    url::request_authority,
};

/// The origins that may send requests with a cookie and an unsafe method, besides the server's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct CookieOrigins {
    pub(crate) trusted: Vec<String>,
    /// True if every origin may.
    pub(crate) any: bool,
}

impl CookieOrigins {
    /// Checks a request whose token came from a cookie.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), AuthError> {
        // The handshake of a WebSocket is a GET that opens more than a response.
        let safe = is_safe(&request.method) && !request.headers.contains_key(header::UPGRADE);
        if self.any || safe || self.allow(request) { Ok(()) } else { Err(Reason::CrossSite.into()) }
    }

    fn allow(&self, request: &Parts) -> bool {
        // A repeated header did not come from a browser unchanged.
        let (Some(site), Some(origin)) =
            (at_most_one(&request.headers, &SEC_FETCH_SITE), at_most_one(&request.headers, &header::ORIGIN))
        else {
            return false;
        };
        match (site, origin) {
            (Some(b"same-origin" | b"none"), _) | (None, None) => true,
            (_, Some(origin)) if self.trusted.iter().any(|trusted| trusted.as_bytes() == origin) => true,
            (None, Some(origin)) => is_own_origin(origin, request),
            (Some(_), _) => false,
        }
    }
}

/// True for a method that changes nothing (RFC 9110 §9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Returns the value of a header. The outer `None` means that there are several.
#[expect(clippy::option_option, reason = "absent and repeated headers are different")]
fn at_most_one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Option<&'h [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(http::HeaderValue::as_bytes);
    values.next().is_none().then_some(first)
}

/// True if host and port of the origin are those that the request was sent to. `null` has no host.
fn is_own_origin(origin: &[u8], request: &Parts) -> bool {
    let Some((_, host)) = str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://")) else { return false };
    let own = request_authority(&request.uri, &request.headers);
    own.is_some_and(|own| !own.is_empty() && own.eq_ignore_ascii_case(host.as_bytes()))
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
