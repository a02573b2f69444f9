//! Key sets: what is loaded, what is left out, and why (RFC 7517, RFC 7518 §6, RFC 8725 §3.4, §3.5; THREATS J1, J2, J5,
//! S7, S10 to S13).

use serde_json::{Value, json};
use tower_oauth::keys::{Algorithm, KeySet};

use crate::material::{accepts, b64, issuer_of, jwk_of, odd_number, rsa, set, token_of, unb64, with, without};

/// Loads `bad` between two good keys: it is left out with exactly this reason, and they still serve.
fn assert_left_out(bad: &Value, reason: &str) {
    assert_text_left_out(&bad.to_string(), reason);
}

fn assert_text_left_out(bad: &str, reason: &str) {
    let (first, last) = (jwk_of(Algorithm::ES256), jwk_of(Algorithm::EdDSA));
    let keys = KeySet::from_json(format!("{{\"keys\":[{first},{bad},{last}]}}"));
    let keys = keys.unwrap_or_else(|error| panic!("{bad} spoils the set: {error}"));
    let skipped: Vec<String> = keys.skipped().iter().map(ToString::to_string).collect();
    assert_eq!(skipped, [format!("key 1: {reason}")], "{bad}");
    assert_eq!(keys.len(), 2);
    assert!(accepts(keys, &token_of(Algorithm::ES256)));

    let alone = KeySet::from_json(format!("{{\"keys\":[{bad}]}}")).unwrap_err().to_string();
    assert!(alone.contains(&format!("no key is usable (key 0: {reason})")), "{alone}");
}

fn flip(jwk: &Value, member: &str) -> Value {
    let mut bytes = unb64(&jwk[member]);
    *bytes.last_mut().unwrap() ^= 1;
    with(jwk.clone(), member, b64(bytes))
}

#[test]
fn a_jwk_of_every_algorithm_serves_its_tokens() {
    for &algorithm in Algorithm::supported() {
        let token = token_of(algorithm);
        assert!(accepts(set([jwk_of(algorithm)]), &token), "{algorithm}");
        for member in ["alg", "kid", "use"] {
            assert!(accepts(set([without(jwk_of(algorithm), member)]), &token), "{algorithm} without {member}");
        }
        let verify = with(jwk_of(algorithm), "key_ops", json!(["verify"]));
        assert!(accepts(set([verify]), &token), "{algorithm} with key_ops");
        let more = with(jwk_of(algorithm), "x5t#S256", "AAAA");
        assert!(accepts(set([with(more, "unheard-of", json!({"of": [1]}))]), &token), "{algorithm} with more members");
    }
}

#[test]
fn the_backend_supports_what_it_says_and_a_key_for_the_rest_is_left_out() {
    let lacking: Vec<_> = Algorithm::ALL.iter().filter(|one| !Algorithm::supported().contains(one)).collect();
    let expected: &[&Algorithm] = if cfg!(feature = "aws-lc-rs") { &[] } else { &[&Algorithm::ES512] };
    assert_eq!(lacking, expected);
    if lacking.is_empty() {
        return;
    }
    // RFC 7520 §3.1
    let p521 = json!({"kty": "EC", "crv": "P-521",
        "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
        "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"});
    assert_left_out(&p521, "ES512, which the feature rust-crypto lacks; turn on aws-lc-rs for it");
}

#[test]
fn rsa_keys_serve_from_2048_bits_up_to_the_backends_limit() {
    let most = if cfg!(feature = "aws-lc-rs") { 8192 } else { 4096 };
    for bits in [2048, 2049, 3072, most] {
        for exponent in [&[3][..], &[1, 0, 1], &[1, 0, 0, 0, 1]] {
            assert_eq!(set([rsa(&odd_number(bits), exponent)]).len(), 1, "{bits} bits, exponent {exponent:?}");
        }
    }
    for bits in [512, 1024, 2047] {
        assert_left_out(&rsa(&odd_number(bits), &[1, 0, 1]), "an RSA key of less than 2048 bits");
    }
    for bits in [8193, 16_384] {
        assert_left_out(&rsa(&odd_number(bits), &[1, 0, 1]), "an RSA key of more than 8192 bits");
    }
    if most == 4096 {
        let reason = "an RSA key of more than 4096 bits, which the feature rust-crypto lacks; turn on aws-lc-rs for it";
        for bits in [4097, 8192] {
            assert_left_out(&rsa(&odd_number(bits), &[1, 0, 1]), reason);
        }
    }
    // Zeros in front make no key longer.
    let padded = [vec![0; 128], odd_number(1024)].concat();
    assert_left_out(&rsa(&padded, &[1, 0, 1]), "an RSA key of less than 2048 bits");
}

