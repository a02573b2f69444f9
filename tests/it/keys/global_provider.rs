//! jsonwebtoken has a process-global provider. It panics at the first token if both crypto backends are enabled in one
//! program. The feature `rust-crypto` enables the second one (see `dev-dependencies`), and our verifier must still work.

use std::panic::catch_unwind;

use jsonwebtoken::{Algorithm as Jwa, DecodingKey, Validation};
use serde_json::Value;
use tower_oauth::{
    keys::{Algorithm, HmacAlgorithm},
    testing::TokenBuilder,
};

use crate::{
    material::{accepts, issuer_of},
    support::API,
};

fn panic_message_of_decode(token: &str, algorithm: Jwa, key: &DecodingKey) -> String {
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[API]);
    let outcome = catch_unwind(|| jsonwebtoken::decode::<Value>(token, key, &validation));
    let panic = outcome.expect_err("jsonwebtoken's global provider no longer panics, so this test is no longer useful");
    panic.downcast::<String>().map_or_else(|panic| (*panic.downcast::<&str>().unwrap()).to_owned(), |text| *text)
}

/// Threat W12
#[test]
fn accepts_a_token_on_which_jsonwebtokens_global_provider_panics() {
    let good: TokenBuilder = issuer_of(Algorithm::ES256).token("ada");
    let jwk = good_jwk();
    let key = DecodingKey::from_ec_components(jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap()).unwrap();
    let panic = panic_message_of_decode(&good.sign(), Jwa::ES256, &key);
    assert!(panic.contains("CryptoProvider"), "{panic}");
    assert!(accepts(issuer_of(Algorithm::ES256).key_set(), &good.sign()));

    let panic = panic_message_of_decode(
        &good.sign_hmac(HmacAlgorithm::HS256, &[7; 32]),
        Jwa::HS256,
        &DecodingKey::from_secret(&[7; 32]),
    );
    assert!(panic.contains("CryptoProvider"), "{panic}");
}

fn good_jwk() -> Value {
    issuer_of(Algorithm::ES256).jwk()
}
