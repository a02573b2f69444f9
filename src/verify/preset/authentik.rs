//! authentik: an application with an OAuth2 provider.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).
//!
//! Checked: how the access token is made of the ID token, with `nonce`, `azp` and `uid`, that `sid` is that of a login, and
//! the name of the user that is made for client credentials (goauthentik/authentik, `providers/oauth2/id_token.py` and
//! `views/token.py`).

use serde_json::Value;

use super::{Profile, claims};
use crate::{acts_for::ActsFor, claims::Facts, error::AuthError, verify::OptionalClaim};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| builder.accept_plain_jwt_type().accept_without(OptionalClaim::JwtId).client_claim("azp"),
    check,
    recognizes_id_tokens: true,
    acts_for,
    roles: Some(&["groups"]),
    ..Profile::RFC9068
};

/// The ID token has neither `azp` nor `uid`, and the access token has its `nonce`.
fn check(facts: &Facts) -> Result<(), AuthError> {
    let provider = claims::ProviderClaims::of(facts)?;
    let has_both = claims::has_text(provider.uid.as_ref()) && claims::has_text(provider.azp.as_ref());
    claims::require(has_both, "the claims azp and uid, which the ID token lacks")
}

/// A user can choose a name like that of a client's own user, but has a session.
fn acts_for(facts: &Facts) -> ActsFor {
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    let name = provider.preferred_username.as_ref().and_then(Value::as_str);
    let made_for_client = name.is_some_and(|name| name.starts_with("ak-") && name.ends_with("-client_credentials"));
    match &provider.sid {
        Some(Value::String(_)) if !made_for_client => claims::user_with_subject(facts),
        None if made_for_client => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}