#[test]
fn an_rsa_key_with_a_zero_in_front_of_its_modulus_still_serves() {
    let jwk = jwk_of(Algorithm::RS256);
    let padded = with(jwk.clone(), "n", b64([vec![0], unb64(&jwk["n"])].concat()));
    assert!(accepts(set([padded]), &token_of(Algorithm::RS256)));
}

#[test]
fn rsa_keys_with_weak_numbers_are_left_out() {
    let good = odd_number(2048);
    let even = [&good[..255], &[0xa4]].concat();
    assert_left_out(&rsa(&even, &[1, 0, 1]), "an even RSA modulus");
    let reason = "an RSA exponent that is even, less than 3 or larger than 33 bits";
    for exponent in [&[0][..], &[1], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[0xff; 256]] {
        assert_left_out(&rsa(&good, exponent), reason);
    }
    assert_left_out(&rsa(&good, &[]), reason);
    assert_left_out(&rsa(&[], &[1, 0, 1]), "an RSA key of less than 2048 bits");
}

#[test]
fn symmetric_keys_are_left_out() {
    let secret = b64([7; 64]);
    for alg in ["HS256", "HS384", "HS512", "A256KW"] {
        assert_left_out(&json!({"kty": "oct", "k": secret, "alg": alg, "kid": "s"}), "a symmetric key");
    }
    assert_left_out(&json!({"kty": "oct", "k": secret}), "a symmetric key");
}

#[test]
fn keys_published_with_a_private_member_are_left_out() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            let private = with(jwk_of(algorithm), member, b64([9; 32]));
            assert_left_out(&private, "it has private members, so it is not secret any more");
        }
        let private = with(jwk_of(algorithm), "oth", json!([{"r": "AQ", "d": "AQ", "t": "AQ"}]));
        assert_left_out(&private, "it has private members, so it is not secret any more");
    }
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    for purpose in ["enc", "SIG", "", "sig "] {
        assert_left_out(&with(jwk_of(Algorithm::RS256), "use", purpose), "its use is not sig");
    }
    for operations in [json!([]), json!(["sign"]), json!(["encrypt", "wrapKey"]), json!(["Verify"])] {
        assert_left_out(&with(jwk_of(Algorithm::RS256), "key_ops", operations), "its key_ops have no verify");
    }
    for operations in [json!(["verify", "verify"]), json!(["verify", "sign", "sign"])] {
        assert_left_out(&with(jwk_of(Algorithm::RS256), "key_ops", operations), "its key_ops have a duplicate");
    }
    // Each of the two counts, whatever the other says.
    let contradictory = with(jwk_of(Algorithm::RS256), "key_ops", json!(["encrypt"]));
    assert_left_out(&contradictory, "its key_ops have no verify");
}

#[test]
fn an_alg_that_we_do_not_know_or_that_is_not_of_the_keys_kind_leaves_the_key_out() {
    for alg in ["RSA-OAEP", "RSA1_5", "ECDH-ES", "ES521", "ES256K", "none", "", "rs256", "ML-DSA-44"] {
        let bent = with(jwk_of(Algorithm::RS256), "alg", alg);
        assert_left_out(&bent, "its alg is not a supported signature algorithm");
    }
    let strangers = [
        (Algorithm::RS256, ["ES256", "EdDSA", "HS256"]),
        (Algorithm::ES256, ["ES384", "RS256", "HS256"]),
        (Algorithm::ES384, ["ES256", "ES512", "HS384"]),
        (Algorithm::EdDSA, ["ES256", "PS256", "HS512"]),
    ];
    for (algorithm, others) in strangers {
        for alg in others {
            assert_left_out(&with(jwk_of(algorithm), "alg", alg), "its alg does not belong to its kind of key");
        }
    }
}

