//! Whatever happens in whatever order: a cache never accepts what its verifier would refuse at that moment by `exp`, by its
//! key, or because it was to be forgotten; and no verdict is older than was said.

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
    /// One of the tokens, several times at once.
    Present(usize, usize),
    Advance(u64),
    /// Sets the time of day, and nothing else.
    Set(i64),
    /// Publishes another set of keys.
    Rotate(bool, bool),
    /// The server says no from now on, or yes.
    Revoke(usize),
    Restore(usize),
    Forget(usize),
    /// With a question about it under way.
    ForgetDuring(usize),
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
        2 => (0..TOKENS).prop_map(Step::Forget),
        1 => (0..TOKENS).prop_map(Step::ForgetDuring),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 1..60)
}

/// JWTs under two keys and opaque tokens, each with several lifetimes.
const TOKENS: usize = 8;

/// What would be said without a cache: JWTs by the keys of the moment, opaque tokens by the server of the moment.
#[derive(Clone)]
struct World {
    clock: ManualClock,
    keys: Arc<Mutex<(KeySet2, JwtVerifier)>>,
    /// The opaque tokens, and until when each is good.
    opaque: Arc<Mutex<HashMap<String, Option<Duration>>>>,
    revoked: Arc<Mutex<Vec<String>>>,
    asked: Arc<AtomicU64>,
}

type KeySet2 = (bool, bool);

fn verifier(keys: KeySet2, clock: &ManualClock) -> JwtVerifier {
    let chosen = [keys.0, keys.1].into_iter().zip(ALGORITHMS).filter(|(published, _)| *published);
    let jwks: Vec<_> = chosen.map(|(_, algorithm)| MockIssuer::new(ISSUER).with_algorithm(algorithm).jwk()).collect();
    // A set is never empty: then it has a key that nobody's token is signed with.
    let stranger = MockIssuer::new("https://stranger.test").with_algorithm(Algorithm::ES384).jwk();
    let set = json!({"keys": if jwks.is_empty() { vec![stranger] } else { jwks }});
    let issuer = Issuer::from_keys(ISSUER, KeySet::from_json(set.to_string()).unwrap()).unwrap();
    JwtVerifier::builder(issuer, API).clock(clock.clone()).leeway(Duration::ZERO).build().unwrap()
}

impl World {
    fn is_opaque(&self, token: &str) -> bool {
        self.opaque.lock().unwrap().contains_key(token)
    }

    /// The truth of the moment, and what it is called.
    fn accepts(&self, token: &str, now: SystemTime) -> bool {
        if self.revoked.lock().unwrap().iter().any(|revoked| revoked == token) {
            return false;
        }
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.opaque.lock().unwrap()[token].is_none_or(|expires| since < expires)
    }
}

impl Verify for World {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.asked.fetch_add(1, super::Ordering::SeqCst);
        if !self.is_opaque(presented.token()) {
            let verifier = self.keys.lock().unwrap().1.clone();
            return verifier.verify(presented);
        }
        let (world, token, permit) = (self.clone(), presented.token().to_owned(), presented.permit());
        Verdict::later(async move {
            tokio::task::yield_now().await;
            let accepted = world.accepts(&token, world.clock.now());
            // The answer takes a while: in between somebody may forget.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            if !accepted {
                return Err(AuthError::invalid_token());
            }
            let expires = world.opaque.lock().unwrap()[&token];
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

    fn still_holds(&self, token: &Token) -> bool {
        let opaque = token.subject().is_some_and(|subject| self.is_opaque(subject));
        opaque || self.keys.lock().unwrap().1.still_holds(token)
    }
}

/// When each opaque token was last good by the server's word, by the clock that only goes forward; forgotten ones are not
/// there.
struct Model {
    world: World,
    cached: Cached<World>,
    tokens: Vec<String>,
    revoked_at: HashMap<String, Duration>,
    forgotten: HashMap<String, bool>,
}

impl Model {
    fn new() -> Self {
        let clock = clock();
        let keys = (true, true);
        let world = World {
            clock: clock.clone(),
            keys: Arc::new(Mutex::new((keys, verifier(keys, &clock)))),
            opaque: Arc::default(),
            revoked: Arc::default(),
            asked: Arc::default(),
        };
        let now = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut tokens = Vec::new();
        for (algorithm, lifetime) in [(0, 25), (0, 400), (1, 60), (1, 1000)] {
            let issuer = MockIssuer::new(ISSUER).with_algorithm(ALGORITHMS[algorithm]).with_clock(clock.clone());
            let token = issuer.token("ada").audience(API).expires_in(Duration::from_secs(lifetime));
            // Issued long ago, so that a clock that is set back a little doesn't make it young.
            tokens.push(token.claim("iat", now.as_secs() - 3600).without("nbf").sign());
        }
        for (name, lifetime) in [("short", Some(15)), ("middle", Some(70)), ("long", Some(900)), ("endless", None)] {
            world.opaque.lock().unwrap().insert(name.to_owned(), lifetime.map(|l| now + Duration::from_secs(l)));
            tokens.push(name.to_owned());
        }
        let cached = Cached::new(world.clone(), MAX_AGE).clock(clock);
        Self { world, cached, tokens, revoked_at: HashMap::new(), forgotten: HashMap::new() }
    }

