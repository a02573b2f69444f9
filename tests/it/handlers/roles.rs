//! Roles, groups and entitlements (RFC 9068 §2.2.3.1), and requiring a role.

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tower_oauth::{InRole, OAuthLayer, Token, error::AuthErrorKind, testing::TestToken};

use crate::support::{API, get_with_token, get_without_token, issuer};

tower_oauth::roles! {
    /// May close the books.
    Accountant = "accountant";
    Auditor = "chief auditor";
}

fn token(member: &str, value: Value) -> Token {
    TestToken::user("ada").claim(member, value).build()
}

/// RFC 9068 §2.2.3.1 a (MAY, accepts)
#[test]
fn reads_roles_groups_and_entitlements_of_rfc_9068() {
    let token = TestToken::user("ada")
        .claim("roles", json!(["a", "b c", "\u{e4}"]))
        .claim("groups", json!([{"value": "g1", "$ref": "https://x/g1", "display": "Guides"}, "g2"]))
        .claim("entitlements", json!(["e"]))
        .build();
    assert_eq!(token.roles(), ["a", "b c", "\u{e4}"]);
    assert_eq!(token.groups(), ["g1", "g2"], "for an object, its value; RFC 7643 §2.4");
    assert_eq!(token.entitlements(), ["e"]);
    let bare = TestToken::user("ada").build();
    assert!(bare.roles().is_empty() && bare.groups().is_empty() && bare.entitlements().is_empty());
    assert!(bare.keycloak_client_roles("x").is_empty() && bare.zitadel_project_roles("x").is_empty());
}

#[test]
fn a_claim_that_is_a_string_is_one_name_and_an_empty_string_is_none() {
    for (claim, names) in [
        ("accountant", ["accountant"].as_slice()),
        ("accountant auditor", &["accountant auditor"]),
        (" ", &[" "]),
        ("\u{e9}\n", &["\u{e9}\n"]),
        ("", &[]),
    ] {
        assert_eq!(token("roles", json!(claim)).roles(), names);
        assert_eq!(token("groups", json!(claim)).groups(), names);
        assert_eq!(token("entitlements", json!(claim)).entitlements(), names);
        let access = json!({"api": {"roles": claim}});
        assert_eq!(token("resource_access", access).keycloak_client_roles("api"), names);
    }
    assert!(token("roles", json!("accountant")).require_role::<Accountant>().is_ok());
    assert!(token("roles", json!("accountant auditor")).require_role::<Accountant>().is_err());
}

/// RFC 9068 §2.2.3.1 a (MAY, refuses)
#[test]
fn a_claim_of_another_form_gives_no_roles() {
    let forms = [
        json!(["accountant", 1]),
        json!(["accountant", null]),
        json!(["accountant", ["x"]]),
        json!({"accountant": true}),
        json!({"accountant": false}),
        json!({"accountant": {"org": "1"}}),
        json!(["accountant", {"display": "accountant"}]),
        json!([{"value": ["accountant"]}]),
        json!([["accountant"]]),
        json!(null),
        json!(7),
        json!(1.5),
        json!(["accountant", 1.5]),
    ];
    for form in forms {
        let token = token("roles", form.clone());
        assert!(token.roles().is_empty(), "{form}");
        assert_eq!(token.require_role::<Accountant>().unwrap_err().kind(), AuthErrorKind::InsufficientScope, "{form}");
    }
    let denied = [json!({"admin": false}), json!({"admin": {}}), json!({"admin": "org"}), json!("admin"), json!(null)];
    for form in
        denied.into_iter().chain([json!(1.5), json!({"admin": 1}), json!({"admin": 1.5}), json!({"admin": 1e300})])
    {
        assert!(
            token("urn:zitadel:iam:org:project:7:roles", form.clone()).zitadel_project_roles("7").is_empty(),
            "{form}"
        );
    }
    let access = [
        json!({"api": ["accountant"]}),
        json!({"api": "accountant"}),
        json!({"api": {"roles": {"accountant": {"a": 1}}}}),
        json!({"API": {"roles": ["accountant"]}}),
        json!(["api"]),
    ];
    for form in access {
        assert!(token("resource_access", form.clone()).keycloak_client_roles("api").is_empty(), "{form}");
    }
}

#[tokio::test]
async fn a_client_that_is_twice_in_resource_access_has_no_roles() {
    let app = Router::new()
        .route("/roles", get(|token: Token| async move { token.keycloak_client_roles("api").join(" ") }))
        .layer(OAuthLayer::new(issuer().verifier(API)));
    let ada = issuer().token("ada");
    let roles = async |access: &str| {
        let claims = ada.claims_json().replacen('{', &format!("{{\"resource_access\":{access},"), 1);
        let response = get_with_token(&app, "/roles", &ada.sign_raw(ada.header_json(), claims)).await;
        assert_eq!(response.status, 200);
        response.body
    };
    assert_eq!(roles(r#"{"api":{"roles":["a"]},"web":{"roles":["b"]}}"#).await, "a");
    assert_eq!(roles(r#"{"api":{"roles":["a"]},"api":{"roles":["b"]}}"#).await, "");
    assert_eq!(roles(r#"{"api":{"roles":["a"],"r\u006fles":["b"]}}"#).await, "");
}

#[tokio::test]
async fn a_missing_role_is_refused_with_403_and_a_challenge_without_scope() {
    let app = Router::new()
        .route("/books", get(|role: InRole<Accountant>| async move { role.subject().unwrap().to_owned() }))
        .route("/audit", get(|_: InRole<Accountant>, _: InRole<Auditor>| async { "both" }))
        .layer(OAuthLayer::new(issuer().verifier(API)));
    let ada = issuer().token("ada");
    let accountant = ada.clone().claim("roles", vec!["reader", "accountant"]);
    let response = get_with_token(&app, "/books", &accountant.sign()).await;
    assert_eq!((response.status.as_u16(), &*response.body), (200, "ada"));
    let others = [
        ada.clone().claim("roles", vec!["Accountant", "accountants", "chief"]),
        ada.clone().claim("groups", vec!["accountant"]),
        ada.clone().scope("accountant"),
        ada.clone().claim("realm_access", json!({"roles": ["accountant"]})),
    ];
    for (path, token) in others.iter().map(|other| ("/books", other)).chain([("/audit", &accountant)]) {
        let response = get_with_token(&app, path, &token.sign()).await;
        assert!(response.is_refusal(403, "insufficient_scope"), "{response:?}");
        assert!(!response.challenges()[0].contains("scope=\""), "{response:?}");
    }
    let both = ada.claim("roles", vec!["accountant", "chief auditor"]).sign();
    assert_eq!(get_with_token(&app, "/audit", &both).await.status, 200);
    assert_eq!(get_without_token(&app, "/books").await.status, 401);
    let open = Router::new().route("/books", get(|_: InRole<Accountant>| async { "" }));
    assert_eq!(get_with_token(&open, "/books", &both).await.status, 500, "no layer");
}

#[test]
fn in_role_gives_access_to_the_token_and_its_debug_shows_nothing() {
    let token = token("roles", json!(["accountant"]));
    let evidence: InRole<Accountant> = token.require_role().unwrap();
    assert_eq!(format!("{:?}", evidence.clone()), "InRole { .. }");
    assert_eq!(evidence.into_token().subject(), Some("ada"));
    assert!(token.has_role("accountant") && !token.has_role("") && !token.has_role("Accountant"));
}
