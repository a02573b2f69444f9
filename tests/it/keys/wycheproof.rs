//! Project Wycheproof's test vectors for JSON Web Signatures and Keys, checked with the verifier's own code.
//!
//! `WYCHEPROOF_DIR` names the directory with the files (`testvectors_v1` of github.com/C2SP/wycheproof), which are not in
//! this repository. Without the variable, the tests do not run.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_oauth::{
    keys::{Algorithm, HmacAlgorithm, KeySet, SharedSecret},
    testing::{open_jws, open_jws_with_secret},
};

use crate::support::not_run_here;

/// Vectors that this crate refuses although they are valid by RFC 7515, with the reason.
const STRICTER: [(&str, &[u64]); 4] = [
    ("an empty payload is no JWT", &[259, 264, 268, 272, 320, 325]),
    ("the key's alg is PS256, the token's PS384", &[346, 350]),
    ("the key's alg is ES521, which is not registered", &[347, 351]),
    ("a '?' within base64url; the vector's own note calls it inserted and invalid", &[372, 373]),
];

/// Vectors that this crate accepts although they are marked as invalid, with the reason.
const SAME_AS_A_VALID_ONE: (&str, &[u64]) =
    ("equal to the valid vector 357, because the padding is missing in the file", &[367, 370]);

/// Vectors with key sets that this crate refuses although they are valid, with the reason.
const STRICTER_KEYS: (&str, &[u64]) = ("a secret in a published key set is never a key", &[2]);
/// Vectors with key sets that this crate accepts although they are marked as invalid, with the reason.
const LESS_STRICT_KEYS: (&str, &[u64]) =
    ("ROCA (CVE-2017-15361) is a flaw of a key generator, which the issuer must avoid", &[7]);

/// Vectors with key sets that have no usable key, so that the token is not checked.
const UNUSABLE_KEYS: &[u64] = &[2, 3, 4, 6, 8, 9, 10, 11, 12, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26];
const UNUSABLE_SIGNATURE_KEYS: &[u64] = &[347, 351, 353, 354, 355, 356];

#[derive(Debug, Default)]
struct Tally {
    valid_accepted: usize,
    invalid_refused: usize,
    valid_refused: Vec<u64>,
    invalid_accepted: Vec<u64>,
    unusable_keys: Vec<u64>,
}

/// RFC 7515 §3.1 (MUST, accepts)
/// RFC 7518 §3.4 (MUST, accepts)
/// RFC 8725 §3.3 (MUST, accepts and refuses)
/// Threats S2, S3, S5, S6, S8, S9
#[test]
fn gives_wycheproofs_verdict_for_every_signature_vector_except_the_listed() {
    let Some(tally) = run("json_web_signature_test.json", 401) else { return };
    let mut stricter: Vec<u64> = STRICTER.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    stricter.sort_unstable();
    assert_eq!(tally.valid_refused, stricter, "{STRICTER:?}");
    assert_eq!(tally.invalid_accepted, SAME_AS_A_VALID_ONE.1, "{}", SAME_AS_A_VALID_ONE.0);
    assert_eq!(tally.unusable_keys, UNUSABLE_SIGNATURE_KEYS);
}

/// RFC 7517 §4 (MUST, accepts)
/// Threat S14
#[test]
fn gives_wycheproofs_verdict_for_every_key_vector_except_the_listed() {
    let Some(tally) = run("json_web_key_test.json", 26) else { return };
    assert_eq!(tally.valid_refused, STRICTER_KEYS.1, "{}", STRICTER_KEYS.0);
    assert_eq!(tally.invalid_accepted, LESS_STRICT_KEYS.1, "{}", LESS_STRICT_KEYS.0);
    assert_eq!(tally.unusable_keys, UNUSABLE_KEYS);
}

