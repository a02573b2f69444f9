//! One call for each token, for any number of waiting requests, also if requests are cancelled or the verifier fails.

use std::sync::{Arc, atomic::AtomicUsize};

use futures_util::{FutureExt as _, future::join_all};
use http::Request;

use super::{
    AuthErrorKind, Cached, Duration, HOUR, Ordering, PresentedToken, ResourceServer, SECOND, Server, ServerResponse,
    Verdict, Verify, authenticate, cached, json, spawn_request, subject, wait_until,
};
use crate::support::verifier_from;

/// Threat I18
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_requests_with_one_new_token_make_one_call() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    server.hold_responses();
    let requests: Vec<_> = (0..1000)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { subject(&cached, "ada").await })
        })
        .collect();
    wait_until(|| server.calls() > 0).await;
    server.release_responses();
    for result in join_all(requests).await {
        assert_eq!(result.unwrap().as_deref(), Ok("ada"));
    }
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_thousand_requests_with_one_invalid_token_make_one_call() {
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    let results = join_all((0..1000).map(|_| subject(&cached, "bad"))).await;
    assert!(results.iter().all(|result| *result == Err(AuthErrorKind::InvalidToken)));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn waiting_requests_share_a_failure_and_the_next_request_calls_again() {
    let server = Server::with_ada();
    server.set_response("ada", ServerResponse::Failure);
    let (cached, _) = cached(&server, HOUR);
    let results = join_all((0..10).map(|_| subject(&cached, "ada"))).await;
    assert!(results.iter().all(|result| *result == Err(AuthErrorKind::Unavailable)));
    assert_eq!(server.calls(), 1);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::Unavailable));
    assert_eq!(server.calls(), 2, "a failure is not cached");
    server.set_response("ada", ServerResponse::Active(json!({"sub": "ada"})));
    assert_eq!(
        subject(&cached, "ada").await.as_deref(),
        Ok("ada"),
        "so requests succeed as soon as the server is back"
    );
}

#[tokio::test]
async fn cancelling_a_request_neither_cancels_nor_repeats_the_call() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    server.hold_responses();
    let first = spawn_request(&cached, "ada");
    wait_until(|| server.calls() == 1).await;
    let second = spawn_request(&cached, "ada");
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    server.release_responses();
    assert_eq!(second.await.unwrap().as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn the_verdict_is_cached_though_every_request_was_cancelled() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    server.hold_responses();
    let request = spawn_request(&cached, "ada");
    wait_until(|| server.calls() == 1).await;
    request.abort();
    request.await.unwrap_err();
    server.release_responses();
    wait_until(|| cached.len() == 1).await;
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn the_verdict_is_cached_though_its_request_was_polled_only_once() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    let parts = Request::get("/").header("authorization", "Bearer ada").body(()).unwrap().into_parts().0;
    let resource = ResourceServer::new(cached.clone());
    let mut request = Box::pin(resource.authenticate(&parts));
    assert!((&mut request).now_or_never().is_none());
    drop(request);
    wait_until(|| cached.len() == 1).await;
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_panic_of_the_verifier_returns_503_to_the_waiting_requests_only() {
    let server = Server::with_ada();
    server.set_response("panics", ServerResponse::Panic);
    let (cached, _) = cached(&server, HOUR);
    let results = join_all((0..10).map(|_| subject(&cached, "panics"))).await;
    assert!(results.iter().all(|result| *result == Err(AuthErrorKind::Unavailable)));
    assert_eq!(server.calls(), 1);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.set_response("panics", ServerResponse::Active(json!({"sub": "eve"})));
    assert_eq!(
        subject(&cached, "panics").await.as_deref(),
        Ok("eve"),
        "and the verifier is called again for the token"
    );
}

#[tokio::test]
async fn a_panic_before_the_verdict_leaves_no_call_in_flight() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&calls);
    let verifier = verifier_from(move |presented| {
        assert!(counting.fetch_add(1, Ordering::SeqCst) > 0, "the verifier has a bug");
        Verdict::Now(presented.permit().token(&json!({"sub": "ada"})))
    });
    let cached = Cached::new(verifier, HOUR);
    let request = spawn_request(&cached, "token");
    assert!(request.await.unwrap_err().is_panic());
    assert_eq!(subject(&cached, "token").await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn two_thousand_panics_leave_room_for_new_calls() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    for index in 0..2000 {
        let token = format!("panics-{index}");
        server.set_response(&token, ServerResponse::Panic);
        assert_eq!(subject(&cached, &token).await, Err(AuthErrorKind::Unavailable));
    }
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 2001);
}

#[tokio::test]
async fn no_request_waits_longer_than_ten_seconds() {
    let server = Server::with_ada();
    let (cached, clock) = cached(&server, HOUR);
    server.hold_responses();
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { subject(&cached, "ada").await })
        })
        .collect();
    wait_until(|| server.calls() == 1).await;
    // The call has its own task, which must have started its sleep with this clock.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(10) - SECOND);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(requests.iter().all(|request| !request.is_finished()));
    clock.advance(SECOND);
    for result in join_all(requests).await {
        assert_eq!(result.unwrap(), Err(AuthErrorKind::Unavailable));
    }
    server.release_responses();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 2);
}

