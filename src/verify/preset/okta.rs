//! Okta: a custom authorization server.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).

use super::{Profile, claims};
use crate::{
    acts_for::ActsFor,
    claims::{Facts, acting::subject_and_client},
};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| builder.accept_plain_jwt_type().client_claim("cid").scope_claim("scp"),
    acts_for,
    ..Profile::RFC9068
};

/// Only users' tokens have `uid`.
fn acts_for(facts: &Facts) -> ActsFor {
    let Some((subject, client)) = subject_and_client(facts) else { return ActsFor::Unknown };
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    claims::user_or_client(provider.uid.as_ref(), subject == client)
}
