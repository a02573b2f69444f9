//! Any steps in any order: a cache never accepts a token that its verifier would refuse at that moment because of `exp` or
//! of its key, or a revoked token that was invalidated; and no verdict is older than `max_age`.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    sync::atomic::AtomicU64,
};

use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use tower_oauth::{
    Issuer, JwtVerifier,
    keys::{Algorithm, KeySet},
    testing::MockIssuer,
};

use super::{
    Arc, AuthError, CacheKey, Cached, Clock as _, Duration, HashMap, ManualClock, Mutex, PresentedToken, SystemTime,
    Token, Verdict, Verify, clock, json, subject,
};
use crate::support::API;

const ISSUER: &str = "https://model.test";
const MAX_AGE: Duration = Duration::from_secs(40);
const ALGORITHMS: [Algorithm; 2] = [Algorithm::ES256, Algorithm::EdDSA];

#[derive(Debug, Clone)]
enum Step {
    /// Presents one of the tokens, several times at once.
    Present(usize, usize),
    Advance(u64),
    /// Sets the time of day, and leaves the monotonic time.
    Set(i64),
    /// Publishes another key set.
    Rotate(bool, bool),
    /// The server refuses the token from now on, or accepts it again.
    Revoke(usize),
    Restore(usize),
    Invalidate(usize),
    /// Invalidates a token while a call for it is in flight.
    InvalidateDuring(usize),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..TOKENS, 1..4_usize).prop_map(|(token, times)| Step::Present(token, times)),
        4 => (0..50_u64).prop_map(Step::Advance),
        1 => (-60..60_i64).prop_map(Step::Set),
        2 => any::<(bool, bool)>().prop_map(|(one, two)| Step::Rotate(one, two)),
        2 => (0..TOKENS).prop_map(Step::Revoke),
        1 => (0..TOKENS).prop_map(Step::Restore),
        2 => (0..TOKENS).prop_map(Step::Invalidate),
        1 => (0..TOKENS).prop_map(Step::InvalidateDuring),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 1..60)
}

/// JWTs that are signed with two keys, and opaque tokens, each with several lifetimes.
const TOKENS: usize = 8;

/// The verifier without a cache. The current keys decide about JWTs, the current state of the server about opaque tokens.
#[derive(Clone)]
struct ModelVerifier {
    clock: ManualClock,
    keys: Arc<Mutex<(PublishedKeys, JwtVerifier)>>,
    /// The opaque tokens, and the time at which each expires.
    opaque: Arc<Mutex<HashMap<String, Option<Duration>>>>,
    revoked: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicU64>,
}

type PublishedKeys = (bool, bool);

fn verifier(keys: PublishedKeys, clock: &ManualClock) -> JwtVerifier {
    let chosen = [keys.0, keys.1].into_iter().zip(ALGORITHMS).filter(|(published, _)| *published);
    let jwks: Vec<_> = chosen.map(|(_, algorithm)| MockIssuer::new(ISSUER).with_algorithm(algorithm).jwk()).collect();
    // A key set is never empty: instead, it has a key that signed no token.
    let unused = MockIssuer::new("https://other.test").with_algorithm(Algorithm::ES384).jwk();
    let set = json!({"keys": if jwks.is_empty() { vec![unused] } else { jwks }});
    let issuer = Issuer::from_keys(ISSUER, KeySet::from_json(set.to_string()).unwrap()).unwrap();
    JwtVerifier::builder(issuer, API).clock(clock.clone()).leeway(Duration::ZERO).build().unwrap()
}

impl ModelVerifier {
    fn is_opaque(&self, token: &str) -> bool {
        self.opaque.lock().unwrap().contains_key(token)
    }

    /// Whether this opaque token is valid at this moment.
    fn accepts(&self, token: &str, now: SystemTime) -> bool {
        if self.revoked.lock().unwrap().iter().any(|revoked| revoked == token) {
            return false;
        }
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.opaque.lock().unwrap()[token].is_none_or(|expires| since < expires)
    }
}

