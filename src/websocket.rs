//! The token in the subprotocols of a WebSocket handshake (RFC 6455 §1.9, §11.3.4).
//!
//! *In*: the head of a request. *Out*: whether it is a handshake, its tokens, and its subprotocols without them.
//!
//! The rest of the handshake is *not* checked here: the server that opens the WebSocket does that.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use crate::{
    challenge::is_http_token,
    error::{AuthError, Reason},
};

/// How a handshake opens its WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeForm {
    /// An upgrade of HTTP/1.1 (RFC 6455 §4.2.1).
    Upgrade,
    /// Extended CONNECT of HTTP/2 and HTTP/3 (RFC 8441 §5, RFC 9220).
    Connect,
}

impl HandshakeForm {
    /// Returns the form, if the request is a handshake.
    pub(crate) fn of(method: &Method, version: Version, uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        match *method {
            Method::GET if version == Version::HTTP_11 => {
                let upgrade = has_member(headers, &header::UPGRADE, b"websocket")
                    && has_member(headers, &header::CONNECTION, b"upgrade");
                upgrade.then_some(Self::Upgrade)
            }
            // Only extended CONNECT has a scheme (RFC 8441 §4). `:protocol` is not in the types of the http crate, but of all
            // protocols only a WebSocket has this header.
            Method::CONNECT if version >= Version::HTTP_2 => {
                let extended = uri.scheme().is_some() && headers.contains_key(header::SEC_WEBSOCKET_VERSION);
                extended.then_some(Self::Connect)
            }
            _ => None,
        }
    }

    /// True if a response with this status opens the WebSocket.
    pub(crate) fn is_opened_by(self, status: StatusCode) -> bool {
        match self {
            Self::Upgrade => status == StatusCode::SWITCHING_PROTOCOLS,
            Self::Connect => status.is_success(),
        }
    }
}

/// The subprotocols that a client offers.
pub(crate) struct OfferedProtocols<'h> {
    entries: Vec<OfferedProtocol<'h>>,
}

enum OfferedProtocol<'h> {
    /// The subprotocol that marks the token.
    Name(&'h [u8]),
    /// The entry after it.
    Token(&'h [u8]),
    /// What follows after the name and a dot: a token in base64url.
    EncodedToken(&'h [u8]),
    Other(&'h [u8]),
}

impl<'h> OfferedProtocols<'h> {
    /// Reads all lines of the header as one list (RFC 9110 §5.3, §5.6.1).
    pub(crate) fn read(headers: &'h HeaderMap, name: &str) -> Self {
        let name = name.as_bytes();
        let mut after_name = false;
        let entries = members(headers, &header::SEC_WEBSOCKET_PROTOCOL).map(|entry| {
            let encoded = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"."));
            let found = match encoded {
                Some(encoded) => OfferedProtocol::EncodedToken(encoded),
                None if after_name => OfferedProtocol::Token(entry),
                None if entry == name => OfferedProtocol::Name(entry),
                None => OfferedProtocol::Other(entry),
            };
            after_name = matches!(found, OfferedProtocol::Name(_));
            found
        });
        Self { entries: entries.collect() }
    }

    /// Returns every token, or why an entry can't be one.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = Result<Cow<'h, [u8]>, AuthError>> {
        self.entries.iter().filter_map(|entry| match entry {
            // The syntax of a subprotocol (RFC 6455 §4.1).
            OfferedProtocol::Token(token) if is_http_token(token) => Some(Ok(Cow::Borrowed(*token))),
            OfferedProtocol::Token(_) => Some(Err(Reason::MalformedCredentials.into())),
            OfferedProtocol::EncodedToken(encoded) => {
                let decoded = URL_SAFE_NO_PAD.decode(encoded).map(Cow::Owned);
                Some(decoded.map_err(|_| Reason::MalformedCredentials.into()))
            }
            OfferedProtocol::Name(_) | OfferedProtocol::Other(_) => None,
        })
    }

    /// True if the subprotocol that marks the token is an entry of its own, so that the response may choose it.
    pub(crate) fn offer_the_name(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, OfferedProtocol::Name(_)))
    }

    /// Returns the header's value without the tokens. `None` if nothing is left.
    pub(crate) fn without_tokens(&self) -> Option<HeaderValue> {
        let kept = self.entries.iter().filter_map(|entry| match entry {
            OfferedProtocol::Name(entry) | OfferedProtocol::Other(entry) => Some(*entry),
            OfferedProtocol::Token(_) | OfferedProtocol::EncodedToken(_) => None,
        });
        let kept: Vec<&[u8]> = kept.collect();
        (!kept.is_empty()).then(|| HeaderValue::from_bytes(&kept.join(&b", "[..])).ok())?
    }
}

/// Returns the members of a header that is a list. Empty ones are skipped (RFC 9110 §5.6.1.2).
fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let members = headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

fn has_member(headers: &HeaderMap, name: &HeaderName, expected: &[u8]) -> bool {
    members(headers, name).any(|member| member.eq_ignore_ascii_case(expected))
}
