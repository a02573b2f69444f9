//! Clerk: session tokens, OAuth access tokens and machine-to-machine tokens of an instance.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: session tokens (clerk.com, "Session tokens", version 2); how `azp`, the types `at+jwt` and the prefix `mch_` are
//! treated (clerk/javascript, `verifyJwt`, `verifyOAuthJwt`, `verifyM2MJwt`). From memory: each user's `sub` begins with
//! `user_`; `sts` is `pending` while a user has not finished the tasks after the login, and Clerk's libraries treat such a
//! user as signed out.

use serde_json::Value;

use super::{Profile, claims};
use crate::{acts_for::ActsFor, claims::Facts, error::AuthError, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).accept_without(OptionalClaim::ClientId)
    },
    check,
    acts_for,
    audience,
    ..Profile::RFC9068
};

fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    let is_active = provider.sts.is_none() || claims::is(provider.sts.as_ref(), "active");
    claims::require(is_active, "the session status sts: active, which a session has when the login is complete")?;
    // The ID token of an OAuth application has none of these marks.
    let has_mark = provider.sid.is_some() || provider.azp.is_some() || facts.client_id().is_some();
    let is_machine = facts.subject().is_some_and(|subject| claims::has_prefix(subject, "mch_"));
    claims::require(has_mark || is_machine, "one of the claims sid, azp and client_id, or a sub that is a machine")
}

/// The origin of the web application replaces `aud` in a session token, and the client in an OAuth access token. A custom
/// claim of a session can be named `client_id`, so it doesn't count there.
fn audience(facts: &Facts) -> Option<String> {
    let provider = claims::ProviderClaims::of(facts).ok()?;
    match (provider.sid, provider.azp) {
        (None, None) => facts.client_id().map(str::to_owned),
        (_, Some(Value::String(origin))) => Some(origin),
        _ => None,
    }
}

fn acts_for(facts: &Facts) -> ActsFor {
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    match facts.subject() {
        Some(subject) if claims::has_prefix(subject, "user_") => ActsFor::User,
        Some(subject) if claims::has_prefix(subject, "mch_") && provider.sid.is_none() => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}
