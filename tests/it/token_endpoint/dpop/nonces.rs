//! Nonces of the token endpoint (RFC 9449 §8).

use std::time::Duration;

use tower_oauth::{
    clock::Clock as _,
    dpop::NonceSecret,
    testing::ProofKey,
    token_endpoint::{Client, ClientCredential, TokenEndpointBuilder},
};

use super::{
    super::{Answer, CB, World, basic, usual},
    CC, begin, code_form, is_bound, nonces, proof, refresh, send, send_with_key, token_with, world_with,
};

fn secret(byte: u8) -> NonceSecret {
    NonceSecret::shared([byte; 32])
}

fn world() -> World {
    world_with(|builder| builder.dpop_nonces(secret(1)))
}

/// Returns the only nonce of an answer.
#[track_caller]
fn nonce(answer: &Answer) -> String {
    let nonces = nonces(answer);
    assert_eq!(nonces.len(), 1, "{answer:?}");
    assert!(nonces[0].bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "RFC 9449 §8.1");
    nonces[0].to_owned()
}

/// Returns the nonce that the endpoint gives now.
async fn current(world: &World) -> String {
    let answer = token_with(world, &proof(world, &ProofKey::new()).sign()).await;
    answer.is_error(400, "use_dpop_nonce");
    nonce(&answer)
}

/// RFC 9449 §8 a (MUST, refuses)
#[tokio::test]
async fn a_proof_without_a_recent_nonce_gets_one_and_costs_no_code() {
    let world = world();
    let key = ProofKey::new();
    let code = world.code(&[]).await;
    let answer = send_with_key(&world, "", &code_form(&code), Some(&key)).await;
    answer.is_error(400, "use_dpop_nonce");
    let given = nonce(&answer);
    for wrong in ["", "wrong", &given[1..], &format!("{given}x"), &given.to_lowercase()] {
        let answer = send(&world, "", &code_form(&code), &[&proof(&world, &key).nonce(wrong).sign()]).await;
        answer.is_error(400, "use_dpop_nonce");
        assert_eq!(nonce(&answer), given);
    }
    let answer = send(&world, "", &code_form(&code), &[&proof(&world, &key).claim("nonce", 1).sign()]).await;
    answer.is_error(400, "invalid_dpop_proof");
    let first = send(&world, "", &code_form(&code), &[&proof(&world, &key).nonce(&given).sign()]).await;
    is_bound(&world, &first, Some(&key)).await;
    assert!(nonces(&first).is_empty(), "the nonce is the current one");
    let answer = refresh(&world, first.text("refresh_token"), Some(&key)).await;
    answer.is_error(400, "use_dpop_nonce");
    assert!(world.is_active(first.text("access_token")).await, "the session goes on");
}

/// RFC 9449 §8 a (MUST, accepts)
#[tokio::test]
async fn an_old_nonce_is_accepted_for_4_to_5_minutes_and_renewed() {
    let world = world();
    let key = ProofKey::new();
    let first = current(&world).await;
    let (mut accepted, mut renewed) = (0, false);
    for second in 0..400 {
        let answer = token_with(&world, &proof(&world, &key).nonce(&first).sign()).await;
        if answer.status() == 200 {
            assert_eq!(accepted, second, "once it has expired, it is not accepted again");
            accepted = second + 1;
            if renewed || !nonces(&answer).is_empty() {
                renewed = true;
                assert_ne!(nonce(&answer), first);
            }
        } else {
            answer.is_error(400, "use_dpop_nonce");
            assert_ne!(nonce(&answer), first);
        }
        world.clock.advance(Duration::from_secs(1));
    }
    assert!(renewed && (240..=300).contains(&accepted), "{accepted}");
}

#[tokio::test]
async fn with_a_nonce_the_clock_of_the_client_does_not_matter() {
    let world = world();
    let key = ProofKey::new();
    let given = current(&world).await;
    let now = world.clock.now();
    for time in [now - Duration::from_secs(3600), now + Duration::from_secs(3600)] {
        let text = proof(&world, &key).nonce(&given).issued_at(time).sign();
        is_bound(&world, &token_with(&world, &text).await, Some(&key)).await;
    }
}

#[tokio::test]
async fn a_proof_is_accepted_once_in_the_whole_life_of_its_nonce() {
    let world = world();
    let text = proof(&world, &ProofKey::new()).nonce(&current(&world).await).sign();
    token_with(&world, &text).await.is_ok();
    for _ in 0..120 {
        let answer = token_with(&world, &text).await;
        assert!([400].contains(&answer.status()), "{answer:?}");
        world.clock.advance(Duration::from_secs(5));
    }
}

