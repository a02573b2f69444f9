//! The authorization endpoint: shows the page, checks the form, and redirects the answer to the client.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use axum::extract::{Form, FromRef, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use tower_oauth::token_endpoint::{AuthorizationError, AuthorizationRequest, DenialReason, TokenEndpoint};

use crate::{
    csrf::Csrf,
    pages::{self, Problem},
    users::{LoginError, Users},
};

/// The state of the page.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) users: Arc<Users>,
    pub(crate) csrf: Arc<Csrf>,
    /// The names of clients, by `client_id`.
    pub(crate) names: Arc<HashMap<String, String>>,
}

impl FromRef<Host> for TokenEndpoint {
    fn from_ref(host: &Host) -> Self {
        host.endpoint.clone()
    }
}

impl Host {
    /// Returns the form for this browser and this request.
    fn form(
        &self,
        request: &AuthorizationRequest,
        headers: &HeaderMap,
        uri: &Uri,
        problem: Option<(&Problem, &str)>,
    ) -> Response {
        let id = request.client_id();
        let name = self.names.get(id).map_or(id, String::as_str);
        let Ok((csrf, cookie)) = self.csrf.for_form(headers, uri.query().unwrap_or_default()) else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response(); // the system has no random bytes
        };
        let mut response = pages::consent(request, request.client_name().unwrap_or(name), &csrf, problem);
        response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
        response
    }
}

/// Redirects an error to the client, or shows it on a page if there is no valid redirect URI.
fn refuse(error: AuthorizationError) -> Response {
    if error.redirect_uri().is_some() {
        return error.into_response().into_response();
    }
    let reason = error.to_string();
    pages::refusal(error.into_response().status(), &reason)
}

/// Responds to `OPTIONS`. No page of another origin may read a response of this endpoint (RFC 9700 §2.6).
pub(crate) async fn options() -> Response {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, POST, OPTIONS")]).into_response()
}

/// Shows the form, or redirects an error to the client.
pub(crate) async fn show(
    State(host): State<Host>,
    uri: Uri,
    headers: HeaderMap,
    request: Result<AuthorizationRequest, AuthorizationError>,
) -> Response {
    match request {
        // This program has no sessions of users, so it can't answer without a page.
        Ok(request) if request.prompts().any(|prompt| prompt == "none") => {
            request.deny(DenialReason::LoginRequired).into_response()
        }
        Ok(request) => host.form(&request, &headers, &uri, None),
        Err(error) => refuse(error),
    }
}

/// Checks the form, and redirects the answer to the client.
pub(crate) async fn submit(
    State(host): State<Host>,
    uri: Uri,
    headers: HeaderMap,
    request: Result<AuthorizationRequest, AuthorizationError>,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let request = match request {
        Ok(request) => request,
        Err(error) => return refuse(error),
    };
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let problem = if !host.csrf.accepts(&headers, uri.query().unwrap_or_default(), field("csrf")) {
        Problem::InvalidForm
    } else if field("answer") == "deny" {
        return request.deny(DenialReason::AccessDenied).into_response();
    } else if field("answer") != "allow" {
        Problem::NoAnswer
    } else {
        match host.users.log_in(field("name"), field("password")) {
            Ok(()) => {
                let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
                let request = request.with_authentication_time(SystemTime::now());
                return request.approve(field("name"), scopes).await.into_response();
            }
            Err(LoginError::WrongNameOrPassword) => Problem::WrongNameOrPassword,
            Err(LoginError::TooManyAttempts(wait)) => Problem::TooManyAttempts(wait),
        }
    };
    host.form(&request, &headers, &uri, Some((&problem, field("name"))))
}
