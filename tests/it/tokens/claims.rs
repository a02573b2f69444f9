//! Checks of the claims (RFC 7519 §4.1, RFC 9068 §4; threats C), and the verifier's settings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use http::Request;
use serde_json::{Value, json};
use tower_oauth::{
    AuthError, Issuer, JwtVerifier, ResourceServer, Token,
    acts_for::ActsFor,
    error::AuthErrorKind,
    keys::{Algorithm, HmacAlgorithm, SharedSecret},
    step_up::StepUp,
    testing::{ManualClock, MockIssuer, TokenBuilder},
    verify::{JwtVerifierBuilder, OptionalClaim},
};

use crate::support::{API, ISSUER, get_with_token, issuer, router};

const NOW: u64 = 1_800_000_000;

/// A server whose clock is stopped at [`NOW`], and the issuer that it trusts.
struct VerifierFixture {
    issuer: MockIssuer,
    clock: ManualClock,
    server: ResourceServer,
}

fn fixture() -> VerifierFixture {
    fixture_with(|verifier| verifier)
}

fn fixture_with(configure: impl FnOnce(JwtVerifierBuilder) -> JwtVerifierBuilder) -> VerifierFixture {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    let issuer = issuer().with_clock(clock.clone());
    let server = ResourceServer::new(configure(issuer.verifier_builder(API)).build().unwrap());
    VerifierFixture { issuer, clock, server }
}

impl VerifierFixture {
    fn token(&self) -> TokenBuilder {
        self.issuer.token("ada").scope("orders:read")
    }

    async fn authenticate(&self, token: &str) -> Result<Token, AuthError> {
        let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
        self.server.authenticate(&request.into_parts().0).await
    }

    /// Whether the server accepts the token. A refusal must be `invalid_token`.
    async fn accepts(&self, token: &TokenBuilder) -> bool {
        self.accepts_signed(&token.sign()).await
    }

    async fn accepts_signed(&self, token: &str) -> bool {
        match self.authenticate(token).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), AuthErrorKind::InvalidToken, "{error}");
                false
            }
        }
    }

    /// Signs a valid token whose claim `name` has exactly the text `json`. A `serde_json::Value` cannot hold every such
    /// text.
    fn sign_with_raw_claim(&self, name: &str, json: &str) -> String {
        let token = self.token().without_claim(name);
        let claims = token.claims_json().replacen('{', &format!("{{\"{name}\":{json},"), 1);
        token.sign_raw(token.header_json(), claims)
    }

    async fn refuses_all(&self, name: &str, values: impl IntoIterator<Item = Value>) {
        for value in values {
            assert!(!self.accepts(&self.token().claim(name, value.clone())).await, "{name} {value}");
        }
    }
}

// --- exp, nbf, iat ---

/// RFC 7519 §2 (MUST, refuses)
/// Threats C1, C2, C3
#[tokio::test]
async fn refuses_a_token_whose_exp_is_missing_past_or_not_a_number() {
    let fixture = fixture();
    assert!(fixture.accepts(&fixture.token()).await);
    assert!(!fixture.accepts(&fixture.token().without_claim("exp")).await);
    let wrong = [
        json!("9999999999"),
        json!("never"),
        Value::Null,
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!([NOW + 9]),
    ];
    fixture.refuses_all("exp", wrong).await;
    fixture
        .refuses_all("exp", [json!(0), json!(-1), json!(-0.0), json!(-1e308), json!(i64::MIN), json!(NOW - 400)])
        .await;
}

/// RFC 7519 §2 (MUST, refuses)
/// Threats C1, C8
#[tokio::test]
async fn refuses_nbf_and_iat_of_a_wrong_type() {
    let fixture = fixture();
    for name in ["nbf", "iat"] {
        let wrong = [json!("0"), json!(format!("{NOW}")), json!("9999999999"), json!(true), json!([]), json!({})];
        fixture.refuses_all(name, wrong).await;
        assert!(fixture.accepts(&fixture.token().claim(name, NOW)).await, "{name}");
    }
    assert!(fixture.accepts(&fixture.token().without_claim("nbf")).await);
}

/// RFC 7519 §4 b (MUST, accepts and refuses)
#[tokio::test]
async fn null_is_absent_where_a_claim_is_optional_and_refused_where_it_is_required() {
    let fixture = fixture();
    let token = ["scope", "nbf", "auth_time", "acr", "nonce"]
        .iter()
        .fold(fixture.token(), |token, name| token.claim(name, Value::Null));
    let token = fixture.authenticate(&token.sign()).await.unwrap();
    assert!(token.scopes().is_empty() && token.authenticated_at().is_none());
    assert!(token.authentication_context().is_none());
    for name in ["iss", "aud", "exp", "sub", "client_id", "iat", "jti"] {
        let error = fixture.authenticate(&fixture.token().claim(name, Value::Null).sign()).await.unwrap_err();
        assert_eq!(error.reason(), "missing_claim", "{name}");
    }
    let error = fixture.authenticate(&fixture.token().claim("cnf", Value::Null).sign()).await.unwrap_err();
    assert_eq!(error.reason(), "sender_constrained", "null in cnf is present");
}

