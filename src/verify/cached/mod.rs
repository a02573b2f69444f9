//! Verdicts that are kept for a while: a signature is not checked twice, a server not asked twice.
//!
//! *In*: what a request presented. *Out*: the verdict of the verifier inside, or the one it gave before.

mod entries;
mod key;
mod single_flight;

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

pub use self::key::CacheKey;
use self::{
    entries::{CacheBounds, CacheEntries},
    key::{EntryKey, KeyHasher},
    single_flight::{SingleFlight, Start},
};
use super::{PresentedToken, Verdict, Verify};
use crate::{
    clock::{Clock, SystemClock},
    error::{AuthError, AuthErrorKind},
    log::{self, Lookup},
    token::Token,
};

/// However long a verifier may wait, nobody waits longer for it than this.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest that a refusal is kept.
const MAX_REFUSAL_AGE: Duration = Duration::from_secs(5);

/// Keeps the verdicts of `V` for a while. Clones share what is kept.
///
/// What is kept is who a token turned out to be, never what it may do. On every hit, everything that can be checked without
/// the network is checked again: expiry, issuer, audience, whether the issuer still has the key
/// ([`Verify::still_holds`]); scopes, roles and `cnf` are looked at outside of this anyway.
///
/// 1. A verdict lives for the `max_age` that was given, never beyond the token's `exp`, and until it is
///    [forgotten](Self::forget).
/// 2. Accepted tokens are bounded in number and in bytes. A flood of tokens that come once does not drive out those that
///    come often, and refused ones are kept apart from them.
/// 3. Refusals are kept only where somebody was asked, for at most five seconds. Failures are never kept.
/// 4. Requests with the same token share one question. It is asked in a task of its own: a client that goes away neither
///    cancels nor repeats it. There are at most 1 024 questions at a time; further ones are answered with 503 at once.
/// 5. Tokens are not kept, only hashes of them, which nobody can aim at: see below.
///
/// Not on by default. A verdict that is kept can be wrong where a fresh one would not be: for a JWT until its issuer's
/// keys are read again, which is the same without a cache, but for an opaque token as long as `max_age` after it was
/// revoked. And memory is held for strangers' claims. Who serves thousands of requests a second turns it on with one
/// word; the README has the figures.
///
/// A JWT is known by a keyed hash of all of it (128 bits, the key random and never out of the process) together with a
/// SHA-256 of the end of its signature; any other token by its SHA-256. So nobody can aim at a collision, and even who
/// reads all that is kept, the hash's key too, finds no token in it and can make none that hits.
///
/// ```
/// # fn example(issuer: tower_oauth::Issuer) -> Result<(), tower_oauth::ConfigError> {
/// use std::time::Duration;
/// use tower_oauth::{Cached, JwtVerifier, OAuthLayer};
///
/// let verifier = JwtVerifier::new(issuer, "https://api.example.com")?;
/// let layer = OAuthLayer::new(Cached::new(verifier, Duration::from_secs(600)));
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
    sizes: CacheBounds,
    clock: Arc<dyn Clock>,
}

/// What clones share.
struct CacheState {
    entries: CacheEntries,
    flights: SingleFlight,
    hasher: KeyHasher,
}

impl<V: Verify> Cached<V> {
    /// Keeps verdicts for `max_age`, and none where that is zero.
    ///
    /// For JWTs ten minutes do well: a withdrawn key ends its tokens at once, however old the verdict. For introspection
    /// it is how long a revoked token may still be accepted: 30 seconds are a usual choice.
    #[must_use]
    pub fn new(verifier: V, max_age: Duration) -> Self {
        let clock = Arc::new(SystemClock::new());
        let settings =
            CacheSettings { max_age, refusal_age: max_age.min(MAX_REFUSAL_AGE), sizes: CacheBounds::default(), clock };
        Self::with(Arc::new(verifier), settings)
    }

    fn with(verifier: Arc<V>, settings: CacheSettings) -> Self {
        let entries = CacheEntries::new(&settings.sizes, Arc::clone(&settings.clock));
        Self {
            verifier,
            settings,
            shared: Arc::new(CacheState { entries, flights: SingleFlight::default(), hasher: KeyHasher::new() }),
        }
    }

