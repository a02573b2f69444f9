//! The settings of a [`TokenEndpoint`].
//!
//! *In*: the application's settings. *Out*: an endpoint, or every mistake at once.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    TokenEndpoint,
    client::{
        authenticate::{Authenticator, Decoy},
        registry::{ClientRegistry, ErasedRegistry},
        throttle::{RightSecrets, Throttle},
    },
    endpoints::{
        EndpointPaths, Mount, OpenIdConfiguration, ServerState,
        customize::{Customize, Issuance},
    },
    events::{Event, Observers},
    grant::{ErasedGrant, Grant, RefreshTokenGrant},
    http::{cors::Cors, error::TokenError, metadata::ServerMetadata, request::Bodies},
    proofs::{DpopSupport, EndpointDpop},
    services::Services,
    signer::{MAX_LIFETIME, Signer, SigningKeys},
    store::{ErasedStore, MemoryStore, Store, WatchedStore},
    texts::Texts,
    token_content::TokenContent,
};
use crate::{
    clock::{Clock, SystemClock},
    config_error::{ConfigError, MistakeCollector},
    mutual_tls::MutualTls,
    scope::is_scope_name,
    url::{PlainHttp, check_resolvable_identifier, check_url},
};

/// Builder for a [`TokenEndpoint`]. [`build`](Self::build) reports every mistake at once.
#[must_use]
pub struct TokenEndpointBuilder {
    issuer: String,
    keys: SigningKeys,
    pub(super) registry: Box<dyn ErasedRegistry>,
    store: Box<dyn ErasedStore>,
    clock: Arc<dyn Clock>,
    grants: Vec<Box<dyn ErasedGrant>>,
    bodies: Bodies,
    pub(super) cors: Cors,
    pub(super) dpop: DpopSupport,
    pub(super) mutual_tls: Option<MutualTls>,
    lifetime: Duration,
    prepublication: Duration,
    /// Maximum number of failed authentications, and the window in which they are counted.
    max_failures: (u32, Duration),
    right_secrets: RightSecrets,
    scopes_supported: Vec<String>,
    customize: Option<Customize>,
    assertion_audiences: Vec<String>,
    openid_configuration: OpenIdConfiguration,
    published_page: Option<String>,
    observers: Observers,
}

impl TokenEndpointBuilder {
    pub(super) fn new(issuer: String, keys: SigningKeys, clients: impl ClientRegistry) -> Self {
        Self {
            issuer,
            keys,
            registry: Box::new(clients),
            store: Box::new(MemoryStore::new()),
            clock: Arc::new(SystemClock::new()),
            grants: Vec::new(),
            bodies: Bodies::Form,
            cors: Cors::default(),
            dpop: DpopSupport::default(),
            mutual_tls: None,
            lifetime: Duration::from_secs(15 * 60),
            prepublication: Duration::from_secs(3600),
            max_failures: (10, Duration::from_secs(60)),
            right_secrets: RightSecrets::Pass,
            scopes_supported: Vec::new(),
            customize: None,
            assertion_audiences: Vec::new(),
            openid_configuration: OpenIdConfiguration::NotFound,
            published_page: None,
            observers: Observers::default(),
        }
    }

    /// Offers a grant: [`ClientCredentialsGrant`](super::ClientCredentialsGrant),
    /// [`AuthorizationCodeGrant`](super::AuthorizationCodeGrant), [`RefreshTokenGrant`](super::RefreshTokenGrant), or your own.
    pub fn grant(mut self, grant: impl Grant) -> Self {
        self.grants.push(Box::new(grant));
        self
    }

    /// Store for codes and tokens. Default: a [`MemoryStore`].
    pub fn store(self, store: impl Store) -> Self {
        Self { store: Box::new(store), ..self }
    }

    /// Replaces the source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Lifetime of access tokens, in whole seconds, unless
    /// [the client has its own](super::ClientBuilder::access_token_lifetime). Default: 15 minutes. Maximum: one day.
    pub fn access_token_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Time between the first publication of a key by any instance and its first signature, unless an instance has only new
    /// keys. Choose at least the time for which APIs cache a key set, and the same time for all instances. Default: one hour.
    /// Maximum: 366 days.
    pub fn key_prepublication(self, time: Duration) -> Self {
        Self { prepublication: time, ..self }
    }

