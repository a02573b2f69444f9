//! Key sets: which keys are loaded, which are skipped, and why (RFC 7517, RFC 7518 §6, RFC 8725 §3.4, §3.5; threats J1,
//! J2, J5, S7, S10 to S13).

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower_oauth::keys::{Algorithm, KeySet};

use crate::{
    material::{accepts, b64, issuer_of, jwk_of, odd_number, rsa, set, token_of, unb64, with, without},
    random::check,
};

/// Loads `bad` between two valid keys, and checks that only `bad` is skipped, with exactly this reason.
fn assert_skipped(bad: &Value, reason: &str) {
    assert_text_skipped(&bad.to_string(), reason);
}

fn assert_text_skipped(bad: &str, reason: &str) {
    let (first, last) = (jwk_of(Algorithm::ES256), jwk_of(Algorithm::EdDSA));
    let keys = KeySet::from_json(format!("{{\"keys\":[{first},{bad},{last}]}}"));
    let keys = keys.unwrap_or_else(|error| panic!("{bad} makes the whole key set invalid: {error}"));
    let skipped: Vec<String> = keys.skipped().iter().map(ToString::to_string).collect();
    assert_eq!(skipped, [format!("key 1: {reason}")], "{bad}");
    assert_eq!(keys.len(), 2);
    assert!(accepts(keys, &token_of(Algorithm::ES256)));

    let alone = KeySet::from_json(format!("{{\"keys\":[{bad}]}}")).unwrap_err().to_string();
    assert!(alone.contains(&format!("no key is usable (key 0: {reason})")), "{alone}");
}

fn flip_last_bit(jwk: &Value, member: &str) -> Value {
    let mut bytes = unb64(&jwk[member]);
    *bytes.last_mut().unwrap() ^= 1;
    with(jwk.clone(), member, b64(bytes))
}

/// Why a point off its curve is skipped.
fn off_curve() -> &'static str {
    if cfg!(feature = "aws-lc-rs") { "the point is not on its curve" } else { "the key's numbers are not accepted" }
}

/// RFC 7517 §5 (SHOULD, accepts)
/// RFC 7517 §4.2 (SHOULD, accepts)
/// RFC 7518 §6.2.1 (MUST, accepts)
/// RFC 8725 §3.4 (MUST, accepts)
#[test]
fn a_jwk_of_every_algorithm_verifies_its_tokens() {
    for &algorithm in Algorithm::supported() {
        let token = token_of(algorithm);
        assert!(accepts(set([jwk_of(algorithm)]), &token), "{algorithm}");
        for member in ["alg", "kid", "use"] {
            assert!(accepts(set([without(jwk_of(algorithm), member)]), &token), "{algorithm} without {member}");
        }
        let verify = with(jwk_of(algorithm), "key_ops", json!(["verify"]));
        assert!(accepts(set([verify]), &token), "{algorithm} with key_ops");
        let unknown_members = with(jwk_of(algorithm), "x5t#S256", "AAAA");
        assert!(
            accepts(set([with(unknown_members, "unknown-member", json!({"of": [1]}))]), &token),
            "{algorithm} with unknown members"
        );
    }
}

#[test]
fn skips_a_key_whose_algorithm_the_backend_does_not_support() {
    let unsupported: Vec<_> = Algorithm::ALL.iter().filter(|one| !Algorithm::supported().contains(one)).collect();
    let expected: &[&Algorithm] = if cfg!(feature = "aws-lc-rs") { &[] } else { &[&Algorithm::ES512] };
    assert_eq!(unsupported, expected);
    if unsupported.is_empty() {
        return;
    }
    // RFC 7520 §3.1
    let p521 = json!({"kty": "EC", "crv": "P-521",
        "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
        "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"});
    assert_skipped(&p521, "ES512, which the feature rust-crypto lacks; turn on aws-lc-rs for it");
}

