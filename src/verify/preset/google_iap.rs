//! Google Identity-Aware Proxy: the signed header.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the header, the issuer, the algorithm and the addresses of the keys (cloud.google.com, "Securing your app with
//! signed headers"). From memory: the prefixes of `sub`; a service account's email ends in `.gserviceaccount.com`, a domain
//! in which no person has an account.

use serde_json::Value;

use super::{Profile, claims};
use crate::{acts_for::ActsFor, claims::Facts, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).accept_without(OptionalClaim::ClientId)
    },
    acts_for,
    ..Profile::RFC9068
};

/// Users of Identity Platform can choose their email, so it counts only for Google's own accounts.
fn acts_for(facts: &Facts) -> ActsFor {
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    let subject = facts.subject().unwrap_or_default();
    if claims::has_prefix(subject, "securetoken.google.com/") {
        return ActsFor::User;
    }
    match provider.email.as_ref().and_then(Value::as_str) {
        Some(email) if claims::has_prefix(subject, "accounts.google.com:") && !email.trim().is_empty() => {
            if email.ends_with(claims::GOOGLE_SERVICE_ACCOUNT) { ActsFor::Client } else { ActsFor::User }
        }
        _ => ActsFor::Unknown,
    }
}
