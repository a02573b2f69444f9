//! `JwtVerifier::explain`, and the program `explain_token` over ten wrong set-ups of an issuer like Keycloak: the change that it
//! names, once made, makes the token pass.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use serde_json::{Value, json};
use tower_oauth::{
    Issuer, JwtVerifier, Preset, ResourceServer,
    acts_for::ActsFor,
    keys::{Algorithm, HmacAlgorithm, KeySet, SharedSecret},
    testing::{MockIssuer, TokenBuilder},
    verify::{Check, Explanation, TrustedIssuers, Verify},
};

use crate::{
    introspection::IntrospectionFixture,
    program::{Ended, Program},
    support::{API, issuer, valid_token},
};

const ISSUER: &str = "https://kc.test/realms/shop";
const AUDIENCE: &str = "orders-api";
/// In the claims of each token. It is personal, so no output may contain it.
const PERSONAL: &str = "ada.lovelace@example.test";

/// A realm of Keycloak.
fn realm() -> MockIssuer {
    MockIssuer::new(ISSUER).with_algorithm(Algorithm::ES256)
}

/// The members of a token of Keycloak.
fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({"iss": ISSUER, "sub": PERSONAL, "aud": [AUDIENCE, "account"], "typ": "Bearer", "azp": "web", "jti": "j", "sid": "s",
        "iat": now, "exp": now + 300, "scope": "openid orders:read", "email": PERSONAL})
}

fn signed(changes: &Value) -> String {
    signed_by(&realm(), "JWT", changes)
}

fn signed_by(realm: &MockIssuer, typ: &str, changes: &Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = json!({"alg": "ES256", "kid": realm.key_id(), "typ": typ});
    realm.token("unused").sign_raw(header.to_string(), claims.to_string())
}

/// What the program printed, and its exit status.
struct Output {
    status: Option<i32>,
    text: String,
}

/// The settings of one set-up, and the key set of the issuer.
#[derive(Clone)]
struct Setup {
    settings: BTreeMap<String, String>,
    keys: Value,
}