/// RFC 7518 §3.3 (MUST, accepts and refuses)
/// Threats S11, S12
#[test]
fn loads_rsa_keys_from_2048_bits_to_the_limit_of_the_backend() {
    let max_bits = if cfg!(feature = "aws-lc-rs") { 8192 } else { 4096 };
    for bits in [2048, 2049, 3072, max_bits] {
        for exponent in [&[3][..], &[1, 0, 1], &[1, 0, 0, 0, 1]] {
            assert_eq!(set([rsa(&odd_number(bits), exponent)]).len(), 1, "{bits} bits, exponent {exponent:?}");
        }
    }
    for bits in [512, 1024, 2047] {
        assert_skipped(&rsa(&odd_number(bits), &[1, 0, 1]), "an RSA key of less than 2048 bits");
    }
    for bits in [8193, 16_384] {
        assert_skipped(&rsa(&odd_number(bits), &[1, 0, 1]), "an RSA key of more than 8192 bits");
    }
    if max_bits == 4096 {
        let reason = "an RSA key of more than 4096 bits, which the feature rust-crypto lacks; turn on aws-lc-rs for it";
        for bits in [4097, 8192] {
            assert_skipped(&rsa(&odd_number(bits), &[1, 0, 1]), reason);
        }
    }
    // Leading zeros do not make a key longer.
    let padded = [vec![0; 128], odd_number(1024)].concat();
    assert_skipped(&rsa(&padded, &[1, 0, 1]), "an RSA key of less than 2048 bits");
}

#[test]
fn loads_an_rsa_key_with_a_leading_zero_in_its_modulus() {
    let jwk = jwk_of(Algorithm::RS256);
    let padded = with(jwk.clone(), "n", b64([vec![0], unb64(&jwk["n"])].concat()));
    assert!(accepts(set([padded]), &token_of(Algorithm::RS256)));
}

/// RFC 7518 §3.3 (MUST, refuses)
/// Threats S7, S12
#[test]
fn skips_rsa_keys_with_weak_numbers() {
    let good = odd_number(2048);
    let even = [&good[..255], &[0xa4]].concat();
    assert_skipped(&rsa(&even, &[1, 0, 1]), "an even RSA modulus");
    let reason = "an RSA exponent that is even, less than 3 or larger than 33 bits";
    for exponent in [&[0][..], &[1], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[0xff; 256]] {
        assert_skipped(&rsa(&good, exponent), reason);
    }
    assert_skipped(&rsa(&good, &[]), reason);
    assert_skipped(&rsa(&[], &[1, 0, 1]), "an RSA key of less than 2048 bits");
}

/// Threat A10
#[test]
fn skips_symmetric_keys() {
    let secret = b64([7; 64]);
    for alg in ["HS256", "HS384", "HS512", "A256KW"] {
        assert_skipped(&json!({"kty": "oct", "k": secret, "alg": alg, "kid": "s"}), "a symmetric key");
    }
    assert_skipped(&json!({"kty": "oct", "k": secret}), "a symmetric key");
}

/// RFC 7517 §9.3 a (derived, refuses)
/// RFC 7518 §6.3.2.7 (derived, refuses)
/// Threat J5
#[test]
fn skips_keys_with_private_members() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            let private = with(jwk_of(algorithm), member, b64([9; 32]));
            assert_skipped(&private, "it has private members, so it is not secret any more");
        }
        let private = with(jwk_of(algorithm), "oth", json!([{"r": "AQ", "d": "AQ", "t": "AQ"}]));
        assert_skipped(&private, "it has private members, so it is not secret any more");
    }
}

/// RFC 7518 §6.3.2.7 (derived, accepts)
#[test]
fn an_empty_private_member_is_not_a_published_one() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
            for empty in [json!([]), json!(""), Value::Null] {
                let key = with(jwk_of(algorithm), member, empty.clone());
                assert!(accepts(set([key]), &token_of(algorithm)), "{algorithm} {member}: {empty}");
            }
            for published in [json!(" "), json!([""]), json!([{}]), json!([null]), json!({}), json!(0), json!(false)] {
                let private = with(jwk_of(algorithm), member, published);
                assert_skipped(&private, "it has private members, so it is not secret any more");
            }
        }
    }
}

/// RFC 7518 §6.3.2.7 (derived, accepts)
#[test]
fn an_empty_optional_member_is_as_good_as_none() {
    let empty = [
        ("alg", json!("")),
        ("kid", json!("")),
        ("use", json!("")),
        ("key_ops", json!([])),
        ("x5c", json!([])),
        ("x5t", json!("")),
        ("x5u", json!("")),
    ];
    for &algorithm in Algorithm::supported() {
        let mut all = jwk_of(algorithm);
        for (member, value) in &empty {
            for value in [value.clone(), Value::Null] {
                let key = with(jwk_of(algorithm), member, value.clone());
                assert!(accepts(set([key]), &token_of(algorithm)), "{algorithm} {member}: {value}");
            }
            all = with(all, member, value.clone());
        }
        assert!(accepts(set([with(all, "kid", Value::Null)]), &token_of(algorithm)), "{algorithm}");
    }
    // An empty `alg` says nothing about the algorithm, so each one of the kind of key is accepted.
    let key = with(jwk_of(Algorithm::RS256), "alg", "");
    assert!(accepts(set([key]), &token_of(Algorithm::RS256)));
}

