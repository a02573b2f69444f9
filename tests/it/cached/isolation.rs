//! A verdict is found again only by the verifier that made it, with any wrappers in between.

use std::sync::{Arc, RwLock};

use proptest::prelude::*;
use serde_json::json;
use tower_oauth::{
    JwtOrOpaque, JwtVerifier,
    verify::{OptionalClaim, TrustedIssuers},
};

use super::{
    AuthErrorKind, CacheKey, Cached, Counting, HOUR, PresentedToken, Token, Verdict, Verify, authenticate,
    authenticate_with_headers,
};
use crate::{
    random::check,
    support::{API, issuer, verifier_from},
};

/// Chooses one of several verifiers by the request, and delegates every method. It adds nothing to the cache key itself.
#[derive(Clone)]
struct ByHost<V>(Vec<V>);

impl<V: Verify> ByHost<V> {
    fn choose(&self, presented: &PresentedToken<'_>) -> &V {
        let host = presented.parts().headers.get("host").map_or(0, |host| host.to_str().unwrap().parse().unwrap());
        &self.0[host]
    }
}

impl<V: Verify> Verify for ByHost<V> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.choose(presented).verify(presented)
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        self.choose(presented).verify_if_responsible(presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.choose(presented).cache_key(presented, key);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        self.0.iter().any(|verifier| verifier.is_still_valid(token))
    }
}

async fn at_host(verifier: &(impl Verify + Clone), host: usize, token: &str) -> Result<Token, AuthErrorKind> {
    let verdict = authenticate_with_headers(verifier, token, &[("host", &host.to_string())]).await;
    verdict.map_err(|error| error.kind())
}

const OTHER_API: &str = "https://other.test";

/// Verifiers with different rules for tokens of one issuer.
fn verifiers() -> Vec<JwtVerifier> {
    let builder = |audience: &str| JwtVerifier::builder(issuer().issuer(), audience);
    vec![
        builder(API).build().unwrap(),
        builder(OTHER_API).build().unwrap(),
        builder(API).accept_without(OptionalClaim::Subject).build().unwrap(),
        builder(API).scope_claim("roles").build().unwrap(),
        // The same settings as the first one, but built again.
        builder(API).build().unwrap(),
    ]
}

fn tokens() -> Vec<String> {
    vec![
        issuer().token("ada").sign(),
        issuer().token("ada").audience(OTHER_API).sign(),
        issuer().token("ada").without_claim("sub").sign(),
        issuer().token("ada").without_claim("scope").claim("roles", json!(["admin"])).sign(),
    ]
}

/// Threat V6
#[tokio::test]
async fn a_jwt_for_the_audience_of_one_host_is_refused_at_another_also_from_a_cache() {
    let counting: Vec<_> = verifiers().into_iter().map(Counting::new).collect();
    let cached = Cached::new(ByHost(counting.clone()), HOUR);
    let [ours, theirs, without_subject, with_roles] = <[_; 4]>::try_from(tokens()).unwrap();
    for _ in 0..3 {
        assert!(at_host(&cached, 0, &ours).await.is_ok());
        assert_eq!(at_host(&cached, 1, &ours).await.unwrap_err(), AuthErrorKind::InvalidToken);
        assert!(at_host(&cached, 1, &theirs).await.is_ok());
        assert_eq!(at_host(&cached, 0, &theirs).await.unwrap_err(), AuthErrorKind::InvalidToken);
        assert!(at_host(&cached, 2, &without_subject).await.is_ok());
        assert_eq!(at_host(&cached, 0, &without_subject).await.unwrap_err(), AuthErrorKind::InvalidToken);
        assert!(at_host(&cached, 3, &with_roles).await.unwrap().allows("admin"));
        assert!(!at_host(&cached, 0, &with_roles).await.unwrap().allows("admin"), "roles are no scopes here");
    }
    let calls = counting[3].calls();
    assert!(at_host(&cached, 3, &with_roles).await.is_ok() && at_host(&cached, 3, &with_roles).await.is_ok());
    assert_eq!(counting[3].calls(), calls + 1, "the verdict of the same verifier is found");
}

/// A wrapper whose verifier can be replaced, as after a change of the configuration. It delegates only what it must.
#[derive(Clone)]
struct Replaceable(Arc<RwLock<JwtVerifier>>);

impl Verify for Replaceable {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.0.read().unwrap().verify(presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.0.read().unwrap().cache_key(presented, key);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        self.0.read().unwrap().is_still_valid(token)
    }
}

