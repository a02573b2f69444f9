//! Keycloak: a realm.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).

use serde_json::Value;

use super::{Profile, claims};
use crate::{
    acts_for::ActsFor,
    claims::{Facts, acting::subject_and_client},
    token::Token,
};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| builder.accept_plain_jwt_type().client_claim("azp"),
    // Versions before 25 put `nonce` into access tokens as well, so the claim `typ` decides.
    check: |facts| {
        let provider = claims::ProviderClaims::of(facts)?;
        claims::require(claims::is(provider.typ.as_ref(), "Bearer"), "the claim typ with the value Bearer")
    },
    recognizes_id_tokens: true,
    acts_for,
    roles: Some(&["realm_access", "roles"]),
    ..Profile::RFC9068
};

impl Token {
    /// Returns the subject's roles at one client of Keycloak: `resource_access`, the client, `roles`. It never includes the
    /// roles of another client or of the realm. Parses the claims on each call.
    #[must_use]
    pub fn keycloak_client_roles(&self, client: &str) -> Vec<String> {
        self.names_at(&["resource_access", client, "roles"])
    }
}

/// The token of a service account has `client_id` (older versions: `clientId`) and a user name with a prefix. One of the two
/// alone may be an administrator's mapper, or a name that a user chose.
fn acts_for(facts: &Facts) -> ActsFor {
    let Some((_, client)) = subject_and_client(facts) else { return ActsFor::Unknown };
    let Ok(provider) = claims::ProviderClaims::of(facts) else { return ActsFor::Unknown };
    let named = provider.client_id.as_ref().or(provider.legacy_client_id.as_ref());
    let account = provider
        .preferred_username
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|name| name.strip_prefix("service-account-"));
    let no_service_claim = named.is_none() && provider.client_host.is_none() && provider.client_address.is_none();
    match (named, account) {
        // User names are in lower case.
        (Some(named), Some(account)) if named == client && account == client.to_lowercase() => ActsFor::Client,
        (None, None) if no_service_claim && provider.sid.as_ref().is_some_and(Value::is_string) => ActsFor::User,
        _ => ActsFor::Unknown,
    }
}
