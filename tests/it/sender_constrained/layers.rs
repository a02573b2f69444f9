//! Proofs and the rest of the crate: caches, verifiers of the application, two layers, use without tower.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{Router, routing::get};
use http::{Request, request::Parts};
use tower_oauth::{
    Cached, JwtOrOpaque, OAuthLayer, ResourceServer, Token,
    clock::Clock,
    dpop::{Dpop, MemoryReplayStore},
    layer::require::RequireSenderConstraintLayer,
    testing::{ProofKey, TestRequest},
    verify::{PresentedToken, Verdict, Verify},
};

use super::{Fixture, Later, get_as, router};
use crate::support::{API, verifier_from};

#[tokio::test]
async fn a_proof_is_accepted_once_whether_the_store_answers_at_once_or_later() {
    let fixture = Fixture::new();
    let later = fixture.dpop().replay_store(Later(MemoryReplayStore::new()));
    for app in [fixture.app(|server| server), fixture.app(|server| server.dpop(later))] {
        let proof = fixture.proof("/me");
        assert_eq!(fixture.get_with_proof(&app, "/me", &proof).await.status, 200);
        assert_eq!(fixture.get_with_proof(&app, "/me", &proof).await.status, 401);
        assert_eq!(fixture.get(&app, "/me").await.status, 200, "a new proof");
    }
}

#[tokio::test]
async fn a_handler_sees_what_the_token_is_bound_to() {
    let fixture = Fixture::new();
    let app = fixture.app(|server| server);
    let answer = fixture.get(&app, "/me").await;
    assert!(answer.body.contains(&fixture.key.thumbprint()), "{}", answer.body);
    let answer = get_as(&app, "/me", &format!("Bearer {}", fixture.unbound()), None).await;
    assert_eq!(answer.body, "None");
}

#[tokio::test]
async fn a_hit_of_the_cache_needs_a_proof_like_every_request() {
    let fixture = Fixture::new();
    let verifier = Cached::new(fixture.issuer.verifier(API), Duration::from_secs(60));
    let server = ResourceServer::builder(verifier).dpop(fixture.dpop()).build().unwrap();
    let app = router(&fixture.clock).layer(OAuthLayer::from_server(server));
    let proof = fixture.proof("/me");
    assert_eq!(fixture.get_with_proof(&app, "/me", &proof).await.status, 200);
    let dpop = format!("DPoP {}", fixture.token);
    let other = ProofKey::new().with_clock(fixture.clock.clone());
    let of_other = other.proof("GET", &format!("{API}/me")).token(&fixture.token).sign();
    for (authorization, proof, why) in [
        (&dpop, None, "no proof"),
        (&dpop, Some(&*proof), "a used proof"),
        (&dpop, Some("a.b.c"), "a malformed proof"),
        (&dpop, Some(&*of_other), "another key"),
        (&format!("Bearer {}", fixture.token), None, "as Bearer"),
    ] {
        assert_eq!(get_as(&app, "/me", authorization, proof).await.status, 401, "{why}");
    }
    assert_eq!(fixture.get(&app, "/me").await.status, 200);
}

/// Returns the token that a layer further out has put into the request, as it is.
struct TokenOfOuterLayer;

impl Verify for TokenOfOuterLayer {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        Verdict::Now(
            presented.parts().extensions.get::<Token>().cloned().ok_or_else(tower_oauth::AuthError::invalid_token),
        )
    }
}

/// Sender 1 (derived, refuses)
#[tokio::test]
async fn a_proven_token_of_another_layer_is_not_proven_for_this_one() {
    let fixture = Fixture::new();
    let without_dpop = ResourceServer::builder(TokenOfOuterLayer).build().unwrap();
    let app = router(&fixture.clock)
        .layer(OAuthLayer::from_server(without_dpop))
        .layer(OAuthLayer::from_server(fixture.server(|server| server)));
    assert_ne!(fixture.get(&app, "/me").await.status, 200);
}

#[tokio::test]
async fn the_token_of_a_verifier_is_not_proven() {
    let fixture = Fixture::new();
    let request = TestRequest::new(&fixture.token);
    let token = request.verify(&fixture.issuer.verifier(API)).await.unwrap();
    assert_eq!(token.confirmation(), None);
    assert_eq!(token.require_sender_constraint().unwrap_err().reason(), "constraint_required");
}

/// Sender 1 (derived, accepts)
#[tokio::test]
async fn a_verifier_of_the_application_can_bind_tokens() {
    let fixture = Fixture::new();
    let claims = serde_json::json!({"sub": "ada", "cnf": {"jkt": fixture.key.thumbprint()}});
    let verifier = verifier_from(move |presented| Verdict::Now(presented.permit().token(&claims)));
    let server = ResourceServer::builder(verifier).dpop(fixture.dpop()).build().unwrap();
    let app = router(&fixture.clock).layer(OAuthLayer::from_server(server));
    assert_eq!(fixture.get(&app, "/me").await.status, 200);
    assert_eq!(get_as(&app, "/me", &format!("Bearer {}", fixture.token), None).await.status, 401);
}

