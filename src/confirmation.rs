//! [`Confirmation`]: the key or the certificate that a token is bound to (RFC 7800 §3, RFC 9449 §6, RFC 8705 §3.1).
//!
//! *In*: the claim `cnf`. *Out*: the thumbprints that the sender must prove, or that the token is bound in a way that this
//! crate can't check.
//!
//! Whether the sender has the key is *not* checked here.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap};

use crate::json::{Str, object};

/// A SHA-256 hash: the thumbprint of a JWK (RFC 7638) or of a certificate (RFC 8705 §3.1).
pub(crate) type Thumbprint = [u8; 32];

/// The key, the certificate, or both that a token is bound to: `cnf` of the token (RFC 7800).
///
/// [`Token::confirmation`](crate::Token::confirmation) returns it only if the sender of the request proved that it has them.
/// It serializes as the claim does, for example as `{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Confirmation {
    key: Option<Thumbprint>,
    certificate: Option<Thumbprint>,
}

/// What a token that has `cnf` is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    Known(Confirmation),
    /// `cnf` is `null`, empty or malformed, or has a member that this crate doesn't know. So the sender can't prove it.
    Unknown,
}

impl Confirmation {
    /// Returns the confirmation of a key, a certificate, or both. `None` without either.
    pub(crate) fn new(key: Option<Thumbprint>, certificate: Option<Thumbprint>) -> Option<Self> {
        (key.is_some() || certificate.is_some()).then_some(Self { key, certificate })
    }

    /// Returns `jkt`: the thumbprint of the client's JWK in base64url (RFC 9449 §6.1).
    #[must_use]
    pub fn jwk_thumbprint(&self) -> Option<String> {
        self.key.as_ref().map(encoded)
    }

    /// Returns `x5t#S256`: the SHA-256 hash of the client's certificate in base64url (RFC 8705 §3.1).
    #[must_use]
    pub fn certificate_thumbprint(&self) -> Option<String> {
        self.certificate.as_ref().map(encoded)
    }

    pub(crate) fn key(&self) -> Option<&Thumbprint> {
        self.key.as_ref()
    }

    pub(crate) fn certificate(&self) -> Option<&Thumbprint> {
        self.certificate.as_ref()
    }
}

impl Binding {
    /// True if the token is bound to a key (RFC 9449 §6).
    pub(crate) fn has_key(&self) -> bool {
        matches!(self, Self::Known(confirmation) if confirmation.key.is_some())
    }

    /// Parses the claim `cnf`.
    pub(crate) fn parse(claim: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct ConfirmationMembers {
            #[serde(default, deserialize_with = "thumbprint")]
            jkt: Option<Thumbprint>,
            #[serde(default, deserialize_with = "thumbprint", rename = "x5t#S256")]
            certificate: Option<Thumbprint>,
        }
        let members = object::<ConfirmationMembers>(claim).ok();
        members
            .and_then(|members| Confirmation::new(members.jkt, members.certificate))
            .map_or(Self::Unknown, Self::Known)
    }
}

/// Reads a thumbprint that is present: `null` is malformed.
fn thumbprint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Thumbprint>, D::Error> {
    let Str(text) = Str::deserialize(deserializer)?;
    decoded(&text).map(Some).ok_or_else(|| D::Error::custom("not a SHA-256 hash in base64url"))
}

/// Returns the thumbprint of 43 characters of base64url without padding.
pub(crate) fn decoded(text: &str) -> Option<Thumbprint> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Returns the thumbprint in base64url without padding.
pub(crate) fn encoded(thumbprint: &Thumbprint) -> String {
    URL_SAFE_NO_PAD.encode(thumbprint)
}

impl Serialize for Confirmation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        if let Some(thumbprint) = self.jwk_thumbprint() {
            members.serialize_entry("jkt", &thumbprint)?;
        }
        if let Some(thumbprint) = self.certificate_thumbprint() {
            members.serialize_entry("x5t#S256", &thumbprint)?;
        }
        members.end()
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation")
            .field("jkt", &self.jwk_thumbprint())
            .field("x5t#S256", &self.certificate_thumbprint())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    fn parse(claim: &str) -> Option<(Option<String>, Option<String>)> {
        match Binding::parse(claim) {
            Binding::Known(known) => Some((known.jwk_thumbprint(), known.certificate_thumbprint())),
            Binding::Unknown => None,
        }
    }

    #[test]
    fn a_confirmation_is_known_if_all_of_it_can_be_proven() {
        let hash = || Some(HASH.to_owned());
        assert_eq!(parse(&format!(r#"{{"jkt":"{HASH}"}}"#)), Some((hash(), None)));
        assert_eq!(parse(&format!(r#"{{"x5t#S256":"{HASH}"}}"#)), Some((None, hash())));
        assert_eq!(parse(&format!(r#" {{ "x5t#S256":"{HASH}", "jkt":"{HASH}" }}"#)), Some((hash(), hash())));
        for other in ["null", "{}", "\"a\"", "[]", "1", "true", r#"{"jkt":""}"#, r#"{"jkt":null}"#, r#"{"jkt":1}"#] {
            assert_eq!(parse(other), None, "{other}");
        }
        for (members, why) in [
            (format!(r#""jkt":"{HASH}=""#), "padding"),
            (format!(r#""jkt":"{}""#, HASH.replace('-', "+")), "the standard alphabet"),
            (format!(r#""jkt":"{}""#, &HASH[..42]), "31 bytes"),
            (format!(r#""jkt":"{}""#, HASH.replace("A4I", "A4J")), "bits after the last byte"),
            (format!(r#""jkt":"{HASH}","kid":"a""#), "a member that is not known"),
            (format!(r#""jkt":"{HASH}","x5t#S256":null"#), "null"),
            (format!(r#""jkt":"{HASH}","jkt":"{HASH}""#), "a duplicate"),
            (format!(r#""JKT":"{HASH}""#), "another case"),
            (format!(r#""x5t":"{HASH}""#), "SHA-1"),
            (r#""jwk":{"kty":"OKP"}"#.to_owned(), "a key"),
        ] {
            assert_eq!(parse(&format!("{{{members}}}")), None, "{why}");
        }
    }

    #[test]
    fn a_confirmation_serializes_as_the_claim() {
        let claim = format!(r#"{{"jkt":"{HASH}","x5t#S256":"{HASH}"}}"#);
        let Binding::Known(known) = Binding::parse(&claim) else { panic!("it is known") };
        assert_eq!(serde_json::to_string(&known).unwrap(), claim);
    }
}
