//! Properties of everything that an attacker may send: the server refuses every changed token, never panics, and never
//! responds with 5xx.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, request::Parts};
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};
use tower_oauth::{
    ResourceServer,
    error::AuthErrorKind,
    keys::{Algorithm, KeySet},
    scope::is_scope_name,
    testing::{ManualClock, MockIssuer, TokenBuilder},
};

use crate::{
    material::{authenticate_parts, b64, issuer_of, jwk_of},
    random::check,
    support::{API, ISSUER},
};

const NOW: u32 = 1_800_000_000;
const LEEWAY: f64 = 30.0;

/// An issuer with a stopped clock, so that the verdict on a date never changes during a test.
fn issuer() -> MockIssuer {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(NOW));
    issuer_of(Algorithm::EdDSA).with_clock(ManualClock::new(now))
}

fn server(issuer: &MockIssuer) -> ResourceServer {
    ResourceServer::new(issuer.verifier(API))
}

fn with_authorization(value: HeaderValue) -> Parts {
    Request::get("/").header("authorization", value).body(()).unwrap().into_parts().0
}

fn accepted(server: &ResourceServer, token: &TokenBuilder) -> bool {
    let value = HeaderValue::try_from(format!("Bearer {}", token.sign())).unwrap();
    authenticate_parts(server, &with_authorization(value)).is_ok()
}

fn any_number() -> impl Strategy<Value = Number> {
    let near = (-600i64..600).prop_map(|offset| Number::from(i64::from(NOW) + offset));
    let float = any::<f64>().prop_filter_map("JSON has no NaN", Number::from_f64);
    let fraction =
        (-60.0..60.0).prop_filter_map("JSON has no NaN", |offset: f64| Number::from_f64(f64::from(NOW) + offset));
    let whole = prop_oneof![any::<i64>().prop_map(Number::from), any::<u64>().prop_map(Number::from)];
    let edges = (-2.0..=2.0).prop_filter_map("JSON has no NaN", Number::from_f64);
    prop_oneof![near, float, fraction, whole, edges, (-2i64..=2).prop_map(Number::from)]
}

fn any_text() -> impl Strategy<Value = String> {
    const EDGE_CASES: [&str; 13] =
        ["", " ", "\t", API, ISSUER, "ada", "never", "1800000300", "a b", "\u{0}", "\u{feff}", "\"", "\u{e9}"];
    prop_oneof![any::<String>(), prop::sample::select(EDGE_CASES.as_slice()).prop_map(str::to_owned)]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => any_number().prop_map(Value::Number),
        3 => any_text().prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((any_text(), inner), 0..4).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Whether RFC 9068 §2.2 and §4 allow this value of the claim, if all other claims are valid.
fn is_valid(claim: &str, value: &Value) -> bool {
    let now = f64::from(NOW);
    let not_blank = || value.as_str().is_some_and(|text| !text.trim().is_empty());
    let strings = || value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    match claim {
        "iss" => value == ISSUER,
        "aud" => value == API || (strings() && value.as_array().is_some_and(|all| all.contains(&json!(API)))),
        "sub" | "client_id" | "jti" => not_blank(),
        "exp" => value.as_f64().is_some_and(|exp| exp > now - LEEWAY && exp <= 253_402_300_799.0),
        "iat" => value.as_f64().is_some_and(|iat| (0.0..=now + LEEWAY).contains(&iat)),
        // Null is absent.
        "nbf" => value.is_null() || value.as_f64().is_some_and(|nbf| nbf <= now + LEEWAY),
        "scope" => {
            value.is_null() || value.is_string() || (strings() && value.as_array().unwrap().iter().all(is_scope))
        }
        "cnf" => false,
        // Only step-up rules use `acr` and `auth_time`.
        _ => true,
    }
}

fn is_scope(name: &Value) -> bool {
    name.as_str().is_some_and(is_scope_name)
}

const REQUIRED: [&str; 7] = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"];
const OPTIONAL: [&str; 6] = ["nbf", "scope", "acr", "auth_time", "cnf", "unheard_of"];

/// RFC 9068 §2.2 a (REQUIRED, refuses)
#[test]
fn refuses_a_token_with_a_missing_or_blank_required_claim() {
    let issuer = issuer();
    let server = server(&issuer);
    assert!(accepted(&server, &issuer.token("ada")));
    for claim in REQUIRED {
        assert!(!accepted(&server, &issuer.token("ada").without_claim(claim)), "no {claim}");
        for blank in
            [Value::Null, json!(""), json!(" "), json!("\t\n"), json!([]), json!([""]), json!({}), json!(false)]
        {
            assert!(!accepted(&server, &issuer.token("ada").claim(claim, blank.clone())), "{claim}: {blank}");
        }
    }
}

/// RFC 9068 §2.2 a (REQUIRED, refuses)
#[test]
fn accepts_a_claim_value_exactly_if_the_specification_allows_it() {
    let issuer = issuer();
    let server = server(&issuer);
    for claim in REQUIRED.into_iter().chain(OPTIONAL) {
        check(1000, any_json(), |value| {
            let is_accepted = accepted(&server, &issuer.token("ada").claim(claim, value.clone()));
            prop_assert_eq!(is_accepted, is_valid(claim, &value), "{}: {}", claim, value);
            Ok(())
        });
    }
}

/// RFC 9068 §2.2 a (REQUIRED, refuses)
#[test]
fn refuses_several_changed_claims_unless_all_remain_valid() {
    let issuer = issuer();
    let server = server(&issuer);
    let change = (prop::sample::select(REQUIRED.as_slice()), prop::option::of(any_json()));
    check(1000, prop::collection::vec(change, 1..5), |changes| {
        let mut token = issuer.token("ada");
        for (claim, value) in &changes {
            token = match value {
                Some(value) => token.claim(claim, value.clone()),
                None => token.without_claim(claim),
            };
        }
        let claims: Value = serde_json::from_str(&token.claims_json()).unwrap();
        let good = REQUIRED.iter().all(|claim| claims.get(claim).is_some_and(|value| is_valid(claim, value)));
        prop_assert_eq!(accepted(&server, &token), good, "{}", claims);
        Ok(())
    });
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Replace(u8),
    Insert(u8),
    Delete,
}

impl Change {
    fn apply(self, token: &str, position: usize) -> Vec<u8> {
        let mut bytes = token.as_bytes().to_vec();
        match self {
            Self::Insert(byte) => bytes.insert(position, byte),
            Self::Replace(byte) => bytes[position.min(token.len() - 1)] = byte,
            Self::Delete => _ = bytes.remove(position.min(token.len() - 1)),
        }
        bytes
    }
}

/// Sends the bytes as a token in the query, which can carry any bytes, and in the header if HTTP allows them there.
fn refuses(server: &ResourceServer, token: &[u8]) -> bool {
    let encoded = token.iter().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02x}"));
    let by_query = Request::get(format!("/?access_token={encoded}")).body(()).unwrap().into_parts().0;
    let by_header = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok().map(with_authorization);
    [Some(by_query), by_header].into_iter().flatten().all(|parts| match authenticate_parts(server, &parts) {
        Ok(_) => false,
        Err(kind) => matches!(kind, AuthErrorKind::InvalidToken | AuthErrorKind::InvalidRequest),
    })
}