#[tokio::test]
async fn two_layers_with_one_memory_accept_one_proof_of_one_request() {
    let fixture = Fixture::new();
    let server = fixture.server(|server| server);
    let shared = fixture.dpop();
    let dpop = shared.clone();
    let (outer, inner) = (fixture.server(|server| server.dpop(dpop)), fixture.server(|server| server.dpop(shared)));
    for (outer, inner, why) in
        [(server.clone(), server, "one server"), (outer, inner, "two servers with clones of one Dpop")]
    {
        let app = router(&fixture.clock).layer(OAuthLayer::from_server(inner)).layer(OAuthLayer::from_server(outer));
        let proof = fixture.proof("/me");
        assert_eq!(fixture.get_with_proof(&app, "/me", &proof).await.status, 200, "{why}");
        assert_eq!(fixture.get_with_proof(&app, "/me", &proof).await.status, 401, "{why}: a second request");
    }
}

#[tokio::test]
async fn a_key_that_the_server_knows_is_checked_like_a_new_one() {
    let fixture = Fixture::new();
    let app = fixture.app(|server| server);
    let other = ProofKey::new().with_clock(fixture.clock.clone());
    let of_other = fixture.issuer.token("eve").bound_to(&other).sign();
    for round in 0..2 {
        assert_eq!(fixture.get(&app, "/me").await.status, 200, "the key is known from here on, round {round}");
        let url = format!("{API}/me");
        let proof = fixture.key.proof("GET", &url).token(&of_other).sign();
        let answer = get_as(&app, "/me", &format!("DPoP {of_other}"), Some(&proof)).await;
        assert!(answer.challenges()[0].contains("invalid_token"), "another token: {:?}", answer.challenges());
        let forged = fixture.key.proof("GET", &url).token(&fixture.token).sign_with(&other);
        let answer = fixture.get_with_proof(&app, "/me", &forged).await;
        assert!(answer.challenges()[0].contains("invalid_dpop_proof"), "another signature: {:?}", answer.challenges());
    }
}

#[tokio::test]
async fn a_layer_requires_bound_tokens_for_a_router() {
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/me", get(|| async { "done" }))
        .layer(RequireSenderConstraintLayer::new())
        .layer(OAuthLayer::from_server(fixture.server(|server| server)));
    assert_eq!(fixture.get(&app, "/me").await.body, "done");
    assert_eq!(get_as(&app, "/me", &format!("Bearer {}", fixture.unbound()), None).await.status, 401);
}

#[tokio::test]
async fn without_tower_the_server_checks_the_proof_and_challenges_by_the_scheme() {
    let fixture = Fixture::new();
    let server = fixture.server(|server| server);
    let head = |authorization: &str, proof: &str| -> Parts {
        let request =
            Request::get("/me").header("authorization", authorization).header("dpop", proof).body(()).unwrap();
        request.into_parts().0
    };
    let dpop = format!("DPoP {}", fixture.token);
    let good = head(&dpop, &fixture.proof("/me"));
    let token = server.authenticate(&good).await.unwrap();
    assert_eq!(token.confirmation().unwrap().jwk_thumbprint(), Some(fixture.key.thumbprint()));
    let error = server.authenticate(&good).await.unwrap_err();
    assert_eq!(error.reason(), "proof_replayed");
    let first = |challenge: tower_oauth::challenge::Challenge| {
        challenge.www_authenticate().next().unwrap().to_str().unwrap().to_owned()
    };
    assert!(first(server.challenge_for(&error, &good)).starts_with("DPoP "));
    assert!(first(server.challenge(&error)).starts_with("DPoP "), "by the error");
    let bearer = head(&format!("Bearer {}", fixture.token), "");
    let error = server.authenticate(&bearer).await.unwrap_err();
    assert!(first(server.challenge_for(&error, &bearer)).starts_with("Bearer "));
    assert_eq!(server.authenticate_token(&fixture.token).await.unwrap_err().reason(), "sender_constrained");
}

