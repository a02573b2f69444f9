//! [`ResourceServer`]: all configuration of the HTTP side, and the way of one request through the house.
//!
//! *In*: a request's head. *Out*: a [`Token`], or an [`AuthError`] and the [`Challenge`] that tells it.
//!
//! It works without tower. [`OAuthLayer`](crate::OAuthLayer) is this, as a layer.
//!
//! ```
//! # async fn example(verifier: tower_oauth::JwtVerifier, request: http::Request<()>) -> Result<(), tower_oauth::ConfigError> {
//! use tower_oauth::ResourceServer;
//!
//! let server = ResourceServer::builder(verifier).realm("orders").build()?;
//! let (head, _) = request.into_parts();
//! match server.admit(&head).await {
//!     Ok(token) => println!("{:?} may do {} things", token.subject().is_some(), token.scopes().iter().count()),
//!     Err(error) => println!("{}", server.challenge(&error).status()),
//! }
//! # Ok(())
//! # }
//! ```

use std::{fmt, ops::Deref, sync::Arc};

use http::{HeaderMap, HeaderName, header, request::Parts};

use crate::{
    challenge::{Challenge, Doorplate, QuotedText, SchemeChallenge},
    credentials::{Accepted, Credentials},
    error::{AuthError, ConfigError, ConfigMistake, Reason},
    issuer::{Plain, check_identifier},
    scope::{ScopeHierarchy, Scopes},
    token::Token,
    verify::{Presented, Verdict, Verify},
};

/// Admits requests and words the refusals. Cheap to clone.
#[derive(Clone)]
pub struct ResourceServer {
    house: Home,
}

#[derive(Clone)]
enum Home {
    Shared(Arc<House>),
    ForGood(&'static House),
}

impl Deref for Home {
    type Target = House;

    fn deref(&self) -> &House {
        match self {
            Self::Shared(house) => house,
            Self::ForGood(house) => house,
        }
    }
}

struct House {
    verifier: Arc<dyn Verify>,
    accepted: Accepted,
    hierarchy: Option<Arc<ScopeHierarchy>>,
    doorplate: Doorplate,
    grpc: bool,
}

impl ResourceServer {
    /// Tokens from the `Authorization` header, judged by `verifier`.
    #[must_use]
    pub fn new(verifier: impl Verify) -> Self {
        let builder = Self::builder(verifier);
        Self::with(builder, None, Doorplate::default())
    }

    /// The same, with more to say.
    pub fn builder(verifier: impl Verify) -> ResourceServerBuilder {
        ResourceServerBuilder {
            verifier: Arc::new(verifier),
            accepted: Accepted::default(),
            hierarchy: ScopeHierarchy::new(),
            realm: None,
            resource_metadata: None,
            scopes: None,
            others: Vec::new(),
            header: None,
            grpc: false,
        }
    }

    fn with(builder: ResourceServerBuilder, hierarchy: Option<Arc<ScopeHierarchy>>, doorplate: Doorplate) -> Self {
        let ResourceServerBuilder { verifier, accepted, grpc, .. } = builder;
        Self { house: Home::Shared(Arc::new(House { verifier, accepted, hierarchy, doorplate, grpc })) }
    }

    /// Keeps it for as long as the process runs, so that requests on several processors have no counter of its users in
    /// common: with thousands of hits of a cache in a second that is felt.
    ///
    /// What it costs: its memory, and whatever its verifier does in the background, never ends. For the one server of a
    /// program, not for one of many that come and go.
    #[must_use]
    pub fn leak(self) -> Self {
        match self.house {
            Home::Shared(house) => Self { house: Home::ForGood(Box::leak(Box::new(house))) },
            Home::ForGood(_) => self,
        }
    }

    /// Reads the credentials and has them judged.
    ///
    /// # Errors
    /// The request is not to be served; [`challenge`](Self::challenge) says what to answer.
    pub async fn admit(&self, parts: &Parts) -> Result<Token, AuthError> {
        let verdict = match self.judge(parts) {
            Verdict::Now(verdict) => verdict,
            Verdict::Later(judging) => judging.await,
        };
        self.settle(verdict)
    }

