//! The credentials of a request (RFC 6750 §2, OAuth 2.1 §5.1).
//!
//! *In*: the request's head. *Out*: one token and its bearer method, or the reason of the refusal.
//!
//! A token must be sent exactly once, by exactly one method. By default only `Authorization: Bearer` is accepted; the
//! [`ResourceServerBuilder`](crate::server::ResourceServerBuilder) can accept further methods. If the request has a token that
//! was accepted and another one in the query, it is refused even if the query is not accepted, because the client used two
//! methods (RFC 6750 §2).
//!
//! The content of the token is *not* checked here.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts, uri::PathAndQuery};

use crate::{
    cross_site::CookieOrigins,
    error::{AuthError, Reason},
    scheme::{is_dpop, split_scheme, without_spaces},
    websocket::{HandshakeForm, OfferedProtocols},
};

/// The token of a request and its bearer method. `Debug` hides the token.
#[derive(Clone)]
pub(crate) struct Credentials<'r> {
    /// ASCII, because `check` accepts nothing else.
    token: Cow<'r, [u8]>,
    method: BearerMethod,
}

/// How a request carries its token: the bearer method (RFC 6750 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerMethod {
    /// The `Authorization` header.
    Authorization,
    /// A header that the application chose. Its value may be any printable ASCII; for the other methods it is a `b64token` (RFC
    /// 6750 §2.1).
    Header,
    /// A cookie.
    Cookie,
    /// The query (RFC 6750 §2.3).
    Query,
    /// The form body (RFC 6750 §2.2).
    Form,
    /// A subprotocol of a WebSocket handshake (RFC 6455 §1.9).
    WebSocketProtocol,
    /// No request: the application passed the token to
    /// [`ResourceServer::authenticate_token`](crate::ResourceServer::authenticate_token).
    Direct,
}

impl BearerMethod {
    /// True if shared caches don't recognize the method. They treat only responses to requests with `Authorization` as
    /// private (RFC 9111 §3.5).
    pub(crate) fn is_unknown_to_caches(self) -> bool {
        !matches!(self, Self::Authorization | Self::Direct)
    }
}

/// Which bearer methods are accepted, and the maximum length of a token.
#[derive(Debug, Clone)]
pub(crate) struct AcceptedMethods {
    pub(crate) authorization_without_scheme: bool,
    /// True if the server checks proofs (RFC 9449).
    pub(crate) dpop: bool,
    pub(crate) header: Option<HeaderName>,
    pub(crate) cookie: Option<String>,
    pub(crate) cookie_origins: CookieOrigins,
    pub(crate) query: bool,
    /// The subprotocol that marks the token of a WebSocket handshake.
    pub(crate) websocket_protocol: Option<String>,
    pub(crate) max_token_bytes: usize,
}

/// In a request's extensions: every `access_token` that the
/// [`FormBodyLayer`](crate::layer::form_body::FormBodyLayer) found in the form body. Only the [`OAuthLayer`](crate::OAuthLayer)
/// that it was made from reads them.
#[derive(Clone)]
pub(crate) struct FormTokens(pub(crate) Vec<String>);

impl fmt::Debug for FormTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormTokens([redacted])")
    }
}

impl Default for AcceptedMethods {
    fn default() -> Self {
        Self {
            authorization_without_scheme: false,
            dpop: false,
            header: None,
            cookie: None,
            cookie_origins: CookieOrigins::default(),
            query: false,
            websocket_protocol: None,
            max_token_bytes: 16 * 1024,
        }
    }
}

impl Credentials<'_> {
    /// Returns the token, exactly as it was sent.
    pub(crate) fn token(&self) -> &str {
        str::from_utf8(&self.token).unwrap_or_default()
    }

    pub(crate) fn token_bytes(&self) -> &[u8] {
        &self.token
    }

    pub(crate) fn into_owned(self) -> Credentials<'static> {
        Credentials { token: Cow::Owned(self.token.into_owned()), method: self.method }
    }

    /// Returns the bearer method.
    pub(crate) fn bearer_method(&self) -> BearerMethod {
        self.method
    }
}

