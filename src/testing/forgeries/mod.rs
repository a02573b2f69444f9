//! Forged tokens: every known defect of a token, one at a time. Many of them were real vulnerabilities.
//!
//! *In*: a valid token of a [`MockIssuer`]. *Out*: tokens with one defect each, which every verifier must refuse.

mod payload;

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{MockIssuer, TokenBuilder, encode::b64};
use crate::jws::{self, Algorithm, HmacAlgorithm};

/// A token with one defect.
#[derive(Debug, Clone)]
pub struct Forgery {
    name: String,
    token: String,
}

impl Forgery {
    fn new(name: impl Into<String>, token: impl Into<String>) -> Self {
        Self { name: name.into(), token: token.into() }
    }

    /// Returns a description of the defect.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the forged token, in the form in which a request presents it.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Display for Forgery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

pub(super) fn all(valid: &TokenBuilder) -> Vec<Forgery> {
    let mut forgeries = Vec::new();
    algorithms(valid, &mut forgeries);
    public_key_as_secret(valid, &mut forgeries);
    keys(valid, &mut forgeries);
    headers(valid, &mut forgeries);
    serialisations(valid, &mut forgeries);
    signatures(valid, &mut forgeries);
    encodings(valid, &mut forgeries);
    payload::json(valid, &mut forgeries);
    payload::claims(valid, &mut forgeries);
    payload::types(valid, &mut forgeries);
    forgeries
}

/// Splits `token` into header and payload, and signature.
fn cut(token: &str) -> (&str, &str) {
    token.rsplit_once('.').unwrap_or_default()
}

fn algorithms(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    for name in ["none", "None", "NONE", "nOnE", "none ", "none\0", "\u{feff}none"] {
        let token = valid.clone().header("alg", name).sign();
        let (signed, _) = cut(&token);
        into.push(Forgery::new(format!("alg {name:?}, no signature"), format!("{signed}.")));
        into.push(Forgery::new(format!("alg {name:?}, no last dot"), signed));
        into.push(Forgery::new(format!("alg {name:?}, arbitrary signature"), format!("{signed}.{}", b64([1; 64]))));
        into.push(Forgery::new(format!("alg {name:?}, genuine signature"), &*token));
    }
    let own = valid.issuer().algorithm().as_str();
    let malformed = [
        json!(""),
        Value::Null,
        json!(1),
        json!(true),
        json!([own]),
        json!({"name": own}),
        json!("x".repeat(10_000)),
        json!(own.to_lowercase()),
        json!(format!("{own} ")),
        json!(own.replace('S', "\u{405}")),
    ];
    for value in malformed {
        let name = value.to_string().chars().take(24).collect::<String>();
        into.push(Forgery::new(format!("alg {name}"), valid.clone().header("alg", value).sign()));
    }
    into.push(Forgery::new("alg missing", valid.clone().without_header("alg").sign()));
    for name in
        ["dir", "RSA-OAEP", "A256KW", "ECDH-ES", "RS1", "ES256K", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"]
    {
        into.push(Forgery::new(format!("alg {name}"), valid.clone().header("alg", name).sign()));
    }
    for other in Algorithm::ALL.iter().filter(|other| **other != valid.issuer().algorithm()) {
        into.push(Forgery::new(
            format!("alg {other}, which is not the key's"),
            valid.clone().header("alg", other.as_str()).sign(),
        ));
    }
}

/// Uses the public key, in every encoding, as the secret of an HMAC (CVE-2015-9235 and later ones of this kind).
fn public_key_as_secret(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let issuer = valid.issuer();
    let pem = issuer.public_key_pem();
    let jwk = issuer.jwk();
    let mut secrets = vec![
        ("an empty secret", Vec::new()),
        ("a guessed secret", b"secret".to_vec()),
        ("the issuer's identifier", issuer.identifier().as_bytes().to_vec()),
        ("the kid", issuer.key_id().into_bytes()),
        ("the PEM", pem.clone().into_bytes()),
        ("the PEM without its last newline", pem.trim_end().as_bytes().to_vec()),
        ("the PEM after a newline", format!("\n{pem}").into_bytes()),
        ("the PEM after a space", format!(" {pem}").into_bytes()),
        ("the PEM with CRLF", pem.replace('\n', "\r\n").into_bytes()),
        ("the DER", issuer.public_key_der()),
        ("the DER in base64", STANDARD.encode(issuer.public_key_der()).into_bytes()),
        ("the JWK", jwk.to_string().into_bytes()),
        ("the JWK set", issuer.jwks().to_string().into_bytes()),
        ("the JWK, pretty-printed", format!("{jwk:#}").into_bytes()),
    ];
    for member in ["n", "x", "y"] {
        if let Some(text) = jwk.get(member).and_then(Value::as_str) {
            secrets.push(("the text of a JWK member", text.as_bytes().to_vec()));
            secrets.push(("the bytes of a JWK member", super::encode::unb64(text)));
        }
    }
    if let Some(pkcs1) = issuer.public_key_pkcs1() {
        secrets.push(("the PKCS#1 DER", pkcs1));
    }
    for (name, secret) in secrets {
        for algorithm in [HmacAlgorithm::HS256, HmacAlgorithm::HS384, HmacAlgorithm::HS512] {
            into.push(Forgery::new(format!("{algorithm:?} with {name}"), valid.sign_hmac(algorithm, &secret)));
            let named = valid.clone().without_header("kid").sign_hmac(algorithm, &secret);
            into.push(Forgery::new(format!("{algorithm:?} with {name}, no kid"), named));
        }
    }
}

fn keys(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let own = valid.issuer().key_id();
    let other = MockIssuer::new("https://other.test").with_algorithm(valid.issuer().algorithm());
    into.push(Forgery::new("another issuer's key with a known kid", valid.sign_with(&other)));
    into.push(Forgery::new("another issuer's key without kid", valid.clone().without_header("kid").sign_with(&other)));
    let other_kids = [
        "../../dev/null".to_owned(),
        "' UNION SELECT 'key' --".to_owned(),
        "|sleep 5".to_owned(),
        "{{7*7}}%n".to_owned(),
        "__proto__".to_owned(),
        "*".to_owned(),
        String::new(),
        format!("{own}\0"),
        format!(" {own}"),
        own.to_uppercase(),
        "k\r\nSet-Cookie: a=b".to_owned(),
        "k".repeat(8_000),
    ];
    for kid in other_kids {
        let name: String = kid.chars().take(24).collect();
        into.push(Forgery::new(format!("kid {name:?}"), valid.clone().header("kid", kid).sign()));
    }
    for kid in [json!(1), json!([&own]), json!({"kid": &own}), json!(true), Value::Null] {
        into.push(Forgery::new(format!("kid {kid}"), valid.clone().header("kid", kid).sign()));
    }
    let key_in_the_token = [
        ("jwk", other.jwk()),
        ("jku", json!("https://other.test/jwks.json")),
        ("x5u", json!("http://auth.test@other.test/cert.pem")),
        ("x5c", json!([STANDARD.encode(other.public_key_der())])),
    ];
    for (member, value) in key_in_the_token {
        let token = valid.clone().header(member, value).header("kid", other.key_id());
        into.push(Forgery::new(format!("{member} with another issuer's key"), token.sign_with(&other)));
        into.push(Forgery::new(
            format!("{member} with another issuer's key, known kid"),
            token.header("kid", own.clone()).sign_with(&other),
        ));
    }
}

fn headers(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    for crit in
        [json!(["bork"]), json!([]), json!("bork"), json!(["alg"]), json!(["exp", "exp"]), json!(1), Value::Null]
    {
        into.push(Forgery::new(format!("crit {crit}"), valid.clone().header("crit", crit).header("bork", 1).sign()));
    }
    into.push(Forgery::new("b64 false", valid.clone().header("b64", false).sign()));
    let unencoded = valid.clone().header("b64", false).header("crit", json!(["b64"]));
    into.push(Forgery::new("b64 false, with crit", unencoded.sign()));
    into.push(Forgery::new("zip", valid.clone().header("zip", "DEF").sign()));
    let (header, claims) = (valid.header_json(), valid.claims_json());
    let member = |name: &str| member_of(&header, name);
    for name in ["alg", "kid", "typ"] {
        let twice = header.replacen('{', &format!("{{\"{name}\":{},", member(name)), 1);
        into.push(Forgery::new(format!("header with {name} twice"), valid.sign_raw(twice, &claims)));
    }
    let escaped = header.replacen('{', &format!("{{\"\\u0061lg\":{},", member("alg")), 1);
    into.push(Forgery::new("header with alg twice, once escaped", valid.sign_raw(escaped, &claims)));
    let unknown = header.replacen('{', "{\"z\":1,\"z\":2,", 1);
    into.push(Forgery::new("header with an unknown member twice", valid.sign_raw(unknown, &claims)));
    let nested = header.replacen('{', &format!("{{\"z\":{}{},", "[".repeat(2_000), "]".repeat(2_000)), 1);
    into.push(Forgery::new("header nested 2000 deep", valid.sign_raw(nested, &claims)));
    for header in ["[]", "null", "\"x\"", "{}", "", "{", "\u{feff}{}"] {
        into.push(Forgery::new(format!("header {header:?}"), valid.sign_raw(header, &claims)));
    }
    into.push(Forgery::new("header with trailing bytes", valid.sign_raw(format!("{header}{{}}"), &claims)));
    let mut latin1 = header.replacen('{', "{\"z\":\"?\",", 1).into_bytes();
    if let Some(byte) = latin1.iter_mut().find(|byte| **byte == b'?') {
        *byte = 0xe4;
    }
    into.push(Forgery::new("header that is not UTF-8", valid.sign_raw(latin1, &claims)));
}

fn member_of(json: &str, name: &str) -> Value {
    serde_json::from_str::<Value>(json).map(|object| object[name].clone()).unwrap_or_default()
}

fn serialisations(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let token = valid.sign();
    let (signed, signature) = cut(&token);
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
    into.extend(shapes.map(|(name, token)| Forgery::new(name, token)));
    let jwe = json!({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_147_483_647_u32, "p2s": "c2FsdA"});
    into.push(Forgery::new("JWE with an expensive p2c", format!("{}.AA.AA.AA.AA", b64(jwe.to_string()))));
    into.push(Forgery::new(
        "JWS nested in a JWS",
        valid.clone().header("cty", "JWT").sign_raw(valid.header_json(), &token),
    ));
}

fn signatures(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let token = valid.sign();
    let (signed, signature) = cut(&token);
    let bytes = super::encode::unb64(signature);
    let with = |signature: Vec<u8>| format!("{signed}.{}", b64(signature));
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
    into.extend(variants.map(|(name, signature)| Forgery::new(format!("signature {name}"), with(signature))));
    let (header, _) = signed.split_once('.').unwrap_or_default();
    let admin = b64(valid.clone().claim("scope", "admin").claims_json());
    into.push(Forgery::new("payload changed", format!("{header}.{admin}.{signature}")));
    let other = valid.clone().claim("jti", "another").sign();
    into.push(Forgery::new("signature of another token", format!("{signed}.{}", cut(&other).1)));
    let hmac = jws::sign_hmac(HmacAlgorithm::HS256, &bytes, signed.as_bytes());
    into.push(Forgery::new("HMAC in place of the signature", with(hmac)));
}

fn encodings(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let token = valid.sign();
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
            into.push(Forgery::new(
                format!("{extra:?} at the end of segment {position}"),
                change(&|segment| format!("{segment}{extra}")),
            ));
            let middle = change(&|segment| {
                let (start, end) = segment.split_at(segment.len() / 2);
                format!("{start}{extra}{end}")
            });
            into.push(Forgery::new(format!("{extra:?} within segment {position}"), middle));
        }
        if let Some(token) = other_encoding(segments.get(position).copied().unwrap_or_default()) {
            into.push(Forgery::new(
                format!("segment {position} in another encoding of the same bytes"),
                change(&|_| token.clone()),
            ));
        }
    }
}

/// Returns another base64url text that decodes to the same bytes, if the length leaves unused trailing bits.
fn other_encoding(segment: &str) -> Option<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if segment.len().is_multiple_of(4) {
        return None;
    }
    let last = segment.chars().last()?;
    let next = ALPHABET.chars().nth(ALPHABET.find(last)? + 1)?;
    Some(format!("{}{next}", segment.get(..segment.len() - 1)?))
}
