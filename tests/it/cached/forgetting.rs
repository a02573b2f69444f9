//! What is forgotten is asked anew: what is kept, what is on its way, and nothing else.

use std::sync::{Arc, OnceLock, atomic::AtomicBool};

use super::{
    Answer, AuthErrorKind, CacheKey, Cached, Counting, HOUR, Ordering, PresentedToken, Server, Verdict, Verify,
    admit_with, asking, authenticate, cached, json, subject, until,
};
use crate::support::{API, issuer};

#[tokio::test]
async fn a_token_that_is_forgotten_is_asked_about_anew_and_no_other() {
    let server = Server::of_ada();
    server.says("eve", Answer::Active(json!({"sub": "eve"})));
    let (cached, _) = cached(&server, HOUR);
    for token in ["ada", "eve"] {
        assert_eq!(subject(&cached, token).await.as_deref(), Ok(token));
    }
    server.revoke("ada");
    server.revoke("eve");
    cached.forget("ada");
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
    assert_eq!(subject(&cached, "eve").await.as_deref(), Ok("eve"), "the other one is still there");
}

#[tokio::test]
async fn a_refusal_can_be_forgotten_too() {
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
    server.says("ada", Answer::Active(json!({"sub": "ada"})));
    cached.forget("ada");
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn a_clone_forgets_for_all() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    let clone = cached.clone();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!((cached.len(), clone.len()), (1, 1));
    clone.forget("ada");
    assert!(cached.is_empty());
}

#[tokio::test]
async fn a_token_that_is_forgotten_while_it_is_asked_about_is_not_kept_and_the_next_asks_anew() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    server.shut();
    let first = asking(&cached, "ada");
    until(|| server.asked() == 1).await;
    cached.forget("ada");
    let second = asking(&cached, "ada");
    until(|| server.asked() == 2).await;
    server.open();
    assert_eq!(first.await.unwrap().as_deref(), Ok("ada"), "who asked before gets his answer");
    assert_eq!(second.await.unwrap().as_deref(), Ok("ada"));
    server.revoke("ada");
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"), "the second answer is kept, being newer");
    cached.forget("ada");
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn the_old_answer_of_a_forgotten_token_is_never_kept() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    server.shut();
    let first = asking(&cached, "ada");
    until(|| server.asked() == 1).await;
    cached.forget("ada");
    server.open();
    assert_eq!(first.await.unwrap().as_deref(), Ok("ada"));
    server.revoke("ada");
    assert!(cached.is_empty());
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn that_one_token_is_forgotten_does_not_keep_others_on_their_way_from_being_kept() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    server.shut();
    let ada = asking(&cached, "ada");
    until(|| server.asked() == 1).await;
    cached.forget("somebody-else");
    server.open();
    assert_eq!(ada.await.unwrap().as_deref(), Ok("ada"));
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 1, "logouts of others must not make the cache useless");
}

#[tokio::test]
async fn a_question_that_began_before_its_token_was_forgotten_is_joined_by_nobody_after() {
    /// Somebody forgets the token just while the verifier is being called.
    #[derive(Clone)]
    struct Interrupted {
        server: Server,
        cached: Arc<OnceLock<Cached<Self>>>,
        begun: Arc<AtomicBool>,
    }
    impl Verify for Interrupted {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let verdict = self.server.verify(presented);
            if !self.begun.swap(true, Ordering::SeqCst) {
                self.cached.get().unwrap().forget("ada");
            }
            verdict
        }
    }
    let server = Server::of_ada();
    let verifier = Interrupted { server: server.clone(), cached: Arc::default(), begun: Arc::default() };
    let cached = Cached::new(verifier.clone(), HOUR);
    assert!(verifier.cached.set(cached.clone()).is_ok());
    server.shut();
    let first = asking(&cached, "ada");
    until(|| server.asked() == 1).await;
    let second = asking(&cached, "ada");
    until(|| server.asked() == 2).await;
    server.open();
    assert_eq!(first.await.unwrap().as_deref(), Ok("ada"));
    assert_eq!(second.await.unwrap().as_deref(), Ok("ada"));
}

#[tokio::test]
async fn everything_can_be_forgotten_at_once_what_is_on_its_way_too() {
    let server = Server::of_ada();
    server.says("eve", Answer::Active(json!({"sub": "eve"})));
    let (cached, _) = cached(&server, HOUR);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
    server.shut();
    let eve = asking(&cached, "eve");
    until(|| server.asked() == 3).await;
    cached.clear();
    server.open();
    assert_eq!(eve.await.unwrap().as_deref(), Ok("eve"));
    assert!(cached.is_empty());
    for token in ["ada", "bad", "eve"] {
        subject(&cached, token).await.ok();
    }
    assert_eq!(server.asked(), 6);
}

#[tokio::test]
async fn a_jwt_that_is_forgotten_is_verified_anew_and_accepted_again() {
    let verifier = Counting::new(issuer().verifier(API));
    let cached = Cached::new(verifier.clone(), HOUR);
    let token = issuer().token("ada").sign();
    for _ in 0..3 {
        assert!(authenticate(&cached, &token).await.is_ok());
    }
    assert_eq!((verifier.asked(), cached.len()), (1, 1));
    cached.forget(&token);
    assert!(cached.is_empty());
    assert!(authenticate(&cached, &token).await.is_ok());
    assert_eq!(verifier.asked(), 2);
}

/// Asks for the tenant in a header, and says so.
#[derive(Clone)]
struct Tenants(Server);

impl Verify for Tenants {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let tenant = presented.parts().headers["tenant"].to_str().unwrap();
        self.0.question(&format!("{tenant}/{}", presented.token()), presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add(&presented.parts().headers["tenant"]);
    }
}

#[tokio::test]
async fn a_token_is_forgotten_for_every_tenant() {
    let server = Server::new();
    let jwt = issuer().token("ada").sign();
    for token in ["opaque", &jwt] {
        for tenant in ["one", "two"] {
            server.says(&format!("{tenant}/{token}"), Answer::Active(json!({"sub": tenant})));
        }
        let cached = Cached::new(Tenants(server.clone()), HOUR);
        for tenant in ["one", "two"] {
            assert!(admit_with(&cached, token, &[("tenant", tenant)]).await.is_ok());
        }
        cached.forget(token);
        for tenant in ["one", "two"] {
            server.revoke(&format!("{tenant}/{token}"));
            assert!(admit_with(&cached, token, &[("tenant", tenant)]).await.is_err());
        }
    }
}

#[tokio::test]
async fn to_forget_what_was_never_there_does_no_harm() {
    let server = Server::of_ada();
    let (cached, _) = cached(&server, HOUR);
    for token in ["", ".", "a.b", "ä", &"x".repeat(1 << 20), &".".repeat(100)] {
        cached.forget(token);
    }
    cached.clear();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
}
