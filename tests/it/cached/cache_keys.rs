//! Cache keys: which requests share a verdict, and that `Debug` shows no part of a key.

use tower_oauth::{JwtVerifier, verify::BearerMethod};

use super::{
    AuthErrorKind, CacheKey, Cached, Counting, HOUR, PresentedToken, Request, ResourceServer, Server, ServerResponse,
    Verdict, Verify, authenticate, authenticate_with_headers, cached, json, subject,
};
use crate::support::{API, issuer, verifier_from};

#[tokio::test]
async fn a_verifier_that_reads_the_request_without_a_cache_key_is_not_cached() {
    let server = Server::with_ada();
    let inner = server.clone();
    let verifier = verifier_from(move |presented| {
        let _ = presented.parts();
        inner.verify(presented)
    });
    let cached = Cached::new(verifier, HOUR);
    for calls in 1..4 {
        assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
        assert_eq!(server.calls(), calls);
    }
    assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
    assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
    assert_eq!(server.calls(), 5);
    assert!(cached.is_empty());
}

#[tokio::test]
async fn a_verifier_that_reads_the_bearer_method_is_not_cached() {
    let verifier = verifier_from(|presented| match presented.bearer_method() {
        BearerMethod::Authorization => Verdict::Now(presented.permit().token(&json!({"sub": "ada"}))),
        _ => Verdict::Now(Err(tower_oauth::AuthError::invalid_token())),
    });
    let cached = Cached::new(verifier, HOUR);
    assert!(authenticate(&cached, "token").await.is_ok());
    let server = ResourceServer::builder(cached).accept_cookie("session").build().unwrap();
    let parts = Request::get("/").header("cookie", "session=token").body(()).unwrap().into_parts().0;
    assert_eq!(server.authenticate(&parts).await.unwrap_err().kind(), AuthErrorKind::InvalidToken);
}

/// Chooses the response by a header with the tenant, if there is one, and adds the header to the cache key.
#[derive(Clone)]
struct Tenants(Server);

impl Verify for Tenants {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let tenant = presented.parts().headers.get("tenant").map_or("none", |tenant| tenant.to_str().unwrap());
        self.0.verdict_for(tenant, presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        if let Some(tenant) = presented.parts().headers.get("tenant") {
            key.add(tenant);
        }
    }
}

#[tokio::test]
async fn verdicts_with_different_cache_keys_are_cached_separately() {
    let server = Server::new();
    for tenant in ["none", "one", "two"] {
        server.set_response(tenant, ServerResponse::Active(json!({"sub": tenant})));
    }
    for token in ["opaque".to_owned(), issuer().token("ada").sign()] {
        let before = server.calls();
        // Boxed, because a box must forward `cache_key`.
        let boxed: Box<dyn Verify> = Box::new(Tenants(server.clone()));
        let cached = Cached::new(boxed, HOUR);
        for tenant in ["one", "two", "one", "two", "none"] {
            let header = [("tenant", tenant)];
            let headers = if tenant == "none" { &[][..] } else { &header };
            for _ in 0..2 {
                assert_eq!(authenticate_with_headers(&cached, &token, headers).await.unwrap().subject(), Some(tenant));
            }
        }
        assert!(server.calls() - before < 10, "each second request was a hit");
        assert!(server.calls() - before >= 3);
    }
}

#[tokio::test]
async fn the_boundaries_between_parts_of_a_cache_key_count() {
    /// Adds two headers as two parts of the cache key.
    #[derive(Clone)]
    struct TwoParts(Server);
    impl Verify for TwoParts {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let headers = &presented.parts().headers;
            let user = format!("{}|{}", headers["a"].to_str().unwrap(), headers["b"].to_str().unwrap());
            self.0.verdict_for(&user, presented)
        }
        fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
            key.add(&presented.parts().headers["a"]);
            key.add(&presented.parts().headers["b"]);
        }
    }
    let server = Server::new();
    let cached = Cached::new(TwoParts(server.clone()), HOUR);
    for (a, b) in [("x", "yz"), ("xy", "z"), ("xyz", ""), ("", "xyz"), ("z", "xy")] {
        let user = format!("{a}|{b}");
        server.set_response(&user, ServerResponse::Active(json!({"sub": user})));
        let token = authenticate_with_headers(&cached, "same", &[("a", a), ("b", b)]).await.unwrap();
        assert_eq!(token.subject(), Some(user.as_str()));
    }
}

