//! Private JSON Web Keys (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
//!
//! *In*: the JSON of one private JWK. *Out*: the key in PKCS#8, its algorithm and its `kid`. Whether the numbers belong
//! together is *not* checked here; the backend checks it when it loads the key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pkcs1::{RsaPrivateKey, UintRef};
use pkcs8::SecretDocument;
use sec1::EcPrivateKey;
use serde::Deserialize;
use spki::{
    AlgorithmIdentifierRef, ObjectIdentifier,
    der::{self as encoding, asn1::OctetStringRef, zeroize::Zeroizing},
};

use super::{GIVE_ANOTHER, NOT_RSA, mistake, pem};
use crate::{
    config_error::ConfigMistake,
    json::{Skip, Str, object},
    jws::{Algorithm, Curve, KeyMaterial},
    keys::der,
};

/// The content of a private JWK.
pub(super) struct PrivateJwkMembers {
    pub(super) der: SecretDocument,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) id: Option<String>,
}

/// The members that are used. Unknown members are ignored (RFC 7517 §4). A duplicate of a used one makes the key malformed.
#[derive(Deserialize)]
struct PrivateJwk<'j> {
    #[serde(borrow)]
    kty: Option<Str<'j>>,
    #[serde(borrow)]
    kid: Option<Str<'j>>,
    #[serde(borrow)]
    alg: Option<Str<'j>>,
    #[serde(borrow, rename = "use")]
    key_use: Option<Str<'j>>,
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
    #[serde(borrow)]
    d: Option<Str<'j>>,
    #[serde(borrow)]
    p: Option<Str<'j>>,
    #[serde(borrow)]
    q: Option<Str<'j>>,
    #[serde(borrow)]
    dp: Option<Str<'j>>,
    #[serde(borrow)]
    dq: Option<Str<'j>>,
    #[serde(borrow)]
    qi: Option<Str<'j>>,
    oth: Option<Skip>,
    /// Only in a JWK set.
    keys: Option<Skip>,
}

pub(super) fn parse(json: &[u8]) -> Result<PrivateJwkMembers, ConfigMistake> {
    // The message of serde_json is not used, because it may quote a value.
    let malformed = "it is not a JSON object, or a member of the JWK has a wrong type or a duplicate";
    let text = str::from_utf8(json).map_err(|_| mistake(malformed, GIVE))?;
    let jwk: PrivateJwk<'_> = object(text).map_err(|_| mistake(malformed, GIVE))?;
    if jwk.keys.is_some() {
        return Err(mistake("a JWK set", "give one private key of it"));
    }
    let kty = jwk.kty.as_ref().ok_or_else(|| lacks("kty"))?;
    if &*kty.0 == "oct" {
        return Err(mistake("a symmetric key", GIVE));
    }
    if jwk.d.is_none() {
        return Err(mistake("a public key, which cannot sign", GIVE));
    }
    check_purpose(&jwk)?;
    let algorithm = match &jwk.alg {
        Some(Str(name)) => {
            let known = name.parse::<Algorithm>().ok();
            Some(known.ok_or_else(|| mistake("its alg is not a supported signature algorithm", GIVE_ANOTHER))?)
        }
        None => None,
    };
    let der = match (&*kty.0, jwk.crv.as_ref().map(|Str(curve)| &**curve)) {
        ("RSA", _) => rsa(&jwk),
        ("EC", Some("P-256")) => ec(Curve::P256, der::P256, &jwk),
        ("EC", Some("P-384")) => ec(Curve::P384, der::P384, &jwk),
        ("EC", Some("P-521")) => ec(Curve::P521, der::P521, &jwk),
        ("OKP", Some("Ed25519")) => ed25519(&jwk),
        ("EC" | "OKP", Some(_)) => Err(mistake("its curve is not supported", GIVE_ANOTHER)),
        ("EC" | "OKP", None) => Err(lacks("crv")),
        _ => Err(mistake("its kty is not supported", GIVE_ANOTHER)),
    }?;
    Ok(PrivateJwkMembers { der, algorithm, id: jwk.kid.map(|Str(id)| id.into_owned()) })
}

/// Checks `use` (RFC 7517 §4.2) and `key_ops` (§4.3).
fn check_purpose(jwk: &PrivateJwk<'_>) -> Result<(), ConfigMistake> {
    if jwk.key_use.as_ref().is_some_and(|Str(purpose)| purpose != "sig") {
        return Err(mistake("its use is not sig", GIVE_FOR_SIGNING));
    }
    match &jwk.key_ops {
        Some(operations) if !operations.iter().any(|Str(name)| name == "sign") => {
            Err(mistake("its key_ops have no sign", GIVE_FOR_SIGNING))
        }
        _ => Ok(()),
    }
}

