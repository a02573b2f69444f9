//! Public keys in the encodings that servers use.
//!
//! *In*: a key. *Out*: base64url, DER or PEM.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pkcs1::{RsaPublicKey, UintRef};
use spki::{
    AlgorithmIdentifier, ObjectIdentifier, SubjectPublicKeyInfo,
    der::{Any, Encode, EncodePem, asn1::BitString, pem::LineEnding},
};

use crate::jws::{Curve, KeyMaterial};

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Returns `SubjectPublicKeyInfo` in DER and in PEM; empty for a secret.
pub(super) fn spki(key: &KeyMaterial) -> (Vec<u8>, String) {
    encode_spki(key).expect("a generated key can be encoded")
}

fn encode_spki(key: &KeyMaterial) -> Result<(Vec<u8>, String), spki::der::Error> {
    let oid = ObjectIdentifier::new_unwrap;
    let (oid, parameters, bits) = match key {
        KeyMaterial::Rsa { .. } => (oid("1.2.840.113549.1.1.1"), Some(Any::null()), pkcs1(key)?),
        KeyMaterial::Ec { curve, x, y } => {
            let curve = match curve {
                Curve::P256 => oid("1.2.840.10045.3.1.7"),
                Curve::P384 => oid("1.3.132.0.34"),
                Curve::P521 => oid("1.3.132.0.35"),
            };
            (oid("1.2.840.10045.2.1"), Some(Any::encode_from(&curve)?), KeyMaterial::uncompressed_point(x, y))
        }
        KeyMaterial::Ed25519(point) => (oid("1.3.101.112"), None, point.to_vec()),
        KeyMaterial::Secret(_) => return Ok((Vec::new(), String::new())),
    };
    let info = SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifier { oid, parameters },
        subject_public_key: BitString::from_bytes(&bits)?,
    };
    Ok((info.to_der()?, info.to_pem(LineEnding::LF)?))
}

/// Returns PKCS#1 `RSAPublicKey` in DER; empty for other keys.
pub(super) fn pkcs1(key: &KeyMaterial) -> Result<Vec<u8>, spki::der::Error> {
    match key {
        KeyMaterial::Rsa { modulus, exponent } => {
            RsaPublicKey { modulus: UintRef::new(modulus)?, public_exponent: UintRef::new(exponent)? }.to_der()
        }
        _ => Ok(Vec::new()),
    }
}
