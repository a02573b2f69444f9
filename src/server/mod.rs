//! [`ResourceServer`]: all settings of the HTTP side, and the checks of one request.
//!
//! *In*: a request's head, or a bare token. *Out*: a [`Token`](crate::Token), or an [`AuthError`](crate::AuthError) and the
//! [`Challenge`](crate::challenge::Challenge), which says what the client has to do next.
//!
//! It works without tower. [`OAuthLayer`](crate::OAuthLayer) uses it as a layer.
//!
//! ```
//! # async fn example(verifier: tower_oauth::JwtVerifier, request: http::Request<()>) -> Result<(), tower_oauth::ConfigError> {
//! use tower_oauth::ResourceServer;
//!
//! let server = ResourceServer::builder(verifier).realm("orders").build()?;
//! let (head, _) = request.into_parts();
//! match server.authenticate(&head).await {
//!     Ok(token) => println!("{} scopes", token.scopes().iter().count()),
//!     Err(error) => println!("{}", server.challenge(&error).status()),
//! }
//!
//! // A token from a WebSocket message or a queue:
//! let token = server.authenticate_token("eyJhbGciOi...").await;
//! # Ok(())
//! # }
//! ```

mod anonymous;
mod builder;
pub(crate) mod resource_server;
mod sender;
mod sender_settings;

pub(crate) use self::anonymous::Anonymous;
pub use self::builder::ResourceServerBuilder;
pub(crate) use self::resource_server::{ResourceServer, VerificationTimeout};
pub(crate) use self::sender::{CheckedSender, SenderFuture, SenderVerdict};
