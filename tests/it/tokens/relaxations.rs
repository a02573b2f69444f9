//! What a verifier accepts after the builder's methods that relax a check, and what it still refuses.

use serde_json::{Value, json};
use tower_oauth::{
    AuthError, JwtVerifier, Preset, Token,
    acts_for::{ActingRule, ActsFor},
    error::ConfigMistake,
    verify::{JwtVerifierBuilder, OptionalClaim},
};

use crate::{
    presets::{Shape, shape},
    support::{API, issuer},
};

/// The ID token of a client whose id is an audience of this API, as OpenID Connect Core §2 has it.
fn id_token() -> Shape {
    let claims =
        json!({"iss": "https://op.test", "sub": "ada", "aud": "web", "nonce": "n", "at_hash": "h", "auth_time": 1});
    shape(Some("JWT"), &claims)
}

/// An access token without `typ`, `jti` and a client.
fn plain() -> Shape {
    shape(None, &json!({"iss": "https://op.test", "sub": "ada", "aud": API}))
}

fn plain_rules(verifier: JwtVerifierBuilder) -> JwtVerifierBuilder {
    verifier.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).accept_without(OptionalClaim::ClientId)
}

/// RFC 8725 §3.11 (MUST, refuses)
#[tokio::test]
async fn refuses_id_tokens_where_plain_types_are_accepted_unless_a_method_says_otherwise() {
    let error = id_token().verify("web", plain_rules).await.unwrap_err();
    assert_eq!(error.reason(), "not_an_access_token");
    let finding = error.finding().unwrap();
    assert!(["nonce", "at_hash"].iter().any(|name| finding.found().contains(name)), "{finding}");
    assert!(finding.change().contains("danger_accept_id_tokens"), "{finding}");
    for name in ["nonce", "at_hash", "c_hash"] {
        let token = plain().with(&json!({ name: "x" }));
        let error = token.verify(API, plain_rules).await.unwrap_err();
        assert!(error.finding().unwrap().found().contains(name), "{name}");
        assert!(token.verify(API, |verifier| plain_rules(verifier).danger_accept_id_tokens()).await.is_ok(), "{name}");
        for (preset, accepted) in [(Preset::OpenIdConnect, true), (Preset::Keycloak, false), (Preset::EntraId, false)] {
            let configure =
                |verifier: JwtVerifierBuilder| plain_rules(verifier).danger_accept_id_tokens().preset(preset);
            assert_eq!(token.verify(API, configure).await.is_ok(), accepted, "{preset} {name}");
        }
    }
    let accepted = id_token().verify("web", |verifier| plain_rules(verifier).danger_accept_id_tokens()).await;
    assert_eq!(accepted.unwrap().subject(), Some("ada"));
    let mut null = plain();
    null.claims["nonce"] = Value::Null;
    assert!(null.verify(API, plain_rules).await.is_ok(), "a null is no claim");
    assert!(plain().verify(API, plain_rules).await.is_ok());
}

#[tokio::test]
async fn an_access_token_of_rfc_9068_may_have_a_nonce() {
    let claims =
        json!({"iss": "https://op.test", "sub": "ada", "aud": API, "client_id": "web", "jti": "j", "nonce": "n"});
    let token = shape(Some("at+jwt"), &claims);
    assert!(token.verify(API, |verifier| verifier).await.is_ok(), "its type says what it is");
}

/// RFC 9068 §5 a (derived, refuses)
#[tokio::test]
async fn accepts_a_missing_or_empty_aud_only_if_told_so_and_never_another() {
    let danger = |verifier| plain_rules(verifier).danger_accept_missing_audience();
    for missing in [json!(null), json!([])] {
        let token = plain().with(&json!({ "aud": missing }));
        let error = token.verify(API, plain_rules).await.unwrap_err();
        assert_eq!(error.reason(), "missing_claim", "{missing}");
        assert!(token.verify(API, danger).await.is_ok(), "{missing}");
    }
    for other in [json!("https://other.test"), json!(["https://other.test"]), json!(""), json!([""])] {
        let token = plain().with(&json!({ "aud": other }));
        assert_eq!(token.verify(API, danger).await.unwrap_err().reason(), "wrong_audience", "{other}");
    }
    assert!(plain().verify(API, danger).await.is_ok());
    let claims = json!({"iss": "https://op.test", "sub": "ada", "aud": null, "client_id": "other", "token_use": "access",
        "username": "ada", "jti": "j"});
    let cognito = |verifier: JwtVerifierBuilder| verifier.preset(Preset::Cognito).danger_accept_missing_audience();
    let error = shape(None, &claims).verify("web", cognito).await.unwrap_err();
    assert_eq!(error.reason(), "wrong_audience", "the client that replaces aud must still match");
}

/// RFC 7515 §4.1.9 (SHOULD, accepts and refuses)
#[tokio::test]
async fn typ_application_jwt_is_accepted_where_jwt_is() {
    for typ in ["JWT", "jwt", "application/jwt", "Application/JWT"] {
        let token = Shape { header: json!({"alg": "ES256", "kid": "k1", "typ": typ}), ..plain() };
        assert!(token.verify(API, plain_rules).await.is_ok(), "{typ}");
        let strict = token.verify(API, |verifier| verifier).await.unwrap_err();
        assert_eq!(strict.reason(), "type_not_accepted", "{typ}");
    }
    for typ in ["application/", "application/application/jwt", "text/jwt", "application/id+jwt", "application/jwt "] {
        let token = Shape { header: json!({"alg": "ES256", "kid": "k1", "typ": typ}), ..plain() };
        assert!(token.verify(API, plain_rules).await.is_err(), "{typ}");
    }
}