impl<'r> Credentials<'r> {
    /// Finds the only token of a request, and checks its size and its syntax. A token from a cookie is refused if another
    /// site made the request.
    /// `form` is what the same layer found in the form body, if it reads forms.
    pub(crate) fn from_request(
        parts: &'r Parts,
        form: Option<&'r FormTokens>,
        accepted: &AcceptedMethods,
    ) -> Result<Self, AuthError> {
        let mut found = FoundCredentials::default();
        found.read_authorization(&parts.headers, accepted)?;
        if let Some(name) = &accepted.header {
            found.read_header(&parts.headers, name)?;
        }
        if let Some(name) = &accepted.cookie {
            found.read_cookie(&parts.headers, name)?;
        }
        if let Some(FormTokens(tokens)) = form {
            tokens.iter().try_for_each(|token| found.add(Cow::Borrowed(token.as_bytes()), BearerMethod::Form))?;
        }
        if let Some(name) = &accepted.websocket_protocol
            && HandshakeForm::of(&parts.method, parts.version, &parts.uri, &parts.headers).is_some()
        {
            let offered = OfferedProtocols::read(&parts.headers, name);
            offered.tokens().try_for_each(|token| found.add(token?, BearerMethod::WebSocketProtocol))?;
        }
        // Last: a query that is not accepted counts only beside a token that came in another way.
        if let Some(query) = parts.uri.query() {
            found.read_query(query, accepted)?;
        }
        let Some(credentials) = found.credentials else {
            return Err(found.error_if_none.unwrap_or_else(|| Reason::NoCredentials.into()));
        };
        if credentials.method == BearerMethod::Cookie {
            accepted.cookie_origins.check(parts)?;
        }
        credentials.check(accepted)
    }

    /// Checks the size and the syntax of a token that did not come in a request, or that came earlier, by `method`.
    pub(crate) fn sent_by(method: BearerMethod, token: &'r str, accepted: &AcceptedMethods) -> Result<Self, AuthError> {
        Credentials { token: Cow::Borrowed(token.as_bytes()), method }.check(accepted)
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn with_bearer_method(self, method: BearerMethod) -> Self {
        Self { method, ..self }
    }

    fn check(self, accepted: &AcceptedMethods) -> Result<Self, AuthError> {
        if self.token.len() > accepted.max_token_bytes {
            return Err(Reason::TooLarge.into());
        }
        let well_formed = match self.method {
            // The application chose the header, so its verifier defines the syntax.
            BearerMethod::Header => is_printable(&self.token),
            _ => is_b64token(&self.token),
        };
        if !well_formed {
            return Err(Reason::MalformedCredentials.into());
        }
        Ok(self)
    }
}

/// What was found in a request so far.
#[derive(Default)]
struct FoundCredentials<'r> {
    /// The first token. A second one is an error.
    credentials: Option<Credentials<'r>>,
    /// The error if there is no token. `None`: there are no credentials at all.
    error_if_none: Option<AuthError>,
}

impl<'r> FoundCredentials<'r> {
    fn add(&mut self, token: Cow<'r, [u8]>, method: BearerMethod) -> Result<(), AuthError> {
        if self.credentials.is_some() {
            return Err(Reason::TwoMethods.into());
        }
        self.credentials = Some(Credentials { token, method });
        Ok(())
    }

    fn read_authorization(&mut self, headers: &'r HeaderMap, accepted: &AcceptedMethods) -> Result<(), AuthError> {
        let Some(value) = single_value(headers, &header::AUTHORIZATION)? else { return Ok(()) };
        let value = value.as_bytes();
        // The scheme is case-insensitive (RFC 9110 §11.1), and one or more spaces follow it (RFC 6750 §2.1).
        let (scheme, rest) = split_scheme(value);
        if scheme.eq_ignore_ascii_case(b"bearer") || (accepted.dpop && is_dpop(scheme)) {
            return self.add(Cow::Borrowed(without_spaces(rest)), BearerMethod::Authorization);
        }
        // Bytes that are not UTF-8 belong to no scheme.
        if str::from_utf8(value).is_err() {
            return Err(Reason::MalformedCredentials.into());
        }
        if accepted.authorization_without_scheme && rest.is_empty() && is_b64token(value) {
            return self.add(Cow::Borrowed(value), BearerMethod::Authorization);
        }
        self.error_if_none = Some(unsupported_scheme(scheme, rest.is_empty()));
        Ok(())
    }

