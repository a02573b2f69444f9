//! Three vulnerabilities that caches of introspection responses had in other software. Tests are named after advisories.

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
    SECOND, Token, Verdict, Verify, authenticate, authenticate_with_headers, clock, seconds_from_now, subject,
};
use crate::support::{API, ISSUER, get_with_token, issuer, router};

/// Introspection endpoints without the network, with one response for each URL. Records the URLs of the requests.
#[derive(Clone, Default)]
struct Endpoints {
    responses: Arc<Mutex<Vec<(String, Value)>>>,
    requested: Arc<Mutex<Vec<String>>>,
}

impl Endpoints {
    fn at(self, url: &str, response: Value) -> Self {
        self.responses.lock().unwrap().push((url.to_owned(), response));
        self
    }

    fn requested_urls(&self) -> Vec<String> {
        self.requested.lock().unwrap().clone()
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
        let response = self.responses.lock().unwrap().iter().find(|(known, _)| *known == url).unwrap().1.to_string();
        self.requested.lock().unwrap().push(url);
        FetchFuture::new(async move { Ok(Response::new(Bytes::from(response))) })
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
    assert_eq!(endpoints.requested_urls(), [ONE], "all but the first were hits");
}

#[tokio::test]
async fn cve_2021_32701_scopes_of_a_jwt_are_checked_on_a_hit_too() {
    let verifier = Counting::new(issuer().verifier(API));
    let app = router().layer(OAuthLayer::new(Cached::new(verifier.clone(), HOUR)));
    let token = issuer().token("ada").scope("orders:read").sign();
    for _ in 0..2 {
        assert_eq!(get_with_token(&app, "/orders", &token).await.status, 200);
        assert_eq!(get_with_token(&app, "/admin", &token).await.status, 403);
    }
    assert_eq!(verifier.calls(), 1);
}

/// The tenant in a header chooses the introspection endpoint.
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
        assert!(authenticate_with_headers(&cached, "opaque", &[("tenant", "one")]).await.is_ok());
        let refused = authenticate_with_headers(&cached, "opaque", &[("tenant", "other")]).await.unwrap_err();
        assert_eq!(
            refused.kind(),
            AuthErrorKind::InvalidToken,
            "a verdict of one endpoint is not a verdict of another"
        );
    }
    assert_eq!(endpoints.requested_urls(), [ONE, OTHER], "and both verdicts were cached");
}

#[tokio::test]
async fn ghsa_4mq7_pvjg_xp2r_the_client_is_part_of_the_key() {
    /// The tenant chooses the client that sends the introspection request.
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
    assert!(authenticate_with_headers(&cached, "opaque", &[("first", "")]).await.is_ok());
    assert!(authenticate_with_headers(&cached, "opaque", &[]).await.is_ok());
    assert_eq!(endpoints.requested_urls().len(), 2);
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
        assert!(authenticate_with_headers(&cached, "opaque", &[("tenant", "one")]).await.is_ok());
        let refused = authenticate_with_headers(&cached, "opaque", &[("tenant", "other")]).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::InvalidToken, "the token is for another audience");
    }
}

