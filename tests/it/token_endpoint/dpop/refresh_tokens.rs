//! The refresh tokens of bound sessions: who can use them, and what an attempt without the key costs.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tower_oauth::{testing::ProofKey, token_endpoint::RefreshTokenGrant};

use super::{
    super::{AUTHORIZE, World},
    begin, begin_confidential, is_bound, refresh, refresh_confidential, world,
};

/// RFC 9449 §5 c (MUST, refuses)
#[tokio::test]
async fn a_public_client_refreshes_only_with_its_key_and_a_failure_costs_nothing() {
    let world = world();
    let (key, other) = (ProofKey::new(), ProofKey::new());
    let mut last = begin(&world, Some(&key)).await;
    for _ in 0..3 {
        let token = last.text("refresh_token").to_owned();
        for wrong in [Some(&other), None] {
            refresh(&world, &token, wrong).await.is_error(400, "invalid_grant");
            assert!(world.is_active(last.text("access_token")).await, "the session goes on");
        }
        last = refresh(&world, &token, Some(&key)).await;
        is_bound(&world, &last, Some(&key)).await;
        assert_ne!(last.text("refresh_token"), token, "it is replaced");
        // Its holder proves the key, so two parties have the key and the token.
        world.clock.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn an_old_refresh_token_ends_the_session_only_with_its_key() {
    let world = world();
    let (key, other) = (ProofKey::new(), ProofKey::new());
    let first = begin(&world, Some(&key)).await;
    let second = refresh(&world, first.text("refresh_token"), Some(&key)).await;
    let third = refresh(&world, second.text("refresh_token"), Some(&key)).await;
    for wrong in [Some(&other), None] {
        refresh(&world, first.text("refresh_token"), wrong).await.is_error(400, "invalid_grant");
        assert!(world.is_active(third.text("access_token")).await, "the session goes on");
    }
    refresh(&world, first.text("refresh_token"), Some(&key)).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(third.text("access_token")).await, "the session has ended");
}

#[tokio::test]
async fn a_repeated_refresh_within_the_grace_gets_the_same_bound_successor() {
    let world = world();
    let (key, other) = (ProofKey::new(), ProofKey::new());
    let first = begin(&world, Some(&key)).await;
    let token = first.text("refresh_token");
    let next = refresh(&world, token, Some(&key)).await;
    let again = refresh(&world, token, Some(&key)).await;
    is_bound(&world, &again, Some(&key)).await;
    assert_eq!(next.text("refresh_token"), again.text("refresh_token"));
    refresh(&world, token, Some(&other)).await.is_error(400, "invalid_grant");
    is_bound(&world, &refresh(&world, next.text("refresh_token"), Some(&key)).await, Some(&key)).await;
}

/// RFC 9449 §5 c (MUST, accepts)
#[tokio::test]
async fn a_client_that_authenticates_may_change_its_key_but_gets_no_bearer_token_again() {
    for rotates in [false, true] {
        let settings = RefreshTokenGrant::new();
        let settings = if rotates { settings.rotate_for_all_clients() } else { settings };
        let world = World::with(|builder| {
            builder.dpop().grant(tower_oauth::token_endpoint::AuthorizationCodeGrant::new(AUTHORIZE)).grant(settings)
        });
        let (one, two) = (ProofKey::new(), ProofKey::new());
        let first = begin_confidential(&world, Some(&one)).await;
        is_bound(&world, &first, Some(&one)).await;
        let mut token = first.text("refresh_token").to_owned();
        for key in [&two, &one, &two] {
            refresh_confidential(&world, &token, None).await.is_error(400, "invalid_grant");
            let next = refresh_confidential(&world, &token, Some(key)).await;
            is_bound(&world, &next, Some(key)).await;
            assert_eq!(next.text("refresh_token") != token, rotates);
            next.text("refresh_token").clone_into(&mut token);
            assert!(world.is_active(first.text("access_token")).await, "the session goes on");
        }
    }
}

#[tokio::test]
async fn an_unbound_refresh_token_of_a_public_client_becomes_bound_with_the_first_proof() {
    let world = world();
    let (key, other) = (ProofKey::new(), ProofKey::new());
    let first = begin(&world, None).await;
    let unbound = refresh(&world, first.text("refresh_token"), None).await;
    is_bound(&world, &unbound, None).await;
    let token = unbound.text("refresh_token");
    let bound = refresh(&world, token, Some(&key)).await;
    is_bound(&world, &bound, Some(&key)).await;
    // Within the grace, the predecessor gets the same successor.
    let again = refresh(&world, token, Some(&key)).await;
    is_bound(&world, &again, Some(&key)).await;
    assert_eq!(again.text("refresh_token"), bound.text("refresh_token"));
    for wrong in [None, Some(&other)] {
        refresh(&world, bound.text("refresh_token"), wrong).await.is_error(400, "invalid_grant");
    }
    let next = refresh(&world, bound.text("refresh_token"), Some(&key)).await;
    is_bound(&world, &next, Some(&key)).await;
}

/// RFC 9449 §5 c (MUST, refuses)
#[tokio::test]
async fn two_senders_of_an_unbound_refresh_token_with_other_keys_end_its_session() {
    let keys = [ProofKey::new(), ProofKey::new()];
    for (first, second) in [(Some(&keys[0]), Some(&keys[1])), (Some(&keys[0]), None), (None, Some(&keys[0]))] {
        let world = world();
        let begun = begin(&world, None).await;
        let token = begun.text("refresh_token");
        let stolen = refresh(&world, token, first).await;
        is_bound(&world, &stolen, first).await;
        refresh(&world, token, second).await.is_error(400, "invalid_grant");
        assert!(!world.is_active(stolen.text("access_token")).await, "the session has ended");
        refresh(&world, stolen.text("refresh_token"), first).await.is_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn an_unbound_session_of_a_client_that_authenticates_gives_no_bearer_token_after_the_first_proof() {
    let world = world();
    let (one, two) = (ProofKey::new(), ProofKey::new());
    let first = begin_confidential(&world, None).await;
    let token = first.text("refresh_token");
    for _ in 0..2 {
        let same = refresh_confidential(&world, token, None).await;
        is_bound(&world, &same, None).await;
        assert_eq!(same.text("refresh_token"), token);
    }
    let bound = refresh_confidential(&world, token, Some(&one)).await;
    is_bound(&world, &bound, Some(&one)).await;
    for token in [token, bound.text("refresh_token")] {
        refresh_confidential(&world, token, None).await.is_error(400, "invalid_grant");
        is_bound(&world, &refresh_confidential(&world, token, Some(&two)).await, Some(&two)).await;
    }
    assert!(world.is_active(bound.text("access_token")).await, "the session goes on");
}

#[tokio::test]
async fn a_changed_text_of_a_bound_refresh_token_is_no_refresh_token() {
    let (key, thief) = (ProofKey::new(), ProofKey::new());
    let raw = |answer: &super::Answer| URL_SAFE_NO_PAD.decode(answer.text("refresh_token")).unwrap();
    let other_key = URL_SAFE_NO_PAD.decode(thief.thumbprint()).unwrap();
    for change in 0..7 {
        let world = world();
        let first = begin(&world, Some(&key)).await;
        let bytes = raw(&first);
        assert_eq!(
            (bytes.len(), bytes[48], &bytes[49..]),
            (81, 2, &*URL_SAFE_NO_PAD.decode(key.thumbprint()).unwrap())
        );
        let changed = match change {
            0 => bytes[..48].to_vec(),
            1 => [&bytes[..49], &other_key].concat(),
            2 => [&bytes[..48], &[1]].concat(),
            3 => [&bytes[..48], &[0]].concat(),
            5 => [&bytes[..48], &[3], &bytes[49..]].concat(),
            6 => [&bytes[..48], &[4], &bytes[49..], &other_key].concat(),
            _ => [&*bytes, &[0]].concat(),
        };
        let changed = URL_SAFE_NO_PAD.encode(changed);
        for key in [None, Some(&thief), Some(&key)] {
            let answer = refresh(&world, &changed, key).await;
            answer.is_error(400, "invalid_grant");
        }
    }
    // Without a proof, the texts are as before.
    let world = world();
    assert_eq!(raw(&begin(&world, None).await).len(), 48);
    assert_eq!(raw(&begin_confidential(&world, None).await).len(), 48);
    assert_eq!(raw(&begin_confidential(&world, Some(&key)).await).len(), 49);
}

#[tokio::test]
async fn a_bound_refresh_token_is_revoked_without_a_proof_and_is_no_access_token() {
    let world = world();
    let key = ProofKey::new();
    let first = begin(&world, Some(&key)).await;
    let token = first.text("refresh_token");
    assert!(!world.is_active(token).await);
    world.post("/revoke", "", &[("client_id", "app"), ("token", token)]).await.is_ok();
    assert!(!world.is_active(first.text("access_token")).await, "the session has ended");
    refresh(&world, token, Some(&key)).await.is_error(400, "invalid_grant");
}

#[tokio::test]
async fn an_endpoint_without_dpop_gives_bound_sessions_nothing() {
    let store = tower_oauth::token_endpoint::MemoryStore::new();
    let world = super::world_on(store.clone());
    let key = ProofKey::new();
    let (public, confidential) = (begin(&world, Some(&key)).await, begin_confidential(&world, Some(&key)).await);
    let without = super::world_with(|builder| builder.store(store));
    refresh(&without, public.text("refresh_token"), Some(&key)).await.is_error(400, "invalid_grant");
    refresh_confidential(&without, confidential.text("refresh_token"), Some(&key)).await.is_error(400, "invalid_grant");
    is_bound(&world, &refresh(&world, public.text("refresh_token"), Some(&key)).await, Some(&key)).await;
}
