//! `X-Forwarded-Client-Cert`, as Envoy documents it: elements between commas, each with pairs `key=value` between semicolons.
//! A value in quotes may contain both, and `\"`.
//!
//! *In*: the value of the header. *Out*: the hash of the certificate in its only element.

use super::{BadCertificate, pem};
use crate::confirmation::Thumbprint;

/// Returns the hash in `Hash`, in `Cert`, or in both if they agree.
///
/// A key that occurs twice is refused: Envoy writes `URI` and `DNS` of the client's certificate without quotes, so a
/// certificate could write pairs of its own.
pub(super) fn thumbprint(value: &[u8]) -> Result<Thumbprint, BadCertificate> {
    let (mut hash, mut certificate) = (None, None);
    let mut rest = Some(value.trim_ascii());
    while let Some(text) = rest {
        let XfccPair { key, value, next } = pair(text)?;
        rest = next;
        let (known, read): (&mut Option<_>, fn(&[u8]) -> _) = if key.eq_ignore_ascii_case(b"hash") {
            (&mut hash, from_hex)
        } else if key.eq_ignore_ascii_case(b"cert") {
            (&mut certificate, pem::thumbprint)
        } else {
            continue;
        };
        if known.replace(read(value)?).is_some() {
            return Err(BadCertificate("a key of the header occurs twice"));
        }
    }
    match (hash, certificate) {
        (Some(hash), Some(certificate)) if hash != certificate => Err(BadCertificate("Hash and Cert differ")),
        (Some(found), _) | (None, Some(found)) => Ok(found),
        (None, None) => Err(BadCertificate("the header has neither Hash nor Cert")),
    }
}

struct XfccPair<'v> {
    key: &'v [u8],
    /// Without its quotes, with the escapes in it.
    value: &'v [u8],
    /// The text behind the semicolon.
    next: Option<&'v [u8]>,
}

/// Returns the first pair.
fn pair(text: &[u8]) -> Result<XfccPair<'_>, BadCertificate> {
    let end = text.iter().position(|byte| b"=;,\"".contains(byte)).ok_or(MALFORMED)?;
    let (key, rest) = text.split_at_checked(end).ok_or(MALFORMED)?;
    let rest = rest.strip_prefix(b"=").ok_or(MALFORMED)?;
    let (value, rest) = if let Some(quoted) = rest.strip_prefix(b"\"") {
        quoted_value(quoted)?
    } else {
        let end = rest.iter().position(|byte| b";,\"".contains(byte)).unwrap_or(rest.len());
        rest.split_at_checked(end).ok_or(MALFORMED)?
    };
    let next = match rest.split_first() {
        None => None,
        Some((b';', rest)) => Some(rest),
        Some((b',', _)) => return Err(BadCertificate("the header has several elements")),
        Some(_) => return Err(MALFORMED),
    };
    Ok(XfccPair { key: key.trim_ascii(), value, next })
}

/// Returns the text up to the closing quote, and that behind it.
fn quoted_value(text: &[u8]) -> Result<(&[u8], &[u8]), BadCertificate> {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let closes = !escaped && *byte == b'"';
        escaped = !escaped && *byte == b'\\';
        closes
    });
    let (value, rest) = text.split_at_checked(end.ok_or(MALFORMED)?).ok_or(MALFORMED)?;
    Ok((value, rest.strip_prefix(b"\"").ok_or(MALFORMED)?))
}

/// Reads 64 hexadecimal digits.
fn from_hex(text: &[u8]) -> Result<Thumbprint, BadCertificate> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(BadCertificate("Hash is not a SHA-256 hash in hexadecimal"))
}

const MALFORMED: BadCertificate = BadCertificate("the header is not X-Forwarded-Client-Cert");
