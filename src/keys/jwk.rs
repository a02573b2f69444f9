//! JSON Web Keys (RFC 7517 §4, RFC 7518 §6).
//!
//! *In*: the JSON of a JWK set. *Out*: each key, or why it is not used.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::LoadedKey;
use crate::{
    json::{Skip, Str},
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
    d: Option<Skip>,
    p: Option<Skip>,
    q: Option<Skip>,
    dp: Option<Skip>,
    dq: Option<Skip>,
    qi: Option<Skip>,
    oth: Option<Skip>,
}

/// Returns the public members of a key (RFC 7518 §6). They are an allow-list, so no private member can be among them.
pub(crate) fn public_members(key: &KeyMaterial) -> Value {
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match key {
        KeyMaterial::Rsa { modulus, exponent } => json!({"kty": "RSA", "n": b64(modulus), "e": b64(exponent)}),
        KeyMaterial::Ec { curve, x, y } => {
            let curve = match curve {
                Curve::P256 => "P-256",
                Curve::P384 => "P-384",
                Curve::P521 => "P-521",
            };
            json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)})
        }
        KeyMaterial::Ed25519(point) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(point)}),
        KeyMaterial::Secret(_) => json!({}),
    }
}

pub(super) fn parse_set(json: &[u8]) -> Result<Vec<Result<LoadedKey, &'static str>>, String> {
    let text = str::from_utf8(json).map_err(|_| "it is not UTF-8".to_owned())?;
    let set: PublicJwkSet<'_> = serde_json::from_str(text)
        .map_err(|error| format!("it is not a JWK set (line {}, column {})", error.line(), error.column()))?;
    Ok(set.keys.into_iter().map(|key| parse_key(key.get())).collect())
}

fn parse_key(json: &str) -> Result<LoadedKey, &'static str> {
    let jwk: PublicJwk<'_> = serde_json::from_str(json).map_err(|_| "it is malformed")?;
    if &*jwk.kty.0 == "oct" {
        return Err("a symmetric key");
    }
    if [&jwk.d, &jwk.p, &jwk.q, &jwk.dp, &jwk.dq, &jwk.qi, &jwk.oth].iter().any(|member| member.is_some()) {
        return Err("it has private members, so it is not secret any more");
    }
    check_purpose(&jwk)?;
    let algorithm = match &jwk.alg {
        Some(Str(name)) => {
            Some(SignatureAlgorithm::from_name(name).ok_or("its alg is not a supported signature algorithm")?)
        }
        None => None,
    };
    Ok(LoadedKey { algorithm, material: material(&jwk)?.into(), id: jwk.kid.map(|Str(id)| id.into_owned()) })
}

/// Checks `use` (§4.2) and `key_ops` (§4.3).
fn check_purpose(jwk: &PublicJwk<'_>) -> Result<(), &'static str> {
    if jwk.public_key_use.as_ref().is_some_and(|Str(purpose)| purpose != "sig") {
        return Err("its use is not sig");
    }
    let Some(operations) = &jwk.key_ops else { return Ok(()) };
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
    Ok(KeyMaterial::Ec { curve, x: bytes(jwk.x.as_ref())?, y: bytes(jwk.y.as_ref())? })
}

fn bytes(member: Option<&Str<'_>>) -> Result<Vec<u8>, &'static str> {
    let Str(text) = member.ok_or("it lacks a member of its kind of key")?;
    URL_SAFE_NO_PAD.decode(&**text).map_err(|_| "a member is not base64url without padding")
}

/// Decodes a number. Accepts and removes leading zeros: RFC 7518 §2 forbids them, but some libraries write them.
fn number(member: Option<&Str<'_>>) -> Result<Vec<u8>, &'static str> {
    let bytes = bytes(member)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes.into_iter().skip(zeros).collect())
}
