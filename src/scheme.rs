//! The scheme of the `Authorization` header (RFC 9110 §11.1): `Bearer` or `DPoP`.
//!
//! *In*: the headers of a request. *Out*: the scheme, and the token after it. Whether the token is well-formed is *not* checked
//! here.

use http::{HeaderMap, HeaderValue, header};

/// The authentication scheme that a token is sent under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `Bearer` (RFC 6750 §2.1), and every method that has no scheme.
    Bearer,
    /// `DPoP` (RFC 9449 §7.1): the request also has a proof.
    Dpop,
}

impl Scheme {
    /// Returns the scheme of a request, also if its credentials are malformed. One `DPoP` header decides, because its error
    /// then belongs to the challenge of that scheme (RFC 9449 §7.2).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut schemes = headers.get_all(header::AUTHORIZATION).iter().map(|value| split_scheme(value.as_bytes()).0);
        if schemes.any(is_dpop) { Self::Dpop } else { Self::Bearer }
    }
}

/// Returns the token of the `Authorization` header, whatever its scheme.
pub(crate) fn authorization_token(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let (_, rest) = split_scheme(value);
    without_spaces(rest)
}

/// Returns what follows the spaces after the scheme.
pub(crate) fn without_spaces(rest: &[u8]) -> &[u8] {
    rest.split_at(rest.iter().take_while(|byte| **byte == b' ').count()).1
}

/// Returns the scheme of an `Authorization` header, and what follows it.
pub(crate) fn split_scheme(value: &[u8]) -> (&[u8], &[u8]) {
    value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()))
}

/// True for the name `DPoP`. Schemes are case-insensitive (RFC 9110 §11.1).
pub(crate) fn is_dpop(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"dpop")
}
