//! Microsoft Entra ID: tokens of version 1.0 and 2.0.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).

use serde_json::Value;

use super::{Profile, claims};
use crate::{
    acts_for::ActsFor,
    claims::{Facts, acting::subject_and_client},
    error::{AuthError, Reason},
    verify::OptionalClaim,
};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder
            .accept_plain_jwt_type()
            .accept_without(OptionalClaim::JwtId)
            .client_claim("azp")
            .client_claim("appid")
            .scope_claim("scp")
    },
    check,
    acts_for,
    ..Profile::RFC9068
};

/// Every application of the tenant can obtain a token without `scp` and `roles`, so one of them is required.
fn check(facts: &Facts) -> Result<(), AuthError> {
    claims::refuse_id_token(facts)?;
    let provider = claims::ProviderClaims::of(facts)?;
    if has_value(provider.scp.as_ref()) || has_value(provider.roles.as_ref()) {
        Ok(())
    } else {
        Err(Reason::MissingClaim("scp or roles").into())
    }
}

/// Only users' tokens have `scp`. Their `sub` is made for the application, so it never equals `oid`.
fn acts_for(facts: &Facts) -> ActsFor {
    let Some((subject, _)) = subject_and_client(facts) else { return ActsFor::Unknown };
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    match (&provider.scp, &provider.idtyp) {
        (Some(scp), None) if has_value(Some(scp)) => ActsFor::User,
        (Some(scp), Some(kind)) if has_value(Some(scp)) && kind == "user" => ActsFor::User,
        (None, Some(kind)) if kind == "app" => ActsFor::Client,
        (None, None) if has_value(provider.roles.as_ref()) && claims::is(provider.oid.as_ref(), subject) => {
            ActsFor::Client
        }
        _ => ActsFor::Unknown,
    }
}

/// True for a string that is not blank and for an array with an element: the forms of `scp` and `roles`.
fn has_value(claim: Option<&Value>) -> bool {
    match claim {
        Some(Value::String(names)) => !names.trim().is_empty(),
        Some(Value::Array(names)) => !names.is_empty(),
        _ => false,
    }
}
