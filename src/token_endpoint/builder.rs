//! What a [`TokenEndpoint`] is told.

use std::{fmt, sync::Arc, time::Duration};

use ::http::Uri;
use bytes::Bytes;
use serde::Serialize;

use super::{
    Paths, ServerState, TokenEndpoint,
    client::{
        authenticate::{Authenticator, Decoy, FAILURE_WINDOW, FAILURES},
        registry::{ClientRegistry, ErasedRegistry},
        throttle::Throttle,
    },
    endpoints::token::{AddMembers, Issuance},
    grant::{AuthorizationCode, ErasedGrant, Grant, RefreshToken},
    http::{metadata::ServerMetadata, request::Bodies},
    signer::{MAX_LIFETIME, Signer, SigningKeys},
    store::{ErasedStore, MemoryStore, Store},
};
use crate::{
    clock::{Clock, SystemClock},
    config_error::{ConfigError, ConfigMistake},
    scope::is_scope_name,
    url::{PlainHttp, check_identifier, check_url},
};

/// Says the rest about a [`TokenEndpoint`].
pub struct TokenEndpointBuilder {
    issuer: String,
    keys: SigningKeys,
    registry: Box<dyn ErasedRegistry>,
    store: Arc<dyn ErasedStore>,
    clock: Arc<dyn Clock>,
    grants: Vec<Box<dyn ErasedGrant>>,
    bodies: Bodies,
    lifetime: Duration,
    publication: Duration,
    failures: (u32, Duration),
    scopes: Vec<String>,
    add_members: Option<AddMembers>,
    assertion_audiences: Vec<String>,
    authorization_endpoint: Option<String>,
    refresh: Option<RefreshToken>,
}

impl TokenEndpointBuilder {
    pub(super) fn new(issuer: String, keys: SigningKeys, clients: impl ClientRegistry) -> Self {
        Self {
            issuer,
            keys,
            registry: Box::new(clients),
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(SystemClock::new()),
            grants: Vec::new(),
            bodies: Bodies::Form,
            lifetime: Duration::from_secs(15 * 60),
            publication: Duration::from_secs(3600),
            failures: (FAILURES, FAILURE_WINDOW),
            scopes: Vec::new(),
            add_members: None,
            assertion_audiences: Vec::new(),
            authorization_endpoint: None,
            refresh: None,
        }
    }

    /// Offers a grant.
    #[must_use]
    pub fn grant(mut self, grant: impl Grant) -> Self {
        self.grants.push(Box::new(grant));
        self
    }

    /// Offers `authorization_code`, with PKCE (RFC 7636) and nothing but S256. `authorization_endpoint` is the URL of the host's
    /// own page, which takes an [`AuthorizationRequest`](super::AuthorizationRequest).
    #[must_use]
    pub fn authorization_code(mut self, authorization_endpoint: impl Into<String>) -> Self {
        self.authorization_endpoint = Some(authorization_endpoint.into());
        self.grant(AuthorizationCode)
    }

    /// Offers `refresh_token`: clients that are registered for it get a refresh token with what a user allowed.
    #[must_use]
    pub fn refresh_token(mut self, settings: RefreshToken) -> Self {
        self.refresh = Some(settings);
        self.grant(settings)
    }

    /// Remembers what was issued there, instead of in a [`MemoryStore`].
    #[must_use]
    pub fn store(self, store: impl Store) -> Self {
        Self { store: Arc::new(store), ..self }
    }

    /// Goes by another clock.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// How long access tokens live of clients that have no time of their own, in whole seconds: 15 minutes. At most a day.
    #[must_use]
    pub fn access_token_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// How long a key is published before it signs, after [`TokenEndpoint::rotate_key`]: one hour. As long as APIs keep a
    /// fetched key set, or longer.
    #[must_use]
    pub fn key_prepublication(self, time: Duration) -> Self {
        Self { publication: time, ..self }
    }

    /// How many failed authentications a client has in any `window`: 10 in a minute. Then it is answered with 429 until the
    /// window has moved on, with its right secret too: whoever knows a client's id can hold it off. Clients with keys of
    /// their own are not concerned. Each instance counts for itself.
    #[must_use]
    pub fn max_failed_authentications(self, most: u32, window: Duration) -> Self {
        Self { failures: (most, window), ..self }
    }

    /// Reads bodies of `application/json` too: an object with strings, for clients that write one. RFC 6749 knows forms only, so
    /// such a client works here and with few others.
    #[must_use]
    pub fn accept_json(self) -> Self {
        Self { bodies: Bodies::FormAndJson, ..self }
    }

    /// Accepts client assertions whose `aud` is the token endpoint's URL, as RFC 7523 §3 had it. What is lost: an
    /// authorization server that a client also uses, and that says our URL is its own, can use its assertions here (the
    /// reason for draft-ietf-oauth-rfc7523bis, which wants the issuer and nothing else).
    #[must_use]
    pub fn accept_token_endpoint_as_assertion_audience(mut self) -> Self {
        self.assertion_audiences.push(format!("{}/token", self.issuer.trim_end_matches('/')));
        self
    }

