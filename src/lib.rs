//! Makes an HTTP API an OAuth 2.0 **resource server**: one [tower](tower_layer) layer checks the bearer token of every
//! request, and axum handlers say in their signatures which scopes they need. Tokens are JWT access tokens by
//! [RFC 9068], checked here against the keys of an [`Issuer`], or opaque ones that the issuer is asked about by [RFC 7662].
//! Refusals are worded by [RFC 6750]. It fails closed: no token, no handler.
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
//! let issuer = Issuer::builder("https://auth.example.com").build()?; // its keys are fetched when they are needed
//! let verifier = JwtVerifier::new(issuer, "https://api.example.com")?;
//! let app: Router = Router::new().route("/orders", get(list)).layer(OAuthLayer::new(verifier));
//! # Ok(()) }
//! # #[cfg(not(all(feature = "axum", feature = "http-client")))] fn main() {}
//! ```
//!
//! `cargo run --example quickstart` runs such a program. The README has a custom claim, a test to copy and the table of
//! answers. The rest of this page is the map of the house.
//!
//! # The house
//!
//! ```text
//!                     request                                              response
//!                        │                                                     ▲
//!  4  the rooms      ┌───┼──────────────── extract ──────── handler ───────────┼───┐  Token · Scoped<S> · InRole<R> · Claims<T>
//!  3  the hall       │   ▼  layer ──► server ──► inner service ──► layer       │   │  OAuthLayer · ResourceServer
//!  2  the study      │  verify: jwt · introspection · mixed · cached   step_up     │  Verify · StepUp
//!  1  the windows    │        issuer · keys · fetch · jws · clock · log            │  the only network, clock, crypto
//!  0  the foundation │        scope · role · error · credentials · claims · acts_for · token · challenge
//!                    └─────────────────────────────────────────────────────────────┘
//!     annexe: token_endpoint (stands on 0 and 1 only)      workshop: testing (may use all, used by none)
//! ```
//!
//! Inward: credentials (what the request presented) → [`Verify`] (is it true?) → [`Token`] (verified facts) →
//! [`Scoped`] (permission held) → handler. Outward: [`AuthError`] (a value, from anywhere inside) → [`Challenge`]
//! (status and `WWW-Authenticate`, written once, by the layer on the way out).
//!
//! | floor | modules | |
//! |---|---|---|
//! | 4 rooms | `extract` | What a handler asks for in its signature. |
//! | 3 hall | `server`, [`layer`] | Where HTTP comes in and leaves; all configuration of it. |
//! | 2 study | `verify`, `step_up` | Is this token true, and was the person asked recently and strongly enough? |
//! | 1 windows | `issuer`, [`keys`], `fetch`, `jws`, `clock`, `log` | The only code that knows cryptography, the network, files, time and the log. |
//! | 0 foundation | `scope`, `role`, `error`, `credentials`, `claims`, `acts_for`, `token`, `challenge` | Plain values: no I/O, no clock, no framework. |
//! | annexe | [`token_endpoint`](token_endpoint/index.html) | Issues tokens; stands on the first two floors, and nothing stands on it. |
//! | workshop | [`testing`](testing/index.html) | An issuer without sockets, forged tokens, a clock to turn by hand. |
//!
//! A module imports only from its own floor or a lower one; a test reads the sources and fails otherwise.
//!
//! # Follow one request
//!
//! 1. `OAuth::call` (`layer/mod.rs`) takes the request and hands its head to `ResourceServer::judge` (`server.rs`).
//! 2. `Credentials::read` (`credentials.rs`) finds exactly one token, presented in exactly one of the ways that are open.
//! 3. [`Verify::verify`] judges it. [`Cached`] has the verdict already, if it's lucky (`verify/cached/mod.rs`);
//!    [`JwtOrOpaque`] chooses who judges. [`JwtVerifier`] does so at once, in `Rules::judge` (`verify/jwt/mod.rs`):
//!    `Compact::split`, `JoseHeader::parse`, `KeySet::candidates`, `Compact::is_signed_by`, `Facts::parse`, and only then
//!    `Rules::check_claims`. Only a token whose `kid` is unknown waits, for a refresh of the issuer's keys
//!    (`RemoteKeys::seek`, `keys/remote/mod.rs`). [`IntrospectionVerifier`] asks the issuer (`Rules::introspect`,
//!    `verify/introspection/mod.rs`). Whoever waits answers [`Verdict::Later`], and `ResponseFuture`
//!    (`layer/future.rs`) holds the request until the verdict is there.
//! 4. `ResourceServer::hide_credentials` marks the header that the token came in as sensitive.
//! 5. `Door::admit` lets the verdict pass `ResourceServer::settle`, which adds the [`ScopeHierarchy`], and puts the
//!    [`Token`] into the request's extensions. Only then is the inner service called.
//! 6. An extractor (`extract.rs`) takes the token from there, with `admitted`, and makes the evidence: [`Token::require`]
//!    gives a [`Scoped`], [`Token::require_role`] an [`InRole`]. If it can't, it answers an [`AuthError`].
//! 7. The response leaves through `Door::see_out` (`layer/refusal.rs`), which leaves a handler's answer alone, but for
//!    `Cache-Control: private` where a cookie, the query or another header may carry tokens. A refusal from further in
//!    goes to `Door::refuse`, like one of the steps before.
//! 8. `Door::refuse` asks [`ResourceServer::challenge`] for the [`Challenge`], has the body rendered
//!    ([`layer::RenderBody`]), and puts the [`AuthError`] into the response's extensions for layers further out.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `aws-lc-rs` | yes | Signatures by aws-lc-rs, with keys parsed once. Wins where `rust-crypto` is on as well. |
//! | `rust-crypto` | | Signatures by RustCrypto through jsonwebtoken, for those who can't build C (they leave `http-client` out, too). No ES512, no RSA over 4096 bits, and slower. |
//! | `axum` | yes | Extractors for axum 0.8, through axum-core. |
//! | `http-client` | yes | [`HttpClient`](struct.HttpClient.html): fetching issuers' metadata and keys, with reqwest and rustls, whose aws-lc-rs needs a C compiler. Without it, bring a [`Fetch`]. |
//! | `tracing` | | Events through `tracing`, under the target `tower_oauth`. |
//! | `metrics` | | Counters, a gauge and a histogram through the `metrics` facade, under `tower_oauth_`: decisions, refreshes, age of keys, unknown kids, waits, questions to the issuer, what a cache had. |
//! | `test-util` | | [`testing`](testing/index.html): `MockIssuer`, forged tokens, `ManualClock`, `TestToken`. |
//! | `token-endpoint` | | [`token_endpoint`](token_endpoint/index.html): tokens, introspection, revocation, a key set and metadata of your own. |
//! | `redis` | | `token-endpoint`, and [`RedisStore`](token_endpoint/struct.RedisStore.html), for several instances of one issuer; TLS by rustls with aws-lc, which needs a C compiler. |
//! | `postgres` | | `token-endpoint`, and [`PostgresStore`](token_endpoint/struct.PostgresStore.html), the same in PostgreSQL, its migrations included. |
//!
//! One of the two crypto features must be on. No other feature changes an answer until code asks for it.
//!
//! # Where to go on
//!
//! - [`layer`]: the layer, anonymous routes, bodies of refusals, gRPC
//! - [`ResourceServerBuilder`]: realm, other ways to present a token, scopes that include others
//! - [`Preset`]: Auth0, Okta, Entra ID, Cognito, Keycloak, Zitadel and others, and what is lost by each
//! - [`JwtVerifierBuilder`]: other issuers that don't follow RFC 9068, and what each relaxation costs
//! - [`IntrospectionVerifierBuilder`]: opaque tokens, how we authenticate, and what answers may lack
//! - [`Cached`], [`JwtOrOpaque`]: verdicts that are kept, both kinds of tokens behind one layer
//! - [`InRole`]: roles, groups and entitlements
//! - [`IssuerBuilder`]: how keys are fetched, kept fresh, and used while the issuer is down
//! - [`keys`]: key sets from JSON, PEM, DER and files, shared secrets, and private keys to sign with
//! - [`Verify`]: a verifier of your own
//! - [`token_endpoint`](token_endpoint/index.html): issuing tokens without an identity product
//! - [`testing`](testing/index.html): a test to copy
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
mod credentials;
pub mod error;
mod json;
pub mod role;
pub mod scope;
mod sync;
mod token;
mod url;
// Floor 1, infrastructure: the only code that uses cryptography, the network, files, time and the log.
pub mod clock;
pub mod fetch;
pub mod issuer;
mod jws;
pub mod keys;
mod log;
// Floor 2, verification: is this token valid?
pub mod step_up;
pub mod verify;
// Floor 3, HTTP.
pub mod layer;
pub mod server;
// Floor 4, extractors.
#[cfg(feature = "axum")]
pub mod extract;
// The authorization server: uses floors 0 and 1 only.
#[cfg(feature = "token-endpoint")]
pub mod token_endpoint;
// For tests: may use everything, and nothing uses it.
#[cfg(feature = "test-util")]
pub mod testing;

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
