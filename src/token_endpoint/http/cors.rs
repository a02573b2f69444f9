//! Access by web pages of other origins: CORS (Fetch Standard §3.3, RFC 9700 §2.6).
//!
//! *In*: the settings, the `Origin` of a request, and its client. *Out*: headers that let a browser give the response to the
//! page.
//!
//! They protect no one from a request: the endpoints authenticate clients, and read no cookies, which are never allowed. The
//! page of the authorization endpoint belongs to the application.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::response::{ResponseBody, empty};
use crate::{config_error::MistakeCollector, token_endpoint::client::Client, url::check_origin};

/// The origins whose pages may read the responses of the token and revocation endpoints.
#[derive(Default)]
pub(crate) struct Cors {
    pub(crate) any: bool,
    pub(crate) listed: Vec<String>,
    /// Also those of the redirect URIs of the public client that sent the request.
    pub(crate) of_redirect_uris: bool,
}

/// Which pages an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// All: the response is public.
    All,
    /// Those that the settings allow.
    Clients,
    /// None: only APIs send requests to it.
    Apis,
}

/// The page that sent a request, and whether it may read the response.
pub(crate) struct Page<'r> {
    cors: &'r Cors,
    readers: Readers,
    origin: Option<&'r HeaderValue>,
    allowed: Option<HeaderValue>,
}

impl Cors {
    pub(crate) fn check(&self, mistakes: &mut MistakeCollector) {
        for origin in &self.listed {
            if origin == "*" {
                mistakes.add("allow_origins", "\"*\" is no origin", "list the origins, or call allow_any_origin");
            } else {
                mistakes.check(check_origin("allow_origins", origin));
            }
        }
    }

    /// Returns the page that sent a request with these headers.
    pub(crate) fn page<'r>(&'r self, readers: Readers, headers: &'r HeaderMap) -> Page<'r> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none());
        let allowed = match readers {
            Readers::All => Some(ANY),
            Readers::Clients if self.any => Some(ANY),
            Readers::Clients => origin.filter(|origin| self.listed.iter().any(|own| *own == **origin)).cloned(),
            Readers::Apis => None,
        };
        Page { cors: self, readers, origin, allowed }
    }
}

impl Page<'_> {
    /// Lets the page read the response if it belongs to this public client.
    pub(crate) fn set_client(&mut self, client: &Client) {
        if self.allowed.is_none() && self.depends_on_client() && client.is_public() {
            let is_own = |origin: &&HeaderValue| origin.to_str().is_ok_and(|origin| client.has_redirect_origin(origin));
            self.allowed = self.origin.filter(is_own).cloned();
        }
    }

    /// Adds the headers to a response.
    pub(crate) fn add_to(self, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
        let headers = response.headers_mut();
        // Also without an `Origin` and in refusals, so that no cache gives one page the response for another.
        if self.readers == Readers::Clients
            && !self.cors.any
            && (self.cors.of_redirect_uris || !self.cors.listed.is_empty())
        {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(allowed) = self.allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        response
    }

    /// Responds to `OPTIONS`, which also asks whether the page may send a request: a preflight request. It has no client.
    pub(crate) fn respond_to_options(mut self, allow: &'static str) -> Response<ResponseBody> {
        if self.allowed.is_none() && self.depends_on_client() {
            self.allowed = self.origin.cloned();
        }
        let mut response = empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        if self.allowed.is_some() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ACCEPTED));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        }
        self.add_to(response)
    }

    fn depends_on_client(&self) -> bool {
        self.readers == Readers::Clients && self.cors.of_redirect_uris
    }
}

const ANY: HeaderValue = HeaderValue::from_static("*");
/// The request headers that a page may set. `*` would not include `Authorization`.
const ACCEPTED: &str = "authorization, content-type, dpop, mcp-protocol-version";
/// The response headers that a page may read, besides those that Fetch always allows.
const EXPOSED: &str = "www-authenticate, retry-after, dpop-nonce";
/// Time for which a browser may use the response to a preflight request, in seconds: the maximum of Chromium.
const MAX_AGE: &str = "7200";