    /// Maximum number of failed authentications in any `window`, for each client id and [`Peer`](super::Peer). Default: 10 in 60
    /// seconds.
    ///
    /// A further wrong secret gets 429 with `Retry-After`, up to a second later. One more 401 is possible after each `window / max`.
    /// The right secret is always accepted, so an attacker can't lock a client out. Without a `Peer` in the request's extensions,
    /// failures are counted by client id only. Clients with keys aren't affected. Each instance has its own count.
    pub fn max_failed_authentications(self, max: u32, window: Duration) -> Self {
        Self { max_failures: (max, window), ..self }
    }

    /// Also refuses the right secret with 429, when client id and [`Peer`](super::Peer) have used up the
    /// [failed authentications](Self::max_failed_authentications), unless it was [generated](super::ClientSecret::generate).
    /// Default: the right secret is always accepted.
    ///
    /// This protects secrets that a person chose, because an attacker can't continue to guess. The cost: without a `Peer`, an
    /// attacker who knows a client's id can lock the client out.
    pub fn throttle_right_secrets(self) -> Self {
        Self { right_secrets: RightSecrets::Throttle, ..self }
    }

    /// Also reads bodies of type `application/json`: an object with strings.
    ///
    /// The cost: RFC 6749 defines only forms, so a client that sends JSON works with few other servers.
    pub fn accept_json(self) -> Self {
        Self { bodies: Bodies::FormAndJson, ..self }
    }

    /// Also accepts client assertions whose `aud` is the token endpoint's URL, as RFC 7523 §3 suggested.
    ///
    /// The cost: a malicious authorization server that the client also uses can claim our URL as its own, and replay the
    /// client's assertions here. Therefore draft-ietf-oauth-rfc7523bis requires the issuer as the only audience.
    pub fn accept_token_endpoint_as_assertion_audience(mut self) -> Self {
        self.assertion_audiences.push(format!("{}/token", self.issuer.trim_end_matches('/')));
        self
    }

