//! Unusual proofs that every server must accept: what clients send, and what RFC 9449 lets them send.
//!
//! *In*: a valid proof. *Out*: proofs that differ from it, without a defect.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::target;
use crate::{jws::Algorithm, testing::ProofBuilder};

/// An unusual DPoP proof without a defect.
#[derive(Debug, Clone)]
pub struct ProofVariant {
    name: String,
    proof: String,
}

impl ProofVariant {
    /// Returns a description of what is unusual.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the proof: the value of the request's header `DPoP`.
    #[must_use]
    pub fn proof(&self) -> &str {
        &self.proof
    }
}

impl fmt::Display for ProofVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

pub(in crate::testing) fn all(valid: &ProofBuilder) -> Vec<ProofVariant> {
    let mut variants = Vec::new();
    let mut push = |name: String, proof: ProofBuilder| variants.push(ProofVariant { name, proof: proof.sign() });
    headers(valid, &mut push);
    claims(valid, &mut push);
    for (name, url) in target::spellings(valid.claim_text("htu")) {
        push(format!("htu {name}"), valid.renewed().claim("htu", url));
    }
    let (header, claims) = (valid.header_json(), valid.renewed().claims_json());
    let spaced = valid.sign_raw(header.replace(':', " : "), claims.replacen('{', "{ \r\n\t", 1));
    variants.push(ProofVariant { name: "JSON with white space".to_owned(), proof: spaced });
    let escaped = valid.renewed().claims_json().replacen("\"htm\"", "\"\\u0068tm\"", 1);
    variants.push(ProofVariant {
        name: "htm with an escape in its name".to_owned(),
        proof: valid.sign_raw(header, escaped),
    });
    variants
}

fn headers(valid: &ProofBuilder, push: &mut impl FnMut(String, ProofBuilder)) {
    // Media types are case-insensitive, and "application/" may be there (RFC 7515 §4.1.9).
    for typ in ["DPoP+JWT", "DPOP+jwt", "application/dpop+jwt", "Application/DPoP+JWT"] {
        push(format!("typ {typ}"), valid.renewed().header("typ", typ));
    }
    let key = valid.key();
    let beside = [
        ("kid", json!("any")),
        ("jku", json!("http://localhost/jwks.json")),
        ("x5u", json!("http://localhost/certificate.pem")),
        ("x5c", json!([STANDARD.encode(key.spki().0)])),
        ("x5t#S256", json!(key.thumbprint())),
        ("cty", json!("JWT")),
        ("unknown", json!({"a": [1, null, {"b": 1.5}]})),
    ];
    for (name, value) in beside {
        push(format!("{name} beside jwk"), valid.renewed().header(name, value));
    }
    let optional = [
        ("alg", json!(key.algorithm().as_str())),
        ("use", json!("sig")),
        ("key_ops", json!(["verify"])),
        ("ext", json!(true)),
        ("kid", json!("2026-11")),
        ("unknown", json!([1])),
    ];
    let member = |name: &str, value: &Value| {
        let mut jwk = key.jwk();
        jwk[name] = value.clone();
        valid.renewed().header("jwk", jwk)
    };
    for (name, value) in optional {
        push(format!("jwk with {name} {value}"), member(name, &value));
    }
    if key.algorithm() == Algorithm::EdDSA {
        push("alg Ed25519 (RFC 9864)".to_owned(), valid.renewed().header("alg", "Ed25519"));
    }
}

fn claims(valid: &ProofBuilder, push: &mut impl FnMut(String, ProofBuilder)) {
    let now = valid.issued();
    let other = [
        ("iss", json!("client")),
        ("sub", json!(5)),
        ("aud", json!(["https://other.test"])),
        ("unknown", json!({"a": [1, null, {"b": 1.5}]})),
        ("exp", json!(now + 600)),
        ("nbf", json!(now - 600)),
    ];
    for (name, value) in other {
        push(format!("{name} {value}"), valid.renewed().claim(name, value));
    }
    if !valid.has_nonce() {
        // The server may have required nonces until now.
        push("a nonce, at a server without nonces".to_owned(), valid.renewed().nonce("of-another-time"));
    }
    if valid.token_text().is_none() {
        push(
            "ath, in a token request".to_owned(),
            valid.renewed().claim("ath", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"),
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "a time of day has far less than 53 bits")]
    let fraction = now as f64 - 0.5;
    push("iat with a fraction".to_owned(), valid.renewed().claim("iat", fraction));
    push("iat some seconds ago".to_owned(), valid.renewed().claim("iat", now - 20));
    push("iat some seconds ahead".to_owned(), valid.renewed().claim("iat", now + 10));
    let suffix = valid.renewed().claim_text("jti")[..8].to_owned();
    push("jti of 8 characters".to_owned(), valid.clone().claim("jti", &*suffix));
    push("jti of 512 bytes".to_owned(), valid.clone().claim("jti", format!("{suffix}{}", "j".repeat(504))));
    push("jti that is not ASCII".to_owned(), valid.clone().claim("jti", format!("{suffix} \u{e4}\u{1f511}\n\"")));
}