impl Verify for ModelVerifier {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.calls.fetch_add(1, super::Ordering::SeqCst);
        if !self.is_opaque(presented.token()) {
            let verifier = self.keys.lock().unwrap().1.clone();
            return verifier.verify(presented);
        }
        let (verifier, token, permit) = (self.clone(), presented.token().to_owned(), presented.permit());
        Verdict::later(async move {
            tokio::task::yield_now().await;
            let accepted = verifier.accepts(&token, verifier.clock.now());
            // The response takes a while: an invalidation can come in between.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            if !accepted {
                return Err(AuthError::invalid_token());
            }
            let expires = verifier.opaque.lock().unwrap()[&token];
            match expires {
                Some(expires) => permit.token(&json!({"sub": token, "exp": expires.as_secs()})),
                None => permit.token(&json!({"sub": token})),
            }
        })
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        if self.is_opaque(presented.token()) {
            key.add("the server");
        }
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        let opaque = token.subject().is_some_and(|subject| self.is_opaque(subject));
        opaque || self.keys.lock().unwrap().1.is_still_valid(token)
    }
}

/// What must hold: since when each opaque token is revoked, by the monotonic clock, and which of those were invalidated.
struct Model {
    verifier: ModelVerifier,
    cached: Cached<ModelVerifier>,
    tokens: Vec<String>,
    revoked_at: HashMap<String, Duration>,
    invalidated: HashMap<String, bool>,
}

impl Model {
    fn new() -> Self {
        let clock = clock();
        let keys = (true, true);
        let verifier = ModelVerifier {
            clock: clock.clone(),
            keys: Arc::new(Mutex::new((keys, verifier(keys, &clock)))),
            opaque: Arc::default(),
            revoked: Arc::default(),
            calls: Arc::default(),
        };
        let now = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut tokens = Vec::new();
        for (algorithm, lifetime) in [(0, 25), (0, 400), (1, 60), (1, 1000)] {
            let issuer = MockIssuer::new(ISSUER).with_algorithm(ALGORITHMS[algorithm]).with_clock(clock.clone());
            let token = issuer.token("ada").audience(API).expires_in(Duration::from_secs(lifetime));
            // Issued long ago, so that a clock that is set back a little doesn't put `iat` into the future.
            tokens.push(token.claim("iat", now.as_secs() - 3600).without_claim("nbf").sign());
        }
        for (name, lifetime) in [("short", Some(15)), ("middle", Some(70)), ("long", Some(900)), ("endless", None)] {
            verifier.opaque.lock().unwrap().insert(name.to_owned(), lifetime.map(|l| now + Duration::from_secs(l)));
            tokens.push(name.to_owned());
        }
        let cached = Cached::builder(verifier.clone(), MAX_AGE).clock(clock).build();
        Self { verifier, cached, tokens, revoked_at: HashMap::new(), invalidated: HashMap::new() }
    }

    async fn present(&self, token: &str, times: usize) -> Result<(), TestCaseError> {
        let clock = &self.verifier.clock;
        let results = futures_util::future::join_all((0..times).map(|_| subject(&self.cached, token))).await;
        let opaque = self.verifier.is_opaque(token);
        for result in results {
            if opaque {
                self.check_opaque(token, result.is_ok(), clock)?;
                if let Ok(subject) = result {
                    prop_assert_eq!(subject, token, "the verdict of another token");
                }
            } else {
                // A JWT needs no call: the cache must return exactly the verifier's verdict.
                let verifier = Arc::new(self.verifier.keys.lock().unwrap().1.clone());
                let expected = subject(&verifier, token).await;
                prop_assert_eq!(&result, &expected, "the verdict of a JWT");
            }
        }
        Ok(())
    }

