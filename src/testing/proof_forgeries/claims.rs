//! Defects of the claims of a proof, under a genuine signature (RFC 9449 §4.2, §4.3).
//!
//! *In*: a valid proof. *Out*: proofs with one defect of the claims each.

use serde_json::{Value, json};

use super::{ProofForgery, b64, compact::other_encoding, hex, json as malformed, unb64};
use crate::{
    jws::sha256,
    testing::{ProofBuilder, proof_key::token_hash},
};

pub(super) fn json(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let (header, claims) = (valid.header_json(), valid.renewed().claims_json());
    let mut names = vec!["jti", "htm", "htu", "iat"];
    names.extend(valid.token_text().map(|_| "ath"));
    let payloads = malformed::payloads(&claims, &names);
    into.extend(payloads.map(|(name, payload)| ProofForgery::new(name, valid.sign_raw(&header, payload))));
    let large = valid.renewed().claim("z", "z".repeat(8 * 1024)).sign();
    into.push(ProofForgery::new("longer than 8 KiB", large));
}

pub(super) fn types(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let mut names = vec!["jti", "htm", "htu"];
    names.extend(valid.token_text().map(|_| "ath"));
    for name in names {
        into.push(ProofForgery::new(format!("no {name}"), valid.renewed().without_claim(name).sign()));
        let own = valid.claim_text(name);
        for value in [Value::Null, json!(true), json!(5), json!(""), json!([own]), json!({"value": own})] {
            let proof = valid.renewed().claim(name, value.clone()).sign();
            into.push(ProofForgery::new(format!("{name} {value}"), proof));
        }
    }
    let long = valid.clone().claim("jti", "j".repeat(513)).sign();
    into.push(ProofForgery::new("jti of 513 bytes", long));
    let long = valid.clone().claim("jti", "\u{e4}".repeat(257)).sign();
    into.push(ProofForgery::new("jti of 257 characters with two bytes each", long));
}

pub(super) fn method(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let own = valid.claim_text("htm").to_owned();
    let others = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "*"].map(str::to_owned).into_iter();
    let spellings =
        [own.to_lowercase(), format!("{own} "), format!(" {own}"), format!("{own}\0"), format!("{own},{own}")];
    for method in others.chain(spellings).filter(|method| *method != own) {
        let proof = valid.renewed().claim("htm", &*method).sign();
        into.push(ProofForgery::new(format!("htm {method:?}"), proof));
    }
}

pub(super) fn times(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let now = valid.issued();
    let mut push = |claim: &str, name: String, value: Value| {
        into.push(ProofForgery::new(format!("{claim} {name}"), valid.renewed().claim(claim, value).sign()));
    };
    let no_numbers = || [Value::Null, json!(true), json!(""), json!("now"), json!([now]), json!({"at": now})];
    for value in no_numbers().into_iter().chain([json!(now.to_string())]) {
        push("iat", value.to_string(), value);
    }
    // Beside a nonce of the server, `iat` need not be looked at (RFC 9449 §4.3 item 11).
    if !valid.has_nonce() {
        let other_times = [
            ("six minutes ago", json!(now - 360)),
            ("an hour ago", json!(now - 3600)),
            ("two minutes ahead", json!(now + 120)),
            ("an hour ahead", json!(now + 3600)),
            ("in milliseconds", json!(now * 1000)),
            ("0", json!(0)),
            ("negative", json!(-1)),
            ("of now, negative", json!(-now)),
            ("i64::MIN", json!(i64::MIN)),
            ("i64::MAX", json!(i64::MAX)),
            ("u64::MAX", json!(u64::MAX)),
            ("1e308", json!(1e308)),
            ("-1e308", json!(-1e308)),
        ];
        for (name, value) in other_times {
            push("iat", name.to_owned(), value);
        }
    }
    for (name, value) in [("two minutes ago", now - 120), ("an hour ago", now - 3600), ("0", 0), ("negative", -1)] {
        push("exp", name.to_owned(), json!(value));
    }
    for (name, value) in [("two minutes ahead", now + 120), ("an hour ahead", now + 3600), ("i64::MAX", i64::MAX)] {
        push("nbf", name.to_owned(), json!(value));
    }
    for claim in ["exp", "nbf"] {
        for value in no_numbers().into_iter().filter(|value| !value.is_null()) {
            push(claim, value.to_string(), value);
        }
    }
    into.push(ProofForgery::new("no iat", valid.renewed().without_claim("iat").sign()));
    let rest = valid.renewed().without_claim("iat").claims_json();
    for number in ["1e400", "-1e400", "01", "+1", "0x1", "1.", ".5", "NaN", "Infinity"] {
        let claims = malformed::with(&rest, &format!("\"iat\":{number}"));
        into.push(ProofForgery::new(format!("iat {number}"), valid.sign_raw(valid.header_json(), claims)));
    }
}

/// `ath` of something else than the request's token. Without a token, as in a token request, `ath` has no meaning.
pub(super) fn token(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let Some(token) = valid.token_text() else { return };
    let hash = sha256([token.as_bytes()]);
    let own = token_hash(token.as_bytes());
    let hex = hex(&hash);
    let mut hashes = vec![
        ("of another token", token_hash(b"another token")),
        ("of an empty token", token_hash(b"")),
        ("of the token and a newline", token_hash(format!("{token}\n").as_bytes())),
        ("of the token and its scheme", token_hash(format!("DPoP {token}").as_bytes())),
        ("of the token without its last character", token_hash(&token.as_bytes()[..token.len().saturating_sub(1)])),
        ("of the hash", token_hash(&hash)),
        ("in hexadecimal digits", hex.clone()),
        ("in base64url of hexadecimal digits", b64(hex)),
        ("with padding", format!("{own}=")),
        ("with a space", format!("{own} ")),
        ("in lower case", own.to_lowercase()),
        ("of 31 bytes", b64(&hash[..31])),
        ("of 16 bytes", b64(&hash[..16])),
        ("of 64 bytes, as SHA-512 makes them", b64([hash, hash].concat())),
        ("that is the token", token.to_owned()),
    ];
    hashes.extend(
        other_encoding(&own).filter(|other| unb64(other).is_empty()).map(|other| ("with bits after the hash", other)),
    );
    let standard = own.replace('-', "+").replace('_', "/");
    hashes.extend((standard != own).then_some(("in the standard alphabet", standard)));
    for (name, hash) in hashes {
        into.push(ProofForgery::new(format!("ath {name}"), valid.renewed().claim("ath", hash).sign()));
    }
}

/// Defects of the nonce, if the server requires one.
pub(super) fn nonce(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    if !valid.has_nonce() {
        return;
    }
    let own = valid.claim_text("nonce").to_owned();
    into.push(ProofForgery::new("no nonce", valid.renewed().without_claim("nonce").sign()));
    let texts = [
        json!(""),
        json!("another"),
        json!(own.to_lowercase()),
        json!(format!("{own} ")),
        json!(format!("{own}=")),
        json!(own.chars().skip(1).collect::<String>()),
    ];
    let others = [Value::Null, json!(5), json!(true), json!([own]), json!({"nonce": own})];
    for value in texts.into_iter().chain(others).filter(|value| *value != json!(own)) {
        into.push(ProofForgery::new(format!("nonce {value}"), valid.renewed().claim("nonce", value.clone()).sign()));
    }
}