    /// `scopes_supported` of the metadata (RFC 8414 §2). It informs clients and restricts nothing. Default: none.
    pub fn scopes_supported<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.scopes_supported.extend(names.into_iter().map(Into::into));
        self
    }

    /// Publishes the metadata also at `/.well-known/openid-configuration`, where many clients look for it only (RFC 8414 §5).
    /// Default: only at `/.well-known/oauth-authorization-server`.
    ///
    /// If the issuer has a path, it is published in both forms of RFC 8414 §5: `/.well-known/openid-configuration/path` and
    /// `/path/.well-known/openid-configuration`. All addresses have the same document.
    ///
    /// This does not make the server an OpenID provider. It issues no ID tokens and has no userinfo endpoint, and the document
    /// has no members that only OpenID Connect Discovery requires, such as `subject_types_supported`. A client that needs them,
    /// or the scope `openid`, gets an error.
    pub fn metadata_at_openid_configuration(self) -> Self {
        Self { openid_configuration: OpenIdConfiguration::Metadata, ..self }
    }

    /// `authorization_endpoint` of the metadata, for an issuer without [`AuthorizationCodeGrant`](super::AuthorizationCodeGrant),
    /// whose own page is published otherwise. Default: none. RFC 8414 §2 requires none without a grant that uses it, but many
    /// clients don't read metadata that lack it, also if they use only `client_credentials`.
    ///
    /// The URL has the same rules as that of the grant. `response_types_supported` stays empty, and
    /// [`authorize`](super::TokenEndpoint::authorize) refuses every request there.
    pub fn publish_authorization_endpoint(self, url: impl Into<String>) -> Self {
        Self { published_page: Some(url.into()), ..self }
    }

    /// Calls `observer` with every [`Event`], for instance for an audit trail. It may be called several times. Default: only log
    /// events (feature `tracing`) and metrics (feature `metrics`).
    ///
    /// Requests wait for it, so it must return at once.
    pub fn observe(mut self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.observers.add(Box::new(observer));
        self
    }

    /// Calls `hook` once for each token, before anything is written, for the [content](TokenContent) that the application adds:
    /// claims, a shorter or longer lifetime, fewer scopes, response parameters. Default: none. The last call counts.
    ///
    /// The hook's error is the response to the request, which then costs neither a code nor a refresh token. A hook that needs
    /// longer than 2 s, panics, or sets what the endpoint sets itself refuses the request with 503, and the log event has the
    /// cause. An approved scope stays in the session, so a later token can have it.
    ///
    /// ```
    /// # fn example(builder: tower_oauth::token_endpoint::TokenEndpointBuilder) {
    /// use tower_oauth::token_endpoint::{TokenContent, TokenError, TokenErrorKind};
    ///
    /// async fn roles_of(user: &str) -> Option<Vec<String>> {
    ///     # let _ = user;
    ///     Some(vec!["editor".to_owned()]) // for real use, from a database
    /// }
    ///
    /// let builder = builder.customize_tokens(|issuance| async move {
    ///     let refused = || TokenError::new(TokenErrorKind::InvalidGrant, "The user is locked");
    ///     let roles = roles_of(issuance.subject()).await.ok_or_else(refused)?;
    ///     Ok(TokenContent::new().claim("roles", roles))
    /// });
    /// # let _ = builder;
    /// # }
    /// ```
    pub fn customize_tokens<F>(self, hook: impl Fn(Issuance) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<TokenContent, TokenError>> + Send + 'static,
    {
        Self { customize: Some(Box::new(move |issuance| Box::pin(hook(issuance)))), ..self }
    }

    /// Builds the endpoint.
    ///
    /// # Errors
    /// Every mistake at once: an issuer that is not an `https` URL in its normal form, or an authorization endpoint that is not
    /// an `https` URL (plain `http` is accepted for a loopback address); two keys with the same `kid`; no grant, or one grant
    /// twice; a grant without its settings;
    /// `refresh_token` without a grant that issues refresh tokens; an idle lifetime of refresh tokens of 0, or longer than the absolute one;
    /// a lifetime of access tokens of 0, or longer than a day; a key prepublication longer than 366 days; a maximum of 0
    /// failed authentications, or a window of 0 or longer than 366 days; an invalid scope name; an allowed origin in another form
    /// than browsers send it; a published authorization endpoint beside `authorization_code`; a client that needs DPoP or
    /// a TLS certificate, which the endpoint does not check; a header of a proxy that is no header name. Or the system provides no
    /// random bytes.
    pub fn build(self) -> Result<TokenEndpoint, ConfigError> {
        self.check()?;
        let base = self.issuer.trim_end_matches('/').to_owned();
        let authorization_endpoint = self.authorization_endpoint().map(str::to_owned);
        let refresh = self.offered(REFRESH_TOKEN).and_then(ErasedGrant::refresh_token_settings).copied();
        let grants = self.grants.iter().map(|grant| grant.grant_type().to_owned());
        let page = authorization_endpoint.as_deref();
        let published = self.published_page.as_deref();
        let metadata = ServerMetadata::new(&self.issuer, &base, page, published, &self.scopes_supported, grants);
        let metadata = metadata.with_client_documents(self.registry.reads_client_documents());
        let dpop = self.dpop.checks(&base, Arc::clone(&self.clock));
        let metadata = metadata.with_dpop(dpop.as_ref().map_or(&[], EndpointDpop::algorithms));
        let metadata = metadata.with_certificates(self.mutual_tls.is_some());
        let metadata = Bytes::from(serde_json::to_vec(&metadata).unwrap_or_default());
        let mut audiences = self.assertion_audiences;
        audiences.push(self.issuer.clone());
        let (max, window) = self.max_failures;
        let observers = Arc::new(self.observers);
        Ok(TokenEndpoint {
            mount: Mount::Whole,
            inner: Arc::new(ServerState {
                paths: EndpointPaths::new(&self.issuer, self.openid_configuration),
                services: Services {
                    registry: self.registry,
                    store: WatchedStore::new(self.store, Arc::clone(&observers)),
                    observers,
                    clock: self.clock,
                    texts: Texts::new(&self.issuer),
                },
                issuer: self.issuer,
                authenticator: Authenticator {
                    throttle: Throttle::new(max, window, self.right_secrets),
                    audiences,
                    decoy: Decoy::new()?,
                },
                signer: Signer::new(self.keys, self.prepublication),
                grants: self.grants,
                bodies: self.bodies,
                cors: self.cors,
                lifetime: self.lifetime,
                customize: self.customize,
                metadata,
                authorization_endpoint,
                refresh,
                dpop,
                mutual_tls: self.mutual_tls,
            }),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let mut mistakes = MistakeCollector::new();
        mistakes.check(check_resolvable_identifier("issuer", &self.issuer, PlainHttp::Loopback));
        mistakes.check(self.keys.check());
        mistakes.append(self.grant_mistakes());
        if self.lifetime.as_secs() == 0 || self.lifetime > MAX_LIFETIME {
            let found = format!("{:?}", self.lifetime);
            mistakes.add("access_token_lifetime", found, "give between a second and a day");
        }
        if self.prepublication > MAX_PERIOD {
            let found = format!("{:?}", self.prepublication);
            mistakes.add("key_prepublication", found, "give at most 366 days");
        }
        let (max, window) = self.max_failures;
        if max == 0 || window.is_zero() || window > MAX_PERIOD {
            let found = format!("{max} in {window:?}");
            mistakes.add("max_failed_authentications", found, "allow at least one, in a window of at most 366 days");
        }
        if !self.scopes_supported.iter().all(|name| is_scope_name(name)) {
            let change = "use printable ASCII without space, quote and backslash (RFC 6749 §3.3)";
            mistakes.add("scopes_supported", "a name is not a scope name", change);
        }
        self.cors.check(&mut mistakes);
        self.check_sender_constraints(&mut mistakes);
        if let Some(url) = &self.published_page {
            mistakes.check(check_url("publish_authorization_endpoint", url, PlainHttp::Loopback));
            if self.offered(AUTHORIZATION_CODE).is_some() {
                let change = "remove it: AuthorizationCodeGrant has the URL of the page";
                mistakes.add("publish_authorization_endpoint", "authorization_code is offered", change);
            }
        }
        mistakes.finish()
    }

    /// Returns the offered grant of this type.
    fn offered(&self, grant_type: &str) -> Option<&dyn ErasedGrant> {
        self.grants.iter().find(|grant| grant.grant_type() == grant_type).map(|grant| &**grant)
    }

    fn authorization_endpoint(&self) -> Option<&str> {
        self.offered(AUTHORIZATION_CODE).and_then(ErasedGrant::authorization_endpoint)
    }

    fn grant_mistakes(&self) -> MistakeCollector {
        let mut mistakes = MistakeCollector::new();
        if let Some(grant) = self.offered(AUTHORIZATION_CODE) {
            if let Some(url) = grant.authorization_endpoint() {
                mistakes.check(check_url("authorization_endpoint", url, PlainHttp::Loopback));
            } else {
                let change = "implement Grant::authorization_endpoint, as AuthorizationCodeGrant does";
                mistakes.add("grant", "authorization_code without an authorization endpoint", change);
            }
        }
        if let Some(grant) = self.offered(REFRESH_TOKEN) {
            match grant.refresh_token_settings().map(RefreshTokenGrant::mistake) {
                Some(None) => {}
                Some(Some(found)) => {
                    let change = "give an idle lifetime of at least a second, and an absolute one that is not shorter";
                    mistakes.add("refresh_token", found, change);
                }
                None => {
                    let change = "implement Grant::refresh_token_settings, as RefreshTokenGrant does";
                    mistakes.add("grant", "refresh_token without settings", change);
                }
            }
            let issues = self.grants.iter().any(|grant| grant.issues_refresh_tokens());
            if !issues && self.offered(AUTHORIZATION_CODE).is_none() {
                let change = "also offer AuthorizationCodeGrant or a grant that issues refresh tokens, or leave refresh_token out";
                mistakes.add("grant", "refresh_token, but no offered grant issues refresh tokens", change);
            }
        }
        let mut names: Vec<_> = self.grants.iter().map(|grant| grant.grant_type()).collect();
        names.sort_unstable();
        if names.is_empty() {
            mistakes.add("grant", "there is no grant", "offer at least one grant");
        }
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            mistakes.add("grant", "a grant is offered twice", "offer each grant once");
        }
        mistakes
    }
}

impl fmt::Debug for TokenEndpointBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpointBuilder").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

const AUTHORIZATION_CODE: &str = "authorization_code";
const REFRESH_TOKEN: &str = "refresh_token";
/// Maximum of the settings that have no smaller one.
const MAX_PERIOD: Duration = Duration::from_secs(366 * 86_400);
