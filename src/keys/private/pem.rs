//! Private keys in PEM (RFC 7468 §10, RFC 5958, RFC 8017 A.1.2, RFC 5915).
//!
//! *In*: one PEM block. *Out*: the key in PKCS#8.

use pkcs8::{PrivateKeyInfo, SecretDocument};
use sec1::{EcParameters, EcPrivateKey};
use spki::{
    AlgorithmIdentifierRef,
    der::{Decode, asn1::AnyRef, pem},
};

use super::mistake;
use crate::{config_error::ConfigMistake, keys::der};

pub(super) fn parse(text: &[u8]) -> Result<SecretDocument, ConfigMistake> {
    let text = text.trim_ascii();
    let malformed = || mistake("it is not one PEM block", GIVE);
    let text = str::from_utf8(text).map_err(|_| malformed())?;
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(mistake(ENCRYPTED, DECRYPT));
    }
    match text.matches("-----BEGIN ").count() {
        1 if text.contains("\\n") => {
            return Err(mistake("its line breaks are written as \\n", "give the text with real line breaks"));
        }
        0 | 1 => {}
        blocks => {
            return Err(mistake(format!("{blocks} PEM blocks"), "give the private key's block alone"));
        }
    }
    match pem::decode_label(text.as_bytes()).map_err(|_| malformed())? {
        "PRIVATE KEY" => block(text),
        "RSA PRIVATE KEY" => from_pkcs1(block(text)?.as_bytes()),
        "EC PRIVATE KEY" => from_sec1(block(text)?.as_bytes()),
        "ENCRYPTED PRIVATE KEY" => Err(mistake(ENCRYPTED, DECRYPT)),
        "OPENSSH PRIVATE KEY" => Err(mistake("a private key in OpenSSH format", CONVERT_OPENSSH)),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Err(mistake("a public key, which cannot sign", GIVE)),
        "CERTIFICATE" => Err(mistake("a certificate, which cannot sign", GIVE)),
        _ => Err(mistake("a PEM block that is not a private key", GIVE)),
    }
}

fn block(text: &str) -> Result<SecretDocument, ConfigMistake> {
    SecretDocument::from_pem(text).map(|(_, der)| der).map_err(|_| mistake("its PEM block is malformed", GIVE))
}

pub(super) fn from_pkcs1(der: &[u8]) -> Result<SecretDocument, ConfigMistake> {
    wrap(AlgorithmIdentifierRef { oid: der::RSA, parameters: Some(AnyRef::NULL) }, der, None)
}

fn from_sec1(der: &[u8]) -> Result<SecretDocument, ConfigMistake> {
    let key = EcPrivateKey::from_der(der).map_err(|_| mistake("its PEM block is malformed", GIVE))?;
    let curve = key.parameters.and_then(EcParameters::named_curve);
    let curve = curve.ok_or_else(|| mistake("an EC key that does not name its curve", CONVERT))?;
    wrap(AlgorithmIdentifierRef { oid: der::EC, parameters: Some((&curve).into()) }, der, None)
}

/// Wraps a key in PKCS#8.
pub(super) fn wrap(
    algorithm: AlgorithmIdentifierRef<'_>,
    private_key: &[u8],
    public_key: Option<&[u8]>,
) -> Result<SecretDocument, ConfigMistake> {
    let info = PrivateKeyInfo { algorithm, private_key, public_key };
    SecretDocument::encode_msg(&info).map_err(|_| mistake("it is too large", GIVE))
}

const GIVE: &str = "give an unencrypted private key in PEM: PRIVATE KEY (openssl pkcs8 -topk8 -nocrypt)";
const CONVERT: &str = "convert it to PKCS#8 (openssl pkcs8 -topk8 -nocrypt)";
const ENCRYPTED: &str = "an encrypted private key";
const DECRYPT: &str = "decrypt it first (openssl pkey) and protect the file by other means";
const CONVERT_OPENSSH: &str = "convert it to PKCS#8 (ssh-keygen -p -m PKCS8 -f, on a copy)";
