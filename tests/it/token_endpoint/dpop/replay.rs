//! A proof is accepted once, at every instance, and a replay costs neither a code nor a refresh token.

use std::time::Duration;

use tower_oauth::{
    testing::ProofKey,
    token_endpoint::{Client, ClientCredential, MemoryStore, Store, TokenFormat},
};

use super::{
    super::{OPAQUE, usual},
    CC, GIFT, GiftCard, begin, code_form, instances, is_bound, proof, refresh, refresh_form, send, send_with_key,
    token_with, world, world_on, world_with,
};

#[tokio::test]
async fn a_replayed_proof_costs_neither_a_code_nor_a_refresh_token_in_memory() {
    a_replayed_proof_costs_neither_a_code_nor_a_refresh_token(MemoryStore::new()).await;
}

/// Two instances share the store.
pub(super) async fn a_replayed_proof_costs_neither_a_code_nor_a_refresh_token(store: impl Store + Clone) {
    let instances = instances(store);
    let [one, other] = &instances;
    let key = ProofKey::new();
    let used = proof(one, &key).sign();
    is_bound(one, &token_with(one, &used).await, Some(&key)).await;
    let code = one.code(&[]).await;
    for world in &instances {
        token_with(world, &used).await.is_error(400, "invalid_dpop_proof");
        send(world, "", &code_form(&code), &[&used]).await.is_error(400, "invalid_dpop_proof");
    }
    let first_proof = proof(other, &key).sign();
    let first = send(other, "", &code_form(&code), &[&first_proof]).await;
    is_bound(other, &first, Some(&key)).await;
    // The same request again is a replay of the proof, and no sign of a stolen code.
    send(one, "", &code_form(&code), &[&first_proof]).await.is_error(400, "invalid_dpop_proof");
    let token = first.text("refresh_token");
    for world in &instances {
        for used in [&used, &first_proof] {
            send(world, "", &refresh_form(token), &[used]).await.is_error(400, "invalid_dpop_proof");
        }
        assert!(world.is_active(first.text("access_token")).await, "the session goes on");
    }
    let second_proof = proof(one, &key).sign();
    let second = send(one, "", &refresh_form(token), &[&second_proof]).await;
    is_bound(one, &second, Some(&key)).await;
    send(other, "", &refresh_form(token), &[&second_proof]).await.is_error(400, "invalid_dpop_proof");
    let third = refresh(other, second.text("refresh_token"), Some(&key)).await;
    is_bound(other, &third, Some(&key)).await;
    // It is an old refresh token by now, but the proof is not the client's.
    send(one, "", &refresh_form(token), &[&second_proof]).await.is_error(400, "invalid_dpop_proof");
    assert!(one.is_active(third.text("access_token")).await, "the session goes on");
    // With a new proof, two parties have the code.
    send_with_key(one, "", &code_form(&code), Some(&key)).await.is_error(400, "invalid_grant");
    assert!(!one.is_active(third.text("access_token")).await, "the session has ended");
}

/// RFC 9449 §11.1 b (SHOULD, refuses)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_50_parallel_uses_of_one_proof_one_is_accepted_in_memory() {
    of_50_parallel_uses_of_one_proof_one_is_accepted(MemoryStore::new()).await;
}

pub(super) async fn of_50_parallel_uses_of_one_proof_one_is_accepted(store: impl Store + Clone) {
    let instances = instances(store);
    let key = ProofKey::new();
    // The same request, and requests with sessions of their own.
    let same = proof(&instances[0], &key).sign();
    let shared = proof(&instances[0], &key).sign();
    let mut tokens = Vec::new();
    for _ in 0..50 {
        tokens.push(begin(&instances[0], Some(&key)).await.text("refresh_token").to_owned());
    }
    let (mut same_answers, mut shared_answers) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
    for (index, token) in tokens.iter().cloned().enumerate() {
        let (endpoint, one) = (instances[index % 2].endpoint.clone(), same.clone());
        same_answers.spawn(async move { post_with(endpoint, &usual("reports"), &[CC], &one).await });
        let (endpoint, one) = (instances[index % 2].endpoint.clone(), shared.clone());
        shared_answers.spawn(async move { post_with(endpoint, "", &refresh_form(&token), &one).await });
    }
    for answers in [same_answers.join_all().await, shared_answers.join_all().await] {
        let accepted = answers.iter().filter(|status| **status == 200).count();
        let refused = answers.iter().filter(|status| **status == 400).count();
        assert_eq!((accepted, refused), (1, 49), "{answers:?}");
    }
    let mut unused = 0;
    for token in &tokens {
        // The winner's token is the last one of its session, within the grace.
        unused += usize::from(refresh(&instances[1], token, Some(&key)).await.status() == 200);
    }
    assert_eq!(unused, 50, "no loser's refresh token was used up");
}

