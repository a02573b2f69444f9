//! A cache of verdicts: a repeated token needs neither a signature check nor a call of its issuer.
//!
//! *In*: a [`PresentedToken`]. *Out*: a stored [`Verdict`], or the verdict of the verifier inside.
//!
//! Scopes, roles and `cnf` are *not* part of a verdict: they are checked for every request, outside of the cache.

mod builder;
mod entries;
mod key;
mod single_flight;

use std::{fmt, ops::ControlFlow, sync::Arc, time::Duration};

use tokio::runtime::Handle;

pub use self::{builder::CachedBuilder, key::CacheKey};
use self::{
    entries::{CacheBounds, CacheEntries},
    key::{EntryKey, KeyHasher},
    single_flight::{SingleFlight, Start, Waiter},
};
use super::{PresentedToken, Tracked, Verdict, VerdictFuture, Verify, demand::Demand};
use crate::{
    clock::{Clock, Moment},
    error::{AuthError, AuthErrorKind},
    log::{self, Lookup},
    token::Token,
};

/// Caches the verdicts of `V`. Clones share the cache.
///
/// A verdict says what a token is, never what it permits. On every hit, all that can be checked without the network is
/// checked again: expiry, issuer, audience, and whether the issuer still publishes the key ([`Verify::is_still_valid`]).
///
/// 1. A verdict is stored for `max_age`, never beyond the token's `exp`, or until it is
///    [invalidated](Self::invalidate).
/// 2. The number and the size of accepted tokens are bounded. Many tokens that are sent once don't evict those that are
///    sent often. Refusals are stored separately.
/// 3. A refusal is stored only if the verifier had to wait for it, for example for an introspection response, and for at
///    most 5 s. Failures are never stored.
/// 4. Requests with the same token share one verification (single flight). It runs in a task of its own: a client that
///    disconnects neither cancels nor repeats it. At most 1 024 verifications run at a time; a further one gets 503. If there
///    is no room for another one, here or in the verifier, those that no client waits for are stopped first.
/// 5. Only hashes of tokens are stored. A JWT has a keyed hash of the whole token (128 bits; the key is random and never
///    leaves the process) and a SHA-256 hash of the end of its signature; any other token has its SHA-256 hash. An attacker
///    can't construct a collision. An attacker who reads the whole memory of the cache finds no token, and can't construct
///    a token that hits an entry.
///
/// The cost: a stored verdict can be out of date. A revoked opaque token is accepted for up to `max_age`. For JWTs nothing
/// changes: with and without a cache, a withdrawn key is accepted until the key set is fetched again. The cache also needs
/// memory for the claims of the tokens.
///
/// ```
/// # fn example(issuer: tower_oauth::Issuer) -> Result<(), tower_oauth::ConfigError> {
/// use std::time::Duration;
/// use tower_oauth::{Cached, JwtVerifier, OAuthLayer};
///
/// let verifier = JwtVerifier::new(issuer, "https://api.example.com")?;
/// let verifier = Cached::builder(verifier, Duration::from_secs(600)).max_entries(50_000).build();
/// let layer = OAuthLayer::new(verifier);
/// # Ok(())
/// # }
/// ```
pub struct Cached<V> {
    verifier: Arc<V>,
    settings: CacheSettings,
    shared: Arc<CacheState>,
}

#[derive(Clone)]
struct CacheSettings {
    max_age: Duration,
    refusal_age: Duration,
    clock: Arc<dyn Clock>,
}

/// The state that all clones share.
struct CacheState {
    entries: CacheEntries,
    flights: SingleFlight,
    hasher: KeyHasher,
}

/// A token without a stored verdict.
struct Miss {
    key: EntryKey,
    /// True if the key has everything from the request that the verdict may depend on.
    reads_request: bool,
    /// The number of invalidations at the time of the look-up.
    invalidations: u64,
}

impl<V: Verify> Cached<V> {
    /// Caches accepted tokens for `max_age`. Zero turns the cache off.
    ///
    /// For JWTs, use 10 min: after the issuer has withdrawn a key, its tokens are refused even if their verdicts are stored.
    /// For introspection, `max_age` is the time for which a revoked token may still be accepted; 30 s is a usual choice.
    #[must_use]
    pub fn new(verifier: V, max_age: Duration) -> Self {
        Self::builder(verifier, max_age).build()
    }

    /// Returns a builder for further settings.
    pub fn builder(verifier: V, max_age: Duration) -> CachedBuilder<V> {
        CachedBuilder::new(verifier, max_age)
    }

    fn with_settings(verifier: V, settings: CacheSettings, bounds: &CacheBounds) -> Self {
        let entries = CacheEntries::new(bounds);
        let shared = CacheState { entries, flights: SingleFlight::default(), hasher: KeyHasher::new() };
        Self { verifier: Arc::new(verifier), settings, shared: Arc::new(shared) }
    }

