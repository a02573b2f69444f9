//! A cache combined with other verifiers: beside a JWT verifier, around one, and around another cache.

use serde_json::json;
use tower_oauth::{JwtOrOpaque, JwtVerifier, Token};

use super::{
    AuthErrorKind, CacheKey, Cached, Counting, HOUR, PresentedToken, SECOND, Server, ServerResponse, Verdict, Verify,
    authenticate, authenticate_with_headers, clock, subject,
};
use crate::support::{API, issuer};

#[tokio::test]
async fn a_cache_of_opaque_tokens_works_behind_a_jwt_verifier() {
    let (jwt_verifier, server) = (Counting::new(issuer().verifier(API)), Server::with_ada());
    let inner = Cached::new(server.clone(), HOUR);
    let mixed = std::sync::Arc::new(JwtOrOpaque::new(jwt_verifier.clone(), inner.clone()));
    let jwt = issuer().token("eve").sign();
    for round in 1..4 {
        assert_eq!(subject(&mixed, &jwt).await.as_deref(), Ok("eve"));
        assert_eq!(subject(&mixed, "ada").await.as_deref(), Ok("ada"));
        assert_eq!((jwt_verifier.calls(), server.calls()), (round, 1));
    }
    assert_eq!(inner.len(), 1);
}

#[tokio::test]
async fn a_cache_around_two_verifiers_caches_the_verdicts_of_both() {
    let (jwt_verifier, server) = (Counting::new(issuer().verifier(API)), Server::with_ada());
    let cached = Cached::new(JwtOrOpaque::new(jwt_verifier.clone(), server.clone()), HOUR);
    let jwt = issuer().token("eve").sign();
    for _ in 0..3 {
        assert_eq!(subject(&cached, &jwt).await.as_deref(), Ok("eve"));
        assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    }
    assert_eq!((jwt_verifier.calls(), server.calls()), (1, 1));
    assert_eq!(cached.len(), 2);
}

