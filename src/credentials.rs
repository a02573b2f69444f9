//! What a request presented (RFC 6750 §2, OAuth 2.1 §5.1).
//!
//! *In*: the request's head. *Out*: one token and the way it came, or the exact reason why not.
//!
//! Exactly one way, exactly once. By default only `Authorization: Bearer` counts; the other ways are opened one by
//! one on the [`ResourceServer`](crate::ResourceServer). A token in the query beside one in the header is refused even
//! where the query is closed, because the client then used two methods (RFC 6750 §2).
//!
//! This does *not* look into the token.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use crate::error::{AuthError, Reason};

/// The token as presented, and how it came. Its `Debug` hides the token.
#[derive(Clone)]
pub(crate) struct Credentials<'r> {
    /// ASCII, as `is_b64token` wants it.
    token: Cow<'r, [u8]>,
    carrier: Carrier,
}

/// The way a token came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// The `Authorization` header.
    Authorization,
    /// A header of the user's choice.
    Header,
    /// A cookie.
    Cookie,
    /// The query (RFC 6750 §2.3).
    Query,
    /// The form body (RFC 6750 §2.2).
    Form,
}

/// The ways that are open.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) authorization_without_scheme: bool,
    pub(crate) header: Option<HeaderName>,
    pub(crate) cookie: Option<String>,
    pub(crate) query: bool,
    pub(crate) max_token_bytes: usize,
}

/// What [`FormBodyLayer`](crate::layer::FormBodyLayer) found in the body, on its way to the layer inside.
#[derive(Clone)]
pub(crate) struct FormToken(pub(crate) Vec<String>);

impl Default for Accepted {
    fn default() -> Self {
        Self {
            authorization_without_scheme: false,
            header: None,
            cookie: None,
            query: false,
            max_token_bytes: 16 * 1024,
        }
    }
}

impl Credentials<'_> {
    /// The token, exactly as it came.
    pub(crate) fn token(&self) -> &str {
        str::from_utf8(&self.token).unwrap_or_default()
    }

    pub(crate) fn token_bytes(&self) -> &[u8] {
        &self.token
    }

    pub(crate) fn into_owned(self) -> Credentials<'static> {
        Credentials { token: Cow::Owned(self.token.into_owned()), carrier: self.carrier }
    }

    /// The way it came.
    pub(crate) fn carrier(&self) -> Carrier {
        self.carrier
    }
}

impl<'r> Credentials<'r> {
    /// Counts, then looks at the syntax, then at the size.
    pub(crate) fn read(parts: &'r Parts, accepted: &Accepted) -> Result<Self, AuthError> {
        let mut found = Found::default();
        found.authorization(&parts.headers, accepted)?;
        if let Some(name) = &accepted.header {
            found.header(&parts.headers, name)?;
        }
        if let Some(name) = &accepted.cookie {
            found.cookie(&parts.headers, name)?;
        }
        if let Some(query) = parts.uri.query() {
            found.query(query, accepted)?;
        }
        if let Some(FormToken(tokens)) = parts.extensions.get() {
            tokens.iter().try_for_each(|token| found.add(Cow::Borrowed(token.as_bytes()), Carrier::Form))?;
        }
        let Some(credentials) = found.credentials else {
            return Err(found.without_credentials.unwrap_or(Reason::NoCredentials).into());
        };
        if credentials.token.len() > accepted.max_token_bytes {
            return Err(Reason::TooLarge.into());
        }
        if !is_b64token(&credentials.token) {
            return Err(Reason::MalformedCredentials.into());
        }
        Ok(credentials)
    }
}

#[derive(Default)]
struct Found<'r> {
    credentials: Option<Credentials<'r>>,
    without_credentials: Option<Reason>,
}

impl<'r> Found<'r> {
    fn add(&mut self, token: Cow<'r, [u8]>, carrier: Carrier) -> Result<(), AuthError> {
        if self.credentials.is_some() {
            return Err(Reason::TwoWays.into());
        }
        self.credentials = Some(Credentials { token, carrier });
        Ok(())
    }

    fn authorization(&mut self, headers: &'r HeaderMap, accepted: &Accepted) -> Result<(), AuthError> {
        let Some(value) = once(headers, &header::AUTHORIZATION)? else { return Ok(()) };
        let value = value.as_bytes();
        // The scheme is case-insensitive (RFC 9110 §11.1), and one or more spaces follow it (RFC 6750 §2.1).
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, rest) = value.split_at(end);
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            return self.add(Cow::Borrowed(rest.split_at(spaces).1), Carrier::Authorization);
        }
        // Bytes that are no text are nobody's scheme.
        if str::from_utf8(value).is_err() {
            return Err(Reason::MalformedCredentials.into());
        }
        if accepted.authorization_without_scheme && rest.is_empty() && is_b64token(value) {
            return self.add(Cow::Borrowed(value), Carrier::Authorization);
        }
        self.without_credentials = Some(Reason::UnsupportedScheme);
        Ok(())
    }

    fn header(&mut self, headers: &'r HeaderMap, name: &HeaderName) -> Result<(), AuthError> {
        match once(headers, name)? {
            Some(value) => self.add(Cow::Borrowed(value.as_bytes()), Carrier::Header),
            None => Ok(()),
        }
    }

    fn cookie(&mut self, headers: &'r HeaderMap, name: &str) -> Result<(), AuthError> {
        for pair in
            headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        {
            let pair = pair.trim_ascii();
            // Other applications' cookies may hold any bytes; only ours must be text.
            let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) else {
                continue;
            };
            self.add(Cow::Borrowed(value), Carrier::Cookie)?;
        }
        Ok(())
    }

    fn query(&mut self, query: &'r str, accepted: &Accepted) -> Result<(), AuthError> {
        if !accepted.query && self.credentials.is_none() {
            return Ok(());
        }
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match value {
                _ if name != "access_token" => {}
                Cow::Borrowed(value) => self.add(Cow::Borrowed(value.as_bytes()), Carrier::Query)?,
                Cow::Owned(value) => self.add(Cow::Owned(value.into_bytes()), Carrier::Query)?,
            }
        }
        Ok(())
    }
}

/// The only value of a header; a second one, even an equal one, is refused (RFC 9110 §5.3, RFC 6750 §3.1).
fn once<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r HeaderValue>, AuthError> {
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
    // A fold without an early exit: the compiler makes it 16 bytes a step.
    !core.is_empty() && core.iter().fold(true, |all, byte| all & allowed(byte))
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("token", &"[redacted]").field("carrier", &self.carrier).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