/// RFC 7518 §6.2.1.2 (derived, accepts)
#[test]
fn padding_and_leading_zeros_never_change_which_key_is_read() {
    let members = [(Algorithm::RS256, ["n", "e"]), (Algorithm::ES256, ["x", "y"]), (Algorithm::ES384, ["x", "y"])];
    let strategy = (0..members.len(), any::<[(u8, bool, bool); 2]>());
    check(200, strategy, |(index, changes)| {
        let (algorithm, names) = members[index];
        let mut key = jwk_of(algorithm);
        for (name, (zeros, strip, padded)) in names.into_iter().zip(changes) {
            let bytes = unb64(&key[name]);
            let digits = bytes.iter().skip_while(|byte| strip && **byte == 0).copied();
            let bytes: Vec<u8> = std::iter::repeat_n(0, usize::from(zeros % 4)).chain(digits).collect();
            key = with(key, name, if padded { URL_SAFE.encode(bytes) } else { b64(bytes) });
        }
        prop_assert!(accepts(set([key.clone()]), &token_of(algorithm)), "{key}");
        Ok(())
    });
}

/// RFC 7518 §6.2.1.2 (derived, accepts)
#[test]
fn loads_coordinates_without_their_leading_zeros() {
    // The x of this P-256 point begins with a zero byte.
    let (x, y) = ("Xd3Ckhu8NvWjWMeOBIsDYIahMMxLhguQRe3wXbcWPA", "jjle_7piLbY11-7Tps1wlVXjylJkXl9AI3ycwp9GDJs");
    assert_eq!(unb64(&json!(x)).len(), 31);
    let key = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    assert_eq!(set([key.clone()]).len(), 1);
    let whole = b64([&[0], &*unb64(&json!(x))].concat());
    assert_eq!(set([with(key.clone(), "x", whole)]).len(), 1);
    // A coordinate that lost its last byte is another number.
    let cut = b64(&unb64(&json!(y))[..31]);
    assert!(KeySet::from_json(json!({"keys": [with(key, "y", cut)]}).to_string()).is_err());
}

/// RFC 7518 §6.2.1.2 (derived, refuses)
#[test]
fn the_point_of_an_ed25519_key_has_no_leading_zeros_to_add_or_leave_out() {
    let key = jwk_of(Algorithm::EdDSA);
    let point = unb64(&key["x"]);
    assert!(accepts(set([with(key.clone(), "x", URL_SAFE.encode(&point))]), &token_of(Algorithm::EdDSA)));
    for other in [[&[0], &*point].concat(), point[1..].to_vec()] {
        assert_skipped(&with(key.clone(), "x", b64(other)), "an Ed25519 point has 32 bytes");
    }
}

/// RFC 8259 §8.1 (MAY, accepts)
#[test]
fn a_byte_order_mark_before_a_key_set_is_ignored() {
    let document = format!("\u{feff}{{\"keys\":[{}]}}", jwk_of(Algorithm::ES256));
    assert!(accepts(KeySet::from_json(document).unwrap(), &token_of(Algorithm::ES256)));
}

#[test]
fn a_map_of_certificates_is_called_by_its_name() {
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n";
    for document in [json!({"k1": certificate, "k2": certificate}), json!([certificate])] {
        let error = KeySet::from_json(document.to_string()).unwrap_err().to_string();
        assert!(error.starts_with("key set: it has certificates and no keys"), "{error}");
        assert!(error.contains("JWK set at another URL"), "{error}");
    }
    // A key set that also mentions a certificate is a key set.
    let document = json!({"keys": [jwk_of(Algorithm::ES256)], "note": certificate});
    assert!(accepts(KeySet::from_json(document.to_string()).unwrap(), &token_of(Algorithm::ES256)));
}

