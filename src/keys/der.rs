//! Public keys in DER and PEM (RFC 5280 §4.1, RFC 7468, RFC 8017 A.1.1, RFC 5480, RFC 8410).
//!
//! *In*: DER, one PEM block, or base64. *Out*: one key, or why it is not used. Its strength is *not* checked here.

use base64::{Engine, engine::general_purpose::STANDARD};
use pkcs1::RsaPublicKey;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef, der::Decode};

use super::LoadedKey;
use crate::jws::{Curve, KeyMaterial};

pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Parses one PEM block, or its base64 alone, as Keycloak's console shows it.
pub(super) fn from_pem(text: &[u8]) -> Result<LoadedKey, &'static str> {
    let text = str::from_utf8(text).map_err(|_| NOT_PEM)?.trim_start_matches('\u{feff}').trim();
    let parsed = if text.contains("-----") { from_block(text) } else { base64(text).and_then(|der| from_der(&der)) };
    match parsed {
        Err(NOT_PEM) if text.contains("\\n") => {
            Err("its line breaks are written as \\n; give the text with real line breaks")
        }
        parsed => parsed,
    }
}

/// Parses one PEM block. Lines may have any length (RFC 7468 §3, the lax form): Python writes 76 characters.
fn from_block(text: &str) -> Result<LoadedKey, &'static str> {
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(NOT_PEM)?;
    let (label, rest) = rest.split_once("-----").ok_or(NOT_PEM)?;
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => return Err(CERTIFICATE),
        label if label.ends_with("PRIVATE KEY") => {
            return Err(PRIVATE);
        }
        _ => return Err("a PEM block that is not a public key"),
    }
    let (content, end) = rest.split_once("-----END ").ok_or(NOT_PEM)?;
    if end.strip_prefix(label) != Some("-----") {
        return Err(NOT_PEM);
    }
    from_der(&base64(content)?)
}

fn base64(text: &str) -> Result<Vec<u8>, &'static str> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(&digits).ok().filter(|der| !der.is_empty()).ok_or(NOT_PEM)
}

pub(super) fn from_der(der: &[u8]) -> Result<LoadedKey, &'static str> {
    let material = match SubjectPublicKeyInfoRef::from_der(der) {
        Ok(info) => from_info(&info)?,
        Err(_) if is_certificate(der) => return Err(CERTIFICATE),
        Err(_) => rsa(der).map_err(|error| if is_private(der) { PRIVATE } else { error })?,
    };
    Ok(LoadedKey { id: None, algorithm: None, material: material.into() })
}

/// True for the start of an X.509 certificate: two sequences, then `[0]` with the version (RFC 5280 §4.1).
fn is_certificate(der: &[u8]) -> bool {
    der.starts_with(&[0x30]) && der.windows(4).take(9).any(|bytes| bytes == [0xa0, 3, 2, 1])
}

/// True for the start of a private key in PKCS#8 (RFC 5208 §5, RFC 5958 §2), PKCS#1 (RFC 8017 A.1.2) or SEC 1 (RFC 5915 §3):
/// a sequence whose first element is the version 0 or 1.
fn is_private(der: &[u8]) -> bool {
    let content = match der {
        [0x30, length, content @ ..] if *length < 0x80 => content,
        [0x30, 0x81, _, content @ ..] | [0x30, 0x82, _, _, content @ ..] => content,
        _ => return false,
    };
    matches!(content, [2, 1, 0 | 1, ..])
}

fn from_info(info: &SubjectPublicKeyInfoRef<'_>) -> Result<KeyMaterial, &'static str> {
    let key = info.subject_public_key.as_bytes().ok_or("its bit string is not made of whole bytes")?;
    match info.algorithm.oid {
        RSA => rsa(key),
        ED25519 => Ok(KeyMaterial::Ed25519(key.try_into().map_err(|_| "an Ed25519 point has 32 bytes")?)),
        EC => {
            let curve = info.algorithm.parameters_oid().ok().and_then(curve).ok_or("its curve is not supported")?;
            let [4, point @ ..] = key else { return Err("its point is not in the uncompressed form") };
            let (x, y) = point.split_at(point.len() / 2);
            Ok(KeyMaterial::Ec { curve, x: x.to_vec(), y: y.to_vec() })
        }
        _ => Err("its algorithm is not supported"),
    }
}

pub(super) fn curve(oid: ObjectIdentifier) -> Option<Curve> {
    match oid {
        P256 => Some(Curve::P256),
        P384 => Some(Curve::P384),
        P521 => Some(Curve::P521),
        _ => None,
    }
}

fn rsa(der: &[u8]) -> Result<KeyMaterial, &'static str> {
    let key = RsaPublicKey::from_der(der).map_err(|_| "it is not a public key in DER")?;
    Ok(KeyMaterial::Rsa { modulus: key.modulus.as_bytes().to_vec(), exponent: key.public_exponent.as_bytes().to_vec() })
}

const NOT_PEM: &str = "it is not one PEM block";
const PRIVATE: &str = "a private key; give its public key (openssl pkey -pubout)";
const CERTIFICATE: &str = "a certificate; give its public key (openssl x509 -pubkey -noout)";