#[test]
fn keys_of_unknown_kinds_and_curves_are_left_out() {
    let kind = "its kty is not supported";
    assert_left_out(&json!({"kty": "AKP", "alg": "EdDSA", "pub": b64([1; 1312])}), kind);
    assert_left_out(&json!({"kty": "AKP", "pub": b64([1; 1312])}), kind);
    for kty in ["rsa", "ec", "", "RSA\0"] {
        assert_left_out(&with(jwk_of(Algorithm::RS256), "kty", kty), kind);
    }
    let akp = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": b64([1; 1312])});
    assert_left_out(&akp, "its alg is not a supported signature algorithm");

    let curve = "its curve is not supported";
    let point = b64([9; 32]);
    assert_left_out(&json!({"kty": "OKP", "crv": "X25519", "x": point}), curve);
    assert_left_out(&json!({"kty": "OKP", "crv": "X448", "x": b64([9; 56])}), curve);
    assert_left_out(&json!({"kty": "OKP", "crv": "Ed448", "x": b64([9; 57])}), curve);
    assert_left_out(&json!({"kty": "EC", "crv": "secp256k1", "x": point, "y": point}), curve);
    assert_left_out(&with(jwk_of(Algorithm::ES256), "crv", "p-256"), curve);
    assert_left_out(&with(jwk_of(Algorithm::EdDSA), "kty", "EC"), curve);
    assert_left_out(&with(jwk_of(Algorithm::ES256), "kty", "OKP"), curve);
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        assert_left_out(&without(jwk_of(algorithm), "crv"), "it lacks crv");
    }
}

#[test]
fn keys_with_missing_or_badly_encoded_members_are_left_out() {
    let members = [(Algorithm::RS256, ["n", "e"]), (Algorithm::ES256, ["x", "y"]), (Algorithm::EdDSA, ["x", "x"])];
    for (algorithm, names) in members {
        for name in names {
            assert_left_out(&without(jwk_of(algorithm), name), "it lacks a member of its kind of key");
            let text = jwk_of(algorithm)[name].as_str().unwrap().to_owned();
            for bent in
                [format!("{text}="), format!(" {text}"), format!("{text}\n"), format!("{text}!"), "+/8".to_owned()]
            {
                assert_left_out(&with(jwk_of(algorithm), name, bent), "a member is not base64url without padding");
            }
            for value in [json!(1), json!([text]), json!(true)] {
                assert_left_out(&with(jwk_of(algorithm), name, value), "it is malformed");
            }
        }
    }
    assert_left_out(&without(jwk_of(Algorithm::RS256), "kty"), "it is malformed");
}

#[test]
fn members_of_a_wrong_type_and_things_that_are_no_objects_are_left_out() {
    for member in ["kid", "alg", "use", "kty"] {
        for value in [json!(1), json!(true), json!(["a"]), json!({"a": 1})] {
            assert_left_out(&with(jwk_of(Algorithm::ES256), member, value), "it is malformed");
        }
    }
    for value in [json!("verify"), json!([1]), json!([["verify"]]), json!({"verify": true})] {
        assert_left_out(&with(jwk_of(Algorithm::ES256), "key_ops", value), "it is malformed");
    }
    for value in [json!(1), json!("key"), Value::Null, json!([]), json!({})] {
        assert_left_out(&value, "it is malformed");
    }
}