async fn post_with(
    endpoint: tower_oauth::token_endpoint::TokenEndpoint,
    authorization: &str,
    form: &[(&str, &str)],
    proof: &str,
) -> u16 {
    let mut request = super::post("/token", authorization, form);
    request.headers_mut().insert("dpop", proof.parse().unwrap());
    tower::ServiceExt::oneshot(endpoint, request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_proof_is_known_for_as_long_as_it_is_accepted() {
    for ahead in [0, 29] {
        let world = world();
        let key = ProofKey::new();
        let time = tower_oauth::clock::Clock::now(&world.clock) + Duration::from_secs(ahead);
        let text = proof(&world, &key).issued_at(time).sign();
        token_with(&world, &text).await.is_ok();
        for _ in 0..200 {
            token_with(&world, &text).await.is_error(400, "invalid_dpop_proof");
            world.clock.advance(Duration::from_secs(1));
        }
    }
}

#[tokio::test]
async fn a_jti_is_accepted_once_for_each_key() {
    let world = world();
    let (key, other) = (ProofKey::new(), ProofKey::new());
    token_with(&world, &proof(&world, &key).jwt_id("same").sign()).await.is_ok();
    let text = proof(&world, &key).jwt_id("same").claim("x", 1).sign();
    token_with(&world, &text).await.is_error(400, "invalid_dpop_proof");
    token_with(&world, &proof(&world, &other).jwt_id("same").sign()).await.is_ok();
    for target in ["https://as.test/token?x", "https://as.test/token#x"] {
        let text = proof(&world, &key).jwt_id("same").claim("htu", target).sign();
        token_with(&world, &text).await.is_error(400, "invalid_dpop_proof");
    }
}

/// RFC 9449 §11.1 b (SHOULD, accepts)
#[tokio::test]
async fn a_request_that_is_refused_for_another_reason_does_not_use_its_proof_up() {
    let world = world();
    let key = ProofKey::new();
    let code = world.code(&[]).await;
    let good = code_form(&code);
    let with =
        |name: &'static str, value: &'static str| good.map(|own| if own.0 == name { (name, value) } else { own });
    let text = proof(&world, &key).sign();
    for (form, error) in [
        (with("code", "unknown"), "invalid_grant"),
        (with("code_verifier", "wrong"), "invalid_grant"),
        (with("redirect_uri", "https://evil.test"), "invalid_grant"),
        (with("client_id", "unknown"), "invalid_client"),
        (with("grant_type", "password"), "unsupported_grant_type"),
    ] {
        let answer = send(&world, "", &form, &[&text]).await;
        answer.is_error(if error == "invalid_client" { 401 } else { 400 }, error);
    }
    is_bound(&world, &send(&world, "", &good, &[&text]).await, Some(&key)).await;
}

#[tokio::test]
async fn requests_of_strangers_leave_nothing_in_the_store() {
    let store = MemoryStore::builder().capacity(100).build();
    let world = world_on(store);
    let key = ProofKey::new();
    for number in 0..300 {
        let text = proof(&world, &key).sign();
        let answer = send(&world, "", &refresh_form(&format!("guess-{number}")), &[&text]).await;
        answer.is_error(400, "invalid_grant");
    }
    begin(&world, Some(&key)).await.is_ok();
}

#[tokio::test]
async fn a_replayed_proof_has_no_effect_in_a_grant_of_the_application() {
    let cards = GiftCard::default();
    let world = world_with(|builder| builder.dpop().grant(cards.clone()));
    let shop = Client::builder("shop", ClientCredential::None).redirect_uri("https://shop.test/cb");
    world.clients.insert(shop.grant_types([GIFT.1]).audience(OPAQUE, TokenFormat::Opaque).build().unwrap());
    let key = ProofKey::new();
    let form = [GIFT, ("client_id", "shop"), ("gift_card", "good")];
    let text = proof(&world, &key).sign();
    send(&world, "", &form, &[&text]).await.is_ok();
    assert_eq!(cards.used(), 1);
    send(&world, "", &form, &[&text]).await.is_error(400, "invalid_dpop_proof");
    send(&world, "", &form, &["bad"]).await.is_error(400, "invalid_dpop_proof");
    assert_eq!(cards.used(), 1, "the grant has not seen the request");
    send_with_key(&world, "", &form, Some(&key)).await.is_ok();
    assert_eq!(cards.used(), 2);
}

/// An assertion and a proof are both accepted once.
#[tokio::test]
async fn a_client_with_an_assertion_uses_both_up() {
    let world = world();
    let key = ProofKey::new();
    let send_signed = async |jti: &str, proof: &str| {
        let signed = super::super::assertion(&world, jti).sign();
        let form = [
            CC,
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &*signed),
        ];
        send(&world, "", &form, &[proof]).await
    };
    let text = proof(&world, &key).sign();
    is_bound(&world, &send_signed("1", &text).await, Some(&key)).await;
    send_signed("2", &text).await.is_error(400, "invalid_dpop_proof");
    send_signed("1", &proof(&world, &key).sign()).await.is_error(401, "invalid_client");
    send_signed("2", &proof(&world, &key).sign()).await.is_error(401, "invalid_client");
    send_signed("3", &proof(&world, &key).sign()).await.is_ok();
}