#[test]
fn a_call_in_a_stopped_runtime_does_not_block_other_requests() {
    let server = Server::with_ada();
    let (cached, clock) = cached(&server, HOUR);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    server.hold_responses();
    // After `block_on`, this runtime doesn't run the call's task, and doesn't drop it either.
    let stopped = runtime();
    stopped.block_on(async {
        let mut request = Box::pin(subject(&cached, "ada"));
        assert!((&mut request).now_or_never().is_none());
    });
    server.release_responses();
    runtime().block_on(async {
        let mut request = Box::pin(subject(&cached, "ada"));
        assert!((&mut request).now_or_never().is_none(), "it has joined the call");
        clock.advance(Duration::from_secs(10));
        let result =
            tokio::time::timeout(Duration::from_secs(10), request).await.expect("the request waited longer than 10 s");
        assert_eq!(result, Err(AuthErrorKind::Unavailable));
        let result = tokio::time::timeout(Duration::from_secs(10), subject(&cached, "ada")).await;
        assert_eq!(result.expect("the request joined the stopped call again").as_deref(), Ok("ada"));
    });
    assert_eq!(server.calls(), 1, "the call in the stopped runtime never reached the server");
}

#[test]
fn a_token_is_verified_again_after_its_runtime_was_shut_down() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    server.hold_responses();
    let first = runtime();
    first.block_on(async {
        let mut request = Box::pin(subject(&cached, "ada"));
        assert!((&mut request).now_or_never().is_none());
    });
    drop(first);
    server.release_responses();
    assert_eq!(runtime().block_on(subject(&cached, "ada")).as_deref(), Ok("ada"));
}

#[test]
fn outside_of_a_runtime_each_request_makes_its_own_call() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    let parts = Request::get("/").header("authorization", "Bearer ada").body(()).unwrap().into_parts().0;
    for calls in 1..3 {
        let resource = ResourceServer::new(cached.clone());
        let token = resource.authenticate(&parts).now_or_never().unwrap().unwrap();
        assert_eq!(token.subject(), Some("ada"));
        assert_eq!(server.calls(), calls, "nothing is cached");
    }
}

#[tokio::test]
async fn while_1024_calls_are_in_flight_a_new_token_gets_503_at_once() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.hold_responses();
    let tokens: Vec<_> = (0..1024).map(|index| format!("flood-{index}")).collect();
    let flood: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (cached, token) = (cached.clone(), token.clone());
            tokio::spawn(async move { subject(&cached, &token).await })
        })
        .collect();
    wait_until(|| server.calls() == 1025).await;
    let refused = authenticate(&cached, "one-more").await.unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::Unavailable);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"), "a cached token is accepted");
    let joined = spawn_request(&cached, "flood-7");
    tokio::task::yield_now().await;
    server.release_responses();
    assert_eq!(joined.await.unwrap(), Err(AuthErrorKind::InvalidToken), "a request joins a call in flight");
    for result in join_all(flood).await {
        assert_eq!(result.unwrap(), Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(
        subject(&cached, "one-more").await,
        Err(AuthErrorKind::InvalidToken),
        "then a new call is possible again"
    );
}

/// Threat I18
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_verdicts_of_concurrent_users_never_mix() {
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    let users: Vec<_> = (0..200).map(|index| format!("user-{index}")).collect();
    for user in &users {
        server.set_response(user, ServerResponse::Active(json!({"sub": user})));
    }
    for _ in 0..3 {
        let requests = users.iter().flat_map(|user| (0..5).map(move |_| user)).map(|user| {
            let (cached, user) = (cached.clone(), user.clone());
            tokio::spawn(async move { (subject(&cached, &user).await, user) })
        });
        for result in join_all(requests.collect::<Vec<_>>()).await {
            let (result, user) = result.unwrap();
            assert_eq!(result.as_deref(), Ok(user.as_str()));
        }
    }
    assert_eq!(server.calls(), 200);
}

#[tokio::test]
async fn with_a_max_age_of_zero_concurrent_requests_still_share_one_call() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, Duration::ZERO);
    let results = join_all((0..10).map(|_| subject(&cached, "ada"))).await;
    assert!(results.iter().all(|result| result.as_deref() == Ok("ada")));
    assert_eq!(server.calls(), 1);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 2);
    assert!(cached.is_empty());
}

#[tokio::test]
async fn a_verdict_that_depends_on_more_than_its_cache_key_is_not_shared() {
    /// Chooses the response by a header with the user, and doesn't add the header to the cache key.
    #[derive(Clone)]
    struct WithoutCacheKey(Server);
    impl Verify for WithoutCacheKey {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let user = presented.parts().headers["user"].to_str().unwrap().to_owned();
            self.0.verdict_for(&user, presented)
        }
    }
    let server = Server::with_ada();
    server.set_response("eve", ServerResponse::Active(json!({"sub": "eve"})));
    let cached = Cached::new(WithoutCacheKey(server.clone()), HOUR);
    let users = ["ada", "eve"].map(|user| [("user", user)]);
    let results = join_all(users.iter().map(|user| super::authenticate_with_headers(&cached, "same", user))).await;
    let subjects: Vec<_> = results.iter().map(|result| result.as_ref().unwrap().subject()).collect();
    assert_eq!(subjects, [Some("ada"), Some("eve")]);
    assert_eq!(server.calls(), 2);
}
