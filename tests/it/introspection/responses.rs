//! Introspection responses (RFC 7662 §2.2): which responses are invalid, and which members are checked.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tower_oauth::{
    Cached, IntrospectionVerifier, acts_for::ActsFor, error::AuthErrorKind, testing::ManualClock,
    verify::IntrospectionVerifierBuilder,
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    introspection::signed::header,
    introspection::{IntrospectionFixture, NOW, client},
    log::Log,
    support::{API, issuer, not_run_here},
};

const NEEDED: &str = "The access token lacks a required claim";
pub(crate) const EXPIRED: &str = "The access token expired";
const NOT_YET: &str = "The access token is not valid yet";
pub(crate) const ELSEWHERE: &str = "The access token is meant for another resource";
const INVALID: &str = "The access token is invalid";
pub(crate) const BOUND: &str = "The access token is bound to a key and cannot be used as a plain bearer token";

impl IntrospectionFixture {
    /// For this introspection response, the API responds with 401 `invalid_token` and exactly this description.
    async fn assert_refused(&self, response: &Value, description: &str) {
        self.respond_with(response);
        let refusal = self.get("opaque").await;
        assert!(refusal.is_refusal(401, "invalid_token"), "{response}: {refusal:?}");
        let parameter = format!("error_description=\"{description}\"");
        assert!(refusal.challenges()[0].ends_with(&parameter), "{response}: {refusal:?}");
    }

    /// For this introspection response, the API responds with 503, because the response is invalid.
    async fn assert_unusable(&self, response: impl AsRef<[u8]>) {
        let response = response.as_ref();
        self.fake.introspection(Answer::Whole(200, String::new(), response.to_vec()));
        self.assert_unavailable("5", &String::from_utf8_lossy(response)).await;
    }