    /// Removes every verdict about this token. Call it after a logout, or when the issuer reports that the token was revoked.
    /// The next request verifies the token again, even if a verification is running now.
    ///
    /// A JWT that is still valid is then accepted again. If the verifier contains another cache, that one is not changed.
    pub fn invalidate(&self, token: &str) {
        // In-flight verifications first: none of them is stored afterwards.
        for digest in self.shared.hasher.digests(token.as_bytes()) {
            self.shared.flights.invalidate(&digest);
            self.shared.entries.remove(&digest);
        }
    }

    /// Removes all verdicts. Running verifications are completed, but not stored.
    pub fn clear(&self) {
        self.shared.flights.invalidate_all();
        self.shared.entries.clear();
    }

    /// Returns the number of accepted tokens in the cache. Some of them may have expired.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.entries.len()
    }

    /// True if there is no accepted token in the cache.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the stored verdict, or joins a running verification of the same token. `Continue` if neither exists.
    fn lookup(&self, presented: &PresentedToken<'_>) -> ControlFlow<Verdict, Miss> {
        let mut cache_key = CacheKey::new();
        let ((), request_read) = presented.track_reads(|| self.verifier.cache_key(presented, &mut cache_key));
        // If `verify` reads the request, its verdict is cached only if `cache_key` did two things. It added something:
        // otherwise the verdict may depend on something that is not in the key. It read the request: otherwise what it added
        // is from a verifier that doesn't read it, and not from the one inside `V` that does.
        let reads_request = request_read && cache_key.is_extended();
        let key = self.shared.hasher.entry_key(presented.credentials.token_bytes(), &cache_key);
        let now = Moment::now(&*self.settings.clock);
        if let Some(token) = self.stored_token(&key, &now) {
            presented.called_all(key.context.verifiers);
            return ControlFlow::Break(Verdict::Now(Ok(token)));
        }
        match self.find(&key, presented, now) {
            Ok(verdict) => {
                // The verdict of another request is that of the verifiers in the key, for an outer cache too.
                presented.called_all(key.context.verifiers);
                ControlFlow::Break(verdict)
            }
            Err(invalidations) => ControlFlow::Continue(Miss { key, reads_request, invalidations }),
        }
    }

    /// Returns the verdict for a key. Without one, returns the number of invalidations.
    fn find(&self, key: &EntryKey, presented: &PresentedToken<'_>, now: Moment) -> Result<Verdict, u64> {
        if let Some(error) = self.stored_refusal(key, &now) {
            return Ok(Verdict::Now(Err(error)));
        }
        match self.shared.flights.join(key, &self.waiter(presented, now)) {
            Ok(verdict) => {
                log::looked_up(Lookup::Joined);
                Ok(verdict)
            }
            // A verification may have ended between the two look-ups.
            Err(invalidations) => self.stored(key, &now).map(Verdict::Now).ok_or_else(|| {
                log::looked_up(Lookup::Miss);
                invalidations
            }),
        }
    }

    fn waiter(&self, presented: &PresentedToken<'_>, now: Moment) -> Waiter<'_> {
        Waiter { clock: &self.settings.clock, now, outer: presented.demand() }
    }

    fn stored(&self, key: &EntryKey, now: &Moment) -> Option<Result<Token, AuthError>> {
        self.stored_token(key, now).map(Ok).or_else(|| self.stored_refusal(key, now).map(Err))
    }

    fn stored_token(&self, key: &EntryKey, now: &Moment) -> Option<Token> {
        let token = self.shared.entries.accepted(key, now)?;
        if self.verifier.is_still_valid(&token) {
            log::looked_up(Lookup::Hit);
            return Some(token);
        }
        self.shared.entries.remove(&key.digest);
        None
    }

    fn stored_refusal(&self, key: &EntryKey, now: &Moment) -> Option<AuthError> {
        let error = self.shared.entries.refused(key, now)?;
        log::looked_up(Lookup::Refused);
        Some(error)
    }

    /// Stores the verdict of the verifier, unless it may depend on something that is not in the key. A verdict that must wait
    /// becomes one that other requests can join.
    fn settle(&self, miss: &Miss, presented: &PresentedToken<'_>, tracked: Tracked<Verdict>) -> Verdict {
        let Tracked { result: verdict, request_read, called, permitted, demand } = tracked;
        let context = &miss.key.context;
        // A verifier of the application that makes a verdict itself is known to the key only by a part that it adds.
        let made_by_application = permitted || called.is_empty();
        let request_in_key = !request_read || (miss.reads_request && (context.has_parts() || !made_by_application));
        let cacheable = request_in_key && context.verifiers.contains_all(&called);
        match verdict {
            Verdict::Now(result) => {
                if let Some(token) = result.as_ref().ok().filter(|_| cacheable) {
                    let now = Moment::now(&*self.settings.clock);
                    let store = || self.shared.entries.store_accepted(&miss.key, token, now, self.settings.max_age);
                    self.shared.flights.unless_invalidated(miss.invalidations, store);
                }
                Verdict::Now(result)
            }
            // No other request may join it, so it ends with its own request.
            Verdict::Later(verifying) if !cacheable => alone(verifying, demand, presented),
            Verdict::Later(verifying) => self.share(miss, presented, verifying, demand.unwrap_or_default()),
        }
    }

    /// Runs the verification in a task of its own, unless one for the same token is running.
    fn share(
        &self,
        miss: &Miss,
        presented: &PresentedToken<'_>,
        verifying: VerdictFuture,
        demand: Arc<Demand>,
    ) -> Verdict {
        // Without a runtime there is no task. The request then verifies for itself.
        let Ok(runtime) = Handle::try_current() else { return alone(verifying, Some(demand), presented) };
        let shared = &self.shared;
        let waiter = self.waiter(presented, Moment::now(&*self.settings.clock));
        let (verdict, completer) = match shared.flights.start(miss, Arc::clone(&demand), &waiter) {
            Start::Started(verdict, completer) => (verdict, completer),
            Start::Joined(verdict) => return verdict,
            Start::Full => return Verdict::Now(Err(AuthError::unavailable(RETRY_AFTER))),
        };
        let key = miss.key;
        // Another verification may have started and ended since the look-up.
        if let Some(result) = self.stored(&key, &waiter.now) {
            shared.flights.complete(&key, completer, result.clone(), |_| ());
            return Verdict::Now(result);
        }
        let (shared, settings) = (Arc::clone(shared), self.settings.clone());
        runtime.spawn(async move {
            let result = tokio::select! {
                result = verifying => result,
                () = settings.clock.sleep(DEADLINE) => Err(AuthError::unavailable(RETRY_AFTER)),
                () = demand.stopped() => Err(AuthError::unavailable(RETRY_AFTER)),
            };
            let store = |result: &_| shared.store(&key, result, &settings);
            shared.flights.complete(&key, completer, result, store);
        });
        verdict
    }
}

