//! Issues tokens (feature `token-endpoint`): a minimal authorization server without users, pages or registration.
//!
//! *In*: requests to five paths below the issuer's identifier. *Out*: tokens, and what others need to check them.
//!
//! | path | | |
//! |---|---|---|
//! | `POST /token` | RFC 6749 §3.2 | tokens, for the [`Grant`]s that are offered |
//! | `POST /introspect` | RFC 7662 | whether a token is alive |
//! | `POST /revoke` | RFC 7009 | ends a token |
//! | `GET /jwks.json` | RFC 7517 §5 | the keys that check JWTs |
//! | `GET /.well-known/oauth-authorization-server` | RFC 8414 | what there is; before the issuer's own path |
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::Router;
//! use tower_oauth::{
//!     keys::{Algorithm, PrivateKey},
//!     token_endpoint::{Client, ClientCredentials, ClientSecret, Clients, TokenEndpoint, TokenFormat},
//! };
//!
//! let (secret, text) = ClientSecret::generate()?; // `text` is for the client, and told this once
//! let reports = Client::with_secret("reports", secret)
//!     .grant_types(["client_credentials"])
//!     .default_scopes(["orders:read"])
//!     .audience("https://api.example.com", TokenFormat::Jwt)
//!     .build()?;
//! let key = PrivateKey::generate(Algorithm::ES256)?;
//! let endpoint = TokenEndpoint::builder("https://auth.example.com", key, Clients::new([reports])?)
//!     .grant(ClientCredentials::new())
//!     .build()?;
//! let app: Router = Router::new().fallback_service(endpoint);
//! # let _ = (app, text);
//! # Ok(())
//! # }
//! ```
//!
//! The endpoint finds its paths by itself, so it is mounted as a fallback, or at each of [`TokenEndpoint::paths`]; not
//! nested, because that hides the path. TLS, CORS (for pages of other origins, RFC 9700 §2.6) and limits of load are layers
//! of the host.
//!
//! What was issued is remembered by a [`Store`]: in memory unless told otherwise, in `RedisStore` (feature `redis`) or
//! `PostgresStore` (feature `postgres`) for several instances of one issuer, and where a restart must forget nothing. Such
//! instances sign with the same [`SigningKeys`].
//!
//! What is not here: login, consent, users, dynamic registration. `password` and `implicit` are not offered: a client that
//! asks for a user's password teaches users to give it away, and can't be limited by a second factor (RFC 9700 §2.4); tokens
//! in a URL leak (RFC 9700 §2.1.2). Both are answered with `unsupported_grant_type`.

mod builder;
mod client;
mod endpoints;
mod grant;
mod http;
mod signer;
mod store;

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use bytes::Bytes;
use http_body::Body;
use tower_service::Service;

#[cfg(feature = "postgres")]
pub use self::store::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use self::store::{RedisStore, RedisStoreBuilder};
pub use self::{
    builder::TokenEndpointBuilder,
    client::{
        Client, TokenFormat,
        builder::ClientBuilder,
        registry::{ClientRegistry, Clients},
        secret::{ClientSecret, TokenHash},
    },
    endpoints::{
        authorize::{AuthorizationError, AuthorizationRequest},
        token::Issuance,
    },
    grant::{ClientCredentials, Grant, Granted, RefreshToken, TokenRequest},
    http::{
        error::{TokenError, TokenErrorKind},
        response::ResponseBody,
    },
    signer::SigningKeys,
    store::{
        AccessRecord, CodeRecord, CodeTaken, Family, Issued, MemoryStore, NewAccess, NewRefresh, Revoked, Rotated,
        Store, StoreError, Successor,
    },
};
use self::{
    client::authenticate::Authenticator,
    endpoints::token::AddMembers,
    grant::ErasedGrant,
    http::{
        error::TokenErrorKind::{InvalidRequest, UnauthorizedClient, UnsupportedGrantType},
        request::{Bodies, Parameters},
        response::{cacheable_json, empty},
    },
    signer::Signer,
};
use crate::{config_error::ConfigError, keys::PrivateKey};

/// A token endpoint and what belongs to it, as a tower service. See the [module docs](self). Clones share everything.
#[derive(Clone)]
pub struct TokenEndpoint {
    inner: Arc<ServerState>,
}

pub(crate) struct ServerState {
    issuer: String,
    paths: Paths,
    authenticator: Authenticator,
    signer: Signer,
    grants: Vec<Box<dyn ErasedGrant>>,
    bodies: Bodies,
    lifetime: Duration,
    publication: Duration,
    add_members: Option<AddMembers>,
    metadata: Bytes,
    /// The host's own page, where codes are offered.
    authorization_endpoint: Option<String>,
    refresh: Option<RefreshToken>,
}

