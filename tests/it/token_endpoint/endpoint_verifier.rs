//! The verifier in the process: the endpoint's tokens, without HTTP.

use axum::{Router, routing::get};
use serde::Deserialize;
use serde_json::json;
use tower_oauth::{
    Cached, Claims, InRole, JwtOrOpaque, OAuthLayer, Scoped, Token,
    keys::{Algorithm, PrivateKey},
    layer::require::RequireStepUpLayer,
    step_up::StepUp,
    token_endpoint::{
        AuthorizationCodeGrant, ClientCredentialsGrant, MemoryStore, RefreshTokenGrant, TokenContent, TokenEndpoint,
    },
    verify::Verify,
};

use super::{AUTHORIZE, ISSUER, OPAQUE, World, stores::faulty_store::FaultyStore, usual};
use crate::support::{API, OrdersRead, OrdersWrite, get_with_token};

tower_oauth::roles! {
    Editor = "editor";
    Owner = "owner";
}

#[derive(Deserialize, Clone)]
struct Tenant {
    tenant: u32,
}

fn app(verifier: impl Verify) -> Router {
    let strong = StepUp::builder().acr("gold").build().unwrap();
    let strong =
        Router::new().route("/strong", get(|| async { "strong" })).route_layer(RequireStepUpLayer::new(strong));
    Router::new()
        .route("/me", get(|token: Token| async move { token.subject().unwrap_or_default().to_owned() }))
        .route("/orders", get(|_: Scoped<OrdersRead>| async { "read" }))
        .route("/write", get(|_: Scoped<OrdersWrite>| async { "written" }))
        .route("/editor", get(|_: InRole<Editor>| async { "editor" }))
        .route("/owner", get(|_: InRole<Owner>| async { "owner" }))
        .route("/tenant", get(|Claims(claims): Claims<Tenant>| async move { claims.tenant.to_string() }))
        .merge(strong)
        .layer(OAuthLayer::new(verifier))
}

/// Threat T57
#[tokio::test]
async fn accepts_jwts_and_opaque_tokens_until_they_are_revoked_or_expire() {
    let world = World::new();
    for (audience, format) in [(API, "jwt"), (OPAQUE, "opaque")] {
        let app = app(world.endpoint.verifier(audience));
        let token = world.access_token("reports", &[("resource", audience)]).await;
        let answer = get_with_token(&app, "/me", &token).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "reports"), "{format}");
        assert_eq!(get_with_token(&app, "/orders", &token).await.status, 200);
        assert!(get_with_token(&app, "/write", &token).await.is_refusal(403, "insufficient_scope"));
        world.post("/revoke", &usual("reports"), &[("token", &token)]).await.is_ok();
        assert!(get_with_token(&app, "/me", &token).await.is_refusal(401, "invalid_token"), "{format}");
        let short = world.access_token("others", &[("resource", audience)]).await;
        world.clock.advance(std::time::Duration::from_secs(15 * 60));
        assert!(get_with_token(&app, "/me", &short).await.is_refusal(401, "invalid_token"), "{format}");
    }
}

/// Threat T57
#[tokio::test]
async fn refuses_the_tokens_of_an_ended_session_and_of_a_removed_client_at_once() {
    let world = World::with_users();
    let app = app(world.endpoint.verifier(API));
    let answer = world.redeem(&world.code(&[]).await, &[]).await;
    let token = answer.text("access_token");
    assert_eq!(get_with_token(&app, "/me", token).await.body, "ada");
    world.endpoint.end_sessions_of_subject("ada").await.unwrap();
    assert!(get_with_token(&app, "/me", token).await.is_refusal(401, "invalid_token"));
    let token = world.access_token("reports", &[]).await;
    assert_eq!(get_with_token(&app, "/me", &token).await.status, 200);
    world.clients.remove("reports");
    assert!(get_with_token(&app, "/me", &token).await.is_refusal(401, "invalid_token"));
}

/// Threat T57
#[tokio::test]
async fn refuses_every_other_text() {
    let world = World::with_users();
    let app = app(world.endpoint.verifier(API));
    let other = world.access_token("reports", &[("resource", OPAQUE)]).await;
    let answer = get_with_token(&app, "/me", &other).await;
    assert!(answer.is_refusal(401, "invalid_token"));
    assert!(answer.challenges()[0].contains("meant for another resource"), "{answer:?}");
    // A refresh token and a code are no access tokens.
    let code = world.code(&[]).await;
    assert!(get_with_token(&app, "/me", &code).await.is_refusal(401, "invalid_token"));
    let refresh = world.redeem(&code, &[]).await.text("refresh_token").to_owned();
    assert!(get_with_token(&app, "/me", &refresh).await.is_refusal(401, "invalid_token"));
    // The signature is part of the text, so a changed one is unknown.
    let token = world.access_token("reports", &[]).await;
    let changed = format!("{}A", token.strip_suffix(|_: char| true).unwrap());
    assert!(changed == token || get_with_token(&app, "/me", &changed).await.is_refusal(401, "invalid_token"));
    assert!(get_with_token(&app, "/me", "wrong").await.is_refusal(401, "invalid_token"));
}

