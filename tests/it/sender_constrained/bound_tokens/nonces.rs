//! Rows N1 to N7: nonces of the resource server.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_oauth::dpop::NonceSecret;

use super::{
    Bound,
    served::{Served, send},
    with_nonces,
};
use crate::programs::protected_api::sender_fixture::{NONCE_SECRET, Reply, in_one_step, nonce};

const OTHER_SECRET: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const ON: [(&str, &str); 1] = [("OAUTH_DPOP_NONCE_SECRET", NONCE_SECRET)];

/// Returns the nonce that the token endpoint makes of [`NONCE_SECRET`] in this step.
fn nonce_of_token_endpoint(step: u64) -> String {
    let secret: Vec<u8> = (0..32).collect();
    let message = [b"tower-oauth nonce as", &step.to_be_bytes()[..]].concat();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &message);
    URL_SAFE_NO_PAD.encode(mac)[..22].to_owned()
}

/// RFC 9449 §4.3 d (MUST, refuses)
/// AT Protocol 1 (MUST, refuses)
#[tokio::test]
async fn n1_a_proof_without_a_good_nonce_gets_one() {
    let Some(client) = Bound::start(&ON).await else { return };
    let (now, responses) = in_one_step(async |now| {
        let current = nonce(now);
        let nonces: [(&str, Option<Value>, Reply<'static>); 16] = [
            ("none", None, Reply::Nonce),
            ("another", Some(json!("another")), Reply::Nonce),
            ("another of the same length", Some(json!("a".repeat(22))), Reply::Nonce),
            ("empty", Some(json!("")), Reply::Nonce),
            ("five steps old", Some(json!(nonce(now - 5))), Reply::Nonce),
            ("an hour old", Some(json!(nonce(now - 60))), Reply::Nonce),
            ("two steps ahead", Some(json!(nonce(now + 2))), Reply::Nonce),
            ("of the token endpoint", Some(json!(nonce_of_token_endpoint(now))), Reply::Nonce),
            ("with a letter more", Some(json!(format!("{current}A"))), Reply::Nonce),
            ("with a letter less", Some(json!(current[..21])), Reply::Nonce),
            ("with a space", Some(json!(format!("{current} "))), Reply::Nonce),
            ("in other case", Some(json!(current.to_lowercase())), Reply::Nonce),
            ("null", Some(Value::Null), Reply::Proof),
            ("a number", Some(json!(5)), Reply::Proof),
            ("an array", Some(json!([current])), Reply::Proof),
            ("an object", Some(json!({"nonce": current})), Reply::Proof),
        ];
        let mut responses = Vec::new();
        for (what, nonce, reply) in nonces {
            let proof = nonce.into_iter().fold(client.proof(), |proof, nonce| proof.claim("nonce", nonce));
            responses.push((what, client.present(&proof.sign()).await, reply));
        }
        responses
    })
    .await;
    for (what, response, reply) in responses {
        with_nonces(&response, reply, 1, &format!("N1: {what}"));
        assert_eq!(response.one("dpop-nonce"), Some(&*nonce(now)), "N1: {what}: it is the current one");
    }
}

/// RFC 9449 §4.3 d (MUST, accepts)
#[tokio::test]
async fn n2_to_n4_current_and_other_accepted_nonces() {
    let Some(client) = Bound::start(&ON).await else { return };
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (now, responses) = in_one_step(async |now| {
        let with = |step: u64| client.proof().nonce(&nonce(step));
        let hour_off = |time: u64| with(now).claim("iat", time);
        let mut responses = Vec::new();
        for (row, proof, reply) in [
            ("N2: current", with(now), Reply::Ok),
            ("N3: one step old", with(now - 1), Reply::OkWithNonce),
            ("N3: two steps old", with(now - 2), Reply::OkWithNonce),
            ("N3: three steps old", with(now - 3), Reply::OkWithNonce),
            ("N3: four steps old", with(now - 4), Reply::OkWithNonce),
            ("N3: the next step", with(now + 1), Reply::OkWithNonce),
            ("N4: iat an hour ago", hour_off(seconds - 3600), Reply::Ok),
            ("N4: iat in an hour", hour_off(seconds + 3600), Reply::Ok),
            ("N4: iat 0", hour_off(0), Reply::Ok),
            ("N4: an iat is still a must", with(now).without_claim("iat"), Reply::Proof),
            ("N4: iat that is a string", with(now).claim("iat", "now"), Reply::Proof),
            ("C8: exp counts", with(now).claim("exp", seconds - 1), Reply::Proof),
        ] {
            responses.push((row, client.present(&proof.sign()).await, reply));
        }
        responses
    })
    .await;
    for (row, response, reply) in responses {
        let nonces = usize::from(!matches!(reply, Reply::Ok));
        with_nonces(&response, reply, nonces, row);
        if nonces == 1 {
            assert_eq!(response.one("dpop-nonce"), Some(&*nonce(now)), "{row}: newer than that of the proof");
        }
    }
}

/// RFC 9449 §4.3 d (MUST, refuses)
#[tokio::test]
async fn n5_and_n6_when_there_is_a_nonce() {
    let Some(client) = Bound::start(&ON).await else { return };
    let other = tower_oauth::testing::ProofKey::new();
    let (dpop, bearer) = (client.dpop(), client.bearer());
    let unbound = client.api.token().sign();
    let of_other = client.proof().header("jwk", other.jwk()).sign_with(&other);
    let (of_other, no_nonce) = (of_other.as_str(), client.proof().sign());
    let unsigned = format!("{}.AAAA", no_nonce.rsplit_once('.').unwrap().0);
    for (row, authorization, proof, reply, nonces) in [
        ("N5: bad signature, no nonce", &*dpop, Some(&*unsigned), Reply::Proof, 1),
        ("N5: not a JWT", &dpop, Some("x"), Reply::Proof, 1),
        ("N5: no proof", &dpop, None, Reply::Proof, 1),
        ("N6: another key", &dpop, Some(of_other), Reply::DpopToken, 0),
        ("N6: a bad token", &format!("{dpop}x"), Some(&no_nonce), Reply::DpopToken, 0),
        ("N6: an unbound token under DPoP", &format!("DPoP {unbound}"), Some(&no_nonce), Reply::DpopToken, 0),
        ("N6: no token", "DPoP", Some(&no_nonce), Reply::DpopRequest, 0),
        ("N6: a bound token as Bearer", &bearer, None, Reply::BearerToken, 0),
        ("N6: as Bearer with a proof", &bearer, Some(&no_nonce), Reply::BearerToken, 0),
        ("N6: a bad bearer token", &format!("Bearer {unbound}x"), None, Reply::BearerToken, 0),
        ("N6: an unbound bearer token", &format!("Bearer {unbound}"), None, Reply::Ok, 0),
        ("N6: an unbound bearer token with a proof", &format!("Bearer {unbound}"), Some(&no_nonce), Reply::Ok, 0),
        ("N6: another scheme", "Basic YTpi", None, Reply::Bare, 0),
    ] {
        let mut headers = vec![("Authorization", authorization)];
        headers.extend(proof.map(|proof| ("DPoP", proof)));
        with_nonces(&client.api.send("GET", "/orders", &headers).await, reply, nonces, row);
    }
    with_nonces(&client.api.send("GET", "/orders", &[]).await, Reply::Bare, 0, "N6: no credentials");
    let two = [("Authorization", &*dpop), ("Authorization", &*bearer), ("DPoP", &no_nonce)];
    with_nonces(&client.api.send("GET", "/orders", &two).await, Reply::BothRequest, 0, "N6: two tokens");
    assert_eq!(client.api.send("GET", "/public", &[]).await.all("dpop-nonce"), [""; 0], "N6: a route without tokens");
    let used = in_one_step(async |now| {
        let proof = client.proof().nonce(&nonce(now)).sign();
        [client.present(&proof).await, client.present(&proof).await]
    });
    let (_, [first, again]) = used.await;
    with_nonces(&first, Reply::Ok, 0, "N2: current");
    with_nonces(&again, Reply::Proof, 1, "C10: a replay under a nonce");
}

#[tokio::test]
async fn n7_refusals_from_further_in_carry_a_newer_nonce() {
    let Some(client) = Bound::start(&ON).await else { return };
    let (_, [old, current, read_only, wrong_method]) = in_one_step(async |now| {
        let with = |method: &str, path: &str, step: u64| client.proof_for(method, path).nonce(&nonce(step)).sign();
        let token = &client.token;
        [
            client.api.present("GET", "/admin", token, &with("GET", "/admin", now - 1)).await,
            client.api.present("GET", "/admin", token, &with("GET", "/admin", now)).await,
            client.api.present("GET", "/step-up", token, &with("GET", "/step-up", now - 1)).await,
            client.api.present("GET", "/transfer", token, &with("GET", "/transfer", now - 1)).await,
        ]
    })
    .await;
    with_nonces(&old, Reply::DpopScope("orders:read admin"), 1, "N7: 403 under an old nonce");
    with_nonces(&current, Reply::DpopScope("orders:read admin"), 0, "N7: 403 under the current nonce");
    assert_eq!((read_only.status, read_only.all("dpop-nonce").len()), (401, 1), "N7: step-up: {read_only:?}");
    assert_eq!((wrong_method.status, wrong_method.all("dpop-nonce").len()), (405, 1), "N7: {wrong_method:?}");
    assert_eq!(wrong_method.one("cache-control"), Some("no-store"), "N7: {wrong_method:?}");
}

/// In process, with a clock that the test moves: the program has no route that fails, and none that may be cached.
///
/// RFC 9449 §4.3 d (MUST, accepts)
#[tokio::test]
async fn n3_and_n7_responses_of_handlers_under_an_old_nonce() {
    let client = Served::new();
    let address = client.start(client.dpop().nonces(NonceSecret::shared([7; 32]))).await;
    let first = client.present(address, "/orders", &client.proof("/orders").sign()).await;
    with_nonces(&first, Reply::Nonce, 1, "N1: none");
    let nonce = first.one("dpop-nonce").unwrap().to_owned();
    let mut newer = nonce.clone();
    for (after, old) in [(0, false), (59, false), (60, true), (299, true)] {
        client.clock.set(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + after));
        for (path, status, stored) in [
            ("/orders", 200, old.then_some("no-store")),
            ("/stored", 200, Some("private, max-age=5")),
            ("/broken", 500, old.then_some("no-store")),
            ("/nowhere", 404, old.then_some("no-store")),
            ("/admin", 403, Some("no-store")),
        ] {
            let what = format!("N7: {path} after {after} s");
            let response = client.present(address, path, &client.proof(path).nonce(&nonce).sign()).await;
            assert_eq!(response.status, status, "{what}: {response:#?}");
            assert_eq!(response.one("dpop-nonce").is_some(), old, "{what}: {response:#?}");
            assert_eq!(response.one("cache-control"), stored, "{what}: {response:#?}");
            if let Some(offered) = response.one("dpop-nonce") {
                assert_ne!(offered, nonce, "{what}: a client repeats only with another one");
                newer = offered.to_owned();
            }
        }
    }
    let proof = client.proof("/orders").nonce(&newer).sign();
    with_nonces(&client.present(address, "/orders", &proof).await, Reply::Ok, 0, "N2: the newer one is current");
    client.clock.set(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_300));
    let late = client.present(address, "/orders", &client.proof("/orders").nonce(&nonce).sign()).await;
    with_nonces(&late, Reply::Nonce, 1, "N1: after 5 minutes");
    // A server whose clock is a minute behind that of the one that made the nonce.
    client.clock.set(SystemTime::UNIX_EPOCH + Duration::from_secs(1_799_999_999));
    let ahead = client.present(address, "/orders", &client.proof("/orders").nonce(&nonce).sign()).await;
    with_nonces(&ahead, Reply::OkWithNonce, 1, "N3: the next step");
    let unbound = format!("Bearer {}", client.issuer.token("ada").sign());
    let response = send(address, "GET", "/orders", &[("Authorization", &unbound)]).await;
    with_nonces(&response, Reply::Ok, 0, "N6: Bearer");
}

