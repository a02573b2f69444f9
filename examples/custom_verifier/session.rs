//! Sessions, each in an encrypted cookie that only this app can read, create or change.
//!
//! The app runs in a frame of the host application, which is another site. There, browsers send only cookies with
//! `SameSite=None`, and also add them to requests that another site makes (cross-site request forgery, RFC 6750 §5.3).
//! Therefore:
//!
//! - `Partitioned`: the cookie is sent only in frames of the site in which the session began.
//! - Requests that change something must come from a page of this app, by `Sec-Fetch-Site` or `Origin`. The page that signs in
//!   is such a page: according to the documentation, the script of the app posts the token, from inside of the frame.
//!   So another site can't sign a user in as its own user (login CSRF).
//!
//! What remains: each site may show the app in a frame, because the host application can be at any address. The app center's
//! script in the page, not this server, checks which site it is. A browser without support for `Partitioned` may block the
//! cookie, as it blocks all third-party cookies. A session stays valid after the app center has revoked the token. Therefore
//! sessions are short.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use cookie::{Cookie, CookieJar, Key, SameSite};
use serde::{Deserialize, Serialize};
use tower_oauth::{AuthError, Token, verify::PresentedToken};

/// With this prefix, browsers accept the cookie only with `Secure` and `Path=/`, and send it only to this host.
pub(crate) const COOKIE: &str = "__Host-session";

/// The claims of an accepted token.
#[derive(Serialize, Deserialize)]
pub(crate) struct Session {
    /// The user. Absent for the token of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    pub(crate) host: String,
    scope: String,
    exp: u64,
}

#[derive(Clone)]
pub(crate) struct Sessions {
    /// Generated at each start, which ends all sessions. To keep or share sessions, load it from your secret store.
    key: Key,
    seconds: u64,
}

impl Sessions {
    pub(crate) fn new(seconds: u64) -> Self {
        Self { key: Key::generate(), seconds }
    }

    pub(crate) fn begin(&self, sub: Option<String>, host: String, scope: &str) -> Session {
        Session { sub, host, scope: scope.to_owned(), exp: now().saturating_add(self.seconds) }
    }

    /// Returns the cookie, encrypted and authenticated by AES-256-GCM. It has only characters that a token may have.
    pub(crate) fn cookie(&self, session: &Session) -> Option<HeaderValue> {
        let mut jar = CookieJar::new();
        let cookie = Cookie::build((COOKIE, serde_json::to_string(session).ok()?)).path("/").http_only(true);
        let cookie = cookie.secure(true).same_site(SameSite::None).partitioned(true);
        jar.private_mut(&self.key).add(cookie.max_age(cookie::time::Duration::seconds(self.seconds.try_into().ok()?)));
        jar.get(COOKIE)?.to_string().try_into().ok()
    }

    /// Verifies the cookie of a request.
    pub(crate) fn verify(&self, presented: &PresentedToken<'_>) -> Result<Token, AuthError> {
        let cookie = Cookie::new(COOKIE, presented.token().to_owned());
        let cookie = CookieJar::new().private(&self.key).decrypt(cookie).ok_or_else(AuthError::invalid_token)?;
        let session = serde_json::from_str::<Session>(cookie.value()).map_err(|_| AuthError::invalid_token())?;
        // `Max-Age` is only a request to the browser; check the time here.
        if session.exp <= now() { Err(AuthError::invalid_token()) } else { presented.permit().token(&session) }
    }
}

/// Middleware around everything. Refuses a request that changes something unless a page of this app made it. `OAuthLayer`
/// checks the requests with a session in nearly the same way; this function adds the sign-in, and requests with a cookie but
/// without a header that says where they come from.
pub(crate) async fn only_own_pages(State(origin): State<Arc<str>>, request: Request, next: Next) -> Response {
    // Another site can't send `Authorization` without the consent of this one (CORS).
    let with_token = request.headers().contains_key(header::AUTHORIZATION);
    if request.method().is_safe() || with_token || is_of_own_page(request.headers(), &origin) {
        return next.run(request).await;
    }
    AuthError::forbidden("The request must come from a page of this app").into_response()
}

fn is_of_own_page(headers: &HeaderMap, origin: &str) -> bool {
    match (headers.get("sec-fetch-site"), headers.get(header::ORIGIN)) {
        (Some(site), _) if site == "same-origin" => true,
        (_, Some(found)) => found == origin,
        (Some(_), None) => false,
        (None, None) => !headers.contains_key(header::COOKIE), // no browser
    }
}

/// Returns the seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}
