//! RFC 7009.

use super::{OPAQUE, World, basic, usual};

/// RFC 7009 §2.1 a (MUST, accepts)
#[tokio::test]
async fn a_client_revokes_its_own_tokens() {
    let world = World::new();
    for resource in [crate::support::API, OPAQUE] {
        for hint in ["", "access_token", "refresh_token", "nonsense"] {
            let token = world.access_token("reports", &[("resource", resource)]).await;
            let other = world.access_token("reports", &[("resource", resource)]).await;
            let form = [("token", &*token), ("token_type_hint", hint)];
            let answer = world.post("/revoke", &usual("reports"), &form).await;
            answer.is_ok();
            assert_eq!(answer.plain.body, "{}");
            assert!(!world.is_active(&token).await && world.is_active(&other).await);
            world.post("/revoke", &usual("reports"), &form).await.is_ok();
        }
    }
}

/// RFC 7009 §2.2 (MUST, accepts)
/// Threat T27
#[tokio::test]
async fn revoking_an_unknown_token_gets_200() {
    let world = World::new();
    for text in ["x", "a.b.c", &"y".repeat(10_000)] {
        let answer = world.post("/revoke", &usual("reports"), &[("token", text)]).await;
        answer.is_ok();
        assert_eq!(answer.plain.body, "{}");
    }
}

/// RFC 7009 §2.1 a (MUST, refuses)
/// RFC 7009 §2.2 (MUST, refuses)
/// Threat T27
#[tokio::test]
async fn a_client_cannot_revoke_tokens_of_another() {
    let world = World::new();
    let token = world.access_token("reports", &[]).await;
    // The answer is that for an unknown token, so that a client can't find out which tokens exist.
    world.post("/revoke", &usual("others"), &[("token", &token)]).await.is_ok();
    world.post("/revoke", &usual("watch"), &[("token", &token)]).await.is_ok();
    world.post("/revoke", "", &[("token", &token), ("client_id", "app")]).await.is_ok();
    world.post("/revoke", "", &[("token", &token)]).await.is_error(401, "invalid_client");
    world.post("/revoke", &basic("reports", "x"), &[("token", &token)]).await.is_error(401, "invalid_client");
    world.post("/revoke", "", &[("token", &token), ("client_id", "reports")]).await.is_error(401, "invalid_client");
    assert!(world.is_active(&token).await);
}
