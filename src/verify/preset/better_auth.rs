//! better-auth: the JWT plugin, and JWT access tokens of its OAuth provider.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the header and the claims of both (better-auth/better-auth, `plugins/jwt/sign.ts` and `oauth-provider`). The
//! OAuth provider signs with the key of the JWT plugin, and leaves out `sub` if there is no user.

use super::{Profile, claims};
use crate::{
    acts_for::ActsFor,
    claims::Facts,
    error::{AuthError, Reason},
    verify::OptionalClaim,
};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder
            .accept_plain_jwt_type()
            .accept_without(OptionalClaim::JwtId)
            .accept_without(OptionalClaim::ClientId)
            .accept_without(OptionalClaim::Subject)
            .client_claim("azp")
    },
    check,
    acts_for,
    ..Profile::RFC9068
};

fn check(facts: &Facts) -> Result<(), AuthError> {
    if claims::names(facts.subject()) || claims::names(facts.client_id()) {
        return Ok(());
    }
    Err(Reason::MissingClaim("sub").because("no sub and no azp", "sub or azp", claims::OTHER_KIND))
}

/// The JWT plugin issues tokens for the user of a session only; they have no client.
fn acts_for(facts: &Facts) -> ActsFor {
    match (facts.subject().filter(|subject| !subject.trim().is_empty()), facts.client_id()) {
        (None, client) if claims::names(client) => ActsFor::Client,
        (Some(subject), Some(client)) if subject == client => ActsFor::Client,
        (Some(_), _) => ActsFor::User,
        (None, _) => ActsFor::Unknown,
    }
}
