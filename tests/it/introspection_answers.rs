//! What the server said (RFC 7662 §2.2): which answers are none, and what is judged of those that are.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tower_oauth::{acts_for::ActsFor, error::AuthErrorKind, verify::IntrospectionVerifierBuilder};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    introspection::{IntrospectionFixture, NOW, client},
    introspection_signed::header,
    support::API,
};

const NEEDED: &str = "The access token lacks a required claim";
pub(crate) const EXPIRED: &str = "The access token expired";
const NOT_YET: &str = "The access token is not valid yet";
pub(crate) const ELSEWHERE: &str = "The access token is meant for another resource";
const INVALID: &str = "The access token is invalid";
pub(crate) const BOUND: &str = "The access token is bound to a key and cannot be used as a plain bearer token";

impl IntrospectionFixture {
    /// 401 `invalid_token` in exactly these words, to this answer.
    async fn is_refused(&self, answer: &Value, description: &str) {
        self.says(answer);
        let refusal = self.get("opaque").await;
        assert!(refusal.is_refusal(401, "invalid_token"), "{answer}: {refusal:?}");
        let worded = format!("error_description=\"{description}\"");
        assert!(refusal.challenges()[0].ends_with(&worded), "{answer}: {refusal:?}");
    }

    /// 503: this says nothing that could be believed.
    async fn is_nonsense(&self, answer: impl AsRef<[u8]>) {
        let answer = answer.as_ref();
        self.fake.introspection(Answer::Whole(200, String::new(), answer.to_vec()));
        self.is_unavailable("5", &String::from_utf8_lossy(answer)).await;
    }

