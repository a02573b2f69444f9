//! One binary: linking the crypto library once is dear enough. A module per behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod material;
mod not_run;
mod support;

mod answers;
mod attacks;
#[cfg(feature = "token-endpoint")]
mod authorization_server;
mod backends;
// With the features of the program that it drives.
#[cfg(feature = "aws-lc-rs")]
mod bound_tokens;
mod cached;
mod claims;
#[cfg(all(feature = "redis", feature = "http-client"))]
mod client_documents;
mod cross_site;
mod discovery;
mod dynamic_issuers;
mod explain_token;
mod extension_points;
mod extractors;
mod fake_issuer;
mod floors;
mod forged_proofs;
mod forged_tokens;
mod grpc;
mod http_client;
mod identifiers;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod instances;
mod introspection;
mod introspection_breaker;
mod introspection_endpoint;
mod introspection_limit;
mod introspection_requests;
mod introspection_responses;
mod introspection_signed;
mod issuers;
mod key_choice;
mod key_forms;
mod key_sets;
mod late_refusals;
mod layer;
mod layer_settings;
mod ledger;
mod lifetime;
mod mcp_server;
#[cfg(feature = "metrics")]
mod metrics;
mod mixed;
mod mutual_tls;
mod names;
mod oidc_provider;
mod openapi;
mod outage_log;
mod presets;
mod presets_more;
mod private_keys;
mod proof_keys;
mod properties;
mod protected_api;
mod protected_resource;
mod readme;
#[cfg(feature = "token-endpoint")]
mod real_clients;
mod real_issuers;
mod refusals;
mod relaxations;
mod remote_keys;
mod remote_keys_clocks;
mod remote_keys_rotation;
mod remote_keys_times;
mod replay_stores;
mod reports;
mod requests;
mod roles;
mod root;
mod scopes;
mod secrets;
mod sender_constrained;
// The programs are built with all features, so the other backend would do the same again.
#[cfg(all(feature = "aws-lc-rs", feature = "token-endpoint"))]
mod sender_constrained_clients;
#[cfg(feature = "token-endpoint")]
mod servers;
#[cfg(all(feature = "axum", feature = "token-endpoint"))]
mod systems;
#[cfg(feature = "token-endpoint")]
mod token_endpoint;
mod token_headers;
mod unsent_refusals;
mod weak_points;
mod weakened_checks;
mod websocket;
mod wycheproof;