#[tokio::test]
async fn without_the_setting_everything_is_as_before() {
    let fixture = Fixture::new();
    let app = router(&fixture.clock).layer(OAuthLayer::new(fixture.issuer.verifier(API)));
    let answer = fixture.get(&app, "/me").await;
    assert_eq!((answer.status.as_u16(), answer.challenges()), (401, vec![r#"Bearer realm="api""#]));
    let answer = get_as(&app, "/me", &format!("Bearer {}", fixture.token), None).await;
    assert!(answer.is_refusal(401, "invalid_token"));
}

#[tokio::test]
async fn both_verdicts_of_require_both_must_have_the_same_cnf() {
    let fixture = Fixture::new();
    let (ours, other) = (fixture.key.thumbprint(), ProofKey::new().thumbprint());
    for (cnf, status) in [
        (serde_json::json!({"jkt": ours}), 200),
        (serde_json::json!({"jkt": other}), 401),
        (serde_json::json!(null), 401),
        (serde_json::json!({"jkt": ours, "x5t#S256": other}), 401),
    ] {
        let claims = serde_json::json!({"sub": "ada", "cnf": cnf});
        let second = verifier_from(move |presented| Verdict::Now(presented.permit().token(&claims)));
        let verifier = JwtOrOpaque::builder(fixture.issuer.verifier(API), second).require_both().build();
        let server = ResourceServer::builder(verifier).dpop(fixture.dpop()).build().unwrap();
        let app = router(&fixture.clock).layer(OAuthLayer::from_server(server));
        assert_eq!(fixture.get(&app, "/me").await.status, status, "{cnf}");
    }
}

#[tokio::test]
async fn the_url_can_be_computed_from_the_request() {
    let fixture = Fixture::new();
    let by_tenant = |parts: &Parts| {
        let tenant = parts.headers.get("x-tenant")?.to_str().ok()?;
        ["acme", "other"].contains(&tenant).then(|| format!("https://{tenant}.test{}", parts.uri.path()))
    };
    let dpop = Dpop::target(by_tenant).clock(fixture.clock.clone());
    let app = fixture.app(|server| server.dpop(dpop));
    for (tenant, url, status) in [
        ("acme", "https://acme.test/me", 200),
        ("acme", "https://other.test/me", 401),
        ("evil", "https://evil.test/me", 401),
    ] {
        let proof = fixture.key.proof("GET", url).token(&fixture.token).sign();
        let request = Request::get("/me").header("authorization", format!("DPoP {}", fixture.token));
        let request = request.header("dpop", proof).header("x-tenant", tenant);
        let answer = crate::support::send(&app, request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{tenant} {url}");
    }
}

#[tokio::test]
async fn a_computed_url_with_dot_segments_needs_a_proof_for_exactly_this_url() {
    let fixture = Fixture::new();
    let dpop = Dpop::target(|parts| Some(format!("{API}{}", parts.uri.path()))).clock(fixture.clock.clone());
    let server = fixture.server(|server| server.dpop(dpop));
    let app = Router::new().route("/a/{*rest}", get(|| async { "a" })).layer(OAuthLayer::from_server(server));
    let mut statuses = Vec::new();
    for (path, target) in [("/a/../b", "/b"), ("/a/%2e%2e/b", "/b"), ("/a/../b", "/a/../b"), ("/a/c", "/a/c")] {
        let proof = fixture.key.proof("GET", &format!("{API}{target}")).token(&fixture.token).sign();
        statuses.push(fixture.get_with_proof(&app, path, &proof).await.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 200, 200]);
    let dpop = Dpop::target(|_| Some("/b".to_owned())).clock(fixture.clock.clone());
    let app = fixture.app(|server| server.dpop(dpop));
    let proof = fixture.key.proof("GET", "/b").token(&fixture.token).sign();
    assert_eq!(fixture.get_with_proof(&app, "/me", &proof).await.status, 401, "not an absolute URL");
}

/// A clock that is behind for the first reading of each request, and ahead for the next ones.
#[derive(Debug, Clone)]
struct Jumping(Arc<AtomicU64>);

impl Clock for Jumping {
    fn now(&self) -> SystemTime {
        let reading = self.0.fetch_add(1, Ordering::Relaxed);
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 60 * reading.min(1))
    }
}

/// RFC 9449 §7.3 (SHOULD, refuses)
#[tokio::test]
async fn a_proof_that_expires_while_it_is_checked_is_accepted_once() {
    let fixture = Fixture::new();
    let readings = Arc::new(AtomicU64::new(0));
    let dpop = Dpop::new(API).clock(Jumping(Arc::clone(&readings)));
    let app = fixture.app(|server| server.dpop(dpop));
    let issued_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_799_999_940_500);
    let proof = fixture.key.proof("GET", &format!("{API}/me")).token(&fixture.token).issued_at(issued_at).sign();
    let mut accepted = 0;
    for _ in 0..3 {
        readings.store(0, Ordering::Relaxed);
        accepted += u32::from(fixture.get_with_proof(&app, "/me", &proof).await.status == 200);
    }
    assert_eq!(accepted, 1);
}
