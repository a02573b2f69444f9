//! Public keys in DER and PEM (RFC 5280 §4.1, RFC 7468, RFC 8017 A.1.1, RFC 5480, RFC 8410).
//!
//! *In*: DER, or one PEM block. *Out*: one key, or why it is not used. Its strength is *not* checked here.

use pkcs1::RsaPublicKey;
use spki::{
    ObjectIdentifier, SubjectPublicKeyInfoRef,
    der::{Decode, pem},
};

use super::LoadedKey;
use crate::jws::{Curve, KeyMaterial};

pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

pub(super) fn from_pem(text: &[u8]) -> Result<LoadedKey, &'static str> {
    let (label, der) = pem::decode_vec(text.trim_ascii()).map_err(|_| "it is not one PEM block")?;
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => from_der(&der),
        "CERTIFICATE" => Err("a certificate; give its public key (openssl x509 -pubkey -noout)"),
        label if label.ends_with("PRIVATE KEY") => Err("a private key; give its public key (openssl pkey -pubout)"),
        _ => Err("a PEM block that is not a public key"),
    }
}

pub(super) fn from_der(der: &[u8]) -> Result<LoadedKey, &'static str> {
    let material = match SubjectPublicKeyInfoRef::from_der(der) {
        Ok(info) => from_info(&info)?,
        Err(_) => rsa(der)?,
    };
    Ok(LoadedKey { id: None, algorithm: None, material: material.into() })
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