#[tokio::test]
async fn a_refused_jwt_is_not_passed_on_through_a_cache() {
    let server = Server::new();
    let forged = issuer().token("eve").audience("https://elsewhere.test").sign();
    server.set_response(&forged, ServerResponse::Active(json!({"sub": "eve"})));
    let cached = Cached::new(JwtOrOpaque::new(issuer().verifier(API), server.clone()), HOUR);
    for _ in 0..2 {
        assert_eq!(subject(&cached, &forged).await, Err(AuthErrorKind::InvalidToken));
    }
    let of_caches = JwtOrOpaque::new(Cached::new(issuer().verifier(API), HOUR), Cached::new(server.clone(), HOUR));
    let of_caches = std::sync::Arc::new(of_caches);
    for _ in 0..2 {
        assert_eq!(subject(&of_caches, &forged).await, Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_boxed_jwt_verifier_checks_hits_and_passes_on_other_tokens() {
    let (jwt_verifier, server) = (Counting::new(issuer().verifier(API)), Server::with_ada());
    let boxed: Box<dyn Verify> = Box::new(jwt_verifier.clone());
    let verifier = std::sync::Arc::new(JwtOrOpaque::new(Cached::new(boxed, HOUR), server.clone()));
    let jwt = issuer().token("eve").sign();
    for _ in 0..2 {
        assert_eq!(subject(&verifier, &jwt).await.as_deref(), Ok("eve"));
    }
    assert_eq!(jwt_verifier.calls(), 1, "the box forwards `is_still_valid` to the JWT verifier");
    assert_eq!(subject(&verifier, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(
        (jwt_verifier.calls(), server.calls()),
        (1, 1),
        "the box forwards `verify_if_responsible`, so the opaque token is passed on"
    );
}

#[tokio::test]
async fn a_cache_around_a_jwt_verifier_passes_on_opaque_tokens() {
    let (jwt_verifier, server) = (Counting::new(issuer().verifier(API)), Server::with_ada());
    let inner = Cached::new(jwt_verifier.clone(), HOUR);
    let mixed = std::sync::Arc::new(JwtOrOpaque::new(inner.clone(), server.clone()));
    let jwt = issuer().token("eve").sign();
    for round in 1..4 {
        assert_eq!(subject(&mixed, &jwt).await.as_deref(), Ok("eve"));
        assert_eq!(subject(&mixed, "ada").await.as_deref(), Ok("ada"));
        assert_eq!((jwt_verifier.calls(), server.calls()), (1, round));
    }
    assert_eq!(inner.len(), 1);
}

#[tokio::test]
async fn require_both_calls_the_server_for_a_cached_jwt_too() {
    let (jwt_verifier, server) = (Counting::new(issuer().verifier(API)), Server::new());
    let jwt = issuer().token("eve").sign();
    server.set_response(&jwt, ServerResponse::Active(json!({"sub": "introspected"})));
    let mixed = JwtOrOpaque::builder(Cached::new(jwt_verifier.clone(), HOUR), server.clone()).require_both().build();
    let mixed = std::sync::Arc::new(mixed);
    for round in 1..4 {
        assert_eq!(subject(&mixed, &jwt).await.as_deref(), Ok("introspected"));
        assert_eq!((jwt_verifier.calls(), server.calls()), (1, round));
    }
    server.revoke(&jwt);
    assert_eq!(subject(&mixed, &jwt).await, Err(AuthErrorKind::InvalidToken));
}

/// A cached verdict would lose the first verifier's `exp`.
#[tokio::test]
async fn a_cache_around_require_both_caches_nothing() {
    let (clock, server) = (clock(), Server::new());
    let issuer = issuer().with_clock(clock.clone());
    let jwt = issuer.token("eve").expires_in(60 * SECOND).sign();
    server.set_response(&jwt, ServerResponse::Active(json!({"sub": "introspected"}))); // no exp
    let both = JwtOrOpaque::builder(
        issuer.verifier_builder(API).leeway(std::time::Duration::ZERO).build().unwrap(),
        server.clone(),
    );
    let cached = Cached::builder(both.require_both().build(), HOUR).clock(clock.clone()).build();
    for round in 1..4 {
        assert_eq!(subject(&cached, &jwt).await.as_deref(), Ok("introspected"));
        assert_eq!(server.calls(), round);
    }
    clock.advance(60 * SECOND);
    assert_eq!(subject(&cached, &jwt).await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn a_cache_in_a_cache_is_a_second_separate_cache() {
    let server = Server::with_ada();
    let clock = clock();
    let inner = Cached::builder(server.clone(), HOUR).clock(clock.clone()).build();
    let outer = Cached::builder(inner.clone(), SECOND).clock(clock.clone()).build();
    assert_eq!(subject(&outer, "ada").await.as_deref(), Ok("ada"));
    assert_eq!((inner.len(), outer.len(), server.calls()), (1, 1, 1));
    clock.advance(SECOND);
    assert_eq!(subject(&outer, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.calls(), 1, "the inner cache still has the verdict");
    outer.invalidate("ada");
    inner.invalidate("ada");
    server.revoke("ada");
    assert_eq!(subject(&outer, "ada").await, Err(AuthErrorKind::InvalidToken));
}

/// Chooses the response by a header with the user, and doesn't add the header to the cache key.
#[derive(Clone)]
struct WithoutCacheKey(Server);

impl Verify for WithoutCacheKey {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let user = presented.parts().headers["user"].to_str().unwrap().to_owned();
        self.0.verdict_for(&user, presented)
    }
}

fn two_users() -> Server {
    let server = Server::with_ada();
    server.set_response("eve", ServerResponse::Active(json!({"sub": "eve"})));
    server
}

#[tokio::test]
async fn does_not_cache_an_uncacheable_verdict_of_an_inner_cache() {
    let server = two_users();
    let cached = Cached::new(Cached::new(WithoutCacheKey(server), HOUR), HOUR);
    for user in ["ada", "eve", "ada"] {
        assert_eq!(authenticate_with_headers(&cached, "same", &[("user", user)]).await.unwrap().subject(), Some(user));
    }
}

#[tokio::test]
async fn does_not_cache_an_uncacheable_verdict_of_one_of_two_verifiers() {
    let server = two_users();
    let cached =
        Cached::new(JwtOrOpaque::new(issuer().verifier(API), Cached::new(WithoutCacheKey(server), HOUR)), HOUR);
    for user in ["ada", "eve", "ada"] {
        assert_eq!(authenticate_with_headers(&cached, "same", &[("user", user)]).await.unwrap().subject(), Some(user));
    }
}

/// Reads the request, and passes every token on to the next verifier.
#[derive(Clone)]
struct ReadsAndPassesOn;

impl Verify for ReadsAndPassesOn {
    fn verify(&self, _: &PresentedToken<'_>) -> Verdict {
        Verdict::Now(Err(tower_oauth::AuthError::invalid_token()))
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let _ = presented.parts();
        None
    }
}

#[tokio::test]
async fn a_verifier_that_reads_the_request_does_not_make_another_one_cacheable() {
    let server = two_users();
    let mixed = std::sync::Arc::new(JwtOrOpaque::new(ReadsAndPassesOn, Cached::new(WithoutCacheKey(server), HOUR)));
    for user in ["ada", "eve", "ada"] {
        assert_eq!(authenticate_with_headers(&mixed, "same", &[("user", user)]).await.unwrap().subject(), Some(user));
    }
}

#[tokio::test]
async fn a_verdict_is_not_cached_if_an_earlier_verifier_read_the_request() {
    let server = Server::with_ada();
    let cached = Cached::new(JwtOrOpaque::new(ReadsAndPassesOn, Cached::new(server.clone(), HOUR)), HOUR);
    for _ in 0..3 {
        assert!(authenticate(&cached, "ada").await.is_ok());
    }
    assert!(cached.is_empty(), "the outer cache can't know what the verdict depended on");
    assert_eq!(server.calls(), 1, "the inner cache does");
}

/// Adds its server to the cache key, as introspection does, and reads nothing of the request.
#[derive(Clone)]
struct WithCacheKey(Server);

impl Verify for WithCacheKey {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.0.verify(presented)
    }

    fn cache_key(&self, _: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add("the server");
    }
}

#[tokio::test]
async fn the_cache_key_of_one_verifier_does_not_count_for_the_other() {
    let server = two_users();
    let cached = Cached::new(JwtOrOpaque::new(WithoutCacheKey(server.clone()), WithCacheKey(server)), HOUR);
    for user in ["ada", "eve", "ada"] {
        assert_eq!(authenticate_with_headers(&cached, "same", &[("user", user)]).await.unwrap().subject(), Some(user));
    }
    assert!(cached.is_empty());
}

/// The host chooses the verifier. It passes everything on, and the chosen verifier adds nothing to the cache key.
#[derive(Clone)]
struct ByHost(JwtVerifier, JwtVerifier);

impl ByHost {
    fn choose(&self, presented: &PresentedToken<'_>) -> &JwtVerifier {
        if presented.parts().headers["host"] == "one.test" { &self.0 } else { &self.1 }
    }
}

impl Verify for ByHost {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.choose(presented).verify(presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.choose(presented).cache_key(presented, key);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        self.0.is_still_valid(token) || self.1.is_still_valid(token)
    }
}

#[tokio::test]
async fn a_choice_by_the_request_without_a_cache_key_is_not_cached() {
    let keys = issuer().issuer();
    let verifier = |audience: &str| JwtVerifier::new(keys.clone(), audience).unwrap();
    let cached = Cached::new(ByHost(verifier(API), verifier("https://other.test")), HOUR);
    let token = issuer().token("ada").sign();
    for _ in 0..2 {
        assert!(authenticate_with_headers(&cached, &token, &[("host", "one.test")]).await.is_ok());
        let refused = authenticate_with_headers(&cached, &token, &[("host", "two.test")]).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::InvalidToken, "the token is for another audience");
    }
}
