//! GitHub Actions: the OpenID Connect token of a workflow.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the header and the claims, and that a workflow chooses the audience (docs.github.com, "OpenID Connect
//! reference"; the output of github/actions-oidc-debugger).

use super::{Profile, claims};
use crate::{acts_for::ActsFor, claims::Facts, error::AuthError, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| builder.accept_plain_jwt_type().accept_without(OptionalClaim::ClientId),
    check,
    // `check` accepts no other tokens.
    acts_for: |_| ActsFor::Client,
    ..Profile::RFC9068
};

fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    claims::require(claims::has_text(provider.repository.as_ref()), "the claim repository, as in a workflow's token")
}
