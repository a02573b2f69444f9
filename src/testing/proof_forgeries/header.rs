//! Defects of the header of a proof: its type, its algorithm, its other parameters (RFC 9449 §4.2, §4.3).
//!
//! *In*: a valid proof. *Out*: proofs with one defect of the header each. The signature is genuine if the defect lets it be.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{ProofForgery, b64, compact::cut, json as malformed, unb64};
use crate::{
    jws::{self, Algorithm, HmacAlgorithm},
    testing::{ProofBuilder, ProofKey},
};

/// JWTs of other kinds, signed with the client's key (RFC 8725 §3.11).
pub(super) fn types(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let kinds = [
        "JWT",
        "jwt",
        "",
        "at+jwt",
        "application/at+jwt",
        "client-authentication+jwt",
        "logout+jwt",
        "id+jwt",
        "kb+jwt",
        "dpop",
        "dpop+jws",
        "dpop+jwt ",
        " dpop+jwt",
        "dpop+jwt\0",
        "dpop jwt",
        "dpop+jwt+jwt",
        "application/dpop+jwt;v=1",
        "text/dpop+jwt",
        "x/application/dpop+jwt",
    ];
    let kinds = kinds.into_iter().map(Value::from).chain([json!(1), Value::Null, json!(["dpop+jwt"])]);
    into.extend(kinds.map(|typ| ProofForgery::new(format!("typ {typ}"), valid.renewed().header("typ", typ).sign())));
    into.push(ProofForgery::new("no typ", valid.renewed().without_header("typ").sign()));
}

pub(super) fn algorithms(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    for name in ["none", "None", "NONE", "nOnE", "none "] {
        let proof = valid.renewed().header("alg", name).sign();
        let (signed, _) = cut(&proof);
        into.push(ProofForgery::new(format!("alg {name:?}, no signature"), format!("{signed}.")));
        into.push(ProofForgery::new(format!("alg {name:?}, no last dot"), signed));
        into.push(ProofForgery::new(
            format!("alg {name:?}, arbitrary signature"),
            format!("{signed}.{}", b64([1; 64])),
        ));
        into.push(ProofForgery::new(format!("alg {name:?}, genuine signature"), &*proof));
    }
    let own = valid.key().algorithm().as_str();
    let other_values = [
        json!(""),
        Value::Null,
        json!(1),
        json!(true),
        json!([own]),
        json!({"name": own}),
        json!(own.to_lowercase()),
        json!(format!("{own} ")),
        json!(format!("{own}\0")),
        json!("x".repeat(1_000)),
    ];
    let unknown =
        ["dir", "RSA-OAEP", "RSA-OAEP-256", "A256KW", "ECDH-ES", "RS1", "ES256K", "HS1", "ML-DSA-44"].map(Value::from);
    for value in other_values.into_iter().chain(unknown) {
        let name = value.to_string().chars().take(24).collect::<String>();
        into.push(ProofForgery::new(format!("alg {name}"), valid.renewed().header("alg", value).sign()));
    }
    into.push(ProofForgery::new("no alg", valid.renewed().without_header("alg").sign()));
    let others = Algorithm::ALL.iter().filter(|other| **other != valid.key().algorithm()).map(|other| other.as_str());
    let others = others.chain((valid.key().algorithm() != Algorithm::EdDSA).then_some("Ed25519"));
    for other in others {
        let proof = valid.renewed().header("alg", other).sign();
        into.push(ProofForgery::new(format!("alg {other}, which is not that of the signature"), proof));
    }
}

/// Uses the public key, in every encoding, as the secret of an HMAC.
pub(super) fn public_key_as_secret(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    let key = valid.key();
    let (jwk, (der, pem)) = (key.jwk(), key.spki());
    let mut secrets: Vec<(String, Vec<u8>)> = vec![
        ("an empty secret".to_owned(), Vec::new()),
        ("the thumbprint".to_owned(), key.thumbprint().into_bytes()),
        ("the PEM".to_owned(), pem.into_bytes()),
        ("the DER in base64".to_owned(), STANDARD.encode(&der).into_bytes()),
        ("the DER".to_owned(), der),
        ("the JWK".to_owned(), jwk.to_string().into_bytes()),
    ];
    for member in ["n", "x", "y"] {
        if let Some(text) = jwk.get(member).and_then(Value::as_str) {
            secrets.push((format!("the text of {member}"), text.as_bytes().to_vec()));
            secrets.push((format!("the bytes of {member}"), unb64(text)));
        }
    }
    let sign = |proof: &ProofBuilder, algorithm: HmacAlgorithm, secret: &[u8]| {
        let proof = proof.clone().header("alg", algorithm.as_str());
        let signed = format!("{}.{}", b64(proof.header_json()), b64(proof.claims_json()));
        format!("{signed}.{}", b64(jws::sign_hmac(algorithm, secret, signed.as_bytes())))
    };
    for (name, secret) in secrets {
        for &algorithm in HmacAlgorithm::ALL {
            into.push(ProofForgery::new(
                format!("{algorithm} with {name}"),
                sign(&valid.renewed(), algorithm, &secret),
            ));
        }
    }
    let secret = [7; 64];
    let symmetric = valid.renewed().header("jwk", json!({"kty": "oct", "k": b64(secret)}));
    into.push(ProofForgery::new("HS256 with a symmetric jwk", sign(&symmetric, HmacAlgorithm::HS256, &secret)));
}

pub(super) fn parameters(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    for crit in [json!(["bork"]), json!([]), json!("bork"), json!(["jwk"]), json!(["alg"]), json!(1), Value::Null] {
        into.push(ProofForgery::new(
            format!("crit {crit}"),
            valid.renewed().header("crit", crit).header("bork", 1).sign(),
        ));
    }
    into.push(ProofForgery::new("b64 false", valid.renewed().header("b64", false).sign()));
    let unencoded = valid.renewed().header("b64", false).header("crit", json!(["b64"]));
    into.push(ProofForgery::new("b64 false, with crit", unencoded.sign()));
    into.push(ProofForgery::new("zip", valid.renewed().header("zip", "DEF").sign()));
    let (header, claims) = (valid.header_json(), || valid.renewed().claims_json());
    let headers = malformed::headers(&header, &["alg", "jwk", "typ"]);
    into.extend(headers.map(|(name, header)| ProofForgery::new(name, valid.sign_raw(header, claims()))));
    let key = valid.key();
    let certificate = json!([STANDARD.encode(key.spki().0)]);
    let instead = [
        ("kid", json!(key.thumbprint())),
        ("jku", json!("http://localhost/jwks.json")),
        ("x5u", json!("http://localhost/certificate.pem")),
        ("x5c", certificate),
        ("x5t#S256", json!(key.thumbprint())),
        ("JWK", key.jwk()),
    ];
    for (name, value) in instead {
        let proof = valid.renewed().without_header("jwk").header(name, value).sign();
        into.push(ProofForgery::new(format!("{name} in place of jwk"), proof));
    }
    let other = ProofKey::of_another_client(key.algorithm());
    let own_key_in_claims = valid.renewed().without_header("jwk").claim("jwk", key.jwk()).sign();
    into.push(ProofForgery::new("jwk in the claims", own_key_in_claims));
    let set = valid.renewed().header("jwk", json!({"keys": [key.jwk(), other.jwk()]})).sign();
    into.push(ProofForgery::new("jwk that is a set", set));
}