/// Returns the verdict of a verification that no other request shares. Its request waits as long as the verification runs.
fn alone(verifying: VerdictFuture, demand: Option<Arc<Demand>>, presented: &PresentedToken<'_>) -> Verdict {
    let (demand, undecided) = (demand.unwrap_or_default(), verifying.is_undecided());
    let waiting = demand.wait(presented.demand());
    let result = async move {
        let _waiting = waiting;
        tokio::select! {
            result = verifying => result,
            () = demand.stopped() => Err(AuthError::unavailable(RETRY_AFTER)),
        }
    };
    if undecided { Verdict::undecided(result) } else { Verdict::later(result) }
}

impl CacheState {
    fn store(&self, key: &EntryKey, result: &Result<Token, AuthError>, settings: &CacheSettings) {
        let now = Moment::now(&*settings.clock);
        match result {
            Ok(token) => self.entries.store_accepted(key, token, now, settings.max_age),
            // The issuer may publish the unknown key soon.
            Err(error) if error.kind() == AuthErrorKind::InvalidToken && !error.is_unknown_key() => {
                self.entries.store_refused(key, error, now, settings.refusal_age);
            }
            Err(_) => {}
        }
    }
}

impl<V: Verify> Verify for Cached<V> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        match self.lookup(presented) {
            ControlFlow::Break(verdict) => verdict,
            ControlFlow::Continue(miss) => {
                let tracked = presented.track(|| self.verifier.verify(presented));
                self.settle(&miss, presented, tracked)
            }
        }
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        // A stored verdict doesn't say whether the verifier recognizes the token.
        if presented.must_be_recognized() {
            return self.verifier.verify_if_responsible(presented);
        }
        match self.lookup(presented) {
            ControlFlow::Break(verdict) => Some(verdict),
            ControlFlow::Continue(miss) => {
                let tracked = presented.track(|| self.verifier.verify_if_responsible(presented));
                Some(self.settle(&miss, presented, tracked.transpose()?))
            }
        }
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.verifier.cache_key(presented, key);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        self.verifier.is_still_valid(token)
    }

    fn issuers(&self) -> Vec<String> {
        self.verifier.issuers()
    }

    fn audiences(&self) -> Option<Vec<String>> {
        self.verifier.audiences()
    }
}

impl<V> Clone for Cached<V> {
    fn clone(&self) -> Self {
        let (verifier, shared) = (Arc::clone(&self.verifier), Arc::clone(&self.shared));
        Self { verifier, settings: self.settings.clone(), shared }
    }
}

impl<V: fmt::Debug> fmt::Debug for Cached<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("verifier", &self.verifier)
            .field("max_age", &self.settings.max_age)
            .finish_non_exhaustive()
    }
}

/// Maximum duration of a shared verification, whatever the verifier's own timeouts are.
const DEADLINE: Duration = Duration::from_secs(10);
/// `Retry-After` if a shared verification has no result.
const RETRY_AFTER: Duration = Duration::from_secs(1);
