//! ID tokens, where their type doesn't distinguish them from access tokens.
//!
//! *In*: the facts of a token. *Out*: nothing, or the refusal of an ID token.

use crate::{
    claims::Facts,
    error::{AuthError, Reason},
};

/// Refuses a token with a claim that only ID tokens have (OpenID Connect Core §2, §3.3.2.11).
pub(super) fn refuse_id_token(facts: &Facts) -> Result<(), AuthError> {
    facts.id_token_claim.map_or(Ok(()), |claim| Err(id_token_error(claim)))
}

/// The refusal of a token with a claim that only ID tokens have.
pub(super) fn id_token_error(claim: &str) -> AuthError {
    let found = format!("the claim {claim}, which ID tokens have");
    Reason::NotAnAccessToken.because(found, "an access token, without nonce, at_hash and c_hash", CHANGE)
}

const CHANGE: &str = "send an access token for this API, not the ID token; if the issuer's access tokens have this claim, use \
                      the issuer's preset or danger_accept_id_tokens";
