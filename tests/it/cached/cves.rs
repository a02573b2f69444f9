//! The three kinds of holes that caches of introspections had elsewhere, each by the name of one that had it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use tower_oauth::{
    IntrospectionVerifier, JwtVerifier, OAuthLayer,
    fetch::{Fetch, FetchFuture},
    verify::ClientAuthentication,
};

use super::{
    AuthErrorKind, CacheKey, Cached, Clock as _, Counting, Duration, HOUR, ManualClock, PresentedToken, Request,
    SECOND, Token, Verdict, Verify, admit_with, authenticate, clock, later, subject,
};
use crate::support::{API, ISSUER, get_with_token, issuer, router};

/// Endpoints that answer without the network; each URL says whom a token is for. Keeps the URLs that were asked.
#[derive(Clone, Default)]
struct Endpoints {
    answers: Arc<Mutex<Vec<(String, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Endpoints {
    fn at(self, url: &str, answer: Value) -> Self {
        self.answers.lock().unwrap().push((url.to_owned(), answer));
        self
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn verifier(&self, url: &str, clock: &ManualClock) -> IntrospectionVerifier {
        let client = ClientAuthentication::secret_basic("api", "secret");
        let builder = IntrospectionVerifier::builder(issuer().issuer(), client, API);
        builder.endpoint(url).fetch(self.clone()).clock(clock.clone()).build().unwrap()
    }
}

impl Fetch for Endpoints {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        let url = request.uri().to_string();
        let answer = self.answers.lock().unwrap().iter().find(|(known, _)| *known == url).unwrap().1.to_string();
        self.asked.lock().unwrap().push(url);
        FetchFuture::new(async move { Ok(Response::new(Bytes::from(answer))) })
    }
}

const ONE: &str = "https://one.test/introspect";
const OTHER: &str = "https://other.test/introspect";

fn active(subject: &str, scope: &str) -> Value {
    json!({"active": true, "iss": ISSUER, "aud": API, "sub": subject, "scope": scope})
}

#[tokio::test]
async fn cve_2021_32701_scopes_are_checked_on_a_hit_too() {
    let endpoints = Endpoints::default().at(ONE, active("ada", "orders:read"));
    let app = router().layer(OAuthLayer::new(Cached::new(endpoints.verifier(ONE, &ManualClock::default()), HOUR)));
    for _ in 0..2 {
        assert_eq!(get_with_token(&app, "/orders", "opaque").await.status, 200);
        let refused = get_with_token(&app, "/admin", "opaque").await;
        assert!(refused.is_refusal(403, "insufficient_scope"), "{refused:?}");
    }
    assert_eq!(endpoints.asked(), [ONE], "all but the first were hits");
}

#[tokio::test]
async fn cve_2021_32701_scopes_are_checked_on_a_jwts_hit_too() {
    let verifier = Counting::new(issuer().verifier(API));
    let app = router().layer(OAuthLayer::new(Cached::new(verifier.clone(), HOUR)));
    let token = issuer().token("ada").scope("orders:read").sign();
    for _ in 0..2 {
        assert_eq!(get_with_token(&app, "/orders", &token).await.status, 200);
        assert_eq!(get_with_token(&app, "/admin", &token).await.status, 403);
    }
    assert_eq!(verifier.asked(), 1);
}

/// The tenant in a header chooses whom to ask.
#[derive(Clone)]
struct ByTenant {
    one: IntrospectionVerifier,
    other: IntrospectionVerifier,
}

impl ByTenant {
    fn choose(&self, presented: &PresentedToken<'_>) -> &IntrospectionVerifier {
        let tenant = presented.parts().headers.get("tenant");
        if tenant.is_some_and(|tenant| tenant == "one") { &self.one } else { &self.other }
    }
}

impl Verify for ByTenant {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.choose(presented).verify(presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.choose(presented).cache_key(presented, key);
    }
}

#[tokio::test]
async fn ghsa_4mq7_pvjg_xp2r_the_endpoint_is_part_of_the_key() {
    let endpoints = Endpoints::default().at(ONE, active("ada", "")).at(OTHER, json!({"active": false}));
    let clock = ManualClock::default();
    let tenants = ByTenant { one: endpoints.verifier(ONE, &clock), other: endpoints.verifier(OTHER, &clock) };
    let cached = Cached::new(tenants, HOUR);
    for _ in 0..2 {
        assert!(admit_with(&cached, "opaque", &[("tenant", "one")]).await.is_ok());
        let refused = admit_with(&cached, "opaque", &[("tenant", "other")]).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::InvalidToken, "what one endpoint accepts is not another's word");
    }
    assert_eq!(endpoints.asked(), [ONE, OTHER], "and both answers were kept");
}

#[tokio::test]
async fn ghsa_4mq7_pvjg_xp2r_the_client_is_part_of_the_key() {
    /// The tenant is the client that asks.
    #[derive(Clone)]
    struct ByClient(IntrospectionVerifier, IntrospectionVerifier);
    impl Verify for ByClient {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            let first = presented.parts().headers.contains_key("first");
            if first { self.0.verify(presented) } else { self.1.verify(presented) }
        }
        fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
            let first = presented.parts().headers.contains_key("first");
            if first { self.0.cache_key(presented, key) } else { self.1.cache_key(presented, key) }
        }
    }
    let endpoints = Endpoints::default().at(ONE, active("ada", ""));
    let verifier = |client: &str| {
        let client = ClientAuthentication::secret_basic(client, "secret");
        let builder = IntrospectionVerifier::builder(issuer().issuer(), client, API).endpoint(ONE);
        builder.fetch(endpoints.clone()).build().unwrap()
    };
    let cached = Cached::new(ByClient(verifier("first"), verifier("second")), HOUR);
    assert!(admit_with(&cached, "opaque", &[("first", "")]).await.is_ok());
    assert!(admit_with(&cached, "opaque", &[]).await.is_ok());
    assert_eq!(endpoints.asked().len(), 2);
}

