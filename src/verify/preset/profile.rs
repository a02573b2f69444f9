//! The profile of a provider: what its preset sets and checks.
//!
//! *In*: the preset. *Out*: the calls of the builder's methods, and the checks that the verifier makes for each token.

use super::{
    JwtVerifierBuilder, Preset, auth0, authentik, better_auth, clerk, cloudflare_access, cognito, entra_id, firebase,
    fusionauth, github_actions, google_iap, google_service_account, keycloak, kubernetes, okta, openid_connect,
    supabase, workos, zitadel,
};
use crate::{
    acts_for::ActsFor,
    claims::{
        Facts, ProviderRules,
        acting::{ActsForRule, rfc9068},
    },
    error::AuthError,
};

/// The settings of a preset. Each provider has a file that defines its profile.
pub(super) struct Profile {
    /// Calls the builder's methods.
    pub(super) relax: fn(JwtVerifierBuilder) -> JwtVerifierBuilder,
    /// Refuses tokens whose claims show that they are not access tokens, or that grant nothing at any API.
    pub(super) check: fn(&Facts) -> Result<(), AuthError>,
    /// True if `check` refuses ID tokens by the provider's own claims, so that the verifier need not look for `nonce`.
    pub(super) recognizes_id_tokens: bool,
    pub(super) acts_for: fn(&Facts) -> ActsFor,
    /// The path to the roles, if it is not `roles`.
    pub(super) roles: Option<&'static [&'static str]>,
    /// The path to the groups, if it is not `groups`.
    pub(super) groups: Option<&'static [&'static str]>,
    /// Returns the claim that replaces a missing `aud`.
    pub(super) audience: fn(&Facts) -> Option<String>,
}

impl Profile {
    pub(super) const RFC9068: Self = Self {
        relax: |builder| builder,
        check: |_| Ok(()),
        recognizes_id_tokens: false,
        acts_for: rfc9068,
        roles: None,
        groups: None,
        audience: |_| None,
    };
}

impl Preset {
    fn profile(self) -> &'static Profile {
        match self {
            Self::Auth0 => &auth0::DEFAULT,
            Self::Auth0Rfc9068 => &auth0::RFC9068,
            Self::Okta => &okta::PROFILE,
            Self::EntraId => &entra_id::PROFILE,
            Self::Cognito => &cognito::PROFILE,
            Self::Keycloak => &keycloak::PROFILE,
            Self::Zitadel => &zitadel::PROFILE,
            Self::Supabase => &supabase::PROFILE,
            Self::Firebase => &firebase::PROFILE,
            Self::Clerk => &clerk::PROFILE,
            Self::WorkOs => &workos::PROFILE,
            Self::BetterAuth => &better_auth::PROFILE,
            Self::CloudflareAccess => &cloudflare_access::PROFILE,
            Self::GoogleIap => &google_iap::PROFILE,
            Self::GoogleServiceAccount => &google_service_account::PROFILE,
            Self::Kubernetes => &kubernetes::PROFILE,
            Self::GitHubActions => &github_actions::PROFILE,
            Self::FusionAuth => &fusionauth::PROFILE,
            Self::Authentik => &authentik::PROFILE,
            Self::OpenIdConnect => &openid_connect::PROFILE,
        }
    }

    pub(in crate::verify) fn relax(self, builder: JwtVerifierBuilder) -> JwtVerifierBuilder {
        (self.profile().relax)(builder)
    }

    pub(in crate::verify) fn rules(self) -> ProviderRules {
        let path = |path: &[&str]| path.iter().copied().map(Into::into).collect();
        let Profile { acts_for, roles, groups, .. } = self.profile();
        ProviderRules { acts_for: ActsForRule::Fixed(*acts_for), roles: roles.map(path), groups: groups.map(path) }
    }

    /// Returns the audience of a token that has no `aud`, if the provider issues such tokens.
    pub(in crate::verify) fn replaced_audience(self, facts: &Facts) -> Option<String> {
        let missing = facts.audience.iter().next().is_none();
        missing.then(|| (self.profile().audience)(facts)).flatten()
    }

    pub(in crate::verify) fn check(self, facts: &Facts) -> Result<(), AuthError> {
        (self.profile().check)(facts)
    }

    pub(in crate::verify) fn recognizes_id_tokens(self) -> bool {
        self.profile().recognizes_id_tokens
    }
}
