//! Kubernetes: the projected token of a service account.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: the claims, with and without `jti`, and the address of the keys (decoded tokens in public gists and issues, and
//! `k8s.io/kubernetes/pkg/serviceaccount`). Tokens in Secrets have another issuer and neither `aud` nor `exp`.

use serde_json::Value;

use super::{Profile, claims};
use crate::{acts_for::ActsFor, claims::Facts, error::AuthError, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| {
        builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).accept_without(OptionalClaim::ClientId)
    },
    check,
    // `check` accepts no other tokens.
    acts_for: |_| ActsFor::Client,
    ..Profile::RFC9068
};

fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    let is_account = facts.subject().is_some_and(|subject| claims::has_prefix(subject, "system:serviceaccount:"));
    let has_object = provider.kubernetes.as_ref().is_some_and(Value::is_object);
    claims::require(is_account && has_object, "a sub of a service account, and the object kubernetes.io")
}