/// RFC 9449 §8 a (MUST, refuses)
#[tokio::test]
async fn only_the_refusal_of_a_proof_has_a_nonce() {
    let world = world();
    let key = ProofKey::new();
    let old = current(&world).await;
    world.clock.advance(Duration::from_secs(70));
    let text = || proof(&world, &key).nonce(&old);
    let bad = text().claim("htm", "GET").sign();
    let answer = token_with(&world, &bad).await;
    answer.is_error(400, "invalid_dpop_proof");
    nonce(&answer);
    let used = text().sign();
    token_with(&world, &used).await.is_ok();
    let answer = token_with(&world, &used).await;
    answer.is_error(400, "invalid_dpop_proof");
    nonce(&answer);
    let code = world.code(&[]).await;
    let mut wrong = code_form(&code).to_vec();
    wrong[3].1 = "wrong";
    for (authorization, form, status, error) in [
        (String::new(), wrong, 400, "invalid_grant"),
        (basic("reports", "wrong"), vec![CC], 401, "invalid_client"),
        (usual("reports"), vec![], 400, "invalid_request"),
        (usual("reports"), vec![CC, ("scope", "a"), ("scope", "b")], 400, "invalid_request"),
        (usual("reports"), vec![CC, ("scope", "unknown")], 400, "invalid_scope"),
        (usual("reports"), vec![("grant_type", "password")], 400, "unsupported_grant_type"),
    ] {
        let answer = send(&world, &authorization, &form, &[&text().sign()]).await;
        answer.is_error(status, error);
        assert!(nonces(&answer).is_empty(), "{answer:?}");
    }
    // Requests without a proof need no nonce.
    let answer = send(&world, &usual("reports"), &[CC], &[]).await;
    is_bound(&world, &answer, None).await;
    assert!(nonces(&answer).is_empty());
    let bound = begin_with(&world, &key, &old).await;
    let answer = refresh(&world, bound.text("refresh_token"), None).await;
    answer.is_error(400, "invalid_grant");
    assert!(nonces(&answer).is_empty());
}

async fn begin_with(world: &World, key: &ProofKey, nonce: &str) -> Answer {
    send(world, "", &code_form(&world.code(&[]).await), &[&proof(world, key).nonce(nonce).sign()]).await
}

#[tokio::test]
async fn a_client_that_needs_dpop_gets_a_nonce_for_its_first_proof() {
    let world = world();
    let app = Client::builder("app", ClientCredential::None).redirect_uri(CB).dpop_bound_access_tokens();
    let app = app.grant_types(["authorization_code", "refresh_token"]);
    let app = app
        .default_scopes(["orders:read"])
        .audience(crate::support::API, tower_oauth::token_endpoint::TokenFormat::Jwt);
    world.clients.insert(app.build().unwrap());
    let code = world.code(&[]).await;
    let answer = send(&world, "", &code_form(&code), &[]).await;
    answer.is_error(400, "use_dpop_nonce");
    let key = ProofKey::new();
    let text = proof(&world, &key).nonce(&nonce(&answer)).sign();
    is_bound(&world, &send(&world, "", &code_form(&code), &[&text]).await, Some(&key)).await;
}

#[tokio::test]
async fn instances_with_one_secret_accept_each_others_nonces() {
    let key = ProofKey::new();
    let accepts = async |given: &str, configure: fn(TokenEndpointBuilder) -> TokenEndpointBuilder| {
        let world = world_with(configure);
        let answer = token_with(&world, &proof(&world, &key).nonce(given).sign()).await;
        if answer.status() != 200 {
            answer.is_error(400, "use_dpop_nonce");
        }
        answer.status() == 200
    };
    let given = current(&world()).await;
    assert!(accepts(&given, |builder| builder.dpop_nonces(secret(1))).await);
    assert!(accepts(&given, |builder| builder.dpop().dpop_nonces(secret(1))).await);
    assert!(accepts(&given, |builder| builder.dpop_nonces(secret(1)).dpop()).await, "dpop() keeps the nonces");
    assert!(!accepts(&given, |builder| builder.dpop_nonces(secret(2))).await);
    assert!(!accepts(&given, |builder| builder.dpop_nonces(NonceSecret::for_one_instance().unwrap())).await);
    assert!(accepts(&given, TokenEndpointBuilder::dpop).await, "without nonces, a nonce is ignored");
    begin(&world_with(TokenEndpointBuilder::dpop), None).await.is_ok();
}