/// RFC 7519 §4 b (MUST, accepts)
#[tokio::test]
async fn auth_time_and_acr_of_a_wrong_type_are_absent_and_a_step_up_rule_refuses_them() {
    let fixture = fixture();
    let recent = StepUp::builder().max_age(Duration::from_secs(3600)).clock(fixture.clock.clone()).build().unwrap();
    let strong = StepUp::builder().acr("gold").build().unwrap();
    let good = fixture.token().claim("auth_time", NOW).claim("acr", "gold");
    let token = fixture.authenticate(&good.sign()).await.unwrap();
    assert!(recent.check(&token).is_ok() && strong.check(&token).is_ok());
    let wrong =
        [json!("2020-03-14T18:52:01.180Z"), json!(NOW.to_string()), json!(true), json!([NOW]), json!({"a": [1]})];
    for value in wrong {
        let token = fixture.authenticate(&fixture.token().claim("auth_time", value.clone()).sign()).await.unwrap();
        let kind = recent.check(&token).unwrap_err().kind();
        assert_eq!(kind, AuthErrorKind::InsufficientUserAuthentication, "auth_time {value}");
    }
    for value in [json!(1), json!(1.5), json!(["gold"]), json!({"gold": true}), json!([["gold"], {}])] {
        let token = fixture.authenticate(&fixture.token().claim("acr", value.clone()).sign()).await.unwrap();
        let kind = strong.check(&token).unwrap_err().kind();
        assert_eq!(kind, AuthErrorKind::InsufficientUserAuthentication, "acr {value}");
    }
    for fraction in ["1800000000.5", "18e8"] {
        let token = fixture.authenticate(&fixture.sign_with_raw_claim("auth_time", fraction)).await.unwrap();
        assert!(token.authenticated_at().is_some(), "{fraction}");
    }
    for malformed in ["1e999", "[1e999]", "01", "{\"a\":}"] {
        let error = fixture.authenticate(&fixture.sign_with_raw_claim("auth_time", malformed)).await.unwrap_err();
        assert_eq!(error.reason(), "malformed_claims", "{malformed}");
    }
}

/// RFC 7519 §4 b (MUST, refuses)
#[tokio::test]
async fn an_error_in_the_claims_names_the_claim_and_no_value() {
    let fixture = fixture();
    for (name, value, found) in [
        ("sub", json!(471_147), "the claim sub is not a string"),
        ("exp", json!("471147"), "the claim exp is not a number"),
        ("aud", json!([471_147]), "the claim aud is not a string or an array of strings"),
        ("scope", json!(["471147 x"]), "the claim scope is not a string or an array of scope names"),
    ] {
        let error = fixture.authenticate(&fixture.token().claim(name, value).sign()).await.unwrap_err();
        assert_eq!(error.reason(), "malformed_claims");
        assert_eq!(error.finding().unwrap().found(), found);
    }
}

/// RFC 7519 §4 a (MUST, accepts and refuses)
#[tokio::test]
async fn accepts_a_token_with_any_number_of_claims_and_finds_a_duplicate_among_them() {
    let fixture = fixture();
    let many = (0..600).fold(fixture.token(), |token, number| token.claim(&format!("c{number}"), number));
    assert!(fixture.accepts(&many).await);
    for name in ["c0", "c63", "c64", "c127", "c128", "c599", "c\\u0035"] {
        let claims = many.claims_json().replacen('{', &format!("{{\"{name}\":0,"), 1);
        let error = fixture.authenticate(&many.sign_raw(many.header_json(), claims)).await.unwrap_err();
        assert!(error.finding().unwrap().found().starts_with("a claim is a duplicate"), "{name}: {error:?}");
    }
}

/// RFC 6749 §7 (MUST, refuses)
/// RFC 7519 §4.1.4 (MUST NOT, accepts and refuses)
/// RFC 9068 §4 e (MUST, accepts)
#[tokio::test]
async fn accepts_a_token_until_exactly_exp_plus_leeway() {
    for leeway in [0, 30, 300] {
        let fixture = fixture_with(|verifier| verifier.leeway(Duration::from_secs(leeway)));
        let token = fixture.token().claim("exp", NOW + 10).sign();
        let end = UNIX_EPOCH + Duration::from_secs(NOW + 10 + leeway);
        for (now, accepted) in [
            (end - Duration::from_secs(1), true),
            (end - Duration::from_millis(1), true),
            (end, false),
            (end + Duration::from_secs(1), false),
        ] {
            fixture.clock.set(now);
            assert_eq!(fixture.accepts_signed(&token).await, accepted, "leeway {leeway}, {now:?}");
        }
    }
}

/// RFC 7519 §4.1.5 (MUST NOT, accepts and refuses)
/// Threat C8
#[tokio::test]
async fn accepts_a_token_from_exactly_nbf_and_iat_minus_leeway() {
    for (name, leeway) in [("nbf", 0), ("nbf", 30), ("iat", 0), ("iat", 30)] {
        let fixture = fixture_with(|verifier| verifier.leeway(Duration::from_secs(leeway)));
        let token = fixture.token().claim(name, NOW + 100).sign();
        let start = UNIX_EPOCH + Duration::from_secs(NOW + 100 - leeway);
        for (now, accepted) in
            [(start - Duration::from_secs(1), false), (start - Duration::from_millis(1), false), (start, true)]
        {
            fixture.clock.set(now);
            assert_eq!(fixture.accepts_signed(&token).await, accepted, "{name}, leeway {leeway}, {now:?}");
        }
    }
}