    fn read_header(&mut self, headers: &'r HeaderMap, name: &HeaderName) -> Result<(), AuthError> {
        match single_value(headers, name)? {
            Some(value) => self.add(Cow::Borrowed(value.as_bytes()), BearerMethod::Header),
            None => Ok(()),
        }
    }

    fn read_cookie(&mut self, headers: &'r HeaderMap, name: &str) -> Result<(), AuthError> {
        for pair in
            headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        {
            let pair = pair.trim_ascii();
            // Cookies of other applications may contain any bytes, so the header is not read as text.
            let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) else {
                continue;
            };
            self.add(Cow::Borrowed(value), BearerMethod::Cookie)?;
        }
        Ok(())
    }

    fn read_query(&mut self, query: &'r str, accepted: &AcceptedMethods) -> Result<(), AuthError> {
        if !accepted.query && self.credentials.is_none() {
            return Ok(());
        }
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match value {
                _ if name != "access_token" => {}
                Cow::Borrowed(value) => self.add(Cow::Borrowed(value.as_bytes()), BearerMethod::Query)?,
                Cow::Owned(value) => self.add(Cow::Owned(value.into_bytes()), BearerMethod::Query)?,
            }
        }
        Ok(())
    }
}

/// Returns the URL of a request without `access_token` in its query.
pub(crate) fn without_query_token(uri: &Uri) -> Uri {
    let Some(query) = uri.query() else { return uri.clone() };
    let is_token = |pair: &str| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name == "access_token");
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
    let target = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

/// Returns the error for an `Authorization` header of another scheme. An unknown scheme is not shown: it may be a token.
fn unsupported_scheme(scheme: &[u8], alone: bool) -> AuthError {
    let known = SCHEMES.iter().find(|known| scheme.eq_ignore_ascii_case(known.as_bytes()));
    let (found, change) = match known {
        Some(known) => (format!("the scheme {known}"), "let the client send Authorization: Bearer and the token"),
        None if alone => (
            "one word without a scheme".to_owned(),
            "let the client send Bearer before the token, or call accept_authorization_without_scheme",
        ),
        None => ("another scheme".to_owned(), "let the client send Authorization: Bearer and the token"),
    };
    Reason::UnsupportedScheme.because(found, "the scheme Bearer", change)
}

/// Registered schemes, and others that clients send.
const SCHEMES: [&str; 12] =
    ["Basic", "Digest", "DPoP", "GNAP", "HOBA", "Hawk", "JWT", "Mutual", "Negotiate", "NTLM", "OAuth", "Token"];

/// Returns the only value of a header. A second value is refused, even an equal one (RFC 9110 §5.3, RFC 6750 §3.1).
fn single_value<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r HeaderValue>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Reason::RepeatedHeader.into());
    }
    Ok(first)
}

/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 §2.1).
fn is_b64token(value: &[u8]) -> bool {
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let (core, _) = value.split_at(value.len() - padding);
    #[expect(clippy::needless_bitwise_bool, reason = "no branches: see below")]
    let allowed = |byte: &u8| {
        byte.is_ascii_alphabetic() | matches!(byte, b'-'..=b'9') | (*byte == b'+') | (*byte == b'_') | (*byte == b'~')
    };
    // A fold without an early exit, which the compiler vectorizes to 16 bytes per step.
    !core.is_empty() && core.iter().fold(true, |all, byte| all & allowed(byte))
}

/// True for printable ASCII that is not blank.
fn is_printable(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b' '..=b'~')) && !value.trim_ascii().is_empty()
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("token", &"[redacted]").field("method", &self.method).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6750 §2.1 b (MUST, accepts)
    /// RFC 8725bis §3.14 (MUST, accepts)
    #[test]
    fn b64token_is_the_grammar_of_rfc_6750_2_1() {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        for byte in 0..=u8::MAX {
            assert_eq!(is_b64token(&[byte]), legal(byte), "{byte:#x}");
            assert_eq!(is_b64token(&[b'a', byte]), legal(byte) || byte == b'=', "a{byte:#x}");
        }
        assert!(is_b64token(b"abc==") && !is_b64token(b"") && !is_b64token(b"=") && !is_b64token(b"a=b"));
    }
}
