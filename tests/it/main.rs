//! One binary, because linking the crypto library takes long. A directory for each subject; `tests/README.md` has the map.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod helpers;
mod program;

#[cfg(feature = "token-endpoint")]
use helpers::servers;
use helpers::{fake_issuer, log, material, random, support};

#[cfg(feature = "token-endpoint")]
mod authorization_server;
mod cached;
mod grpc;
mod handlers;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod instances;
mod introspection;
mod issuers;
mod keys;
mod layer;
mod lifetime;
mod mcp_server;
mod metadata;
mod oidc_provider;
mod openapi;
mod presets;
mod programs;
mod protected_api;
#[cfg(feature = "token-endpoint")]
mod real_clients;
mod real_issuers;
mod refusals;
mod repository;
mod requests;
mod sender_constrained;
// The programs are built with all features, so the other backend would do the same again.
#[cfg(all(feature = "aws-lc-rs", feature = "token-endpoint"))]
mod sender_constrained_clients;
#[cfg(feature = "token-endpoint")]
mod token_endpoint;
mod tokens;