/// RFC 9449 §9 (derived, accepts)
#[tokio::test]
async fn n1_two_instances_accept_each_others_nonces_if_they_share_the_secret() {
    let Some(one) = Bound::start(&ON).await else { return };
    let Some(two) = one.another_instance(&ON).await else { return };
    let Some(other) = one.another_instance(&[("OAUTH_DPOP_NONCE_SECRET", OTHER_SECRET)]).await else { return };
    let Some(random) = one.another_instance(&[("OAUTH_DPOP_NONCE_SECRET", "random")]).await else { return };
    let (_, (offered, results)) = in_one_step(async |_| {
        let mut offered = Vec::new();
        for instance in [&one, &two, &other, &random] {
            let response = instance.present(&one.proof().sign()).await;
            with_nonces(&response, Reply::Nonce, 1, "N1: none");
            offered.push(response.one("dpop-nonce").unwrap().to_owned());
        }
        let mut results = Vec::new();
        for (from, nonce) in offered.iter().enumerate() {
            for (to, instance) in [&one, &two, &other, &random].into_iter().enumerate() {
                results.push((from, to, instance.present(&one.proof().nonce(nonce).sign()).await));
            }
        }
        (offered, results)
    })
    .await;
    assert_eq!(offered[0], offered[1], "one secret");
    for (from, to, response) in results {
        let shared = from == to || (from < 2 && to < 2);
        let (reply, nonces) = if shared { (Reply::Ok, 0) } else { (Reply::Nonce, 1) };
        with_nonces(&response, reply, nonces, &format!("N1: the nonce of instance {from} at instance {to}"));
    }
}
