//! Amazon Cognito: a user pool.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).

use super::{Profile, claims};
use crate::{
    acts_for::ActsFor,
    claims::{Facts, acting::subject_and_client},
};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| builder.accept_plain_jwt_type(),
    check: |facts| {
        let provider = claims::ProviderClaims::of(facts)?;
        claims::require(claims::is(provider.token_use.as_ref(), "access"), "the claim token_use with the value access")
    },
    recognizes_id_tokens: true,
    acts_for,
    groups: Some(&["cognito:groups"]),
    audience: |facts| facts.client_id().map(str::to_owned),
    ..Profile::RFC9068
};

/// Only users' tokens have `username`.
fn acts_for(facts: &Facts) -> ActsFor {
    let Some((subject, client)) = subject_and_client(facts) else { return ActsFor::Unknown };
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    claims::user_or_client(provider.username.as_ref(), subject == client)
}
