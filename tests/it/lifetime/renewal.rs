//! Renewal of the token of a stream.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use tokio::sync::Semaphore;
use tower_oauth::{
    AuthError,
    error::AuthErrorKind,
    lifetime::Ended,
    scope::ScopeHierarchy,
    verify::{BearerMethod, Verdict},
};

use super::{Chosen, NOW, SECOND, clock, expires_after, has_ended, jwt_server, lifetime, reach_the_events, server};
use crate::{
    log::Log,
    support::{issuer, verifier_from},
};

/// Stream 2 (own, accepts)
#[tokio::test]
async fn a_renewal_moves_the_end_for_all_clones() {
    let clock = clock();
    let lifetime = lifetime(jwt_server(&clock), &expires_after(60 * SECOND)).await;
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(lifetime.clone().ended())).collect();
    tokio::task::yield_now().await;
    clock.advance(59 * SECOND);
    lifetime.renew(&expires_after(120 * SECOND)).await.unwrap();
    clock.advance(60 * SECOND);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!has_ended(&lifetime) && waiting.iter().all(|waiting| !waiting.is_finished()));
    clock.advance(SECOND);
    for waiting in waiting {
        assert!(matches!(waiting.await.unwrap(), Ended::Expired));
    }
    lifetime.renew(&expires_after(180 * SECOND)).await.unwrap();
    assert!(!has_ended(&lifetime), "a stream that goes on can be renewed after its end");
}

/// Stream 2 (own, accepts)
#[tokio::test]
async fn a_renewal_that_ends_earlier_wakes_the_future() {
    let clock = clock();
    let lifetime = lifetime(jwt_server(&clock), &expires_after(3_600 * SECOND)).await;
    let waiting = tokio::spawn(lifetime.ended());
    tokio::task::yield_now().await;
    lifetime.renew(&expires_after(10 * SECOND)).await.unwrap();
    tokio::task::yield_now().await;
    clock.advance(10 * SECOND);
    assert!(matches!(waiting.await.unwrap(), Ended::Expired));
}

/// Stream 2 (own, refuses)
#[tokio::test]
async fn a_token_of_another_user_client_or_issuer_changes_nothing() {
    reach_the_events().await;
    let first = json!({"iss": "https://auth.test", "sub": "ada", "client_id": "web", "scope": "a b", "exp": NOW + 60});
    let (clock, chosen, log) = (clock(), Chosen::new(first), Log::default());
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await;
    let later = NOW + 3_600;
    for (claims, reason) in [
        (json!({"iss": "https://auth.test", "sub": "eve", "client_id": "web", "scope": "a b"}), "other_identity"),
        (json!({"iss": "https://auth.test", "client_id": "web", "scope": "a b"}), "other_identity"),
        (json!({"iss": "https://auth.test", "sub": "ada", "client_id": "app", "scope": "a b"}), "other_identity"),
        (json!({"iss": "https://auth.test", "sub": "ada", "scope": "a b"}), "other_identity"),
        (json!({"iss": "https://other.test", "sub": "ada", "client_id": "web", "scope": "a b"}), "other_identity"),
        (json!({"sub": "ada", "client_id": "web", "scope": "a b"}), "other_identity"),
        (json!({"iss": "https://auth.test", "sub": "ada", "client_id": "web", "scope": "a"}), "scope"),
        (json!({"iss": "https://auth.test", "sub": "ada", "client_id": "web"}), "scope"),
        (
            json!({"iss": "https://auth.test", "sub": "ada", "client_id": "web", "scope": "a b", "cnf": {"jkt": "x"}}),
            "sender_constrained",
        ),
    ] {
        let mut claims = claims;
        claims["exp"] = later.into();
        chosen.choose(Ok(claims.clone()));
        let error = log.capture(lifetime.renew("b")).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{claims}");
        assert_eq!(lifetime.token().subject(), Some("ada"));
    }
    for (verdict, kind) in [
        (AuthError::invalid_token(), AuthErrorKind::InvalidToken),
        (AuthError::unavailable(SECOND), AuthErrorKind::Unavailable),
    ] {
        chosen.choose(Err(verdict));
        assert_eq!(log.capture(lifetime.renew("b")).await.unwrap_err().kind(), kind);
    }
    for malformed in ["", " ", "a b", "a\n", "ä", "="] {
        let error = log.capture(lifetime.renew(malformed)).await.unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::InvalidRequest, "{malformed:?}");
    }
    assert!(log.text().matches("the token of a stream was refused").count() == 17, "{}", log.text());
    assert!(!has_ended(&lifetime));
    clock.advance(60 * SECOND);
    assert!(matches!(lifetime.ended().await, Ended::Expired), "the first end stays");
}

