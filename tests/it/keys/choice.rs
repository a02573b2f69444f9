//! Which key the verifier tries for a token: by `kid`, `alg` and `kty` (RFC 7515 §4.1.4, RFC 7517 §4.5, RFC 8725 §3.1;
//! threats A5, A7, A8, K6, J3, J4). Also shared secrets, which are never in a key set.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use serde_json::{Value, json};
use tower_oauth::{
    Issuer, JwtVerifier,
    error::AuthErrorKind,
    keys::{Algorithm, HmacAlgorithm, KeySet, SharedSecret},
    testing::{MockIssuer, TokenBuilder},
};

use crate::{
    material::{accepts, authenticate, b64, issuer_of, jwk_of, set, token_of, verifier, with, without},
    support::{API, ISSUER},
};

/// Issuers with different keys for the same algorithm.
fn signers(count: usize) -> Vec<MockIssuer> {
    (0..count).map(|number| MockIssuer::new(&format!("https://signer-{number}.test"))).collect()
}

fn good() -> TokenBuilder {
    MockIssuer::new(ISSUER).token("ada")
}

fn with_kid(signer: &MockIssuer, kid: &str) -> Value {
    with(signer.jwk(), "kid", kid)
}

fn without_kid(signer: &MockIssuer) -> Value {
    without(signer.jwk(), "kid")
}

/// RFC 7515 §4.1.4 (MUST, accepts)
/// Threat J4
#[test]
fn a_single_key_without_kid_verifies_tokens_with_any_kid_or_none() {
    let [signer] = &signers(1)[..] else { unreachable!() };
    for token in [good().header("kid", "any"), good().header("kid", ""), good().without_header("kid")] {
        assert!(accepts(set([without_kid(signer)]), &token.sign_with(signer)));
    }
}

/// RFC 7515 §4.1.4 (MUST, accepts)
/// Threat K6
#[test]
fn tries_all_keys_of_the_alg_for_a_token_without_kid() {
    let signers = signers(3);
    let keys = || {
        set([
            jwk_of(Algorithm::RS256),
            with_kid(&signers[0], "a"),
            jwk_of(Algorithm::EdDSA),
            with_kid(&signers[1], "b"),
            without_kid(&signers[2]),
        ])
    };
    for signer in &signers {
        assert!(accepts(keys(), &good().without_header("kid").sign_with(signer)));
    }
    let untrusted = MockIssuer::new("https://untrusted.test");
    assert!(!accepts(keys(), &good().without_header("kid").sign_with(&untrusted)));
}

/// RFC 7515 §4.1.4 (MUST, refuses)
/// Threat K3
#[test]
fn a_kid_is_compared_byte_for_byte() {
    let [signer] = &signers(1)[..] else { unreachable!() };
    for kid in ["Key-1", "", "k\u{e9}y", "a\"b\\c", "\u{0}"] {
        assert!(accepts(set([with_kid(signer, kid)]), &good().header("kid", kid).sign_with(signer)), "{kid:?}");
    }
    for kid in ["key-1", "Key-1 ", "Key-", "Key-1\u{0}", "", "*", "Key\u{2010}1"] {
        assert!(!accepts(set([with_kid(signer, "Key-1")]), &good().header("kid", kid).sign_with(signer)), "{kid:?}");
    }
}

/// RFC 7515 §4.1.4 (MUST, refuses)
/// Threat A8
#[test]
fn refuses_a_token_whose_kid_is_not_of_the_signing_key() {
    let signers = signers(2);
    let keys = || set([with_kid(&signers[0], "a"), with_kid(&signers[1], "b"), jwk_of(Algorithm::EdDSA)]);
    assert!(accepts(keys(), &good().header("kid", "a").sign_with(&signers[0])));
    assert!(!accepts(keys(), &good().header("kid", "a").sign_with(&signers[1])));
    // The kid is of a key with another kty: the alg must fit too (A8).
    let wrong_kid = issuer_of(Algorithm::EdDSA).token("ada").header("kid", "a").sign();
    assert!(!accepts(keys(), &wrong_kid));
    assert!(accepts(keys(), &token_of(Algorithm::EdDSA)));
}