    /// How many accepted tokens are kept at the most; 10 000 unless said. As many refusals are.
    #[must_use]
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.settings.sizes.entries = entries;
        Self::with(self.verifier, self.settings)
    }

    /// How many bytes the accepted tokens' claims take at the most; 32 MiB unless said. What `SharedClaims` keeps of a token
    /// as the application's own type is not counted: once for each token.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.settings.sizes.bytes = bytes;
        Self::with(self.verifier, self.settings)
    }

    /// How long a refusal is kept that somebody was asked for: five seconds unless said, five at the most, and never
    /// longer than `max_age`.
    #[must_use]
    pub fn refusal_age(mut self, age: Duration) -> Self {
        self.settings.refusal_age = age.min(MAX_REFUSAL_AGE).min(self.settings.max_age);
        Self::with(self.verifier, self.settings)
    }

    /// Another source of time, for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        Self::with(self.verifier, self.settings)
    }

    /// Forgets what was found out about this token, whatever else the verdict depended on: at a logout, or when the
    /// issuer says that it was revoked. The next request judges it anew, also while it is being judged now.
    ///
    /// A JWT that is still good is accepted again. A cache inside of this one has its own memory.
    pub fn forget(&self, token: &str) {
        // First those on the way, then what is there: no verdict that was on its way gets onto the entries any more.
        for digest in self.shared.hasher.all(token.as_bytes()) {
            self.shared.flights.abandon(&digest);
            self.shared.entries.remove(&digest);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.shared.flights.abandon_all();
        self.shared.entries.clear();
    }

    /// How many accepted tokens are kept at the moment, some of them perhaps no longer good.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.entries.len()
    }

    /// Whether no accepted token is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The verdict, if it is known or on its way.
    fn recall(&self, presented: &PresentedToken<'_>) -> Result<Verdict, Miss> {
        let mut key = CacheKey::new();
        let ((), looked) = presented.looked_further(|| self.verifier.cache_key(presented, &mut key));
        // Looked without a word, it may have chosen by what it saw; a word without a look doesn't tell what others saw.
        let cacheable = looked && key.is_extended();
        let key_of_entry = self.shared.hasher.key_of_entry(presented.credentials.token_bytes(), &key);
        if let Some(verdict) = self.known(&key_of_entry) {
            return Ok(verdict);
        }
        match self.shared.flights.join(&key_of_entry, self.settings.clock.elapsed()) {
            Ok(running) => {
                log::looked_up(Lookup::Joined);
                Ok(running.verdict(Arc::clone(&self.settings.clock)))
            }
            // The answer may have come in since we looked.
            Err(invalidations) => self.known(&key_of_entry).ok_or_else(|| {
                log::looked_up(Lookup::Miss);
                Miss { key_of_entry, cacheable, invalidations }
            }),
        }
    }

    fn known(&self, key_of_entry: &EntryKey) -> Option<Verdict> {
        let now = self.settings.clock.elapsed();
        if let Some(token) = self.shared.entries.accepted(key_of_entry, now) {
            if self.verifier.still_holds(&token) {
                log::looked_up(Lookup::Hit);
                return Some(Verdict::Now(Ok(token)));
            }
            self.shared.entries.remove(&key_of_entry.digest);
        }
        let error = self.shared.entries.refused(key_of_entry, now)?;
        log::looked_up(Lookup::Refused);
        Some(Verdict::Now(Err(error)))
    }

    /// The verdict, which others may take too.
    fn keep(&self, miss: Miss, verdict: Verdict, looked_further: bool) -> Verdict {
        // It may depend on what the key_of_entry doesn't tell.
        if looked_further && !miss.cacheable {
            return verdict;
        }
        let (shared, settings) = (&self.shared, &self.settings);
        match verdict {
            Verdict::Now(Ok(token)) => {
                shared.flights.unless_forgotten(miss.invalidations, || shared.entries.accept(&miss, &token, settings));
                Verdict::Now(Ok(token))
            }
            Verdict::Now(Err(error)) => Verdict::Now(Err(error)),
            Verdict::Later(judging) => {
                // Outside of a runtime nobody but the request itself can ask.
                let Ok(runtime) = Handle::try_current() else { return Verdict::Later(judging) };
                match shared.flights.begin(&miss, settings.clock.elapsed()) {
                    Start::Joined(running) => running.verdict(Arc::clone(&settings.clock)),
                    Start::Full => Verdict::Now(Err(AuthError::unavailable(Duration::from_secs(1)))),
                    Start::Started(running, asking) => {
                        // Somebody else's question may have begun and ended since we looked.
                        if let Some(Verdict::Now(known)) = self.known(&miss.key_of_entry) {
                            shared.flights.end(&miss.key_of_entry, asking, known.clone(), |_| ());
                            return Verdict::Now(known);
                        }
                        let waiting = running.verdict(Arc::clone(&settings.clock));
                        let (shared, settings) = (Arc::clone(shared), settings.clone());
                        runtime.spawn(async move {
                            let verdict = tokio::select! {
                                verdict = judging => verdict,
                                () = settings.clock.sleep(DEADLINE) => Err(AuthError::unavailable(Duration::from_secs(1))),
                            };
                            let note = |verdict: &_| shared.note(&miss, verdict, &settings);
                            shared.flights.end(&miss.key_of_entry, asking, verdict, note);
                        });
                        waiting
                    }
                }
            }
        }
    }
}

/// A token about which nothing is known, and how far forgetting had come when that was found.
struct Miss {
    key_of_entry: EntryKey,
    /// The key_of_entry holds whatever the verdict may depend on.
    cacheable: bool,
    invalidations: u64,
}

impl CacheState {
    fn note(&self, miss: &Miss, verdict: &Result<Token, AuthError>, settings: &CacheSettings) {
        match verdict {
            Ok(token) => self.entries.accept(miss, token, settings),
            // A key that is unknown now may be here in a moment.
            Err(error) if error.kind() == AuthErrorKind::InvalidToken && !error.is_unknown_key() => {
                self.entries.refuse(miss, error, settings.refusal_age);
            }
            Err(_) => {}
        }
    }
}

impl<V: Verify> Verify for Cached<V> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.recall(presented).unwrap_or_else(|miss| {
            let (verdict, looked_further) = presented.looked_further(|| self.verifier.verify(presented));
            self.keep(miss, verdict, looked_further)
        })
    }

    fn verify_own(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        match self.recall(presented) {
            Ok(verdict) => Some(verdict),
            Err(miss) => {
                let (verdict, looked_further) = presented.looked_further(|| self.verifier.verify_own(presented));
                Some(self.keep(miss, verdict?, looked_further))
            }
        }
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.verifier.cache_key(presented, key);
    }

    fn still_holds(&self, token: &Token) -> bool {
        self.verifier.still_holds(token)
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
