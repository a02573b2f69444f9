//! Rows C10 to C13: a proof is good for one request.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::task::JoinSet;
use tower_oauth::{
    dpop::{Insertion, MemoryReplayStore, NonceSecret, ReplayError, ReplayKey, ReplayStore},
    testing::ProofKey,
};

use super::{
    Bound, must_be,
    served::{Served, send},
    with_nonces,
};
use crate::programs::protected_api::sender_fixture::{Reply, proof};

#[tokio::test]
async fn c10_a_proof_is_good_for_one_request_of_any_method() {
    let Some(client) = Bound::start(&[]).await else { return };
    // Each request is a connection of its own.
    for (method, path) in [("GET", "/orders"), ("POST", "/orders"), ("HEAD", "/orders"), ("POST", "/transfer")] {
        let proof = client.proof_for(method, path).sign();
        for reply in [Reply::Ok, Reply::Proof, Reply::Proof] {
            let response = client.api.present(method, path, &client.token, &proof).await;
            must_be(&response, reply, &format!("C10: {method} {path}"));
        }
    }
    let used = client.proof().sign();
    client.must("C10: the first time", &used, Reply::Ok).await;
    let response = client.api.present("GET", "/orders?page=2", &client.token, &used).await;
    must_be(&response, Reply::Proof, "C10: with another query");
    assert_eq!(response.description(), "The DPoP proof was used before");
    for authorization in [format!("dpop {}", client.token), format!("DPoP   {}", client.token)] {
        let headers = [("Authorization", &*authorization), ("DPoP", &*used)];
        must_be(&client.api.send("GET", "/orders", &headers).await, Reply::Proof, "C10: another spelling");
    }
    let response =
        client.api.present("GET", "/echo/~a", &client.token, &client.proof_for("GET", "/echo/~a").sign()).await;
    must_be(&response, Reply::Ok, "C10: an unused proof");
}

#[tokio::test]
async fn c10_another_spelling_of_the_path_makes_no_new_proof() {
    let Some(client) = Bound::start(&[]).await else { return };
    let proof = client.proof_for("GET", "/echo/~a").sign();
    for (path, reply) in [("/echo/~a", Reply::Ok), ("/echo/%7Ea", Reply::Proof), ("/echo/%7ea", Reply::Proof)] {
        let response = client.api.present("GET", path, &client.token, &proof).await;
        must_be(&response, reply, &format!("C10: {path}"));
        assert_eq!(response.status == 401, response.description() == "The DPoP proof was used before");
    }
}

/// Sends one proof 50 times at the same moment, by turns to each of the clients' programs.
async fn in_parallel(clients: &[Arc<Bound>], row: &str) {
    let proof = clients[0].proof().sign();
    let mut requests = JoinSet::new();
    for client in clients.iter().cycle().take(50) {
        let (client, proof) = (Arc::clone(client), proof.clone());
        requests.spawn(async move { client.present(&proof).await });
    }
    let responses = requests.join_all().await;
    let accepted = responses.iter().filter(|response| response.status == 200).count();
    assert_eq!(accepted, 1, "{row}: {responses:#?}");
    for response in responses.iter().filter(|response| response.status != 200) {
        must_be(response, Reply::Proof, row);
        assert_eq!(response.description(), "The DPoP proof was used before");
    }
}

/// RFC 9449 §7.3 (SHOULD, refuses)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c10_of_50_parallel_requests_with_one_proof_one_is_accepted() {
    let Some(client) = Bound::start(&[]).await else { return };
    let client = [Arc::new(client)];
    for _ in 0..5 {
        in_parallel(&client, "C10: in memory").await;
    }
}

/// RFC 9449 §7.3 (SHOULD, refuses)
#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c10_two_instances_share_used_proofs_in_redis() {
    let Some(redis) = crate::servers::redis::RedisServer::start("used proofs of two instances") else { return };
    let url = redis.url();
    let Some(one) = Bound::start(&[("OAUTH_DPOP_REPLAY", &url)]).await else { return };
    let Some(two) = one.another_instance(&[("OAUTH_DPOP_REPLAY", &url)]).await else { return };
    let both = [Arc::new(one), Arc::new(two)];
    for _ in 0..5 {
        in_parallel(&both, "C10: in Redis").await;
    }
    let [one, two] = &both;
    let proof = one.proof().sign();
    one.must("C10: at the first instance", &proof, Reply::Ok).await;
    two.must("C10: at the second instance", &proof, Reply::Proof).await;
    two.must("C10: a new proof", &one.proof().sign(), Reply::Ok).await;
}

