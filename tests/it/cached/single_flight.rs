//! One question for each token, however many wait, whoever goes away, and whatever breaks.

use std::sync::{Arc, atomic::AtomicUsize};

use futures_util::{FutureExt as _, future::join_all};
use http::Request;

use super::{
    Answer, AuthErrorKind, Cached, Duration, HOUR, Ordering, PresentedToken, ResourceServer, SECOND, Server, Verdict,
    Verify, asking, authenticate, cached, json, subject, until,
};
use crate::support::verifier_from;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_requests_with_one_new_token_cost_one_question() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    server.shut();
    let requests: Vec<_> = (0..1000)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { subject(&cached, "ada").await })
        })
        .collect();
    until(|| server.asked() > 0).await;
    server.open();
    for answer in join_all(requests).await {
        assert_eq!(answer.unwrap().as_deref(), Ok("ada"));
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_thousand_requests_with_one_bad_token_cost_one_question() {
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    let answers = join_all((0..1000).map(|_| subject(&cached, "bad"))).await;
    assert!(answers.iter().all(|answer| *answer == Err(AuthErrorKind::InvalidToken)));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn those_who_wait_share_a_failure_and_the_next_one_asks_anew() {
    let server = Server::of_ada();
    server.says("ada", Answer::Failure);
    let (cached, _) = cached(&server, HOUR);
    let answers = join_all((0..10).map(|_| subject(&cached, "ada"))).await;
    assert!(answers.iter().all(|answer| *answer == Err(AuthErrorKind::Unavailable)));
    assert_eq!(server.asked(), 1);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::Unavailable));
    assert_eq!(server.asked(), 2, "a failure is not kept");
    server.says("ada", Answer::Active(json!({"sub": "ada"})));
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"), "so it is over as soon as the server is back");
}

#[tokio::test]
async fn a_client_that_goes_away_neither_cancels_nor_repeats_the_question() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    server.shut();
    let first = asking(&cached, "ada");
    until(|| server.asked() == 1).await;
    let second = asking(&cached, "ada");
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    server.open();
    assert_eq!(second.await.unwrap().as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn the_answer_is_kept_though_everybody_went_away() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    server.shut();
    let request = asking(&cached, "ada");
    until(|| server.asked() == 1).await;
    request.abort();
    request.await.unwrap_err();
    server.open();
    until(|| cached.len() == 1).await;
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_verdict_that_nobody_ever_polled_is_kept_all_the_same() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    let parts = Request::get("/").header("authorization", "Bearer ada").body(()).unwrap().into_parts().0;
    let resource = ResourceServer::new(cached.clone());
    let mut request = Box::pin(resource.authenticate(&parts));
    assert!((&mut request).now_or_never().is_none());
    drop(request);
    until(|| cached.len() == 1).await;
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_verifier_that_panics_costs_those_who_wait_a_503_and_nobody_else() {
    let server = Server::of_ada();
    server.says("trap", Answer::Panic);
    let (cached, _) = cached(&server, HOUR);
    let answers = join_all((0..10).map(|_| subject(&cached, "trap"))).await;
    assert!(answers.iter().all(|answer| *answer == Err(AuthErrorKind::Unavailable)));
    assert_eq!(server.asked(), 1);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.says("trap", Answer::Active(json!({"sub": "eve"})));
    assert_eq!(subject(&cached, "trap").await.as_deref(), Ok("eve"), "and the token is asked about anew");
}

#[tokio::test]
async fn a_verifier_that_panics_at_once_leaves_nothing_behind() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&calls);
    let verifier = verifier_from(move |presented| {
        assert!(counting.fetch_add(1, Ordering::SeqCst) > 0, "the verifier has a bug");
        Verdict::Now(presented.permit().token(&json!({"sub": "ada"})))
    });
    let cached = Cached::new(verifier, HOUR);
    let request = asking(&cached, "token");
    assert!(request.await.unwrap_err().is_panic());
    assert_eq!(subject(&cached, "token").await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn two_thousand_panics_do_not_fill_the_table() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    for index in 0..2000 {
        let token = format!("trap-{index}");
        server.says(&token, Answer::Panic);
        assert_eq!(subject(&cached, &token).await, Err(AuthErrorKind::Unavailable));
    }
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 2001);
}

#[tokio::test]
async fn nobody_waits_longer_than_ten_seconds() {
    let server = Server::of_ada();
    let (cached, clock) = cached(&server, HOUR);
    server.shut();
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { subject(&cached, "ada").await })
        })
        .collect();
    until(|| server.asked() == 1).await;
    // The question has a task of its own, which must have begun to sleep by this clock.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(10) - SECOND);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(requests.iter().all(|request| !request.is_finished()));
    clock.advance(SECOND);
    for answer in join_all(requests).await {
        assert_eq!(answer.unwrap(), Err(AuthErrorKind::Unavailable));
    }
    server.open();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 2);
}

