//! Sessions, each in an encrypted cookie that only this API can read, create or change.
//!
//! A browser adds cookies to each request by itself. `SameSite=Strict` prevents that other sites exploit this (cross-site
//! request forgery). It is not enough if another subdomain may be hostile, or if your pages must work in a frame of another
//! site, which requires `SameSite=None`. Then routes that change something must also check `Origin`.
//!
//! A session stays valid after the provider has revoked the token. Therefore sessions are short.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use cookie::{Cookie, CookieJar, Key, SameSite};
use serde::{Deserialize, Serialize};
use tower_oauth::{AuthError, Claims, Token, verify::PresentedToken};

/// With this prefix, browsers accept the cookie only with `Secure` and `Path=/`, and send it only to this host.
pub(crate) const COOKIE: &str = "__Host-session";

/// The claims of an accepted token.
#[derive(Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) sub: String,
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

    pub(crate) fn begin(&self, sub: String, host: String, scope: String) -> Session {
        Session { sub, host, scope, exp: now().saturating_add(self.seconds) }
    }

    /// Returns the cookie, encrypted and authenticated by AES-256-GCM. It has only characters that a token may have.
    fn cookie(&self, session: &Session) -> Option<HeaderValue> {
        let mut jar = CookieJar::new();
        let cookie = Cookie::build((COOKIE, serde_json::to_string(session).ok()?));
        let cookie = cookie.path("/").secure(true).http_only(true).same_site(SameSite::Strict);
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

/// Middleware inside the `OAuthLayer`. Opens a session in the response to a request with a token. A request with a session
/// opens no further one, because sessions would then never end.
pub(crate) async fn open(
    State(sessions): State<Sessions>,
    Claims(session): Claims<Session>,
    request: Request,
    next: Next,
) -> Response {
    let cookie = request.headers().get(header::AUTHORIZATION).and_then(|_| sessions.cookie(&session));
    let mut response = next.run(request).await;
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Returns the seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}