/// RFC 7519 §4.1.4 (MUST NOT, refuses)
/// RFC 9068 §4 e (MUST, refuses)
/// Threat C7
#[tokio::test]
async fn the_default_leeway_is_30_seconds() {
    let fixture = fixture();
    for (exp, accepted) in [(NOW - 29, true), (NOW - 30, false), (NOW - 120, false), (NOW - 400, false)] {
        assert_eq!(fixture.accepts(&fixture.token().claim("exp", exp)).await, accepted, "exp {exp}");
    }
    for name in ["nbf", "iat"] {
        for (from, accepted) in [(NOW + 30, true), (NOW + 31, false), (NOW + 120, false)] {
            assert_eq!(fixture.accepts(&fixture.token().claim(name, from)).await, accepted, "{name} {from}");
        }
    }
}

/// RFC 7519 §2 (MUST, accepts)
/// Threat C6
#[tokio::test]
async fn accepts_dates_with_fractions_and_exponents() {
    let fixture = fixture();
    for exp in ["1800000100.5", "1800000100.0", "1.8000001e9", "1800000100.000000001", "18000001E2"] {
        let token = fixture.authenticate(&fixture.sign_with_raw_claim("exp", exp)).await.unwrap();
        assert!(token.expires_at().unwrap() >= UNIX_EPOCH + Duration::from_secs(NOW + 100), "{exp}");
    }
    for (name, value) in
        [("nbf", "1799999999.75"), ("iat", "1.799999999e9"), ("nbf", "0"), ("nbf", "-1.5"), ("iat", "0.25")]
    {
        assert!(fixture.accepts_signed(&fixture.sign_with_raw_claim(name, value)).await, "{name} {value}");
    }
    assert!(!fixture.accepts_signed(&fixture.sign_with_raw_claim("exp", "1799999960.5")).await);
    assert!(!fixture.accepts_signed(&fixture.sign_with_raw_claim("nbf", "1800000030.5")).await);
}

/// RFC 7519 §2 (MUST, refuses)
/// Threats E11, C4, C5
#[tokio::test]
async fn huge_and_tiny_numbers_never_panic() {
    let huge = [
        "18446744073709551615",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "-1e308",
        "99999999999999999999",
        "1e-308",
        "5e-324",
        "-0.0",
        "340282366920938463463374607431768211456",
        "253402300800",
    ];
    let digits = "9".repeat(4_000);
    for leeway in [0, 300] {
        let fixture = fixture_with(|verifier| verifier.leeway(Duration::from_secs(leeway)));
        for number in huge.into_iter().chain(["1e400", "-1e400", &digits, "NaN", "Infinity"]) {
            for name in ["exp", "nbf", "iat", "auth_time"] {
                let verdict = fixture.authenticate(&fixture.sign_with_raw_claim(name, number)).await;
                if let Ok(token) = verdict {
                    // These must not panic for an accepted token.
                    let _ = (token.expires_at(), token.issued_at(), token.authenticated_at());
                }
            }
        }
        for (name, number) in [
            ("nbf", "18446744073709551615"),
            ("nbf", "1e308"),
            ("iat", "1e308"),
            ("exp", "1e400"),
            ("exp", "1e308"),
            ("iat", "-1"),
        ] {
            assert!(!fixture.accepts_signed(&fixture.sign_with_raw_claim(name, number)).await, "{name} {number}");
        }
    }
}

/// RFC 7519 §2 (MUST, refuses)
#[tokio::test]
async fn an_unused_claim_may_be_any_number_in_the_range_of_a_double() {
    let fixture = fixture();
    let digits = "9".repeat(300);
    let good =
        ["0", "-0", "1.5", "-1.5e3", "1E+3", "1e-400", "1e308", "340282366920938463463374607431768211456", &digits];
    let too_long = "9".repeat(400);
    let bad = ["1e400", "-1e400", "1.5e999", &too_long, "01", "1.", ".5", "+1", "1e", "0x1", "NaN", "Infinity"];
    for (numbers, accepted) in [(&good[..], true), (&bad, false)] {
        for number in numbers {
            for value in [(*number).to_owned(), format!("[1, {number}]"), format!("{{\"a\": [{{\"b\": {number}}}]}}")] {
                let token = fixture.sign_with_raw_claim("unused", &value);
                assert_eq!(fixture.accepts_signed(&token).await, accepted, "{value}");
            }
        }
    }
}

/// RFC 7519 §2 (MUST, refuses)
#[tokio::test]
async fn dates_may_have_fractions_whatever_features_serde_json_has() {
    let fixture = fixture();
    for date in ["1.5", "1e0", "0.0", "-1.5"] {
        assert!(fixture.accepts_signed(&fixture.sign_with_raw_claim("nbf", date)).await, "{date}");
    }
    for date in ["\"1.5\"", "{\"$serde_json::private::Number\": \"1.5\"}", "[1.5]"] {
        assert!(!fixture.accepts_signed(&fixture.sign_with_raw_claim("nbf", date)).await, "{date}");
    }
}

