//! Forged tokens: every known defect of a token, one at a time. Many of them were real vulnerabilities.
//!
//! *In*: a valid token of a [`MockIssuer`]. *Out*: tokens with one defect each, which every verifier must refuse.

pub(super) mod compact;
pub(super) mod json;
mod payload;

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use self::compact::cut;
use super::{MockIssuer, TokenBuilder, encode::b64};
use crate::jws::{Algorithm, HmacAlgorithm};

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
    compact_forms(valid, &mut forgeries);
    payload::json(valid, &mut forgeries);
    payload::claims(valid, &mut forgeries);
    payload::types(valid, &mut forgeries);
    forgeries
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
    let malformed = json::headers(&header, &["alg", "kid", "typ"]);
    into.extend(malformed.map(|(name, header)| Forgery::new(name, valid.sign_raw(header, &claims))));
}

fn compact_forms(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let token = valid.sign();
    let forms = compact::serialisations(&token).chain(compact::signatures(&token)).chain(compact::encodings(&token));
    into.extend(forms.map(|(name, token)| Forgery::new(name, token)));
    let nested = valid.clone().header("cty", "JWT").sign_raw(valid.header_json(), &token);
    into.push(Forgery::new("JWS nested in a JWS", nested));
    let (signed, signature) = cut(&token);
    let (header, _) = signed.split_once('.').unwrap_or_default();
    let admin = b64(valid.clone().claim("scope", "admin").claims_json());
    into.push(Forgery::new("payload changed", format!("{header}.{admin}.{signature}")));
    let other = valid.clone().claim("jti", "another").sign();
    into.push(Forgery::new("signature of another token", format!("{signed}.{}", cut(&other).1)));
}