async fn acts_for(token: &Shape, rule: ActingRule) -> ActsFor {
    let configure = |verifier| plain_rules(verifier).accept_without(OptionalClaim::Subject).acting_rule(rule);
    let token: Result<Token, AuthError> = token.verify(API, configure).await;
    token.unwrap().acts_for()
}

/// RFC 9068 §2.2 b (derived, refuses)
#[tokio::test]
async fn the_acting_rule_decides_and_a_blank_subject_is_never_a_user() {
    use ActsFor::{Client, Unknown, User};
    let email = || ActingRule::users_with_claim("email");
    let gty = || ActingRule::clients_with_value("gty", "client_credentials");
    let rows: Vec<(Value, ActingRule, ActsFor)> = vec![
        (json!({}), ActingRule::users(), User),
        (json!({"sub": "web", "client_id": "web"}), ActingRule::users(), User),
        (json!({"sub": null}), ActingRule::users(), Unknown),
        (json!({"sub": " "}), ActingRule::users(), Unknown),
        (json!({}), ActingRule::clients(), Client),
        (json!({"sub": null}), ActingRule::clients(), Client),
        (json!({"email": "a@b"}), email(), User),
        (json!({"email": true}), email(), User),
        (json!({}), email(), Client),
        (json!({"email": " "}), email(), Unknown),
        (json!({"email": "a@b", "sub": ""}), email(), Unknown),
        (json!({"gty": "client_credentials"}), gty(), Client),
        (json!({"gty": ["refresh_token", "client_credentials"]}), gty(), Client),
        (json!({"gty": "password"}), gty(), User),
        (json!({"gty": ["password"]}), gty(), User),
        (json!({}), gty(), User),
        (json!({"gty": "Client_Credentials"}), gty(), User),
        (json!({"gty": 7}), gty(), Unknown),
        (json!({"gty": {"client_credentials": true}}), gty(), Unknown),
        (json!({"gty": ["password", 7]}), gty(), Unknown),
        (json!({"sub": null}), gty(), Unknown),
        (json!({"sub": "\t", "gty": "password"}), gty(), Unknown),
    ];
    for (change, rule, expected) in rows {
        assert_eq!(acts_for(&plain().with(&change), rule.clone()).await, expected, "{change} {rule:?}");
    }
    // A null counts as absent. `with` removes nulls, so this token has one inside.
    let mut null = plain();
    null.claims["email"] = Value::Null;
    assert_eq!(acts_for(&null, email()).await, Client);
}

/// RFC 9068 §2.2 b (derived, accepts)
#[tokio::test]
async fn the_acting_rule_replaces_that_of_a_preset_whatever_the_order() {
    let token = plain().with(&json!({"azp": "web", "roles": ["admin"]}));
    for preset in [Preset::OpenIdConnect, Preset::Zitadel] {
        let token = token.with(&json!({"jti": "j", "client_id": "web"}));
        let unchanged = token.verify_with_preset(preset, API).await.unwrap();
        assert_eq!(unchanged.acts_for(), ActsFor::Unknown, "{preset}");
        let before = token.verify(API, |verifier| verifier.acting_rule(ActingRule::users()).preset(preset)).await;
        assert_eq!(before.unwrap().acts_for(), ActsFor::User, "{preset}");
        let after = token.verify(API, |verifier| verifier.preset(preset).acting_rule(ActingRule::users())).await;
        assert_eq!(after.unwrap().acts_for(), ActsFor::User, "{preset}");
    }
    let last = |verifier: JwtVerifierBuilder| {
        plain_rules(verifier).acting_rule(ActingRule::clients()).acting_rule(ActingRule::users())
    };
    assert_eq!(token.verify(API, last).await.unwrap().acts_for(), ActsFor::User, "the last call counts");
}

#[test]
fn build_reports_relaxations_without_effect() {
    let settings = |builder: JwtVerifierBuilder| -> Vec<&'static str> {
        let error = builder.build().unwrap_err();
        error.mistakes().iter().map(ConfigMistake::setting).collect()
    };
    let builder = || -> JwtVerifierBuilder { issuer().verifier_builder(API) };
    assert_eq!(settings(builder().danger_accept_id_tokens()), ["danger_accept_id_tokens"]);
    assert_eq!(settings(builder().acting_rule(ActingRule::users_with_claim(""))), ["acting_rule"]);
    let _: JwtVerifier = builder().danger_accept_id_tokens().accept_plain_jwt_type().build().unwrap();
}

#[test]
fn each_preset_has_a_name_that_parses_in_any_spelling() {
    let mut names: Vec<_> = Preset::all().iter().map(|preset| preset.as_str()).collect();
    for preset in Preset::all() {
        let name = preset.as_str();
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        let spellings = [name.to_owned(), name.to_uppercase(), name.replace('-', "_"), format!("{preset:?}")];
        for spelling in spellings {
            assert_eq!(spelling.parse::<Preset>(), Ok(*preset), "{spelling}");
        }
        assert_eq!(preset.to_string(), name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Preset::all().len());
    for unknown in ["", "-", "auth", "auth0 ", "entra id", "keycloak2"] {
        let error = unknown.parse::<Preset>().unwrap_err().to_string();
        assert!(error.contains("entra-id") && error.contains("supabase"), "{error}");
    }
}