/// Threat C4
#[tokio::test]
async fn refuses_an_exp_after_the_year_9999() {
    let fixture = fixture();
    assert!(fixture.accepts(&fixture.token().claim("exp", 253_402_300_799_u64)).await);
    fixture.refuses_all("exp", [json!(253_402_300_800_u64), json!(u64::MAX), json!(i64::MAX), json!(1e308)]).await;
}

/// Threat C4
#[tokio::test]
async fn a_clock_before_1970_does_not_panic() {
    let fixture = fixture();
    let token = fixture.token();
    fixture.clock.set(UNIX_EPOCH - Duration::from_secs(1_000));
    assert!(!fixture.accepts(&token).await, "issued in the future");
}

// --- aud and iss ---

/// RFC 7519 §4.1.3 (MUST, accepts and refuses)
/// RFC 8725 §3.9 (MUST, accepts and refuses)
/// RFC 9068 §4 c (MUST, accepts and refuses)
/// Threat C9
#[tokio::test]
async fn aud_must_contain_the_configured_audience_exactly() {
    let fixture = fixture();
    for good in [json!(API), json!([API]), json!(["https://x.test", API]), json!([API, API])] {
        assert!(fixture.accepts(&fixture.token().claim("aud", good.clone())).await, "{good}");
    }
    assert!(!fixture.accepts(&fixture.token().without_claim("aud")).await);
    let other_audiences = [
        "https://x.test",
        "https://api.tes",
        "https://api.test2",
        "ttps://api.test",
        "https://api.test/",
        "https://API.test",
        "https://api.test:443",
        "https://api.test\0",
        "https://api.test https://x.test",
        "https://api.test,https://x.test",
        "*",
        "",
        "http://api.test",
        " https://api.test",
        "https://api.test/orders",
    ];
    fixture.refuses_all("aud", other_audiences.map(Value::from)).await;
    fixture.refuses_all("aud", other_audiences.map(|aud| json!([aud]))).await;
    let wrong = [
        json!([]),
        json!([[API]]),
        json!([API, 1]),
        json!([API, null]),
        json!({API: true}),
        json!(5),
        Value::Null,
        json!(true),
    ];
    fixture.refuses_all("aud", wrong).await;
}

/// RFC 7519 §4.1.3 (MUST, accepts and refuses)
#[tokio::test]
async fn accepts_each_of_several_configured_audiences() {
    let fixture = fixture_with(|verifier| verifier.audience("urn:orders").audience("urn:invoices"));
    for ours in [json!(API), json!("urn:orders"), json!(["urn:x", "urn:invoices"])] {
        let token = fixture.authenticate(&fixture.token().claim("aud", ours.clone()).sign()).await.unwrap();
        let audiences: Vec<_> = token.audience().collect();
        assert_eq!(json!(audiences), if ours.is_array() { ours } else { json!([ours]) });
    }
    fixture.refuses_all("aud", [json!("urn:order"), json!("urn:"), json!(["urn:x"]), json!([])]).await;
}

/// RFC 7519 §4.1.1 a (MUST, accepts and refuses)
/// RFC 8725 §3.8 a (MUST, accepts)
/// RFC 9068 §4 b (MUST, accepts and refuses)
/// Threat C10
#[tokio::test]
async fn iss_must_be_the_issuers_identifier_exactly() {
    let fixture = fixture();
    assert_eq!(fixture.authenticate(&fixture.token().sign()).await.unwrap().issuer(), Some(ISSUER));
    assert!(!fixture.accepts(&fixture.token().without_claim("iss")).await);
    let others = [
        "https://auth.test/",
        "https://AUTH.test",
        "https://auth.tes",
        "https://auth.testx",
        "http://auth.test",
        "h",
        "",
        "https://localhost",
        "https://auth.test\0",
        " https://auth.test",
        "https://auth.test https://x.test",
    ];
    fixture.refuses_all("iss", others.map(Value::from)).await;
    fixture.refuses_all("iss", [json!([ISSUER]), json!([ISSUER, "x"]), json!(5), Value::Null, json!({})]).await;
}

/// RFC 8725 §3.8 a (MUST, refuses)
/// RFC 9068 §4 d (MUST, refuses)
/// RFC 9068 §5 b (derived, refuses)
/// Threat K10
#[tokio::test]
async fn refuses_a_token_that_another_issuer_signed_with_its_own_key() {
    let fixture = fixture();
    let untrusted = MockIssuer::new("https://untrusted.test").with_clock(fixture.clock.clone());
    for token in [untrusted.token("ada"), untrusted.token("ada").claim("iss", ISSUER)] {
        assert!(!fixture.accepts(&token).await);
        assert!(!fixture.accepts(&token.header("kid", fixture.issuer.key_id())).await);
    }
}

