//! The thumbprint of a public key (RFC 7638).
//!
//! *In*: the required members of a JWK, as they are in its text. *Out*: their SHA-256 hash.

#[cfg(any(feature = "token-endpoint", feature = "test-util"))]
use super::public_members;
#[cfg(any(feature = "token-endpoint", feature = "test-util"))]
use crate::jws::KeyMaterial;
use crate::{confirmation::Thumbprint, jws::sha256};

/// The required members of a public key (RFC 7638 §3.2, RFC 8037 §2). Their values need no escapes in JSON.
#[derive(Clone, Copy)]
pub(super) enum RequiredMembers<'m> {
    Rsa { n: &'m str, e: &'m str },
    Ec { crv: &'m str, x: &'m str, y: &'m str },
    Okp { crv: &'m str, x: &'m str },
}

impl RequiredMembers<'_> {
    /// Hashes the members in the order of their names, without white space (RFC 7638 §3.3).
    pub(super) fn thumbprint(&self) -> Thumbprint {
        match self {
            Self::Rsa { n, e } => hash(&["{\"e\":\"", e, "\",\"kty\":\"RSA\",\"n\":\"", n, "\"}"]),
            Self::Ec { crv, x, y } => {
                hash(&["{\"crv\":\"", crv, "\",\"kty\":\"EC\",\"x\":\"", x, "\",\"y\":\"", y, "\"}"])
            }
            Self::Okp { crv, x } => hash(&["{\"crv\":\"", crv, "\",\"kty\":\"OKP\",\"x\":\"", x, "\"}"]),
        }
    }
}

/// Returns the thumbprint of a key. That of a secret is the hash of an empty object, because a secret has no public members.
#[cfg(any(feature = "token-endpoint", feature = "test-util"))]
pub(crate) fn thumbprint(key: &KeyMaterial) -> Thumbprint {
    let jwk = public_members(key);
    let member = |name| jwk.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let members = match key {
        KeyMaterial::Rsa { .. } => RequiredMembers::Rsa { n: member("n"), e: member("e") },
        KeyMaterial::Ec { .. } => RequiredMembers::Ec { crv: member("crv"), x: member("x"), y: member("y") },
        KeyMaterial::Ed25519(_) => RequiredMembers::Okp { crv: member("crv"), x: member("x") },
        KeyMaterial::Secret(_) => return hash(&["{}"]),
    };
    members.thumbprint()
}

fn hash(parts: &[&str]) -> Thumbprint {
    sha256(parts.iter().map(|part| part.as_bytes()))
}