    async fn present(&self, token: &str, times: usize) -> Result<(), TestCaseError> {
        let clock = &self.world.clock;
        let answers = futures_util::future::join_all((0..times).map(|_| subject(&self.cached, token))).await;
        let opaque = self.world.is_opaque(token);
        for answer in answers {
            if opaque {
                self.check_opaque(token, answer.is_ok(), clock)?;
                if let Ok(subject) = answer {
                    prop_assert_eq!(subject, token, "another one's verdict");
                }
            } else {
                // A JWT needs nobody: the cache must say just what the verifier says.
                let verifier = Arc::new(self.world.keys.lock().unwrap().1.clone());
                let truth = subject(&verifier, token).await;
                prop_assert_eq!(&answer, &truth, "of a JWT");
            }
        }
        Ok(())
    }

    fn check_opaque(&self, token: &str, accepted: bool, clock: &ManualClock) -> Result<(), TestCaseError> {
        if !accepted {
            return Ok(());
        }
        let now = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let expires = self.world.opaque.lock().unwrap()[token];
        prop_assert!(expires.is_none_or(|expires| now < expires), "{token} outlived its exp");
        let Some(revoked) = self.revoked_at.get(token) else { return Ok(()) };
        prop_assert!(!self.forgotten.contains_key(token), "{token} was revoked and forgotten");
        let since = clock.elapsed().saturating_sub(*revoked);
        prop_assert!(since < MAX_AGE, "{token} was revoked {since:?} ago");
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let clock = self.world.clock.clone();
        match step {
            Step::Present(token, times) => self.present(&self.tokens[token], times).await?,
            Step::Advance(seconds) => clock.advance(Duration::from_secs(seconds)),
            Step::Set(seconds) => {
                let by = Duration::from_secs(seconds.unsigned_abs());
                clock.set(if seconds < 0 { clock.now() - by } else { clock.now() + by });
            }
            Step::Rotate(one, two) => {
                let mut keys = self.world.keys.lock().unwrap();
                // The same keys are the same set, as the issuer's own bookkeeping has it.
                if keys.0 != (one, two) {
                    *keys = ((one, two), verifier((one, two), &clock));
                }
            }
            Step::Revoke(token) => {
                let token = self.tokens[token].clone();
                if self.world.is_opaque(&token) && !self.revoked_at.contains_key(&token) {
                    self.world.revoked.lock().unwrap().push(token.clone());
                    self.revoked_at.insert(token, clock.elapsed());
                }
            }
            Step::Restore(token) => {
                let token = &self.tokens[token];
                self.world.revoked.lock().unwrap().retain(|revoked| revoked != token);
                self.revoked_at.remove(token);
                self.forgotten.remove(token);
            }
            Step::Forget(token) => self.forget(token),
            Step::ForgetDuring(token) => {
                let (cached, name) = (self.cached.clone(), self.tokens[token].clone());
                let question = tokio::spawn(async move { subject(&cached, &name).await });
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                // Revoked while the answer is on its way, and forgotten then: the answer is old.
                Box::pin(self.take(Step::Revoke(token))).await?;
                self.forget(token);
                let name = self.tokens[token].clone();
                self.present(&name, 2).await?;
                question.await.unwrap().ok();
                self.present(&name, 1).await?;
            }
            Step::Clear => {
                self.cached.clear();
                for token in self.revoked_at.keys() {
                    self.forgotten.insert(token.clone(), true);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, token: usize) {
        let token = &self.tokens[token];
        self.cached.forget(token);
        if self.revoked_at.contains_key(token) {
            self.forgotten.insert(token.clone(), true);
        }
    }
}

#[test]
fn whatever_happens_nothing_is_accepted_that_the_verifier_would_refuse() {
    let chosen = env::var("PROPTEST_RNG_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = chosen.unwrap_or_else(|| RandomState::new().hash_one(0));
    let config =
        ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (presented, asked) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
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
                asked.set(asked.get() + model.world.asked.load(super::Ordering::SeqCst));
                Ok(())
            })
        })
        .unwrap_or_else(|failure| panic!("PROPTEST_RNG_SEED={seed}: {failure}"));
    let (presented, asked) = (presented.get() as u64, asked.get());
    assert!(presented > asked, "a cache that never hits would pass as well: {presented} presented, {asked} asked");
}