#[test]
fn one_jwk_and_an_array_of_keys_are_called_by_their_names() {
    let jwk = jwk_of(Algorithm::ES256);
    for (document, name) in [
        (jwk.to_string(), "one JWK without the set"),
        (format!("\u{feff} {jwk}"), "one JWK without the set"),
        (format!(" [{jwk}]"), "an array without the object"),
        (json!([jwk, jwk]).to_string(), "an array without the object"),
    ] {
        let error = KeySet::from_json(&document).unwrap_err().to_string();
        assert!(error.contains(name), "{document}: {error}");
    }
    for other in ["{}", "{\"keys\":1}", "<html>"] {
        let error = KeySet::from_json(other).unwrap_err().to_string();
        assert!(!error.contains("without"), "{other}: {error}");
    }
}

/// RFC 7517 §4.2 (SHOULD, refuses)
/// RFC 7518 §6.3.2.7 (derived, refuses)
/// Threat J2
#[test]
fn skips_keys_for_other_uses() {
    for purpose in ["enc", "SIG", " ", "sig "] {
        assert_skipped(&with(jwk_of(Algorithm::RS256), "use", purpose), "its use is not sig");
    }
    for operations in [json!([""]), json!(["sign"]), json!(["encrypt", "wrapKey"]), json!(["Verify"])] {
        assert_skipped(&with(jwk_of(Algorithm::RS256), "key_ops", operations), "its key_ops have no verify");
    }
    for operations in [json!(["verify", "verify"]), json!(["verify", "sign", "sign"])] {
        assert_skipped(&with(jwk_of(Algorithm::RS256), "key_ops", operations), "its key_ops have a duplicate");
    }
    // Both `use` and `key_ops` must allow signatures.
    let contradictory = with(jwk_of(Algorithm::RS256), "key_ops", json!(["encrypt"]));
    assert_skipped(&contradictory, "its key_ops have no verify");
}

/// RFC 7517 §4.4 (derived, refuses)
#[test]
fn skips_a_key_whose_alg_is_unknown_or_does_not_fit_its_kty() {
    for alg in ["RSA-OAEP", "RSA1_5", "ECDH-ES", "ES521", "ES256K", "none", " ", "rs256", "ML-DSA-44"] {
        let changed = with(jwk_of(Algorithm::RS256), "alg", alg);
        assert_skipped(&changed, "its alg is not a supported signature algorithm");
    }
    let wrong_algorithms = [
        (Algorithm::RS256, ["ES256", "EdDSA", "HS256"]),
        (Algorithm::ES256, ["ES384", "RS256", "HS256"]),
        (Algorithm::ES384, ["ES256", "ES512", "HS384"]),
        (Algorithm::EdDSA, ["ES256", "PS256", "HS512"]),
    ];
    for (algorithm, others) in wrong_algorithms {
        for alg in others {
            assert_skipped(&with(jwk_of(algorithm), "alg", alg), "its alg does not belong to its kind of key");
        }
    }
}

/// RFC 7517 §5 (SHOULD, refuses)
/// Threat J1
#[test]
fn skips_keys_of_unknown_kty_or_curve() {
    let kind = "its kty is not supported";
    assert_skipped(&json!({"kty": "AKP", "alg": "EdDSA", "pub": b64([1; 1312])}), kind);
    assert_skipped(&json!({"kty": "AKP", "pub": b64([1; 1312])}), kind);
    for kty in ["rsa", "ec", "", "RSA\0"] {
        assert_skipped(&with(jwk_of(Algorithm::RS256), "kty", kty), kind);
    }
    let akp = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": b64([1; 1312])});
    assert_skipped(&akp, "its alg is not a supported signature algorithm");

    let curve = "its curve is not supported";
    let point = b64([9; 32]);
    assert_skipped(&json!({"kty": "OKP", "crv": "X25519", "x": point}), curve);
    assert_skipped(&json!({"kty": "OKP", "crv": "X448", "x": b64([9; 56])}), curve);
    assert_skipped(&json!({"kty": "OKP", "crv": "Ed448", "x": b64([9; 57])}), curve);
    assert_skipped(&json!({"kty": "EC", "crv": "secp256k1", "x": point, "y": point}), curve);
    assert_skipped(&with(jwk_of(Algorithm::ES256), "crv", "p-256"), curve);
    assert_skipped(&with(jwk_of(Algorithm::EdDSA), "kty", "EC"), curve);
    assert_skipped(&with(jwk_of(Algorithm::ES256), "kty", "OKP"), curve);
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        assert_skipped(&without(jwk_of(algorithm), "crv"), "it lacks crv");
    }
}