/// Threat V6
#[tokio::test]
async fn the_verdicts_of_a_replaced_verifier_are_not_found() {
    let [first, .., again] = <[_; 5]>::try_from(verifiers()).unwrap();
    let replaceable = Replaceable(Arc::new(RwLock::new(first.clone())));
    let cached = Cached::new(replaceable.clone(), HOUR);
    let token = issuer().token("ada").sign();
    assert!(authenticate(&cached, &token).await.is_ok());
    assert!(first.is_still_valid(&authenticate(&cached, &token).await.unwrap()));
    *replaceable.0.write().unwrap() = again.clone();
    let found = authenticate(&cached, &token).await.unwrap();
    assert!(again.is_still_valid(&found) && !first.is_still_valid(&found), "the new verifier made this token");
}

/// Threat V6
#[tokio::test]
async fn a_wrapper_that_does_not_delegate_its_cache_key_is_not_cached() {
    let counting = Counting::new(issuer().verifier(API));
    let inner = counting.clone();
    let cached = Cached::new(verifier_from(move |presented| inner.verify(presented)), HOUR);
    let token = issuer().token("ada").sign();
    for calls in 1..4 {
        assert!(authenticate(&cached, &token).await.is_ok());
        assert_eq!(counting.calls(), calls);
    }
    assert!(cached.is_empty());
}

/// `JwtOrOpaque` asks the verifier that made the verdict, not both.
///
/// Threat V6
#[tokio::test]
async fn only_the_verifier_that_made_a_verdict_says_whether_it_still_holds() {
    /// Accepts every token, and says later whether it still does.
    #[derive(Clone)]
    struct Switch(&'static str, Arc<RwLock<bool>>);
    impl Verify for Switch {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            Verdict::Now(presented.permit().token(&json!({"sub": self.0})))
        }
        fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
            presented.token().starts_with(self.0).then(|| self.verify(presented))
        }
        fn is_still_valid(&self, _: &Token) -> bool {
            *self.1.read().unwrap()
        }
    }
    let switch = |name| Switch(name, Arc::new(RwLock::new(true)));
    let (one, two, three) = (switch("one"), switch("two"), switch("three"));
    let nested = JwtOrOpaque::new(one.clone(), JwtOrOpaque::new(two.clone(), three.clone()));
    let counting = Counting::new(Arc::new(nested));
    let cached = Cached::new(counting.clone(), HOUR);
    let hits = async |token: &str| {
        let before = counting.calls();
        assert_eq!(authenticate(&cached, token).await.unwrap().subject(), Some(token));
        counting.calls() == before
    };
    for token in ["one", "two", "three"] {
        assert!(!hits(token).await && hits(token).await);
    }
    for (valid, token, others) in
        [(&one, "one", ["two", "three"]), (&two, "two", ["one", "three"]), (&three, "three", ["one", "two"])]
    {
        *valid.1.write().unwrap() = false;
        assert!(!hits(token).await, "its own verifier says that it no longer holds");
        for other in others {
            assert!(hits(other).await, "{other} is not asked about {token}");
        }
        *valid.1.write().unwrap() = true;
        assert!(hits(token).await);
    }
}

#[derive(Debug, Clone)]
struct Presented {
    host: usize,
    token: usize,
    /// 0: the cache around the chooser. 1: a chooser of caches. 2: two caches. 3: through `JwtOrOpaque` and a list.
    shape: usize,
}

/// With any order of hosts and tokens, a cache returns what the chosen verifier returns without a cache.
///
/// Threat V6
#[test]
fn a_cache_returns_the_verdict_of_the_chosen_verifier_in_any_order_of_requests() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let presented = (0..5_usize, 0..4_usize, 0..4_usize);
    let presented = presented.prop_map(|(host, token, shape)| Presented { host, token, shape });
    let tokens = tokens();
    check(50, prop::collection::vec(presented, 1..60), |sequence| {
        runtime.block_on(async {
            let plain = verifiers();
            let chooser = ByHost(plain.clone());
            let lists = |verifier: &JwtVerifier| TrustedIssuers::new([verifier.clone()]).unwrap();
            let mixed = |verifier| JwtOrOpaque::new(lists(verifier), issuer().verifier("https://nowhere.test"));
            let shapes: Vec<Arc<dyn Verify>> = vec![
                Arc::new(Cached::new(chooser.clone(), HOUR)),
                Arc::new(ByHost(plain.iter().map(|verifier| Cached::new(verifier.clone(), HOUR)).collect())),
                Arc::new(Cached::new(Cached::new(chooser.clone(), HOUR), HOUR)),
                Arc::new(Cached::new(ByHost(plain.iter().map(mixed).collect()), HOUR)),
            ];
            for Presented { host, token, shape } in sequence {
                let token = &tokens[token];
                let expected = at_host(&chooser, host, token).await;
                let verdict = at_host(&shapes[shape], host, token).await;
                prop_assert_eq!(verdict.is_ok(), expected.is_ok(), "host {} shape {}", host, shape);
                if let (Ok(token), Ok(expected)) = (verdict, expected) {
                    prop_assert_eq!(token.allows("admin"), expected.allows("admin"));
                }
            }
            Ok(())
        })
    });
}

