//! One binary: linking the crypto library once is dear enough. A module per behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

mod forged_tokens;
