//! FusionAuth: a tenant.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the claims of the access token, of the token of an entity (client credentials) and of the ID token
//! (FusionAuth/fusionauth-site, `tokens.mdx` and `_access-token-claims.mdx`). From memory: the scope of an entity's token
//! begins with `target-entity:`.

use serde_json::Value;

use super::{Profile, claims};
use crate::{acts_for::ActsFor, claims::Facts, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder.accept_plain_jwt_type().accept_without(OptionalClaim::ClientId).client_claim("applicationId")
    },
    acts_for,
    ..Profile::RFC9068
};

/// Every token of a user has `authenticationType`. A lambda may add `permissions` to it.
fn acts_for(facts: &Facts) -> ActsFor {
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    let scope = facts.text(facts.scope.as_ref()).unwrap_or_default();
    let is_entity = provider.permissions.as_ref().is_some_and(Value::is_array) || scope.starts_with("target-entity:");
    let has_login = facts.client_id().is_some() || facts.auth_time.is_some();
    match &provider.authentication_type {
        Some(Value::String(_)) => claims::user_with_subject(facts),
        None if is_entity && !has_login => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}