/// Threat I8
#[tokio::test]
async fn liboauth2_2026_06_an_entry_expires_at_exp() {
    let clock = clock();
    let mut response = active("ada", "");
    response["exp"] = json!(seconds_from_now(&clock, Duration::from_secs(60)));
    let endpoints = Endpoints::default().at(ONE, response);
    let cached = Cached::builder(endpoints.verifier(ONE, &clock), HOUR).clock(clock.clone()).build();
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    clock.advance(Duration::from_secs(60).saturating_sub(SECOND));
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    assert_eq!(endpoints.requested_urls().len(), 1, "before exp, the second request is a hit");
    clock.advance(SECOND);
    // The verifier has a leeway of 30 s; the cache has none.
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    assert_eq!(endpoints.requested_urls().len(), 3, "from exp on, each request calls the endpoint");
    clock.advance(Duration::from_secs(30));
    assert_eq!(subject(&cached, "opaque").await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn liboauth2_2026_06_setting_the_clock_past_exp_expires_an_entry() {
    let clock = clock();
    let mut response = active("ada", "");
    response["exp"] = json!(seconds_from_now(&clock, Duration::from_secs(60)));
    let endpoints = Endpoints::default().at(ONE, response);
    let cached = Cached::builder(endpoints.verifier(ONE, &clock), HOUR).clock(clock.clone()).build();
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"));
    // As after a machine's sleep, or by an administrator: only the time of day changes, the monotonic time does not.
    clock.set(clock.now() + Duration::from_secs(60));
    assert_eq!(subject(&cached, "opaque").await.as_deref(), Ok("ada"), "within the verifier's leeway");
    assert_eq!(endpoints.requested_urls().len(), 2, "but the endpoint was called again");
}

/// `Server` doesn't check `exp` in `is_still_valid`, so the cache must.
#[tokio::test]
async fn liboauth2_2026_06_setting_the_clock_expires_entries_of_any_verifier() {
    let clock = clock();
    let server = super::Server::new();
    server.set_response(
        "ada",
        super::ServerResponse::Active(json!({"sub": "ada", "exp": seconds_from_now(&clock, SECOND)})),
    );
    let cached = Cached::builder(server.clone(), HOUR).clock(clock.clone()).build();
    assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
    server.revoke("ada");
    clock.set(clock.now() + SECOND);
    assert_eq!(subject(&cached, "ada").await, Err(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn the_audience_and_the_issuer_are_checked_on_a_hit_too() {
    /// A verifier whose audience can change; no real verifier has that.
    #[derive(Clone)]
    struct Changing(Arc<Mutex<JwtVerifier>>, Counting<JwtVerifier>);
    impl Verify for Changing {
        fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
            self.1.verify(presented)
        }
        fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
            self.1.cache_key(presented, key);
        }
        fn is_still_valid(&self, token: &Token) -> bool {
            self.0.lock().unwrap().is_still_valid(token)
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
    assert_eq!(counting.calls(), 1);
    *rules.lock().unwrap() = JwtVerifier::new(keys.clone(), "https://elsewhere.test").unwrap();
    assert!(authenticate(&cached, &token).await.is_ok());
    assert_eq!(counting.calls(), 2, "with another audience, the hit is refused and the verifier is called");
    *rules.lock().unwrap() = ours;
    for _ in 0..2 {
        assert!(authenticate(&cached, &token).await.is_ok());
    }
    assert_eq!(counting.calls(), 2, "it was removed, verified again, and cached");
}

#[tokio::test]
async fn nbf_and_exp_are_checked_on_a_hit_with_the_verifiers_clock() {
    let (verifier_clock, cache_clock) = (clock(), clock());
    let issuer = issuer().with_clock(verifier_clock.clone());
    let verifier = Counting::new(issuer.verifier(API));
    let cached = Cached::builder(verifier.clone(), HOUR).clock(cache_clock).build();
    let token = issuer.token("ada").expires_in(Duration::from_secs(60)).sign();
    assert!(authenticate(&cached, &token).await.is_ok());
    verifier_clock.advance(Duration::from_secs(90));
    assert_eq!(authenticate(&cached, &token).await.unwrap_err().kind(), AuthErrorKind::InvalidToken);
    assert_eq!(verifier.calls(), 2);
    verifier_clock.set(verifier_clock.now() - HOUR);
    assert_eq!(
        authenticate(&cached, &token).await.unwrap_err().kind(),
        AuthErrorKind::InvalidToken,
        "the token was issued in the future"
    );
}

#[tokio::test]
async fn a_sender_constrained_token_is_refused_on_a_hit_too() {
    let server = super::Server::new();
    server.set_response("bound", super::ServerResponse::Active(json!({"sub": "ada", "cnf": {"jkt": "x"}})));
    let cached = Cached::new(server.clone(), HOUR);
    for _ in 0..2 {
        assert_eq!(subject(&cached, "bound").await, Err(AuthErrorKind::InvalidToken));
    }
    assert_eq!(server.calls(), 1);
}
