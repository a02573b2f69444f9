//! Forged DPoP proofs: every known defect of a proof, one at a time (RFC 9449 §4.3). And unusual proofs without a defect.
//!
//! *In*: a valid proof of a [`ProofKey`](super::ProofKey). *Out*: proofs with one defect each, which every server must refuse,
//! and proofs that every server must accept.

mod claims;
mod header;
mod key;
mod small_rsa;
mod target;
mod variants;

use std::fmt;

pub use self::variants::ProofVariant;
pub(super) use self::variants::all as all_variants;
use super::{
    ProofBuilder, ProofKey,
    encode::{b64, hex, unb64},
    forgeries::{compact, json},
};
use crate::jws::Algorithm;

/// A DPoP proof with one defect.
#[derive(Debug, Clone)]
pub struct ProofForgery {
    name: String,
    proof: String,
}

impl ProofForgery {
    fn new(name: impl Into<String>, proof: impl Into<String>) -> Self {
        Self { name: name.into(), proof: proof.into() }
    }

    /// Returns a description of the defect.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the forged proof: the value of the request's only header `DPoP`, in ASCII.
    #[must_use]
    pub fn proof(&self) -> &str {
        &self.proof
    }
}

impl fmt::Display for ProofForgery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

pub(super) fn all(valid: &ProofBuilder) -> Vec<ProofForgery> {
    let mut forgeries = Vec::new();
    header::types(valid, &mut forgeries);
    header::algorithms(valid, &mut forgeries);
    header::public_key_as_secret(valid, &mut forgeries);
    header::parameters(valid, &mut forgeries);
    key::members(valid, &mut forgeries);
    key::numbers(valid, &mut forgeries);
    key::other_keys(valid, &mut forgeries);
    claims::json(valid, &mut forgeries);
    claims::types(valid, &mut forgeries);
    claims::method(valid, &mut forgeries);
    claims::times(valid, &mut forgeries);
    claims::token(valid, &mut forgeries);
    claims::nonce(valid, &mut forgeries);
    target::urls(valid, &mut forgeries);
    signatures(valid, &mut forgeries);
    compact_forms(valid, &mut forgeries);
    // HTTP removes white space around a value, and many clients send ASCII only.
    forgeries.retain(|forgery| forgery.proof.is_ascii() && forgery.proof.trim() == forgery.proof);
    forgeries
}

fn signatures(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let proof = valid.renewed().sign();
    let (signed, signature) = compact::cut(&proof);
    let bytes = unb64(signature);
    let mut push = |name: &str, signature: Vec<u8>| {
        into.push(ProofForgery::new(format!("signature {name}"), format!("{signed}.{}", b64(signature))));
    };
    let (first, second) = bytes.split_at(bytes.len() / 2);
    if let Some(order) = valid.key().group_order() {
        let zero = vec![0; order.len()];
        push("in DER", der_signature(first, second));
        push("with r = 0", [&*zero, second].concat());
        push("with s = 0", [first, &*zero].concat());
        push("with r = n", [&*order, second].concat());
        push("with s = n", [first, &*order].concat());
    }
    if valid.key().algorithm() == Algorithm::EdDSA {
        push("with S + L (RFC 8032 §5.1.7)", [first, &plus_ed25519_order(second)].concat());
    }
    let other = ProofKey::of_another_client(valid.key().algorithm());
    into.push(ProofForgery::new("signature of another key", valid.renewed().sign_with(&other)));
    let unsigned = valid.renewed().header("jwk", other.jwk()).sign();
    into.push(ProofForgery::new("jwk of another key", unsigned));
    let another = valid.renewed().sign();
    into.push(ProofForgery::new("signature of another proof", format!("{signed}.{}", compact::cut(&another).1)));
}

fn compact_forms(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let proof = valid.renewed().sign();
    let forms = compact::serialisations(&proof).chain(compact::signatures(&proof)).chain(compact::encodings(&proof));
    into.extend(forms.map(|(name, proof)| ProofForgery::new(name, proof)));
    let other = valid.renewed().sign();
    for separator in [",", ", ", " ", ";"] {
        into.push(ProofForgery::new(
            format!("two proofs, joined by {separator:?}"),
            format!("{proof}{separator}{other}"),
        ));
    }
    for (name, value) in [
        ("empty", String::new()),
        ("with the scheme's name", format!("DPoP {proof}")),
        ("quoted", format!("\"{proof}\"")),
    ] {
        into.push(ProofForgery::new(name, value));
    }
    if let Some(token) = valid.token_text() {
        into.push(ProofForgery::new("the access token in place of the proof", token));
    }
    let nested = valid.renewed().header("cty", "JWT").sign_raw(valid.header_json(), &proof);
    into.push(ProofForgery::new("JWS nested in a JWS", nested));
}

/// Returns the DER form of a signature (RFC 3279 §2.2.3), which JWS does not use.
fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    let length = |length: usize| match u8::try_from(length).unwrap_or(u8::MAX) {
        short @ 0..0x80 => vec![short],
        long => vec![0x81, long],
    };
    let integer = |number: &[u8]| {
        let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
        let content = [sign, &*digits].concat();
        [vec![2], length(content.len()), content].concat()
    };
    let content = [integer(r), integer(s)].concat();
    [vec![0x30], length(content.len()), content].concat()
}

/// Returns the number plus the order of Ed25519's group, in little-endian order.
fn plus_ed25519_order(number: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    let digits = number.iter().zip(ORDER).map(|(one, other)| {
        let sum = u16::from(*one) + u16::from(other) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    });
    digits.collect()
}
