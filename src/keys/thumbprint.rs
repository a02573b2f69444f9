//! The thumbprint of a public key (RFC 7638).
//!
//! *In*: the required members of a JWK, as they are in its text. *Out*: their SHA-256 hash.

use super::public_members;
use crate::{
    confirmation::Thumbprint,
    jws::{KeyMaterial, sha256},
};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirmation::encoded;

    #[test]
    fn a_thumbprint_is_that_of_the_specifications() {
        // RFC 7638 §3.1
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn\
                 jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q\
                 MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awap\
                 JzKnqDKgw";
        let key = RequiredMembers::Rsa { n, e: "AQAB" };
        assert_eq!(encoded(&key.thumbprint()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037, appendix A.3
        let key = RequiredMembers::Okp { crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" };
        assert_eq!(encoded(&key.thumbprint()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // RFC 9449 §4.2 and §6.1
        let x = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
        let key = RequiredMembers::Ec { crv: "P-256", x, y: "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA" };
        assert_eq!(encoded(&key.thumbprint()), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }
}
