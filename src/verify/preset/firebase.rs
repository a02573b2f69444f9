//! Firebase Authentication and Google Identity Platform: a project.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the rules for `iss`, `aud` and `sub`, and that an ID token is what a client sends to its own server
//! (firebase.google.com, "Verify ID Tokens"). From memory: each token has the object `firebase`, and `nonce`, `at_hash` and
//! `c_hash` are reserved names that no custom claim can have.

use serde_json::Value;

use super::{Profile, claims};
use crate::{claims::Facts, error::AuthError, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).accept_without(OptionalClaim::ClientId)
    },
    check,
    // Firebase has no accounts for machines.
    acts_for: claims::user_with_subject,
    ..Profile::RFC9068
};

fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    claims::require(provider.firebase.as_ref().is_some_and(Value::is_object), "the object firebase")
}
