//! Attacks on presets, relaxations, explanations and logs. Each test says what must hold.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use serde_json::{Value, json};
use tower_oauth::{
    AuthError, Issuer, JwtOrOpaque, JwtVerifier, Preset, ResourceServer, Token,
    acts_for::{ActingRule, ActsFor},
    keys::{Algorithm, KeySet},
    testing::{ManualClock, MockIssuer},
    verify::{Check, Explanation, JwtVerifierBuilder, OptionalClaim, Verify},
};

use crate::{introspection::IntrospectionFixture, support::API};

const NOW: u64 = 1_800_000_000;
const OP: &str = "https://op.test";

fn signer() -> MockIssuer {
    MockIssuer::new("https://shapes.test").with_algorithm(Algorithm::ES256)
}

fn builder(audience: &str) -> JwtVerifierBuilder {
    let mut jwk = signer().jwk();
    jwk["kid"] = "k1".into();
    let keys = KeySet::from_json(json!({ "keys": [jwk] }).to_string()).unwrap();
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW + 1));
    JwtVerifier::builder(Issuer::from_keys(OP, keys).unwrap(), audience).clock(clock)
}

fn signed(header: &Value, claims: &str) -> String {
    signer().token("unused").sign_raw(header.to_string(), claims)
}

fn header(typ: &str) -> Value {
    json!({"alg": "ES256", "kid": "k1", "typ": typ})
}

fn claims(changes: &Value) -> String {
    let mut claims = json!({"iss": OP, "iat": NOW, "exp": NOW + 3600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.to_string()
}

async fn verify(verifier: impl Verify, token: &str) -> Result<Token, AuthError> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    ResourceServer::new(verifier).authenticate(&request.into_parts().0).await
}

fn relaxed(verifier: JwtVerifierBuilder) -> JwtVerifierBuilder {
    verifier.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).accept_without(OptionalClaim::ClientId)
}

/// A user chooses what is in `user_metadata`.
#[tokio::test]
async fn a_users_nested_claim_does_not_turn_the_user_into_a_client() {
    let verifier = relaxed(builder(API)).acting_rule(ActingRule::users_with_claim("email")).build().unwrap();
    for metadata in [json!({}), json!({"$serde_json::private::RawValue": "{"})] {
        let text = claims(&json!({"sub": "ada", "aud": API, "email": "ada@x.test", "user_metadata": metadata}));
        let token = verify(verifier.clone(), &signed(&header("JWT"), &text)).await.unwrap();
        assert_eq!(token.acts_for(), ActsFor::User, "{metadata}");
    }
    let verifier = relaxed(builder(API)).acting_rule(ActingRule::clients_with_value("gty", "cc")).build().unwrap();
    for metadata in [json!({}), json!({"$serde_json::private::RawValue": "{"})] {
        let text = claims(&json!({"sub": "ada", "aud": API, "gty": "cc", "client_metadata": metadata}));
        let token = verify(verifier.clone(), &signed(&header("JWT"), &text)).await.unwrap();
        assert_ne!(token.acts_for(), ActsFor::User, "{metadata}");
    }
}

/// The preset's documentation says that OAuth applications' ids are audiences. A code flow with PKCE needs no nonce.
#[tokio::test]
async fn clerk_refuses_the_id_token_of_an_oauth_application_without_nonce() {
    let id_token = claims(&json!({"sub": "user_1", "aud": "client_1", "email": "a@b.test", "auth_time": NOW}));
    let mut accepted = Vec::new();
    for preset in [Preset::Clerk, Preset::WorkOs] {
        let verifier = builder("https://app.test").audience("client_1").preset(preset).build().unwrap();
        if let Ok(token) = verify(verifier, &signed(&header("JWT"), &id_token)).await {
            accepted.push((preset.as_str(), token.acts_for()));
        }
    }
    assert!(accepted.is_empty(), "{accepted:?}");
}

