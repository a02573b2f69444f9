//! The layer: checks each request before the inner service, and renders refusals.
//!
//! *In*: any `http::Request<B>`. *Out*: the inner service's response, or a refusal with its challenge.
//!
//! The layer fails closed: it calls the inner service only after a verdict. It puts the [`Token`](crate::Token) into the
//! request's extensions. When an extractor, [`RequireScopesLayer`](require::RequireScopesLayer) or a handler returns an
//! [`AuthError`](crate::AuthError), the layer renders that refusal as well, so that all refusals of a server have
//! one form.
//!
//! ```
//! # fn example(verifier: tower_oauth::JwtVerifier) {
//! use axum::{Router, routing::get};
//! use tower_oauth::{OAuthLayer, Token};
//!
//! let app: Router = Router::new()
//!     .route("/me", get(|token: Token| async move { token.subject().unwrap_or("a client").to_owned() }))
//!     .layer(OAuthLayer::new(verifier));
//! # }
//! ```
//!
//! # Caches
//!
//! Shared caches don't store the response to a request with `Authorization` (RFC 9111 §3.5). They know no other bearer method.
//! If the token of a request came in a cookie, the query, a form or another header, the layer therefore adds `private` to the
//! `Cache-Control` of the handler, unless that has `private`, `no-store` or `public` already. It changes no other response.
//!
//! # The order of layers
//!
//! Put these layers outside of it (added later with `.layer`):
//!
//! - CORS, because a preflight request has no token.
//! - Tracing and access logs, because they should see refusals. [`TokenSlot`] gives them the token of an accepted request.
//! - Limits of concurrency, because a request that waits for its issuer's keys occupies a ready inner service.
//! - A limit of requests for each client address, if any client can send opaque tokens: see
//!   [the guide](crate::guide::operations).
//!
//! [`require::RequireScopesLayer`] and [`require::RequireStepUpLayer`] go inside of it.

mod cache_control;
pub mod form_body;
mod future;
mod grpc;
pub mod late_refusals;
pub(crate) mod oauth_layer;
mod refusal;
mod render;
pub mod require;
pub mod serve_metadata;
mod settings;
mod token_slot;
mod verified_token;

pub use self::{
    future::ResponseFuture,
    oauth_layer::OAuth,
    render::{EmptyBody, ProblemJson, Refusal, RenderBody, RenderedBody},
    token_slot::TokenSlot,
};
#[cfg(feature = "axum")]
pub(crate) use self::{refusal::unrendered_response, verified_token::verified_token};