#[test]
fn a_key_without_kid_verifies_a_kid_only_if_no_key_has_that_kid() {
    let signers = signers(2);
    let keys = || set([with_kid(&signers[0], "a"), without_kid(&signers[1])]);
    assert!(accepts(keys(), &good().header("kid", "a").sign_with(&signers[0])));
    assert!(!accepts(keys(), &good().header("kid", "a").sign_with(&signers[1])));
    assert!(accepts(keys(), &good().header("kid", "z").sign_with(&signers[1])));
    assert!(!accepts(keys(), &good().header("kid", "z").sign_with(&signers[0])));
    // The key with this kid has another kty: the key without a kid must still not verify the token.
    let keys = set([with(jwk_of(Algorithm::EdDSA), "kid", "a"), without_kid(&signers[1])]);
    assert!(!accepts(keys, &good().header("kid", "a").sign_with(&signers[1])));
}

/// RFC 7517 §4.5 (SHOULD, accepts)
/// Threat J3
#[test]
fn tries_every_key_that_has_the_kid_of_the_token() {
    let signers = signers(2);
    for signer in &signers {
        let keys = set(signers.iter().map(|signer| with_kid(signer, "same")));
        assert!(accepts(keys, &good().header("kid", "same").sign_with(signer)), "{signer:?}");
    }
    // RFC 7517 §4.5: keys with the same kid may have different values of kty.
    let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
    for algorithm in algorithms {
        let keys = set(algorithms.map(|algorithm| with(jwk_of(algorithm), "kid", "same")));
        let token = issuer_of(algorithm).token("ada").header("kid", "same").sign();
        assert!(accepts(keys, &token), "{algorithm}");
    }
}

/// RFC 7517 §4.5 (SHOULD, refuses)
/// Threat K6
#[test]
fn tries_at_most_four_keys_for_a_token() {
    let signers = signers(6);
    for kid in [Some("same"), None] {
        for (position, signer) in signers.iter().enumerate() {
            let keys = set(signers.iter().map(|signer| with_kid(signer, "same")));
            let token = match kid {
                Some(kid) => good().header("kid", kid),
                None => good().without_header("kid"),
            };
            assert_eq!(accepts(keys, &token.sign_with(signer)), position < 4, "{kid:?}, key {position}");
        }
    }
}

/// RFC 7517 §4.4 (derived, refuses)
/// RFC 8725 §3.1 b (MUST, refuses)
/// Threat A7
#[test]
fn a_key_with_an_alg_verifies_no_other_alg() {
    for token_alg in [Algorithm::RS256, Algorithm::RS512, Algorithm::PS256, Algorithm::PS512] {
        let issuer = issuer_of(token_alg);
        for key_alg in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS512] {
            let keys = set([with(issuer.jwk(), "alg", key_alg.as_str())]);
            assert_eq!(accepts(keys, &issuer.token("ada").sign()), token_alg == key_alg, "{token_alg} on {key_alg}");
        }
    }
}