/// Where the endpoints are, as paths of a request.
struct Paths {
    token: String,
    introspect: String,
    revoke: String,
    jwks: String,
    metadata: String,
}

impl TokenEndpoint {
    /// An endpoint that issues as `issuer`, signs with `keys`, and knows these clients.
    ///
    /// `issuer` is what tokens say in `iss`: an `https` URL without query and fragment (RFC 8414 §2), or plain `http` on a
    /// loopback address.
    pub fn builder(
        issuer: impl Into<String>,
        keys: impl Into<SigningKeys>,
        clients: impl ClientRegistry,
    ) -> TokenEndpointBuilder {
        TokenEndpointBuilder::new(issuer.into(), keys.into(), clients)
    }

    /// The paths it answers, each whole.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let Paths { token, introspect, revoke, jwks, metadata } = &self.inner.paths;
        [token, introspect, revoke, jwks, metadata].into_iter().map(String::as_str)
    }

    /// Publishes `next` at once, and signs with it when every API has had
    /// [the time](TokenEndpointBuilder::key_prepublication) to fetch it. The key before it stays published until its tokens are
    /// dead.
    ///
    /// # Errors
    /// A key that is still in use has the same `kid`.
    pub fn rotate_key(&self, next: PrivateKey) -> Result<(), ConfigError> {
        let now = self.inner.authenticator.clock.now();
        self.inner.signer.rotate(next, now + self.inner.publication, now)
    }
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint").field("issuer", &self.inner.issuer).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for TokenEndpoint
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let inner = Arc::clone(&self.inner);
        let (parts, body) = request.into_parts();
        ResponseFuture(Box::pin(async move { inner.answer(parts, body).await }))
    }
}

/// The future of [`TokenEndpoint`].
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>);

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl ServerState {
    async fn answer<B>(&self, parts: Parts, body: B) -> Response<ResponseBody>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let path = parts.uri.path();
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        let outcome = if path == self.paths.token {
            self.token(&parts, body).await
        } else if path == self.paths.introspect || path == self.paths.revoke {
            self.manage(&parts, body).await
        } else if path == self.paths.jwks && reads {
            Ok(cacheable_json(&self.signer.jwk_set(self.authenticator.clock.now()), CACHEABLE))
        } else if path == self.paths.metadata && reads {
            Ok(self.metadata())
        } else if path == self.paths.jwks || path == self.paths.metadata {
            let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        } else {
            return empty(StatusCode::NOT_FOUND);
        };
        let mut response = outcome.unwrap_or_else(TokenError::into_response);
        if parts.method != Method::POST && response.status() == StatusCode::BAD_REQUEST {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }

    /// RFC 6749 §3.2, in the order in which a client can do something about it.
    async fn token<B>(&self, parts: &Parts, body: B) -> Result<Response<ResponseBody>, TokenError>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let parameters = Parameters::from_request(parts, body, self.bodies).await?;
        let client = self.authenticator.authenticate(&parts.headers, &parameters).await?;
        let missing = || TokenError::new(InvalidRequest, "The grant_type is missing");
        let wanted = parameters.get("grant_type")?.ok_or_else(missing)?;
        let offered = self.grants.iter().find(|grant| grant.grant_type() == wanted);
        let grant =
            offered.ok_or_else(|| TokenError::new(UnsupportedGrantType, "The grant_type is not offered here"))?;
        if !client.may_use(wanted) {
            return Err(TokenError::new(UnauthorizedClient, "The client is not registered for this grant_type"));
        }
        let granted = grant.decide(&TokenRequest::new(&client, &parameters, self)).await?;
        self.issue(&client, granted, wanted).await
    }

    /// What is done to a token.
    async fn manage<B>(&self, parts: &Parts, body: B) -> Result<Response<ResponseBody>, TokenError>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let parameters = Parameters::from_request(parts, body, self.bodies).await?;
        let client = self.authenticator.authenticate(&parts.headers, &parameters).await?;
        if parts.uri.path() == self.paths.revoke {
            self.revoke(&client, &parameters).await
        } else {
            self.introspect(&client, &parameters).await
        }
    }

    /// How refresh tokens live, if this client may have any.
    fn refresh_tokens(&self, client: &Client) -> Option<&RefreshToken> {
        self.refresh.as_ref().filter(|_| client.may_use("refresh_token"))
    }

    /// How long all that comes of one approval lives at the most.
    fn family_lifetime(&self, client: &Client) -> Duration {
        let access = client.lifetime.unwrap_or(self.lifetime);
        self.refresh_tokens(client).map_or(access, |refresh| refresh.absolute)
    }

    fn metadata(&self) -> Response<ResponseBody> {
        let mut response = Response::new(self.metadata.clone().into());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHEABLE));
        response
    }
}

/// How long keys and metadata may be kept by others.
const CACHEABLE: &str = "public, max-age=300";