/// RFC 7517 §5 (SHOULD, refuses)
#[test]
fn skips_keys_with_missing_or_badly_encoded_members() {
    let members = [(Algorithm::RS256, ["n", "e"]), (Algorithm::ES256, ["x", "y"]), (Algorithm::EdDSA, ["x", "x"])];
    for (algorithm, names) in members {
        for name in names {
            assert_skipped(&without(jwk_of(algorithm), name), "it lacks a member of its kind of key");
            let text = jwk_of(algorithm)[name].as_str().unwrap().to_owned();
            for changed in [
                format!("{text}==="),
                format!("={text}"),
                format!(" {text}"),
                format!("{text}\n"),
                format!("{text}!"),
                "+/8".to_owned(),
            ] {
                assert_skipped(&with(jwk_of(algorithm), name, changed), "a member is not base64url");
            }
            for value in [json!(1), json!([text]), json!(true)] {
                assert_skipped(&with(jwk_of(algorithm), name, value), "it is malformed");
            }
        }
    }
    assert_skipped(&without(jwk_of(Algorithm::RS256), "kty"), "it is malformed");
}

/// RFC 7517 §5 (SHOULD, refuses)
#[test]
fn skips_keys_that_are_no_objects_or_have_members_of_a_wrong_type() {
    for member in ["kid", "alg", "use", "kty"] {
        for value in [json!(1), json!(true), json!(["a"]), json!({"a": 1})] {
            assert_skipped(&with(jwk_of(Algorithm::ES256), member, value), "it is malformed");
        }
    }
    for value in [json!("verify"), json!([1]), json!([["verify"]]), json!({"verify": true})] {
        assert_skipped(&with(jwk_of(Algorithm::ES256), "key_ops", value), "it is malformed");
    }
    let as_array = json!(["OKP", null, null, null, null, "Ed25519", null, null, jwk_of(Algorithm::EdDSA)["x"]]);
    for value in [json!(1), json!("key"), Value::Null, json!([]), json!({}), as_array] {
        assert_skipped(&value, "it is malformed");
    }
}

