//! [`ProtectedResource`]: what clients can learn about an API before they have a token (RFC 9728).
//!
//! *In*: the API's identifier, and texts about it. *Out*: the metadata document, its URL, and the responses at that URL.
//!
//! A client that has no token reads the URL of the document in the challenge (`resource_metadata`), and in the document the
//! authorization servers and scopes. Clients of the Model Context Protocol require it. Everything that the server enforces is
//! derived: the authorization servers and audiences from the verifier, the bearer methods from the server. Identifiers are
//! configured, and never made from a request.
//!
//! *Not* supported: signed metadata (RFC 9728 §2.2).
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use tower_oauth::testing::MockIssuer;
//! # let issuer = MockIssuer::new("https://auth.test").issuer();
//! use axum::{Router, routing::get};
//! use tower_oauth::{JwtVerifier, OAuthLayer, ProtectedResource, Token};
//!
//! let resource = ProtectedResource::builder("https://api.example.com/orders").scopes(["orders:read"]).name("Orders").build()?;
//! let verifier = JwtVerifier::new(issuer, resource.identifier())?;
//! let app: Router = Router::new()
//!     .route("/orders", get(|_: Token| async { "[]" }))
//!     .layer(OAuthLayer::for_resource(resource, verifier)?);
//! // GET /.well-known/oauth-protected-resource/orders needs no token.
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! `Router::nest` cuts its prefix off the path that a layer inside of it sees. There, use the service
//! [`ResourceServer::metadata`](crate::ResourceServer::metadata) as a route of the outer router. It is also for several resources
//! in one program, and for servers without tower.

mod document;
mod human_readable;
mod identifier;
pub(crate) mod protected_resource;
mod response;

pub(crate) use self::document::EnforcedSettings;
pub(crate) use self::protected_resource::ProtectedResource;
pub use self::{document::ResourceMetadata, protected_resource::ProtectedResourceBuilder, response::MetadataBody};
