//! Defects of the public key in the header of a proof (RFC 9449 §4.2, RFC 7518 §6, RFC 8725 §3.5).
//!
//! *In*: a valid proof. *Out*: proofs with one defect of `jwk` each. Where the defect allows it, the signature is valid for the
//! key, so that only a check of the key itself refuses the proof. Some of those keys are not the key of the token.

use serde_json::{Value, json};

use super::{
    ProofForgery, b64,
    compact::{cut, other_encoding},
    hex, json as malformed,
    small_rsa::{WeakRsaKey, padded_hash},
    unb64,
};
use crate::{
    jws::Algorithm,
    testing::{ProofBuilder, ProofKey},
};

/// Forms of `jwk`, and its members other than the numbers.
pub(super) fn members(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let own = valid.key().jwk();
    into.push(ProofForgery::new("no jwk", valid.renewed().without_header("jwk").sign()));
    let whole = [
        ("null", Value::Null),
        ("true", json!(true)),
        ("a number", json!(1)),
        ("an empty string", json!("")),
        ("a string with the JSON", json!(own.to_string())),
        ("the thumbprint", json!(valid.key().thumbprint())),
        ("an empty array", json!([])),
        ("an array", json!([own])),
        ("an empty object", json!({})),
    ];
    for (name, value) in whole {
        into.push(ProofForgery::new(format!("jwk that is {name}"), valid.renewed().header("jwk", value).sign()));
    }
    let mut push = |name: String, edit: &dyn Fn(&mut Value)| {
        let mut jwk = own.clone();
        edit(&mut jwk);
        into.push(ProofForgery::new(format!("jwk {name}"), valid.renewed().header("jwk", jwk).sign()));
    };
    // A private key, or parts of one (RFC 9449 §4.3 item 7).
    for name in ["d", "p", "q", "dp", "dq", "qi", "k"] {
        push(format!("with the private member {name}"), &|jwk| jwk[name] = json!(b64([3; 32])));
    }
    push("with the private member oth".to_owned(), &|jwk| jwk["oth"] = json!([{"r": "AQ", "d": "AQ", "t": "AQ"}]));
    let other_algorithm = if valid.key().algorithm() == Algorithm::RS256 { "ES256" } else { "RS256" };
    let values = [
        ("alg", json!(other_algorithm)),
        ("alg", json!("none")),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!(["encrypt", "wrapKey"])),
        ("kty", json!("oct")),
        ("kty", json!("EC ")),
    ];
    for (name, value) in values {
        push(format!("with {name} {value}"), &|jwk| jwk[name] = value.clone());
    }
    let names: Vec<String> = own.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    for name in &names {
        push(format!("without {name}"), &|jwk| {
            jwk.as_object_mut().and_then(|jwk| jwk.remove(name));
        });
        for value in [Value::Null, json!(1), json!(""), json!([own[name]])] {
            push(format!("with {name} {}", short(&value)), &|jwk| jwk[name] = value.clone());
        }
    }
    for curve in ["P-256", "P-384", "P-521", "secp256k1", "Ed25519", "Ed448", "X25519", "p-256"] {
        if own.get("crv").is_some_and(|own| own != curve) {
            push(format!("with crv {curve}"), &|jwk| jwk["crv"] = json!(curve));
        }
    }
    let mut duplicates: Vec<(String, String)> =
        names.iter().map(|name| (format!("{name} twice"), format!("\"{name}\":{}", own[name]))).collect();
    duplicates.push(("an unknown member twice".to_owned(), "\"z\":1,\"z\":1".to_owned()));
    duplicates.push(("kty twice, once escaped".to_owned(), format!("\"\\u006bty\":{}", own["kty"])));
    duplicates.push(("a deeply nested member".to_owned(), format!("\"z\":{}{}", "[".repeat(500), "]".repeat(500))));
    for (name, added) in duplicates {
        let jwk = malformed::with(&own.to_string(), &added);
        let header = malformed::with(&valid.clone().without_header("jwk").header_json(), &format!("\"jwk\":{jwk}"));
        into.push(ProofForgery::new(format!("jwk with {name}"), valid.sign_raw(header, valid.renewed().claims_json())));
    }
}

