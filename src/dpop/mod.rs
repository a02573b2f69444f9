//! DPoP: proofs that a client has the key of its token (RFC 9449).
//!
//! *In*: the headers of a request. *Out*: the key that the client has proven, or what is wrong with its proof.

mod check;
mod nonce;
mod proof;
mod replay;
mod target;

#[expect(unused_imports, reason = "the resource server does not use them yet")]
pub(crate) use self::{
    check::{CheckedProof, DPOP, DPOP_NONCE, ExpectedProof, ProofDefect, ProofRules},
    nonce::Nonces,
    target::{BaseUrl, same_target},
};
pub use self::{nonce::NonceSecret, replay::ReplayKey};