/// RFC 7517 §4.4 (derived, accepts)
/// Threat A5
#[test]
fn an_rsa_key_without_alg_verifies_every_allowed_rsa_alg() {
    let all =
        [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
    for token_alg in all {
        let issuer = issuer_of(token_alg);
        let (keys, token) = (|| set([without(issuer.jwk(), "alg")]), issuer.token("ada").sign());
        assert!(accepts(keys(), &token), "{token_alg}");
        for allowed in all {
            let issuer = Issuer::from_keys(ISSUER, keys()).unwrap();
            let verifier = JwtVerifier::builder(issuer, API).algorithms([allowed]).build().unwrap();
            assert_eq!(
                authenticate(verifier, &token).is_ok(),
                token_alg == allowed,
                "{token_alg} where {allowed} is allowed"
            );
        }
    }
}

#[test]
fn rsa_keys_of_3072_and_4096_bits_verify_tokens() {
    let good = good().header("alg", "RS256");
    let signed = format!("{}.{}", b64(good.header_json()), b64(good.claims_json()));
    for size in [KeySize::Rsa3072, KeySize::Rsa4096] {
        let pair = KeyPair::generate(size).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        let token = format!("{signed}.{}", b64(&signature));
        assert!(accepts(KeySet::from_der(pair.public_key()).unwrap(), &token), "{size:?}");
        signature[7] ^= 1;
        let tampered = format!("{signed}.{}", b64(signature));
        assert!(!accepts(KeySet::from_der(pair.public_key()).unwrap(), &tampered), "{size:?}");
    }
}

/// RFC 8037 §3.1 (SHOULD, accepts)
/// RFC 8725 §3.1 b (MUST, accepts)
#[test]
fn accepts_both_names_of_ed25519_in_tokens_and_in_keys() {
    let issuer = issuer_of(Algorithm::EdDSA);
    for in_token in ["EdDSA", "Ed25519"] {
        for in_key in ["EdDSA", "Ed25519"] {
            let keys = set([with(issuer.jwk(), "alg", in_key)]);
            assert!(accepts(keys, &issuer.token("ada").header("alg", in_token).sign()), "{in_token} on {in_key}");
        }
        let keys = set([issuer.jwk()]);
        assert!(!accepts(keys, &issuer.token("ada").header("alg", in_token.to_lowercase()).sign()));
    }
}

/// RFC 8725 §3.1 a (MUST, refuses)
#[test]
fn build_refuses_an_allow_list_that_cannot_work() {
    let build = |algorithms: &[Algorithm]| {
        let issuer = Issuer::from_keys(ISSUER, set([jwk_of(Algorithm::ES256)])).unwrap();
        JwtVerifier::builder(issuer, API).algorithms(algorithms.iter().copied()).build()
    };
    assert!(build(&[Algorithm::RS256, Algorithm::ES256]).is_ok());
    for (algorithms, found) in [(&[][..], "the list is empty"), (&[Algorithm::RS256], "no key of the")] {
        let error = build(algorithms).unwrap_err().to_string();
        assert!(error.starts_with(&format!("algorithms: {found}")), "{error}");
    }
    for &algorithm in Algorithm::ALL {
        let outcome = build(&[Algorithm::ES256, algorithm]);
        if Algorithm::supported().contains(&algorithm) {
            assert!(outcome.is_ok(), "{algorithm}");
        } else {
            let error = outcome.unwrap_err().to_string();
            let text = "this build can't verify ES512; leave it out, or turn on the feature aws-lc-rs";
            assert_eq!(error, format!("algorithms: {text}"));
        }
    }
}

const SECRETS: [(HmacAlgorithm, usize); 3] =
    [(HmacAlgorithm::HS256, 32), (HmacAlgorithm::HS384, 48), (HmacAlgorithm::HS512, 64)];

fn shared(algorithm: HmacAlgorithm, bytes: usize) -> JwtVerifier {
    let secret = SharedSecret::new(algorithm, vec![7; bytes]).unwrap();
    JwtVerifier::builder_from_secret(ISSUER, secret, API).build().unwrap()
}

/// RFC 7518 §3.2 (MUST, accepts and refuses)
/// RFC 8725 §3.5 (MUST, accepts and refuses)
#[test]
fn refuses_a_shared_secret_shorter_than_the_hash() {
    for (algorithm, min) in SECRETS {
        assert_eq!(algorithm.min_secret_bytes(), min);
        for bytes in [0, 1, min - 1] {
            let error = SharedSecret::new(algorithm, vec![7; bytes]).unwrap_err().to_string();
            let found = format!("shared secret: {bytes} bytes, but {algorithm:?} needs at least {min}");
            assert!(error.starts_with(&found), "{error}");
        }
        for bytes in [min, min + 1, 1000] {
            let token = good().sign_hmac(algorithm, &vec![7; bytes]);
            assert_eq!(authenticate(shared(algorithm, bytes), &token).unwrap().subject(), Some("ada"), "{algorithm:?}");
        }
    }
    let secret = SharedSecret::new(HmacAlgorithm::HS256, [b's'; 32]).unwrap();
    assert_eq!(format!("{secret:?}"), r#"SharedSecret { algorithm: HS256, bytes: "[redacted]" }"#);
}

/// RFC 7519 §8 (derived, refuses)
#[test]
fn a_shared_secret_verifier_accepts_only_its_own_algorithm() {
    for (algorithm, min) in SECRETS {
        let refused = |token: &str| {
            assert_eq!(authenticate(shared(algorithm, 64), token).unwrap_err(), AuthErrorKind::InvalidToken);
        };
        assert!(authenticate(shared(algorithm, 64), &good().sign_hmac(algorithm, &[7; 64])).is_ok());
        refused(&good().sign_hmac(algorithm, &[8; 64]));
        refused(&good().sign_hmac(algorithm, &vec![7; min - 1]));
        refused(&good().sign_hmac(algorithm, b""));
        for (other, _) in SECRETS.iter().filter(|(other, _)| *other != algorithm) {
            refused(&good().sign_hmac(*other, &[7; 64]));
        }
        for &asymmetric in Algorithm::supported() {
            refused(&token_of(asymmetric));
        }
    }
    let secret = SharedSecret::new(HmacAlgorithm::HS256, [7; 32]).unwrap();
    let builder = JwtVerifier::builder_from_secret("not-a-url", secret, API).algorithms([Algorithm::ES256]);
    let verifier = builder.build().unwrap();
    let token = good().claim("iss", "not-a-url");
    assert!(authenticate(verifier.clone(), &token.sign_hmac(HmacAlgorithm::HS256, &[7; 32])).is_ok());
    assert_eq!(authenticate(verifier, &token.sign()).unwrap_err(), AuthErrorKind::InvalidToken);
    let secret = SharedSecret::new(HmacAlgorithm::HS256, [7; 32]).unwrap();
    assert!(JwtVerifier::builder_from_secret(" ", secret, API).build().is_err());
}

/// RFC 8725 §3.5 (MUST, refuses)
/// Threat A10
#[test]
fn never_uses_a_symmetric_key_of_a_key_set() {
    let secret = b64([7; 64]);
    for (algorithm, _) in SECRETS {
        let oct = json!({"kty": "oct", "k": secret, "kid": "s", "alg": format!("{algorithm:?}")});
        let token = good().header("kid", "s").sign_hmac(algorithm, &[7; 64]);
        assert!(!accepts(set([oct.clone(), jwk_of(Algorithm::ES256)]), &token));
        let error = KeySet::from_json(json!({ "keys": [oct] }).to_string()).unwrap_err();
        assert!(error.to_string().contains("a symmetric key"), "{error}");
    }
}

/// RFC 7517 §4.5 (SHOULD, accepts)
/// RFC 7517 §9.3 a (derived, accepts)
/// RFC 9068 §5 b (derived, accepts)
#[test]
fn finds_the_key_in_any_order_and_beside_any_other_keys() {
    let all: Vec<Value> = Algorithm::supported().iter().map(|algorithm| jwk_of(*algorithm)).collect();
    for &algorithm in Algorithm::supported() {
        let token = token_of(algorithm);
        assert!(authenticate(verifier(set(all.clone())), &token).is_ok(), "{algorithm}");
        assert!(authenticate(verifier(set(all.iter().rev().cloned())), &token).is_ok(), "{algorithm}");
        let others = all.iter().filter(|jwk| **jwk != jwk_of(algorithm)).cloned();
        assert_eq!(
            authenticate(verifier(set(others)), &token).unwrap_err(),
            AuthErrorKind::InvalidToken,
            "{algorithm}"
        );
    }
}
