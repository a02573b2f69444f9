//! A store that fails: 503, and when a request may be repeated with the same proof.

use std::time::Duration;

use tower_oauth::{
    testing::ProofKey,
    token_endpoint::{MemoryStore, TokenEndpointBuilder},
};

use super::{
    super::{
        Answer, World, assertion,
        stores::faulty_store::{Fault, FaultyStore},
        usual,
    },
    CC, begin, is_bound, proof, refresh, refresh_form, send, world_with,
};

fn faulty() -> (World, FaultyStore<MemoryStore>) {
    let store = FaultyStore::new(MemoryStore::new());
    (world_with(|builder| TokenEndpointBuilder::dpop(builder).store(store.clone())), store)
}

/// Waits as `Retry-After` says, if the answer has it. Returns whether it has.
#[track_caller]
fn wait(world: &World, answer: &Answer) -> bool {
    assert_eq!((answer.status(), &answer.json["error"]), (503, &"temporarily_unavailable".into()), "{answer:?}");
    assert!(super::nonces(answer).is_empty());
    let seconds = answer.header("retry-after").map(|seconds| seconds.parse().unwrap());
    world.clock.advance(Duration::from_secs(seconds.unwrap_or_default()));
    seconds.is_some()
}

#[tokio::test]
async fn while_the_store_is_down_proofs_get_503_and_are_not_used_up() {
    let (world, store) = faulty();
    let key = ProofKey::new();
    let text = proof(&world, &key).sign();
    let first = begin(&world, Some(&key)).await;
    let refresh_proof = proof(&world, &key).sign();
    store.set_down(true);
    assert!(wait(&world, &send(&world, &usual("reports"), &[CC], &[&text]).await));
    assert!(wait(&world, &send(&world, "", &refresh_form(first.text("refresh_token")), &[&refresh_proof]).await));
    // A proof that is wrong by itself needs no store.
    send(&world, &usual("reports"), &[CC], &["bad"]).await.is_error(400, "invalid_dpop_proof");
    store.set_down(false);
    is_bound(&world, &send(&world, &usual("reports"), &[CC], &[&text]).await, Some(&key)).await;
    let next = send(&world, "", &refresh_form(first.text("refresh_token")), &[&refresh_proof]).await;
    is_bound(&world, &next, Some(&key)).await;
}

#[tokio::test]
async fn a_503_with_retry_after_may_be_repeated_with_the_same_proof() {
    for fault in Fault::ALL {
        let (world, store) = faulty();
        let key = ProofKey::new();
        let first = begin(&world, Some(&key)).await;
        let token = first.text("refresh_token");
        for (authorization, form) in [(usual("reports"), vec![CC]), (String::new(), refresh_form(token).to_vec())] {
            let text = proof(&world, &key).sign();
            store.fail_next_write(fault);
            let answer = send(&world, &authorization, &form, &[&text]).await;
            let repeats = wait(&world, &answer);
            assert_eq!(repeats, !fault.is_unknown(), "{fault:?}");
            if repeats {
                is_bound(&world, &send(&world, &authorization, &form, &[&text]).await, Some(&key)).await;
            }
        }
        // A new proof always works, also if the answer to the first one was lost.
        is_bound(&world, &refresh(&world, token, Some(&key)).await, Some(&key)).await;
    }
}

#[tokio::test]
async fn a_503_after_the_proof_was_used_has_no_retry_after() {
    for fault in Fault::ALL {
        for before in [0, 1] {
            let (world, store) = faulty();
            let key = ProofKey::new();
            let (signed, text) = (assertion(&world, "1").sign(), proof(&world, &key).sign());
            let form = [
                CC,
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", &*signed),
            ];
            // The first write uses the proof up, the second one the assertion.
            store.fail_write_after(before, fault);
            let answer = send(&world, "", &form, &[&text]).await;
            if wait(&world, &answer) {
                assert!(before == 0 && !fault.is_unknown(), "{fault:?}");
                is_bound(&world, &send(&world, "", &form, &[&text]).await, Some(&key)).await;
            }
        }
    }
}