/// RFC 7519 §7.2 (MUST, accepts and refuses)
/// Threat C12
#[tokio::test]
async fn describes_a_forged_and_expired_token_as_invalid_not_expired() {
    let fixture = fixture();
    let untrusted = MockIssuer::new("https://untrusted.test");
    let expired = fixture.token().claim("exp", NOW - 400).audience("https://x.test");
    let forged = fixture.authenticate(&expired.sign_with(&untrusted)).await.unwrap_err();
    let genuine = fixture.authenticate(&fixture.token().claim("exp", NOW - 400).sign()).await.unwrap_err();
    assert_eq!(
        (forged.description(), genuine.description()),
        ("The access token is invalid", "The access token expired")
    );
    let unknown_key = fixture.token().header("kid", "unknown").sign_with(&untrusted);
    assert_eq!(
        fixture.authenticate(&unknown_key).await.unwrap_err().description(),
        forged.description(),
        "both must have the same description"
    );
}

// --- the claims that RFC 9068 §2.2 requires ---

/// RFC 9068 §2.2 a (REQUIRED, refuses)
#[tokio::test]
async fn sub_client_id_iat_and_jti_are_required_by_default() {
    for (name, claim) in [
        ("sub", OptionalClaim::Subject),
        ("client_id", OptionalClaim::ClientId),
        ("iat", OptionalClaim::IssuedAt),
        ("jti", OptionalClaim::JwtId),
    ] {
        let (strict, lenient) = (fixture(), fixture_with(|verifier| verifier.accept_without(claim)));
        assert!(!strict.accepts(&strict.token().without_claim(name)).await, "{name}");
        assert!(lenient.accepts(&lenient.token().without_claim(name)).await, "{name}");
        assert!(lenient.accepts(&lenient.token()).await, "{name}");
        for other in ["sub", "client_id", "iat", "jti"].into_iter().filter(|other| *other != name) {
            assert!(
                !lenient.accepts(&lenient.token().without_claim(other)).await,
                "without {name}, but also without {other}"
            );
        }
        let error = strict.authenticate(&strict.token().without_claim(name).sign()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the token lacks {name}"));
    }
}

/// RFC 8725 §3.9 (MUST, refuses)
/// RFC 9068 §2.2 a (REQUIRED, refuses)
#[tokio::test]
async fn no_relaxation_of_another_claim_makes_iss_aud_or_exp_optional() {
    let fixture = fixture_with(|verifier| {
        let all = [OptionalClaim::Subject, OptionalClaim::ClientId, OptionalClaim::IssuedAt, OptionalClaim::JwtId];
        all.into_iter().fold(verifier.accept_plain_jwt_type(), JwtVerifierBuilder::accept_without)
    });
    for name in ["iss", "aud", "exp"] {
        assert!(!fixture.accepts(&fixture.token().without_claim(name)).await, "{name}");
    }
    let fixture = fixture_with(JwtVerifierBuilder::danger_accept_missing_audience);
    for name in ["iss", "exp"] {
        assert!(!fixture.accepts(&fixture.token().without_claim(name)).await, "{name}");
    }
    assert!(fixture.accepts(&fixture.token().without_claim("aud")).await);
}

/// RFC 7519 §4.1.1 a (MUST, accepts and refuses)
/// RFC 8725 §3.7 (MUST, accepts)
/// Threats E9, C11
#[tokio::test]
async fn sub_client_id_and_jti_must_be_strings_and_not_empty() {
    let fixture = fixture();
    for name in ["sub", "client_id", "jti"] {
        fixture
            .refuses_all(name, [json!(5), Value::Null, json!(true), json!(["ada"]), json!({"id": "ada"}), json!("")])
            .await;
    }
    let unusual = "\"</script>\u{2028}\0 \\ \u{1f980} \u{e4}";
    let token = fixture.authenticate(&fixture.token().claim("sub", unusual).sign()).await.unwrap();
    assert_eq!(token.subject(), Some(unusual), "the verifier must not change the text");
}

/// Threat E10
#[tokio::test]
async fn javascript_property_names_are_ordinary_claims() {
    let fixture = fixture();
    let unusual = fixture.token().claim("__proto__", json!({"scope": "admin", "sub": "eve"})).claim("constructor", "x");
    let token = fixture.authenticate(&unusual.claim("toString", 1).sign()).await.unwrap();
    assert_eq!((token.subject(), token.allows("admin")), (Some("ada"), false));
}

/// RFC 7519 §4 a (MUST, accepts)
/// RFC 9068 §2.2 a (REQUIRED, accepts)
#[tokio::test]
async fn the_facts_equal_the_claims_of_the_token() {
    let fixture = fixture();
    let token = fixture.token().claim("acr", "urn:mfa").claim("auth_time", NOW - 5).claim("jti", "j1").sign();
    let token = fixture.authenticate(&token).await.unwrap();
    let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!((token.issuer(), token.subject(), token.client_id()), (Some(ISSUER), Some("ada"), Some("test-client")));
    assert_eq!((token.jwt_id(), token.authentication_context()), (Some("j1"), Some("urn:mfa")));
    assert_eq!(
        (token.issued_at(), token.expires_at(), token.authenticated_at()),
        (at(NOW), at(NOW + 300), at(NOW - 5))
    );
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["orders:read"]);
    assert_eq!(token.audience().collect::<Vec<_>>(), [API]);
}

