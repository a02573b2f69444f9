#![no_main]
//! Any bytes as a key set, as PEM, as DER, and as one key beside a valid one, which must stay usable.

use std::sync::LazyLock;

use http::Request;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use tower_oauth::{Issuer, JwtVerifier, ResourceServer, keys::KeySet, testing::open_jws};
use tower_oauth_fuzz::{API, ISSUER, authenticate, issuer};

static GOOD: LazyLock<String> = LazyLock::new(|| issuer().jwk().to_string());
static TOKEN: LazyLock<String> = LazyLock::new(|| issuer().token("ada").sign());

fuzz_target!(|input: &[u8]| {
    let loaded = [KeySet::from_json(input), KeySet::from_pem(input), KeySet::from_der(input)];
    for outcome in loaded {
        match outcome {
            Ok(keys) => check(keys),
            Err(error) => assert!(error.to_string().starts_with("key set: ")),
        }
    }
    let Ok(text) = str::from_utf8(input) else { return };
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        let keys = KeySet::from_json(format!("{{\"keys\":[{text},{}]}}", *GOOD))
            .expect("an invalid key must not make the set invalid");
        assert_eq!(keys.len() + keys.skipped().len(), 2);
        assert!(open_jws(&keys, &TOKEN).is_some(), "an invalid key must not make another key unusable");
    }
});

/// Checks that a loaded set has keys, describes skipped keys, and verifies no token of another issuer.
fn check(keys: KeySet) {
    assert!(!keys.is_empty());
    assert_ne!(keys.len(), 0);
    assert!(keys.skipped().iter().all(|key| key.to_string().starts_with("key ")));
    let Ok(verifier) = JwtVerifier::new(Issuer::from_keys(ISSUER, keys).unwrap(), API) else {
        panic!("a set with a usable key supports no algorithm");
    };
    let authorization = format!("Bearer {}", *TOKEN);
    let (parts, ()) = Request::get("/").header("authorization", authorization).body(()).unwrap().into_parts();
    assert!(authenticate(&ResourceServer::new(verifier), &parts).is_err(), "the set verifies a token of another key");
}