/// Where a missing claim is what keeps ID tokens out, the cure that gives this up says so.
#[tokio::test]
async fn a_cure_that_lets_id_tokens_in_states_that_cost() {
    let id_token = claims(&json!({"sub": "ada", "aud": ["web", "project"], "azp": "web", "client_id": "web"}));
    let okta = claims(&json!({"sub": "ada", "aud": "web", "jti": "ID.1", "uid": "1"}));
    let mut silent = Vec::new();
    for (preset, audience, text, claim) in [
        (Preset::Zitadel, "project", &id_token, OptionalClaim::JwtId),
        (Preset::Okta, "web", &okta, OptionalClaim::ClientId),
    ] {
        let token = signed(&header("JWT"), text);
        let verifier = builder(audience).preset(preset).build().unwrap();
        let explanation = verifier.explain(&token).await;
        let cures: Vec<_> = explanation.failed().flat_map(|check| check.cures().to_vec()).collect();
        let without = cures.iter().find(|cure| cure.method() == Some("accept_without"));
        let Some(cure) = without else { continue };
        let relaxed = builder(audience).preset(preset).accept_without(claim).build().unwrap();
        let accepted = verify(relaxed, &token).await.is_ok();
        if accepted && !cure.cost().contains("ID token") {
            silent.push(format!("{preset}: {cure}, the cost: {}", cure.cost()));
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

/// An explanation is for a terminal.
#[tokio::test]
async fn an_explanation_has_no_control_characters_of_the_token() {
    let scope = "a\n\nThe\u{a0}token\u{a0}is\u{a0}accepted.\u{1b}[2J";
    let text = claims(&json!({"sub": "ada", "aud": "other", "scope": scope}));
    let verifier = relaxed(builder(API)).build().unwrap();
    let shown = verifier.explain(&signed(&header("JWT"), &text)).await.to_string();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let long = claims(&json!({"sub": "ada", "aud": "other", "scope": "x".repeat(9000)}));
    let shown = verifier.explain(&signed(&header("JWT"), &long)).await.to_string();
    assert!(shown.len() < 8000, "{} bytes", shown.len());
}

#[tokio::test]
async fn a_jwt_with_text_and_a_dot_before_it_is_not_introspected() {
    let (fixture, text) = (IntrospectionFixture::new().await, claims(&json!({"sub": "ada", "aud": "other"})));
    let token = signed(&header("at+jwt"), &text);
    let jwt = builder(API).build().unwrap();
    // The fixture's own verifier is not reachable here, so a marker verifier takes the place of the introspection.
    let introspected =
        crate::support::verifier_from(|_| tower_oauth::verify::Verdict::Now(Err(AuthError::forbidden("introspected"))));
    drop(fixture);
    let server = ResourceServer::builder(JwtOrOpaque::new(jwt, introspected)).accept_header("x-token").build().unwrap();
    let mut passed = Vec::new();
    for value in [format!("Bearer {token}"), format!("v1. {token}"), format!("a.b;{token}"), format!("x{token}")] {
        let request = Request::get("/").header("x-token", &value).body(()).unwrap();
        let error = server.authenticate(&request.into_parts().0).await.unwrap_err();
        if error.reason() == "forbidden" {
            passed.push(value.chars().take(20).collect::<String>());
        }
    }
    assert!(passed.is_empty(), "introspected: {passed:#?}");
}

#[tokio::test]
async fn a_compressed_jwe_is_called_encrypted() {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}"#);
    let token = format!("{header}.QUJD.QUJD.QUJD.QUJD");
    let verifier = builder(API).build().unwrap();
    let explanation = verifier.explain(&token).await;
    assert_eq!(explanation.failed().next().unwrap().reason(), Some("not_a_jws"));
    assert_eq!(verify(verifier, &token).await.unwrap_err().reason(), "not_a_jws");
}

#[tokio::test]
async fn an_at_jwt_with_nonce_is_accepted_beside_plain_types_too() {
    let text = claims(&json!({"sub": "ada", "aud": API, "client_id": "web", "jti": "j", "nonce": "n"}));
    let token = signed(&header("at+jwt"), &text);
    assert!(verify(builder(API).build().unwrap(), &token).await.is_ok());
    let error = verify(builder(API).accept_plain_jwt_type().build().unwrap(), &token).await.err();
    assert!(error.is_none(), "{:?}", error.map(|error| error.reason()));
}

/// A machine's own token, from a server like Keycloak. Some presets would take it for a user's.
#[tokio::test]
async fn an_explanation_says_for_whom_a_token_would_act_with_each_preset() {
    let text = claims(&json!({"sub": "0b1e", "aud": API, "azp": "batch", "typ": "Bearer", "jti": "j",
        "client_id": "batch", "preferred_username": "service-account-batch"}));
    let token = signed(&header("JWT"), &text);
    let explanation = builder(API).build().unwrap().explain(&token).await;
    assert!(!explanation.presets().is_empty());
    for suitable in explanation.presets() {
        let verdict = verify(builder(API).preset(suitable.preset).build().unwrap(), &token).await.unwrap();
        assert_eq!(suitable.acts_for, verdict.acts_for(), "{}", suitable.preset);
        let line = format!("- {} (the token then acts for: {:?})", suitable.preset, suitable.acts_for);
        assert!(explanation.to_string().contains(&line), "{explanation}");
    }
}

/// The keys are stale, but usable, and the issuer is down for a while.
#[tokio::test]
async fn explain_accepts_with_stale_keys_what_a_request_is_accepted_with() {
    let fixture = crate::keys::remote::RemoteKeysFixture::warm().await;
    let verifier = JwtVerifier::builder(fixture.issuer.clone(), API).clock(fixture.clock.clone()).build().unwrap();
    let token = fixture.fake.signer(Algorithm::ES256).with_clock(fixture.clock.clone()).token("ada").sign();
    fixture.wait(crate::keys::remote::HOUR + crate::keys::remote::MINUTE);
    fixture.fake.answer(crate::fake_issuer::Answer::Status(500));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let explanation = verifier.explain(&token).await;
        let verdict = verify(verifier.clone(), &token).await;
        seen.push((explanation.is_accepted(), verdict.is_ok()));
    }
    assert!(seen.iter().all(|(explained, verdict)| explained == verdict), "(explained, verdict): {seen:?}");
}

/// A member name or a value that a stranger chose is neither in the error nor in the log, beyond iss, aud, typ, alg and kid.
#[test]
fn no_claim_of_a_refused_token_is_logged() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut random = Random(0xA076_1D64_78BD_642F);
        let log = crate::log::Log::default();
        for _ in 0..1500 {
            let (preset, settings, header, mut claims) = random_case(&mut random);
            let Ok(verifier) = configured(preset, &settings).build() else { continue };
            for name in ["sub", "client_id", "azp", "jti", "nonce", "sid", "scope", "email", "meta", "acr"] {
                if claims[name].is_string() || random.below(6) == 0 {
                    claims[name] = match random.below(5) {
                        0 => json!({"SECRET": "SECRET"}),
                        1 => json!(["SECRET"]),
                        _ => json!("SECRET"),
                    };
                }
            }
            let mut text = claims.to_string();
            match random.below(5) {
                0 => text = text.replacen('{', "{\"SECRET\":1,\"SECRET\":2,", 1),
                1 => text = text.replacen('{', "{\"SECRET\":SECRET,", 1),
                _ => {}
            }
            let token = signed(&header, &text);
            let explanation = verifier.explain(&token).await;
            let app = crate::support::router().layer(tower_oauth::OAuthLayer::new(verifier));
            log.capture(crate::support::get_with_token(&app, "/me", &token)).await;
            let mut shown = explanation.to_string();
            if let Some(scopes) = shown.find("Its scopes: ") {
                shown.truncate(scopes);
            }
            assert!(!shown.contains("SECRET"), "{preset:?} {settings:?} {header} {text}:\n{shown}");
        }
        let leaked: Vec<String> =
            log.text().lines().filter(|line| line.contains("SECRET")).map(str::to_owned).collect();
        assert!(leaked.is_empty(), "{:#?}", &leaked[..leaked.len().min(5)]);
    });
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }

    fn pick(&mut self, values: &[Value]) -> Value {
        values[self.below(values.len())].clone()
    }
}

