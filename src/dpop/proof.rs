//! The header and the claims of a DPoP proof (RFC 9449 §4.2).
//!
//! *In*: their JSON, from any client. *Out*: the members that are used, or why the proof is refused. The parser is strict, and
//! ignores unknown members.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::{
    json::{AnyValue, OtherNames, Skip, Str, once},
    jws::{Algorithm, is_media_type},
    keys::{SenderJwk, SenderKey},
};

/// The members of the header that are used. `kid`, `jku`, `x5u` and `x5c` are ignored: nothing is fetched.
#[derive(Default)]
pub(super) struct ProofHeader<'h> {
    typ: Option<Str<'h>>,
    alg: Option<Str<'h>>,
    jwk: Option<SenderJwk<'h>>,
    /// True if there is a `crit`, `b64` or `zip`. They require an extension that is not supported (RFC 7515 §4.1.11,
    /// RFC 7797 §6).
    critical: bool,
}

impl<'h> ProofHeader<'h> {
    pub(super) fn parse(bytes: &'h [u8]) -> Result<Self, &'static str> {
        parse(bytes).ok_or("its header is malformed")
    }

    /// Checks the header, and returns its key (RFC 9449 §4.3, checks 4 to 7).
    pub(super) fn key(&self, algorithms: &[Algorithm]) -> Result<SenderKey, &'static str> {
        if self.critical {
            return Err("its header has crit, b64 or zip");
        }
        if !self.typ.as_ref().is_some_and(|Str(typ)| is_media_type(typ, "dpop+jwt")) {
            return Err("its typ is not dpop+jwt");
        }
        // `none` and HMAC algorithms are no `Algorithm`.
        let algorithm = self.alg.as_ref().and_then(|Str(name)| name.parse().ok());
        let algorithm =
            algorithm.filter(|algorithm| algorithms.contains(algorithm)).ok_or("its alg is not accepted")?;
        self.jwk.as_ref().ok_or("its header has no jwk")?.load(algorithm)
    }
}

/// The claims that are used.
pub(super) struct ProofClaims<'c> {
    pub(super) jwt_id: Cow<'c, str>,
    pub(super) method: Cow<'c, str>,
    pub(super) target: Cow<'c, str>,
    /// Unix seconds, possibly with a fraction.
    pub(super) issued_at: f64,
    pub(super) expires_at: Option<f64>,
    pub(super) not_before: Option<f64>,
    /// `ath` and `nonce` may have any type where they are not used.
    pub(super) token_hash: Option<AnyValue<'c>>,
    pub(super) nonce: Option<AnyValue<'c>>,
}

impl<'c> ProofClaims<'c> {
    pub(super) fn parse(bytes: &'c [u8]) -> Result<Self, &'static str> {
        let members: ClaimMembers<'c> = parse(bytes).ok_or("its claims are malformed")?;
        let Str(jwt_id) = members.jti.ok_or("it has no jti")?;
        if jwt_id.is_empty() || jwt_id.len() > MAX_JTI_BYTES {
            return Err("its jti is empty or longer than 512 bytes");
        }
        Ok(Self {
            jwt_id,
            method: members.htm.ok_or("it has no htm")?.0,
            target: members.htu.ok_or("it has no htu")?.0,
            issued_at: members.iat.ok_or("it has no iat")?.0,
            expires_at: members.exp.map(|Seconds(seconds)| seconds),
            not_before: members.nbf.map(|Seconds(seconds)| seconds),
            token_hash: members.ath,
            nonce: members.nonce,
        })
    }
}

/// Parses a JSON object in UTF-8.
fn parse<'j, T: Deserialize<'j>>(bytes: &'j [u8]) -> Option<T> {
    serde_json::from_str(str::from_utf8(bytes).ok()?).ok()
}

impl<'de> Deserialize<'de> for ProofHeader<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ProofHeaderVisitor)
    }
}

struct ProofHeaderVisitor;

impl<'de> Visitor<'de> for ProofHeaderVisitor {
    type Value = ProofHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header of a proof")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut header = ProofHeader::default();
        let mut others = OtherNames::at_most(MAX_MEMBERS);
        while let Some(Str(name)) = map.next_key()? {
            match &*name {
                "typ" => once(&mut header.typ, map.next_value()?)?,
                "alg" => once(&mut header.alg, map.next_value()?)?,
                "jwk" => once(&mut header.jwk, map.next_value()?)?,
                other => {
                    header.critical |= matches!(other, "crit" | "b64" | "zip");
                    map.next_value::<Skip>()?;
                    others.add(name)?;
                }
            }
        }
        Ok(header)
    }
}

#[derive(Default)]
struct ClaimMembers<'c> {
    jti: Option<Str<'c>>,
    htm: Option<Str<'c>>,
    htu: Option<Str<'c>>,
    iat: Option<Seconds>,
    exp: Option<Seconds>,
    nbf: Option<Seconds>,
    ath: Option<AnyValue<'c>>,
    nonce: Option<AnyValue<'c>>,
}

/// A number of seconds.
struct Seconds(f64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match AnyValue::deserialize(deserializer)? {
            AnyValue::Number(seconds) => Ok(Self(seconds)),
            _ => Err(serde::de::Error::custom("not a number")),
        }
    }
}

impl<'de> Deserialize<'de> for ClaimMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = ClaimMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of a proof")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut claims = ClaimMembers::default();
        let mut others = OtherNames::at_most(MAX_MEMBERS);
        while let Some(Str(name)) = map.next_key()? {
            match &*name {
                "jti" => once(&mut claims.jti, map.next_value()?)?,
                "htm" => once(&mut claims.htm, map.next_value()?)?,
                "htu" => once(&mut claims.htu, map.next_value()?)?,
                "iat" => once(&mut claims.iat, map.next_value()?)?,
                "exp" => once(&mut claims.exp, map.next_value()?)?,
                "nbf" => once(&mut claims.nbf, map.next_value()?)?,
                "ath" => once(&mut claims.ath, map.next_value()?)?,
                "nonce" => once(&mut claims.nonce, map.next_value()?)?,
                _ => {
                    map.next_value::<Skip>()?;
                    others.add(name)?;
                }
            }
        }
        Ok(claims)
    }
}

const MAX_JTI_BYTES: usize = 512;
/// Maximum number of members that are not used, in the header and in the claims.
const MAX_MEMBERS: usize = 64;