/// Without a shared store, each instance accepts a proof once.
#[tokio::test]
async fn c10_in_memory_two_instances_do_not_share_used_proofs() {
    let Some(one) = Bound::start(&[]).await else { return };
    let Some(two) = one.another_instance(&[]).await else { return };
    let proof = one.proof().sign();
    for client in [&one, &two] {
        client.must("C10: the first time at an instance", &proof, Reply::Ok).await;
        client.must("C10: the second time", &proof, Reply::Proof).await;
    }
}

/// In process, with a clock that the test moves. A proof whose `iat` is ahead lives longer, and so must its record.
///
/// RFC 9449 §7.3 (SHOULD, refuses)
#[tokio::test]
async fn c10_a_used_proof_is_known_as_long_as_it_would_be_accepted() {
    let client = Served::new();
    for ahead in [0_u64, 1, 30] {
        let address = client.start(client.dpop()).await;
        let start = tower_oauth::clock::Clock::now(&client.clock);
        let issued_at = start + Duration::from_secs(ahead);
        let used = client.proof("/orders").issued_at(issued_at).sign();
        let unused = client.proof("/orders").issued_at(issued_at).sign();
        must_be(&client.present(address, "/orders", &used).await, Reply::Ok, "C10: the first time");
        for after in [1, 30, 58, 59, 60, 89, 90].into_iter().filter(|after| *after <= 60 + ahead) {
            client.clock.set(start + Duration::from_secs(after));
            let again = client.present(address, "/orders", &used).await;
            must_be(&again, Reply::Proof, &format!("C10: after {after} s, with iat {ahead} s ahead"));
            assert_eq!(again.description(), "The DPoP proof was used before");
            // Enough for a store that deletes what has expired when it is full or now and then.
            for _ in 0..3 {
                let other = client.proof("/orders").issued_at(issued_at).sign();
                must_be(&client.present(address, "/orders", &other).await, Reply::Ok, "C10: others");
            }
        }
        client.clock.set(start + Duration::from_secs(60 + ahead));
        must_be(&client.present(address, "/orders", &unused).await, Reply::Ok, "C10: the last moment of an unused one");
        client.clock.set(start + Duration::from_secs(61 + ahead));
        let late = client.present(address, "/orders", &used).await;
        must_be(&late, Reply::Proof, "C10: too late");
        assert_eq!(late.description(), "The DPoP proof is from another time: check the clock");
    }
}

/// In process, with a clock that the test moves: under a nonce, `iat` does not end the life of a proof.
#[tokio::test]
async fn c10_under_a_nonce_a_used_proof_is_known_for_the_nonces_life() {
    let client = Served::new();
    let address = client.start(client.dpop().nonces(NonceSecret::shared([7; 32]))).await;
    let first = client.present(address, "/orders", &client.proof("/orders").sign()).await;
    let nonce = first.one("dpop-nonce").unwrap().to_owned();
    let used = client.proof("/orders").nonce(&nonce).sign();
    with_nonces(&client.present(address, "/orders", &used).await, Reply::Ok, 0, "C10: the first time");
    for after in [59, 60, 61, 120, 299] {
        client.clock.set(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + after));
        let again = client.present(address, "/orders", &used).await;
        with_nonces(&again, Reply::Proof, 1, &format!("C10: after {after} s"));
        assert_eq!(again.description(), "The DPoP proof was used before");
        let other = client.present(address, "/orders", &client.proof("/orders").nonce(&nonce).sign()).await;
        assert_eq!(other.status, 200, "C10: another proof under the same nonce, after {after} s");
    }
    client.clock.set(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_300));
    with_nonces(&client.present(address, "/orders", &used).await, Reply::Nonce, 1, "C10: the nonce has expired");
}

