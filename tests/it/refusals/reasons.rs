//! The log of refused requests: what was found, what was expected, what to change, and at which level.

use std::{collections::BTreeSet, fs, path::Path};

use http::HeaderValue;
use serde_json::{Value, json};
use tower_oauth::{
    Issuer, JwtVerifier, OAuthLayer,
    keys::{Algorithm, KeySet, PrivateKey},
    testing::{MockIssuer, TokenBuilder},
    verify::TrustedIssuers,
};

use crate::{
    introspection::IntrospectionFixture,
    log::Log,
    support::{API, get_with, get_with_token, router},
};

/// An issuer of its own for each test, because the first refusal for each reason and issuer differs from the others.
struct Shop {
    issuer: MockIssuer,
    app: axum::Router,
}

impl Shop {
    fn new(identifier: &str) -> Self {
        let issuer = MockIssuer::new(identifier);
        let app = router().layer(OAuthLayer::new(issuer.verifier(API)));
        Self { issuer, app }
    }

    fn token(&self) -> TokenBuilder {
        self.issuer.token("ada").scope("orders:read")
    }

    /// Returns the status, and the lines of the log about refusals.
    async fn refuse(&self, token: &str) -> Vec<String> {
        let log = Log::default();
        let response = log.capture(get_with_token(&self.app, "/me", token)).await;
        assert_eq!(response.status, 401);
        refusals(&log)
    }
}

fn refusals(log: &Log) -> Vec<String> {
    log.text().lines().filter(|line| line.contains("a request was refused")).map(str::to_owned).collect()
}

