//! A cache inside of others: beside a JWT verifier, around one, and around another cache.

use serde_json::json;
use tower_oauth::{JwtOrOpaque, JwtVerifier, Token};

use super::{
    Answer, AuthErrorKind, CacheKey, Cached, Counting, HOUR, PresentedToken, SECOND, Server, Verdict, Verify,
    admit_with, authenticate, clock, subject,
};
use crate::support::{API, issuer};

#[tokio::test]
async fn a_cache_of_one_kind_of_tokens_stands_behind_a_jwt_verifier() {
    let (jwts, server) = (Counting::new(issuer().verifier(API)), Server::of_ada());
    let inside = Cached::new(server.clone(), HOUR);
    let mixed = std::sync::Arc::new(JwtOrOpaque::new(jwts.clone(), inside.clone()));
    let jwt = issuer().token("eve").sign();
    for round in 1..4 {
        assert_eq!(subject(&mixed, &jwt).await.as_deref(), Ok("eve"));
        assert_eq!(subject(&mixed, "ada").await.as_deref(), Ok("ada"));
        assert_eq!((jwts.asked(), server.asked()), (round, 1));
    }
    assert_eq!(inside.len(), 1);
}

#[tokio::test]
async fn a_cache_around_both_keeps_both_and_knows_whose_key_is_whose() {
    let (jwts, server) = (Counting::new(issuer().verifier(API)), Server::of_ada());
    let cached = Cached::new(JwtOrOpaque::new(jwts.clone(), server.clone()), HOUR);
    let jwt = issuer().token("eve").sign();
    for _ in 0..3 {
        assert_eq!(subject(&cached, &jwt).await.as_deref(), Ok("eve"));
        assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    }
    assert_eq!((jwts.asked(), server.asked()), (1, 1));
    assert_eq!(cached.len(), 2);
}

