//! Private keys: the accepted formats, the tokens they sign, and the error text for each refused format.

use std::{collections::HashMap, sync::OnceLock};

use pkcs1::{RsaPrivateKey, der::Decode};
use pkcs8::{PrivateKeyInfo, SecretDocument};
use sec1::{EcParameters, EcPrivateKey};
use serde_json::{Value, json};
use spki::der::{
    Encode,
    pem::{self, LineEnding},
};
use tower_oauth::{
    ConfigError,
    keys::{Algorithm, KeySet, PrivateKey},
};

use crate::material::{accepts, b64, issuer_of, odd_number, unb64, with, without};

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// A generated key for the algorithm, in the PKCS#8 PEM of this crate. All RSA algorithms share one key.
fn pkcs8_pem(algorithm: Algorithm) -> &'static str {
    static KEYS: OnceLock<HashMap<Algorithm, String>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let kinds = Algorithm::supported().iter().filter(|algorithm| !RSA[1..].contains(algorithm));
        let write = |algorithm| PrivateKey::generate(algorithm).unwrap().expose_pkcs8_pem().unwrap();
        kinds.map(|algorithm| (*algorithm, write(*algorithm))).collect()
    });
    &keys[if RSA.contains(&algorithm) { &Algorithm::RS256 } else { &algorithm }]
}

fn document(algorithm: Algorithm) -> SecretDocument {
    SecretDocument::from_pem(pkcs8_pem(algorithm)).unwrap().1
}

fn in_pem(label: &str, der: &[u8]) -> String {
    pem::encode_string(label, LineEnding::LF, der).unwrap()
}

/// The same key in the older format of its key type. Ed25519 has no older format.
fn older_pem(algorithm: Algorithm) -> Option<String> {
    let document = document(algorithm);
    let info: PrivateKeyInfo<'_> = document.decode_msg().unwrap();
    if RSA.contains(&algorithm) {
        return Some(in_pem("RSA PRIVATE KEY", info.private_key));
    }
    let curve = info.algorithm.parameters_oid().ok()?;
    let key = EcPrivateKey::from_der(info.private_key).unwrap();
    let key = EcPrivateKey { parameters: Some(EcParameters::NamedCurve(curve)), ..key };
    Some(in_pem("EC PRIVATE KEY", &key.to_der().unwrap()))
}

/// The same key as a private JWK without `alg`.
fn private_jwk(algorithm: Algorithm) -> Value {
    let public: Value = serde_json::from_str(&load(algorithm).public_jwk()).unwrap();
    let jwk = without(without(public, "alg"), "use");
    let document = document(algorithm);
    let info: PrivateKeyInfo<'_> = document.decode_msg().unwrap();
    if RSA.contains(&algorithm) {
        let key = RsaPrivateKey::from_der(info.private_key).unwrap();
        let members = [
            ("d", key.private_exponent),
            ("p", key.prime1),
            ("q", key.prime2),
            ("dp", key.exponent1),
            ("dq", key.exponent2),
            ("qi", key.coefficient),
        ];
        return members.into_iter().fold(jwk, |jwk, (name, number)| with(jwk, name, b64(number.as_bytes())));
    }
    let secret = match algorithm {
        Algorithm::EdDSA => &info.private_key[2..],
        _ => EcPrivateKey::from_der(info.private_key).unwrap().private_key,
    };
    with(jwk, "d", b64(secret))
}

fn load(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::from_pem(pkcs8_pem(algorithm), algorithm).unwrap()
}