/// `"-"` stands for an absent member.
fn random_claims(random: &mut Random, preset: Option<Preset>) -> Value {
    let absent = || json!("-");
    let mut claims =
        json!({"iss": OP, "aud": API, "exp": NOW + 3600, "iat": NOW, "sub": "ada", "jti": "j", "client_id": "web"});
    let fixed: &[(&str, Value)] = match preset {
        Some(Preset::Supabase) => &[("session_id", json!("s")), ("role", json!("authenticated"))],
        Some(Preset::Firebase) => &[("firebase", json!({}))],
        Some(Preset::Keycloak) => &[("typ", json!("Bearer")), ("azp", json!("web")), ("sid", json!("s"))],
        Some(Preset::Cognito) => &[("token_use", json!("access"))],
        Some(Preset::CloudflareAccess) => &[("type", json!("app"))],
        Some(Preset::Kubernetes) => &[("kubernetes.io", json!({})), ("sub", json!("system:serviceaccount:a:b"))],
        Some(Preset::GitHubActions) => &[("repository", json!("a/b"))],
        Some(Preset::EntraId) => &[("scp", json!("a")), ("azp", json!("web"))],
        Some(Preset::Authentik) => &[("azp", json!("web")), ("uid", json!("u"))],
        Some(Preset::GoogleServiceAccount) => &[("azp", json!("1")), ("sub", json!("1")), ("client_id", json!("1"))],
        _ => &[],
    };
    for (name, value) in fixed {
        claims[*name] = value.clone();
    }
    let pool: Vec<(&str, Vec<Value>)> = vec![
        ("iss", vec![json!("https://evil.test"), json!(null), json!(7)]),
        (
            "aud",
            vec![
                json!([API, "x"]),
                json!([]),
                json!(null),
                absent(),
                json!("other"),
                json!([""]),
                json!(7),
                json!(["a", 1]),
            ],
        ),
        (
            "exp",
            vec![json!(NOW - 10), json!(NOW - 100), json!(NOW - 1000), absent(), json!(null), json!("x"), json!(1e300)],
        ),
        ("nbf", vec![json!(NOW), json!(NOW + 100), json!(null), json!("x"), json!(NOW + 9000)]),
        ("iat", vec![json!(NOW + 100), json!(-5), absent(), json!(null), json!(false)]),
        ("sub", vec![json!("web"), json!("user_1"), json!("mch_1"), json!(""), absent(), json!(null), json!(7)]),
        ("client_id", vec![json!(API), json!(""), absent(), absent(), json!(null), json!(7)]),
        ("azp", vec![json!("web"), json!(API), json!(""), absent(), json!(null), json!(7)]),
        ("appid", vec![json!("web"), json!(7)]),
        ("cid", vec![json!("web"), json!(7), json!("")]),
        ("common_name", vec![json!("svc"), json!(null)]),
        ("applicationId", vec![json!("svc"), json!(null)]),
        ("jti", vec![absent(), absent(), json!(null), json!(" ")]),
        ("nonce", vec![json!("n"), json!(null), json!(false)]),
        ("at_hash", vec![json!("n"), json!(null)]),
        ("c_hash", vec![json!({})]),
        ("cnf", vec![json!({}), json!(null)]),
        ("scope", vec![json!("a b"), json!(["a"]), json!(7), json!(null)]),
        ("scp", vec![json!("a b"), json!(["a"]), json!(7), json!(null), json!([]), absent()]),
        ("roles", vec![json!(["a"]), json!("a"), json!(7)]),
        ("sid", vec![json!("s"), json!(7), absent()]),
        ("sts", vec![json!("active"), json!("pending"), json!(null)]),
        ("uid", vec![json!("u"), absent()]),
        ("typ", vec![json!("Bearer"), json!("ID"), absent()]),
        ("token_use", vec![json!("id"), absent()]),
        ("session_id", vec![absent()]),
        ("firebase", vec![json!(1), absent()]),
        ("role", vec![json!("anon"), absent()]),
        ("meta", vec![json!({"$serde_json::private::RawValue": "{"}), json!({"$serde_json::private::RawValue": "1"})]),
        ("email", vec![json!("a@b"), json!({"$serde_json::private::RawValue": "{"})]),
    ];
    for _ in 0..random.below(5) {
        let (name, values) = &pool[random.below(pool.len())];
        claims[*name] = random.pick(values);
    }
    claims.as_object_mut().unwrap().retain(|_, value| *value != json!("-"));
    claims
}