#[test]
fn a_question_in_a_runtime_that_stands_still_holds_nobody_up() {
    let server = Server::of_ada();
    let (cached, clock) = cached(&server, HOUR);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    server.shut();
    // Its task is not driven once nobody blocks on this runtime, and it isn't dropped either.
    let still = runtime();
    still.block_on(async {
        let mut request = Box::pin(subject(&cached, "ada"));
        assert!((&mut request).now_or_never().is_none());
    });
    server.open();
    runtime().block_on(async {
        let mut request = Box::pin(subject(&cached, "ada"));
        assert!((&mut request).now_or_never().is_none(), "it has joined");
        clock.advance(Duration::from_secs(10));
        let answer = tokio::time::timeout(Duration::from_secs(10), request).await.expect("it waits for ever");
        assert_eq!(answer, Err(AuthErrorKind::Unavailable));
        let answer = tokio::time::timeout(Duration::from_secs(10), subject(&cached, "ada")).await;
        assert_eq!(answer.expect("it joined again").as_deref(), Ok("ada"));
    });
    assert_eq!(server.asked(), 1, "the one that stands still never got so far");
}

#[test]
fn a_runtime_that_is_shut_down_takes_no_token_with_it() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    server.shut();
    let first = runtime();
    first.block_on(async {
        let mut request = Box::pin(subject(&cached, "ada"));
        assert!((&mut request).now_or_never().is_none());
    });
    drop(first);
    server.open();
    assert_eq!(runtime().block_on(subject(&cached, "ada")).as_deref(), Ok("ada"));
}

#[test]
fn outside_of_a_runtime_the_request_asks_by_itself() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    let parts = Request::get("/").header("authorization", "Bearer ada").body(()).unwrap().into_parts().0;
    for asked in 1..3 {
        let resource = ResourceServer::new(cached.clone());
        let token = resource.authenticate(&parts).now_or_never().unwrap().unwrap();
        assert_eq!(token.subject(), Some("ada"));
        assert_eq!(server.asked(), asked, "nothing is kept");
    }
}

#[tokio::test]
async fn a_thousand_questions_at_a_time_are_all_and_the_next_gets_503_at_once() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.shut();
    let tokens: Vec<_> = (0..1024).map(|index| format!("flood-{index}")).collect();
    let flood: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (cached, token) = (cached.clone(), token.clone());
            tokio::spawn(async move { subject(&cached, &token).await })
        })
        .collect();
    until(|| server.asked() == 1025).await;
    let refused = authenticate(&cached, "one-more").await.unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::Unavailable);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"), "who is known passes");
    let joined = asking(&cached, "flood-7");
    tokio::task::yield_now().await;
    server.open();
    assert_eq!(joined.await.unwrap(), Err(AuthErrorKind::InvalidToken), "who is asked about already is waited for");
    for answer in join_all(flood).await {
        assert_eq!(answer.unwrap(), Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(subject(&cached, "one-more").await, Err(AuthErrorKind::InvalidToken), "and then there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_users_tokens_never_mix_however_many_come_at_once() {
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    let users: Vec<_> = (0..200).map(|index| format!("user-{index}")).collect();
    for user in &users {
        server.says(user, Answer::Active(json!({"sub": user})));
    }
    for _ in 0..3 {
        let requests = users.iter().flat_map(|user| (0..5).map(move |_| user)).map(|user| {
            let (cached, user) = (cached.clone(), user.clone());
            tokio::spawn(async move { (subject(&cached, &user).await, user) })
        });
        for answer in join_all(requests.collect::<Vec<_>>()).await {
            let (answer, user) = answer.unwrap();
            assert_eq!(answer.as_deref(), Ok(user.as_str()));
        }
    }
    assert_eq!(server.asked(), 200);
}

#[tokio::test]
async fn with_nothing_to_be_kept_requests_that_come_together_still_share_one_question() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, Duration::ZERO);
    let answers = join_all((0..10).map(|_| subject(&cached, "ada"))).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ada")));
    assert_eq!(server.asked(), 1);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 2);
    assert!(cached.is_empty());
}

#[tokio::test]
async fn a_verdict_that_depends_on_more_than_the_name_tells_is_not_shared_either() {
    /// Takes the user from a header, and doesn't say so.
    #[derive(Clone)]
    struct Careless(Server);
    impl Verify for Careless {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let user = presented.parts().headers["user"].to_str().unwrap().to_owned();
            self.0.question(&user, presented)
        }
    }
    let server = Server::of_ada();
    server.says("eve", Answer::Active(json!({"sub": "eve"})));
    let cached = Cached::new(Careless(server.clone()), HOUR);
    let users = ["ada", "eve"].map(|user| [("user", user)]);
    let answers = join_all(users.iter().map(|user| super::admit_with(&cached, "same", user))).await;
    let subjects: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().subject()).collect();
    assert_eq!(subjects, [Some("ada"), Some("eve")]);
    assert_eq!(server.asked(), 2);
}
