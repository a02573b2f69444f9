//! Microsoft Entra ID: tokens of version 1.0 and 2.0.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).

use serde_json::Value;

use super::{Profile, claims};
use crate::{
    acts_for::ActsFor,
    claims::{Facts, acting::subject_and_client},
    error::{AuthError, Reason},
    verify::{OptionalClaim, id_token::id_token_error},
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
    recognizes_id_tokens: true,
    acts_for,
    ..Profile::RFC9068
};

/// Every application of the tenant can obtain a token without `scp` and `roles`, so one of them is required. ID tokens may
/// have `roles` too, but no client and no `scp`. Azure AD B2C puts `nonce` into access tokens as well.
fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    for (name, claim) in [("at_hash", &provider.at_hash), ("c_hash", &provider.c_hash)] {
        if claim.is_some() {
            return Err(id_token_error(name));
        }
    }
    if !has_value(provider.scp.as_ref()) && !has_value(provider.roles.as_ref()) {
        let change = "grant the client a delegated permission (scp) or an application permission (roles) of this API";
        return Err(Reason::MissingClaim("scp or roles").because("neither scp nor roles", "one of them", change));
    }
    if provider.nonce.is_some() && !has_value(provider.azp.as_ref()) {
        return Err(id_token_error("nonce"));
    }
    Ok(())
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