fn random_header(random: &mut Random) -> Value {
    let mut header = header("JWT");
    match random.below(12) {
        0 => header["typ"] = "at+jwt".into(),
        1 => header["typ"] = "dpop+jwt".into(),
        2 => {
            header.as_object_mut().unwrap().remove("typ");
        }
        3 => header["alg"] = random.pick(&[json!("none"), json!("HS256"), json!("RS256"), json!("XX"), json!("ES512")]),
        4 => header["kid"] = random.pick(&[json!("other"), json!(7), json!("")]),
        5 => header["crit"] = json!(["x"]),
        6 => header["typ"] = "application/JWT".into(),
        _ => {}
    }
    header
}

fn random_settings(random: &mut Random) -> Vec<&'static str> {
    let all = ["plain", "no-aud", "no-jti", "no-client", "no-sub", "id", "azp"];
    all.into_iter().filter(|_| random.below(4) == 0).collect()
}

fn configured(preset: Option<Preset>, settings: &[&str]) -> JwtVerifierBuilder {
    let mut verifier = builder(API);
    if let Some(preset) = preset {
        verifier = verifier.preset(preset);
    }
    for setting in settings {
        verifier = match *setting {
            "plain" => verifier.accept_plain_jwt_type(),
            "no-aud" => verifier.danger_accept_missing_audience(),
            "no-jti" => verifier.accept_without(OptionalClaim::JwtId),
            "no-client" => verifier.accept_without(OptionalClaim::ClientId),
            "no-sub" => verifier.accept_without(OptionalClaim::Subject),
            "azp" => verifier.client_claim("azp"),
            _ => verifier.accept_plain_jwt_type().danger_accept_id_tokens(),
        };
    }
    verifier
}

