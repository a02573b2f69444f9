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
//! `cargo run --example quickstart` runs such a program. The README shows a custom claim, a test to copy, and the table of
//! responses.
//!
//! # Where to find what
//!
//! | task | where |
//! |---|---|
//! | The layer, anonymous routes, bodies of refusals, access logs | [`OAuthLayer`], [`layer`] |
//! | Realm, other bearer methods, scopes that include others, use without tower | [`ResourceServer`], [`server`] |
//! | What clients can learn without a token: protected resource metadata (RFC 9728), for MCP and others | [`ProtectedResource`], [`metadata`] |
//! | Tokens that are bound to a client's certificate: TLS in the program, or in a proxy | [`mutual_tls`] |
//! | Streams and sockets that end with their token; tokens of WebSocket handshakes from browsers | [`lifetime`], [`server::ResourceServerBuilder::accept_websocket_protocol`] |
//! | Handlers: tokens, scopes, roles, claims, users and clients | [`extract`](extract/index.html), [`scope`], [`role`] |
//! | JWTs of Auth0, Entra ID, Keycloak, Supabase, Firebase, Clerk and other providers | [`Preset`], [`guide::providers`], [`verify::JwtVerifierBuilder`] |
//! | Users and clients of an issuer without a preset | [`acts_for::ActingRule`] |
//! | Tokens that are bound to the client's key or certificate: DPoP (RFC 9449), mutual TLS (RFC 8705) | [`guide::sender_constrained`], [`dpop`], [`mutual_tls`] |
//! | Opaque tokens | [`IntrospectionVerifier`] |
//! | Both kinds of tokens; several issuers; tenants | [`JwtOrOpaque`], [`verify::TrustedIssuers`], [`verify::DynamicIssuers`] |
//! | A token of one tenant refused at the paths of another | [`verify::DynamicIssuers`], `examples/tenants.rs` |
//! | Caching of verdicts | [`Cached`] |
//! | How keys are fetched and refreshed, and used while the issuer is down | [`issuer::IssuerBuilder`] |
//! | Key sets from JSON, PEM, DER and files; shared secrets; private keys | [`keys`] |
//! | A recent or strong authentication for some operations | [`step_up`] |
//! | A verifier of your own | [`verify::Verify`] |
//! | Scopes in the OpenAPI document of your API | [`openapi`], `examples/openapi.rs` |
//! | Tests of your API | [`testing`](testing/index.html) |
//! | gRPC with tonic: services, methods, streams, gRPC-Web | [`guide::grpc`], `examples/grpc.rs` |
//! | Issuing tokens | [`token_endpoint`](token_endpoint/index.html) |
//! | Why a request was refused, and what to do | [`guide::refusals`], [`JwtVerifier::explain`] |
//! | An MCP server, GraphQL or JSON-RPC: refusals from inside of a tool or resolver | [`guide::mcp`], [`layer::late_refusals`] |
//! | Log events and metrics | [`guide::operations`] |
//! | Running the token endpoint: several instances, rotation, alerts | [`guide::running`](guide/running/index.html) |
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
//! # The modules, for contributors
//!
//! ```text
//!                   request                                                 response
//!                      │                                                        ▲
//! 4 extractors     ┌───┼───────────── extract ───────────── handler ────────────┼───┐ Token · Scoped<S> · InRole<R> · Claims<T>
//! 3 HTTP           │   ▼   layer ──► server ──► inner service ──► layer         │   │ OAuthLayer · ResourceServer · metadata
//! 2 verification   │   verify: jwt · introspection · jwt_or_opaque · cached      step_up    │ Verify · StepUp
//! 1 infrastructure │   issuer · keys · fetch · jws · dpop · mutual_tls · redis_link · clock…  │ network, clock, crypto
//! 0 values         │   scope · role · error · credentials · claims · token · challenge · …  │
//!                  └────────────────────────────────────────────────────────────────────────┘
//!   token_endpoint (floors 0 and 1; verifier: 2)   testing (may use everything, nothing uses it)
//! ```
//!
//! A module imports only from its own floor or from a lower one, and never in a circle. `tests/it/floors.rs` checks this.
//!
//! One request:
//!
//! 1. `OAuth::call` (`layer/oauth_layer.rs`) lets `ResourceServer::hide_credentials` mark the headers with credentials as
//!    sensitive. Then it passes the request's head to `ResourceServer::verify_request` (`server/resource_server.rs`).
//! 2. `Credentials::from_request` (`credentials.rs`) finds exactly one token, sent by exactly one accepted method.
//! 3. [`verify::Verify::verify`] returns a [`verify::Verdict`]. [`Cached`] returns a stored verdict on a hit
//!    (`verify/cached/mod.rs`). [`JwtOrOpaque`] chooses the verifier. [`JwtVerifier`] checks a JWT at once
//!    (`verify/jwt/mod.rs`): segments, header, key, signature, claims. Only a token that no key fits waits, for a
//!    refresh of the issuer's keys (`keys/remote/mod.rs`). [`IntrospectionVerifier`] calls the issuer
//!    (`verify/introspection/mod.rs`). A verifier that waits returns [`verify::Verdict::Later`], and the layer's
//!    `ResponseFuture` (`layer/future.rs`) holds the request.
//! 4. `LayerState::check_request` (`layer/oauth_layer.rs`) passes a token that is bound, or was sent under the scheme `DPoP`, to
//!    `ResourceServer::check_sender` (`server/sender.rs`). It checks the certificate (`mutual_tls/`) and the proof
//!    (`dpop/check.rs`), and records that the proof was used (`dpop/replay/`); `ResponseFuture` holds the request while a store on the
//!    network records it. `LayerState::accept_request` passes the verdict to `ResourceServer::accept`, which refuses tokens that
//!    are bound and not proven, and adds the [`scope::ScopeHierarchy`]. Then it puts the [`Token`] into the request's extensions
//!    and calls the inner service.
//! 5. An extractor (`extract/`) reads the token from the extensions and makes evidence: [`Token::require`] returns a
//!    [`Scoped`], [`Token::require_role`] an [`InRole`]. If that fails, it returns an [`AuthError`].
//!    Inside of another protocol, [`layer::late_refusals::LateRefusals`] records it, and the layer puts it in the place of the response.
//! 6. The response passes `LayerState::finish_response` (`layer/refusal.rs`). It leaves the response of a handler as it is,
//!    except for `Cache-Control`, `Vary` and `DPoP-Nonce` where they are needed.
//! 7. Every refusal, also one of an extractor or handler, is rendered by `LayerState::refuse`: it gets the
//!    [`challenge::Challenge`] for the scheme and the resource of the request from its server, renders the body ([`layer::RenderBody`]), and puts the
//!    [`AuthError`] into the response's extensions.
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
#[cfg(all(doctest, feature = "axum", feature = "http-client", feature = "test-util", feature = "postgres"))]
#[doc = include_str!("../README.md")]
struct Readme;
