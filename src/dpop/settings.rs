//! [`Dpop`]: the settings of the check of proofs, and the checker that they make.
//!
//! *In*: settings. *Out*: a checker for the requests of one resource server, or every mistake.

use std::{fmt, sync::Arc, time::Duration};

use http::request::Parts;

use super::{
    NonceSecret,
    check::{CheckedProof, ExpectedProof, ProofDefect, ProofRules},
    known_keys::KnownKeys,
    nonce::Nonces,
    replay::{Insertion, MemoryReplayStore, ReplayStore},
    target::{BaseUrl, is_named_by},
};
use crate::{
    clock::{Clock, SystemClock},
    config_error::MistakeCollector,
    confirmation::Thumbprint,
    jws::{Algorithm, SUPPORTED},
};

/// How a [`ResourceServer`](crate::ResourceServer) checks DPoP proofs (RFC 9449). See the [module docs](crate::dpop).
#[doc(alias = "RFC 9449")]
#[derive(Clone)]
#[must_use]
pub struct Dpop {
    target: TargetSetting,
    algorithms: Option<Vec<Algorithm>>,
    max_age: Duration,
    nonces: Option<NonceSecret>,
    /// `None` if proofs may be used again.
    replays: Option<Arc<dyn ReplayStore>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum TargetSetting {
    BaseUrls(Vec<String>),
    Computed(TargetOf),
}

type TargetOf = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

impl Dpop {
    /// Returns the settings for an API that clients reach at this base URL: `htu` of a proof must be the base URL and the path
    /// that the layer sees (RFC 9449 §4.3).
    ///
    /// It is configured, and never taken from the request, because `Host`, `Forwarded` and `X-Forwarded-*` come from the sender.
    /// `https`, or `http` for a loopback address. With `Router::nest("/v1", api)`, a layer inside of `api` sees `/orders` for
    /// `/v1/orders`, so its base URL is `https://api.example.com/v1`; a layer outside of `nest` sees `/v1/orders`, so its base URL
    /// is `https://api.example.com`. A proxy that removes a prefix is treated like `nest`.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self::of(TargetSetting::BaseUrls(vec![base_url.into()]))
    }

    /// Returns the settings for an API whose URLs the application computes from the head of a request, such as one for many
    /// tenants. The result is an absolute URL; `None` refuses the proof.
    ///
    /// `htm` of a proof is compared with the method of the request that the layer sees. Where a proxy asks this server with a
    /// request of its own whether another one is authorized (nginx `auth_request`), a layer outside must first set the method to
    /// that of the other request, from a header that only the proxy can write.
    ///
    /// The cost: the closure must not trust what the sender chooses. A URL from `Host` or `X-Forwarded-Host` lets a proof that was
    /// made for another server pass, unless the closure compares it with a list.
    pub fn target(target: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::of(TargetSetting::Computed(Arc::new(target)))
    }

