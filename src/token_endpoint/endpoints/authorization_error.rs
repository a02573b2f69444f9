//! Responses to authorization requests (RFC 6749 §4.1.2.1, RFC 9207 §2).
//!
//! *In*: why a request is refused, or the parameters of a response. *Out*: a redirect to the client, or a text for the user.
//!
//! The redirect URI was checked before.

use std::fmt;

use http::{HeaderValue, Response, StatusCode, header};

use crate::token_endpoint::http::{
    error::TokenError,
    redirect::redirect,
    response::{ResponseBody, empty},
};

/// The refusal of an authorization request: the reason and the response.
///
/// If the client or the redirect URI is wrong, the response is a text for the user with status 400, and the browser is not
/// redirected (RFC 6749 §4.1.2.1). Every other error is for the client: the browser is sent back with `error`, `state` and
/// `iss`.
pub struct AuthorizationError {
    pub(super) code: &'static str,
    pub(super) description: &'static str,
    /// `None` if the browser must not be redirected.
    pub(super) redirect: Option<ClientRedirect>,
}

impl AuthorizationError {
    /// Returns an error that must not be redirected.
    pub(super) fn for_the_user(description: &'static str) -> Self {
        Self { code: "invalid_request", description, redirect: None }
    }

    /// Returns the error for a registry that is unavailable, and logs its cause.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn unavailable(error: TokenError) -> Self {
        error.log_failure();
        Self { code: error.kind().as_str(), description: error.description(), redirect: None }
    }

    /// Returns the registered name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns the URI that the browser is sent to. `None` if the error is for the user; then the application can show its own
    /// page.
    #[must_use]
    pub fn redirect_uri(&self) -> Option<&str> {
        self.redirect.as_ref().map(|redirect| redirect.redirect_uri.as_str())
    }

    /// Returns the response.
    #[must_use]
    pub fn into_response(self) -> Response<ResponseBody> {
        if let Some(redirect) = &self.redirect {
            return redirect.error_response(self.code, self.description);
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

/// A redirect of the browser to the client, with the response in its query.
pub(crate) struct ClientRedirect {
    pub(super) issuer: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
}

impl ClientRedirect {
    pub(super) fn error_response(&self, code: &str, description: &str) -> Response<ResponseBody> {
        self.response(&[("error", code), ("error_description", description)])
    }

    /// Returns the redirect. Adds the unchanged `state` (RFC 6749 §4.1.2) and `iss` (RFC 9207 §2).
    pub(super) fn response(&self, parameters: &[(&str, &str)]) -> Response<ResponseBody> {
        let state = self.state.as_deref().map(|state| ("state", state));
        let parameters: Vec<_> = parameters.iter().copied().chain(state).chain([("iss", &*self.issuer)]).collect();
        redirect(&self.redirect_uri, &parameters)
    }
}

/// Why the application denies an authorization request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialReason {
    /// The user did not approve, or may not: `access_denied` (RFC 6749 §4.1.2.1).
    AccessDenied,
    /// The user must log in, and `prompt` is `none`: `login_required` (OpenID Connect Core §3.1.2.6).
    LoginRequired,
    /// The user must consent, and `prompt` is `none`: `consent_required` (OpenID Connect Core §3.1.2.6).
    ConsentRequired,
    /// The user must choose an account, and `prompt` is `none`: `account_selection_required` (OpenID Connect Core §3.1.2.6).
    AccountSelectionRequired,
    /// The user must see any other page, and `prompt` is `none`: `interaction_required` (OpenID Connect Core §3.1.2.6).
    InteractionRequired,
    /// The user can't log in as `acr_values` requires: `unmet_authentication_requirements` (RFC 9470 §5).
    UnmetAuthenticationRequirements,
}

impl DenialReason {
    /// Returns the value of `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::AccountSelectionRequired => "account_selection_required",
            Self::InteractionRequired => "interaction_required",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::AccessDenied => "The user denied the request",
            Self::LoginRequired => "The user must log in",
            Self::ConsentRequired => "The user must consent",
            Self::AccountSelectionRequired => "The user must choose an account",
            Self::InteractionRequired => "The user must see a page",
            Self::UnmetAuthenticationRequirements => "The user cannot log in in the required way",
        }
    }
}
