//! Which key is asked about a token: by `kid`, `alg` and kind (RFC 7515 §4.1.4, RFC 7517 §4.5, RFC 8725 §3.1; THREATS
//! A5, A7, A8, K6, J3, J4), and the shared secret, which is none of them.

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

/// Key pairs of one algorithm that nothing tells apart but the numbers.
fn signers(count: usize) -> Vec<MockIssuer> {
    (0..count).map(|number| MockIssuer::new(&format!("https://signer-{number}.test"))).collect()
}

fn good() -> TokenBuilder {
    MockIssuer::new(ISSUER).token("ada")
}

fn named(signer: &MockIssuer, kid: &str) -> Value {
    with(signer.jwk(), "kid", kid)
}

fn nameless(signer: &MockIssuer) -> Value {
    without(signer.jwk(), "kid")
}

#[test]
fn a_lone_key_without_kid_serves_tokens_with_any_kid_and_without() {
    let [signer] = &signers(1)[..] else { unreachable!() };
    for token in [good().header("kid", "any"), good().header("kid", ""), good().without_header("kid")] {
        assert!(accepts(set([nameless(signer)]), &token.sign_with(signer)));
    }
}

#[test]
fn a_token_without_kid_is_tried_with_the_keys_of_its_alg() {
    let signers = signers(3);
    let keys = || {
        set([
            jwk_of(Algorithm::RS256),
            named(&signers[0], "a"),
            jwk_of(Algorithm::EdDSA),
            named(&signers[1], "b"),
            nameless(&signers[2]),
        ])
    };
    for signer in &signers {
        assert!(accepts(keys(), &good().without_header("kid").sign_with(signer)));
    }
    let stranger = MockIssuer::new("https://stranger.test");
    assert!(!accepts(keys(), &good().without_header("kid").sign_with(&stranger)));
}

#[test]
fn a_kid_is_compared_byte_for_byte() {
    let [signer] = &signers(1)[..] else { unreachable!() };
    for kid in ["Key-1", "", "k\u{e9}y", "a\"b\\c", "\u{0}"] {
        assert!(accepts(set([named(signer, kid)]), &good().header("kid", kid).sign_with(signer)), "{kid:?}");
    }
    for kid in ["key-1", "Key-1 ", "Key-", "Key-1\u{0}", "", "*", "Key\u{2010}1"] {
        assert!(!accepts(set([named(signer, "Key-1")]), &good().header("kid", kid).sign_with(signer)), "{kid:?}");
    }
}

#[test]
fn the_kid_of_one_key_under_the_signature_of_another_admits_nobody() {
    let signers = signers(2);
    let keys = || set([named(&signers[0], "a"), named(&signers[1], "b"), jwk_of(Algorithm::EdDSA)]);
    assert!(accepts(keys(), &good().header("kid", "a").sign_with(&signers[0])));
    assert!(!accepts(keys(), &good().header("kid", "a").sign_with(&signers[1])));
    // A kid of another kind of key: the alg decides with it (A8).
    let borrowed = issuer_of(Algorithm::EdDSA).token("ada").header("kid", "a").sign();
    assert!(!accepts(keys(), &borrowed));
    assert!(accepts(keys(), &token_of(Algorithm::EdDSA)));
}

#[test]
fn a_key_without_kid_serves_a_foreign_kid_only_where_no_key_has_it() {
    let signers = signers(2);
    let keys = || set([named(&signers[0], "a"), nameless(&signers[1])]);
    assert!(accepts(keys(), &good().header("kid", "a").sign_with(&signers[0])));
    assert!(!accepts(keys(), &good().header("kid", "a").sign_with(&signers[1])));
    assert!(accepts(keys(), &good().header("kid", "z").sign_with(&signers[1])));
    assert!(!accepts(keys(), &good().header("kid", "z").sign_with(&signers[0])));
    // The kid is another kind's: still nobody else's.
    let keys = set([with(jwk_of(Algorithm::EdDSA), "kid", "a"), nameless(&signers[1])]);
    assert!(!accepts(keys, &good().header("kid", "a").sign_with(&signers[1])));
}

#[test]
fn a_kid_that_several_keys_have_means_each_of_them() {
    let signers = signers(2);
    for signer in &signers {
        let keys = set(signers.iter().map(|signer| named(signer, "same")));
        assert!(accepts(keys, &good().header("kid", "same").sign_with(signer)), "{signer:?}");
    }
    // RFC 7517 §4.5 has different kinds in mind.
    let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
    for algorithm in algorithms {
        let keys = set(algorithms.map(|algorithm| with(jwk_of(algorithm), "kid", "same")));
        let token = issuer_of(algorithm).token("ada").header("kid", "same").sign();
        assert!(accepts(keys, &token), "{algorithm}");
    }
}