/// Stream 2 (own, refuses)
#[tokio::test]
async fn without_client_id_the_claims_for_the_client_are_compared() {
    for name in ["azp", "appid", "cid", "clientId"] {
        let of_client = |client: &str| json!({"iss": "https://auth.test", "sub": "ada", name: client});
        let (clock, chosen) = (clock(), Chosen::new(of_client("web")));
        let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await;
        for other in [of_client("app"), json!({"iss": "https://auth.test", "sub": "ada"})] {
            chosen.choose(Ok(other));
            assert_eq!(lifetime.renew("b").await.unwrap_err().reason(), "other_identity", "{name}");
        }
        chosen.choose(Ok(of_client("web")));
        lifetime.renew("c").await.unwrap();
    }
    // With `client_id` only that counts: `azp` may be another party.
    let with_both = |azp: &str| json!({"sub": "ada", "client_id": "web", "azp": azp});
    let chosen = Chosen::new(with_both("one"));
    let lifetime = lifetime(server(chosen.verifier(), &clock()), "a").await;
    chosen.choose(Ok(with_both("two")));
    lifetime.renew("b").await.unwrap();
}

/// Stream 2 (own, refuses)
#[tokio::test]
async fn a_refused_renewal_says_which_scopes_the_token_needs() {
    let clock = clock();
    let lifetime = lifetime(jwt_server(&clock), &expires_after(60 * SECOND)).await;
    let narrower = issuer().token("ada").scope("orders:write").claim("iat", NOW).claim("exp", NOW + 600).sign();
    let error = lifetime.renew(&narrower).await.unwrap_err();
    let challenge = jwt_server(&clock).challenge(&error);
    let mut headers = http::HeaderMap::new();
    challenge.write_to(&mut headers);
    assert!(headers["www-authenticate"].to_str().unwrap().contains(r#"scope="orders:read""#), "{headers:?}");
}

/// Stream 2 (own, accepts)
#[tokio::test]
async fn a_wider_scope_of_the_hierarchy_grants_what_the_first_token_granted() {
    let ada = |scope: &str| json!({"sub": "ada", "client_id": "web", "scope": scope});
    let chosen = Chosen::new(ada("orders:read"));
    let hierarchy = ScopeHierarchy::new().implies_named("admin", "orders:read");
    let server = tower_oauth::ResourceServer::builder(chosen.verifier()).scope_hierarchy(hierarchy).build().unwrap();
    let lifetime = lifetime(server, "a").await;
    chosen.choose(Ok(ada("admin")));
    lifetime.renew("b").await.unwrap();
    chosen.choose(Ok(ada("orders:read")));
    assert_eq!(lifetime.renew("c").await.unwrap_err().reason(), "scope");
}

/// Stream 2 (own, refuses)
#[tokio::test]
async fn a_token_without_a_subject_and_a_client_cannot_be_renewed() {
    let (clock, chosen) = (clock(), Chosen::new(json!({"iss": "https://auth.test"})));
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await;
    assert_eq!(lifetime.renew("b").await.unwrap_err().reason(), "other_identity");
}

/// Stream 2 (own, accepts)
#[tokio::test]
async fn the_renewed_token_is_the_one_that_is_checked_again() {
    let (clock, chosen) = (clock(), Chosen::ada());
    let lifetime = lifetime(server(chosen.verifier(), &clock), "a").await.recheck_every(60 * SECOND);
    clock.advance(30 * SECOND);
    lifetime.renew("b").await.unwrap();
    clock.advance(30 * SECOND);
    assert!(!has_ended(&lifetime));
    assert_eq!(chosen.asked().len(), 2, "a renewal is a check");
    chosen.choose(Err(AuthError::invalid_token()));
    clock.advance(30 * SECOND);
    assert!(matches!(lifetime.ended().await, Ended::Refused(_)));
    let asked = chosen.asked();
    assert_eq!((&*asked[2].token, asked[2].method), ("b", BearerMethod::Direct));
    chosen.choose(Ok(json!({"iss": "https://auth.test", "sub": "ada", "client_id": "web", "scope": "orders:read"})));
    lifetime.renew("c").await.unwrap();
    assert!(!has_ended(&lifetime), "a new token replaces one that was revoked");
}

/// Stream 2 (own, refuses)
#[tokio::test]
async fn the_verdict_about_an_old_token_does_not_end_its_renewal() {
    let (clock, gate, calls) = (clock(), Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let verifier = {
        let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
        verifier_from(move |presented| {
            let permit = presented.permit();
            if calls.fetch_add(1, Ordering::SeqCst) == 0 || presented.token() == "new" {
                return Verdict::Now(permit.token(&json!({"sub": "ada"})));
            }
            let gate = Arc::clone(&gate);
            Verdict::later(async move {
                drop(gate.acquire().await);
                Err(AuthError::invalid_token())
            })
        })
    };
    let lifetime = lifetime(server(verifier, &clock), "old").await.recheck_every(SECOND);
    clock.advance(SECOND);
    assert!(!has_ended(&lifetime), "the check of the old token runs");
    lifetime.renew("new").await.unwrap();
    gate.add_permits(1);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(!has_ended(&lifetime));
}