/// RFC 9449 §7.3 (SHOULD, accepts)
#[tokio::test]
async fn c11_a_jti_belongs_to_a_key_and_a_url() {
    let Some(client) = Bound::start(&[]).await else { return };
    let with_jti = |path: &str| client.proof_for("GET", path).jwt_id("1");
    client.must("C11: the first time", &with_jti("/orders").sign(), Reply::Ok).await;
    let earlier = SystemTime::now() - Duration::from_secs(7);
    let again = with_jti("/orders").issued_at(earlier).claim("more", 1).sign();
    client.must("C11: the same jti in a new proof", &again, Reply::Proof).await;
    let with_query = with_jti("/orders").claim("htu", format!("{}?page=2", super::URL)).sign();
    client.must("C11: the same jti, with a query", &with_query, Reply::Proof).await;
    let with_fragment = with_jti("/orders").claim("htu", format!("{}#2", super::URL)).sign();
    client.must("C11: the same jti, with a fragment", &with_fragment, Reply::Proof).await;
    let post = client.proof_for("POST", "/orders").jwt_id("1").sign();
    let response = client.api.present("POST", "/orders", &client.token, &post).await;
    must_be(&response, Reply::Proof, "C11: the same jti, another method");
    let other_token = client.api.token().scope("orders:read").bound_to(&client.key).sign();
    let for_other_token = proof(&client.key, "GET", "/orders", &other_token).jwt_id("1").sign();
    let response = client.api.present("GET", "/orders", &other_token, &for_other_token).await;
    must_be(&response, Reply::Proof, "C11: the same jti, another token of the key");

    let response = client.api.present("GET", "/echo/a", &client.token, &with_jti("/echo/a").sign()).await;
    must_be(&response, Reply::Ok, "C11: another URL");
    let other_key = ProofKey::new();
    let token = client.api.bound_to(&other_key);
    let of_other = proof(&other_key, "GET", "/orders", &token).jwt_id("1").sign();
    must_be(&client.api.present("GET", "/orders", &token, &of_other).await, Reply::Ok, "C11: another key");
    must_be(&client.api.present("GET", "/orders", &token, &of_other).await, Reply::Proof, "C11: and then again");
    client.must("C11: another jti", &client.proof().jwt_id("10").sign(), Reply::Ok).await;
    // The URL ends where the jti begins.
    let shifted = client.proof_for("GET", "/echo/b").jwt_id("c1");
    let response = client.api.present("GET", "/echo/b", &client.token, &shifted.sign()).await;
    must_be(&response, Reply::Ok, "C11: /b and c1");
    let shifted = client.proof_for("GET", "/echo/bc").jwt_id("1");
    let response = client.api.present("GET", "/echo/bc", &client.token, &shifted.sign()).await;
    must_be(&response, Reply::Ok, "C11: /bc and 1");
}

/// RFC 9449 §7.3 (SHOULD, accepts)
#[tokio::test]
async fn c12_a_refused_request_does_not_use_its_proof_up() {
    let Some(client) = Bound::start(&[]).await else { return };
    let good = client.proof().sign();
    let (dpop, bearer) = (client.dpop(), client.bearer());
    let other = ProofKey::new();
    let unbound = client.api.token().sign();
    let of_other_key = client.api.bound_to(&other);
    let same_key = client.api.token().scope("orders:read").bound_to(&client.key).sign();
    let bad_token = format!("DPoP {}x", client.token);
    let headers = |authorization: &str| vec![("Authorization", authorization.to_owned()), ("DPoP", good.clone())];
    for (method, path, headers, reply, why) in [
        ("GET", "/admin", headers(&dpop), Reply::Proof, "another URL"),
        ("POST", "/orders", headers(&dpop), Reply::Proof, "another method"),
        ("GET", "/orders", headers(&format!("DPoP {same_key}")), Reply::Proof, "another token of the key"),
        ("GET", "/orders", headers(&format!("DPoP {of_other_key}")), Reply::DpopToken, "the token of another key"),
        ("GET", "/orders", headers(&format!("DPoP {unbound}")), Reply::DpopToken, "an unbound token"),
        ("GET", "/orders", headers(&bad_token), Reply::DpopToken, "a bad token"),
        ("GET", "/orders", headers(&bearer), Reply::BearerToken, "as Bearer"),
        ("GET", "/orders", headers("DPoP"), Reply::DpopRequest, "no token"),
        ("GET", "/orders", headers("Basic YTpi"), Reply::Bare, "another scheme"),
        ("GET", "/orders", [headers(&dpop), vec![("DPoP", good.clone())]].concat(), Reply::Proof, "twice"),
        (
            "GET",
            "/orders",
            [headers(&dpop), vec![("Authorization", dpop.clone())]].concat(),
            Reply::BothRequest,
            "two tokens",
        ),
        ("GET", "/orders", headers(&dpop), Reply::Ok, "then accepted"),
        ("GET", "/orders", headers(&dpop), Reply::Proof, "and now used"),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        must_be(&client.api.send(method, path, &headers).await, reply, &format!("C12: {why}"));
    }
    // A proof with a defect of its own, and a good one with the same jti.
    let defect = client.proof().jwt_id("j").claim("ath", "x").sign();
    client.must("C12: a proof with a defect", &defect, Reply::Proof).await;
    let forged = client.proof().jwt_id("j").sign_with(&other);
    client.must("C12: a forged signature", &forged, Reply::Proof).await;
    client.must("C12: the same jti, then", &client.proof().jwt_id("j").sign(), Reply::Ok).await;
}

