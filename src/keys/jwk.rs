//! JSON Web Keys (RFC 7517 §4, RFC 7518 §6).
//!
//! *In*: the JSON of a JWK set. *Out*: each key, or why it is not used.
//!
//! The parser is lenient where issuers err and no other key can result: `=` padding, leading zeros, empty optional members.

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};

use super::LoadedKey;
use crate::{
    json::{Skip, Str, issuer_text, object},
    jws::{Curve, KeyMaterial, SignatureAlgorithm},
};

#[derive(Deserialize)]
struct PublicJwkSet<'j> {
    #[serde(borrow)]
    keys: Vec<&'j RawValue>,
}

/// The members that are used. Unknown members are ignored (§4). A duplicate of a used one makes the key malformed.
#[derive(Deserialize)]
struct PublicJwk<'j> {
    #[serde(borrow)]
    kty: Str<'j>,
    #[serde(borrow)]
    kid: Option<Str<'j>>,
    #[serde(borrow)]
    alg: Option<Str<'j>>,
    #[serde(borrow, rename = "use")]
    public_key_use: Option<Str<'j>>,
    #[serde(borrow)]
    key_ops: Option<Vec<Str<'j>>>,
    #[serde(borrow)]
    crv: Option<Str<'j>>,
    #[serde(borrow)]
    n: Option<Str<'j>>,
    #[serde(borrow)]
    e: Option<Str<'j>>,
    #[serde(borrow)]
    x: Option<Str<'j>>,
    #[serde(borrow)]
    y: Option<Str<'j>>,
    /// Private members (RFC 7518 §6.2.2, §6.3.2). A key that was published with them is not secret any more.
    d: Option<PrivateMember>,
    p: Option<PrivateMember>,
    q: Option<PrivateMember>,
    dp: Option<PrivateMember>,
    dq: Option<PrivateMember>,
    qi: Option<PrivateMember>,
    oth: Option<PrivateMember>,
}

/// Returns the public members of a key (RFC 7518 §6). They are an allow-list, so no private member can be among them.
pub(crate) fn public_members(key: &KeyMaterial) -> Value {
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match key {
        KeyMaterial::Rsa { modulus, exponent } => json!({"kty": "RSA", "n": b64(modulus), "e": b64(exponent)}),
        KeyMaterial::Ec { curve, x, y } => {
            json!({"kty": "EC", "crv": curve.as_str(), "x": b64(x), "y": b64(y)})
        }
        KeyMaterial::Ed25519(point) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(point)}),
        KeyMaterial::Secret(_) => json!({}),
    }
}

/// Parses a key set of an issuer or a configuration. This lenient parser must never read the key of a proof (RFC 9449
/// §4.2), because it accepts several forms of one key.
pub(super) fn parse_set(json: &[u8]) -> Result<Vec<Result<LoadedKey, &'static str>>, String> {
    let text = issuer_text(json).map_err(|_| "it is not UTF-8".to_owned())?;
    let set: PublicJwkSet<'_> = object(text).map_err(|error| {
        if text.contains("-----BEGIN CERTIFICATE-----") {
            return CERTIFICATES.to_owned();
        }
        // A text that is not an object has no place of the mistake.
        let (line, column) = (error.line().max(1), error.column());
        format!("it is not a JWK set (line {line}, column {column}){}", other_form(text))
    })?;
    Ok(set.keys.into_iter().map(|key| parse_key(key.get())).collect())
}

/// Returns what a text is that is not a JWK set, if it is one of the usual mistakes.
fn other_form(text: &str) -> &'static str {
    #[derive(Deserialize)]
    struct SingleJwk {
        #[serde(rename = "kty")]
        _kty: Skip,
    }
    if text.trim_ascii_start().starts_with('[') {
        ", but an array without the object around it, which is {\"keys\": […]}"
    } else if object::<SingleJwk>(text).is_ok() {
        ", but one JWK without the set around it, which is {\"keys\": [{…}]}"
    } else {
        ""
    }
}

fn parse_key(json: &str) -> Result<LoadedKey, &'static str> {
    let jwk: PublicJwk<'_> = object(json).map_err(|_| "it is malformed")?;
    if &*jwk.kty.0 == "oct" {
        return Err("a symmetric key");
    }
    let private = [&jwk.d, &jwk.p, &jwk.q, &jwk.dp, &jwk.dq, &jwk.qi, &jwk.oth];
    if private.into_iter().flatten().any(|member| *member == PrivateMember::Published) {
        return Err("it has private members, so it is not secret any more");
    }
    check_purpose(&jwk)?;
    let algorithm = match not_empty(jwk.alg.as_ref()) {
        Some(name) => {
            Some(SignatureAlgorithm::from_name(name).ok_or("its alg is not a supported signature algorithm")?)
        }
        None => None,
    };
    let id = not_empty(jwk.kid.as_ref()).map(str::to_owned);
    Ok(LoadedKey { algorithm, material: material(&jwk)?.into(), id })
}

