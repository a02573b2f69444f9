//! The app center's protocol, as its chapter "Authentication" for cloud apps has it.
//!
//! The app center answers `GET /api/app_user_authorization` with `access_token`, `app_secret`, `host_auid` and `user_auid`:
//!
//! - 200: `{"authorization": {"namespace": …, "host_auid": …, "user_auid": …}}`. All three must be those of this request. An
//!   answer about another app, host or user is no authorization.
//! - 403: `{"errors": […]}`. The user is not authorized.
//!
//! The answer has no scope. The documentation describes two kinds of access and leaves the choice to the app. Our reading:
//!
//! - *Per user*: an answer that names a user gives access to what belongs to this user.
//! - *Per host*: an answer that names no user (`user_auid` is null or absent), which is possible only if the request named none
//!   either, gives access to everything of the host. With `ACCESS=host`, each user of a host has this access too.

use std::{sync::Arc, time::Duration};

use axum::http::{Request, header};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tower_oauth::{
    AuthError,
    fetch::{Fetch as _, HttpClient},
    verify::{BearerMethod, CacheKey, PresentedToken, Verdict, Verify},
};

use crate::session::{Session, Sessions};

/// Verifies tokens by calling the app center, and sessions by itself.
pub(crate) struct AppCenter {
    pub(crate) client: HttpClient,
    /// Without `/api/app_user_authorization`.
    pub(crate) url: String,
    pub(crate) app_secret: String,
    pub(crate) namespace: String,
    /// True if the users of a host share its tickets.
    pub(crate) shared_by_host: bool,
    pub(crate) sessions: Sessions,
    /// Limits the concurrent calls, so that a flood of sign-ins doesn't become a flood of calls.
    pub(crate) slots: Semaphore,
}

#[derive(Deserialize)]
struct CheckResponse {
    authorization: Option<Authorization>,
    errors: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Authorization {
    namespace: String,
    host_auid: String,
    user_auid: Option<String>,
}

impl AppCenter {
    /// Asks the app center about a token. Returns the claims of a new session.
    pub(crate) async fn check(&self, token: &str, host: &str, user: Option<&str>) -> Result<Session, AuthError> {
        // Any response but a well-formed 200 or 403 says nothing about the token: 503, not 401.
        let unavailable = || AuthError::unavailable(Duration::from_secs(5));
        let _slot = self.slots.try_acquire().map_err(|error| unavailable().with_source(error))?;
        // This provider expects secrets in the query. Never log it; `HttpClient` doesn't.
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("access_token", token), ("app_secret", &self.app_secret), ("host_auid", host)])
            .extend_pairs(user.map(|user| ("user_auid", user)))
            .finish();
        let request = Request::get(format!("{}/api/app_user_authorization?{query}", self.url));
        let request = request.header(header::ACCEPT, "application/json").body(Bytes::new());
        let request = request.map_err(|error| unavailable().with_source(error))?;
        let response = self.client.fetch(request).await.map_err(|error| unavailable().with_source(error))?;
        match (response.status().as_u16(), serde_json::from_slice(response.body())) {
            (200, Ok(CheckResponse { authorization: Some(found), .. })) => {
                let same_user = user.is_none() || user == found.user_auid.as_deref();
                if found.namespace != self.namespace || found.host_auid != host || !same_user {
                    return Err(AuthError::invalid_token());
                }
                let scope = match &found.user_auid {
                    None => "host",
                    Some(user) if user.is_empty() => return Err(unavailable()),
                    Some(_) if self.shared_by_host => "user host",
                    Some(_) => "user",
                };
                Ok(self.sessions.begin(found.user_auid, found.host_auid, scope))
            }
            (403, Ok(CheckResponse { errors: Some(_), .. })) => Err(AuthError::invalid_token()),
            _ => Err(unavailable()),
        }
    }
}

/// Verifies the tokens of requests. It is the app center in an `Arc`, because a call outlives the borrow of the request.
pub(crate) struct AppCenterVerifier(pub(crate) Arc<AppCenter>);

impl Verify for AppCenterVerifier {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        if presented.bearer_method() == BearerMethod::Cookie {
            return Verdict::Now(self.0.sessions.verify(presented));
        }
        let [Some(host), user] = host_and_user(presented) else {
            return Verdict::Now(Err(AuthError::invalid_token()));
        };
        let (center, permit, token) = (self.0.clone(), presented.permit(), presented.token().to_owned());
        let (host, user) = (host.to_owned(), user.map(str::to_owned));
        Verdict::later(async move { permit.token(&center.check(&token, &host, user.as_deref()).await?) })
    }

    /// Adds everything that the verdict depends on besides the token.
    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add(if presented.bearer_method() == BearerMethod::Cookie { "session" } else { "token" });
        for part in host_and_user(presented) {
            key.add(part.unwrap_or_default());
        }
    }
}

/// Returns the host and the user that the request claims for its token. An empty header counts as none.
fn host_and_user<'r>(presented: &PresentedToken<'r>) -> [Option<&'r str>; 2] {
    let header = |name| presented.parts().headers.get(name)?.to_str().ok().filter(|value| !value.is_empty());
    ["x-host-auid", "x-user-auid"].map(header)
}