#[tokio::test]
async fn a_jwt_that_failed_is_not_sent_on_by_way_of_a_cache() {
    let server = Server::new();
    let forged = issuer().token("eve").audience("https://elsewhere.test").sign();
    server.says(&forged, Answer::Active(json!({"sub": "eve"})));
    let cached = Cached::new(JwtOrOpaque::new(issuer().verifier(API), server.clone()), HOUR);
    for _ in 0..2 {
        assert_eq!(subject(&cached, &forged).await, Err(AuthErrorKind::InvalidToken));
    }
    let around_jwts = JwtOrOpaque::new(Cached::new(issuer().verifier(API), HOUR), Cached::new(server.clone(), HOUR));
    let around_jwts = std::sync::Arc::new(around_jwts);
    for _ in 0..2 {
        assert_eq!(subject(&around_jwts, &forged).await, Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_cache_of_jwts_hands_on_what_is_none_of_its_own() {
    let (jwts, server) = (Counting::new(issuer().verifier(API)), Server::of_ada());
    let inside = Cached::new(jwts.clone(), HOUR);
    let mixed = std::sync::Arc::new(JwtOrOpaque::new(inside.clone(), server.clone()));
    let jwt = issuer().token("eve").sign();
    for round in 1..4 {
        assert_eq!(subject(&mixed, &jwt).await.as_deref(), Ok("eve"));
        assert_eq!(subject(&mixed, "ada").await.as_deref(), Ok("ada"));
        assert_eq!((jwts.asked(), server.asked()), (1, round));
    }
    assert_eq!(inside.len(), 1);
}

#[tokio::test]
async fn where_all_are_asked_a_cached_jwt_is_asked_about_all_the_same() {
    let (jwts, server) = (Counting::new(issuer().verifier(API)), Server::new());
    let jwt = issuer().token("eve").sign();
    server.says(&jwt, Answer::Active(json!({"sub": "asked"})));
    let mixed = JwtOrOpaque::new(Cached::new(jwts.clone(), HOUR), server.clone()).always_ask();
    let mixed = std::sync::Arc::new(mixed);
    for round in 1..4 {
        assert_eq!(subject(&mixed, &jwt).await.as_deref(), Ok("asked"));
        assert_eq!((jwts.asked(), server.asked()), (1, round));
    }
    server.revoke(&jwt);
    assert_eq!(subject(&mixed, &jwt).await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn a_cache_around_where_all_are_asked_keeps_nothing_for_the_first_ones_expiry_would_be_lost() {
    let (clock, server) = (clock(), Server::new());
    let issuer = issuer().with_clock(clock.clone());
    let jwt = issuer.token("eve").expires_in(60 * SECOND).sign();
    server.says(&jwt, Answer::Active(json!({"sub": "asked"}))); // no exp
    let mixed = JwtOrOpaque::new(
        issuer.verifier_builder(API).leeway(std::time::Duration::ZERO).build().unwrap(),
        server.clone(),
    );
    let cached = Cached::new(mixed.always_ask(), HOUR).clock(clock.clone());
    for round in 1..4 {
        assert_eq!(subject(&cached, &jwt).await.as_deref(), Ok("asked"));
        assert_eq!(server.asked(), round);
    }
    clock.advance(60 * SECOND);
    assert_eq!(subject(&cached, &jwt).await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn a_cache_in_a_cache_is_two_caches() {
    let server = Server::of_ada();
    let clock = clock();
    let inside = Cached::new(server.clone(), HOUR).clock(clock.clone());
    let outside = Cached::new(inside.clone(), SECOND).clock(clock.clone());
    assert_eq!(subject(&outside, "ada").await.as_deref(), Ok("ada"));
    assert_eq!((inside.len(), outside.len(), server.asked()), (1, 1, 1));
    clock.advance(SECOND);
    assert_eq!(subject(&outside, "ada").await.as_deref(), Ok("ada"));
    assert_eq!(server.asked(), 1, "the inner one still has it");
    outside.forget("ada");
    inside.forget("ada");
    server.revoke("ada");
    assert_eq!(subject(&outside, "ada").await, Err(AuthErrorKind::InvalidToken));
}

/// Takes the user from a header, and doesn't say so.
#[derive(Clone)]
struct Careless(Server);

impl Verify for Careless {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let user = presented.parts().headers["user"].to_str().unwrap().to_owned();
        self.0.question(&user, presented)
    }
}

fn two_users() -> Server {
    let server = Server::of_ada();
    server.says("eve", Answer::Active(json!({"sub": "eve"})));
    server
}

#[tokio::test]
async fn what_one_cache_must_not_keep_the_one_around_it_does_not_keep_either() {
    let server = two_users();
    let cached = Cached::new(Cached::new(Careless(server), HOUR), HOUR);
    for user in ["ada", "eve", "ada"] {
        assert_eq!(admit_with(&cached, "same", &[("user", user)]).await.unwrap().subject(), Some(user));
    }
}

#[tokio::test]
async fn nor_does_it_where_the_inner_one_is_one_of_two() {
    let server = two_users();
    let cached = Cached::new(JwtOrOpaque::new(issuer().verifier(API), Cached::new(Careless(server), HOUR)), HOUR);
    for user in ["ada", "eve", "ada"] {
        assert_eq!(admit_with(&cached, "same", &[("user", user)]).await.unwrap().subject(), Some(user));
    }
}

/// Looks at the request to say that a token is not its own.
#[derive(Clone)]
struct Nobodys;

impl Verify for Nobodys {
    fn verify(&self, _: &PresentedToken<'_>) -> Verdict {
        Verdict::Now(Err(tower_oauth::AuthError::invalid_token()))
    }

    fn verify_own(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let _ = presented.parts();
        None
    }
}

#[tokio::test]
async fn that_somebody_else_looked_at_the_request_is_no_excuse_to_keep_a_verdict() {
    let server = two_users();
    let mixed = std::sync::Arc::new(JwtOrOpaque::new(Nobodys, Cached::new(Careless(server), HOUR)));
    for user in ["ada", "eve", "ada"] {
        assert_eq!(admit_with(&mixed, "same", &[("user", user)]).await.unwrap().subject(), Some(user));
    }
}

#[tokio::test]
async fn a_verdict_for_which_somebody_looked_at_the_request_is_not_kept_though_the_last_one_did_not() {
    let server = Server::of_ada();
    let cached = Cached::new(JwtOrOpaque::new(Nobodys, Cached::new(server.clone(), HOUR)), HOUR);
    for _ in 0..3 {
        assert!(authenticate(&cached, "ada").await.is_ok());
    }
    assert!(cached.is_empty(), "the outer one can't know on what it depended");
    assert_eq!(server.asked(), 1, "the inner one does");
}

/// Says whom it asks, as introspection does, and looks at nothing.
#[derive(Clone)]
struct Named(Server);

impl Verify for Named {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.0.verify(presented)
    }

    fn cache_key(&self, _: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add("the server");
    }
}

#[tokio::test]
async fn that_one_of_two_says_whom_it_asks_does_not_speak_for_the_other() {
    let server = two_users();
    let cached = Cached::new(JwtOrOpaque::new(Careless(server.clone()), Named(server)), HOUR);
    for user in ["ada", "eve", "ada"] {
        assert_eq!(admit_with(&cached, "same", &[("user", user)]).await.unwrap().subject(), Some(user));
    }
    assert!(cached.is_empty());
}

/// The host chooses the rules. It hands everything on, and the rules have nothing to add to the key.
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

    fn still_holds(&self, token: &Token) -> bool {
        self.0.still_holds(token) || self.1.still_holds(token)
    }
}

#[tokio::test]
async fn a_choice_by_the_request_that_adds_nothing_to_the_key_is_not_kept() {
    let keys = issuer().issuer();
    let verifier = |audience: &str| JwtVerifier::new(keys.clone(), audience).unwrap();
    let cached = Cached::new(ByHost(verifier(API), verifier("https://other.test")), HOUR);
    let token = issuer().token("ada").sign();
    for _ in 0..2 {
        assert!(admit_with(&cached, &token, &[("host", "one.test")]).await.is_ok());
        let refused = admit_with(&cached, &token, &[("host", "two.test")]).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::InvalidToken, "it is not meant for that one");
    }
}
