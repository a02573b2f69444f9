//! A valid token that all contestants accept, many more like it, and invalid ones.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tower_oauth::testing::{MockIssuer, TokenBuilder};

pub(crate) struct Tokens {
    builder: TokenBuilder,
    pub(crate) good: String,
    /// The defect and the token.
    pub(crate) bad: Vec<(&'static str, String)>,
}

impl Tokens {
    /// Generates tokens of about 1 KB: the claims of RFC 9068, those that aliri_tower (`nbf`) and axum-keycloak-auth (`typ`, `azp`,
    /// `preferred_username`, `email`, `email_verified`) require, and a few more.
    pub(crate) fn new(issuer: &MockIssuer, audience: &str) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let builder = issuer
            .token("5ba552d67")
            .audience(audience)
            .client_id("s6BhdRkqt3")
            .expires_in(Duration::from_secs(7200))
            .scope("openid profile orders:read orders:write reports:read")
            .claim("nbf", now)
            .claim("jti", "dbe39bf3a3ba4238a513f51d6e1691c4")
            .claim("auth_time", now)
            .claim("typ", "Bearer")
            .claim("azp", "s6BhdRkqt3")
            .claim("preferred_username", "ada")
            .claim("email", "ada.lovelace@example.com")
            .claim("email_verified", true)
            .claim("name", "Ada Lovelace")
            .claim("realm_access", json!({"roles": ["editor"]}))
            .claim("groups", json!(["staff", "warehouse"]));
        let changed = |change: fn(TokenBuilder, u64) -> TokenBuilder| change(builder.clone(), now).sign();
        let bad = vec![
            ("no `aud`", changed(|token, _| token.without_claim("aud"))),
            ("another `aud`", changed(|token, _| token.audience("https://elsewhere.example.com"))),
            ("no `iss`", changed(|token, _| token.without_claim("iss"))),
            ("another `iss`", changed(|token, _| token.claim("iss", "https://elsewhere.example.com"))),
            ("no `exp`", changed(|token, _| token.without_claim("exp"))),
            ("expired", changed(|token, now| token.claim("exp", now - 600))),
            ("`nbf` in an hour", changed(|token, now| token.claim("nbf", now + 3600))),
            ("`typ: JWT`", changed(|token, _| token.header("typ", "JWT"))),
            ("unknown `crit`", changed(|token, _| token.header("crit", json!(["exp-v2"])).header("exp-v2", 1))),
            ("bound by `cnf`", changed(|token, _| token.claim("cnf", json!({"jkt": "x".repeat(43)})))),
        ];
        Self { good: builder.sign(), builder, bad }
    }

    /// Returns new valid tokens.
    pub(crate) fn fresh(&self, count: usize) -> Vec<String> {
        std::thread::scope(|scope| {
            let half = |from: usize, to: usize| {
                scope.spawn(move || (from..to).map(|_| self.builder.clone().claim("jti", jti()).sign()).collect())
            };
            let (one, other): (_, std::thread::ScopedJoinHandle<Vec<String>>) =
                (half(0, count / 2), half(count / 2, count));
            [one.join().expect("signing never fails"), other.join().expect("signing never fails")].concat()
        })
    }
}

/// Returns a new `jti`, as long as that of the valid token.
fn jti() -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{:032x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