    async fn assert_accepted(&self, response: &Value) {
        self.respond_with(response);
        assert_eq!(self.kind("opaque").await, None, "{response}");
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// RFC 7662 §2.2 a (REQUIRED, refuses)
/// Threat I1
#[tokio::test]
async fn active_must_be_a_boolean() {
    let fixture = IntrospectionFixture::new().await;
    for active in
        [json!("true"), json!("false"), json!(1), json!(0), json!([true]), json!([false]), json!({}), json!("")]
    {
        fixture.assert_unusable(fixture.active_with("active", active).to_string()).await;
    }
    for text in [
        r#"{"active":null}"#,
        r#"{"active":null,"aud":"https://api.test"}"#,
        "{}",
        r#"{"Active":true,"aud":"https://api.test"}"#,
        r#"{"ACTIVE":false}"#,
        r#"{"active ":false}"#,
        r#"{"result":{"active":false}}"#,
        r#"{"active":TRUE}"#,
        r#"{"active":True}"#,
    ] {
        fixture.assert_unusable(text).await;
    }
    fixture.assert_accepted(&fixture.active()).await;
    fixture.respond_with_text(&fixture.active().to_string().replace("\"active\"", "\"\\u0061ctive\""));
    assert_eq!(fixture.kind("opaque").await, None, "a JSON string may contain escapes");
}

/// RFC 7662 §2.2 a (REQUIRED, refuses)
#[tokio::test]
async fn a_response_with_a_duplicate_member_is_invalid() {
    let fixture = IntrospectionFixture::new().await;
    let good = fixture.active().to_string();
    for twice in [
        r#""active":true"#,
        r#""active":false"#,
        r#""\u0061ctive":true"#,
        r#""aud":"https://api.test""#,
        r#""exp":1800000300"#,
        r#""iss":"https://auth.test""#,
        r#""sub":"eve""#,
        r#""scope":"admin""#,
        r#""client_id":"eve""#,
        r#""token_type":"Bearer""#,
        r#""unknown":1,"unknown":1"#,
        r#""cnf":{},"cnf":{}"#,
    ] {
        fixture.assert_unusable(good.replacen('{', &format!("{{{twice},"), 1)).await;
        fixture.assert_unusable(good.replace('}', &format!(",{twice}}}"))).await;
    }
    fixture.assert_unusable(r#"{"active":false,"active":false}"#).await;
    fixture.assert_unusable(r#"{"active":false,"active":true}"#).await;
}

/// RFC 7662 §2.2 c (MUST, refuses)
/// Threat I4
#[tokio::test]
async fn a_response_must_be_one_json_object_in_utf_8() {
    let fixture = IntrospectionFixture::new().await;
    let (good, inactive) = (fixture.active().to_string(), r#"{"active":false}"#);
    for text in [&*good, inactive] {
        for invalid in [
            format!("[{text}]"),
            format!("{text}{text}"),
            format!("{text}\n{text}"),
            format!("{text},"),
            format!("{text} x"),
            format!("{text}\0"),
            format!("\u{feff}\u{feff}{text}"),
            format!("{text}\u{feff}"),
            format!("callback({text})"),
            format!(")]}}'\n{text}"),
            format!("// {text}"),
            format!("{text} // good"),
            text.replace('"', "'"),
            text.replace('}', ",}"),
            serde_json::to_string(text).unwrap(),
            text[..text.len() - 1].to_owned(),
            format!("<html>{text}</html>"),
            "active=true&aud=https%3A%2F%2Fapi.test".to_owned(),
        ] {
            fixture.assert_unusable(invalid).await;
        }
        fixture.assert_unusable(utf16(text)).await;
        fixture.assert_unusable([b"\xfe\xff", utf16(text).as_slice()].concat()).await;
        let invalid = text.replace('}', r#","x":"?"}"#).into_bytes();
        fixture
            .assert_unusable(invalid.iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect::<Vec<_>>())
            .await;
    }
    // A JSON array with the values of the members is no response either.
    for array in ["[true,null,null]", "[false,null,null]", "[false]", "[]", "[true,\"Bearer\",\"access\"]"] {
        fixture.assert_unusable(array).await;
    }
    for other in ["", " ", "null", "true", "false", "1", "\"active\"", "\"\"", "{", "NaN"] {
        fixture.assert_unusable(other).await;
    }
}

/// RFC 7662 §2.2 c (MUST, accepts)
#[tokio::test]
async fn white_space_and_unknown_members_are_ignored() {
    let fixture = IntrospectionFixture::new().await;
    fixture.respond_with_text(&format!("\r\n\t {}\n\n", fixture.active()));
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.assert_accepted(&fixture.active_with("username", json!(["x", {"y": null}]))).await;
    fixture.assert_accepted(&fixture.active_with("", json!(1))).await;
}

/// Threat I4
#[tokio::test]
async fn deeply_nested_json_does_not_crash_the_process() {
    let fixture = IntrospectionFixture::new().await;
    let nested = |depth: usize, (open, close): (&str, &str)| {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        fixture.active().to_string().replace('}', &format!(",\"deep\":{deep}}}"))
    };
    for depth in [200, 10_000, 100_000] {
        fixture.assert_unusable(nested(depth, ("[", "]"))).await;
        if depth < 50_000 {
            fixture.assert_unusable(nested(depth, (r#"{"x":"#, "}"))).await;
        }
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        fixture.respond_with_text(&format!(r#"{{"active":false,"deep":{deep}}}"#));
        assert!(fixture.kind("opaque").await.is_some(), "refused or unavailable, without a crash");
    }
    fixture.respond_with_text(&nested(100, ("[", "]")));
    assert_eq!(fixture.kind("opaque").await, None);
}

/// Threat I6
#[tokio::test]
async fn accepts_a_response_of_512_kib_and_no_larger_one() {
    let fixture = IntrospectionFixture::new().await;
    let padded = |length: usize| {
        let good = fixture.active().to_string();
        good.clone() + &" ".repeat(length - good.len())
    };
    fixture.respond_with_text(&padded(512 * 1024));
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.assert_unusable(padded(512 * 1024 + 1)).await;
}

fn unsupported(status: u16, body: &str) -> Answer {
    Answer::Whole(status, "content-type: application/json\r\n".to_owned(), body.as_bytes().to_vec())
}

/// RFC 7009 §2.2.1 (derived, accepts)
#[tokio::test]
async fn a_token_type_that_the_server_does_not_introspect_is_refused_with_401_and_is_no_failure() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::circuit_breaker).await;
    fixture.fake.introspection(unsupported(400, r#"{"error":"unsupported_token_type","error_description":"JWT"}"#));
    fixture.fake.introspection_of("good", Answer::Body(fixture.active().to_string()));
    let log = Log::default();
    let _guard = log.install();
    for number in 0..20 {
        let error = fixture.authenticate(&format!("opaque-{number}")).await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (AuthErrorKind::InvalidToken, "unsupported_token_type"));
        assert!(error.finding().unwrap().found().contains("opaque"), "{:?}", error.finding());
    }
    let error = fixture.authenticate(&issuer().token("ada").sign()).await.unwrap_err();
    let finding = error.finding().unwrap();
    assert!(finding.found().contains("JWT") && finding.change().contains("JwtVerifier"), "{finding}");
    for (token, is_jwt) in [
        ("a.b.c", false),
        ("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0.a.b.c.d", true),
        ("eyJhbGciOiJub25lIn0.e30.", true),
    ] {
        let error = fixture.authenticate(token).await.unwrap_err();
        let finding = error.finding().unwrap();
        assert_eq!(finding.found().starts_with("a JWT"), is_jwt, "{token}: {finding}");
        assert_eq!(finding.change().contains("JwtVerifier"), is_jwt, "{token}: {finding}");
    }
    assert_eq!(fixture.kind("good").await, None, "the breaker is closed");
    assert!(!log.text().contains("be introspected"), "neither an outage nor a wrong response: {}", log.text());
}

/// RFC 8259 §8.1 (MAY, refuses)
#[tokio::test]
async fn a_byte_order_mark_before_unsupported_token_type_is_ignored() {
    let fixture = IntrospectionFixture::new().await;
    fixture.fake.introspection(unsupported(400, "\u{feff}{\"error\":\"unsupported_token_type\"}"));
    assert_eq!(fixture.authenticate("opaque").await.unwrap_err().reason(), "unsupported_token_type");
}

#[tokio::test]
async fn the_finding_of_a_missing_audience_names_only_methods_of_this_verifier() {
    let fixture = IntrospectionFixture::new().await;
    fixture.respond_with(&fixture.active_with("aud", Value::Null));
    let error = fixture.authenticate("opaque").await.unwrap_err();
    let change = error.finding().unwrap().change();
    assert!(change.contains("danger_accept_missing_audience") && !change.contains("preset"), "{change}");
}

/// RFC 7009 §2.2.1 (derived, refuses)
#[tokio::test]
async fn only_400_with_exactly_unsupported_token_type_is_a_verdict() {
    let fixture = IntrospectionFixture::new().await;
    for (status, body) in [
        (400, r#"{"error":"invalid_request"}"#),
        (400, r#"{"error":"Unsupported_Token_Type"}"#),
        (400, r#"{"error":["unsupported_token_type"]}"#),
        (400, r#"{"error":"unsupported_token_type","error":"unsupported_token_type"}"#),
        (400, r#"["unsupported_token_type"]"#),
        (400, "unsupported_token_type"),
        (400, ""),
        (500, r#"{"error":"unsupported_token_type"}"#),
        (422, r#"{"error":"unsupported_token_type"}"#),
    ] {
        fixture.fake.introspection(unsupported(status, body));
        fixture.assert_unavailable("5", body).await;
    }
    fixture.fake.introspection(unsupported(200, r#"{"error":"unsupported_token_type"}"#));
    fixture.assert_unavailable("5", "200 is no error response").await;
}

/// RFC 7009 §2.2.1 (derived, accepts)
#[tokio::test]
async fn a_cache_stores_the_refusal_of_a_token_type_for_as_long_as_that_of_an_inactive_token() {
    for answer in
        [unsupported(400, r#"{"error":"unsupported_token_type"}"#), Answer::Body(json!({"active": false}).to_string())]
    {
        let fake = FakeIssuer::start().await;
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
        let issuer = fake.builder().clock(clock.clone()).build().unwrap();
        let verifier = IntrospectionVerifier::builder(issuer, client(), API).clock(clock.clone()).build().unwrap();
        let cached = Cached::builder(verifier, Duration::from_secs(60)).clock(clock.clone()).build();
        let fixture = IntrospectionFixture::with_verifier(fake, clock, cached);
        fixture.fake.introspection(answer);
        for _ in 0..3 {
            assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::InvalidToken));
        }
        assert_eq!(fixture.fake.introspection_count(), 1);
        fixture.clock.advance(Duration::from_secs(6));
        assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::InvalidToken));
        assert_eq!(fixture.fake.introspection_count(), 2);
    }
}

/// RFC 7662 §2.2 b (derived, accepts)
#[tokio::test]
async fn a_response_of_512_kib_may_have_any_number_of_members_and_no_duplicate() {
    let fixture = IntrospectionFixture::new().await;
    let good = fixture.active().to_string();
    let mut members = String::new();
    let mut count = 0;
    while members.len() + good.len() < 512 * 1024 - 64 {
        write!(members, "\"m{count}\":0,").unwrap();
        count += 1;
    }
    assert!(count > 40_000, "{count}");
    fixture.respond_with_text(&good.replacen('{', &format!("{{{members}"), 1));
    assert_eq!(fixture.kind("opaque").await, None);
    for duplicate in [0, 63, 64, 200, count - 1] {
        let log = Log::default();
        let _guard = log.install();
        fixture.assert_unusable(good.replacen('{', &format!("{{{members}\"m{duplicate}\":0,"), 1)).await;
        assert!(log.text().contains("a claim is a duplicate"), "{duplicate}: {}", log.text());
    }
}

/// RFC 7662 §2.2 b (derived, refuses)
#[tokio::test]
async fn an_unusable_response_names_the_member_that_is_wrong() {
    let fixture = IntrospectionFixture::new().await;
    for (member, value, reason) in [
        ("active", json!("true"), "active in the response is not a boolean"),
        ("active", Value::Null, "the response has no active"),
        ("token_type", json!(1), "token_type in the response is not a string"),
        ("token_use", json!([]), "token_use in the response is not a string"),
        ("sub", json!(471_147), "the claim sub is not a string"),
    ] {
        let log = Log::default();
        let _guard = log.install();
        fixture.assert_unusable(fixture.active_with(member, value).to_string()).await;
        assert!(log.text().contains(reason), "{reason}: {}", log.text());
        assert!(!log.text().contains("471147"), "{}", log.text());
    }
}

/// RFC 7662 §2.2 b (derived, accepts)
/// RFC 7662 §2.2 c (MUST, refuses)
/// Threat I3
#[tokio::test]
async fn a_member_of_a_wrong_type_makes_the_response_invalid() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::danger_accept_missing_audience).await;
    let text = [json!(1), json!(true), json!(["x"]), json!({"x": 1})];
    let date = [json!("1800000300"), json!(true), json!([1_800_000_300]), json!({}), json!("")];
    let list = [json!(1), json!(true), json!({"0": "x"}), json!([1]), json!([["https://api.test"]]), json!([null])];
    for (members, values) in [
        (["iss", "sub", "client_id", "jti"].as_slice(), text.as_slice()),
        (&["exp", "nbf", "iat"], &date),
        (&["aud", "scope"], &list),
        (&["token_type", "token_use"], &text),
    ] {
        for member in members {
            for value in values {
                fixture.assert_unusable(fixture.active_with(member, value.clone()).to_string()).await;
            }
            let good = fixture.active_with(member, Value::Null).to_string();
            for value in ["1e999", "-1e999", "01", "NaN", "Infinity", "1e"] {
                fixture.assert_unusable(good.replacen('{', &format!("{{\"{member}\":{value},"), 1)).await;
            }
        }
    }
    for member in ["iss", "sub", "client_id", "jti", "exp", "nbf", "iat", "aud", "scope"] {
        let absent = fixture.active_with(member, Value::Null).to_string();
        for response in [absent.replacen('{', &format!("{{\"{member}\":null,"), 1), absent] {
            fixture.respond_with_text(&response);
            assert_eq!(fixture.kind("opaque").await, None, "{member} may be absent or null: {response}");
        }
    }
}

/// RFC 7662 §4 a (derived, refuses)
/// RFC 7662 §4 b (derived, refuses)
/// Threats I2, I3
#[tokio::test]
async fn refuses_a_token_with_a_wrong_value_and_the_matching_description() {
    let fixture = IntrospectionFixture::new().await;
    let fake = &fixture.fake.identifier;
    for (member, value, description) in [
        ("exp", json!(NOW - 31), EXPIRED),
        ("exp", json!(0), EXPIRED),
        ("exp", json!(-1), EXPIRED),
        ("exp", json!(-1e300), EXPIRED),
        ("exp", json!(u64::MAX), INVALID),
        ("exp", json!(i64::MAX), INVALID),
        ("exp", json!(1e300), INVALID),
        ("nbf", json!(NOW + 31), NOT_YET),
        ("nbf", json!(u64::MAX), NOT_YET),
        ("iat", json!(NOW + 31), NOT_YET),
        ("iat", json!(-1), INVALID),
        ("iss", json!(format!("{fake}/")), INVALID),
        ("iss", json!(fake.to_uppercase()), INVALID),
        ("iss", json!("https://evil.test"), INVALID),
        ("iss", json!(""), INVALID),
        ("aud", json!("https://other.test"), ELSEWHERE),
        ("aud", json!("https://api.test/"), ELSEWHERE),
        ("aud", json!("https://api.tes"), ELSEWHERE),
        ("aud", json!("HTTPS://API.TEST"), ELSEWHERE),
        ("aud", json!("https://api.test https://other.test"), ELSEWHERE),
        ("aud", json!(["https://other.test", "x"]), ELSEWHERE),
        ("aud", json!(""), ELSEWHERE),
        ("aud", json!([]), NEEDED),
        ("aud", Value::Null, NEEDED),
    ] {
        fixture.assert_refused(&fixture.active_with(member, value), description).await;
    }
    for (member, value) in [
        ("aud", json!(["https://other.test", API])),
        ("aud", json!([API])),
        ("exp", Value::Null),
        ("exp", json!(253_402_300_799_u64)),
        ("nbf", json!(NOW)),
        ("nbf", json!(-1e300)),
        ("iat", Value::Null),
        ("iss", Value::Null),
    ] {
        fixture.assert_accepted(&fixture.active_with(member, value)).await;
    }
}

/// RFC 7662 §4 a (derived, accepts)
#[tokio::test]
async fn dates_count_to_the_millisecond_with_a_default_leeway_of_30_seconds() {
    for (fixture, leeway) in [
        (IntrospectionFixture::new().await, 30),
        (IntrospectionFixture::with(|verifier| verifier.leeway(Duration::ZERO)).await, 0),
        (IntrospectionFixture::with(|verifier| verifier.leeway(Duration::from_secs(300))).await, 300),
    ] {
        let mut response = fixture.active();
        (response["exp"], response["nbf"], response["iat"]) = (json!(NOW + 1000), json!(NOW + 500), json!(NOW + 500));
        fixture.respond_with(&response);
        let after = |millis: u64| fixture.clock.set(UNIX_EPOCH + Duration::from_millis(NOW * 1000 + millis));
        let (from, until) = ((500 - leeway) * 1000, (1000 + leeway) * 1000);
        for (millis, kind) in [
            (from - 1, Some(AuthErrorKind::InvalidToken)),
            (from, None),
            (until - 1, None),
            (until, Some(AuthErrorKind::InvalidToken)),
        ] {
            after(millis);
            assert_eq!(fixture.kind("opaque").await, kind, "{leeway} s leeway, after {millis} ms");
        }
    }
}

/// RFC 7662 §4 b (derived, accepts)
#[tokio::test]
async fn accepts_a_token_for_a_second_configured_audience() {
    let fixture = IntrospectionFixture::with(|verifier| verifier.audience("https://old.test")).await;
    fixture.assert_accepted(&fixture.active_with("aud", json!("https://old.test"))).await;
    fixture.assert_accepted(&fixture.active()).await;
    fixture.assert_refused(&fixture.active_with("aud", json!("https://other.test")), ELSEWHERE).await;
}

/// RFC 7662 §4 b (derived, accepts and refuses)
#[tokio::test]
async fn accepts_a_missing_audience_if_configured_and_never_a_wrong_one() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::danger_accept_missing_audience).await;
    fixture.assert_accepted(&fixture.active_with("aud", Value::Null)).await;
    fixture.assert_accepted(&json!({"active": true})).await;
    fixture.assert_accepted(&fixture.active()).await;
    fixture.assert_refused(&fixture.active_with("aud", json!("https://other.test")), ELSEWHERE).await;
    fixture.assert_refused(&fixture.active_with("aud", json!("")), ELSEWHERE).await;
    fixture.assert_accepted(&fixture.active_with("aud", json!([]))).await;
    fixture.assert_refused(&fixture.active_with("exp", json!(1)), EXPIRED).await;
    // Without that setting, a missing audience is refused, also if the response has no other member.
    IntrospectionFixture::new().await.assert_refused(&json!({"active": true}), NEEDED).await;
}

/// RFC 9449 §6.2 a (MUST, refuses)
#[tokio::test]
async fn refuses_a_sender_constrained_token() {
    let fixture = IntrospectionFixture::new().await;
    for cnf in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({}), json!("x"), json!([]), json!(false)] {
        fixture.assert_refused(&fixture.active_with("cnf", cnf), BOUND).await;
    }
    fixture.respond_with_text(&fixture.active().to_string().replacen('{', "{\"cnf\":null,", 1));
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::InvalidToken));
    for kind in ["DPoP", "dpop", "DPOP"] {
        fixture.assert_refused(&fixture.active_with("token_type", json!(kind)), BOUND).await;
        let error = fixture.authenticate("opaque").await.unwrap_err();
        assert!(error.finding().unwrap().found().contains(&format!("token_type {kind:?}")), "{:?}", error.finding());
    }
}

/// RFC 9449 §6.2 a (MUST, accepts)
#[tokio::test]
async fn refuses_an_active_token_that_is_no_access_token() {
    let fixture = IntrospectionFixture::new().await;
    for (member, refused, accepted) in [
        (
            "token_type",
            [
                "refresh_token",
                "N_A",
                "mac",
                "id_token",
                " ",
                "Bearer ",
                "urn:ietf:params:oauth:token-type:refresh_token",
                "urn:ietf:params:oauth:token-type:id_token",
            ]
            .as_slice(),
            [
                "Bearer",
                "bearer",
                "access_token",
                "JWT",
                "at+jwt",
                "AT+JWT",
                "",
                "urn:ietf:params:oauth:token-type:access_token",
                "urn:ietf:params:oauth:token-type:jwt",
                "URN:ietf:params:oauth:token-type:JWT",
            ]
            .as_slice(),
        ),
        (
            "token_use",
            &["refresh_token", "refresh", "id", "id_token", "", "access "],
            &["access", "access_token", "ACCESS"],
        ),
    ] {
        for kind in refused {
            fixture.assert_refused(&fixture.active_with(member, json!(kind)), INVALID).await;
            let error = fixture.authenticate("opaque").await.unwrap_err();
            let named = format!("{member} {kind:?} in the introspection response");
            assert_eq!(error.finding().unwrap().found(), named, "{member} {kind}");
        }
        for kind in accepted {
            fixture.assert_accepted(&fixture.active_with(member, json!(kind))).await;
        }
        fixture.assert_accepted(&fixture.active_with(member, Value::Null)).await;
    }
}

#[tokio::test]
async fn reads_scopes_client_and_roles_from_the_configured_claims() {
    let fixture = IntrospectionFixture::with(|verifier| {
        verifier.scope_claim("permissions").client_claim("azp").roles_claim(["realm_access", "roles"])
    })
    .await;
    let mut response = fixture.active_with("scope", Value::Null);
    (response["permissions"], response["azp"]) = (json!(["orders:read", "x"]), json!("portal"));
    response["realm_access"] = json!({"roles": ["buyer"]});
    response["roles"] = json!(["admin"]);
    fixture.respond_with(&response);
    let token = fixture.authenticate("opaque").await.unwrap();
    assert!(token.allows("orders:read") && token.allows("x"));
    assert_eq!(token.client_id(), Some("test-client"), "client_id takes precedence if it is present");
    assert_eq!(token.roles(), ["buyer"]);
    response.as_object_mut().unwrap().remove("client_id");
    fixture.respond_with(&response);
    assert_eq!(fixture.authenticate("opaque").await.unwrap().client_id(), Some("portal"));
    // A verifier without these settings doesn't read these claims.
    let fixture = IntrospectionFixture::new().await;
    fixture.respond_with(&fixture.active_with("scope", Value::Null));
    let token = fixture.authenticate("opaque").await.unwrap();
    assert!(!token.allows("orders:read"));
    response["iss"] = json!(fixture.fake.identifier);
    fixture.respond_with(&response);
    let token = fixture.authenticate("opaque").await.unwrap();
    assert!(!token.allows("orders:read") && token.client_id().is_none());
    assert_eq!(token.roles(), ["admin"]);
}

#[tokio::test]
async fn a_scope_is_a_string_or_a_list_of_valid_scope_tokens() {
    let fixture = IntrospectionFixture::new().await;
    for (scope, reads) in [
        (json!("orders:read"), true),
        (json!(["orders:read", "x"]), true),
        (json!([]), false),
        (json!(""), false),
        (json!("orders:read,x"), false),
        (json!("ORDERS:READ"), false),
    ] {
        fixture.respond_with(&fixture.active_with("scope", scope.clone()));
        assert_eq!(fixture.authenticate("opaque").await.unwrap().allows("orders:read"), reads, "{scope}");
    }
    for scope in [json!(["orders:read x"]), json!([""]), json!(["a\nb"])] {
        fixture.assert_unusable(fixture.active_with("scope", scope).to_string()).await;
    }
}

/// RFC 7662 §2.2 e (derived, accepts and refuses)
#[tokio::test]
async fn a_token_without_sub_acts_for_a_client_only_if_configured() {
    let by_default = IntrospectionFixture::new().await;
    let configured = IntrospectionFixture::with(IntrospectionVerifierBuilder::accept_missing_subject_as_client).await;
    for (subject, client, expected, with_setting) in [
        (Some("ada"), Some("portal"), ActsFor::User, ActsFor::User),
        (Some("portal"), Some("portal"), ActsFor::Client, ActsFor::Client),
        (None, Some("portal"), ActsFor::Unknown, ActsFor::Client),
        (Some("ada"), None, ActsFor::Unknown, ActsFor::Unknown),
        (Some(""), Some("portal"), ActsFor::Unknown, ActsFor::Unknown),
        (None, None, ActsFor::Unknown, ActsFor::Client),
    ] {
        for (fixture, expected) in [(&by_default, expected), (&configured, with_setting)] {
            let mut response = fixture.active_with("sub", json!(subject));
            response["client_id"] = json!(client);
            response.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            fixture.respond_with(&response);
            assert_eq!(fixture.authenticate("opaque").await.unwrap().acts_for(), expected, "{subject:?} {client:?}");
        }
    }
}

#[tokio::test]
async fn a_handler_can_deserialize_the_response_into_its_own_type() {
    #[derive(Deserialize)]
    struct Own {
        tenant: String,
        active: bool,
        username: Option<String>,
    }
    let fixture = IntrospectionFixture::new().await;
    fixture.respond_with(&fixture.active_with("tenant", json!("acme")));
    let claims: Own = fixture.authenticate("opaque").await.unwrap().claims().unwrap();
    assert_eq!((&*claims.tenant, claims.active, claims.username), ("acme", true, None));
    fixture.respond_with(&fixture.active());
    let error = fixture.authenticate("opaque").await.unwrap().claims::<Own>().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::InvalidToken);
}

// Responses of known servers.

/// RFC 7662 §2.2 c (MUST, accepts)
#[tokio::test]
async fn gives_the_expected_verdict_for_the_responses_of_known_servers() {
    let bound = json!({"jkt": "PzucJ83rtyQavqr_9cZF3WiEY4Dyj8OIh81IcbEsa9c"});
    let opaque = "https://api.interop.test/opaque";
    let oidc_provider = |client: &str, scope: &str| {
        json!({
            "active": true, "client_id": client, "exp": NOW + 600, "iat": NOW, "aud": opaque, "scope": scope,
            "token_type": "Bearer",
        })
    };
    let fake = FakeIssuer::start().await;
    let fixture = IntrospectionFixture::with_parts(fake, client(), |verifier| {
        verifier.audience(opaque).audience("https://api.interop.test/glw")
    });
    // oidc-provider 9.13: no sub for client credentials, no jti.
    fixture.respond_with(&oidc_provider("cc-basic", "read write"));
    let token = fixture.authenticate("opaque").await.unwrap();
    assert!(token.allows("read") && token.allows("write") && !token.allows("admin"));
    assert_eq!((token.client_id(), token.subject(), token.jwt_id()), (Some("cc-basic"), None, None));
    assert_eq!(token.acts_for(), ActsFor::Unknown);
    let mut dpop = oidc_provider("cc-dpop", "read");
    (dpop["cnf"], dpop["token_type"]) = (bound, json!("DPoP"));
    fixture.assert_refused(&dpop, BOUND).await;
    let mut mtls = oidc_provider("cc-mtls", "read");
    mtls["cnf"] = json!({"x5t#S256": "xBRpjTAIIhWaltjXFEROxXytjzD0hn56ocLbXYaIAkk"});
    fixture.assert_refused(&mtls, BOUND).await;
    fixture.fake.introspection(unsupported(400, r#"{"error":"unsupported_token_type"}"#));
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::InvalidToken));
    for (status, error) in [(401, "invalid_client"), (400, "invalid_request")] {
        fixture.fake.introspection(Answer::Whole(
            status,
            String::new(),
            json!({"error": error}).to_string().into_bytes(),
        ));
        fixture.assert_unavailable("5", error).await;
    }
    // glewlwyd 2.7: token_type in lower case, no iss.
    fixture
        .assert_accepted(&json!({
            "client_id": "glw-cc", "aud": "https://api.interop.test/glw", "iat": NOW, "nbf": NOW, "jti": "x",
            "token_type": "bearer", "active": true, "exp": NOW + 3600, "scope": "read write",
        }))
        .await;
    // Mock servers respond with this to any token.
    fixture.assert_refused(&json!({"active": true}), NEEDED).await;
}

/// All introspection responses of the file that `PROVIDER_FIXTURES` names; see `presets`.
///
/// RFC 7662 §2.2 c (MUST, accepts)
#[tokio::test]
async fn gives_the_expected_verdict_for_recorded_responses_of_providers() {
    let Some(path) = std::env::var_os("PROVIDER_FIXTURES") else {
        not_run_here(
            "introspection responses of providers",
            "the file of tokens that PROVIDER_FIXTURES names (see tests/README.md)",
        );
        return;
    };
    let fixtures: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut checked = 0;
    for case in &fixtures {
        let (provider, response) = (case["provider"].as_str().unwrap(), &case["claims"]);
        let recorded = case["expect"]["introspection_response"] == true;
        let signed = provider.contains("RFC 9701") || provider.contains("accept jwt");
        if !recorded && !signed {
            continue;
        }
        checked += 1;
        let inner = if signed { &response["token_introspection"] } else { response };
        let audience = inner["aud"].as_str().unwrap_or(API);
        let fixture = IntrospectionFixture::with(|verifier| {
            let verifier = verifier.audience(audience);
            if signed { verifier.signed_responses() } else { verifier }
        })
        .await;
        let issued = inner["iat"].as_u64().or_else(|| response["iat"].as_u64()).unwrap_or(NOW);
        fixture.clock.set(UNIX_EPOCH + Duration::from_secs(issued + 1));
        // The response must name this test's issuer.
        let mut response = response.clone();
        let own = json!(fixture.fake.identifier);
        let replace_iss = |object: &mut Value| {
            if object["iss"].is_string() {
                object["iss"] = own.clone();
            }
        };
        replace_iss(&mut response);
        replace_iss(&mut response["token_introspection"]);
        if !signed {
            response.as_object_mut().unwrap().remove("token_introspection");
        }
        if signed {
            if response["aud"] == "rs" {
                response["aud"] = json!("orders-api");
            }
            fixture.respond_signed(&header(&fixture.key()), &response);
        } else {
            let status = case["notes"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
            fixture.fake.introspection(Answer::Whole(status, String::new(), response.to_string().into_bytes()));
        }
        let flat = signed && provider.contains("glewlwyd");
        let expected = if inner["error"] == "unsupported_token_type" {
            Some(AuthErrorKind::InvalidToken)
        } else if flat || inner["error"].is_string() {
            Some(AuthErrorKind::Unavailable)
        } else if inner["active"] == true && inner["cnf"].is_null() {
            None
        } else {
            Some(AuthErrorKind::InvalidToken)
        };
        let verdict = fixture.authenticate("opaque").await;
        assert_eq!(verdict.as_ref().err().map(tower_oauth::AuthError::kind), expected, "{provider}");
        if let Ok(token) = verdict {
            assert_eq!(token.client_id(), inner["client_id"].as_str(), "{provider}");
            assert_eq!(token.scopes().to_string(), inner["scope"].as_str().unwrap(), "{provider}");
        }
    }
    assert!(checked >= 15, "{checked}");
}
