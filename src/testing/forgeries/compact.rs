//! Defects of the compact form, of its encoding and of its signature, which tokens and DPoP proofs have in common.
//!
//! *In*: a valid JWS in compact form. *Out*: names of defects, and texts with one defect each.

use serde_json::json;

use crate::{
    jws::{self, HmacAlgorithm},
    testing::encode::{b64, unb64},
};

/// Splits `token` into header and payload, and signature.
pub(in crate::testing) fn cut(token: &str) -> (&str, &str) {
    token.rsplit_once('.').unwrap_or_default()
}

/// Other forms than the compact one (RFC 7515 §7, RFC 7516 §7).
pub(in crate::testing) fn serialisations(token: &str) -> impl Iterator<Item = (String, String)> {
    let (signed, signature) = cut(token);
    let (header, payload) = signed.split_once('.').unwrap_or_default();
    let shapes = [
        ("detached payload", format!("{header}..{signature}")),
        ("empty header", format!(".{payload}.{signature}")),
        ("empty signature", format!("{signed}.")),
        ("two segments", signed.to_owned()),
        ("four segments", format!("{token}.{signature}")),
        ("five segments, like a JWE", format!("{header}.{payload}.{signature}.{payload}.{signature}")),
        ("leading dot", format!(".{token}")),
        ("trailing dot", format!("{token}.")),
        ("only one dot", ".".to_owned()),
        ("only two dots", "..".to_owned()),
        ("only 10 000 dots", ".".repeat(10_000)),
        ("null", "null".to_owned()),
        ("SD-JWT suffix", format!("{token}~WyJzYWx0Il0~")),
        ("JSON serialisation", json!({"payload": payload, "protected": header, "signature": signature}).to_string()),
        ("longer than any limit", format!("{signed}.{}", "A".repeat(20_000))),
    ];
    let jwe = json!({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_147_483_647_u32, "p2s": "c2FsdA"});
    let jwe = ("JWE with an expensive p2c", format!("{}.AA.AA.AA.AA", b64(jwe.to_string())));
    shapes.into_iter().chain([jwe]).map(|(name, token)| (name.to_owned(), token))
}

/// The token with other signatures.
pub(in crate::testing) fn signatures(token: &str) -> impl Iterator<Item = (String, String)> {
    let (signed, signature) = cut(token);
    let bytes = unb64(signature);
    let flipped = |position: usize| {
        let mut bytes = bytes.clone();
        if let Some(byte) = bytes.get_mut(position) {
            *byte ^= 1;
        }
        bytes
    };
    let (r, s) = bytes.split_at(bytes.len() / 2);
    let variants = [
        ("all zero (CVE-2022-21449)", vec![0; bytes.len()]),
        ("all 0xff", vec![0xff; bytes.len()]),
        ("with the first byte changed", flipped(0)),
        ("with the last byte changed", flipped(bytes.len() - 1)),
        ("without its first byte", bytes.iter().skip(1).copied().collect()),
        ("without its last byte", bytes.iter().take(bytes.len() - 1).copied().collect()),
        ("with a leading zero", [&[0], &*bytes].concat()),
        ("with a trailing zero", [&*bytes, &[0]].concat()),
        ("twice", [&*bytes, &*bytes].concat()),
        ("with its halves swapped", [s, r].concat()),
        ("of one byte", vec![0]),
        ("in DER, with two zeros", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        ("of 2000 bytes", vec![7; 2000]),
        ("with r = s = 1", [vec![0; r.len() - 1], vec![1], vec![0; s.len() - 1], vec![1]].concat()),
    ];
    let hmac = jws::sign_hmac(HmacAlgorithm::HS256, &bytes, signed.as_bytes());
    let variants = variants.map(|(name, signature)| (format!("signature {name}"), signature));
    let variants = variants.into_iter().chain([("HMAC in place of the signature".to_owned(), hmac)]);
    variants.map(move |(name, signature)| (name, format!("{signed}.{}", b64(signature))))
}

/// The token with other texts for its segments, which a lenient decoder of base64url reads as the same bytes.
pub(in crate::testing) fn encodings(token: &str) -> impl Iterator<Item = (String, String)> {
    let mut into = Vec::new();
    let segments: Vec<&str> = token.split('.').collect();
    for position in 0..segments.len() {
        let change = |edit: &dyn Fn(&str) -> String| {
            let changed: Vec<String> = segments
                .iter()
                .enumerate()
                .map(|(index, segment)| if index == position { edit(segment) } else { (*segment).to_owned() })
                .collect();
            changed.join(".")
        };
        for extra in ["=", "==", " ", "\t", "!", "%3D", "+", "/", "~", "\u{ff21}"] {
            into.push((
                format!("{extra:?} at the end of segment {position}"),
                change(&|segment| format!("{segment}{extra}")),
            ));
            let middle = change(&|segment| {
                let (start, end) = segment.split_at(segment.len() / 2);
                format!("{start}{extra}{end}")
            });
            into.push((format!("{extra:?} within segment {position}"), middle));
        }
        if let Some(token) = other_encoding(segments.get(position).copied().unwrap_or_default()) {
            into.push((
                format!("segment {position} in another encoding of the same bytes"),
                change(&|_| token.clone()),
            ));
        }
    }
    into.into_iter()
}

/// Returns another base64url text that decodes to the same bytes, if the length leaves unused trailing bits.
pub(in crate::testing) fn other_encoding(segment: &str) -> Option<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if segment.len().is_multiple_of(4) {
        return None;
    }
    let last = segment.chars().last()?;
    let next = ALPHABET.chars().nth(ALPHABET.find(last)? + 1)?;
    Some(format!("{}{next}", segment.get(..segment.len() - 1)?))
}
