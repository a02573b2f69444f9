//! Keys: their formats, key sets, which key verifies a token, and key sets that are fetched.

mod backends;
mod choice;
mod forms;
#[cfg(feature = "rust-crypto")]
mod global_provider;
mod private;
pub(crate) mod remote;
mod sets;
mod weak_points;
mod wycheproof;
