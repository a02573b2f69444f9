//! Keys in PEM and DER and from files (RFC 7468 §13, RFC 8017 A.1.1, RFC 5480, RFC 8410).

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use pkcs1::UintRef;
use spki::{
    AlgorithmIdentifier, ObjectIdentifier, SubjectPublicKeyInfo,
    der::{Any, Encode, asn1::BitString},
};
use tower_oauth::keys::{Algorithm, KeySet};

use crate::material::{accepts, issuer_of, jwk_of, odd_number, token_of, unb64};

const RSA: &str = "1.2.840.113549.1.1.1";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const SECP256K1: &str = "1.3.132.0.10";
const ED25519: &str = "1.3.101.112";
const X25519: &str = "1.3.101.110";

fn is_rsa(algorithm: Algorithm) -> bool {
    !matches!(algorithm, Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 | Algorithm::EdDSA)
}

fn pem_block(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn spki(algorithm: &str, curve: Option<&str>, key: &[u8]) -> Vec<u8> {
    let parameters = curve.map(|curve| Any::encode_from(&ObjectIdentifier::new_unwrap(curve)).unwrap());
    let algorithm = AlgorithmIdentifier { oid: ObjectIdentifier::new_unwrap(algorithm), parameters };
    SubjectPublicKeyInfo { algorithm, subject_public_key: BitString::from_bytes(key).unwrap() }.to_der().unwrap()
}

fn pkcs1(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let (modulus, public_exponent) = (UintRef::new(modulus).unwrap(), UintRef::new(exponent).unwrap());
    pkcs1::RsaPublicKey { modulus, public_exponent }.to_der().unwrap()
}

/// The uncompressed point of the ES256 key, without its leading 4.
fn p256_point() -> Vec<u8> {
    let jwk = jwk_of(Algorithm::ES256);
    [unb64(&jwk["x"]), unb64(&jwk["y"])].concat()
}

#[test]
fn keys_in_pem_and_der_verify_tokens_of_every_algorithm() {
    for &algorithm in Algorithm::supported() {
        let (issuer, token) = (issuer_of(algorithm), token_of(algorithm));
        let pem = issuer.public_key_pem();
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"));
        // RFC 7468 §2: text before the PEM block is allowed.
        for text in [
            pem.clone(),
            format!("Our key:\n{pem}"),
            pem.replace('\n', "\r\n"),
            format!("\n  {pem}\n\n"),
            pem.trim_end().to_owned(),
        ] {
            assert!(accepts(KeySet::from_pem(&text).unwrap(), &token), "{algorithm}: {text:?}");
        }
        assert!(accepts(KeySet::from_der(issuer.public_key_der()).unwrap(), &token), "{algorithm}");
        assert_eq!(issuer.public_key_pkcs1().is_some(), is_rsa(algorithm), "{algorithm}");
        if let Some(pkcs1) = issuer.public_key_pkcs1() {
            assert!(accepts(KeySet::from_pem(pem_block("RSA PUBLIC KEY", &pkcs1)).unwrap(), &token), "{algorithm}");
            assert!(accepts(KeySet::from_der(pkcs1).unwrap(), &token), "{algorithm}");
        }
        let other = tower_oauth::testing::MockIssuer::new("https://other.test").with_algorithm(algorithm);
        assert!(!accepts(KeySet::from_pem(other.public_key_pem()).unwrap(), &token), "{algorithm}");
    }
}

#[test]
fn loads_a_file_with_a_key_set_pem_or_der() {
    let issuer = issuer_of(Algorithm::RS256);
    let pkcs1 = issuer.public_key_pkcs1().unwrap();
    let contents = [
        ("set.json", issuer.jwks().to_string().into_bytes()),
        ("pretty.json", format!("\n {:#}\n", issuer.jwks()).into_bytes()),
        ("key.pem", issuer.public_key_pem().into_bytes()),
        ("rsa.pem", pem_block("RSA PUBLIC KEY", &pkcs1).into_bytes()),
        ("mark.pem", format!("\u{feff}{}", issuer.public_key_pem()).into_bytes()),
        ("mark.json", format!("\u{feff}{}", issuer.jwks()).into_bytes()),
        ("key.txt", STANDARD.encode(issuer.public_key_der()).into_bytes()),
        ("key.der", issuer.public_key_der()),
        ("rsa.der", pkcs1),
    ];
    for (name, content) in contents {
        let path = file(name);
        fs::write(&path, content).unwrap();
        assert!(accepts(KeySet::from_file(&path).unwrap(), &token_of(Algorithm::RS256)), "{name}");
    }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

#[test]
fn from_file_reports_files_that_are_unreadable_or_have_no_key() {
    let error = KeySet::from_file("/nowhere/keys.json").unwrap_err().to_string();
    assert!(error.starts_with("key set: /nowhere/keys.json: No such file"), "{error}");
    assert!(error.ends_with("name a file that this process can read"), "{error}");
    let jwk = jwk_of(Algorithm::ES256);
    let (single, array) = (jwk.to_string(), format!("\n[{jwk}]"));
    for (content, message) in [
        (&*single, "one JWK without the set around it"),
        (&*array, "an array without the object around it"),
        (PKCS8, PRIVATE),
        ("", "it is not a public key in DER"),
        ("{}", "it is not a JWK set"),
        ("-----BEGIN", "it is not one PEM block"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ", "it is not a public key in DER"),
    ] {
        let path = file("bad");
        fs::write(&path, content).unwrap();
        let error = KeySet::from_file(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{content:?}: {error}");
    }
}

const PRIVATE: &str = "a private key; give its public key (openssl pkey -pubout)";
/// An EC key in PKCS#8, and the first bytes of keys in SEC 1, PKCS#1 and PKCS#8.
const PKCS8: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+j\
    n65BtOMvdyHKcvjBeBSDZH2r1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G";
const PRIVATE_DER: [&[u8]; 4] = [
    &[0x30, 0x77, 2, 1, 1, 4, 32, 7],
    &[0x30, 0x82, 4, 0xa4, 2, 1, 0, 2, 0x82, 1, 1, 0],
    &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22],
    &[0x30, 0x81, 0x87, 2, 1, 0, 0x30, 0x13],
];

#[test]
fn a_private_key_without_a_pem_frame_is_called_by_its_name() {
    let errors = PRIVATE_DER.map(|der| [KeySet::from_der(der), KeySet::from_pem(STANDARD.encode(der))]);
    for error in errors.into_iter().flatten() {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(PRIVATE), "{error}");
    }
}

const CERTIFICATE: &str = "a certificate; give its public key (openssl x509 -pubkey -noout)";
/// The first bytes of an X.509 certificate.
const CERTIFICATE_DER: [u8; 16] = [0x30, 0x82, 2, 0x9f, 0x30, 0x82, 1, 0x87, 0xa0, 3, 2, 1, 2, 2, 1, 1];

/// RFC 7468 §3 (MAY, accepts)
#[test]
fn from_pem_accepts_lines_of_any_length_and_base64_without_a_frame() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let base64 = STANDARD.encode(issuer_of(algorithm).public_key_der());
        for length in [1, 63, 64, 76, 1000] {
            let lines: Vec<&str> = base64.as_bytes().chunks(length).map(|line| str::from_utf8(line).unwrap()).collect();
            for end in ["\n", "\r\n"] {
                let lines = lines.join(end);
                let framed = format!("-----BEGIN PUBLIC KEY-----{end}{lines}{end}-----END PUBLIC KEY-----{end}");
                for text in [framed, format!("{lines}{end}")] {
                    assert!(accepts(KeySet::from_pem(&text).unwrap(), &token_of(algorithm)), "{algorithm}: {text}");
                }
            }
        }
    }
}

