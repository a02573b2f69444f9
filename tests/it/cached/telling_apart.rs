//! By what verdicts are told apart, and that nothing of it can be read.

use tower_oauth::{JwtVerifier, verify::BearerMethod};

use super::{
    Answer, AuthErrorKind, CacheKey, Cached, Counting, HOUR, PresentedToken, Request, ResourceServer, Server, Verdict,
    Verify, admit_with, authenticate, cached, json, subject,
};
use crate::support::{API, issuer, verifier_from};

#[tokio::test]
async fn a_verifier_that_looks_at_the_request_and_does_not_say_so_is_never_kept() {
    let server = Server::of_ada();
    let inside = server.clone();
    let verifier = verifier_from(move |presented| {
        let _ = presented.parts();
        inside.verify(presented)
    });
    let cached = Cached::new(verifier, HOUR);
    for asked in 1..4 {
        assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
        assert_eq!(server.asked(), asked);
    }
    assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
    assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
    assert_eq!(server.asked(), 5);
    assert!(cached.is_empty());
}

#[tokio::test]
async fn a_verifier_that_looks_at_the_way_the_token_came_is_never_kept() {
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

/// Takes the tenant from a header, if there is one, and says so.
#[derive(Clone)]
struct Tenants(Server);

impl Verify for Tenants {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let tenant = presented.parts().headers.get("tenant").map_or("none", |tenant| tenant.to_str().unwrap());
        self.0.question(tenant, presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        if let Some(tenant) = presented.parts().headers.get("tenant") {
            key.add(tenant);
        }
    }
}

#[tokio::test]
async fn a_verifier_that_says_what_it_looked_at_is_kept_and_its_verdicts_told_apart() {
    let server = Server::new();
    for tenant in ["none", "one", "two"] {
        server.says(tenant, Answer::Active(json!({"sub": tenant})));
    }
    for token in ["opaque".to_owned(), issuer().token("ada").sign()] {
        let before = server.asked();
        // Boxed, because a box must forward `cache_key`.
        let boxed: Box<dyn Verify> = Box::new(Tenants(server.clone()));
        let cached = Cached::new(boxed, HOUR);
        for tenant in ["one", "two", "one", "two", "none"] {
            let header = [("tenant", tenant)];
            let headers = if tenant == "none" { &[][..] } else { &header };
            for _ in 0..2 {
                assert_eq!(admit_with(&cached, &token, headers).await.unwrap().subject(), Some(tenant));
            }
        }
        assert!(server.asked() - before < 10, "each second one was a hit");
        assert!(server.asked() - before >= 3);
    }
}

#[tokio::test]
async fn where_a_part_of_the_key_ends_counts() {
    /// Two headers are two parts.
    #[derive(Clone)]
    struct TwoParts(Server);
    impl Verify for TwoParts {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let headers = &presented.parts().headers;
            let user = format!("{}|{}", headers["a"].to_str().unwrap(), headers["b"].to_str().unwrap());
            self.0.question(&user, presented)
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
        server.says(&user, Answer::Active(json!({"sub": user})));
        let token = admit_with(&cached, "same", &[("a", a), ("b", b)]).await.unwrap();
        assert_eq!(token.subject(), Some(user.as_str()));
    }
}

/// Spellings that a lenient reader might take for the same token.
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

#[tokio::test]
async fn a_second_spelling_of_an_opaque_token_is_another_token() {
    // A prefix, a suffix, another case: none of them may hit.
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    let token = "Za9-".repeat(20);
    let dotted = format!("a.b.{}", "Za9_".repeat(20));
    for token in [token, dotted] {
        server.says(&token, Answer::Active(json!({"sub": "ada"})));
        assert_eq!(subject(&cached, &token).await.as_deref(), Ok("ada"));
        for spelling in spellings(&token) {
            assert_eq!(subject(&cached, &spelling).await, Err(AuthErrorKind::InvalidToken), "{spelling}");
        }
        assert_eq!(subject(&cached, &token).await.as_deref(), Ok("ada"));
    }
}

#[tokio::test]
async fn a_second_spelling_of_a_jwt_is_another_token() {
    let verifier = Counting::new(issuer().verifier(API));
    let cached = Cached::new(verifier.clone(), HOUR);
    let token = issuer().token("ada").sign();
    assert!(authenticate(&cached, &token).await.is_ok());
    for spelling in spellings(&token) {
        let before = verifier.asked();
        assert!(authenticate(&cached, &spelling).await.is_err(), "{spelling}");
        assert_eq!(verifier.asked(), before + 1);
    }
    // Claims or header of another token under a known signature: every byte counts, not only the signature.
    let eve = issuer().token("eve").sign();
    assert!(authenticate(&cached, &eve).await.is_ok());
    let (ada, eve): (Vec<_>, Vec<_>) = (token.split('.').collect(), eve.split('.').collect());
    for forged in [[ada[0], eve[1], ada[2]], [ada[0], ada[1], eve[2]], [eve[0], eve[1], ada[2]]] {
        assert!(authenticate(&cached, &forged.join(".")).await.is_err());
    }
}

#[tokio::test]
async fn every_single_byte_of_a_token_counts() {
    let server = Server::new();
    let (cached, _) = cached(&server, HOUR);
    let jwt = issuer().token("ada").sign();
    server.says(&jwt, Answer::Active(json!({"sub": "ada"})));
    assert_eq!(subject(&cached, &jwt).await.as_deref(), Ok("ada"));
    for place in 0..jwt.len() {
        let mut other = jwt.clone();
        let bent = if jwt.as_bytes()[place] == b'x' { "y" } else { "x" };
        other.replace_range(place..=place, bent);
        assert_eq!(subject(&cached, &other).await, Err(AuthErrorKind::InvalidToken), "byte {place}");
    }
}

/// Prints the key that it was given.
struct Prints(std::sync::Arc<std::sync::Mutex<String>>);
impl Verify for Prints {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        Verdict::Now(presented.permit().token(&json!({})))
    }
    fn cache_key(&self, _: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add("tenant-seven");
        *self.0.lock().unwrap() = format!("{key:?}");
    }
}

#[tokio::test]
async fn what_is_printed_of_a_cache_tells_nothing_of_what_is_in_it() {
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
    authenticate(&Cached::new(Prints(std::sync::Arc::clone(&key)), HOUR), "token").await.unwrap();
    assert_eq!(*key.lock().unwrap(), "CacheKey { .. }");
}