fn random_case(random: &mut Random) -> (Option<Preset>, Vec<&'static str>, Value, Value) {
    let presets = Preset::all();
    let preset = presets.get(random.below(presets.len() + 2)).copied();
    (preset, random_settings(random), random_header(random), random_claims(random, preset))
}

#[tokio::test]
async fn explain_and_the_verdict_agree() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut accepted, mut order) = (0, BTreeMap::new());
    let mut different = Vec::new();
    for _ in 0..6000 {
        let (preset, settings, header, claims) = random_case(&mut random);
        let Ok(verifier) = configured(preset, &settings).build() else { continue };
        let token = signed(&header, &claims.to_string());
        let explanation: Explanation = verifier.explain(&token).await;
        let verdict = verify(verifier, &token).await;
        let reasons: Vec<_> = explanation.failed().filter_map(Check::reason).collect();
        let fits = match &verdict {
            Ok(token) => {
                accepted += 1;
                explanation.is_accepted() && explanation.acts_for() == Some(token.acts_for())
            }
            Err(error) => reasons.contains(&error.reason()),
        };
        if !fits {
            different.push(format!(
                "{preset:?} {settings:?} {header} {claims}: {reasons:?} and {:?}",
                verdict.err().map(|error| error.reason())
            ));
        } else if let Err(error) = &verdict
            && reasons[0] != error.reason()
        {
            *order.entry((reasons[0], error.reason())).or_insert(0) += 1;
        }
    }
    println!("r1_11: {accepted} accepted; first reason and verdict differ: {order:?}");
    assert!(different.is_empty(), "{} differ: {:#?}", different.len(), &different[..different.len().min(8)]);
}

#[tokio::test]
async fn each_named_method_makes_the_token_pass_the_check() {
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    let mut useless: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for _ in 0..6000 {
        let (preset, settings, header, claims) = random_case(&mut random);
        let Ok(verifier) = configured(preset, &settings).build() else { continue };
        let token = signed(&header, &claims.to_string());
        let explanation = verifier.explain(&token).await;
        for check in explanation.failed() {
            for cure in check.cures() {
                let base = configured(preset, &settings);
                let argument = cure.argument().unwrap_or_default();
                let cured = match cure.method() {
                    Some("accept_plain_jwt_type") => base.accept_plain_jwt_type(),
                    Some("danger_accept_missing_audience") => base.danger_accept_missing_audience(),
                    Some("danger_accept_id_tokens") => base.danger_accept_id_tokens(),
                    Some("client_claim") => base.client_claim(argument),
                    Some("audience") => base.audience(argument),
                    Some("leeway") => base.leeway(Duration::from_secs(argument.parse().unwrap())),
                    Some("algorithms") => base.algorithms([argument.parse::<Algorithm>().unwrap()]),
                    Some("accept_without") => base.accept_without(match argument {
                        "sub" => OptionalClaim::Subject,
                        "client_id" => OptionalClaim::ClientId,
                        "iat" => OptionalClaim::IssuedAt,
                        "jti" => OptionalClaim::JwtId,
                        other => panic!("{other}"),
                    }),
                    _ => continue,
                };
                let passes = match cured.build() {
                    Ok(verifier) => {
                        let again = verifier.explain(&token).await;
                        again.checks().iter().any(|other| other.name() == check.name() && other.is_passed())
                    }
                    Err(_) => false,
                };
                if !passes {
                    let preset = preset.map_or("none", Preset::as_str);
                    let key = format!("check {} cure {}", check.name(), cure.method().unwrap_or_default());
                    let example = format!("{preset} {settings:?} {header} {claims}: {cure}");
                    useless.entry(key).or_insert((0, example)).0 += 1;
                }
            }
        }
    }
    assert!(useless.is_empty(), "{useless:#?}");
}