    /// What to answer to a refused request.
    #[must_use]
    pub fn challenge(&self, error: &AuthError) -> Challenge {
        Challenge::new(error, &self.house.doorplate)
    }

    /// The quick way: no future, no lock, unless the verifier must wait for the network.
    pub(crate) fn judge(&self, parts: &Parts) -> Verdict {
        match Credentials::read(parts, &self.house.accepted) {
            Ok(credentials) => self.house.verifier.verify(&Presented::new(credentials, parts)),
            Err(error) => Verdict::Now(Err(error)),
        }
    }

    /// Every verdict passes here, however it came about.
    pub(crate) fn settle(&self, verdict: Result<Token, AuthError>) -> Result<Token, AuthError> {
        let token = verdict?;
        // RFC 9449 §7.2, RFC 8705 §3: bound to a key that nobody proved to hold, whoever judged it.
        if token.facts().confirmation {
            return Err(Reason::SenderConstrained.into());
        }
        Ok(token.with_hierarchy(self.house.hierarchy.as_ref()))
    }

    /// Keeps the credentials out of whatever prints headers further in.
    pub(crate) fn hide_credentials(&self, headers: &mut HeaderMap) {
        for name in self.credential_headers() {
            if let header::Entry::Occupied(mut values) = headers.entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
    }

    /// The headers that a token may stand in.
    pub(crate) fn credential_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let accepted = &self.house.accepted;
        let cookie = accepted.cookie.is_some().then_some(&header::COOKIE);
        [Some(&header::AUTHORIZATION), accepted.header.as_ref(), cookie].into_iter().flatten()
    }

    /// A cache knows that answers to `Authorization` are private (RFC 9111 §3.5), but not those to the other ways.
    pub(crate) fn must_mark_private(&self) -> bool {
        let accepted = &self.house.accepted;
        accepted.query || accepted.cookie.is_some() || accepted.header.is_some()
    }

    pub(crate) fn answers_grpc(&self) -> bool {
        self.house.grpc
    }
}

impl fmt::Debug for ResourceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServer")
            .field("accepted", &self.house.accepted)
            .field("doorplate", &self.house.doorplate)
            .finish_non_exhaustive()
    }
}

/// Collects what there is to say about a [`ResourceServer`]; [`build`](Self::build) tells all mistakes at once.
#[must_use]
pub struct ResourceServerBuilder {
    verifier: Arc<dyn Verify>,
    accepted: Accepted,
    hierarchy: ScopeHierarchy,
    realm: Option<String>,
    resource_metadata: Option<String>,
    scopes: Option<Scopes<'static>>,
    others: Vec<SchemeChallenge>,
    header: Option<String>,
    grpc: bool,
}

