//! Protects the form against cross-site request forgery.
//!
//! A cookie identifies the browser. The form contains a code that only this server can compute, from the cookie and from the
//! request. Therefore another site can post neither a form of its own nor a form that this server issued to that site.
//!
//! Nothing is stored, and the key is derived from the oldest signing key. Therefore instances with the same key accept each
//! other's forms, also after a restart.

use aws_lc_rs::{error::Unspecified, hmac, rand};
use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cookie::{Cookie, SameSite};

pub(crate) struct Csrf {
    key: hmac::Key,
    cookie: &'static str,
    https: bool,
}

impl Csrf {
    /// `secret`: a signing key in PEM.
    pub(crate) fn new(secret: &str, issuer: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let key = hmac::sign(&key, b"the forms of authorization_server");
        let https = issuer.starts_with("https:");
        // With the prefix `__Host-`, browsers accept the cookie only with `Secure`, and send it only to this host.
        let cookie = if https { "__Host-authorize" } else { "authorize" };
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), cookie, https }
    }

    /// Returns the code for a form, and the cookie to set if the browser has none.
    pub(crate) fn for_form(
        &self,
        headers: &HeaderMap,
        query: &str,
    ) -> Result<(String, Option<HeaderValue>), Unspecified> {
        let known = self.browsers(headers).find(|browser| browser.len() == 43);
        if let Some(browser) = known {
            return Ok((URL_SAFE_NO_PAD.encode(self.sign(&browser, query)), None));
        }
        let mut random = [0; 32];
        rand::fill(&mut random)?;
        let browser = URL_SAFE_NO_PAD.encode(random);
        let code = URL_SAFE_NO_PAD.encode(self.sign(&browser, query));
        // `Lax`, so that a second tab that another site opens keeps the cookie of the first. POSTs of other sites lack it.
        let cookie = Cookie::build((self.cookie, browser)).path("/").http_only(true).same_site(SameSite::Lax);
        let cookie = cookie.secure(self.https).build().to_string();
        Ok((code, Some(HeaderValue::try_from(cookie).map_err(|_| Unspecified)?)))
    }

    /// Returns whether this server issued the form, for this browser and this request.
    pub(crate) fn accepts(&self, headers: &HeaderMap, query: &str, code: &str) -> bool {
        // Most browsers state from which site the form was posted.
        let own_page = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
        let code = URL_SAFE_NO_PAD.decode(code).unwrap_or_default();
        own_page
            && self.browsers(headers).any(|browser| hmac::verify(&self.key, &message(&browser, query), &code).is_ok())
    }

    fn sign(&self, browser: &str, query: &str) -> hmac::Tag {
        hmac::sign(&self.key, &message(browser, query))
    }

    fn browsers(&self, headers: &HeaderMap) -> impl Iterator<Item = String> {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies = values.flat_map(|value| Cookie::split_parse(value.to_owned())).flatten();
        cookies.filter(|cookie| cookie.name() == self.cookie).map(|cookie| cookie.value().to_owned())
    }
}

/// Joins both parts unambiguously: a cookie has no line break.
fn message(browser: &str, query: &str) -> Vec<u8> {
    [browser, "\n", query].concat().into_bytes()
}
