//! For your tests (feature `test-util`): an issuer without sockets, forged tokens, a clock you turn by hand.
//!
//! Nothing here belongs into a program that serves strangers: who holds a [`MockIssuer`] can be anybody.
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
//! let nobody = issuer.token("ada").audience("https://api.test").sign();
//! assert_eq!(app.clone().oneshot(get(nobody)?).await?.status(), StatusCode::FORBIDDEN);
//!
//! // Everything a stranger may try with a token of this kind, in one loop:
//! for forgery in issuer.token("ada").audience("https://api.test").scope("orders:read").forgeries() {
//!     let status = app.clone().oneshot(get(forgery.token().to_owned())?).await?.status();
//!     assert!(matches!(status.as_u16(), 400 | 401), "{forgery}: {status}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Where no key should be involved at all, [`TestToken`] puts a token straight into a request.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption should stop the test"
)]

mod clock;
mod encode;
mod forgeries;
mod issuer;
#[cfg(feature = "token-endpoint")]
mod store_conformance;
mod test_token;
mod token_builder;
mod vectors;

#[cfg(feature = "token-endpoint")]
pub use self::store_conformance::store_conformance;
pub use self::{
    clock::ManualClock,
    forgeries::Forgery,
    issuer::MockIssuer,
    test_token::{InjectToken, InjectTokenLayer, TestToken},
    token_builder::TokenBuilder,
    vectors::{open_jws, open_jws_with_secret},
};