impl ResourceServerBuilder {
    /// `realm` of the challenges (RFC 9110 §11.5); `api` unless said.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        Self { realm: Some(realm.into()), ..self }
    }

    /// `scope` of the challenges to requests without a good token: what one should ask for.
    pub fn scopes(self, scopes: Scopes<'static>) -> Self {
        Self { scopes: Some(scopes), ..self }
    }

    /// `resource_metadata` of the challenges: the absolute URL of this resource's metadata (RFC 9728 §5.1).
    pub fn resource_metadata(self, url: impl Into<String>) -> Self {
        Self { resource_metadata: Some(url.into()), ..self }
    }

    /// A scheme that another layer speaks on the same routes, offered beside `Bearer` to requests without credentials.
    pub fn also_challenge(mut self, challenge: SchemeChallenge) -> Self {
        self.others.push(challenge);
        self
    }

    /// Which scopes include which others.
    pub fn scope_hierarchy(self, hierarchy: ScopeHierarchy) -> Self {
        Self { hierarchy, ..self }
    }

    /// The longest token that is looked at, in bytes; 16 KiB unless said.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.accepted.max_token_bytes = bytes;
        self
    }

    /// Also reads the token from this cookie.
    ///
    /// What it costs: a browser sends cookies by itself, so every state-changing route needs a defence against
    /// cross-site request forgery, and the cookie must be `Secure`, `HttpOnly` and `SameSite` (RFC 6750 §5.3).
    pub fn accept_cookie(mut self, name: impl Into<String>) -> Self {
        self.accepted.cookie = Some(name.into());
        self
    }

    /// Also reads the token from this header, without a scheme.
    ///
    /// What it costs: caches, proxies and logs know that `Authorization` is secret; they don't know this one.
    pub fn accept_header(self, name: impl Into<String>) -> Self {
        Self { header: Some(name.into()), ..self }
    }

    /// Also reads `Authorization: <token>` without a scheme, as some older clients send it.
    ///
    /// What it costs: a mistyped scheme is taken for a token and refused with 401 `invalid_token`.
    pub fn accept_authorization_without_scheme(mut self) -> Self {
        self.accepted.authorization_without_scheme = true;
        self
    }

    /// Also reads `access_token` from the query (RFC 6750 §2.3).
    ///
    /// What it costs: the token stands in access logs, browser histories and `Referer` headers. RFC 9700 §4.3.2 and
    /// OAuth 2.1 forbid it.
    pub fn danger_accept_query(mut self) -> Self {
        self.accepted.query = true;
        self
    }

    /// Answers refused gRPC requests (`content-type: application/grpc…`) in gRPC's way: status 200, `grpc-status`. Where
    /// the layer renders bodies, refusals stay HTTP's, which gRPC clients understand as well.
    pub fn answer_grpc(self) -> Self {
        Self { grpc: true, ..self }
    }

    /// The server.
    ///
    /// # Errors
    /// All mistakes at once: a realm or URL that no header can carry, a header or cookie name that is none, a limit of 0.
    pub fn build(mut self) -> Result<ResourceServer, ConfigError> {
        let mut mistakes = Vec::new();
        let realm = self.realm.take().map(|realm| QuotedText::new("realm", &realm));
        let url = self.resource_metadata.take().map(|url| {
            check_identifier("resource_metadata", &url, Plain::Loopback)?;
            QuotedText::new("resource_metadata", &url)
        });
        let mut doorplate = Doorplate::default();
        if let Some(realm) = settle(realm, &mut mistakes) {
            doorplate.realm = realm;
        }
        doorplate.resource_metadata = settle(url, &mut mistakes);
        doorplate.scopes = self.scopes.take();
        doorplate.others = std::mem::take(&mut self.others);
        self.accepted.header = settle(self.header.take().map(|name| header_name(&name)), &mut mistakes);
        if let Some(name) = &self.accepted.cookie
            && HeaderName::try_from(name).is_err()
        {
            mistakes.push(ConfigMistake::new(
                "accept_cookie",
                format!("{name:?} is not a cookie's name"),
                "use a token (RFC 6265 §4.1.1)",
            ));
        }
        if self.accepted.max_token_bytes == 0 {
            mistakes.push(ConfigMistake::new("max_token_bytes", "0 refuses every token", "give a length in bytes"));
        }
        ConfigError::unless_empty(mistakes)?;
        let hierarchy = std::mem::take(&mut self.hierarchy);
        let hierarchy = (!hierarchy.is_flat()).then(|| Arc::new(hierarchy));
        Ok(ResourceServer::with(self, hierarchy, doorplate))
    }
}

fn header_name(name: &str) -> Result<HeaderName, ConfigError> {
    let mistake = |found: &str| {
        ConfigError::from(ConfigMistake::new(
            "accept_header",
            format!("{name:?} {found}"),
            "name a header of its own for the token",
        ))
    };
    match HeaderName::try_from(name) {
        Ok(header::AUTHORIZATION | header::COOKIE) => Err(mistake("is read in another way")),
        Ok(name) => Ok(name),
        Err(_) => Err(mistake("is not a header's name")),
    }
}

/// The value, if there is a good one; the mistakes join the others.
fn settle<T>(setting: Option<Result<T, ConfigError>>, mistakes: &mut Vec<ConfigMistake>) -> Option<T> {
    match setting? {
        Ok(value) => Some(value),
        Err(error) => {
            mistakes.extend(error.into_mistakes());
            None
        }
    }
}

impl fmt::Debug for ResourceServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServerBuilder").field("accepted", &self.accepted).finish_non_exhaustive()
    }
}
