//! Valid but unusual token headers, and headers that name keys, which the verifier ignores (RFC 7515 §4.1, RFC 8725
//! §3.10, RFC 9068 §4; threats K7 to K9). `forged` tests invalid headers.

use std::{io::ErrorKind, net::TcpListener};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tower_oauth::{keys::Algorithm, testing::MockIssuer};

use crate::material::{accepts, issuer_of};

/// RFC 9068 §4 a (MUST, accepts and refuses)
#[test]
fn accepts_typ_at_jwt_in_any_case_with_or_without_application() {
    let issuer = issuer_of(Algorithm::ES256);
    for typ in ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "Application/AT+JWT"] {
        assert!(accepts(issuer.key_set(), &issuer.token("ada").header("typ", typ).sign()), "{typ}");
    }
    for typ in ["at+jwt;", "application/application/at+jwt", "application/", "+jwt", "at jwt", "\u{212a}at+jwt"] {
        assert!(!accepts(issuer.key_set(), &issuer.token("ada").header("typ", typ).sign()), "{typ}");
    }
}

/// RFC 7515 §4 (MUST, accepts)
/// RFC 7515 §4.1.11 (MUST, accepts)
/// RFC 7515 §5.2 (MUST, accepts)
#[test]
fn ignores_unknown_header_members() {
    let issuer = issuer_of(Algorithm::ES256);
    let extra = issuer.token("ada").header("cty", "JWT").header("x", json!({"deep": [[1.5, null, "\u{e9}"]]}));
    assert!(accepts(issuer.key_set(), &extra.header("iss", 7).header("Crit", json!(["no"])).sign()));
    let spaced = format!("\n\t{} ", issuer.token("ada").header_json().replace(':', " : "));
    assert!(accepts(issuer.key_set(), &issuer.token("ada").sign_raw(spaced, issuer.token("ada").claims_json())));
    let escaped =
        issuer.token("ada").header_json().replacen("alg", "\\u0061lg", 1).replacen("at+jwt", "\\u0061t+jwt", 1);
    assert!(accepts(issuer.key_set(), &issuer.token("ada").sign_raw(escaped, issuer.token("ada").claims_json())));
}

/// RFC 7515 §4.1.11 (MUST, refuses)
#[test]
fn reads_the_whole_of_a_long_header() {
    let issuer = issuer_of(Algorithm::ES256);
    for length in [300, 380, 400, 512, 600, 5000] {
        assert!(accepts(issuer.key_set(), &issuer.token("ada").header("z", "z".repeat(length)).sign()), "{length}");
        // In this header, `crit` comes after `z`.
        let late = issuer.token("ada").header_json().replacen('{', &format!("{{\"z\":\"{}\",", "z".repeat(length)), 1);
        let late = late.replacen("\"typ\"", "\"crit\":[\"z\"],\"typ\"", 1);
        let token = issuer.token("ada").sign_raw(late, issuer.token("ada").claims_json());
        assert!(!accepts(issuer.key_set(), &token), "{length}");
    }
}

/// RFC 7515 §4.1.2 (derived, accepts and refuses)
/// RFC 8725 §3.10 a (MUST, accepts)
/// Threats K7, K8, K9
#[test]
fn ignores_keys_that_the_header_of_a_token_names_and_fetches_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let issuer = issuer_of(Algorithm::ES256);
    let attacker = MockIssuer::new("https://attacker.test");
    let certificate = STANDARD.encode(attacker.public_key_der());
    let members: [(&str, Value); 6] = [
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("jwk", attacker.jwk()),
        ("x5c", json!([certificate])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!(1)),
    ];
    for (name, value) in members {
        let token = issuer.token("ada").header(name, value.clone());
        assert!(accepts(issuer.key_set(), &token.sign()), "{name}");
        assert!(!accepts(issuer.key_set(), &token.sign_with(&attacker)), "{name}");
        let unnamed = token.without_header("kid").sign_with(&attacker);
        assert!(!accepts(issuer.key_set(), &unnamed), "{name}");
    }
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "a connection was made to the URL of jku or x5u"
    );
}
