//! Responses to authorization requests (RFC 6749 §4.1.2.1, RFC 9207 §2).
//!
//! *In*: why a request is refused, or the parameters of a response. *Out*: a redirect to the client, or a text for the user.
//!
//! The redirect URI was checked before.

use std::fmt;

use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    log,
    token_endpoint::http::{
        error::TokenError,
        redirect::redirect,
        response::{ResponseBody, empty},
    },
};

/// Why an authorization request is refused, and the response.
///
/// If the client or the redirect URI is wrong, the response is a text for the user with status 400, and the browser is not
/// redirected (RFC 6749 §4.1.2.1). Every other error is for the client: the browser is sent back with `error`, `state` and
/// `iss`.
pub struct AuthorizationError {
    pub(super) code: &'static str,
    pub(super) description: &'static str,
    pub(super) reply: Option<Reply>,
}

impl AuthorizationError {
    /// For an error that must not be redirected.
    pub(super) fn for_the_user(description: &'static str) -> Self {
        Self { code: "invalid_request", description, reply: None }
    }

    /// For a registry that is unavailable.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn unavailable(error: TokenError) -> Self {
        log::token_endpoint_failed(&error);
        Self { code: error.kind().as_str(), description: error.description(), reply: None }
    }

    /// Returns the registered name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns where the browser is sent. `None` if the error is for the user; an application can show its own page then.
    #[must_use]
    pub fn redirect_uri(&self) -> Option<&str> {
        self.reply.as_ref().map(|reply| reply.redirect_uri.as_str())
    }

    /// Returns the response.
    #[must_use]
    pub fn into_response(self) -> Response<ResponseBody> {
        if let Some(reply) = &self.reply {
            return reply.error(self.code, self.description);
        }
        let unavailable = self.code == "temporarily_unavailable";
        let status = if unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        let mut response = empty(status);
        *response.body_mut() = ResponseBody::from(bytes::Bytes::from_static(self.description.as_bytes()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

impl fmt::Display for AuthorizationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.description)
    }
}

impl fmt::Debug for AuthorizationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationError").field("code", &self.code).finish_non_exhaustive()
    }
}

impl std::error::Error for AuthorizationError {}

/// Where and how the response is sent.
pub(crate) struct Reply {
    pub(super) issuer: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
}

impl Reply {
    pub(super) fn error(&self, code: &str, description: &str) -> Response<ResponseBody> {
        self.send(&[("error", code), ("error_description", description)])
    }

    /// Redirects, with the unchanged `state` (RFC 6749 §4.1.2) and `iss` (RFC 9207 §2) in every response.
    pub(super) fn send(&self, parameters: &[(&str, &str)]) -> Response<ResponseBody> {
        let state = self.state.as_deref().map(|state| ("state", state));
        let parameters: Vec<_> = parameters.iter().copied().chain(state).chain([("iss", &*self.issuer)]).collect();
        redirect(&self.redirect_uri, &parameters)
    }
}