#[tokio::test]
async fn a_token_acts_for_a_user_or_for_its_client() {
    let fixture = fixture_with(|verifier| {
        verifier.accept_without(OptionalClaim::Subject).accept_without(OptionalClaim::ClientId)
    });
    let rows = [
        (fixture.token(), ActsFor::User),
        (fixture.issuer.client_token("batch"), ActsFor::Client),
        (fixture.token().without_claim("sub"), ActsFor::Client),
        (fixture.token().without_claim("client_id"), ActsFor::Unknown),
        (fixture.token().without_claim("sub").without_claim("client_id"), ActsFor::Client),
        (fixture.token().claim("sub", "BATCH").client_id("batch"), ActsFor::User),
    ];
    for (token, acts_for) in rows {
        assert_eq!(fixture.authenticate(&token.sign()).await.unwrap().acts_for(), acts_for, "{}", token.claims_json());
    }
}

// --- cnf, typ ---

/// RFC 9449 §7.2 (MUST, refuses)
/// Threat C15
#[tokio::test]
async fn refuses_a_sender_constrained_token_as_bearer_token() {
    let fixture = fixture();
    let bound = [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({"jwk": {}}), json!({}), json!("x"), Value::Null];
    fixture.refuses_all("cnf", bound).await;
    assert!(fixture.accepts(&fixture.token().claim("cnfx", json!({"jkt": "x"}))).await);
}

/// RFC 8725 §3.11 (MUST, accepts and refuses)
/// RFC 9068 §4 a (MUST, accepts and refuses)
/// Threat C13
#[tokio::test]
async fn typ_must_be_at_jwt_in_any_case() {
    let fixture = fixture();
    for typ in ["at+jwt", "AT+JWT", "at+JWT", "application/at+jwt", "Application/AT+JWT"] {
        assert!(fixture.accepts(&fixture.token().header("typ", typ)).await, "{typ}");
    }
    let others = [
        "JWT",
        "jwt",
        "",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
        "oauth-client-attestation+jwt",
        "txn_token+jwt",
        "application/jwt",
        "at+jwt ",
        " at+jwt",
        "at+jwt;a=b",
        "application/application/at+jwt",
        "at",
        "a\u{fe0f}t+jwt",
    ];
    for typ in others {
        assert!(!fixture.accepts(&fixture.token().header("typ", typ)).await, "{typ}");
    }
    assert!(!fixture.accepts(&fixture.token().without_header("typ")).await);
}

/// RFC 8725 §3.11 (MUST, refuses)
#[tokio::test]
async fn accepts_typ_jwt_only_with_accept_plain_jwt_type() {
    let fixture = fixture_with(JwtVerifierBuilder::accept_plain_jwt_type);
    assert!(fixture.accepts(&fixture.token()).await);
    for typ in ["JWT", "jwt", "at+jwt", "application/jwt", "Application/JWT"] {
        assert!(fixture.accepts(&fixture.token().header("typ", typ)).await, "{typ}");
    }
    assert!(fixture.accepts(&fixture.token().without_header("typ")).await);
    for typ in ["logout+jwt", "dpop+jwt", "application/application/jwt", "application/", "", "secevent+jwt"] {
        assert!(!fixture.accepts(&fixture.token().header("typ", typ)).await, "{typ}");
    }
    assert!(!fixture.accepts(&fixture.token().header("typ", Value::Null)).await, "null is not absent");
}

/// RFC 8725 §3.11 (MUST, refuses)
/// Threat C14
#[tokio::test]
async fn refuses_an_id_token_even_with_our_audience() {
    let fixture = fixture();
    let id_token = fixture
        .token()
        .header("typ", "JWT")
        .claim("aud", json!(["client", API]))
        .claim("nonce", "n")
        .claim("azp", "client");
    assert!(!fixture.accepts(&id_token).await);
    let lenient = fixture_with(JwtVerifierBuilder::accept_plain_jwt_type);
    assert!(!lenient.accepts(&id_token).await, "with accept_plain_jwt_type, its nonce still refuses an ID token");
    assert!(
        !lenient.accepts(&id_token.without_claim("nonce").audience("client")).await,
        "with accept_plain_jwt_type, the audience still refuses an ID token"
    );
}

// --- scopes and clients from other claims ---

#[tokio::test]
async fn reads_scopes_from_a_string_and_from_an_array() {
    let fixture = fixture();
    for scope in [json!("a b"), json!(["a", "b"])] {
        let token = fixture.authenticate(&fixture.token().claim("scope", scope).sign()).await.unwrap();
        assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(token.allows("a") && token.allows("b") && !token.allows("a b") && !token.allows(""));
    }
    let none = fixture.authenticate(&fixture.token().without_claim("scope").sign()).await.unwrap();
    assert!(none.scopes().is_empty());
}

