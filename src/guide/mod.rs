//! Guides.
//!
//! - [`getting_started`]: from an empty folder to a protected handler with a claim of your own and a test
//! - [`refusals`]: why 401, 403 or 503, and what to do
//! - [`handlers`]: tokens and scopes in handlers, anonymous requests, layers, bearer methods
//! - [`claims`]: roles, groups and claims of your own; users and clients
//! - [`issuers`]: issuers and their keys: start, rotation, outages
//! - [`opaque_tokens`]: tokens that only their issuer understands: introspection
//! - [`caching`]: caching of verdicts, and what it costs
//! - [`tenants`]: several issuers, and tenants in the path, in the host or by issuer
//! - [`testing`]: tests of your API without a server
//! - [`providers`]: the preset, the audience and the settings for each provider, with whole programs
//! - [`mcp`]: protect an MCP server
//! - [`streams`]: WebSockets and server-sent events that end with their token
//! - [`grpc`]: tonic servers: per service, per method, streams, gRPC-Web
//! - [`openapi`]: scopes in the OpenAPI document of your API
//! - [`sender_constrained`]: tokens that are bound to a key or a certificate: DPoP and mutual TLS
#![cfg_attr(feature = "token-endpoint", doc = "- [`issuing_tokens`]: the token endpoint: clients, grants, stores")]
#![cfg_attr(
    feature = "token-endpoint",
    doc = "- [`clients`]: clients of other projects with the token endpoint, and a program to try them"
)]
//! - [`operations`]: running an API: deployment, proxies, limits, log events, metrics, alerts, upgrades
#![cfg_attr(
    feature = "token-endpoint",
    doc = "- [`running`]: running the token endpoint: several instances, changes without downtime, alerts"
)]
//! - [`other_crates`]: coming from jwt-authorizer, axum-jwt-auth, oauth-resource-server or tower-oauth2-resource-server
//! - [`security`]: what this crate promises, and what it does not

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = "Which refusal a request gets, and why."]
#[doc = ""]
#[doc = include_str!("pictures/refusal.svg")]
#[doc = ""]
#[doc = include_str!("refusals.md")]
pub mod refusals {}

#[doc = "How handlers get their tokens."]
#[doc = ""]
#[doc = include_str!("pictures/request.svg")]
#[doc = ""]
#[doc = include_str!("handlers.md")]
pub mod handlers {}

#[doc = include_str!("claims.md")]
pub mod claims {}

#[doc = include_str!("issuers.md")]
pub mod issuers {}

#[doc = include_str!("opaque_tokens.md")]
pub mod opaque_tokens {}

#[doc = include_str!("caching.md")]
pub mod caching {}

#[doc = include_str!("tenants.md")]
pub mod tenants {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("providers.md")]
pub mod providers {
    #[doc = include_str!("providers/auth0.md")]
    pub mod auth0 {}

    #[doc = include_str!("providers/clerk.md")]
    pub mod clerk {}

    #[doc = include_str!("providers/cognito.md")]
    pub mod cognito {}

    #[doc = include_str!("providers/entra_id.md")]
    pub mod entra_id {}

    #[doc = include_str!("providers/firebase.md")]
    pub mod firebase {}

    #[doc = include_str!("providers/keycloak.md")]
    pub mod keycloak {}

    #[doc = include_str!("providers/okta.md")]
    pub mod okta {}

    #[doc = include_str!("providers/supabase.md")]
    pub mod supabase {}
}

#[doc = include_str!("mcp.md")]
pub mod mcp {}

#[doc = include_str!("streams.md")]
pub mod streams {}

#[doc = include_str!("grpc.md")]
pub mod grpc {}

#[doc = include_str!("openapi.md")]
pub mod openapi {}

#[doc = include_str!("sender_constrained.md")]
pub mod sender_constrained {}

#[cfg(feature = "token-endpoint")]
#[doc = "How tokens are issued."]
#[doc = ""]
#[doc = include_str!("pictures/code.svg")]
#[doc = ""]
#[doc = include_str!("issuing_tokens.md")]
pub mod issuing_tokens {}

#[cfg(feature = "token-endpoint")]
#[doc = include_str!("clients.md")]
pub mod clients {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[cfg(feature = "token-endpoint")]
#[doc = include_str!("running.md")]
pub mod running {}

#[doc = include_str!("other_crates.md")]
pub mod other_crates {}

#[doc = include_str!("security.md")]
pub mod security {}