/// Returns the only line, which has this level and all texts.
fn assert_line(lines: &[String], level: &str, texts: &[&str]) {
    let [line] = lines else { panic!("one line, not {lines:#?}") };
    assert!(line.contains(&format!(" {level} ")), "{level}: {line}");
    for text in texts {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
}

/// Threat R1
#[tokio::test]
async fn a_refusal_says_what_was_found_what_was_expected_and_what_to_change() {
    let issuer = "https://found-and-expected.test";
    let shop = Shop::new(issuer);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let quoted = format!("issuer={issuer:?}");
    let cases: [(&str, String, Vec<&str>); 11] = [
        (
            "WARN",
            shop.token().claim("iss", "https://other.test").sign(),
            vec!["wrong_issuer", r#"iss \"https://other.test\""#, r#"\"https://found-and-expected.test\""#],
        ),
        (
            "WARN",
            shop.token().audience("https://other.test").sign(),
            vec!["wrong_audience", r#"aud \"https://other.test\""#, r#"\"https://api.test\""#, "audience"],
        ),
        (
            "WARN",
            shop.token().header("typ", "JWT").sign(),
            vec!["type_not_accepted", r#"typ \"JWT\""#, r#"\"at+jwt\""#, "accept_plain_jwt_type"],
        ),
        (
            "WARN",
            shop.token().header("alg", "XS256").sign(),
            vec!["algorithm_not_accepted", r#"alg \"XS256\""#, "RS256, RS384"],
        ),
        ("WARN", shop.token().without_claim("client_id").sign(), vec!["missing_claim", "no client_id", "client_claim"]),
        ("DEBUG", shop.token().header("kid", "k9").sign(), vec!["unknown_key", r#"kid \"k9\""#, "key set"]),
        ("DEBUG", shop.token().claim("exp", now - 100).sign(), vec!["expired", "exp 10", " s ago", "30 s (leeway)"]),
        ("DEBUG", shop.token().claim("nbf", now + 100).sign(), vec!["not_yet_valid", "nbf ", " s ahead", "clocks"]),
        ("DEBUG", shop.token().claim("iat", now + 100).sign(), vec!["issued_in_the_future", "iat ", " s ahead"]),
        ("DEBUG", shop.token().claim("sub", 4).sign(), vec!["malformed_claims", "the claim sub is not a string"]),
        ("DEBUG", "opaque".to_owned(), vec!["not_a_jws", "an opaque token", "IntrospectionVerifier"]),
    ];
    for (level, token, mut texts) in cases {
        texts.extend(["found=", "expected=", "change=", quoted.as_str()]);
        let lines = shop.refuse(&token).await;
        assert_line(&lines, level, &texts);
        assert!(!lines[0].contains("ada"), "the value of sub is personal: {}", lines[0]);
    }
}

/// Threat R2
#[tokio::test]
async fn the_first_refusal_for_each_reason_and_issuer_is_a_warning_and_the_others_are_counted() {
    let (one, other) = (Shop::new("https://counted-one.test"), Shop::new("https://counted-other.test"));
    let wrong = |shop: &Shop, number: u32| shop.token().audience(&format!("https://{number}.test")).sign();
    assert_line(&one.refuse(&wrong(&one, 1)).await, "WARN", &["wrong_audience"]);
    for number in 2..5 {
        let count = format!("count={number}");
        assert_line(&one.refuse(&wrong(&one, number)).await, "DEBUG", &["wrong_audience", &count]);
    }
    assert_line(&other.refuse(&wrong(&other, 1)).await, "WARN", &["wrong_audience", "https://counted-other.test"]);
    assert_line(&one.refuse(&one.token().without_claim("jti").sign()).await, "WARN", &["missing_claim"]);
    assert_line(&one.refuse(&one.token().without_claim("sub").sign()).await, "DEBUG", &["missing_claim", "count=2"]);
}

/// Threat R3
#[tokio::test]
async fn the_client_learns_no_more_than_the_fixed_text() {
    let shop = Shop::new("https://fixed-text.test");
    let other = "https://someone-else.test";
    let tokens = [
        (shop.token().claim("iss", other).sign(), "The access token is invalid"),
        (shop.token().audience(other).sign(), "The access token is meant for another resource"),
        (shop.token().header("typ", "JWT").sign(), "The access token is invalid"),
        (shop.token().header("kid", other).sign(), "The access token is invalid"),
        (shop.token().without_claim("jti").sign(), "The access token lacks a required claim"),
    ];
    for (token, description) in tokens {
        let response = get_with_token(&shop.app, "/me", &token).await;
        let expected = format!(r#"Bearer realm="api", error="invalid_token", error_description="{description}""#);
        assert_eq!(response.challenges(), [expected]);
        let whole = format!("{:?} {}", response.headers, response.body);
        assert!(!whole.contains(other) && !whole.contains("fixed-text"), "{whole}");
    }
}

#[tokio::test]
async fn a_difference_of_a_trailing_slash_only_is_named() {
    let shop = Shop::new("https://slash.test");
    let slash = "differ by a trailing slash only";
    let token = shop.token().claim("iss", "https://slash.test/").sign();
    assert_line(&shop.refuse(&token).await, "WARN", &["wrong_issuer", slash]);
    let token = shop.token().audience(&format!("{API}/")).sign();
    assert_line(&shop.refuse(&token).await, "WARN", &["wrong_audience", slash]);
    let token = shop.token().audience(&format!("{API}//")).sign();
    let lines = shop.refuse(&token).await;
    assert!(!lines[0].contains(slash), "{lines:?}");
}

/// Threat R1
#[tokio::test]
async fn another_issuer_is_the_reason_before_its_key() {
    let shop = Shop::new("https://before-its-key.test");
    let other = MockIssuer::new("https://before-its-key.test/").with_algorithm(Algorithm::RS256);
    let texts = ["wrong_issuer", r#"iss \"https://before-its-key.test/\""#, r#"\"https://before-its-key.test\""#];
    assert_line(&shop.refuse(&other.token("ada").sign()).await, "WARN", &texts);
    // A forged signature of the right issuer is still called by its name.
    let forged = shop.token().sign();
    let forged = format!("{}{}", &forged[..forged.len() - 4], "AAAA");
    assert_line(&shop.refuse(&forged).await, "DEBUG", &["bad_signature"]);
}

#[tokio::test]
async fn an_untrusted_issuer_is_compared_with_all_trusted_ones() {
    let shops = ["https://trusted-a.test", "https://trusted-b.test"].map(MockIssuer::new);
    let verifiers = shops.iter().map(|shop| shop.verifier(API));
    let app = router().layer(OAuthLayer::new(TrustedIssuers::new(verifiers).unwrap()));
    let token = MockIssuer::new("https://trusted-c.test").token("ada").sign();
    let log = Log::default();
    log.capture(get_with_token(&app, "/me", &token)).await;
    let [line] = refusals(&log).try_into().unwrap();
    for issuer in ["https://trusted-a.test", "https://trusted-b.test", "https://trusted-c.test"] {
        assert!(line.contains(issuer), "{line}");
    }
}

/// Threat R1
#[tokio::test]
async fn says_if_not_all_keys_were_tried() {
    // A token without kid, and five keys for its algorithm.
    let keys: Vec<_> = (0..5).map(|_| PrivateKey::generate(Algorithm::ES256).unwrap()).collect();
    let published = keys.iter().enumerate().map(|(number, key)| {
        let mut jwk: Value = serde_json::from_str(&key.public_jwk()).unwrap();
        jwk["kid"] = format!("k{number}").into();
        jwk
    });
    let published: Vec<Value> = published.collect();
    let set = json!({"keys": published});
    let issuer = Issuer::from_keys("https://five-keys.test", KeySet::from_json(set.to_string()).unwrap()).unwrap();
    let app = router().layer(OAuthLayer::new(JwtVerifier::new(issuer, API).unwrap()));
    let builder = MockIssuer::new("https://five-keys.test").token("ada").header("alg", "ES256").without_header("kid");
    let log = Log::default();
    log.capture(get_with_token(&app, "/me", &builder.sign_with_key(&keys[4]))).await;
    assert_line(&refusals(&log), "DEBUG", &["bad_signature", "not all 5 keys were tried", "kid"]);
}

/// Threat R4
#[tokio::test]
async fn an_unsupported_scheme_is_a_warning_once_and_never_shows_the_credentials() {
    let shop = Shop::new("https://scheme.test");
    let secret = "QWxhZGRpbjpvcGVuIHNlc2FtZQ";
    let mut levels = BTreeSet::new();
    for value in [format!("Basic {secret}"), format!("Strange {secret}"), secret.to_owned(), format!("bearer{secret}")]
    {
        let log = Log::default();
        let response = log.capture(get_with(&shop.app, "/me", &value)).await;
        assert_eq!(response.status, 401);
        let text = log.text();
        assert!(!text.contains(secret), "{text}");
        let [line] = refusals(&log).try_into().unwrap();
        assert!(line.contains("unsupported_scheme") && line.contains("Bearer"), "{line}");
        levels.insert(if line.contains(" WARN ") { "warn" } else { "debug" });
    }
    // Another test of this process may have caused the warning.
    assert!(levels.contains("debug"), "{levels:?}");
}

/// Threat R2
#[tokio::test]
async fn an_introspection_response_without_aud_is_a_warning_that_names_the_method() {
    let introspection = IntrospectionFixture::new().await;
    let mut response = introspection.active();
    response.as_object_mut().unwrap().remove("aud");
    introspection.respond_with(&response);
    let log = Log::default();
    assert_eq!(log.capture(introspection.get("opaque")).await.status, 401);
    assert_line(&refusals(&log), "WARN", &["missing_claim", "no aud", "danger_accept_missing_audience", "issuer="]);
    let log = Log::default();
    assert_eq!(log.capture(introspection.get("another")).await.status, 401);
    assert_line(&refusals(&log), "DEBUG", &["missing_claim", "count=2"]);
}

#[test]
fn the_guide_names_every_reason_whose_first_refusal_is_a_warning() {
    let guide = include_str!("../../../src/guide/operations.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, warned) = guide.split_once("The first refusal for each of").unwrap();
    let (warned, _) = warned.split_once("is a warning").unwrap();
    for reason in [
        "wrong_issuer",
        "wrong_audience",
        "type_not_accepted",
        "algorithm_not_accepted",
        "missing_claim",
        "unsupported_scheme",
        "unsupported_token_type",
        "proof_target",
        "bad_certificate",
    ] {
        assert!(warned.contains(&format!("`{reason}`")), "{reason}: {warned}");
    }
}

/// Threat R4
#[tokio::test]
async fn no_finding_quotes_more_than_a_few_short_texts() {
    let shop = Shop::new("https://short-texts.test");
    let long = "a\"\u{202e}\n".repeat(2_000);
    let audiences: Vec<_> = (0..300).map(|number| format!("https://{number}.test")).collect();
    for token in [
        shop.token().claim("aud", audiences).sign(),
        shop.token().audience(&long).sign(),
        shop.token().claim("iss", long.clone()).sign(),
        shop.token().header("kid", long.clone()).sign(),
        shop.token().header("typ", long).sign(),
    ] {
        if HeaderValue::from_str(&token).is_ok() {
            let lines = shop.refuse(&token).await;
            assert!(lines.len() == 1 && lines[0].len() < 2_500, "{}: {lines:?}", lines[0].len());
            assert!(!lines[0].contains('\u{202e}'), "{lines:?}");
        }
    }
}

/// Threat R1
#[test]
fn the_guide_has_each_reason_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(root.join("src/error/reason.rs")).unwrap();
    let names = source.split_once("fn as_str").unwrap().1.split_once("fn description").unwrap().0;
    let names: BTreeSet<&str> =
        names.lines().filter_map(|line| line.split_once("=> \"")?.1.split_once('"')).map(|(name, _)| name).collect();
    assert!(names.len() > 30 && names.contains("wrong_issuer"), "{names:?}");
    let guide = fs::read_to_string(root.join("src/guide/refusals.md")).unwrap();
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let listed: Vec<&str> = rows.flat_map(|(cell, _)| cell.split('`')).filter(|text| text.len() > 3).collect();
    let unique: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(unique, names, "src/guide/refusals.md and src/error/reason.rs");
    assert_eq!(listed.len(), unique.len(), "a reason is listed twice");
}
