//! Cloudflare Access: the application token of an Access application.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the tokens of a person and of a service token, `type`, the empty `sub` and `common_name`
//! (developers.cloudflare.com, "Application token"), the header, the cookie and the address of the keys ("Validate JWTs").

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
            .client_claim("common_name")
    },
    check,
    acts_for,
    ..Profile::RFC9068
};

/// The token of the global session has `type: org`.
fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    claims::require(claims::is(provider.kind.as_ref(), "app"), "the claim type with the value app")?;
    if claims::names(facts.subject()) || claims::names(facts.client_id()) {
        return Ok(());
    }
    Err(Reason::MissingClaim("sub").because("no sub and no common_name", "sub or common_name", claims::OTHER_KIND))
}

/// A service token has an empty `sub`.
fn acts_for(facts: &Facts) -> ActsFor {
    match (claims::names(facts.subject()), facts.client_id()) {
        (true, None) => ActsFor::User,
        (false, client) if claims::names(client) => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}
