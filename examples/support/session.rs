//! Sessions of our own, each in a cookie that nobody but this API can read, make or change.
//!
//! A browser sends cookies by itself. `SameSite=Strict` keeps other sites from making use of that (cross-site request
//! forgery); if other subdomains of yours may be hostile, or your pages are to work in another site's frame, which takes
//! `SameSite=None`, routes that change something must look at `Origin` too. A session outlives a token that its provider
//! takes back, so it is short.

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

/// Browsers take it only with `Secure` and `Path=/`, and from no other host.
pub(crate) const COOKIE: &str = "__Host-session";

/// Who was let in, as the claims of a token.
#[derive(Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) sub: String,
    pub(crate) host: String,
    scope: String,
    exp: u64,
}

#[derive(Clone)]
pub(crate) struct Sessions {
    /// A new one at each start ends all sessions; to share or keep them, read it from where your secrets are.
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

    /// The cookie: encrypted, and signed by that (AES-256-GCM), in characters that a token may have.
    fn write(&self, session: &Session) -> Option<HeaderValue> {
        let mut jar = CookieJar::new();
        let cookie = Cookie::build((COOKIE, serde_json::to_string(session).ok()?));
        let cookie = cookie.path("/").secure(true).http_only(true).same_site(SameSite::Strict);
        jar.private_mut(&self.key).add(cookie.max_age(cookie::time::Duration::seconds(self.seconds.try_into().ok()?)));
        jar.get(COOKIE)?.to_string().try_into().ok()
    }

    /// The verdict on a cookie.
    pub(crate) fn read(&self, presented: &PresentedToken<'_>) -> Result<Token, AuthError> {
        let cookie = Cookie::new(COOKIE, presented.token().to_owned());
        let cookie = CookieJar::new().private(&self.key).decrypt(cookie).ok_or_else(AuthError::invalid_token)?;
        let session = serde_json::from_str::<Session>(cookie.value()).map_err(|_| AuthError::invalid_token())?;
        // `Max-Age` only asks the browser to forget it.
        if session.exp <= now() { Err(AuthError::invalid_token()) } else { presented.permit().token(&session) }
    }
}

/// Behind the layer: the answer to a token opens a session. A session opens no other, or it would never end.
pub(crate) async fn open(
    State(sessions): State<Sessions>,
    Claims(session): Claims<Session>,
    request: Request,
    next: Next,
) -> Response {
    let cookie = request.headers().get(header::AUTHORIZATION).and_then(|_| sessions.write(&session));
    let mut response = next.run(request).await;
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}
