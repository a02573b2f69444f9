//! Makes an HTTP API an OAuth 2.0 **resource server**: one [tower](tower_layer) layer checks the bearer token of every
//! request, and axum handlers name the scopes they require in their signatures. JWT access tokens ([RFC 9068]) are checked
//! locally with the keys of an [`Issuer`]; for opaque tokens the crate calls the issuer's introspection endpoint
//! ([RFC 7662]). Refusals follow [RFC 6750]. The layer fails closed: without a valid token the handler isn't called.
//!
//! ```no_run
//! # #[cfg(all(feature = "axum", feature = "http-client"))] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tower_oauth::{Issuer, JwtVerifier, OAuthLayer, Scoped};
//!
//! tower_oauth::scopes! {
//!     /// Read any order.
//!     pub OrdersRead = "orders:read";
//! }
//!
//! async fn list(token: Scoped<OrdersRead>) -> String {
//!     format!("the orders of {:?}", token.subject())
//! }
//!
//! let issuer = Issuer::builder("https://auth.example.com").build()?; // the first token fetches its keys
//! let verifier = JwtVerifier::new(issuer, "https://api.example.com")?;
//! let app: Router = Router::new().route("/orders", get(list)).layer(OAuthLayer::new(verifier));
//! # Ok(()) }
//! # #[cfg(not(all(feature = "axum", feature = "http-client")))] fn main() {}
//! ```
//!
//! `cargo run --example quickstart` runs such a program. [`guide::getting_started`] begins in an empty folder.
//!
//! # Guides
//!
//! | start | go on | run |
//! |---|---|---|
//! | [Getting started](guide::getting_started) | [Issuers and keys](guide::issuers) | [Running an API](guide::operations): proxies, limits, logs, metrics |
//! | [Why 401? Why 403? Why 503?](guide::refusals) | [Opaque tokens](guide::opaque_tokens) | [Security model](guide::security) |
//! | [Handlers and scopes](guide::handlers) | [Caching](guide::caching) | [Issuing tokens](guide/issuing_tokens/index.html) |
//! | [Roles and claims](guide::claims) | [Several tenants](guide::tenants) | [Running the token endpoint](guide/running/index.html) |
//! | [Testing your API](guide::testing) | [MCP](guide::mcp), [OpenAPI](guide::openapi) | [From other crates](guide::other_crates) |
//! | [Providers](guide::providers): Keycloak, Auth0, Entra ID, … | [WebSockets and events](guide::streams), [gRPC](guide::grpc), [DPoP and certificates](guide::sender_constrained) | [Clients of other projects](guide/clients/index.html) |
//!
//! # Modules
//!
//! | task | module |
//! |---|---|
//! | Protect routes: anonymous requests, bodies of refusals, required scopes without axum | [`layer`] |
//! | Settings of the server: bearer methods, realm, scopes that include others, use without tower | [`server`] |
//! | Handlers: tokens, scopes, roles, claims, users and clients | [`extract`](extract/index.html), [`scope`], [`role`], [`acts_for`], [`step_up`] |
//! | Check tokens: JWTs, opaque tokens, both, several issuers, a verifier of your own, a cache | [`verify`] |
//! | The issuer, its metadata and keys; key files; how they are fetched | [`issuer`], [`keys`], [`fetch`] |
//! | Tokens that are bound to the client's key or certificate | [`dpop`], [`mutual_tls`], [`confirmation`] |
//! | What clients can learn without a token (RFC 9728) | [`metadata`] |
//! | Streams that end with their token | [`lifetime`] |
//! | The OpenAPI document | [`openapi`] |
//! | Errors and challenges | [`error`], [`challenge`] |
//! | Tests of your API | [`testing`](testing/index.html), [`clock`] |
//! | Issue tokens | [`token_endpoint`](token_endpoint/index.html) |
//!
//! # Features
//!
//! | feature | default | effect |
//! |---|---|---|
//! | `aws-lc-rs` | yes | Signatures by aws-lc-rs. Needs a C compiler. If both crypto features are on, this one is used. |
//! | `rust-crypto` | | Signatures by RustCrypto through jsonwebtoken, for builds without a C compiler (also turn off `http-client`). No ES512, no RSA keys over 4096 bits, and slower. |
//! | `axum` | yes | Extractors for axum 0.8, through axum-core. |
//! | `http-client` | yes | [`HttpClient`](fetch/struct.HttpClient.html), which fetches metadata and keys with reqwest and rustls; its aws-lc-rs needs a C compiler. Without it, implement [`fetch::Fetch`]. |
//! | `tracing` | yes | Events through `tracing`, under the target `tower_oauth`. |
//! | `metrics` | | Metrics through the `metrics` facade. See [`guide::operations`]. |
//! | `test-util` | | [`testing`](testing/index.html): `MockIssuer`, forged tokens, `ProofKey`, `ManualClock`, `TestToken`, `TestRequest`. |
//! | `token-endpoint` | | [`token_endpoint`](token_endpoint/index.html): tokens, introspection, revocation, a key set and metadata of your own. |
//! | `redis-replay` | | [`RedisReplayStore`](dpop/struct.RedisReplayStore.html): several instances of an API share the used DPoP proofs in Redis or Valkey. TLS by rustls with aws-lc, which needs a C compiler. |
//! | `redis` | | `token-endpoint` with [`RedisStore`](token_endpoint/struct.RedisStore.html), for several instances of one issuer. Includes `redis-replay`. |
//! | `postgres` | | `token-endpoint` with [`PostgresStore`](token_endpoint/struct.PostgresStore.html), for several instances of one issuer. It runs its own migrations. |
//!
//! One of the two crypto features must be on. A feature changes no response until your code uses it.
//!
//! [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
//! [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
//! [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068

