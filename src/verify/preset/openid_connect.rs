//! Any OpenID Connect provider whose access tokens are JWTs.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).

use super::Profile;
use crate::{claims::acting::subject_may_be_machine, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).client_claim("azp").scope_claim("scp")
    },
    acts_for: subject_may_be_machine,
    ..Profile::RFC9068
};
