//! For tests (feature `test-util`): an issuer without sockets, forged tokens, DPoP proofs, and a clock that a test moves.
//!
//! Do not use this module in a server: code with a [`MockIssuer`] can issue tokens for every user.
//!
//! # A test to copy
//!
//! ```
//! # tower_oauth::scopes! { pub OrdersRead = "orders:read"; }
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt as _;
//! use tower_oauth::{OAuthLayer, Scoped, testing::MockIssuer};
//!
//! fn app(layer: OAuthLayer) -> Router {
//!     Router::new().route("/orders", get(|_: Scoped<OrdersRead>| async { "[]" })).layer(layer)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = MockIssuer::new("https://auth.test");
//! let app = app(OAuthLayer::new(issuer.verifier("https://api.test")));
//! let get = |token: String| {
//!     Request::get("/orders").header("authorization", format!("Bearer {token}")).body(Body::empty())
//! };
//!
//! let reader = issuer.token("ada").audience("https://api.test").scope("orders:read").sign();
//! assert_eq!(app.clone().oneshot(get(reader)?).await?.status(), StatusCode::OK);
//!
//! let without_scope = issuer.token("ada").audience("https://api.test").sign();
//! assert_eq!(app.clone().oneshot(get(without_scope)?).await?.status(), StatusCode::FORBIDDEN);
//!
//! // Every known forgery of this token:
//! for forgery in issuer.token("ada").audience("https://api.test").scope("orders:read").forgeries() {
//!     let status = app.clone().oneshot(get(forgery.token().to_owned())?).await?.status();
//!     assert!(matches!(status.as_u16(), 400 | 401), "{forgery}: {status}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # A test with DPoP
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt as _;
//! use tower_oauth::{
//!     OAuthLayer, ResourceServer, Token,
//!     dpop::Dpop,
//!     extract::SenderConstrained,
//!     testing::{MockIssuer, ProofKey},
//! };
//!
//! fn app(server: ResourceServer) -> Router {
//!     let pay = get(|_: SenderConstrained<Token>| async { "paid" });
//!     Router::new().route("/payments", pay).layer(OAuthLayer::from_server(server))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = MockIssuer::new("https://auth.test");
//! let server = ResourceServer::builder(issuer.verifier("https://api.test")).dpop(Dpop::new("https://api.test")).build()?;
//! let app = app(server);
//!
//! let key = ProofKey::new();
//! let token = issuer.token("ada").bound_to(&key).sign();
//! let get = |proof: &str| {
//!     let request = Request::get("/payments").header("authorization", format!("DPoP {token}"));
//!     request.header("dpop", proof).body(Body::empty())
//! };
//! let proof = || key.proof("GET", "https://api.test/payments").token(&token);
//! let good = proof().sign();
//! assert_eq!(app.clone().oneshot(get(&good)?).await?.status(), StatusCode::OK);
//! assert_eq!(app.clone().oneshot(get(&good)?).await?.status(), StatusCode::UNAUTHORIZED, "the same proof again");
//!
//! let of_another_client = ProofKey::new().proof("GET", "https://api.test/payments").token(&token).sign();
//! assert_eq!(app.clone().oneshot(get(&of_another_client)?).await?.status(), StatusCode::UNAUTHORIZED);
//!
//! // Every known defect of this proof, and unusual proofs that clients send:
//! for forgery in proof().forgeries() {
//!     assert_eq!(app.clone().oneshot(get(forgery.proof())?).await?.status(), StatusCode::UNAUTHORIZED, "{forgery}");
//! }
//! for variant in proof().good_variants() {
//!     assert_eq!(app.clone().oneshot(get(variant.proof())?).await?.status(), StatusCode::OK, "{variant}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`described`] compares an OpenAPI document with the API. [`TestToken`] puts a token directly into a request, without a key. [`TestRequest`] tests a
//! [`Verify`](crate::verify::Verify) of your own.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption should stop the test"
)]

mod clock;
mod described;
mod encode;
mod forgeries;
#[cfg(fuzzing)]
pub mod fuzzing;
mod issuer;
mod openapi_document;
mod proof_forgeries;
mod proof_key;
mod replay_store_conformance;
#[cfg(feature = "token-endpoint")]
mod store_conformance;
#[cfg(feature = "token-endpoint")]
mod store_requests;
mod test_request;
mod test_token;
mod token_builder;
mod vectors;

pub use self::{
    clock::ManualClock,
    described::{Drift, DriftKind, Drifts, described},
    forgeries::Forgery,
    issuer::MockIssuer,
    proof_forgeries::{ProofForgery, ProofVariant},
    proof_key::{ProofBuilder, ProofKey},
    replay_store_conformance::{replay_key, replay_store_conformance},
    test_request::TestRequest,
    test_token::{InjectToken, InjectTokenLayer, TestToken},
    token_builder::TokenBuilder,
    vectors::{open_jws, open_jws_with_secret},
};
#[cfg(feature = "token-endpoint")]
pub use self::{
    store_conformance::{client_store_conformance, store_conformance},
    store_requests::StoreRequests,
};
