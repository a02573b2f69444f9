//! The JOSE header (RFC 7515 §4).
//!
//! *In*: the decoded header. *Out*: its members, or nothing if it is malformed. The parser is strict.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::SignatureAlgorithm;
use crate::json::{OtherNames, Skip, Str, once};

/// The members that are used. `jku`, `jwk`, `x5u` and `x5c` are never trusted, so they are ignored (RFC 8725 §3.10).
pub(crate) struct JoseHeader<'h> {
    /// `alg`. `None` if the algorithm is unknown.
    pub(crate) algorithm: Option<SignatureAlgorithm>,
    /// `alg` as it was sent, for logs.
    pub(crate) algorithm_name: Cow<'h, str>,
    pub(crate) key_id: Option<Cow<'h, str>>,
    pub(crate) typ: Option<Cow<'h, str>>,
    /// True if there is a `crit`, `b64` or `zip`. They require an extension that is not supported (RFC 7515 §4.1.11,
    /// RFC 7797 §6).
    pub(crate) critical: bool,
}

impl<'h> JoseHeader<'h> {
    /// Parses a JSON object in UTF-8. Each member is present once at most, and has the type of RFC 7515 §4.1.
    pub(crate) fn parse(bytes: &'h [u8]) -> Option<Self> {
        serde_json::from_str(str::from_utf8(bytes).ok()?).ok()
    }
}

/// True if `typ` is this media type. Upper and lower case don't matter (RFC 2045 §5.1), and `application/` may be left out
/// (RFC 7515 §4.1.9).
pub(crate) fn is_media_type(typ: &str, name: &str) -> bool {
    let prefix = "application/".len();
    match typ.split_at_checked(prefix) {
        Some((start, rest)) if start.eq_ignore_ascii_case("application/") => rest.eq_ignore_ascii_case(name),
        _ => typ.eq_ignore_ascii_case(name),
    }
}

impl<'de> Deserialize<'de> for JoseHeader<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = JoseHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut algorithm, mut key_id, mut typ) = (None, None, None);
        let mut critical = false;
        // A header is parsed before a signature is checked, so its cost is bounded here.
        let mut others = OtherNames::at_most(128);
        while let Some(Str(name)) = map.next_key()? {
            match &*name {
                "alg" => once(&mut algorithm, map.next_value::<Str<'de>>()?.0)?,
                "kid" => once(&mut key_id, map.next_value::<Str<'de>>()?.0)?,
                "typ" => once(&mut typ, map.next_value::<Str<'de>>()?.0)?,
                other => {
                    critical |= matches!(other, "crit" | "b64" | "zip");
                    map.next_value::<Skip>()?;
                    others.add(name)?;
                }
            }
        }
        let algorithm_name = algorithm.ok_or_else(|| A::Error::missing_field("alg"))?;
        let algorithm = SignatureAlgorithm::from_name(&algorithm_name);
        Ok(JoseHeader { algorithm, algorithm_name, key_id, typ, critical })
    }
}