#![cfg_attr(docsrs, feature(doc_cfg))]

// Floor 0, values: no I/O, no clock, no framework.
pub mod acts_for;
pub mod challenge;
mod claims;
mod config_error;
pub mod confirmation;
mod credentials;
mod cross_site;
pub mod error;
mod json;
pub mod openapi;
pub mod role;
mod scheme;
pub mod scope;
mod sync;
mod token;
mod url;
mod websocket;
// Floor 1, infrastructure: the only code that uses cryptography, the network, files, time and the log.
pub mod clock;
pub mod dpop;
pub mod fetch;
pub mod issuer;
mod jws;
pub mod keys;
mod log;
pub mod mutual_tls;
#[cfg(feature = "redis-replay")]
mod redis_link;
// Floor 2, verification: is this token valid?
pub mod step_up;
pub mod verify;
// Floor 3, HTTP.
pub mod layer;
pub mod lifetime;
pub mod metadata;
pub mod server;
// Floor 4, extractors.
#[cfg(feature = "axum")]
pub mod extract;
// The authorization server: uses floors 0 and 1; its verifier also uses floor 2.
#[cfg(feature = "token-endpoint")]
pub mod token_endpoint;
// For tests: may use everything, and nothing uses it.
#[cfg(feature = "test-util")]
pub mod testing;

pub mod guide;

// What most programs need. Everything else is in the public modules; each type has one public path.
#[cfg(feature = "axum")]
pub use self::extract::{
    acting::{ClientToken, UserToken},
    claims::Claims,
};
pub use self::{
    config_error::ConfigError,
    error::auth_error::AuthError,
    issuer::trusted::Issuer,
    layer::oauth_layer::OAuthLayer,
    metadata::protected_resource::ProtectedResource,
    role::in_role::InRole,
    scope::any_of::AnyOf,
    server::resource_server::ResourceServer,
    token::{Scoped, Token},
    verify::{
        cached::Cached, introspection::IntrospectionVerifier, jwt::JwtVerifier, jwt_or_opaque::JwtOrOpaque,
        preset::Preset,
    },
};

/// The README's programs compile.
#[cfg(all(doctest, feature = "axum", feature = "http-client", feature = "test-util"))]
#[doc = include_str!("../README.md")]
struct Readme;