#[test]
fn from_der_calls_a_certificate_by_its_name() {
    let error = KeySet::from_der(CERTIFICATE_DER).unwrap_err().to_string();
    assert!(error.contains(CERTIFICATE), "{error}");
}

/// RFC 7468 §3 (MAY, refuses)
#[test]
fn from_pem_refuses_everything_except_one_public_key() {
    let issuer = issuer_of(Algorithm::ES256);
    let pem = issuer.public_key_pem();
    let der = issuer.public_key_der();
    let cases = [
        (pem_block("PRIVATE KEY", &der), PRIVATE),
        (pem_block("RSA PRIVATE KEY", &der), PRIVATE),
        (pem_block("EC PRIVATE KEY", &der), PRIVATE),
        (pem_block("ENCRYPTED PRIVATE KEY", &der), PRIVATE),
        (PKCS8.to_owned(), PRIVATE),
        (pem_block("CERTIFICATE", &der), CERTIFICATE),
        (pem_block("CERTIFICATE", &der).replace('\n', "\\n"), CERTIFICATE),
        (pem.replace('\n', "\\n"), "its line breaks are written as \\n; give the text with real line breaks"),
        (pem_block("EC PARAMETERS", &der), "a PEM block that is not a public key"),
        (pem_block("PUBLIC KEY", b"nothing"), "it is not a public key in DER"),
        (pem_block("PUBLIC KEY", &[]), "it is not"),
        (format!("{pem}{pem}"), "it is not one PEM block"),
        (pem.replace("END PUBLIC", "END PRIVATE"), "it is not one PEM block"),
        (pem.replace('=', ""), "it is not one PEM block"),
        (STANDARD.encode(&der).replace('=', ""), "it is not one PEM block"),
        (STANDARD.encode(b"nothing"), "it is not a public key in DER"),
        (STANDARD.encode(CERTIFICATE_DER), CERTIFICATE),
        (pem.replace("-----BEGIN PUBLIC KEY-----", ""), "it is not one PEM block"),
        (format!("{pem}{}", pem_block("CERTIFICATE", &der)), "it is not one PEM block"),
        (String::new(), "it is not one PEM block"),
        ("-----BEGIN PUBLIC KEY-----\n\u{e4}\n-----END PUBLIC KEY-----".to_owned(), "it is not one PEM block"),
    ];
    for (text, message) in cases {
        let error = KeySet::from_pem(&text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn from_der_refuses_everything_except_one_valid_public_key() {
    let point = p256_point();
    let uncompressed = [&[4], &*point].concat();
    let compressed = [&[2 + (point[63] & 1)], &point[..32]].concat();
    let off_curve = [&uncompressed[..64], &[uncompressed[64] ^ 1]].concat();
    let ed25519 = unb64(&jwk_of(Algorithm::EdDSA)["x"]);
    let not_der = "it is not a public key in DER";
    let backend = if cfg!(feature = "aws-lc-rs") {
        "the point is not on its curve"
    } else {
        "the key's numbers are not accepted"
    };
    let unknown = "its algorithm is not supported";
    let cases = [
        (Vec::new(), not_der),
        (b"nothing".to_vec(), not_der),
        ([spki(ED25519, None, &ed25519), vec![0]].concat(), not_der),
        (spki(ED25519, None, &ed25519)[..40].to_vec(), not_der),
        (spki(X25519, None, &ed25519), unknown),
        (spki(RSA_PSS, None, &pkcs1(&odd_number(2048), &[1, 0, 1])), unknown),
        (spki(EC, Some(SECP256K1), &uncompressed), "its curve is not supported"),
        (spki(EC, None, &uncompressed), "its curve is not supported"),
        (spki(EC, Some(P256), &compressed), "its point is not in the uncompressed form"),
        (spki(EC, Some(P256), &[]), "its point is not in the uncompressed form"),
        (spki(EC, Some(P256), &uncompressed[..64]), "a coordinate does not have the length of the curve's field"),
        (spki(EC, Some(P256), &off_curve), backend),
        (spki(ED25519, None, &ed25519[1..]), "an Ed25519 point has 32 bytes"),
        (spki(ED25519, None, &[0; 32]), "a point of small order or with a second encoding"),
        (spki(RSA, None, b"nothing"), not_der),
        (spki(RSA, None, &pkcs1(&odd_number(1024), &[1, 0, 1])), "an RSA key of less than 2048 bits"),
        (pkcs1(&odd_number(2047), &[1, 0, 1]), "an RSA key of less than 2048 bits"),
        (pkcs1(&odd_number(8193), &[1, 0, 1]), "an RSA key of more than 8192 bits"),
        (pkcs1(&odd_number(2048), &[1]), "an RSA exponent that is even"),
        (pkcs1(&[&odd_number(2048)[..255], &[2]].concat(), &[3]), "an even RSA modulus"),
    ];
    for (der, message) in cases {
        let error = KeySet::from_der(&der).unwrap_err().to_string();
        assert!(error.contains(message), "{message}: {error}");
    }
    // The helper `spki` also makes valid keys.
    assert!(accepts(KeySet::from_der(spki(EC, Some(P256), &uncompressed)).unwrap(), &token_of(Algorithm::ES256)));
    assert!(accepts(KeySet::from_der(spki(ED25519, None, &ed25519)).unwrap(), &token_of(Algorithm::EdDSA)));
}
