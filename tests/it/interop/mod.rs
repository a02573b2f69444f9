//! Issuers and clients of others, as their users run them.

pub(crate) mod oidc_provider;
#[cfg(feature = "token-endpoint")]
pub(crate) mod real_clients;
mod real_issuers;
// The programs are built with all features, so the other backend would do the same again.
#[cfg(all(feature = "aws-lc-rs", feature = "token-endpoint"))]
mod sender_constrained_clients;
