//! Helpers for many tests. `main.rs` gives each a short path.

pub(crate) mod fake_issuer;
pub(crate) mod log;
pub(crate) mod material;
pub(crate) mod not_run;
pub(crate) mod program;
pub(crate) mod random;
#[cfg(feature = "token-endpoint")]
pub(crate) mod servers;
pub(crate) mod support;