fn published(key: &PrivateKey) -> KeySet {
    KeySet::from_json(format!(r#"{{"keys": [{}]}}"#, key.public_jwk())).unwrap()
}

fn header(token: &str) -> Value {
    let header = unb64(&token.split('.').next().unwrap().into());
    serde_json::from_slice(&header).unwrap()
}

fn error_text(result: Result<PrivateKey, ConfigError>) -> String {
    result.expect_err("the key was accepted").to_string()
}

/// RFC 7518 §6.2.2 (MUST, accepts)
#[test]
fn a_token_signed_with_a_private_key_is_accepted_with_its_public_jwk() {
    for &algorithm in Algorithm::supported() {
        let jwk = with(private_jwk(algorithm), "alg", algorithm.as_str());
        let of_jwk = PrivateKey::from_jwk(jwk.to_string()).unwrap();
        let older = older_pem(algorithm).map(|pem| PrivateKey::from_pem(pem, algorithm).unwrap());
        assert_eq!(older.is_none(), algorithm == Algorithm::EdDSA);
        for key in [load(algorithm), of_jwk].into_iter().chain(older) {
            assert_eq!(key.algorithm(), algorithm);
            let token = issuer_of(Algorithm::ES256).token("ada");
            let signed = token.sign_with_key(&key);
            assert_eq!(header(&signed), json!({"alg": algorithm.as_str(), "typ": "at+jwt"}));
            assert!(accepts(published(&key), &signed), "{algorithm}");
            // The other formats of the key have the same public key.
            assert!(accepts(published(&load(algorithm)), &signed), "{algorithm}");
            assert!(!accepts(issuer_of(algorithm).key_set(), &signed), "{algorithm}: another key");
        }
    }
}

#[test]
fn reads_a_generated_key_from_its_own_pem() {
    let key = PrivateKey::generate(Algorithm::EdDSA).unwrap();
    let again = PrivateKey::from_pem(key.expose_pkcs8_pem().unwrap(), Algorithm::EdDSA).unwrap();
    assert_eq!(again.public_jwk(), key.public_jwk());
    let another = PrivateKey::generate(Algorithm::EdDSA).unwrap();
    assert_ne!(another.public_jwk(), key.public_jwk());
}

/// RFC 7515 A.3.1 and RFC 8037 A.1.
///
/// RFC 7518 §6.2.2 (MUST, accepts)
#[test]
fn reads_the_example_private_keys_of_the_rfcs() {
    let p256 = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"});
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    for jwk in [p256, ed25519] {
        let key = PrivateKey::from_jwk(jwk.to_string()).unwrap();
        let public: Value = serde_json::from_str(&key.public_jwk()).unwrap();
        assert_eq!(without(without(public, "alg"), "use"), without(jwk, "d"));
        assert!(accepts(published(&key), &issuer_of(Algorithm::ES256).token("ada").sign_with_key(&key)));
    }
}

#[test]
fn the_token_header_and_the_public_jwk_have_the_key_id() {
    let jwk = with(private_jwk(Algorithm::ES256), "kid", "2026-11");
    let key = PrivateKey::from_jwk(jwk.to_string()).unwrap();
    assert_eq!(key.key_id(), Some("2026-11"));
    let key = key.with_key_id("2026-12");
    let signed = issuer_of(Algorithm::ES256).token("ada").sign_with_key(&key);
    assert_eq!(header(&signed), json!({"alg": "ES256", "typ": "at+jwt", "kid": "2026-12"}));
    assert!(accepts(published(&key), &signed));
    assert_eq!(serde_json::from_str::<Value>(&key.public_jwk()).unwrap()["kid"], "2026-12");
    assert_eq!(load(Algorithm::ES256).key_id(), None);
}

#[test]
fn a_jwk_without_alg_uses_the_algorithm_of_its_curve_or_rs256() {
    for &algorithm in Algorithm::supported() {
        let without_alg = PrivateKey::from_jwk(private_jwk(algorithm).to_string()).unwrap();
        let expected = if RSA.contains(&algorithm) { Algorithm::RS256 } else { algorithm };
        assert_eq!(without_alg.algorithm(), expected);
    }
    let fully_specified = with(private_jwk(Algorithm::EdDSA), "alg", "Ed25519");
    assert_eq!(PrivateKey::from_jwk(fully_specified.to_string()).unwrap().algorithm(), Algorithm::EdDSA);
}

/// RFC 7517 §9.3 b (MUST, accepts)
#[test]
fn the_public_jwk_has_only_public_members() {
    for &algorithm in Algorithm::supported() {
        let jwk = with(private_jwk(algorithm), "x5t", "unknown members are dropped");
        let key = PrivateKey::from_jwk(with(jwk, "kid", "one").to_string()).unwrap();
        let public: Value = serde_json::from_str(&key.public_jwk()).unwrap();
        let members: Vec<&str> = public.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: &[&str] = match public["kty"].as_str().unwrap() {
            "RSA" => &["alg", "e", "kid", "kty", "n", "use"],
            "EC" => &["alg", "crv", "kid", "kty", "use", "x", "y"],
            _ => &["alg", "crv", "kid", "kty", "use", "x"],
        };
        assert_eq!(members, expected, "{algorithm}");
    }
}

#[test]
fn names_the_reason_for_each_refused_pem() {
    let good = pkcs8_pem(Algorithm::ES256);
    let issuer = issuer_of(Algorithm::ES256);
    let old_encrypted = good.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1);
    let without_curve = {
        let document = document(Algorithm::ES256);
        let info: PrivateKeyInfo<'_> = document.decode_msg().unwrap();
        let key = EcPrivateKey { parameters: None, ..EcPrivateKey::from_der(info.private_key).unwrap() };
        in_pem("EC PRIVATE KEY", &key.to_der().unwrap())
    };
    let cases = [
        (issuer.public_key_pem(), "a public key, which cannot sign"),
        (in_pem("RSA PUBLIC KEY", b"0"), "a public key, which cannot sign"),
        (in_pem("CERTIFICATE", b"0"), "a certificate, which cannot sign"),
        (in_pem("ENCRYPTED PRIVATE KEY", b"0"), "an encrypted private key; decrypt it first"),
        (old_encrypted, "an encrypted private key; decrypt it first"),
        (in_pem("OPENSSH PRIVATE KEY", b"0"), "a private key in OpenSSH format"),
        (in_pem("DH PARAMETERS", b"0"), "a PEM block that is not a private key"),
        (format!("{}{good}", in_pem("EC PARAMETERS", b"0")), "2 PEM blocks; give the private key's block alone"),
        (good.trim().replace('\n', "\\n"), "its line breaks are written as \\n"),
        (good.replacen('M', "*", 1), "its PEM block is malformed"),
        (in_pem("PRIVATE KEY", b"secret"), "its PEM block is malformed"),
        (in_pem("PRIVATE KEY", &[0x30, 0]), "it is not PKCS#8"),
        (without_curve, "an EC key that does not name its curve"),
        (String::new(), "it is not one PEM block"),
        ("hunter2".to_owned(), "it is not one PEM block"),
    ];
    for (pem, reason) in cases {
        let text = error_text(PrivateKey::from_pem(&pem, Algorithm::ES256));
        assert!(text.starts_with(&format!("private key: {reason}")), "{reason}: {text}");
    }
    assert!(PrivateKey::from_pem(format!("\n{good}\n").replace('\n', "\r\n"), Algorithm::ES256).is_ok());
}

/// RFC 7518 §6.2.2 (MUST, refuses)
#[test]
fn names_the_reason_for_each_refused_private_jwk() {
    let (ec, okp, rsa) = (private_jwk(Algorithm::ES256), private_jwk(Algorithm::EdDSA), private_jwk(Algorithm::RS256));
    let short = |jwk: &Value, member: &str| b64(&unb64(&jwk[member])[1..]);
    let cases = [
        (json!({"keys": [ec]}), "a JWK set; give one private key of it"),
        (json!([]), "it is not a JSON object"),
        (with(ec.clone(), "d", 7), "it is not a JSON object"),
        (json!({"kty": "oct", "k": "c2VjcmV0"}), "a symmetric key"),
        (without(ec.clone(), "d"), "a public key, which cannot sign"),
        (without(ec.clone(), "kty"), "it lacks kty"),
        (with(ec.clone(), "kty", "ML"), "its kty is not supported"),
        (without(ec.clone(), "crv"), "it lacks crv"),
        (with(ec.clone(), "crv", "secp256k1"), "its curve is not supported"),
        (with(okp.clone(), "crv", "X25519"), "its curve is not supported"),
        (without(ec.clone(), "y"), "it lacks y"),
        (without(okp.clone(), "x"), "it lacks x"),
        (with(ec.clone(), "d", "padded=="), "its d is not base64url without padding"),
        (with(ec.clone(), "d", short(&ec, "d")), "x, y or d does not have the length of the curve's field"),
        (with(okp.clone(), "d", short(&okp, "d")), "x or d of an Ed25519 key does not have 32 bytes"),
        (with(ec.clone(), "use", "enc"), "its use is not sig"),
        (with(ec.clone(), "key_ops", json!(["verify"])), "its key_ops have no sign"),
        (with(ec.clone(), "alg", "HS256"), "its alg is not a supported signature algorithm"),
        (with(ec.clone(), "alg", "ES384"), "a P-256 key, which cannot sign with ES384"),
        (with(okp.clone(), "alg", "ES256"), "an Ed25519 key, which cannot sign with ES256"),
        (with(rsa.clone(), "alg", "EdDSA"), "an RSA key, which cannot sign with EdDSA"),
        (without(rsa.clone(), "p"), "it lacks p"),
        (without(rsa.clone(), "qi"), "it lacks qi"),
        (with(rsa.clone(), "oth", json!([])), "an RSA key of more than two primes"),
        (with(rsa.clone(), "n", b64(odd_number(2047))), "an RSA key of less than 2048 bits"),
        (with(rsa.clone(), "n", b64(odd_number(8193))), "an RSA key of more than 8192 bits"),
        (with(rsa.clone(), "e", b64([1])), "an RSA exponent that is even, less than 3 or larger than 33 bits"),
        // Numbers of different keys.
        (with(rsa.clone(), "n", b64(odd_number(2048))), "its numbers do not make a key"),
        (with(rsa.clone(), "d", b64(odd_number(2047))), "its numbers do not make a key"),
        (with(ec.clone(), "d", b64([7; 32])), "its numbers do not make a key"),
        (with(ec.clone(), "d", b64([0; 32])), "its numbers do not make a key"),
        (with(okp.clone(), "d", b64([7; 32])), "its numbers do not make a key"),
    ];
    for (jwk, reason) in cases {
        let text = error_text(PrivateKey::from_jwk(jwk.to_string()));
        assert!(text.starts_with(&format!("private key: {reason}")), "{reason}: {text}");
    }
    let twice = ec.to_string().replacen('{', r#"{"d":"AA","#, 1);
    assert!(error_text(PrivateKey::from_jwk(twice)).contains("or a duplicate"));
    assert!(PrivateKey::from_jwk(with(ec, "key_ops", json!(["sign", "verify"])).to_string()).is_ok());
}

#[test]
fn accepts_only_the_algorithms_of_the_key_type() {
    for &algorithm in Algorithm::supported() {
        for &other in Algorithm::ALL {
            let result = PrivateKey::from_pem(pkcs8_pem(algorithm), other);
            if algorithm == other || RSA.contains(&algorithm) && RSA.contains(&other) {
                assert_eq!(result.unwrap().algorithm(), other);
            } else {
                let text = error_text(result);
                assert!(text.contains(&format!("key, which cannot sign with {other}; name the algorithm")), "{text}");
            }
        }
    }
}

#[test]
fn names_an_algorithm_that_this_build_lacks() {
    let p521 = json!({"kty": "EC", "crv": "P-521", "x": b64([1; 66]), "y": b64([1; 66]), "d": b64([1; 66])});
    let text = error_text(PrivateKey::from_jwk(p521.to_string()));
    if Algorithm::supported().contains(&Algorithm::ES512) {
        assert!(text.starts_with("private key: its numbers do not make a key"), "{text}");
    } else {
        assert!(text.contains("ES512, which the feature rust-crypto lacks; turn on aws-lc-rs for it"), "{text}");
        let text = error_text(PrivateKey::generate(Algorithm::ES512));
        assert!(text.contains("ES512, which the feature rust-crypto lacks; turn on aws-lc-rs for it"), "{text}");
    }
}

/// RFC 7517 §9.3 b (MUST, refuses)
#[test]
fn debug_and_error_texts_show_no_private_number() {
    const PRIVATE: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let jwk = private_jwk(algorithm);
        let secrets: Vec<&str> = PRIVATE.iter().filter_map(|name| jwk[name].as_str()).collect();
        assert!(!secrets.is_empty());
        let key = PrivateKey::from_jwk(jwk.to_string()).unwrap().with_key_id("shown");
        let mut texts = vec![format!("{key:?} {key:#?}"), key.public_jwk()];
        assert!(texts[0].contains("shown") && texts[0].contains("[redacted]"), "{}", texts[0]);
        let invalid = [
            with(jwk.clone(), "alg", "none"),
            with(jwk.clone(), if algorithm == Algorithm::RS256 { "n" } else { "x" }, "AA"),
            with(jwk.clone(), "kty", 7),
            with(jwk.clone(), "d", format!("{}=", jwk["d"].as_str().unwrap())),
            json!({"kty": jwk["d"], "d": jwk["d"]}),
            json!({"kty": "EC", "crv": jwk["d"], "d": jwk["d"]}),
            jwk["d"].clone(),
        ];
        for jwk in invalid {
            let error = PrivateKey::from_jwk(jwk.to_string()).unwrap_err();
            texts.push(format!("{error} {error:?}"));
        }
        let error = PrivateKey::from_pem(pkcs8_pem(algorithm).replace("-----", "----"), algorithm).unwrap_err();
        texts.push(format!("{error} {error:?}"));
        let body = pkcs8_pem(algorithm).lines().nth(1).unwrap().to_owned();
        for text in texts {
            let quoted = secrets.iter().any(|secret| text.contains(&secret[..16])) || text.contains(&body[..40]);
            assert!(!quoted, "{text}");
        }
    }
}
