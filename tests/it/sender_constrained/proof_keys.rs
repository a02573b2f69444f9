//! The proofs of `ProofKey` are those of RFC 9449, and each forgery of a proof has one defect.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde_json::{Value, json};
use tower_oauth::{
    keys::{Algorithm, KeySet},
    testing::{ManualClock, ProofBuilder, ProofKey, open_jws},
};

use crate::support::valid_token;

const URL: &str = "https://api.test/v1/orders/7";

/// One algorithm of each kind: a key for RSA takes long to generate.
pub(crate) fn algorithms() -> impl Iterator<Item = Algorithm> {
    use Algorithm::{ES256, ES384, ES512, EdDSA, PS256};
    [EdDSA, ES256, ES384, ES512, PS256].into_iter().filter(|algorithm| Algorithm::supported().contains(algorithm))
}

fn part(jws: &str, position: usize) -> Value {
    let part = jws.split('.').nth(position).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn keys(key: &ProofKey) -> KeySet {
    KeySet::from_json(json!({"keys": [key.jwk()]}).to_string()).unwrap()
}

fn proof(key: &ProofKey) -> ProofBuilder {
    key.proof("GET", URL).token("the.access.token")
}

#[test]
fn a_proof_has_the_parts_that_rfc_9449_requires() {
    for algorithm in algorithms() {
        let key = ProofKey::with_algorithm(algorithm);
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_562_262_616_900);
        let proof = key.clone().with_clock(ManualClock::new(now)).proof("POST", "https://api.test/a?b#c").sign();
        let (header, claims) = (part(&proof, 0), part(&proof, 1));
        assert_eq!(header, json!({"typ": "dpop+jwt", "alg": algorithm.as_str(), "jwk": key.jwk()}));
        assert_eq!(names(&claims), ["htm", "htu", "iat", "jti"]);
        assert_eq!(claims["htm"], "POST");
        assert_eq!(claims["htu"], "https://api.test/a", "without query and fragment");
        assert_eq!(claims["iat"], 1_562_262_616);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 22, "128 bits");
        let public: &[&str] = match algorithm {
            Algorithm::EdDSA => &["crv", "kty", "x"],
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 => &["crv", "kty", "x", "y"],
            _ => &["e", "kty", "n"],
        };
        assert_eq!(names(&header["jwk"]), public, "no private member");
        assert!(open_jws(&keys(&key), &proof).is_some(), "{algorithm}");
        assert!(open_jws(&keys(&ProofKey::with_algorithm(algorithm)), &proof).is_none(), "{algorithm}");
    }
}

/// RFC 9449 §4.3 f (MUST, accepts)
#[test]
fn the_hash_of_a_token_is_that_of_the_specification() {
    // RFC 9449 §7.1
    let proof = ProofKey::new().proof("GET", URL).token("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU").sign();
    assert_eq!(part(&proof, 1)["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
}

#[test]
fn two_keys_and_two_proofs_differ() {
    let (one, other) = (ProofKey::new(), ProofKey::new());
    assert_ne!(one.thumbprint(), other.thumbprint());
    let jti = |proof: &ProofBuilder| part(&proof.sign(), 1)["jti"].clone();
    assert_ne!(jti(&proof(&one)), jti(&proof(&one)));
    let proof = proof(&one);
    assert_eq!(jti(&proof), jti(&proof), "signed twice, so the second one is a replay");
    assert!(!format!("{one:?}").contains("\"d\""));
}

#[test]
fn a_token_can_be_bound_to_a_key_and_to_a_certificate() {
    let key = ProofKey::new();
    let certificate = b"any DER";
    let hash = "AqBtaxCEIFbGfDmNmQPtSXV0nPsYg5HvTy98YPXizLc";
    let cnf = |token: &str| part(token, 1)["cnf"].clone();
    assert_eq!(cnf(&valid_token().bound_to(&key).sign()), json!({"jkt": key.thumbprint()}));
    assert_eq!(cnf(&valid_token().bound_to_certificate(certificate).sign()), json!({"x5t#S256": hash}));
    let both = json!({"jkt": key.thumbprint(), "x5t#S256": hash});
    assert_eq!(cnf(&valid_token().bound_to(&key).bound_to_certificate(certificate).sign()), both);
    assert_eq!(cnf(&valid_token().bound_to_certificate(certificate).bound_to(&key).sign()), both);
}

#[test]
fn each_forgery_of_a_proof_differs_from_it_and_fits_into_a_header() {
    for algorithm in algorithms() {
        let key = ProofKey::with_algorithm(algorithm);
        let good = proof(&key).nonce("a-nonce");
        let forgeries = good.forgeries();
        assert!(forgeries.len() > 400, "{algorithm}: {}", forgeries.len());
        let mut seen = BTreeSet::new();
        for forgery in &forgeries {
            assert_ne!(forgery.proof(), good.sign(), "{algorithm}: {forgery}");
            assert!(seen.insert(forgery.name()), "{algorithm}: {forgery} is there twice");
            assert!(HeaderValue::from_str(forgery.proof()).is_ok(), "{algorithm}: {forgery}");
        }
    }
}

#[test]
fn the_signature_of_a_proof_with_defective_claims_is_valid() {
    for algorithm in algorithms() {
        let key = ProofKey::with_algorithm(algorithm);
        let mut found = 0;
        for forgery in proof(&key).forgeries() {
            let name = forgery.name();
            let claim = name.split(' ').next().unwrap();
            let is_claim =
                ["jti", "htm", "htu", "ath", "iat", "exp", "nbf"].contains(&claim) || name.starts_with("typ \"");
            if is_claim || name.starts_with("payload with") {
                found += 1;
                assert!(open_jws(&keys(&key), forgery.proof()).is_some(), "{algorithm}: {forgery}");
            }
        }
        assert!(found > 170, "{algorithm}: {found}");
    }
}

#[test]
fn a_forgery_of_a_proof_needs_what_the_proof_has() {
    let key = ProofKey::new();
    let with = |proof: ProofBuilder, claim: &str| {
        proof.forgeries().iter().filter(|forgery| forgery.name().starts_with(claim)).count()
    };
    let plain = || key.proof("POST", "https://auth.test/token");
    assert_eq!(with(plain(), "ath"), 0, "ath has no meaning in a token request");
    assert!(with(plain().token("a"), "ath ") > 10);
    assert_eq!(with(plain(), "nonce"), 0);
    assert!(with(plain().nonce("a"), "nonce ") > 5);
    assert!(with(plain(), "iat an hour ago") == 1);
    assert_eq!(with(plain().nonce("a"), "iat an hour ago"), 0, "servers need not look at it beside a nonce");
}

#[test]
fn good_variants_of_a_proof_have_valid_signatures_and_new_ids() {
    for algorithm in algorithms() {
        let key = ProofKey::with_algorithm(algorithm);
        let variants = proof(&key).good_variants();
        assert!(variants.len() > 40, "{}", variants.len());
        let mut ids = BTreeSet::new();
        for variant in variants {
            let payload = open_jws(&keys(&key), variant.proof()).unwrap_or_else(|| panic!("{algorithm}: {variant}"));
            let claims: Value = serde_json::from_slice(&payload).unwrap();
            assert!(ids.insert(claims["jti"].to_string()), "{variant}: the jti of another variant");
        }
    }
}