/// Returns the text of an optional member. An empty one says nothing, as if the member were absent.
fn not_empty<'j>(member: Option<&'j Str<'_>>) -> Option<&'j str> {
    member.map(|Str(text)| &**text).filter(|text| !text.is_empty())
}

/// Checks `use` (§4.2) and `key_ops` (§4.3).
fn check_purpose(jwk: &PublicJwk<'_>) -> Result<(), &'static str> {
    if not_empty(jwk.public_key_use.as_ref()).is_some_and(|purpose| purpose != "sig") {
        return Err("its use is not sig");
    }
    let Some(operations) = jwk.key_ops.as_ref().filter(|operations| !operations.is_empty()) else { return Ok(()) };
    let mut names: Vec<&str> = operations.iter().map(|Str(name)| &**name).collect();
    if !names.contains(&"verify") {
        return Err("its key_ops have no verify");
    }
    names.sort_unstable();
    names.dedup();
    if names.len() == operations.len() { Ok(()) } else { Err("its key_ops have a duplicate") }
}

fn material(jwk: &PublicJwk<'_>) -> Result<KeyMaterial, &'static str> {
    match (&*jwk.kty.0, jwk.crv.as_ref().map(|Str(curve)| &**curve)) {
        ("RSA", _) => Ok(KeyMaterial::Rsa { modulus: number(jwk.n.as_ref())?, exponent: number(jwk.e.as_ref())? }),
        ("EC", Some("P-256")) => ec(Curve::P256, jwk),
        ("EC", Some("P-384")) => ec(Curve::P384, jwk),
        ("EC", Some("P-521")) => ec(Curve::P521, jwk),
        ("OKP", Some("Ed25519")) => {
            let point = bytes(jwk.x.as_ref())?;
            Ok(KeyMaterial::Ed25519(point.try_into().map_err(|_| "an Ed25519 point has 32 bytes")?))
        }
        ("EC" | "OKP", Some(_)) => Err("its curve is not supported"),
        ("EC" | "OKP", None) => Err("it lacks crv"),
        _ => Err("its kty is not supported"),
    }
}

fn ec(curve: Curve, jwk: &PublicJwk<'_>) -> Result<KeyMaterial, &'static str> {
    Ok(KeyMaterial::Ec { curve, x: coordinate(curve, jwk.x.as_ref())?, y: coordinate(curve, jwk.y.as_ref())? })
}

/// Decodes a coordinate to the length of the curve's field. RFC 7518 §6.2.1.2 requires that length, but some libraries leave
/// out leading zeros or add one.
fn coordinate(curve: Curve, member: Option<&Str<'_>>) -> Result<Vec<u8>, &'static str> {
    let bytes = bytes(member)?;
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let digits = without_leading_zeros(&bytes);
    let missing = curve.field_bytes().saturating_sub(digits.len());
    Ok([&*vec![0; missing], digits].concat())
}

/// Decodes base64url. Accepts `=` padding, which RFC 7515 §2 forbids.
fn bytes(member: Option<&Str<'_>>) -> Result<Vec<u8>, &'static str> {
    let Str(text) = member.ok_or("it lacks a member of its kind of key")?;
    URL_SAFE.decode(&**text).map_err(|_| "a member is not base64url")
}

/// Decodes a number. Accepts and removes leading zeros: RFC 7518 §2 forbids them, but some libraries write them.
fn number(member: Option<&Str<'_>>) -> Result<Vec<u8>, &'static str> {
    Ok(without_leading_zeros(&bytes(member)?).to_vec())
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// A private member of a published key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PrivateMember {
    /// An empty string or array, as `oth` of a key with two primes (RFC 7518 §6.3.2.7).
    Empty,
    Published,
}

impl<'de> Deserialize<'de> for PrivateMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PrivateMemberVisitor)
    }
}

struct PrivateMemberVisitor;

impl<'de> Visitor<'de> for PrivateMemberVisitor {
    type Value = PrivateMember;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<PrivateMember, E> {
        Ok(PrivateMember::Published)
    }

    fn visit_i64<E>(self, _: i64) -> Result<PrivateMember, E> {
        Ok(PrivateMember::Published)
    }

    fn visit_u64<E>(self, _: u64) -> Result<PrivateMember, E> {
        Ok(PrivateMember::Published)
    }

    fn visit_f64<E>(self, _: f64) -> Result<PrivateMember, E> {
        Ok(PrivateMember::Published)
    }

    fn visit_str<E>(self, text: &str) -> Result<PrivateMember, E> {
        Ok(if text.is_empty() { PrivateMember::Empty } else { PrivateMember::Published })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<PrivateMember, A::Error> {
        let mut member = PrivateMember::Empty;
        while seq.next_element::<Skip>()?.is_some() {
            member = PrivateMember::Published;
        }
        Ok(member)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PrivateMember, A::Error> {
        Skip.visit_map(map).map(|Skip| PrivateMember::Published)
    }
}

const CERTIFICATES: &str = "it has certificates and no keys, like Firebase's map of certificates; the issuer publishes its \
                            JWK set at another URL";
/// base64url with or without padding.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