/// Returns an RSA key in PKCS#8 (RFC 7518 §6.3.2). All members are required: with `d` alone, signing is slower and easier to
/// attack by faults.
fn rsa(jwk: &PrivateJwk<'_>) -> Result<SecretDocument, ConfigMistake> {
    if jwk.oth.is_some() {
        return Err(mistake("an RSA key of more than two primes", GIVE_ANOTHER));
    }
    let (modulus, public_exponent) = (bytes(jwk.n.as_ref(), "n")?, bytes(jwk.e.as_ref(), "e")?);
    let private_exponent = bytes(jwk.d.as_ref(), "d")?;
    let primes = (bytes(jwk.p.as_ref(), "p")?, bytes(jwk.q.as_ref(), "q")?);
    let exponents = (bytes(jwk.dp.as_ref(), "dp")?, bytes(jwk.dq.as_ref(), "dq")?);
    let coefficient = bytes(jwk.qi.as_ref(), "qi")?;
    let encode = || {
        SecretDocument::encode_msg(&RsaPrivateKey {
            modulus: UintRef::new(&modulus)?,
            public_exponent: UintRef::new(&public_exponent)?,
            private_exponent: UintRef::new(&private_exponent)?,
            prime1: UintRef::new(&primes.0)?,
            prime2: UintRef::new(&primes.1)?,
            exponent1: UintRef::new(&exponents.0)?,
            exponent2: UintRef::new(&exponents.1)?,
            coefficient: UintRef::new(&coefficient)?,
            other_prime_infos: None,
        })
    };
    let key = encode().map_err(|_: encoding::Error| mistake(NOT_RSA, GIVE_ANOTHER))?;
    pem::from_pkcs1(key.as_bytes())
}

/// Returns an EC key in PKCS#8 (RFC 7518 §6.2). Each number must have the length of the curve's field.
fn ec(curve: Curve, oid: ObjectIdentifier, jwk: &PrivateJwk<'_>) -> Result<SecretDocument, ConfigMistake> {
    let (x, y, d) = (bytes(jwk.x.as_ref(), "x")?, bytes(jwk.y.as_ref(), "y")?, bytes(jwk.d.as_ref(), "d")?);
    if [&x, &y, &d].iter().any(|number| number.len() != curve.field_bytes()) {
        return Err(mistake("x, y or d does not have the length of the curve's field", GIVE));
    }
    let point = KeyMaterial::uncompressed_point(&x, &y);
    let key = EcPrivateKey { private_key: &d, parameters: None, public_key: Some(&point) };
    let key = SecretDocument::encode_msg(&key).map_err(|_| mistake("its numbers do not make a key", GIVE_ANOTHER))?;
    pem::wrap(AlgorithmIdentifierRef { oid: der::EC, parameters: Some((&oid).into()) }, key.as_bytes(), None)
}

/// Returns an Ed25519 key in PKCS#8 (RFC 8037 §2, RFC 8410 §7).
fn ed25519(jwk: &PrivateJwk<'_>) -> Result<SecretDocument, ConfigMistake> {
    let (x, d) = (bytes(jwk.x.as_ref(), "x")?, bytes(jwk.d.as_ref(), "d")?);
    if x.len() != 32 || d.len() != 32 {
        return Err(mistake("x or d of an Ed25519 key does not have 32 bytes", GIVE));
    }
    let seed = OctetStringRef::new(&d).and_then(|seed| Ok(Zeroizing::new(encoding::Encode::to_der(&seed)?)));
    let seed = seed.map_err(|_| mistake("its numbers do not make a key", GIVE_ANOTHER))?;
    pem::wrap(AlgorithmIdentifierRef { oid: der::ED25519, parameters: None }, &seed, Some(&x))
}

fn bytes(member: Option<&Str<'_>>, name: &'static str) -> Result<Zeroizing<Vec<u8>>, ConfigMistake> {
    let Str(text) = member.ok_or_else(|| lacks(name))?;
    let decoded = URL_SAFE_NO_PAD.decode(&**text);
    decoded.map(Zeroizing::new).map_err(|_| mistake(format!("its {name} is not base64url without padding"), GIVE))
}

fn lacks(name: &'static str) -> ConfigMistake {
    mistake(format!("it lacks {name}"), GIVE)
}

const GIVE: &str = "give a private JWK with all members of its kind (RFC 7518 §6)";
const GIVE_FOR_SIGNING: &str = "give a key for signing";
