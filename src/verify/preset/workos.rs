//! WorkOS AuthKit: the tokens of sessions and of machine-to-machine applications.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the session token and its key set for each client (workos.com, "Session tokens"). From memory: the `typ` of the
//! header, and that the `sub` of a machine-to-machine application is its client id, which begins with `client_`.

use super::{Profile, claims};
use crate::{acts_for::ActsFor, claims::Facts, error::AuthError, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder
            .accept_plain_jwt_type()
            .accept_without(OptionalClaim::JwtId)
            .accept_without(OptionalClaim::ClientId)
            .danger_accept_missing_audience()
    },
    check,
    acts_for,
    audience: |facts| facts.client_id().map(str::to_owned),
    ..Profile::RFC9068
};

/// An ID token has neither `sid` nor the client as `sub`.
fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    let is_machine = facts.subject().is_some_and(|subject| claims::has_prefix(subject, "client_"));
    claims::require(claims::has_text(provider.sid.as_ref()) || is_machine, "the claim sid, or a sub that is a client")
}

fn acts_for(facts: &Facts) -> ActsFor {
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    match (facts.subject(), provider.sid.is_some()) {
        (Some(subject), true) if claims::has_prefix(subject, "user_") => ActsFor::User,
        (Some(subject), false) if claims::has_prefix(subject, "client_") => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}