/// RFC 9068 §2.2.3.1 a (MAY, accepts)
#[tokio::test]
async fn reads_scopes_from_the_first_configured_claim_that_is_present() {
    let fixture = fixture_with(|verifier| verifier.scope_claim("scp").scope_claim("roles"));
    let scopes = async |members: &[(&str, Value)]| {
        let token = members
            .iter()
            .fold(fixture.token().without_claim("scope"), |token, (name, value)| token.claim(name, value.clone()));
        let token = fixture.authenticate(&token.sign()).await.unwrap();
        token.scopes().to_string()
    };
    assert_eq!(scopes(&[("scp", json!("a b"))]).await, "a b");
    assert_eq!(scopes(&[("roles", json!(["a", "b"]))]).await, "a b");
    assert_eq!(scopes(&[("roles", json!("r")), ("scp", json!("s"))]).await, "s");
    assert_eq!(scopes(&[("roles", json!("r")), ("scp", json!("s")), ("scope", json!("o"))]).await, "o");
    assert_eq!(scopes(&[("roles", json!("r")), ("scope", json!(""))]).await, "", "an empty scope claim is present");
    assert_eq!(scopes(&[("permissions", json!("p"))]).await, "");
    // The order of the claims in the token does not matter.
    for (first, second) in [("scp", "roles"), ("roles", "scp")] {
        let token = fixture.token().without_claim("scope");
        let claims =
            token.claims_json().replacen('{', &format!("{{\"{first}\":\"{first}\",\"{second}\":\"{second}\","), 1);
        let token = fixture.authenticate(&token.sign_raw(token.header_json(), claims)).await.unwrap();
        assert_eq!(token.scopes().to_string(), "scp");
    }
    for wrong in [json!(1), json!(["a b"]), json!({}), json!([["a"]])] {
        let token = fixture.token().claim("scp", wrong.clone());
        assert!(!fixture.accepts(&token.clone().without_claim("scope")).await, "{wrong}");
        let token = fixture.authenticate(&token.sign()).await.unwrap();
        assert_eq!(token.scopes().to_string(), "orders:read", "a claim that is not used may have any type");
    }
    assert_eq!(scopes(&[("scp", Value::Null), ("roles", json!("r"))]).await, "r", "null is absent");
    assert_eq!(scopes(&[("scp", json!("s")), ("roles", json!({"x": 1}))]).await, "s");
}

#[tokio::test]
async fn reads_the_client_from_the_first_configured_claim_that_is_present() {
    let (strict, fixture) = (fixture(), fixture_with(|verifier| verifier.client_claim("azp").client_claim("cid")));
    let other = |fixture: &VerifierFixture| fixture.token().without_claim("client_id").claim("azp", "z");
    assert!(!strict.accepts(&other(&strict)).await);
    let client =
        async |token: TokenBuilder| fixture.authenticate(&token.sign()).await.unwrap().client_id().map(str::to_owned);
    assert_eq!(client(other(&fixture)).await.as_deref(), Some("z"));
    assert_eq!(client(fixture.token().without_claim("client_id").claim("cid", "c")).await.as_deref(), Some("c"));
    assert_eq!(client(other(&fixture).claim("cid", "c")).await.as_deref(), Some("z"));
    assert_eq!(client(other(&fixture).client_id("own")).await.as_deref(), Some("own"));
    let own = fixture.authenticate(&other(&fixture).claim("sub", "z").sign()).await.unwrap();
    assert_eq!(own.acts_for(), ActsFor::Client, "acts_for must compare sub with the client in azp");
    for wrong in [json!(1), json!(["z"]), json!({})] {
        let token = fixture.token().claim("azp", wrong.clone());
        assert!(!fixture.accepts(&token.clone().without_claim("client_id")).await, "{wrong}");
        assert!(!fixture.accepts(&token.clone().without_claim("client_id").claim("cid", "c")).await, "{wrong}");
        assert_eq!(client(token.client_id("own")).await.as_deref(), Some("own"), "{wrong}");
    }
    let null = fixture.token().without_claim("client_id").claim("azp", Value::Null);
    assert!(!fixture.accepts(&null).await);
    assert_eq!(client(null.claim("cid", "c")).await.as_deref(), Some("c"));
    assert!(!fixture.accepts(&fixture.token().without_claim("client_id").claim("clientId", "c")).await);
}

// --- a shared secret ---

/// RFC 7518 §3.2 (MUST, accepts)
/// RFC 7519 §8 (derived, accepts)
#[tokio::test]
async fn accepts_hmac_only_through_the_shared_secret_constructor() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    let issuer = issuer().with_clock(clock.clone());
    for (algorithm, length) in [(HmacAlgorithm::HS256, 32), (HmacAlgorithm::HS384, 48), (HmacAlgorithm::HS512, 64)] {
        assert!(SharedSecret::new(algorithm, vec![7; length - 1]).is_err(), "{algorithm:?}: shorter than the hash");
        let secret = vec![7; length];
        let shared = SharedSecret::new(algorithm, secret.clone()).unwrap();
        let verifier = JwtVerifier::builder_from_secret(ISSUER, shared, API).clock(clock.clone()).build().unwrap();
        let fixture =
            VerifierFixture { issuer: issuer.clone(), clock: clock.clone(), server: ResourceServer::new(verifier) };
        let token = fixture.token();
        assert!(fixture.accepts_signed(&token.sign_hmac(algorithm, &secret)).await);
        assert!(fixture.accepts_signed(&token.clone().without_header("kid").sign_hmac(algorithm, &secret)).await);
        assert!(!fixture.accepts_signed(&token.sign_hmac(algorithm, &[8; 64])).await, "another secret");
        for other in [HmacAlgorithm::HS256, HmacAlgorithm::HS384, HmacAlgorithm::HS512] {
            let accepted = fixture.accepts_signed(&token.sign_hmac(other, &secret)).await;
            assert_eq!(accepted, other == algorithm, "{other:?} with a secret for {algorithm:?}");
        }
        assert!(!fixture.accepts(&token).await, "an asymmetric signature");
        assert!(
            !fixture.accepts_signed(&token.without_claim("exp").sign_hmac(algorithm, &secret)).await,
            "the claims are checked too"
        );
        let asymmetric = self::fixture();
        assert!(!asymmetric.accepts_signed(&asymmetric.token().sign_hmac(algorithm, &secret)).await);
    }
    let secret = || SharedSecret::new(HmacAlgorithm::HS256, [7; 32]).unwrap();
    assert!(JwtVerifier::builder_from_secret(" ", secret(), API).build().is_err());
    let builder = JwtVerifier::builder_from_secret(ISSUER, secret(), API);
    assert!(builder.audience("").build().is_err());
}