fn server_that_accepts_the_query(issuer: &MockIssuer) -> ResourceServer {
    ResourceServer::builder(issuer.verifier(API)).danger_accept_query().build().unwrap()
}

/// RFC 7515 §3.1 (MUST, refuses)
/// RFC 7515 §5.2 (MUST, refuses)
/// RFC 8725 §3.3 (MUST, refuses)
/// Threats S1, E1, E2
#[test]
fn refuses_a_token_with_any_one_byte_changed() {
    for &algorithm in Algorithm::supported() {
        let issuer = issuer_of(algorithm);
        let server = server_that_accepts_the_query(&issuer);
        let token = issuer.token("ada").scope("orders:read").sign();
        assert!(!refuses(&server, token.as_bytes()), "{algorithm}: the unchanged token is refused");
        let change = prop_oneof![
            any::<u8>().prop_map(Change::Replace),
            prop::sample::select(b"ABCwxyz0189-_.=+/~".as_slice()).prop_map(Change::Replace),
            any::<u8>().prop_map(Change::Insert),
            prop::sample::select(b"Aa0-_.=+/~".as_slice()).prop_map(Change::Insert),
            Just(Change::Delete),
        ];
        check(1500, (change, 0..=token.len()), |(change, position)| {
            let changed = change.apply(&token, position);
            // A space before the token belongs to the header, not to the token (RFC 6750 §2.1: 1*SP).
            let space = position == 0 && matches!(change, Change::Insert(b' '));
            prop_assume!(changed != token.as_bytes() && !space);
            prop_assert!(refuses(&server, &changed), "{}: {:?} at {}", algorithm, change, position);
            Ok(())
        });
        // Every byte at the ends of the segments, where base64 has unused bits, and every deletion.
        let ends = token.match_indices('.').map(|(dot, _)| dot - 1).chain([token.len() - 1]);
        for (position, byte) in ends.flat_map(|end| (0..=u8::MAX).map(move |byte| (end, byte))) {
            let changed = Change::Replace(byte).apply(&token, position);
            assert!(changed == token.as_bytes() || refuses(&server, &changed), "{algorithm}: {byte} at {position}");
        }
        for byte in 0..=u8::MAX {
            let longer = Change::Insert(byte).apply(&token, token.len());
            assert!(refuses(&server, &longer), "{algorithm}: {byte} at the end");
        }
        for position in 0..token.len() {
            assert!(refuses(&server, &Change::Delete.apply(&token, position)), "{algorithm}: without {position}");
        }
    }
}

