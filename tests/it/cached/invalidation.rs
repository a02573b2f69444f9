//! An invalidated token is verified again, also if its verdict was in flight; other tokens stay cached.

use std::sync::{Arc, OnceLock, atomic::AtomicBool};

use super::{
    AuthErrorKind, CacheKey, Cached, Counting, HOUR, Ordering, PresentedToken, Server, ServerResponse, Verdict, Verify,
    authenticate, authenticate_with_headers, cached, json, spawn_request, subject, wait_until,
};
use crate::support::{API, issuer};

#[tokio::test]
async fn only_an_invalidated_token_is_verified_again() {
    let server = Server::with_ada();
    server.set_response("eve", ServerResponse::Active(json!({"sub": "eve"})));
    let (cached, _) = cached(&server, HOUR);
    for token in ["ada", "eve"] {
        assert_eq!(subject(&cached, token).await.as_deref(), Ok(token));
    }
    server.revoke("ada");
    server.revoke("eve");
    cached.invalidate("ada");
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
    assert_eq!(subject(&cached, "eve").await.as_deref(), Ok("eve"), "the other token is still cached");
}

#[tokio::test]
async fn invalidates_a_refusal() {
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
    server.set_response("ada", ServerResponse::Active(json!({"sub": "ada"})));
    cached.invalidate("ada");
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn invalidation_through_a_clone_affects_all_clones() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    let clone = cached.clone();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!((cached.len(), clone.len()), (1, 1));
    clone.invalidate("ada");
    assert!(cached.is_empty());
}

#[tokio::test]
async fn after_an_invalidation_the_next_request_joins_no_earlier_call() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    server.hold_responses();
    let first = spawn_request(&cached, "ada");
    wait_until(|| server.calls() == 1).await;
    cached.invalidate("ada");
    let second = spawn_request(&cached, "ada");
    wait_until(|| server.calls() == 2).await;
    server.release_responses();
    assert_eq!(first.await.unwrap().as_deref(), Ok("ada"), "the earlier request gets its response");
    assert_eq!(second.await.unwrap().as_deref(), Ok("ada"));
    server.revoke("ada");
    assert_eq!(
        subject(&cached, "ada").await.as_deref(),
        Ok("ada"),
        "the second verdict is cached, because it is newer"
    );
    cached.invalidate("ada");
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn a_verdict_in_flight_during_an_invalidation_is_not_cached() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    server.hold_responses();
    let first = spawn_request(&cached, "ada");
    wait_until(|| server.calls() == 1).await;
    cached.invalidate("ada");
    server.release_responses();
    assert_eq!(first.await.unwrap().as_deref(), Ok("ada"));
    server.revoke("ada");
    assert!(cached.is_empty());
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn invalidating_one_token_keeps_other_verdicts_in_flight_cacheable() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    server.hold_responses();
    let ada = spawn_request(&cached, "ada");
    wait_until(|| server.calls() == 1).await;
    cached.invalidate("another-token");
    server.release_responses();
    assert_eq!(ada.await.unwrap().as_deref(), Ok("ada"));
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 1, "a logout of another user must not disable the cache");
}

#[tokio::test]
async fn an_invalidation_during_the_call_of_the_verifier_is_not_lost() {
    /// Invalidates the token during the first call of the verifier.
    #[derive(Clone)]
    struct InvalidatesDuringVerify {
        server: Server,
        cached: Arc<OnceLock<Cached<Self>>>,
        called: Arc<AtomicBool>,
    }
    impl Verify for InvalidatesDuringVerify {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let verdict = self.server.verify(presented);
            if !self.called.swap(true, Ordering::SeqCst) {
                self.cached.get().unwrap().invalidate("ada");
            }
            verdict
        }
    }
    let server = Server::with_ada();
    let verifier = InvalidatesDuringVerify { server: server.clone(), cached: Arc::default(), called: Arc::default() };
    let cached = Cached::new(verifier.clone(), HOUR);
    assert!(verifier.cached.set(cached.clone()).is_ok());
    server.hold_responses();
    let first = spawn_request(&cached, "ada");
    wait_until(|| server.calls() == 1).await;
    let second = spawn_request(&cached, "ada");
    wait_until(|| server.calls() == 2).await;
    server.release_responses();
    assert_eq!(first.await.unwrap().as_deref(), Ok("ada"));
    assert_eq!(second.await.unwrap().as_deref(), Ok("ada"));
}

#[tokio::test]
async fn clear_invalidates_everything_including_verdicts_in_flight() {
    let server = Server::with_ada();
    server.set_response("eve", ServerResponse::Active(json!({"sub": "eve"})));
    let (cached, _) = cached(&server, HOUR);
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
    server.hold_responses();
    let eve = spawn_request(&cached, "eve");
    wait_until(|| server.calls() == 3).await;
    cached.clear();
    server.release_responses();
    assert_eq!(eve.await.unwrap().as_deref(), Ok("eve"));
    assert!(cached.is_empty());
    for token in ["ada", "bad", "eve"] {
        subject(&cached, token).await.ok();
    }
    assert_eq!(server.calls(), 6);
}

#[tokio::test]
async fn an_invalidated_jwt_is_verified_again_and_accepted() {
    let verifier = Counting::new(issuer().verifier(API));
    let cached = Cached::new(verifier.clone(), HOUR);
    let token = issuer().token("ada").sign();
    for _ in 0..3 {
        assert!(authenticate(&cached, &token).await.is_ok());
    }
    assert_eq!((verifier.calls(), cached.len()), (1, 1));
    cached.invalidate(&token);
    assert!(cached.is_empty());
    assert!(authenticate(&cached, &token).await.is_ok());
    assert_eq!(verifier.calls(), 2);
}

/// Chooses the response by a header with the tenant, and adds the header to the cache key.
#[derive(Clone)]
struct Tenants(Server);

impl Verify for Tenants {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let tenant = presented.parts().headers["tenant"].to_str().unwrap();
        self.0.verdict_for(&format!("{tenant}/{}", presented.token()), presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add(&presented.parts().headers["tenant"]);
    }
}

#[tokio::test]
async fn invalidates_a_token_for_every_tenant() {
    let server = Server::new();
    let jwt = issuer().token("ada").sign();
    for token in ["opaque", &jwt] {
        for tenant in ["one", "two"] {
            server.set_response(&format!("{tenant}/{token}"), ServerResponse::Active(json!({"sub": tenant})));
        }
        let cached = Cached::new(Tenants(server.clone()), HOUR);
        for tenant in ["one", "two"] {
            assert!(authenticate_with_headers(&cached, token, &[("tenant", tenant)]).await.is_ok());
        }
        cached.invalidate(token);
        for tenant in ["one", "two"] {
            server.revoke(&format!("{tenant}/{token}"));
            assert!(authenticate_with_headers(&cached, token, &[("tenant", tenant)]).await.is_err());
        }
    }
}

#[tokio::test]
async fn invalidating_a_token_that_is_not_cached_has_no_effect() {
    let server = Server::with_ada();
    let (cached, _) = cached(&server, HOUR);
    for token in ["", ".", "a.b", "ä", &"x".repeat(1 << 20), &".".repeat(100)] {
        cached.invalidate(token);
    }
    cached.clear();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
}