    fn of(target: TargetSetting) -> Self {
        Self {
            target,
            algorithms: None,
            max_age: Duration::from_secs(60),
            nonces: None,
            replays: Some(Arc::new(MemoryReplayStore::new())),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Adds another base URL of the same API. With [`target`](Self::target) it is a mistake.
    pub fn also_known_as(mut self, base_url: impl Into<String>) -> Self {
        match &mut self.target {
            TargetSetting::BaseUrls(urls) => urls.push(base_url.into()),
            // Reported by `build`.
            TargetSetting::Computed(_) => self.target = TargetSetting::BaseUrls(Vec::new()),
        }
        self
    }

    /// The accepted algorithms of proofs. Default: all that this build can verify, which are asymmetric.
    pub fn algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        Self { algorithms: Some(algorithms.into_iter().collect()), ..self }
    }

    /// How old a proof may be, by its `iat`. From 1 s to 300 s. Default: 60 s. A proof may also be up to 30 s ahead of this
    /// machine's clock (RFC 9449 §11.1).
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    /// Requires a nonce of this server in each proof (RFC 9449 §9). A proof without a current nonce gets 401 `use_dpop_nonce`, and
    /// the client repeats the request with the nonce of `DPoP-Nonce`. Default: no nonces.
    ///
    /// So a proof can't be made in advance, and the clocks of clients don't count: `iat` is not compared. A nonce is good for at
    /// most 5 minutes. The cost: one more request for each new client, and browsers must be allowed to read `DPoP-Nonce` and
    /// `WWW-Authenticate` (CORS).
    pub fn nonces(self, secret: NonceSecret) -> Self {
        Self { nonces: Some(secret), ..self }
    }

    /// Where it is stored which proofs were used, so that each is accepted once. Default: a [`MemoryReplayStore`], which this value
    /// and its clones share.
    ///
    /// Make one `Dpop` for a program, and clone it for each server. With several instances of the program, a stolen proof can be
    /// used once at each of them while it is fresh. A shared store, such as `RedisReplayStore`, closes that. While it can't be
    /// reached, requests with proofs get 503.
    pub fn replay_store(self, store: impl ReplayStore) -> Self {
        Self { replays: Some(Arc::new(store)), ..self }
    }

    /// Accepts a proof any number of times until it is too old.
    ///
    /// What is lost: who sees a request, for example in a log, can repeat it to the same URL for up to
    /// [`max_age`](Self::max_age), or as long as its nonce is good.
    pub fn danger_accept_replays(self) -> Self {
        Self { replays: None, ..self }
    }

    /// Replaces the source of time, for tests. Default: the machine's clock.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Returns the checker, and adds every mistake.
    pub(crate) fn build(self, mistakes: &mut MistakeCollector) -> Option<ProofChecker> {
        let Self { target, algorithms, max_age, nonces, replays, clock } = self;
        let target = target.build(mistakes);
        if !(Duration::from_secs(1)..=MAX_AGE).contains(&max_age) {
            mistakes.add("max_age", format!("a proof may be {max_age:?} old"), "give a time from 1 s to 300 s");
        }
        let algorithms = algorithms.unwrap_or_else(|| SUPPORTED.to_vec());
        if algorithms.is_empty() {
            mistakes.add("algorithms", "the list is empty", "name at least one algorithm, such as ES256");
        }
        if let Some(unsupported) = algorithms.iter().find(|algorithm| !SUPPORTED.contains(algorithm)) {
            let found = format!("this build can't verify {unsupported}");
            mistakes.add("algorithms", found, "remove it, or turn on the feature aws-lc-rs");
        }
        let nonces = nonces.map(Nonces::for_resource_server);
        let rules = ProofRules { algorithms, max_age, nonces, clock, known_keys: KnownKeys::default() };
        Some(ProofChecker { rules, target: target?, replays })
    }
}

impl TargetSetting {
    fn build(self, mistakes: &mut MistakeCollector) -> Option<ProofTarget> {
        match self {
            Self::BaseUrls(urls) if urls.is_empty() => {
                let found = "Dpop::target computes the URLs";
                mistakes.add("also_known_as", found, "remove it, and return the further URLs from the closure");
                None
            }
            Self::BaseUrls(urls) => {
                let urls: Vec<_> = urls.iter().map(|url| mistakes.check(BaseUrl::parse("dpop", url))).collect();
                Some(ProofTarget::BaseUrls(urls.into_iter().collect::<Option<_>>()?))
            }
            Self::Computed(target) => Some(ProofTarget::Computed(target)),
        }
    }
}

/// Checks the proofs of requests.
pub(crate) struct ProofChecker {
    rules: ProofRules,
    target: ProofTarget,
    /// `None` if proofs may be used again.
    replays: Option<Arc<dyn ReplayStore>>,
}

enum ProofTarget {
    BaseUrls(Vec<BaseUrl>),
    Computed(TargetOf),
}

impl ProofChecker {
    pub(crate) fn rules(&self) -> &ProofRules {
        &self.rules
    }

    /// Checks the proof of a request with a token that is bound to `key`. Whether it was used before is not checked here.
    pub(crate) fn check(&self, parts: &Parts, key: &Thumbprint, token: &[u8]) -> Result<CheckedProof, ProofDefect> {
        let is_target = |htu: &str| match &self.target {
            ProofTarget::BaseUrls(urls) => urls.iter().any(|url| url.names(parts.uri.path(), htu)),
            ProofTarget::Computed(target) => target(parts).is_some_and(|url| is_named_by(&url, htu)),
        };
        let expected =
            ExpectedProof { method: &parts.method, key: Some(key), token: Some(token), is_target: &is_target };
        self.rules.check(&parts.headers, &expected)
    }

    /// Records that a proof was used. `None` if proofs may be used again.
    pub(crate) fn record(&self, proof: &CheckedProof) -> Option<Insertion> {
        let store = self.replays.as_ref()?;
        Some(store.insert_if_absent(&proof.replay_key, proof.expires_at, proof.checked_at))
    }

    /// Identifies the store of used proofs within the process.
    pub(crate) fn store_address(&self) -> Option<usize> {
        self.replays.as_ref().map(|store| Arc::as_ptr(store).cast::<()>().addr())
    }
}

/// The `iat` window of MCP and of several servers.
const MAX_AGE: Duration = Duration::from_secs(300);

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop")
            .field("algorithms", &self.algorithms)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}