#[tokio::test]
async fn c12_a_refusal_of_the_handler_uses_the_proof_up() {
    let Some(client) = Bound::start(&[]).await else { return };
    let proof = client.proof_for("GET", "/admin").sign();
    let response = client.api.present("GET", "/admin", &client.token, &proof).await;
    must_be(&response, Reply::DpopScope("orders:read admin"), "C12: 403");
    let response = client.api.present("GET", "/admin", &client.token, &proof).await;
    must_be(&response, Reply::Proof, "C12: after the 403");
    assert_eq!(response.description(), "The DPoP proof was used before");
}

/// RFC 9449 §11.1 a (derived, refuses)
#[cfg(feature = "redis")]
#[tokio::test]
async fn c13_while_redis_is_down_proofs_get_503() {
    let Some(mut redis) = crate::servers::redis::RedisServer::start("used proofs, Redis down") else { return };
    let Some(client) = Bound::start(&[("OAUTH_DPOP_REPLAY", &redis.url())]).await else { return };
    client.must("C13: Redis is up", &client.proof().sign(), Reply::Ok).await;
    redis.kill();
    let refused = client.proof().sign();
    client.must("C13: Redis is down", &refused, Reply::Unavailable).await;
    client.must("C13: a bad proof is a bad proof", "x", Reply::Proof).await;
    let bearer = format!("Bearer {}", client.api.token().sign());
    must_be(
        &client.api.send("GET", "/orders", &[("Authorization", &bearer)]).await,
        Reply::Ok,
        "C13: Bearer needs no store",
    );
    redis.restart();
    let start = std::time::Instant::now();
    loop {
        let response = client.present(&client.proof().sign()).await;
        if response.status == 200 {
            break;
        }
        must_be(&response, Reply::Unavailable, "C13: until the connection is back");
        assert!(start.elapsed() < Duration::from_secs(10), "C13: Redis is back, the program has not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let used = client.proof().sign();
    client.must("C13: Redis is back", &used, Reply::Ok).await;
    client.must("C13: and knows used proofs", &used, Reply::Proof).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn c13_the_program_starts_while_redis_is_down() {
    let Some(mut redis) = crate::servers::redis::RedisServer::start("used proofs, Redis down at the start") else {
        return;
    };
    redis.kill();
    let Some(client) = Bound::start(&[("OAUTH_DPOP_REPLAY", &redis.url())]).await else { return };
    client.must("C13: Redis was never up", &client.proof().sign(), Reply::Unavailable).await;
    redis.restart();
    let start = std::time::Instant::now();
    while client.present(&client.proof().sign()).await.status != 200 {
        assert!(start.elapsed() < Duration::from_secs(10), "C13: Redis is up, the program has not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A store that can be told to fail.
struct Failing(MemoryReplayStore, Arc<AtomicBool>);

impl ReplayStore for Failing {
    fn insert_if_absent(&self, key: &ReplayKey, expires_at: u64, now: u64) -> Insertion {
        if self.1.load(Ordering::SeqCst) {
            return Insertion::later(async { Err(ReplayError::new("down")) });
        }
        self.0.insert_if_absent(key, expires_at, now)
    }
}

/// In process: the program's store in memory has room for a million proofs.
#[tokio::test]
async fn c13_a_store_that_fails_or_is_full_is_503() {
    let client = Served::new();
    let is_down = Arc::new(AtomicBool::new(true));
    let store = Failing(MemoryReplayStore::new(), Arc::clone(&is_down));
    let address = client.start(client.dpop().replay_store(store)).await;
    let proof = client.proof("/orders").sign();
    must_be(&client.present(address, "/orders", &proof).await, Reply::Unavailable, "C13: it fails");
    is_down.store(false, Ordering::SeqCst);
    must_be(&client.present(address, "/orders", &proof).await, Reply::Ok, "C13: it works again");

    let address = client.start(client.dpop().replay_store(MemoryReplayStore::with_capacity(NonZeroUsize::MIN))).await;
    let used = client.proof("/orders").sign();
    must_be(&client.present(address, "/orders", &used).await, Reply::Ok, "C13: the first proof");
    let refused = client.proof("/orders").sign();
    must_be(&client.present(address, "/orders", &refused).await, Reply::Unavailable, "C13: it is full");
    must_be(&client.present(address, "/orders", &used).await, Reply::Proof, "C13: it still knows the first one");
    let unbound = format!("Bearer {}", client.issuer.token("ada").sign());
    let response = send(address, "GET", "/orders", &[("Authorization", &unbound)]).await;
    must_be(&response, Reply::Ok, "C13: Bearer needs no store");
}