#[test]
fn no_token_is_tried_with_more_than_four_keys() {
    let signers = signers(6);
    for kid in [Some("same"), None] {
        for (place, signer) in signers.iter().enumerate() {
            let keys = set(signers.iter().map(|signer| named(signer, "same")));
            let token = match kid {
                Some(kid) => good().header("kid", kid),
                None => good().without_header("kid"),
            };
            assert_eq!(accepts(keys, &token.sign_with(signer)), place < 4, "{kid:?}, key {place}");
        }
    }
}

#[test]
fn a_key_with_an_alg_serves_no_other_alg() {
    for token_alg in [Algorithm::RS256, Algorithm::RS512, Algorithm::PS256, Algorithm::PS512] {
        let issuer = issuer_of(token_alg);
        for key_alg in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS512] {
            let keys = set([with(issuer.jwk(), "alg", key_alg.as_str())]);
            assert_eq!(accepts(keys, &issuer.token("ada").sign()), token_alg == key_alg, "{token_alg} on {key_alg}");
        }
    }
}

#[test]
fn an_rsa_key_without_alg_serves_what_the_allow_list_names() {
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
fn longer_rsa_keys_verify_too() {
    let good = good().header("alg", "RS256");
    let signed = format!("{}.{}", b64(good.header_json()), b64(good.claims_json()));
    for size in [KeySize::Rsa3072, KeySize::Rsa4096] {
        let pair = KeyPair::generate(size).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        let token = format!("{signed}.{}", b64(&signature));
        assert!(accepts(KeySet::from_der(pair.public_key()).unwrap(), &token), "{size:?}");
        signature[7] ^= 1;
        let bent = format!("{signed}.{}", b64(signature));
        assert!(!accepts(KeySet::from_der(pair.public_key()).unwrap(), &bent), "{size:?}");
    }
}

#[test]
fn ed25519_goes_by_both_of_its_names_in_the_token_and_in_the_key() {
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

#[test]
fn an_allow_list_that_cannot_work_is_an_error_at_start_up() {
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
            let words = "this build cannot verify ES512; leave it out, or turn on the feature aws-lc-rs";
            assert_eq!(error, format!("algorithms: {words}"));
        }
    }
}

const SECRETS: [(HmacAlgorithm, usize); 3] =
    [(HmacAlgorithm::HS256, 32), (HmacAlgorithm::HS384, 48), (HmacAlgorithm::HS512, 64)];

fn shared(algorithm: HmacAlgorithm, bytes: usize) -> JwtVerifier {
    let secret = SharedSecret::new(algorithm, vec![7; bytes]).unwrap();
    JwtVerifier::builder_from_secret(ISSUER, secret, API).build().unwrap()
}

#[test]
fn a_shared_secret_is_at_least_as_long_as_the_hash() {
    for (algorithm, least) in SECRETS {
        assert_eq!(algorithm.min_secret_bytes(), least);
        for bytes in [0, 1, least - 1] {
            let error = SharedSecret::new(algorithm, vec![7; bytes]).unwrap_err().to_string();
            let found = format!("shared secret: {bytes} bytes, but {algorithm:?} needs at least {least}");
            assert!(error.starts_with(&found), "{error}");
        }
        for bytes in [least, least + 1, 1000] {
            let token = good().sign_hmac(algorithm, &vec![7; bytes]);
            assert_eq!(authenticate(shared(algorithm, bytes), &token).unwrap().subject(), Some("ada"), "{algorithm:?}");
        }
    }
    let secret = SharedSecret::new(HmacAlgorithm::HS256, [b's'; 32]).unwrap();
    assert_eq!(format!("{secret:?}"), r#"SharedSecret { algorithm: HS256, bytes: "[redacted]" }"#);
}

#[test]
fn a_verifier_with_a_secret_takes_its_one_algorithm_and_nothing_else() {
    for (algorithm, least) in SECRETS {
        let refused = |token: &str| {
            assert_eq!(authenticate(shared(algorithm, 64), token).unwrap_err(), AuthErrorKind::InvalidToken)
        };
        assert!(authenticate(shared(algorithm, 64), &good().sign_hmac(algorithm, &[7; 64])).is_ok());
        refused(&good().sign_hmac(algorithm, &[8; 64]));
        refused(&good().sign_hmac(algorithm, &vec![7; least - 1]));
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

#[test]
fn a_secret_in_a_published_key_set_admits_nobody() {
    let secret = b64([7; 64]);
    for (algorithm, _) in SECRETS {
        let oct = json!({"kty": "oct", "k": secret, "kid": "s", "alg": format!("{algorithm:?}")});
        let token = good().header("kid", "s").sign_hmac(algorithm, &[7; 64]);
        assert!(!accepts(set([oct.clone(), jwk_of(Algorithm::ES256)]), &token));
        let error = KeySet::from_json(json!({ "keys": [oct] }).to_string()).unwrap_err();
        assert!(error.to_string().contains("a symmetric key"), "{error}");
    }
}

#[test]
fn keys_are_used_whatever_their_order_and_neighbours() {
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
