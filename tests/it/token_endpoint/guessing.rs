//! Guessing of clients' secrets: RFC 6749 §2.3.1. An attacker neither guesses without limit nor locks a client out.

use std::{net::IpAddr, time::Duration};

use axum::body::Body;
use futures_util::future::join_all;
use http::Request;
use tower_oauth::{
    clock::Clock as _,
    testing::MockIssuer,
    token_endpoint::{Client, ClientSecret, Peer, TokenEndpointBuilder},
};

use super::{Answer, World, assertion, basic, clients::assert_with, may_have_tokens, post, usual};
use crate::support::API;

const CC: (&str, &str) = ("grant_type", "client_credentials");
const MINUTE: Duration = Duration::from_secs(60);

/// Requests a token from this address.
fn request(address: &str, authorization: &str) -> Request<Body> {
    let mut request = post("/token", authorization, &[CC]);
    request.extensions_mut().insert(Peer::from(address.parse::<IpAddr>().unwrap()));
    request
}

/// Sends wrong secrets until the budget of ten is used up.
async fn use_up(world: &World, id: &str) {
    for _ in 0..10 {
        world.post("/token", &basic(id, "wrong"), &[CC]).await.is_error(401, "invalid_client");
    }
    world.post_and_wait("/token", &basic(id, "wrong"), &[CC]).await.is_error(429, "temporarily_unavailable");
}

/// Threat T6
#[tokio::test]
async fn an_unknown_client_is_refused_exactly_like_a_wrong_secret() {
    let long = "x".repeat(1025);
    let mut seen = Vec::new();
    for id in ["reports", "unknown", "signs", "app", &long] {
        let world = World::new();
        let mut answers = Vec::new();
        for _ in 0..15 {
            let answer = world.post_and_wait("/token", &basic(id, "wrong"), &[CC]).await;
            answers.push((answer.plain.status, answer.plain.headers, answer.plain.body, world.clock.elapsed()));
        }
        seen.push(answers);
    }
    assert!(seen.iter().all(|answers| *answers == seen[0]), "also when it is throttled, and as late");
    assert_eq!(seen[0].last().unwrap().0, 429);
}

/// RFC 6749 §2.3.1 c (MUST, accepts)
/// Threat T7
#[tokio::test]
async fn wrong_secrets_beyond_the_budget_get_429_and_the_right_one_always_passes() {
    let world = World::with(|builder| builder.max_failed_authentications(3, MINUTE));
    for _ in 0..3 {
        world.post("/token", &basic("reports", "wrong"), &[CC]).await.is_error(401, "invalid_client");
    }
    let answer = world.post_and_wait("/token", &basic("reports", "wrong"), &[CC]).await;
    answer.is_error(429, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("20"));
    world.post("/token", &usual("reports"), &[CC]).await.is_ok();
    world.post("/introspect", &usual("reports"), &[("token", "x")]).await.is_ok();
    let wrong = basic("reports", "wrong");
    let answer = world.post_and_wait("/introspect", &wrong, &[("token", "x")]).await;
    answer.is_error(429, "temporarily_unavailable");
    world.post("/token", &basic("others", "wrong"), &[CC]).await.is_error(401, "invalid_client");
    world.clock.advance(Duration::from_secs(20));
    world.post("/token", &wrong, &[CC]).await.is_error(401, "invalid_client");
    world.post_and_wait("/token", &wrong, &[CC]).await.is_error(429, "temporarily_unavailable");
}

/// Threat T33
#[tokio::test]
async fn ten_wrong_secrets_a_minute_do_not_turn_off_an_api_that_introspects() {
    let world = World::new();
    let token = world.access_token("reports", &[("resource", API)]).await;
    for _ in 0..5 {
        for _ in 0..10 {
            world.post_and_wait("/introspect", &basic("api", "guess"), &[("token", &token)]).await;
        }
        assert_eq!(world.introspect("api", &token).await["active"], true);
        world.clock.advance(MINUTE);
    }
}

