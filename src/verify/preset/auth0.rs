//! Auth0: tokens of its default profile, and of its RFC 9068 profile.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).

use super::{Profile, claims};
use crate::{
    acts_for::ActsFor,
    claims::{Facts, acting::subject_and_client},
    verify::OptionalClaim,
};

pub(super) const DEFAULT: Profile = Profile {
    relax: |builder| builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).client_claim("azp"),
    acts_for,
    ..Profile::RFC9068
};

pub(super) const RFC9068: Profile = Profile { acts_for, ..Profile::RFC9068 };

/// The `sub` of a client's own token is the client id with `@clients` appended.
fn acts_for(facts: &Facts) -> ActsFor {
    let Some((subject, client)) = subject_and_client(facts) else { return ActsFor::Unknown };
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    match subject.strip_suffix("@clients") {
        Some(id) if id == client => ActsFor::Client,
        Some(_) => ActsFor::Unknown,
        None if subject == client || claims::is(provider.gty.as_ref(), "client-credentials") => ActsFor::Unknown,
        None => ActsFor::User,
    }
}
