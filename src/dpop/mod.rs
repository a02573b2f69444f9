//! DPoP: proofs that the sender of a token has the key that the token is bound to (RFC 9449).
//!
//! *In*: the head of a request, and the thumbprint of the key that its token is bound to. *Out*: whether the proof is good and
//! is used for the first time.
//!
//! A stolen bearer token is good until it expires. A token that is bound to a key (`cnf` with `jkt`) is useless without the key:
//! the client sends it as `Authorization: DPoP`, with a proof in the header `DPoP`. A proof is a small JWT that the client signs
//! for one method and URL, and for this token.
//!
//! ```
//! # fn main() -> Result<(), tower_oauth::ConfigError> {
//! # let verifier = tower_oauth::testing::MockIssuer::new("https://auth.test").verifier("https://api.example.com");
//! use tower_oauth::{OAuthLayer, ResourceServer, dpop::Dpop};
//!
//! let dpop = Dpop::new("https://api.example.com"); // how clients reach the API
//! let server = ResourceServer::builder(verifier).dpop(dpop).build()?;
//! let layer = OAuthLayer::from_server(server);
//! # let _ = layer;
//! # Ok(()) }
//! ```
//!
//! The checks, in this order: the token; exactly one proof of at most 8 KiB; its header (`typ`, `alg`, `jwk`); the thumbprint of
//! its key, which must be that of the token, so that no signature is checked with any other key; the signature; `jti`, `htm`,
//! `htu`, `ath`; `iat` or the nonce; and last, that the proof was not used before. So a request that is refused does not use its
//! proof up. A proof whose request a handler refuses is used up.
//!
//! Proofs are checked outside of the verifiers, so a hit of [`Cached`](crate::Cached) needs a proof like every other request. Two
//! [`OAuthLayer`](crate::OAuthLayer)s on one route accept the same proof of one request if they share a server, or have clones of
//! one [`Dpop`].
//!
//! A server keeps the parsed keys of the 1000 clients that were seen last, at most 4 MB. Only keys that a token is bound to are
//! kept.
//!
//! What is *not* done: the crate makes no proofs for clients, except in tests
#![cfg_attr(feature = "test-util", doc = "([`ProofKey`](crate::testing::ProofKey)).")]
#![cfg_attr(not(feature = "test-util"), doc = "(`ProofKey`, feature `test-util`).")]

mod check;
mod known_keys;
mod nonce;
mod proof;
mod replay;
mod settings;
mod target;

#[cfg(feature = "redis-replay")]
pub use self::replay::{RedisReplayStore, RedisReplayStoreBuilder};
#[cfg(fuzzing)]
pub(crate) use self::target::BaseUrl;
pub(crate) use self::{
    check::{CheckedProof, DPOP, DPOP_NONCE, ProofDefect},
    settings::ProofChecker,
};
#[cfg(any(fuzzing, feature = "token-endpoint"))]
pub(crate) use self::{
    check::{ExpectedProof, ProofRules},
    known_keys::KnownKeys,
    nonce::Nonces,
    target::same_target,
};
pub use self::{
    nonce::NonceSecret,
    replay::{Insertion, InsertionFuture, MemoryReplayStore, ReplayError, ReplayKey, ReplayStore, Sighting},
    settings::Dpop,
};