#[tokio::test]
async fn ghsa_4mq7_pvjg_xp2r_the_audience_is_part_of_the_key() {
    let endpoints = Endpoints::default().at(ONE, active("ada", ""));
    let verifier = |audience: &str| {
        let client = ClientAuthentication::secret_basic("client", "secret");
        let builder = IntrospectionVerifier::builder(issuer().issuer(), client, audience).endpoint(ONE);
        builder.fetch(endpoints.clone()).build().unwrap()
    };
    let cached = Cached::new(ByTenant { one: verifier(API), other: verifier("https://other.test") }, HOUR);
    for _ in 0..2 {
        assert!(admit_with(&cached, "opaque", &[("tenant", "one")]).await.is_ok());
        let refused = admit_with(&cached, "opaque", &[("tenant", "other")]).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::InvalidToken, "it is not meant for that one");
    }
}

#[tokio::test]
async fn liboauth2_2026_06_no_entry_outlives_exp() {
    let clock = clock();
    let mut answer = active("ada", "");
    answer["exp"] = json!(later(&clock, Duration::from_secs(60)));
    let endpoints = Endpoints::default().at(ONE, answer);
    let cached = Cached::new(endpoints.verifier(ONE, &clock), HOUR).clock(clock.clone());
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    clock.advance(Duration::from_secs(60).saturating_sub(SECOND));
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    assert_eq!(endpoints.asked().len(), 1, "so far it is a hit");
    clock.advance(SECOND);
    // The verifier has a leeway of 30 s; the cache has none.
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    assert_eq!(endpoints.asked().len(), 3, "from exp on it is asked each time");
    clock.advance(Duration::from_secs(30));
    assert_eq!(subject(&cached, "opaque").await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn liboauth2_2026_06_a_clock_that_is_set_forward_past_exp_ends_an_entry() {
    let clock = clock();
    let mut answer = active("ada", "");
    answer["exp"] = json!(later(&clock, Duration::from_secs(60)));
    let endpoints = Endpoints::default().at(ONE, answer);
    let cached = Cached::new(endpoints.verifier(ONE, &clock), HOUR).clock(clock.clone());
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    // As after a machine's sleep, or by an administrator: what is counted since does not move.
    clock.set(clock.now() + Duration::from_secs(60));
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"), "within the verifier's leeway");
    assert_eq!(endpoints.asked().len(), 2, "but it was asked again");
}

/// A verifier of one's own that says nothing of exp when it is asked again.
#[tokio::test]
async fn liboauth2_2026_06_nor_does_a_clock_that_is_set_help_a_token_of_ones_own_verifier() {
    let clock = clock();
    let server = super::Server::new();
    server.says("ada", super::Answer::Active(json!({"sub": "ada", "exp": later(&clock, SECOND)})));
    let cached = Cached::new(server.clone(), HOUR).clock(clock.clone());
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.revoke("ada");
    clock.set(clock.now() + SECOND);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn the_audience_and_the_issuer_are_checked_on_a_hit_too() {
    /// Whose rules change, as no real verifier's do.
    #[derive(Clone)]
    struct Changing(Arc<Mutex<JwtVerifier>>, Counting<JwtVerifier>);
    impl Verify for Changing {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            self.1.verify(presented)
        }
        fn still_holds(&self, token: &Token) -> bool {
            self.0.lock().unwrap().still_holds(token)
        }
    }
    // One issuer, so that the keys are the same and only the rules differ.
    let keys = issuer().issuer();
    let ours = JwtVerifier::new(keys.clone(), API).unwrap();
    let (rules, counting) = (Arc::new(Mutex::new(ours.clone())), Counting::new(ours.clone()));
    let cached = Cached::new(Changing(Arc::clone(&rules), counting.clone()), HOUR);
    let token = issuer().token("ada").sign();
    for _ in 0..2 {
        assert!(authenticate(&cached, &token).await.is_ok());
    }
    assert_eq!(counting.asked(), 1);
    *rules.lock().unwrap() = JwtVerifier::new(keys.clone(), "https://elsewhere.test").unwrap();
    assert!(authenticate(&cached, &token).await.is_ok());
    assert_eq!(counting.asked(), 2, "another audience's rules don't let it pass");
    *rules.lock().unwrap() = ours;
    for _ in 0..2 {
        assert!(authenticate(&cached, &token).await.is_ok());
    }
    assert_eq!(counting.asked(), 2, "it was taken out, judged anew, and kept");
}

#[tokio::test]
async fn a_jwts_nbf_and_exp_are_checked_on_a_hit_by_the_verifiers_own_clock() {
    let (theirs, ours) = (clock(), clock());
    let issuer = issuer().with_clock(theirs.clone());
    let verifier = Counting::new(issuer.verifier(API));
    let cached = Cached::new(verifier.clone(), HOUR).clock(ours);
    let token = issuer.token("ada").expires_in(Duration::from_secs(60)).sign();
    assert!(authenticate(&cached, &token).await.is_ok());
    theirs.advance(Duration::from_secs(90));
    assert_eq!(authenticate(&cached, &token).await.unwrap_err().kind(), AuthErrorKind::InvalidToken);
    assert_eq!(verifier.asked(), 2);
    theirs.set(theirs.now() - HOUR);
    assert_eq!(
        authenticate(&cached, &token).await.unwrap_err().kind(),
        AuthErrorKind::InvalidToken,
        "issued in the future"
    );
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_refused_on_a_hit_too() {
    let server = super::Server::new();
    server.says("bound", super::Answer::Active(json!({"sub": "ada", "cnf": {"jkt": "x"}})));
    let cached = Cached::new(server.clone(), HOUR);
    for _ in 0..2 {
        assert_eq!(subject(&cached, "bound").await, Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(server.asked(), 1);
}
