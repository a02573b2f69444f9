//! Google service-to-service calls: the ID token of a service account.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: that the caller gets an ID token whose audience is the called service (cloud.google.com, "Authenticate
//! service-to-service requests"). From memory: `azp` and `sub` are both the account's unique id, while `azp` in a person's
//! ID token is the client; `email` is absent if the caller did not request it.

use serde_json::Value;

use super::{Profile, claims};
use crate::{
    acts_for::ActsFor,
    claims::{Facts, acting::subject_and_client},
    error::AuthError,
    verify::OptionalClaim,
};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).client_claim("azp"),
    check,
    // `check` accepts no other tokens.
    acts_for: |_| ActsFor::Client,
    ..Profile::RFC9068
};

fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    let is_account = subject_and_client(facts).is_some_and(|(subject, client)| subject == client);
    let email_fits = match provider.email.as_ref().map(Value::as_str) {
        None => true,
        Some(email) => email.is_some_and(|email| email.ends_with(claims::GOOGLE_SERVICE_ACCOUNT)),
    };
    claims::require(is_account && email_fits, "azp equal to sub, as in the ID token of a service account")
}