/// Other texts for the numbers of the key. With some of them, a lenient parser reads the same key.
pub(super) fn numbers(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let own = valid.key().jwk();
    for name in ["x", "y", "n", "e"] {
        let Some(text) = own.get(name).and_then(Value::as_str) else { continue };
        let bytes = unb64(text);
        let (first, last) = (bytes.first().copied().unwrap_or_default(), bytes.len() - 1);
        let mut changed = bytes.clone();
        changed[last] ^= 2;
        let mut texts = vec![
            ("with padding", format!("{text}=")),
            ("with all its padding", format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4))),
            ("with a space", format!("{text} ")),
            ("with a newline within", format!("{}\n{}", &text[..2], &text[2..])),
            ("in the standard alphabet", text.replace('-', "+").replace('_', "/")),
            ("in hexadecimal digits", hex(&bytes)),
            ("with a leading zero", b64([&[0], &*bytes].concat())),
            ("with a trailing zero", b64([&*bytes, &[0]].concat())),
            ("without its last byte", b64(&bytes[..last])),
            ("with a bit changed", b64(changed)),
            ("that is 0", b64(vec![0; bytes.len()])),
            ("of 0xff bytes", b64(vec![0xff; bytes.len()])),
            ("of 2000 bytes", b64([&[first], &*vec![1; 1999]].concat())),
        ];
        texts.extend(other_encoding(text).map(|text| ("with bits after its last byte", text)));
        if name == "n" {
            let mut even = bytes.clone();
            even[last] &= 0xfe;
            texts.push(("that is even", b64(even)));
        }
        if name == "e" {
            texts.push(("that is even", b64([1, 0, 0])));
            texts.push(("of 64 bits", b64([1, 0, 0, 0, 0, 0, 0, 1])));
        }
        for (form, text) in texts.into_iter().filter(|(_, other)| other != text) {
            let mut jwk = own.clone();
            jwk[name] = text.into();
            let proof = valid.renewed().header("jwk", jwk).sign();
            into.push(ProofForgery::new(format!("jwk with {name} {form}"), proof));
        }
    }
    if let (Some(x), Some(y)) = (own["x"].as_str(), own["y"].as_str()) {
        let zero = b64(vec![0; unb64(x).len()]);
        for (name, x, y) in [("at (0, 0)", &*zero, &*zero), ("with x and y exchanged", y, x)] {
            let mut jwk = own.clone();
            (jwk["x"], jwk["y"]) = (x.into(), y.into());
            into.push(ProofForgery::new(format!("jwk {name}"), valid.renewed().header("jwk", jwk).sign()));
        }
    }
}

/// Keys that no client may use, each with a signature that is valid for it.
pub(super) fn other_keys(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    into.extend(with_short_coordinate(valid));
    for (name, point) in [("of order 1", identity(1)), ("of order 1, in another encoding", other_identity())] {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(point)});
        // With a key of order 1, R = the identity and S = 0 are a signature of every message.
        let signature = [identity(1), identity(0)].concat();
        let proof = valid.renewed().header("alg", "EdDSA").header("jwk", jwk);
        into.push(ProofForgery::new(format!("Ed25519 key {name}"), signed_by(&proof, |_| signature.clone())));
    }
    for (name, bits) in [("of less than 2048 bits", 1024), ("of more than 4096 bits", 5120)] {
        let key = WeakRsaKey::of_bits(bits);
        let jwk = json!({"kty": "RSA", "n": key.modulus(), "e": "AQAB"});
        let proof = valid.renewed().header("alg", "RS256").header("jwk", jwk);
        into.push(ProofForgery::new(format!("RSA key {name}"), signed_by(&proof, |message| key.sign(message))));
    }
    let jwk = json!({"kty": "RSA", "n": b64([0xf1; 256]), "e": "AQ"});
    let proof = valid.renewed().header("alg", "RS256").header("jwk", jwk);
    into.push(ProofForgery::new("RSA key with the exponent 1", signed_by(&proof, |message| padded_hash(message, 256))));
}

/// Returns a proof of a key with a coordinate that begins with a zero byte, but without this byte (RFC 7518 §6.2.1.2).
fn with_short_coordinate(valid: &ProofBuilder) -> Option<ProofForgery> {
    valid.key().group_order()?;
    let keys = (0..5_000).map(|_| ProofKey::with_algorithm(valid.key().algorithm()));
    let (key, x) = keys
        .map(|key| {
            let x = unb64(key.jwk()["x"].as_str().unwrap_or_default());
            (key, x)
        })
        .find(|(_, x)| x.first() == Some(&0))?;
    let mut jwk = key.jwk();
    jwk["x"] = b64(&x[1..]).into();
    Some(ProofForgery::new("jwk with x without its leading zero", valid.renewed().header("jwk", jwk).sign_with(&key)))
}

fn signed_by(proof: &ProofBuilder, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let unsigned = proof.sign();
    let (signed, _) = cut(&unsigned);
    format!("{signed}.{}", b64(sign(signed.as_bytes())))
}

/// Returns the number in 32 bytes, little-endian. 1 is the identity of Ed25519's group.
fn identity(number: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = number;
    bytes
}

/// Returns the identity as p + 1 (RFC 8032 §5.1.3 forbids it).
fn other_identity() -> [u8; 32] {
    let mut bytes = [0xff; 32];
    (bytes[0], bytes[31]) = (0xee, 0x7f);
    bytes
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(24).collect()
}
