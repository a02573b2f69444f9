//! RFC 7662.

use serde_json::json;

use super::{ISSUER, OPAQUE, World, basic, part, usual};
use crate::support::API;

/// RFC 7662 §2.2 g (MUST, SHOULD NOT, accepts)
#[tokio::test]
async fn an_active_token_is_described_as_it_was_issued() {
    let world = World::new();
    let jwt = world.access_token("reports", &[("scope", "orders:read orders:write")]).await;
    let claims = part(&jwt, 1);
    let response = world.introspect("watch", &jwt).await;
    assert_eq!(
        response,
        json!({
            "active": true, "iss": ISSUER, "sub": "reports", "aud": API, "client_id": "reports", "token_type": "Bearer",
            "iat": claims["iat"], "exp": claims["exp"], "jti": claims["jti"], "scope": "orders:read orders:write",
        })
    );
    let opaque = world.access_token("reports", &[("resource", OPAQUE)]).await;
    let response = world.introspect("watch", &opaque).await;
    assert_eq!(
        (&response["active"], &response["aud"], &response["scope"]),
        (&json!(true), &json!(OPAQUE), &json!("orders:read"))
    );
}

/// RFC 7662 §2.2 g (MUST, SHOULD NOT, refuses)
/// Threat T26
#[tokio::test]
async fn an_inactive_token_gets_active_false_and_nothing_else() {
    let world = World::new();
    let jwt = world.access_token("reports", &[]).await;
    let changed = format!("{}x", &jwt[..jwt.len() - 1]);
    let texts = ["x", "", " ", &changed, "a.b.c", &jwt.to_uppercase(), &format!("{jwt} "), &"x".repeat(20_000)];
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let answer = world.post("/introspect", &usual("watch"), &[("token", text)]).await;
        answer.is_ok();
        assert_eq!(answer.plain.body, r#"{"active":false}"#);
    }
    world.post("/revoke", &usual("reports"), &[("token", &jwt)]).await.is_ok();
    assert_eq!(world.introspect("watch", &jwt).await, json!({"active": false}));
    let other = world.access_token("reports", &[]).await;
    world.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(world.introspect("watch", &other).await, json!({"active": false}));
}

/// RFC 7662 §2.2 g (MUST, SHOULD NOT, refuses)
/// Threat T26
#[tokio::test]
async fn a_client_can_introspect_its_own_tokens_and_those_for_its_own_api() {
    let world = World::new();
    let jwt = world.access_token("reports", &[]).await;
    let opaque = world.access_token("reports", &[("resource", OPAQUE)]).await;
    for (client, token, active) in [
        ("reports", &jwt, true),
        ("reports", &opaque, true),
        ("watch", &jwt, true),
        ("watch", &opaque, true),
        ("api", &jwt, true),
        ("api", &opaque, false),
        ("others", &jwt, false),
    ] {
        let response = world.introspect(client, token).await;
        assert_eq!(response["active"], active, "{client}");
        assert_eq!(response.as_object().unwrap().len() > 1, active);
    }
}

/// RFC 7662 §2.1 c (MUST, accepts and refuses)
/// Threat T26
#[tokio::test]
async fn an_introspecting_client_must_authenticate() {
    let world = World::new();
    let token = world.access_token("reports", &[]).await;
    let ask = async |authorization: &str, form: &[(&str, &str)]| {
        world.post("/introspect", authorization, &[&[("token", &*token)], form].concat()).await
    };
    ask("", &[]).await.is_error(401, "invalid_client");
    ask(&basic("watch", "wrong"), &[]).await.is_error(401, "invalid_client");
    ask("", &[("client_id", "watch")]).await.is_error(401, "invalid_client");
    ask("", &[("client_id", "app")]).await.is_error(401, "invalid_client");
    ask(&format!("Bearer {token}"), &[]).await.is_error(401, "invalid_client");
    ask("", &[("client_id", "watch"), ("client_secret", "watch-secret")]).await.is_ok();
    ask(&usual("watch"), &[("token_type_hint", "refresh_token"), ("x", "y")]).await.is_ok();
}