#[test]
fn a_member_that_stands_twice_leaves_the_key_out_in_any_spelling() {
    let jwk = jwk_of(Algorithm::ES256).to_string();
    for member in ["kty", "kid", "alg", "use", "crv", "x", "y"] {
        let value = jwk_of(Algorithm::ES256)[member].clone();
        let plain = jwk.replacen('{', &format!("{{\"{member}\":{value},"), 1);
        assert_text_left_out(&plain, "it is malformed");
        let escaped = format!("\\u{:04x}{}", member.as_bytes()[0], &member[1..]);
        assert_text_left_out(&jwk.replacen('{', &format!("{{\"{escaped}\":{value},"), 1), "it is malformed");
    }
    let operations = jwk.replacen('{', r#"{"key_ops":["verify"],"key_ops":["verify"],"#, 1);
    assert_text_left_out(&operations, "it is malformed");
}

#[test]
fn points_off_the_curve_are_left_out() {
    for &algorithm in &[Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        if !Algorithm::supported().contains(&algorithm) {
            continue; // said by the_backend_supports_what_it_says_and_a_key_for_the_rest_is_left_out
        }
        let jwk = jwk_of(algorithm);
        let reason = if cfg!(feature = "aws-lc-rs") {
            "the point is not on its curve"
        } else {
            "the key's numbers are not accepted"
        };
        assert_left_out(&flip(&jwk, "y"), reason);
        assert_left_out(&flip(&jwk, "x"), reason);
        let zero = b64(vec![0; unb64(&jwk["x"]).len()]);
        assert_left_out(&with(with(jwk, "x", zero.clone()), "y", zero), reason);
    }
}

#[test]
fn coordinates_of_another_length_are_left_out() {
    let reason = "a coordinate does not have the length of the curve's field";
    for algorithm in [Algorithm::ES256, Algorithm::ES384] {
        for member in ["x", "y"] {
            let jwk = jwk_of(algorithm);
            let bytes = unb64(&jwk[member]);
            for other in [bytes[1..].to_vec(), [&[0], &*bytes].concat(), [&*bytes, &[0]].concat(), Vec::new()] {
                assert_left_out(&with(jwk.clone(), member, b64(other)), reason);
            }
        }
    }
    assert_left_out(&with(jwk_of(Algorithm::ES256), "crv", "P-384"), reason);
    assert_left_out(&with(without(jwk_of(Algorithm::ES256), "alg"), "crv", "P-384"), reason);
    for other in [vec![9; 31], vec![9; 33], Vec::new()] {
        assert_left_out(&with(jwk_of(Algorithm::EdDSA), "x", b64(other)), "an Ed25519 point has 32 bytes");
    }
}

#[test]
fn documents_that_are_no_key_set_are_errors_that_say_so() {
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
        format!("\u{feff}{{\"keys\":[{jwk}]}}"),
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

#[test]
fn nesting_as_deep_as_it_may_be_spoils_neither_the_set_nor_the_process() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let bent = jwk_of(Algorithm::ES256).to_string().replacen('{', &format!("{{\"d\":{deep},"), 1);
        assert_text_left_out(&bent, "it is malformed");
        let unknown = jwk_of(Algorithm::ES256).to_string().replacen('{', &format!("{{\"z\":{deep},"), 1);
        let keys = KeySet::from_json(format!("{{\"z\":{deep},\"keys\":[{unknown}]}}")).unwrap();
        assert!(accepts(keys, &token_of(Algorithm::ES256)));
    }
}

#[test]
fn two_sets_joined_serve_both_and_count_the_left_out_keys_on() {
    let oct = json!({"kty": "oct", "k": "AQ"});
    let one = set([oct.clone(), jwk_of(Algorithm::ES256)]);
    let keys = one.with_keys(set([jwk_of(Algorithm::EdDSA), oct]));
    let places: Vec<usize> = keys.skipped().iter().map(tower_oauth::keys::SkippedKey::place).collect();
    assert_eq!((keys.len(), keys.is_empty(), places), (2, false, vec![0, 3]));
    assert!(accepts(keys, &token_of(Algorithm::EdDSA)));
    let keys = set([jwk_of(Algorithm::EdDSA)]).with_keys(set([jwk_of(Algorithm::ES256)]));
    assert!(accepts(keys, &token_of(Algorithm::ES256)));
}

#[test]
fn a_key_set_prints_neither_keys_nor_their_names() {
    let keys = format!("{:?}", issuer_of(Algorithm::ES256).key_set());
    assert_eq!(keys, "KeySet { keys: 1, skipped: [], .. }");
}