/// RFC 7518 §3.4 (MUST, accepts)
#[test]
fn verifies_the_es512_vectors_after_correcting_their_alg() {
    let Some(groups) = groups("json_web_signature_test.json") else { return };
    let mut verified = 0;
    for group in groups.iter().filter(|group| group["public"]["alg"] == "ES521") {
        let mut jwk = group["public"].clone();
        jwk["alg"] = json!("ES512");
        let keys = KeySet::from_json(json!({ "keys": [jwk] }).to_string());
        if !Algorithm::supported().contains(&Algorithm::ES512) {
            let error = keys.unwrap_err().to_string();
            assert!(error.contains("ES512, which the feature rust-crypto lacks"), "{error}");
            continue;
        }
        let keys = keys.unwrap();
        for test in group["tests"].as_array().unwrap() {
            assert!(open_jws(&keys, test["jws"].as_str().unwrap()).is_some(), "{}", test["tcId"]);
            verified += 1;
        }
    }
    assert_eq!(verified, if Algorithm::supported().contains(&Algorithm::ES512) { 2 } else { 0 });
}

fn groups(file: &str) -> Option<Vec<Value>> {
    let Some(folder) = env::var_os("WYCHEPROOF_DIR") else {
        not_run_here(
            &format!("vectors in {file}"),
            "Wycheproof's vectors, in the directory that WYCHEPROOF_DIR names (see tests/README.md)",
        );
        return None;
    };
    let path = PathBuf::from(folder).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let document: Value = serde_json::from_str(&text).unwrap();
    Some(document["testGroups"].as_array().unwrap().clone())
}

/// Writes directly to standard error, because the test harness hides the `eprintln!` output of a test that passes.
fn print_line(line: &str) {
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "{line}").unwrap();
}

fn run(file: &str, expected: usize) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut count = 0;
    for group in groups(file)? {
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let accepted = verify(&group, test["jws"].as_str().unwrap()).unwrap_or_else(|Unusable| {
                tally.unusable_keys.push(id);
                false
            });
            match (test["result"].as_str().unwrap(), accepted) {
                ("valid", true) => tally.valid_accepted += 1,
                ("valid", false) => tally.valid_refused.push(id),
                ("invalid", true) => tally.invalid_accepted.push(id),
                ("invalid", false) => tally.invalid_refused += 1,
                (other, _) => panic!("vector {id}: no rule for the result {other:?}"),
            }
            count += 1;
        }
    }
    print_line(&format!("Wycheproof {file}: {count} vectors run: {tally:?}"));
    assert_eq!(count, expected, "this test was written for another version of the vectors");
    Some(tally)
}

struct Unusable;

/// Verifies a token. A single secret is loaded as a [`SharedSecret`], everything else as a key set, as in an application.
fn verify(group: &Value, jws: &str) -> Result<bool, Unusable> {
    let key = group.get("public").or_else(|| group.get("private")).unwrap();
    let single =
        key["keys"].as_array().map_or(Some(key), |keys| keys.first().filter(|_| keys.len() == 1)).unwrap_or(key);
    if single["kty"] == "oct" {
        let secret = SharedSecret::new(hmac(single).ok_or(Unusable)?, bytes(&single["k"])).map_err(|_| Unusable)?;
        return open_jws_with_secret(secret, jws).map(|payload| payload.is_some()).map_err(|_| Unusable);
    }
    let document = if key.get("keys").is_some() { key.clone() } else { json!({ "keys": [key] }) };
    let keys = KeySet::from_json(document.to_string()).map_err(|_| Unusable)?;
    Ok(open_jws(&keys, jws).is_some())
}

fn hmac(jwk: &Value) -> Option<HmacAlgorithm> {
    let named = BTreeMap::from([
        ("HS256", HmacAlgorithm::HS256),
        ("HS384", HmacAlgorithm::HS384),
        ("HS512", HmacAlgorithm::HS512),
    ]);
    named.get(jwk["alg"].as_str()?).copied()
}

fn bytes(member: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(member.as_str().unwrap()).unwrap()
}
