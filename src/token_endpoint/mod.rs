//! Issues tokens (feature `token-endpoint`): a minimal authorization server without users, pages or registration.
//!
//! *In*: requests to a few paths below the issuer's identifier. *Out*: tokens, and what APIs need to check them.
//!
//! | path | specification | purpose |
//! |---|---|---|
//! | `POST /token` | RFC 6749 §3.2 | issues tokens, for the [`Grant`]s that are offered |
//! | `POST /introspect` | RFC 7662 | reports whether a token is active |
//! | `POST /revoke` | RFC 7009 | revokes a token |
//! | `GET /jwks.json` | RFC 7517 §5 | publishes the keys that verify JWTs |
//! | `GET /.well-known/oauth-authorization-server` | RFC 8414 | publishes the metadata; this path precedes the issuer's own path |
//! | `GET /.well-known/openid-configuration` | RFC 8414 §5 | the same document, [if configured](TokenEndpointBuilder::metadata_at_openid_configuration) |
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::Router;
//! use tower_oauth::{
//!     keys::{Algorithm, PrivateKey},
//!     token_endpoint::{Client, ClientCredentialsGrant, ClientSecret, Clients, TokenEndpoint, TokenFormat},
//! };
//!
//! let (secret, text) = ClientSecret::generate()?; // give `text` to the client; it can't be read again
//! let reports = Client::builder("reports", secret)
//!     .grant_types(["client_credentials"])
//!     .default_scopes(["orders:read"])
//!     .audience("https://api.example.com", TokenFormat::Jwt)
//!     .build()?;
//! let key = PrivateKey::generate(Algorithm::ES256)?;
//! let endpoint = TokenEndpoint::builder("https://auth.example.com", key, Clients::new([reports])?)
//!     .grant(ClientCredentialsGrant::new())
//!     .build()?;
//! let app: Router = Router::new().fallback_service(endpoint);
//! # let _ = (app, text);
//! # Ok(())
//! # }
//! ```
//!
//! The endpoint compares the whole path of a request. Mount it as a fallback, or at each of [`TokenEndpoint::paths`]. To nest
//! it, which removes a part of the path, use [`TokenEndpoint::nested`]. TLS and load limits are layers of the application.
//! CORS is built in: [`TokenEndpointBuilder::allow_origins`].
//!
//! A [`Store`] stores codes and tokens. Default: [`MemoryStore`]. Use `RedisStore` (feature `redis`) or `PostgresStore`
//! (feature `postgres`) for several instances of one issuer, and to keep tokens across restarts. Each instance
//! publishes its [`SigningKeys`] in the store, so instances may sign with different keys.
//!
//! [`TokenEndpointBuilder::customize_tokens`] adds claims of the application to the tokens, or refuses them. A [`Grant`] of the
//! application can do the same, and begin a session with a refresh token. [`TokenEndpoint::verifier`] accepts the tokens in the
//! same process, without HTTP.
//!
//! [`TokenEndpointBuilder::dpop`] binds tokens to a key of the client (RFC 9449), and [`TokenEndpointBuilder::mutual_tls`] to its TLS
//! certificate (RFC 8705), so that a stolen token is of no use.
//!
//! Not included: login, consent, users, dynamic registration. The grants `password` and `implicit` are never offered, and
//! refused with `unsupported_grant_type`. A client that asks for a user's password trains users to reveal it, and bypasses a
//! second factor (RFC 9700 §2.4). Tokens in a URL leak (RFC 9700 §2.1.2).

mod builder;
mod client;
mod endpoints;
mod events;
mod grant;
mod http;
mod keys;
mod once;
mod origins;
mod proofs;
mod record;
mod services;
mod sessions;
mod signer;
mod store;
mod texts;
mod token_content;
mod verifier;

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use http_body::Body;
use tower_service::Service;

#[cfg(feature = "http-client")]
pub use self::client::documents::{ClientDocuments, ClientDocumentsBuilder};
use self::endpoints::{Mount, ServerState};
#[cfg(feature = "postgres")]
pub use self::store::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use self::store::{RedisStore, RedisStoreBuilder};
pub use self::{
    builder::TokenEndpointBuilder,
    client::{
        Client, ClientCredential, TokenFormat,
        builder::ClientBuilder,
        change_error::{ClientChangeError, RenewedWithOldId},
        peer::Peer,
        registry::{ClientRegistry, Clients, LookupPurpose},
        secret::{ClientSecret, TokenHash},
        stored::StoredClients,
    },
    endpoints::{
        authorization_error::{AuthorizationError, DenialReason},
        authorize::AuthorizationRequest,
        customize::Issuance,
        introspect::OwnToken,
    },
    events::{Event, EventKind},
    grant::{AuthorizationCodeGrant, ClientCredentialsGrant, Grant, Granted, RefreshTokenGrant, TokenRequest},
    http::{
        error::{TokenError, TokenErrorKind},
        response::ResponseBody,
    },
    keys::KeyRotationError,
    sessions::Session,
    signer::SigningKeys,
    store::{
        AddCode, ClientSaved, ClientStore, EndSession, FindAccess, FindClient, FindCode, FindSession, FirstRefresh,
        FoundAccess, FoundCode, FoundSession, InsertSeen, Issue, Issued, KeyPublished, ListClients, ListKeys,
        ListSessions, ListedSession, MemoryStore, MemoryStoreBuilder, NewAccess, Partition, Presented, PublishKey,
        PublishedKey, Record, Redeem, Redeemed, Refresh, Refreshed, RemoveClient, RevokeAccess, SaveClient, Seen,
        SessionId, SessionIndex, Store, StoreError, Successor, Timestamp, WithdrawKey, Written,
    },
    token_content::TokenContent,
    verifier::EndpointVerifier,
};
/// A token endpoint and the endpoints that belong to it, as a tower service. See the [module docs](self). Clones share all
/// state.
#[derive(Clone)]
pub struct TokenEndpoint {
    inner: Arc<ServerState>,
    mount: Mount,
}

impl TokenEndpoint {
    /// Returns a builder for an endpoint that issues tokens as `issuer`, signs with `keys`, and serves `clients`.
    ///
    /// `issuer` is the `iss` of the tokens: an `https` URL without query and fragment (RFC 8414 §2), or plain `http` on a
    /// loopback address.
    pub fn builder(
        issuer: impl Into<String>,
        keys: impl Into<SigningKeys>,
        clients: impl ClientRegistry,
    ) -> TokenEndpointBuilder {
        TokenEndpointBuilder::new(issuer.into(), keys.into(), clients)
    }

    /// Returns the paths of the endpoints. Each path is complete.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.inner.paths.iter()
    }

    /// Returns the same endpoint for a router that removes the issuer's own path from requests, as axum's `nest_service` does.
    ///
    /// The path of the metadata is not below the issuer's path (RFC 8414 §3.1), so mount it too:
    ///
    /// ```
    /// # fn example(endpoint: tower_oauth::token_endpoint::TokenEndpoint) -> axum::Router {
    /// // The issuer is https://example.com/auth
    /// axum::Router::new()
    ///     .nest_service("/auth", endpoint.nested())
    ///     .route_service("/.well-known/oauth-authorization-server/auth", endpoint)
    /// # }
    /// ```
    #[must_use]
    pub fn nested(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), mount: Mount::Nested }
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
        ResponseFuture(Box::pin(inner.respond(parts, body, self.mount)))
    }
}

/// The future of [`TokenEndpoint`].
#[must_use = "futures do nothing unless polled"]
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
