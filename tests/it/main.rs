//! One binary, because linking the crypto library takes long. A directory for each subject; `tests/README.md` has the map.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod helpers;

#[cfg(feature = "token-endpoint")]
use helpers::servers;
use helpers::{fake_issuer, log, material, program, random, support};

mod cached;
mod grpc;
mod handlers;
mod interop;
mod introspection;
mod issuers;
mod keys;
mod layer;
mod lifetime;
mod metadata;
mod openapi;
mod presets;
mod programs;
mod refusals;
mod repository;
mod requests;
mod sender_constrained;
#[cfg(feature = "token-endpoint")]
mod token_endpoint;
mod tokens;