/// Threat T57
#[tokio::test]
async fn refuses_the_tokens_of_another_issuer_on_the_same_store() {
    let store = MemoryStore::new();
    let world = World::with(|builder| builder.store(store.clone()));
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let other = TokenEndpoint::builder("https://other.test", key, world.clients.clone())
        .grant(ClientCredentialsGrant::new())
        .store(store)
        .clock(world.clock.clone());
    let app = app(other.build().unwrap().verifier(API));
    let token = world.access_token("reports", &[]).await;
    assert!(get_with_token(&app, "/me", &token).await.is_refusal(401, "invalid_token"));
}

/// Threat T57
#[tokio::test]
async fn a_store_that_is_down_gets_503() {
    let store = FaultyStore::new(MemoryStore::new());
    let world = World::with(|builder| builder.store(store.clone()));
    let app = app(world.endpoint.verifier(API));
    let token = world.access_token("reports", &[]).await;
    store.set_down(true);
    let answer = get_with_token(&app, "/me", &token).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    store.set_down(false);
    assert_eq!(get_with_token(&app, "/me", &token).await.status, 200);
}

/// RFC 9068 §2.2.3.1 b (optional, accepts and refuses)
#[tokio::test]
async fn custom_claims_and_the_users_log_in_satisfy_roles_claims_and_step_up() {
    for as_array in [false, true] {
        let world = World::with(|builder| {
            let builder = builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new());
            builder.customize_tokens(move |_| async move {
                let content = TokenContent::new().claim("roles", ["editor"]).claims(json!({"tenant": 7}));
                Ok(if as_array { content.scope_as_array() } else { content })
            })
        });
        let app = app(world.endpoint.verifier(API));
        let request = world.ask(&[]).await.unwrap().with_authentication_context("gold");
        let sent = super::sent(&request.approve("ada", ["orders:read"]).await.map(axum::body::Body::new));
        let code = sent.into_iter().find(|(name, _)| name == "code").unwrap().1;
        let answer = world.redeem(&code, &[]).await;
        let token = answer.text("access_token");
        for (path, body) in [("/editor", "editor"), ("/tenant", "7"), ("/strong", "strong"), ("/orders", "read")] {
            let answer = get_with_token(&app, path, token).await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, body), "{path}");
        }
        assert_eq!(get_with_token(&app, "/owner", token).await.status, 403);
        let weak = world.access_token("reports", &[]).await;
        assert_eq!(get_with_token(&app, "/strong", &weak).await.status, 401);
        // As for an API elsewhere, which verifies the JWT itself.
        let issuer = tower_oauth::Issuer::builder(ISSUER).fetch(super::resource_server::Wire(world.endpoint.clone()));
        let issuer = issuer.discover().await.unwrap();
        let jwts = tower_oauth::JwtVerifier::builder(issuer, API).clock(world.clock.clone()).build().unwrap();
        let elsewhere = self::app(jwts);
        for (path, body) in [("/editor", "editor"), ("/tenant", "7"), ("/strong", "strong"), ("/orders", "read")] {
            assert_eq!(get_with_token(&elsewhere, path, token).await.body, body, "{path}");
        }
    }
}

#[tokio::test]
async fn is_responsible_for_its_own_jwts_only_and_its_verdicts_can_be_cached() {
    let world = World::new();
    let foreign = crate::support::issuer();
    let both = JwtOrOpaque::new(foreign.verifier(API), world.endpoint.verifier(API));
    let first = JwtOrOpaque::new(world.endpoint.verifier(API), world.endpoint.verifier(API));
    let (both, first) = (app(both), app(first));
    let own = world.access_token("reports", &[]).await;
    let other = crate::support::valid_token().sign();
    assert_eq!(get_with_token(&both, "/me", &own).await.body, "reports");
    assert_eq!(get_with_token(&both, "/me", &other).await.body, "ada");
    assert_eq!(get_with_token(&first, "/me", &own).await.body, "reports");
    assert!(get_with_token(&first, "/me", &other).await.is_refusal(401, "invalid_token"));
    let cached = app(Cached::new(world.endpoint.verifier(API), std::time::Duration::from_secs(30)));
    assert_eq!(get_with_token(&cached, "/me", &own).await.body, "reports");
    world.post("/revoke", &usual("reports"), &[("token", &own)]).await.is_ok();
    assert_eq!(get_with_token(&cached, "/me", &own).await.body, "reports", "from the cache");
    assert!(get_with_token(&both, "/me", &own).await.is_refusal(401, "invalid_token"));
}

#[test]
fn names_the_endpoint_as_issuer_and_its_audience() {
    let verifier = World::new().endpoint.verifier(API);
    assert_eq!((verifier.issuers(), verifier.audiences()), (vec![ISSUER.to_owned()], Some(vec![API.to_owned()])));
}