fn any_authorization() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let json = any_json().prop_map(|json| json.to_string());
    let header = any_json().prop_map(|value| json!({"alg": "EdDSA", "typ": "at+jwt", "kid": value}).to_string());
    let jwt = (prop_oneof![header, json], any_json(), bytes())
        .prop_map(|(header, claims, signature)| [b64(header), b64(claims.to_string()), b64(signature)].join("."));
    prop_oneof![
        bytes(),
        bytes().prop_map(|rest| [b"Bearer ", &*rest].concat()),
        "[bB]earer +[A-Za-z0-9._~+/-]{0,300}=*".prop_map(String::into_bytes),
        "[ -~]{0,60}".prop_map(String::into_bytes),
        jwt.prop_map(|jwt| format!("Bearer {jwt}").into_bytes()),
    ]
}

/// RFC 6750 §2.1 b (MUST, refuses)
#[test]
fn refuses_random_authorization_values_with_4xx() {
    let issuer = issuer();
    let server = server(&issuer);
    check(4000, any_authorization(), |bytes| {
        let sendable: Vec<u8> = bytes.into_iter().filter(|byte| *byte >= 0x20 && *byte != 0x7f).collect();
        let parts = with_authorization(HeaderValue::from_bytes(&sendable).unwrap());
        let kind = authenticate_parts(&server, &parts).err();
        prop_assert!(
            matches!(
                kind,
                Some(AuthErrorKind::MissingCredentials | AuthErrorKind::InvalidRequest | AuthErrorKind::InvalidToken)
            ),
            "{:?}",
            kind
        );
        Ok(())
    });
}

#[test]
fn refuses_random_content_with_a_valid_signature_without_a_panic() {
    let issuer = issuer();
    let server = server(&issuer);
    let text = || prop_oneof![any::<Vec<u8>>(), any_json().prop_map(|json| json.to_string().into_bytes())];
    let header = prop_oneof![text(), Just(issuer.token("ada").header_json().into_bytes())];
    check(2000, (header, text()), |(header, payload)| {
        let token = issuer.token("ada").sign_raw(header, payload);
        let parts = with_authorization(HeaderValue::try_from(format!("Bearer {token}")).unwrap());
        prop_assert_eq!(authenticate_parts(&server, &parts).err(), Some(AuthErrorKind::InvalidToken));
        Ok(())
    });
}

fn any_jwk() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 12] = ["kty", "kid", "alg", "use", "key_ops", "crv", "n", "e", "x", "y", "d", "k"];
    let value = prop_oneof![
        any_json(),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| json!(b64(bytes))),
        prop::sample::select(["RSA", "EC", "OKP", "P-256", "P-521", "Ed25519", "sig", "RS256", "AQAB"].as_slice())
            .prop_map(|text| json!(text)),
    ];
    let bases = [jwk_of(Algorithm::RS256), jwk_of(Algorithm::ES256), jwk_of(Algorithm::EdDSA), json!({})];
    let changes = prop::collection::vec((prop::sample::select(NAMES.as_slice()), value), 0..4);
    (prop::sample::select(bases.to_vec()), changes).prop_map(|(mut jwk, changes)| {
        for (name, value) in changes {
            jwk[name] = value;
        }
        jwk
    })
}

#[test]
fn loads_or_refuses_random_key_sets_without_a_panic() {
    let jwks = prop::collection::vec(any_jwk(), 0..4).prop_map(|keys| json!({ "keys": keys }).to_string().into_bytes());
    let json = any_json().prop_map(|json| json.to_string().into_bytes());
    check(3000, prop_oneof![jwks, json, any::<Vec<u8>>()], |document| {
        let pem = [b"-----BEGIN PUBLIC KEY-----\n", &*document, b"\n-----END PUBLIC KEY-----"].concat();
        let loaded = [KeySet::from_json(&document), KeySet::from_der(&document), KeySet::from_pem(pem)];
        for keys in loaded.into_iter().flatten() {
            prop_assert!(!keys.is_empty() && keys.len() + keys.skipped().len() <= 4);
        }
        Ok(())
    });
}

/// RFC 7517 §5 (SHOULD, accepts)
/// Threat J1
#[test]
fn an_invalid_key_never_affects_the_other_keys_of_a_key_set() {
    let token = issuer().token("ada").sign();
    let authorization = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    check(1000, prop::collection::vec(any_jwk(), 0..4), |mut keys| {
        // At most three keys precede it: they may have its kid, and the verifier tries only four keys.
        keys.push(jwk_of(Algorithm::EdDSA));
        let loaded = crate::material::set(keys.clone());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(NOW));
        let issuer = tower_oauth::Issuer::from_keys(ISSUER, loaded).unwrap();
        let verifier = tower_oauth::JwtVerifier::builder(issuer, API).clock(ManualClock::new(now)).build().unwrap();
        let verdict = authenticate_parts(&ResourceServer::new(verifier), &with_authorization(authorization.clone()));
        prop_assert!(verdict.is_ok(), "{}", json!(keys));
        Ok(())
    });
}