// --- start-up ---

/// RFC 9068 §4 e (MUST, refuses)
/// Threats C7, J21
#[test]
fn build_of_a_verifier_reports_all_mistakes_with_their_settings() {
    let error = issuer()
        .verifier_builder(" ")
        .audience("")
        .leeway(Duration::from_secs(301))
        .scope_claim("")
        .client_claim("")
        .algorithms([Algorithm::RS256])
        .build()
        .unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["audience", "audience", "leeway", "scope_claim", "client_claim", "algorithms"]);
    for (line, setting) in error.to_string().lines().zip(settings) {
        assert!(line.starts_with(&format!("{setting}: ")) && line.contains("; "), "{line}");
    }
    let builder = || issuer().verifier_builder(API);
    assert!(builder().leeway(Duration::from_secs(300)).build().is_ok());
    assert!(builder().leeway(Duration::from_millis(300_001)).build().is_err());
    assert!(builder().algorithms([]).build().is_err());
    assert!(builder().algorithms([Algorithm::RS256, Algorithm::ES256]).build().is_ok());
    assert!(JwtVerifier::new(issuer().issuer(), "").is_err());
    for member in ["sub", "aud", "cnf"] {
        let error = builder().scope_claim(member).client_claim(member).build().unwrap_err();
        assert_eq!(error.mistakes().len(), 2, "{error}");
    }
}

/// Threat J21
#[test]
fn an_issuer_must_use_https_except_on_the_loopback_address() {
    let good = [
        "https://auth.test",
        "https://auth.test/tenant/",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://[::1]:9",
    ];
    for identifier in good {
        let issuer = Issuer::builder(identifier).build().unwrap();
        assert_eq!(issuer.identifier(), identifier, "must be unchanged");
    }
    let bad = [
        "",
        "auth.test",
        "http://auth.test",
        "http://localhost.auth.test",
        "http://127.0.0.1.auth.test",
        "ftp://auth.test",
        "https://",
        "https://auth.test?a=b",
        "https://auth.test#a",
        "https://u:p@auth.test",
        "/tenant",
        "urn:x",
        "http://localhost@auth.test",
    ];
    for identifier in bad {
        let error = Issuer::builder(identifier).build().unwrap_err();
        assert_eq!(error.mistakes()[0].setting(), "issuer", "{identifier}");
    }
}

/// RFC 8725 §3.1 a (MUST, accepts and refuses)
#[tokio::test]
async fn accepts_only_algorithms_of_the_allow_list() {
    let (ours, other) = (
        MockIssuer::new(ISSUER).with_algorithm(Algorithm::ES256),
        MockIssuer::new(ISSUER).with_algorithm(Algorithm::EdDSA),
    );
    let keys = ours.key_set().with_keys(other.key_set());
    let issuer = Issuer::from_keys(ISSUER, keys).unwrap();
    let app = |verifier: JwtVerifierBuilder| -> Router {
        router().layer(tower_oauth::OAuthLayer::new(verifier.build().unwrap()))
    };
    let both = app(JwtVerifier::builder(issuer.clone(), API));
    let one = app(JwtVerifier::builder(issuer, API).algorithms([Algorithm::ES256]));
    for (issuer, status) in [(&ours, 200), (&other, 401)] {
        let token = issuer.token("ada").sign();
        assert_eq!(get_with_token(&both, "/me", &token).await.status, 200);
        assert_eq!(get_with_token(&one, "/me", &token).await.status, status, "{}", issuer.algorithm());
    }
}

#[tokio::test]
async fn the_default_clock_is_the_system_clock() {
    let verifier = JwtVerifier::new(issuer().issuer(), API).unwrap();
    let app = router().layer(tower_oauth::OAuthLayer::new(verifier));
    assert_eq!(get_with_token(&app, "/me", &issuer().token("ada").sign()).await.status, 200);
    let old = ManualClock::new(SystemTime::now() - Duration::from_secs(3_600));
    assert_eq!(get_with_token(&app, "/me", &issuer().with_clock(old).token("ada").sign()).await.status, 401);
}
