//! Supabase Auth: a project.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the claims and that `role` and `session_id` are in each token of a user (supabase.com, "JWT Claims Reference";
//! supabase/auth, `AccessTokenClaims` and `IDTokenClaims`). From memory: the ID tokens of its OAuth server lack both claims.

use serde_json::Value;

use super::{Profile, claims};
use crate::{acts_for::ActsFor, claims::Facts, error::AuthError, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).accept_without(OptionalClaim::ClientId)
    },
    check,
    acts_for,
    roles: Some(&["role"]),
    ..Profile::RFC9068
};

fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    let has_both = claims::has_text(provider.session_id.as_ref()) && claims::has_text(provider.role.as_ref());
    claims::require(has_both, "the claims session_id and role, which the token of a user's session has")
}

/// `service_role` and `anon` are the roles of API keys, which act for no user.
fn acts_for(facts: &Facts) -> ActsFor {
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    match provider.role.as_ref().and_then(Value::as_str) {
        None | Some("service_role" | "anon" | "supabase_admin") => ActsFor::Unknown,
        Some(_) => claims::user_with_subject(facts),
    }
}