    fn check_opaque(&self, token: &str, accepted: bool, clock: &ManualClock) -> Result<(), TestCaseError> {
        if !accepted {
            return Ok(());
        }
        let now = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let expires = self.verifier.opaque.lock().unwrap()[token];
        prop_assert!(expires.is_none_or(|expires| now < expires), "{token} was accepted after its exp");
        let Some(revoked) = self.revoked_at.get(token) else { return Ok(()) };
        prop_assert!(
            !self.invalidated.contains_key(token),
            "{token} was accepted although it was revoked and invalidated"
        );
        let since = clock.elapsed().saturating_sub(*revoked);
        prop_assert!(since < MAX_AGE, "{token} was accepted although it was revoked {since:?} ago");
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let clock = self.verifier.clock.clone();
        match step {
            Step::Present(token, times) => self.present(&self.tokens[token], times).await?,
            Step::Advance(seconds) => clock.advance(Duration::from_secs(seconds)),
            Step::Set(seconds) => {
                let by = Duration::from_secs(seconds.unsigned_abs());
                clock.set(if seconds < 0 { clock.now() - by } else { clock.now() + by });
            }
            Step::Rotate(one, two) => {
                let mut keys = self.verifier.keys.lock().unwrap();
                // Equal keys are the same key set, as the issuer counts them.
                if keys.0 != (one, two) {
                    *keys = ((one, two), verifier((one, two), &clock));
                }
            }
            Step::Revoke(token) => {
                let token = self.tokens[token].clone();
                if self.verifier.is_opaque(&token) && !self.revoked_at.contains_key(&token) {
                    self.verifier.revoked.lock().unwrap().push(token.clone());
                    self.revoked_at.insert(token, clock.elapsed());
                }
            }
            Step::Restore(token) => {
                let token = &self.tokens[token];
                self.verifier.revoked.lock().unwrap().retain(|revoked| revoked != token);
                self.revoked_at.remove(token);
                self.invalidated.remove(token);
            }
            Step::Invalidate(token) => self.invalidate(token),
            Step::InvalidateDuring(token) => {
                let (cached, name) = (self.cached.clone(), self.tokens[token].clone());
                let request = tokio::spawn(async move { subject(&cached, &name).await });
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                // Revoked and then invalidated while the response is in flight: the response is outdated.
                Box::pin(self.take(Step::Revoke(token))).await?;
                self.invalidate(token);
                let name = self.tokens[token].clone();
                self.present(&name, 2).await?;
                request.await.unwrap().ok();
                self.present(&name, 1).await?;
            }
            Step::Clear => {
                self.cached.clear();
                for token in self.revoked_at.keys() {
                    self.invalidated.insert(token.clone(), true);
                }
            }
        }
        Ok(())
    }

    fn invalidate(&mut self, token: usize) {
        let token = &self.tokens[token];
        self.cached.invalidate(token);
        if self.revoked_at.contains_key(token) {
            self.invalidated.insert(token.clone(), true);
        }
    }
}

#[test]
fn a_cache_never_accepts_a_token_that_its_verifier_would_refuse() {
    let chosen = env::var("PROPTEST_RNG_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = chosen.unwrap_or_else(|| RandomState::new().hash_one(0));
    let config =
        ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (presented, calls) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    TestRunner::new(config)
        .run(&steps(), |steps| {
            runtime.block_on(async {
                let mut model = Model::new();
                for step in steps {
                    if let Step::Present(_, times) = step {
                        presented.set(presented.get() + times);
                    }
                    model.take(step).await?;
                }
                calls.set(calls.get() + model.verifier.calls.load(super::Ordering::SeqCst));
                Ok(())
            })
        })
        .unwrap_or_else(|failure| panic!("PROPTEST_RNG_SEED={seed}: {failure}"));
    let (presented, calls) = (presented.get() as u64, calls.get());
    assert!(presented > calls, "a cache that never hits would pass as well: {presented} presented, {calls} calls");
}
