//! Trusted issuers: the identifier of an authorization server, and its keys.
//!
//! *In*: the identifier, exactly as in the tokens' `iss`, and the keys or their URL.
//! *Out*: an [`Issuer`] for a verifier.
//!
//! A token is checked only with the keys of its own issuer (RFC 8725 §3.8). [`IssuerBuilder`] documents how fetched keys
//! are refreshed, and what happens while the issuer is down.

mod builder;
pub(crate) mod client;
pub(crate) mod discovery;
mod discovery_error;
pub(crate) mod trusted;

pub(crate) use self::trusted::Issuer;
pub use self::{builder::IssuerBuilder, discovery_error::DiscoveryError};