impl Setup {
    /// A set-up that accepts the realm's tokens.
    fn right() -> Self {
        let settings = [("OAUTH_ISSUER", ISSUER), ("OAUTH_AUDIENCE", AUDIENCE), ("OAUTH_PRESET", "keycloak")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { settings: settings.into(), keys: realm().jwks() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.settings.remove(name);
        self
    }

    /// Runs the program. Returns `None` and reports it if it was not built.
    async fn explain(&self, token: &str) -> Option<Output> {
        let file = temporary_file();
        fs::write(&file, self.keys.to_string()).unwrap();
        let launch = Program::example("explain_token").arguments(&["--jwks", file.to_str().unwrap()]);
        let launch = self.settings.iter().fold(launch, |launch, (name, value)| launch.set(name, value));
        let ended = launch.input(&format!("{token}\n")).ends().await;
        fs::remove_file(file).unwrap();
        let Ended { status, stdout, stderr } = ended?;
        let text = stdout + &stderr;
        let signature = token.rsplit('.').next().unwrap();
        for secret in [token, signature, PERSONAL] {
            assert!(secret.is_empty() || !text.contains(secret), "it prints {secret:?}:\n{text}");
        }
        Some(Output { status, text })
    }

    /// Adds the settings that the program names.
    fn with_named_settings(mut self, output: &Output) -> Self {
        let named = output.text.lines().filter_map(|line| line.split_whitespace().next()?.split_once('='));
        for (name, value) in named.filter(|(name, _)| name.starts_with("OAUTH_")) {
            self.settings.insert(name.to_owned(), value.to_owned());
        }
        self
    }
}

fn temporary_file() -> PathBuf {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("keys-{}-{}.json", std::process::id(), FILES.fetch_add(1, Relaxed));
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The program refuses the token for `reason`, its output has all of `texts`, and the settings that it names accept the token.
async fn cured_by_settings(setup: &Setup, token: &str, reason: &str, texts: &[&str]) {
    let Some(refused) = setup.explain(token).await else { return };
    assert_eq!(refused.status, Some(1), "{}", refused.text);
    assert!(refused.text.contains(&format!("The token is refused: {reason}")), "{}", refused.text);
    for text in texts {
        assert!(refused.text.contains(text), "{text:?} is not in:\n{}", refused.text);
    }
    let cured = setup.clone().with_named_settings(&refused).explain(token).await.unwrap();
    assert_eq!(cured.status, Some(0), "the named settings don't help:\n{}\n{}", refused.text, cured.text);
}

/// The program refuses the token for `reason` and its output has all of `texts`; it accepts the other token.
async fn cured_by_another_token(setup: &Setup, token: &str, reason: &str, texts: &[&str], other: &str) {
    let Some(refused) = setup.explain(token).await else { return };
    assert_eq!(refused.status, Some(1), "{}", refused.text);
    assert!(refused.text.contains(&format!("The token is refused: {reason}")), "{}", refused.text);
    for text in texts {
        assert!(refused.text.contains(text), "{text:?} is not in:\n{}", refused.text);
    }
    assert_eq!(setup.explain(other).await.unwrap().status, Some(0));
}

#[tokio::test]
async fn accepts_the_token_of_a_right_set_up_and_says_for_whom_it_acts() {
    let Some(output) = Setup::right().explain(&signed(&json!({}))).await else { return };
    assert_eq!(output.status, Some(0), "{}", output.text);
    assert!(output.text.contains("The token is accepted.") && !output.text.contains("REFUSED"), "{}", output.text);
    assert!(output.text.contains("User") && output.text.contains("orders:read"), "{}", output.text);
}

/// Threat R6
#[tokio::test]
async fn set_up_1_the_issuer_has_a_trailing_slash() {
    let setup = Setup::right().with("OAUTH_ISSUER", &format!("{ISSUER}/"));
    cured_by_settings(&setup, &signed(&json!({})), "wrong_issuer", &[&format!("OAUTH_ISSUER={ISSUER}\n")]).await;
}

/// Threat R6
#[tokio::test]
async fn set_up_2_the_token_names_the_host_of_a_container() {
    let container = "http://keycloak:8080/realms/shop";
    let token = signed(&json!({"iss": container}));
    let texts = ["OAUTH_ISSUER=http://keycloak:8080/realms/shop", "public address"];
    cured_by_settings(&Setup::right(), &token, "wrong_issuer", &texts).await;
}

/// Threat R6
#[tokio::test]
async fn set_up_3_the_token_has_another_audience() {
    let token = signed(&json!({"aud": "account"}));
    cured_by_settings(&Setup::right(), &token, "wrong_audience", &["OAUTH_AUDIENCE=account", "the cost: "]).await;
    let texts = ["let the issuer add this API to aud"];
    cured_by_another_token(&Setup::right(), &token, "wrong_audience", &texts, &signed(&json!({}))).await;
}

/// Threat R6
#[tokio::test]
async fn set_up_4_the_type_is_jwt() {
    let setup = Setup::right().without("OAUTH_PRESET");
    let token = signed(&json!({"client_id": "web"}));
    let without_preset = |output: Output| Output { text: output.text.replace("OAUTH_PRESET", "IGNORED"), ..output };
    let Some(refused) = setup.explain(&token).await.map(without_preset) else { return };
    assert!(refused.text.contains("type_not_accepted") && refused.text.contains("OAUTH_ACCEPT=plain-type"));
    assert!(refused.text.contains("an ID token of the issuer"), "it states the cost: {}", refused.text);
    let cured = setup.clone().with_named_settings(&refused).explain(&token).await.unwrap();
    assert_eq!(cured.status, Some(0), "{}", cured.text);
    cured_by_settings(&setup, &token, "type_not_accepted", &["OAUTH_PRESET=keycloak"]).await;
}

/// Threat R6
#[tokio::test]
async fn set_up_5_the_client_is_in_azp() {
    let setup = Setup::right().without("OAUTH_PRESET");
    let token = signed_by(&realm(), "at+jwt", &json!({}));
    cured_by_settings(&setup, &token, "missing_claim", &[r#"client_claim("azp")"#, "OAUTH_PRESET=keycloak"]).await;
}

/// Threat R6
#[tokio::test]
async fn set_up_6_the_clock_of_the_issuer_is_ahead() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = signed(&json!({"iat": now + 100, "nbf": now + 100, "exp": now + 400}));
    let texts = ["not_yet_valid, issued_in_the_future", "set the clocks", "OAUTH_LEEWAY="];
    cured_by_settings(&Setup::right(), &token, "", &texts).await;
    let expired = signed(&json!({"iat": now - 500, "exp": now - 100}));
    cured_by_settings(&Setup::right(), &expired, "expired", &["let the client get a new token", "OAUTH_LEEWAY="]).await;
    let long_expired = signed(&json!({"iat": now - 9000, "exp": now - 8000}));
    let texts = ["let the client get a new token"];
    cured_by_another_token(&Setup::right(), &long_expired, "expired", &texts, &signed(&json!({}))).await;
}

/// Threat R6
#[tokio::test]
async fn set_up_7_the_issuer_has_rotated_its_key() {
    let rotated = MockIssuer::new("https://other.test").with_algorithm(Algorithm::ES256);
    let new_token = signed_by(&rotated, "JWT", &json!({}));
    let texts = ["fetch the key set again", "let the client get a new token"];
    let old_keys = Setup::right();
    let Some(refused) = old_keys.explain(&new_token).await else { return };
    assert!(refused.status == Some(1) && refused.text.contains("unknown_key"), "{}", refused.text);
    assert!(texts.iter().all(|text| refused.text.contains(text)), "{}", refused.text);
    // The key set is fetched again.
    let new_keys = Setup { keys: rotated.jwks(), ..old_keys };
    assert_eq!(new_keys.explain(&new_token).await.unwrap().status, Some(0));
    // The client gets a new token.
    cured_by_another_token(&new_keys, &signed(&json!({})), "unknown_key", &texts, &new_token).await;
}

/// Threat R6
#[tokio::test]
async fn set_up_8_the_issuer_signs_with_a_shared_secret() {
    let secret = [7; 32];
    let builder = realm().token("ada").audience(AUDIENCE).header("typ", "at+jwt");
    let token = builder.sign_hmac(HmacAlgorithm::HS256, &secret);
    let texts = ["RS256, ES256 or EdDSA", "JwtVerifier::builder_from_secret"];
    cured_by_another_token(&Setup::right(), &token, "algorithm_not_accepted", &texts, &signed(&json!({}))).await;
    let secret = SharedSecret::new(HmacAlgorithm::HS256, secret).unwrap();
    let verifier = JwtVerifier::builder_from_secret(ISSUER, secret, AUDIENCE).build().unwrap();
    let explanation = verifier.explain(&token).await;
    assert!(explanation.is_accepted(), "{explanation}");
}

/// Threat R6
#[tokio::test]
async fn set_up_9_the_token_is_encrypted() {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM","typ":"JWT","cty":"JWT"}"#);
    let token = format!("{header}.QUJD.QUJD.QUJD.QUJD");
    let texts = ["an encrypted token (JWE)", "turn off the encryption", "OAUTH_MODE=introspection"];
    cured_by_another_token(&Setup::right(), &token, "not_a_jws", &texts, &signed(&json!({}))).await;
}

/// Threat R6
#[tokio::test]
async fn set_up_10_the_token_is_opaque() {
    let texts = ["an opaque token", "IntrospectionVerifier::new", "OAUTH_MODE=introspection"];
    cured_by_another_token(&Setup::right(), "AT-4711-opaque", "not_a_jws", &texts, &signed(&json!({}))).await;
    let introspection = IntrospectionFixture::new().await;
    introspection.respond_with(&introspection.active());
    assert!(introspection.authenticate("AT-4711-opaque").await.is_ok());
}

#[tokio::test]
async fn all_relaxations_are_in_one_setting() {
    let setup = Setup::right().without("OAUTH_PRESET");
    let mut claims = claims();
    claims["client_id"] = "web".into();
    claims.as_object_mut().unwrap().remove("jti");
    let header = json!({"alg": "ES256", "kid": realm().key_id(), "typ": "JWT"});
    let token = realm().token("unused").sign_raw(header.to_string(), claims.to_string());
    let Some(refused) = setup.explain(&token).await else { return };
    assert!(refused.text.contains("\n  OAUTH_ACCEPT=plain-type,without-jti\n"), "{}", refused.text);
    let refused = Output { text: refused.text.replace("OAUTH_PRESET", "IGNORED"), ..refused };
    assert_eq!(setup.with_named_settings(&refused).explain(&token).await.unwrap().status, Some(0));
}

#[tokio::test]
async fn a_value_of_the_token_is_quoted_for_a_shell() {
    let token = signed(&json!({"iss": "https://x.test/$(id)'; touch y", "aud": "a b\u{1b}[2J"}));
    let Some(output) = Setup::right().explain(&token).await else { return };
    assert!(output.text.contains(r"OAUTH_ISSUER='https://x.test/$(id)\'\''; touch y'"), "{}", output.text);
    assert!(!output.text.contains('\u{1b}'), "{}", output.text);
}

#[tokio::test]
async fn no_setting_is_named_that_accepts_an_id_token() {
    let setup = Setup::right().without("OAUTH_PRESET").with("OAUTH_AUDIENCE", "web");
    let token = signed(&json!({"aud": "web", "nonce": "n", "at_hash": "h", "client_id": "web", "typ": "ID"}));
    let Some(output) = setup.explain(&token).await else { return };
    assert!(output.text.contains("not_an_access_token"), "{}", output.text);
    assert!(output.text.contains("let the client send the access token, not the ID token"), "{}", output.text);
    assert!(!output.text.contains("plain-type") && !output.text.contains("accept_plain_jwt_type"), "{}", output.text);
}

#[tokio::test]
async fn the_program_names_every_wrong_setting_and_prints_its_usage() {
    let setup = Setup::right()
        .with("OAUTH_PRESET", "keycloack")
        .with("OAUTH_ACCEPT", "plain-type,typo")
        .without("OAUTH_AUDIENCE");
    let Some(output) = setup.explain("AT-4711").await else { return };
    assert_eq!(output.status, Some(2));
    for name in ["OAUTH_PRESET", "OAUTH_ACCEPT", "OAUTH_AUDIENCE"] {
        assert!(output.text.contains(name), "{}", output.text);
    }
    let without_keys = Setup { keys: json!({}), ..Setup::right() }.explain("AT-4711").await.unwrap();
    let empty = Setup::right().explain("").await.unwrap();
    assert!(empty.status == Some(2) && empty.text.contains("there is no token"), "{}", empty.text);
    let large = Setup::right().explain(&"x".repeat(17_000)).await.unwrap();
    assert!(large.status == Some(1) && large.text.contains("max_token_bytes"), "{}", large.text);
    assert!(without_keys.status == Some(2) && without_keys.text.contains("--jwks"), "{}", without_keys.text);
}

// The library.

fn failed(explanation: &Explanation) -> Vec<&str> {
    explanation.failed().map(Check::name).collect()
}

async fn is_accepted(verifier: impl Verify, token: &str) -> bool {
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    ResourceServer::new(verifier).authenticate(&request.into_parts().0).await.is_ok()
}

/// Threat R5
#[tokio::test]
async fn makes_every_check_and_does_not_stop_at_the_first_defect() {
    let verifier = issuer().verifier(API);
    let token = valid_token()
        .header("typ", "JWT")
        .header("kid", "other")
        .claim("iss", "https://other.test")
        .claim("exp", 1)
        .claim("cnf", json!({"jkt": "x"}))
        .audience("other")
        .without_claim("jti")
        .without_claim("client_id");
    let explanation = verifier.explain(&token.sign()).await;
    assert_eq!(failed(&explanation), ["typ", "signature", "iss", "aud", "exp", "cnf", "client_id", "jti"]);
    for check in explanation.failed() {
        assert!(!check.cures().is_empty() && !check.found().is_empty() && !check.expected().is_empty(), "{check:?}");
    }
    assert!(verifier.explain(&valid_token().sign()).await.is_accepted());
}

/// Threat R5
#[tokio::test]
async fn agrees_with_the_verifier_about_every_forged_token() {
    let verifier = issuer().verifier(API);
    let mut forgeries: Vec<String> =
        valid_token().forgeries().iter().map(|forgery| forgery.token().to_owned()).collect();
    forgeries.push(valid_token().sign());
    let mut accepted = 0;
    for token in forgeries {
        if http::HeaderValue::from_str(&format!("Bearer {token}")).is_err() {
            continue;
        }
        let explanation = verifier.explain(&token).await;
        assert_eq!(explanation.is_accepted(), is_accepted(verifier.clone(), &token).await, "{token}\n{explanation}");
        accepted += usize::from(explanation.is_accepted());
    }
    assert_eq!(accepted, 1);
}

/// Threat R5
#[tokio::test]
async fn names_the_presets_that_accept_the_token_and_only_those() {
    let issuer = Issuer::from_keys(ISSUER, realm().key_set()).unwrap();
    let verifier = JwtVerifier::new(issuer.clone(), AUDIENCE).unwrap();
    let token = signed(&json!({}));
    let explanation = verifier.explain(&token).await;
    assert!(explanation.presets().iter().any(|suitable| suitable.preset == Preset::Keycloak), "{explanation}");
    assert_eq!(explanation.acts_for(), Some(ActsFor::Unknown));
    for preset in Preset::all() {
        let with_preset = JwtVerifier::builder(issuer.clone(), AUDIENCE).preset(*preset).build().unwrap();
        let accepts = is_accepted(with_preset, &token).await;
        let named = explanation.presets().iter().any(|suitable| suitable.preset == *preset);
        assert_eq!(accepts, named, "{preset}");
    }
    let accepted = JwtVerifier::builder(issuer, AUDIENCE).preset(Preset::Keycloak).build().unwrap();
    let explanation = accepted.explain(&token).await;
    assert!(explanation.is_accepted() && explanation.presets().is_empty());
    assert_eq!(explanation.acts_for(), Some(ActsFor::User));
}

#[tokio::test]
async fn explains_with_the_verifier_of_the_tokens_issuer() {
    let (shop, other) = (realm(), issuer());
    let issuers = TrustedIssuers::new([shop.verifier(AUDIENCE), other.verifier(API)]).unwrap();
    assert!(issuers.explain(&valid_token().sign()).await.is_accepted());
    let untrusted = valid_token().claim("iss", "https://untrusted.test").sign();
    let explanation = issuers.explain(&untrusted).await;
    assert_eq!(failed(&explanation), ["iss"]);
    let text = explanation.to_string();
    assert!(text.contains(ISSUER) && text.contains("https://untrusted.test"), "both sides are named: {text}");
}

#[tokio::test]
async fn fetches_the_keys_that_the_token_needs_and_says_if_that_fails() {
    let fake = crate::fake_issuer::FakeIssuer::start().await;
    let issuer = fake.builder().build().unwrap();
    let verifier = JwtVerifier::new(issuer, API).unwrap();
    let token = fake.valid_token();
    let explanation = verifier.explain(&token).await;
    assert!(explanation.is_accepted(), "{explanation}");

    let nowhere = Issuer::builder("http://127.0.0.1:1").build().unwrap();
    let verifier = JwtVerifier::new(nowhere, API).unwrap();
    let token = MockIssuer::new("http://127.0.0.1:1").token("ada").sign();
    let explanation = verifier.explain(&token).await;
    assert_eq!(failed(&explanation), ["signature"], "{explanation}");
    let check = explanation.failed().next().unwrap();
    assert_eq!(check.reason(), Some("unavailable"));
    assert!(check.found().starts_with("no keys: ") && check.found().contains("http://127.0.0.1:1/"), "{check:?}");
}

#[tokio::test]
async fn an_untrusted_text_is_quoted_and_shortened() {
    let long = "x\n".repeat(500);
    let token = TokenBuilder::clone(&valid_token()).claim("iss", long.clone()).audience(&long).header("kid", long);
    let text = issuer().verifier(API).explain(&token.sign()).await.to_string();
    assert!(!text.contains("x\nx") && text.len() < 6_000, "{text}");
}

#[test]
fn a_key_set_from_a_file_needs_no_network() {
    let keys = KeySet::from_json(realm().jwks().to_string()).unwrap();
    assert!(Issuer::from_keys("a name without a scheme", keys).is_ok());
}
