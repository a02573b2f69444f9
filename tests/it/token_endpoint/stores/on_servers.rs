//! Helpers for the tests of the stores in Redis and in PostgreSQL.

use std::time::{Duration, Instant};

use tower_oauth::token_endpoint::{AuthorizationCodeGrant, RefreshTokenGrant, Store};

use super::super::{AUTHORIZE, OPAQUE, VERIFIER, World};

pub(crate) fn world(store: impl Store) -> World {
    World::with(|builder| {
        builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new()).store(store)
    })
}

/// Requests a token until the request succeeds.
pub(crate) async fn works_again(world: &World) {
    let start = Instant::now();
    while world.token("reports", &[]).await.status() != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "no token for 20 seconds");
    }
}

/// Issues one token of each kind, and returns all texts that the store must not contain.
pub(crate) async fn issue_all_secrets(world: &World) -> Vec<String> {
    let code = world.code(&[]).await;
    let first = world.redeem(&code, &[]).await;
    let unused = world.code(&[]).await;
    let next = world.refresh(first.text("refresh_token"), &[]).await;
    let opaque = world.access_token("reports", &[("resource", OPAQUE)]).await;
    let limited = world.access_token("limited", &[]).await;
    let secrets = [
        &*code,
        &unused,
        first.text("access_token"),
        first.text("refresh_token"),
        next.text("access_token"),
        next.text("refresh_token"),
        &opaque,
        &limited,
        "reports-secret",
        VERIFIER,
    ];
    secrets.map(str::to_owned).into()
}