/// RFC 7517 §4 (MUST, refuses)
#[test]
fn skips_a_key_with_a_repeated_member_also_if_it_is_escaped() {
    let jwk = jwk_of(Algorithm::ES256).to_string();
    for member in ["kty", "kid", "alg", "use", "crv", "x", "y"] {
        let value = jwk_of(Algorithm::ES256)[member].clone();
        let plain = jwk.replacen('{', &format!("{{\"{member}\":{value},"), 1);
        assert_text_skipped(&plain, "it is malformed");
        let escaped = format!("\\u{:04x}{}", member.as_bytes()[0], &member[1..]);
        assert_text_skipped(&jwk.replacen('{', &format!("{{\"{escaped}\":{value},"), 1), "it is malformed");
    }
    let operations = jwk.replacen('{', r#"{"key_ops":["verify"],"key_ops":["verify"],"#, 1);
    assert_text_skipped(&operations, "it is malformed");
}

/// RFC 7518 §6.2.1 (MUST, refuses)
/// RFC 8725 §3.4 (MUST, refuses)
/// Threat S13
#[test]
fn skips_keys_with_a_point_off_the_curve() {
    for &algorithm in &[Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        if !Algorithm::supported().contains(&algorithm) {
            continue; // see skips_a_key_whose_algorithm_the_backend_does_not_support
        }
        let jwk = jwk_of(algorithm);
        let reason = off_curve();
        assert_skipped(&flip_last_bit(&jwk, "y"), reason);
        assert_skipped(&flip_last_bit(&jwk, "x"), reason);
        let zero = b64(vec![0; unb64(&jwk["x"]).len()]);
        assert_skipped(&with(with(jwk, "x", zero.clone()), "y", zero), reason);
    }
}

/// RFC 7518 §6.2.1 (MUST, refuses)
/// RFC 7518 §6.2.1.2 (derived, refuses)
#[test]
fn skips_keys_with_coordinates_of_a_wrong_length() {
    let reason = "a coordinate does not have the length of the curve's field";
    for algorithm in [Algorithm::ES256, Algorithm::ES384] {
        for member in ["x", "y"] {
            let jwk = jwk_of(algorithm);
            let bytes = unb64(&jwk[member]);
            for other in [[&[1], &*bytes].concat(), [&*bytes, &[0]].concat(), Vec::new()] {
                assert_skipped(&with(jwk.clone(), member, b64(other)), reason);
            }
        }
    }
    assert_skipped(&with(without(jwk_of(Algorithm::ES384), "alg"), "crv", "P-256"), reason);
    // Leading zeros make no point of one curve a point of a larger one.
    assert_skipped(&with(without(jwk_of(Algorithm::ES256), "alg"), "crv", "P-384"), off_curve());
    for other in [vec![9; 31], vec![9; 33], Vec::new()] {
        assert_skipped(&with(jwk_of(Algorithm::EdDSA), "x", b64(other)), "an Ed25519 point has 32 bytes");
    }
}

/// RFC 8259 §8.1 (MAY, refuses)
#[test]
fn refuses_documents_that_are_not_key_sets() {
    let jwk = jwk_of(Algorithm::ES256);
    let documents = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"keys\"".to_owned(),
        "{}".to_owned(),
        "{".to_owned(),
        jwk.to_string(),
        format!("[{jwk}]"),
        json!({"keys": jwk}).to_string(),
        json!({"keys": "none"}).to_string(),
        json!({"Keys": [jwk]}).to_string(),
        format!("{{\"keys\":[],\"keys\":[{jwk}]}}"),
        format!("{{\"keys\":[{jwk}]}} x"),
        format!("[[{jwk}]]"),
        format!("\u{feff}\u{feff}{{\"keys\":[{jwk}]}}"),
        format!("{{\u{feff}\"keys\":[{jwk}]}}"),
        "<html>404</html>".to_owned(),
        "{\"keys\":".repeat(100_000),
    ];
    for document in documents {
        let error = KeySet::from_json(&document).unwrap_err().to_string();
        let start: String = document.chars().take(60).collect();
        assert!(error.starts_with("key set: it is not a JWK set (line 1, column"), "{start}: {error}");
        assert!(error.ends_with("give a JWK set: an object with an array `keys` (RFC 7517 §5)"), "{error}");
    }
    let error = KeySet::from_json(b"{\"keys\":[], \"z\":\"\xe4\"}").unwrap_err().to_string();
    assert!(error.contains("it is not UTF-8"), "{error}");
    let error = KeySet::from_json(r#"{"keys":[]}"#).unwrap_err().to_string();
    assert!(error.contains("no key is usable (it is empty); give at least one public signature key"), "{error}");
}

/// Threat E7
#[test]
fn deep_nesting_breaks_neither_the_key_set_nor_the_process() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let changed = jwk_of(Algorithm::ES256).to_string().replacen('{', &format!("{{\"d\":{deep},"), 1);
        assert_text_skipped(&changed, "it is malformed");
        let unknown = jwk_of(Algorithm::ES256).to_string().replacen('{', &format!("{{\"z\":{deep},"), 1);
        let keys = KeySet::from_json(format!("{{\"z\":{deep},\"keys\":[{unknown}]}}")).unwrap();
        assert!(accepts(keys, &token_of(Algorithm::ES256)));
    }
}

#[test]
fn and_joins_the_keys_of_two_key_sets_and_their_skipped_keys() {
    let oct = json!({"kty": "oct", "k": "AQ"});
    let one = set([oct.clone(), jwk_of(Algorithm::ES256)]);
    let keys = one.with_keys(set([jwk_of(Algorithm::EdDSA), oct]));
    let places: Vec<usize> = keys.skipped().iter().map(tower_oauth::keys::SkippedKey::index).collect();
    assert_eq!((keys.len(), keys.is_empty(), places), (2, false, vec![0, 3]));
    assert!(accepts(keys, &token_of(Algorithm::EdDSA)));
    let keys = set([jwk_of(Algorithm::EdDSA)]).with_keys(set([jwk_of(Algorithm::ES256)]));
    assert!(accepts(keys, &token_of(Algorithm::ES256)));
}

#[test]
fn debug_of_a_key_set_shows_neither_keys_nor_key_ids() {
    let keys = format!("{:?}", issuer_of(Algorithm::ES256).key_set());
    assert_eq!(keys, "KeySet { keys: 1, skipped: [], .. }");
}