/// Spellings that a lenient implementation might treat as the same token.
fn spellings(token: &str) -> Vec<String> {
    let swapped: String =
        token.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
    let mut shorter = token.to_owned();
    shorter.pop();
    vec![
        format!("{token}="),
        format!("{token}A"),
        format!("A{token}"),
        format!("{token}."),
        format!(".{token}"),
        shorter,
        swapped,
    ]
}

/// Threat I10
#[tokio::test]
async fn another_spelling_of_an_opaque_token_is_not_a_hit() {
    // A prefix, a suffix, another case: none of them may be a hit.
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    let token = "Za9-".repeat(20);
    let dotted = format!("a.b.{}", "Za9_".repeat(20));
    for token in [token, dotted] {
        server.set_response(&token, ServerResponse::Active(json!({"sub": "ada"})));
        assert_eq!(subject(&cached, &token).await.as_deref(), Ok("ada"));
        for spelling in spellings(&token) {
            assert_eq!(subject(&cached, &spelling).await, Err(AuthErrorKind::InvalidToken), "{spelling}");
        }
        assert_eq!(subject(&cached, &token).await.as_deref(), Ok("ada"));
    }
}

/// Threat I10
#[tokio::test]
async fn another_spelling_of_a_jwt_is_not_a_hit() {
    let verifier = Counting::new(issuer().verifier(API));
    let cached = Cached::new(verifier.clone(), HOUR);
    let token = issuer().token("ada").sign();
    assert!(authenticate(&cached, &token).await.is_ok());
    for spelling in spellings(&token) {
        let before = verifier.calls();
        assert!(authenticate(&cached, &spelling).await.is_err(), "{spelling}");
        assert_eq!(verifier.calls(), before + 1);
    }
    // Claims or header of another token with a cached token's signature: every byte counts, not only the signature.
    let eve = issuer().token("eve").sign();
    assert!(authenticate(&cached, &eve).await.is_ok());
    let (ada, eve): (Vec<_>, Vec<_>) = (token.split('.').collect(), eve.split('.').collect());
    for forged in [[ada[0], eve[1], ada[2]], [ada[0], ada[1], eve[2]], [eve[0], eve[1], ada[2]]] {
        assert!(authenticate(&cached, &forged.join(".")).await.is_err());
    }
}

/// Threat I10
#[tokio::test]
async fn every_byte_of_a_token_counts() {
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    let jwt = issuer().token("ada").sign();
    server.set_response(&jwt, ServerResponse::Active(json!({"sub": "ada"})));
    assert_eq!(subject(&cached, &jwt).await.as_deref(), Ok("ada"));
    for place in 0..jwt.len() {
        let mut other = jwt.clone();
        let changed = if jwt.as_bytes()[place] == b'x' { "y" } else { "x" };
        other.replace_range(place..=place, changed);
        assert_eq!(subject(&cached, &other).await, Err(AuthErrorKind::InvalidToken), "byte {place}");
    }
}

/// Formats its cache key with `Debug`.
struct FormatsCacheKey(std::sync::Arc<std::sync::Mutex<String>>);
impl Verify for FormatsCacheKey {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        Verdict::Now(presented.permit().token(&json!({})))
    }
    fn cache_key(&self, _: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add("tenant-seven");
        *self.0.lock().unwrap() = format!("{key:?}");
    }
}

#[tokio::test]
async fn debug_of_a_cache_and_of_a_cache_key_shows_no_content() {
    let verifier: JwtVerifier = issuer().verifier(API);
    let cached = Cached::new(verifier, HOUR);
    let token = issuer().token("ada-the-subject").scope("secret:scope").sign();
    authenticate(&cached, &token).await.unwrap();
    let (printed, pretty) = (format!("{cached:?}"), format!("{cached:#?}"));
    for secret in token.split('.').chain(["ada-the-subject", "secret:scope", "client"]) {
        assert!(!printed.contains(secret) && !pretty.contains(secret), "{printed}");
    }
    assert!(printed.starts_with("Cached {") && printed.contains("max_age: 3600s"), "{printed}");
    let key = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    authenticate(&Cached::new(FormatsCacheKey(std::sync::Arc::clone(&key)), HOUR), "token").await.unwrap();
    assert_eq!(*key.lock().unwrap(), "CacheKey { .. }");
}