/// Accepts one opaque token. Reads nothing but the token, so the defaults of the other methods are right.
struct StaticToken(&'static str);

impl Verify for StaticToken {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        Verdict::Now(if presented.token() == self.0 {
            presented.permit().token(&json!({"sub": self.0}))
        } else {
            Err(tower_oauth::AuthError::invalid_token())
        })
    }
}

/// Threat V6
#[tokio::test]
async fn two_combinations_that_share_a_verifier_share_no_verdicts() {
    let jwt = issuer().verifier(API);
    let of = |token| Arc::new(JwtOrOpaque::new(jwt.clone(), StaticToken(token)));
    let plain = ByHost(vec![of("key-of-a"), of("key-of-b")]);
    let cached = Cached::new(plain.clone(), HOUR);
    assert!(at_host(&plain, 1, "key-of-a").await.is_err());
    assert!(at_host(&cached, 1, "key-of-a").await.is_err());
    assert!(at_host(&cached, 0, "key-of-a").await.is_ok());
    assert!(at_host(&cached, 1, "key-of-a").await.is_err(), "A's key is accepted at host B");
}

/// Threat V6
#[tokio::test]
async fn routes_that_require_both_verdicts_find_none_of_other_routes() {
    struct Revoked(JwtVerifier);
    // Stands for introspection: refuses the (revoked) JWT, but has an id in the key.
    impl Verify for Revoked {
        fn verify(&self, _: &PresentedToken<'_>) -> Verdict {
            Verdict::Now(Err(tower_oauth::AuthError::invalid_token()))
        }
        fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
            self.0.cache_key(presented, key);
        }
    }
    let (jwt, other) = (issuer().verifier(API), issuer().verifier(OTHER_API));
    let usual = JwtOrOpaque::new(jwt.clone(), Revoked(other.clone()));
    let critical = JwtOrOpaque::builder(jwt.clone(), Revoked(other.clone())).require_both().build();
    let plain = ByHost(vec![Arc::new(usual), Arc::new(critical)]);
    let cached = Cached::new(plain.clone(), HOUR);
    let token = issuer().token("ada").sign();
    assert!(at_host(&plain, 1, &token).await.is_err());
    assert!(at_host(&cached, 0, &token).await.is_ok());
    assert!(at_host(&cached, 1, &token).await.is_err(), "revoked JWT accepted at the critical route");
}

/// Threat V6
#[tokio::test]
async fn a_verifier_that_reads_the_request_and_adds_nothing_is_not_cached_beside_one_that_adds() {
    struct Tenant;
    impl Verify for Tenant {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let _ = presented.parts();
            Verdict::Now(Err(tower_oauth::AuthError::invalid_token()))
        }
        fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
            presented.token().starts_with("tenant").then(|| self.verify(presented))
        }
        fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
            key.add(presented.parts().headers.get("tenant").map_or(&b""[..], |value| value.as_bytes()));
        }
    }
    let by_host = verifier_from(|presented| {
        let first = presented.parts().headers["host"] == "0";
        Verdict::Now(if first {
            presented.permit().token(&json!({"sub": "a"}))
        } else {
            Err(tower_oauth::AuthError::invalid_token())
        })
    });
    let cached = Cached::new(JwtOrOpaque::new(Tenant, by_host), HOUR);
    assert!(at_host(&cached, 0, "opaque").await.is_ok());
    assert!(
        at_host(&cached, 1, "opaque").await.is_err(),
        "a verifier that reads the request without a cache key was cached"
    );
}

/// A combination of the application, which shares a verifier with others and accepts API keys by itself.
///
/// Threat V6
#[tokio::test]
async fn a_verdict_that_the_application_makes_by_the_request_needs_a_part_in_the_key() {
    #[derive(Clone)]
    struct KeyOrJwt(JwtVerifier);
    impl Verify for KeyOrJwt {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let host = presented.parts().headers["host"].to_str().unwrap();
            if presented.token() == format!("key-of-{host}") {
                return Verdict::Now(presented.permit().token(&json!({"sub": host})));
            }
            self.0.verify(presented)
        }
        fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
            let _ = presented.parts();
            self.0.cache_key(presented, key);
        }
        fn is_still_valid(&self, token: &Token) -> bool {
            self.0.is_still_valid(token)
        }
    }
    let counting = Counting::new(KeyOrJwt(issuer().verifier(API)));
    let cached = Cached::new(counting.clone(), HOUR);
    for _ in 0..2 {
        assert!(at_host(&cached, 0, "key-of-0").await.is_ok());
        assert!(at_host(&cached, 1, "key-of-0").await.is_err());
    }
    let (token, calls) = (issuer().token("ada").sign(), counting.calls());
    for host in [0, 0, 1] {
        assert!(at_host(&cached, host, &token).await.is_ok());
    }
    assert_eq!(counting.calls(), calls + 1, "a verdict of the verifier in the key is cached");
}