/// Threat T7
#[tokio::test]
async fn a_refusal_beyond_the_budget_is_delayed_and_a_bounded_number_at_a_time() {
    let world = World::new();
    use_up(&world, "reports").await;
    let wrong = basic("reports", "wrong");
    let begin = world.clock.elapsed();
    let post = || world.post("/token", &wrong, &[CC]);
    let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(post())).collect();
    for waiting in &mut waiting {
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    }
    // One more is sent at once, and no right secret waits.
    post().await.is_error(429, "temporarily_unavailable");
    world.post("/token", &usual("reports"), &[CC]).await.is_ok();
    // A client that disconnects gives its place back.
    waiting.pop();
    let mut next = Box::pin(post());
    assert!(futures_util::poll!(next.as_mut()).is_pending());
    assert_eq!(world.clock.elapsed(), begin);
    world.clock.advance(Duration::from_secs(1));
    join_all(waiting).await.iter().for_each(|answer| answer.is_error(429, "temporarily_unavailable"));
    next.await.is_error(429, "temporarily_unavailable");
}

/// Threat T33
#[tokio::test]
async fn right_secrets_are_refused_only_if_configured_and_never_generated_ones() {
    let world = World::with(TokenEndpointBuilder::throttle_right_secrets);
    let (secret, text) = ClientSecret::generate().unwrap();
    let stored = ClientSecret::from_hash(&secret.hash()).unwrap();
    world.clients.insert(may_have_tokens(Client::builder("random", stored)).build().unwrap());
    for id in ["reports", "random"] {
        use_up(&world, id).await;
    }
    let right = world.post_and_wait("/token", &usual("reports"), &[CC]).await;
    let wrong = world.post_and_wait("/token", &basic("reports", "wrong"), &[CC]).await;
    right.is_error(429, "temporarily_unavailable");
    assert_eq!(right.plain.body, wrong.plain.body, "a guess that is right is not revealed");
    world.post("/token", &basic("random", &text), &[CC]).await.is_ok();
    world.clock.advance(MINUTE);
    world.post("/token", &usual("reports"), &[CC]).await.is_ok();
    // A right secret uses nothing up.
    for _ in 0..20 {
        world.post("/token", &usual("reports"), &[CC]).await.is_ok();
    }
    world.post("/token", &basic("reports", "wrong"), &[CC]).await.is_error(401, "invalid_client");
}

/// Threat T33
#[tokio::test]
async fn failures_of_one_peer_do_not_count_against_another() {
    let world = World::with(TokenEndpointBuilder::throttle_right_secrets);
    let (wrong, right) = (basic("reports", "wrong"), usual("reports"));
    let send = async |address: &str, authorization: &str| -> Answer {
        world.send_and_wait(request(address, authorization)).await
    };
    for address in ["192.0.2.1", "2001:db8::1"] {
        for _ in 0..10 {
            send(address, &wrong).await.is_error(401, "invalid_client");
        }
    }
    for address in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::ffff:0:0:2"] {
        send(address, &right).await.is_error(429, "temporarily_unavailable");
    }
    for address in ["192.0.2.2", "2001:db8:0:1::1"] {
        send(address, &right).await.is_ok();
    }
    // Another client at the attacker's address, and a request without an address.
    send("192.0.2.1", &usual("others")).await.is_ok();
    world.post("/token", &right, &[CC]).await.is_ok();
}

/// RFC 6749 §2.3.1 c (MUST, refuses)
/// Threat T7
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_guesses_are_throttled_too() {
    let world = World::new();
    let guesses = (0..200).map(|_| {
        let (endpoint, clients, clock) = (world.endpoint.clone(), world.clients.clone(), world.clock.clone());
        let one = World { endpoint, clients, clock };
        tokio::spawn(async move { one.post("/token", &basic("reports", "wrong"), &[CC]).await.status() })
    });
    let guesses: Vec<_> = guesses.collect();
    // A hundred of them are delayed.
    let answered = async {
        while guesses.iter().filter(|guess| guess.is_finished()).count() < 100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, answered).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    let answers: Vec<_> = join_all(guesses).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 10);
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 190);
}

/// Threat T7
#[tokio::test]
async fn failed_authentications_never_throttle_a_client_with_keys() {
    let world = World::new();
    for _ in 0..30 {
        world.post_and_wait("/token", &basic("signs", "x"), &[CC]).await;
        assert_with(&world, "x.y.z").await.is_error(401, "invalid_client");
        assert_with(&world, &assertion(&world, "1").sign_with(&MockIssuer::new("https://x.test"))).await;
    }
    assert_with(&world, &assertion(&world, "1").sign()).await.is_ok();
}