    async fn is_good(&self, answer: &Value) {
        self.says(answer);
        assert_eq!(self.kind("opaque").await, None, "{answer}");
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[tokio::test]
async fn active_is_a_boolean_and_nothing_else() {
    let fixture = IntrospectionFixture::new().await;
    for active in
        [json!("true"), json!("false"), json!(1), json!(0), json!([true]), json!([false]), json!({}), json!("")]
    {
        fixture.is_nonsense(fixture.good_but("active", active).to_string()).await;
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
        fixture.is_nonsense(text).await;
    }
    fixture.is_good(&fixture.good()).await;
    fixture.says_text(&fixture.good().to_string().replace("\"active\"", "\"\\u0061ctive\""));
    assert_eq!(fixture.kind("opaque").await, None, "JSON has two ways to write a name");
}

#[tokio::test]
async fn a_member_that_stands_twice_spoils_the_answer() {
    let fixture = IntrospectionFixture::new().await;
    let good = fixture.good().to_string();
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
        fixture.is_nonsense(good.replacen('{', &format!("{{{twice},"), 1)).await;
        fixture.is_nonsense(good.replace('}', &format!(",{twice}}}"))).await;
    }
    fixture.is_nonsense(r#"{"active":false,"active":false}"#).await;
    fixture.is_nonsense(r#"{"active":false,"active":true}"#).await;
}

#[tokio::test]
async fn what_is_not_one_json_object_in_utf_8_is_no_answer() {
    let fixture = IntrospectionFixture::new().await;
    let (good, inactive) = (fixture.good().to_string(), r#"{"active":false}"#);
    for text in [&*good, inactive] {
        for bent in [
            format!("[{text}]"),
            format!("{text}{text}"),
            format!("{text}\n{text}"),
            format!("{text},"),
            format!("{text} x"),
            format!("{text}\0"),
            format!("\u{feff}{text}"),
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
            fixture.is_nonsense(bent).await;
        }
        fixture.is_nonsense(utf16(text)).await;
        fixture.is_nonsense([b"\xfe\xff", utf16(text).as_slice()].concat()).await;
        let invalid = text.replace('}', r#","x":"?"}"#).into_bytes();
        fixture
            .is_nonsense(invalid.iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect::<Vec<_>>())
            .await;
    }
    // The members of an answer in the order of somebody's struct are no answer either.
    for array in ["[true,null,null]", "[false,null,null]", "[false]", "[]", "[true,\"Bearer\",\"access\"]"] {
        fixture.is_nonsense(array).await;
    }
    for other in ["", " ", "null", "true", "false", "1", "\"active\"", "\"\"", "{", "NaN"] {
        fixture.is_nonsense(other).await;
    }
}

#[tokio::test]
async fn white_space_and_members_that_nobody_asks_for_do_not_matter() {
    let fixture = IntrospectionFixture::new().await;
    fixture.says_text(&format!("\r\n\t {}\n\n", fixture.good()));
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.is_good(&fixture.good_but("username", json!(["x", {"y": null}]))).await;
    fixture.is_good(&fixture.good_but("", json!(1))).await;
}

#[tokio::test]
async fn nesting_as_deep_as_it_may_be_costs_nobody_the_process() {
    let fixture = IntrospectionFixture::new().await;
    let nested = |depth: usize, (open, close): (&str, &str)| {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        fixture.good().to_string().replace('}', &format!(",\"deep\":{deep}}}"))
    };
    for depth in [200, 10_000, 100_000] {
        fixture.is_nonsense(nested(depth, ("[", "]"))).await;
        if depth < 50_000 {
            fixture.is_nonsense(nested(depth, (r#"{"x":"#, "}"))).await;
        }
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        fixture.says_text(&format!(r#"{{"active":false,"deep":{deep}}}"#));
        assert!(fixture.kind("opaque").await.is_some(), "refused or unavailable, and alive");
    }
    fixture.says_text(&nested(100, ("[", "]")));
    assert_eq!(fixture.kind("opaque").await, None);
}

#[tokio::test]
async fn an_answer_larger_than_half_a_mebibyte_is_none_and_a_smaller_one_is() {
    let fixture = IntrospectionFixture::new().await;
    let padded = |length: usize| {
        let good = fixture.good().to_string();
        good.clone() + &" ".repeat(length - good.len())
    };
    fixture.says_text(&padded(512 * 1024));
    assert_eq!(fixture.kind("opaque").await, None);
    fixture.is_nonsense(padded(512 * 1024 + 1)).await;
}

#[tokio::test]
async fn a_fact_of_a_wrong_type_is_nonsense_and_never_taken_for_absent() {
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
                fixture.is_nonsense(fixture.good_but(member, value.clone()).to_string()).await;
            }
            let good = fixture.good_but(member, Value::Null).to_string();
            for value in ["1e999", "-1e999", "01", "NaN", "Infinity", "1e"] {
                fixture.is_nonsense(good.replacen('{', &format!("{{\"{member}\":{value},"), 1)).await;
            }
        }
    }
    for member in ["iss", "sub", "client_id", "jti", "exp", "nbf", "iat", "aud", "scope"] {
        let absent = fixture.good_but(member, Value::Null).to_string();
        fixture.is_nonsense(absent.replacen('{', &format!("{{\"{member}\":null,"), 1)).await;
        fixture.says_text(&absent);
        assert_eq!(fixture.kind("opaque").await, None, "{member} may be absent");
    }
}

#[tokio::test]
async fn a_wrong_value_is_the_tokens_fault_and_told_by_the_right_words() {
    let fixture = IntrospectionFixture::new().await;
    let fake = &fixture.fake.identifier;
    for (member, value, words) in [
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
        ("iss", json!("https://stranger.test"), INVALID),
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
        fixture.is_refused(&fixture.good_but(member, value), words).await;
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
        fixture.is_good(&fixture.good_but(member, value)).await;
    }
}

#[tokio::test]
async fn dates_count_to_the_millisecond_and_the_leeway_is_30_seconds_unless_said() {
    for (fixture, leeway) in [
        (IntrospectionFixture::new().await, 30),
        (IntrospectionFixture::with(|verifier| verifier.leeway(Duration::ZERO)).await, 0),
        (IntrospectionFixture::with(|verifier| verifier.leeway(Duration::from_secs(300))).await, 300),
    ] {
        let mut answer = fixture.good();
        (answer["exp"], answer["nbf"], answer["iat"]) = (json!(NOW + 1000), json!(NOW + 500), json!(NOW + 500));
        fixture.says(&answer);
        let after = |millis: u64| fixture.clock.set(std::time::UNIX_EPOCH + Duration::from_millis(NOW * 1000 + millis));
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

#[tokio::test]
async fn a_token_for_another_of_our_names_is_ours() {
    let fixture = IntrospectionFixture::with(|verifier| verifier.audience("https://old.test")).await;
    fixture.is_good(&fixture.good_but("aud", json!("https://old.test"))).await;
    fixture.is_good(&fixture.good()).await;
    fixture.is_refused(&fixture.good_but("aud", json!("https://other.test")), ELSEWHERE).await;
}

#[tokio::test]
async fn a_missing_audience_is_accepted_where_that_was_said_and_a_foreign_one_nowhere() {
    let fixture = IntrospectionFixture::with(IntrospectionVerifierBuilder::danger_accept_missing_audience).await;
    fixture.is_good(&fixture.good_but("aud", Value::Null)).await;
    fixture.is_good(&json!({"active": true})).await;
    fixture.is_good(&fixture.good()).await;
    fixture.is_refused(&fixture.good_but("aud", json!("https://other.test")), ELSEWHERE).await;
    fixture.is_refused(&fixture.good_but("aud", json!("")), ELSEWHERE).await;
    fixture.is_refused(&fixture.good_but("aud", json!([])), NEEDED).await;
    fixture.is_refused(&fixture.good_but("exp", json!(1)), EXPIRED).await;
    // And without that word, not even from a server that says nothing else.
    IntrospectionFixture::new().await.is_refused(&json!({"active": true}), NEEDED).await;
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    let fixture = IntrospectionFixture::new().await;
    for cnf in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({}), json!("x"), json!([]), json!(false)] {
        fixture.is_refused(&fixture.good_but("cnf", cnf), BOUND).await;
    }
    fixture.says_text(&fixture.good().to_string().replacen('{', "{\"cnf\":null,", 1));
    assert_eq!(fixture.kind("opaque").await, Some(AuthErrorKind::InvalidToken));
    for kind in ["DPoP", "dpop", "DPOP"] {
        fixture.is_refused(&fixture.good_but("token_type", json!(kind)), BOUND).await;
    }
}

#[tokio::test]
async fn what_is_active_and_no_access_token_is_refused() {
    let fixture = IntrospectionFixture::new().await;
    for (member, refused, accepted) in [
        (
            "token_type",
            ["refresh_token", "N_A", "mac", "id_token", "", "Bearer "].as_slice(),
            ["Bearer", "bearer", "access_token"],
        ),
        (
            "token_use",
            &["refresh_token", "refresh", "id", "id_token", "", "access "],
            ["access", "access_token", "ACCESS"],
        ),
    ] {
        for kind in refused {
            fixture.is_refused(&fixture.good_but(member, json!(kind)), INVALID).await;
        }
        for kind in accepted {
            fixture.is_good(&fixture.good_but(member, json!(kind))).await;
        }
        fixture.is_good(&fixture.good_but(member, Value::Null)).await;
    }
}

#[tokio::test]
async fn scopes_client_and_roles_are_read_from_where_they_are_said_to_be() {
    let fixture = IntrospectionFixture::with(|verifier| {
        verifier.scope_claim("permissions").client_claim("azp").roles_claim(["realm_access", "roles"])
    })
    .await;
    let mut answer = fixture.good_but("scope", Value::Null);
    (answer["permissions"], answer["azp"]) = (json!(["orders:read", "x"]), json!("portal"));
    answer["realm_access"] = json!({"roles": ["buyer"]});
    answer["roles"] = json!(["admin"]);
    fixture.says(&answer);
    let token = fixture.authenticate("opaque").await.unwrap();
    assert!(token.allows("orders:read") && token.allows("x"));
    assert_eq!(token.client_id(), Some("test-client"), "client_id comes first where it is");
    assert_eq!(token.roles(), ["buyer"]);
    answer.as_object_mut().unwrap().remove("client_id");
    fixture.says(&answer);
    assert_eq!(fixture.authenticate("opaque").await.unwrap().client_id(), Some("portal"));
    // Nobody who was not told of them reads them.
    let fixture = IntrospectionFixture::new().await;
    fixture.says(&fixture.good_but("scope", Value::Null));
    let token = fixture.authenticate("opaque").await.unwrap();
    assert!(!token.allows("orders:read"));
    answer["iss"] = json!(fixture.fake.identifier);
    fixture.says(&answer);
    let token = fixture.authenticate("opaque").await.unwrap();
    assert!(!token.allows("orders:read") && token.client_id().is_none());
    assert_eq!(token.roles(), ["admin"]);
}

#[tokio::test]
async fn a_scope_is_a_string_or_a_list_and_one_that_no_scope_can_be_spoils_the_answer() {
    let fixture = IntrospectionFixture::new().await;
    for (scope, reads) in [
        (json!("orders:read"), true),
        (json!(["orders:read", "x"]), true),
        (json!([]), false),
        (json!(""), false),
        (json!("orders:read,x"), false),
        (json!("ORDERS:READ"), false),
    ] {
        fixture.says(&fixture.good_but("scope", scope.clone()));
        assert_eq!(fixture.authenticate("opaque").await.unwrap().allows("orders:read"), reads, "{scope}");
    }
    for scope in [json!(["orders:read x"]), json!([""]), json!(["a\nb"])] {
        fixture.is_nonsense(fixture.good_but("scope", scope).to_string()).await;
    }
}

#[tokio::test]
async fn who_a_token_without_sub_acts_for_is_unknown_unless_the_server_is_known_to_mean_the_client() {
    let careful = IntrospectionFixture::new().await;
    let trusting = IntrospectionFixture::with(IntrospectionVerifierBuilder::accept_missing_subject_as_client).await;
    for (subject, client, expected, trusted) in [
        (Some("ada"), Some("portal"), ActsFor::User, ActsFor::User),
        (Some("portal"), Some("portal"), ActsFor::Client, ActsFor::Client),
        (None, Some("portal"), ActsFor::Unknown, ActsFor::Client),
        (Some("ada"), None, ActsFor::Unknown, ActsFor::Unknown),
        (Some(""), Some("portal"), ActsFor::Unknown, ActsFor::Unknown),
        (None, None, ActsFor::Unknown, ActsFor::Client),
    ] {
        for (fixture, expected) in [(&careful, expected), (&trusting, trusted)] {
            let mut answer = fixture.good_but("sub", json!(subject));
            answer["client_id"] = json!(client);
            answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            fixture.says(&answer);
            assert_eq!(fixture.authenticate("opaque").await.unwrap().acts_for(), expected, "{subject:?} {client:?}");
        }
    }
}

#[tokio::test]
async fn a_handler_sees_the_answer_in_its_own_type() {
    #[derive(Deserialize)]
    struct Own {
        tenant: String,
        active: bool,
        username: Option<String>,
    }
    let fixture = IntrospectionFixture::new().await;
    fixture.says(&fixture.good_but("tenant", json!("acme")));
    let claims: Own = fixture.authenticate("opaque").await.unwrap().claims().unwrap();
    assert_eq!((&*claims.tenant, claims.active, claims.username), ("acme", true, None));
    fixture.says(&fixture.good());
    let error = fixture.authenticate("opaque").await.unwrap().claims::<Own>().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::InvalidToken);
}

// What known servers answer.

#[tokio::test]
async fn answers_of_known_servers_are_judged_as_their_shapes_deserve() {
    let bound = json!({"jkt": "PzucJ83rtyQavqr_9cZF3WiEY4Dyj8OIh81IcbEsa9c"});
    let opaque = "https://api.interop.test/opaque";
    let oidc_provider = |client: &str, scope: &str| {
        json!({
            "active": true, "client_id": client, "exp": NOW + 600, "iat": NOW, "aud": opaque, "scope": scope,
            "token_type": "Bearer",
        })
    };
    let fake = FakeIssuer::start().await;
    let fixture = IntrospectionFixture::of(fake, client(), |verifier| {
        verifier.audience(opaque).audience("https://api.interop.test/glw")
    });
    // oidc-provider 9.13: no sub for client credentials, no jti.
    fixture.says(&oidc_provider("cc-basic", "read write"));
    let token = fixture.authenticate("opaque").await.unwrap();
    assert!(token.allows("read") && token.allows("write") && !token.allows("admin"));
    assert_eq!((token.client_id(), token.subject(), token.jwt_id()), (Some("cc-basic"), None, None));
    assert_eq!(token.acts_for(), ActsFor::Unknown);
    let mut dpop = oidc_provider("cc-dpop", "read");
    (dpop["cnf"], dpop["token_type"]) = (bound, json!("DPoP"));
    fixture.is_refused(&dpop, BOUND).await;
    let mut mtls = oidc_provider("cc-mtls", "read");
    mtls["cnf"] = json!({"x5t#S256": "xBRpjTAIIhWaltjXFEROxXytjzD0hn56ocLbXYaIAkk"});
    fixture.is_refused(&mtls, BOUND).await;
    for (status, error) in [(400, "unsupported_token_type"), (401, "invalid_client"), (400, "invalid_request")] {
        fixture.fake.introspection(Answer::Whole(
            status,
            String::new(),
            json!({"error": error}).to_string().into_bytes(),
        ));
        fixture.is_unavailable("5", error).await;
    }
    // glewlwyd 2.7: token_type in lower case, no iss.
    fixture
        .is_good(&json!({
            "client_id": "glw-cc", "aud": "https://api.interop.test/glw", "iat": NOW, "nbf": NOW, "jti": "x",
            "token_type": "bearer", "active": true, "exp": NOW + 3600, "scope": "read write",
        }))
        .await;
    // Mock servers that say so of anything.
    fixture.is_refused(&json!({"active": true}), NEEDED).await;
}

/// All answers of the file that `PROVIDER_FIXTURES` names; see `presets`.
#[tokio::test]
async fn recorded_answers_of_providers_are_judged_as_recorded() {
    let Some(path) = std::env::var_os("PROVIDER_FIXTURES") else {
        eprintln!("PROVIDER_FIXTURES is not set: no recorded answer was judged");
        return;
    };
    let fixtures: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut judged = 0;
    for case in &fixtures {
        let (provider, answer) = (case["provider"].as_str().unwrap(), &case["claims"]);
        let recorded = case["expect"]["introspection_response"] == true;
        let signed = provider.contains("RFC 9701") || provider.contains("accept jwt");
        if !recorded && !signed {
            continue;
        }
        judged += 1;
        let inner = if signed { &answer["token_introspection"] } else { answer };
        let audience = inner["aud"].as_str().unwrap_or(API);
        let fixture = IntrospectionFixture::with(|verifier| {
            let verifier = verifier.audience(audience);
            if signed { verifier.signed_answers() } else { verifier }
        })
        .await;
        let issued = inner["iat"].as_u64().or_else(|| answer["iat"].as_u64()).unwrap_or(NOW);
        fixture.clock.set(std::time::UNIX_EPOCH + Duration::from_secs(issued + 1));
        // The issuer is this test's.
        let mut answer = answer.clone();
        let own = json!(fixture.fake.identifier);
        let rename = |object: &mut Value| {
            if object["iss"].is_string() {
                object["iss"] = own.clone();
            }
        };
        rename(&mut answer);
        rename(&mut answer["token_introspection"]);
        if !signed {
            answer.as_object_mut().unwrap().remove("token_introspection");
        }
        if signed {
            if answer["aud"] == "rs" {
                answer["aud"] = json!("orders-api");
            }
            fixture.signs(&header(&fixture.key()), &answer);
        } else {
            let status = case["notes"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
            fixture.fake.introspection(Answer::Whole(status, String::new(), answer.to_string().into_bytes()));
        }
        let flat = signed && provider.contains("glewlwyd");
        let expected = if flat || inner["error"].is_string() {
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
    assert!(judged >= 15, "{judged}");
}
