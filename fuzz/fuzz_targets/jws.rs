#![no_main]
//! `S`: the first line is the header and the rest the payload of a genuinely signed token. `C`: the rest is the whole token.
//! `P`: a genuine header and signature, with the rest as the payload.

use std::sync::LazyLock;

use http::{HeaderValue, Request};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tower_oauth::{ResourceServer, keys::KeySet, testing::open_jws};
use tower_oauth_fuzz::{API, ISSUER, NOW, authenticate, check_refusal, issuer};

static SERVER: LazyLock<ResourceServer> = LazyLock::new(|| ResourceServer::new(issuer().verifier(API)));
static KEYS: LazyLock<KeySet> = LazyLock::new(|| issuer().key_set());

/// Checks that the seed is accepted, so that the fuzzer reaches the checks below.
fn check_the_seed() {
    let seed = include_str!("../seeds/jws/good").strip_prefix('S').unwrap();
    let (header, payload) = seed.split_once('\n').unwrap();
    assert!(present(&issuer().token("ada").sign_raw(header, payload)), "the seed is not accepted");
}

fuzz_target!(init: check_the_seed(), |input: &[u8]| -> Corpus {
    let Some((mode, rest)) = input.split_first() else { return Corpus::Reject };
    match mode {
        b'S' => {
            let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (header, payload) = (&rest[..line], rest.get(line + 1..).unwrap_or_default());
            let token = issuer().token("ada").sign_raw(header, payload);
            if present(&token) {
                check_accepted(header, payload);
            }
            if let Some(opened) = open_jws(&KEYS, &token) {
                assert_eq!(opened, payload);
            }
        }
        b'C' => {
            let Ok(token) = str::from_utf8(rest) else { return Corpus::Reject };
            assert!(!present(token), "a token without a genuine signature is accepted");
            assert_eq!(open_jws(&KEYS, token), None);
        }
        b'P' => {
            let Ok(payload) = str::from_utf8(rest) else { return Corpus::Reject };
            let genuine = issuer().token("ada").sign();
            let (header, rest) = genuine.split_once('.').unwrap();
            let (signed, signature) = rest.split_once('.').unwrap();
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(open_jws(&KEYS, &token).is_some(), payload == signed);
            assert_eq!(present(&token), payload == signed);
        }
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

/// Returns whether the token is accepted. A token that no header can contain is refused.
fn present(token: &str) -> bool {
    let Ok(value) = HeaderValue::try_from(format!("Bearer {token}")) else { return false };
    let (parts, ()) = Request::get("/").header("authorization", value).body(()).unwrap().into_parts();
    authenticate(&SERVER, &parts).inspect_err(|error| check_refusal(&SERVER, error)).is_ok()
}

/// Checks an accepted token with another parser.
fn check_accepted(header: &[u8], payload: &[u8]) {
    let header: Value = serde_json::from_slice(header).expect("an accepted header is JSON");
    assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519", "{header}");
    let typ = header["typ"].as_str().expect("typ is there").to_lowercase();
    assert!(typ == "at+jwt" || typ == "application/at+jwt", "{header}");
    assert!(["crit", "b64", "zip"].iter().all(|name| header.get(name).is_none()), "{header}");

    let claims: Value = serde_json::from_slice(payload).expect("accepted claims are JSON");
    assert_eq!(claims["iss"], ISSUER);
    assert!(claims["aud"] == API || claims["aud"].as_array().unwrap().contains(&API.into()), "{claims}");
    let (now, leeway) = (NOW as f64, 30.0);
    assert!(claims["exp"].as_f64().unwrap() > now - leeway, "{claims}");
    assert!((0.0..=now + leeway).contains(&claims["iat"].as_f64().unwrap()), "{claims}");
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().unwrap() <= now + leeway), "{claims}");
    for name in ["sub", "client_id", "jti"] {
        assert!(!claims[name].as_str().unwrap().trim().is_empty(), "{claims}");
    }
    assert!(claims.get("cnf").is_none(), "{claims}");
}