    /// `scopes_supported` of the metadata (RFC 8414 §2), for clients to read. It decides nothing.
    #[must_use]
    pub fn scopes_supported<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.scopes.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds members of the host's own to the answers with a token: what `add` gives must be written as an object. It can't
    /// change a member that RFC 6749 defines.
    ///
    /// ```
    /// # fn example(builder: tower_oauth::token_endpoint::TokenEndpointBuilder) {
    /// use std::time::SystemTime;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Own {
    ///     created_at: u64,
    /// }
    ///
    /// let builder = builder.extra_response_parameters(|issuance| Own {
    ///     created_at: issuance.issued_at().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    /// });
    /// # let _ = builder;
    /// # }
    /// ```
    #[must_use]
    pub fn extra_response_parameters<T: Serialize>(
        self,
        add: impl Fn(&Issuance<'_>) -> T + Send + Sync + 'static,
    ) -> Self {
        Self { add_members: Some(Box::new(move |issuance| serde_json::to_value(add(issuance)))), ..self }
    }

    /// The endpoint.
    ///
    /// # Errors
    /// All at once: an issuer or an authorization endpoint that is no `https` URL; refresh tokens without a life; two keys with the same `kid`; no grant, or one twice; a lifetime of
    /// nothing or of more than a day; a time of more than a year; no failures allowed; a malformed scope name.
    pub fn build(self) -> Result<TokenEndpoint, ConfigError> {
        let mut mistakes = Vec::new();
        if let Err(error) = check_identifier("issuer", &self.issuer, PlainHttp::Loopback) {
            mistakes.extend(error.into_mistakes());
        }
        mistakes.extend(self.keys.check().err());
        if let Some(url) = &self.authorization_endpoint
            && let Err(error) = check_url("authorization_code", url, PlainHttp::Loopback)
        {
            mistakes.extend(error.into_mistakes());
        }
        if let Some(found) = self.refresh.as_ref().and_then(RefreshToken::mistake) {
            mistakes.push(ConfigMistake::new(
                "refresh_token",
                found,
                "give a second or more, the absolute one no less",
            ));
        }
        let mut names: Vec<_> = self.grants.iter().map(|grant| grant.grant_type()).collect();
        names.sort_unstable();
        if names.is_empty() {
            mistakes.push(ConfigMistake::new("grant", "there is none", "offer at least one grant"));
        }
        if names.iter().zip(names.iter().skip(1)).any(|(one, next)| one == next) {
            mistakes.push(ConfigMistake::new("grant", "one is offered twice", "offer each grant once"));
        }
        if self.lifetime.as_secs() == 0 || self.lifetime > MAX_LIFETIME {
            let found = format!("{:?}", self.lifetime);
            mistakes.push(ConfigMistake::new("access_token_lifetime", found, "give a second to a day"));
        }
        if self.publication > LONGEST {
            let found = format!("{:?}", self.publication);
            mistakes.push(ConfigMistake::new("key_prepublication", found, "give a year at the most"));
        }
        if self.failures.0 == 0 || self.failures.1.is_zero() || self.failures.1 > LONGEST {
            let found = format!("{} in {:?}", self.failures.0, self.failures.1);
            mistakes.push(ConfigMistake::new("max_failed_authentications", found, "allow at least one in some time"));
        }
        if !self.scopes.iter().all(|name| is_scope_name(name)) {
            let change = "use printable ASCII without space, quote and backslash (RFC 6749 §3.3)";
            mistakes.push(ConfigMistake::new("scopes_supported", "a name is no scope name", change));
        }
        ConfigError::unless_empty(mistakes)?;
        let base = self.issuer.trim_end_matches('/').to_owned();
        let grants = self.grants.iter().map(|grant| grant.grant_type().to_owned());
        let metadata =
            ServerMetadata::new(&self.issuer, &base, self.authorization_endpoint.as_deref(), &self.scopes, grants);
        let metadata = Bytes::from(serde_json::to_vec(&metadata).unwrap_or_default());
        let mut audiences = self.assertion_audiences;
        audiences.push(self.issuer.clone());
        Ok(TokenEndpoint {
            inner: Arc::new(ServerState {
                paths: Paths::of(&self.issuer),
                issuer: self.issuer,
                authenticator: Authenticator {
                    registry: self.registry,
                    store: self.store,
                    clock: self.clock,
                    throttle: Throttle::new(self.failures.0, self.failures.1),
                    audiences,
                    decoy: Decoy::new()?,
                },
                signer: Signer::new(self.keys),
                grants: self.grants,
                bodies: self.bodies,
                lifetime: self.lifetime,
                publication: self.publication,
                add_members: self.add_members,
                metadata,
                authorization_endpoint: self.authorization_endpoint,
                refresh: self.refresh,
            }),
        })
    }
}

impl Paths {
    /// Below the issuer's own path; the well-known one before it (RFC 8414 §3.1).
    fn of(issuer: &str) -> Self {
        let uri: Uri = issuer.parse().unwrap_or_default();
        let base = uri.path().trim_end_matches('/');
        Self {
            token: format!("{base}/token"),
            introspect: format!("{base}/introspect"),
            revoke: format!("{base}/revoke"),
            jwks: format!("{base}/jwks.json"),
            metadata: format!("/.well-known/oauth-authorization-server{base}"),
        }
    }
}

impl fmt::Debug for TokenEndpointBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpointBuilder").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Longer times are mistakes.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
