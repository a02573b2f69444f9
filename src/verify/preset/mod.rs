//! Presets: how the tokens of well-known issuers differ from RFC 9068, as named sets of relaxations.
//!
//! *In*: the issuer's name. *Out*: what the methods of [`JwtVerifierBuilder`] would say for it, the marks of its access
//! tokens, and the way it tells a client's own token from a person's.
//!
//! A preset gives up nothing that the issuer's tokens have: where it accepts `typ: JWT`, it asks for the mark that ID
//! tokens of this issuer lack. It does *not* know your audience, and it never reads a role as a scope.
//!
//! ```
//! # fn example(issuer: tower_oauth::Issuer) -> Result<(), tower_oauth::ConfigError> {
//! use tower_oauth::{JwtVerifier, Preset};
//!
//! let verifier = JwtVerifier::builder(issuer, "api://default").preset(Preset::Okta).build()?;
//! # Ok(())
//! # }
//! ```

mod auth0;
mod claims;
mod cognito;
mod entra_id;
mod keycloak;
mod okta;
mod openid_connect;
mod zitadel;

use super::JwtVerifierBuilder;
use crate::{
    acts_for::ActsFor,
    claims::{Audience, Facts, ProviderRules, acting::rfc9068},
    error::AuthError,
};

/// An issuer whose access tokens are JWTs, but not quite those of RFC 9068. For [`JwtVerifierBuilder::preset`].
///
/// Each says what it accepts beyond RFC 9068, what is lost by that, and by what it tells a person's token from a client's
/// ([`Token::acts_for`](crate::Token::acts_for)); whatever isn't told is [`Unknown`](crate::acts_for::ActsFor::Unknown). `iss`,
/// `exp`, `sub`, the client, `iat` and the refusal of bound tokens (`cnf`) stay as they are in all of them, and so does
/// `aud` in all but Cognito's.
///
/// **Google** has no preset. Its access tokens are opaque: they can be asked about at `tokeninfo`, not checked here. What
/// can be checked, its ID token, says who logged in at a client, and gives nobody access to an API.
///
/// **Microsoft Graph**'s tokens are for Graph alone, and **Okta's org server** issues tokens for Okta alone; no preset
/// accepts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// Auth0, tokens of its default profile (those of its RFC 9068 profile are accepted as well).
    ///
    /// - Accepts `typ: JWT` and no `typ`. *Lost:* an ID token is refused by its audience, or if it has `nonce`,
    ///   `at_hash` or `c_hash`. So the audience must be the API's identifier, never a client's id.
    /// - Accepts tokens without `jti`. *Lost:* a token can't be named, in a log or to refuse it.
    /// - Reads the client from `azp`.
    ///
    /// A token is a client's own if `sub` is the client and `@clients`. `permissions`, which Auth0 adds for its RBAC, are
    /// no scopes; `roles_claim(["permissions"])` makes them the roles. The issuer's identifier ends in a slash.
    Auth0,
    /// Auth0, tokens of its RFC 9068 profile only. Relaxes nothing, so nothing is lost.
    ///
    /// A token is a client's own if `sub` is the client and `@clients`, which RFC 9068's rule would take for a person.
    Auth0Rfc9068,
    /// Okta, a custom authorization server.
    ///
    /// - Accepts `typ: JWT` and no `typ`. *Lost:* an ID token is known by what it lacks, `cid`, or by `nonce`, `at_hash`
    ///   and `c_hash`.
    /// - Reads the client from `cid` and the scopes from `scp`.
    ///
    /// A token is a person's if it has a `uid`, and a client's own if it has none and `sub` is the client. `sub` is the
    /// person's login, which may change hands; `uid` doesn't.
    Okta,
    /// Microsoft Entra ID, tokens of version 1.0 and 2.0; which one an API gets is said in its manifest.
    ///
    /// - Accepts `typ: JWT` and no `typ`. *Lost:* an ID token is known by what it lacks, `azp` or `appid`, or by
    ///   `nonce`, `at_hash` and `c_hash`.
    /// - Accepts tokens without `jti`. *Lost:* as for Auth0; `uti` is there instead.
    /// - Reads the client from `azp` (2.0) or `appid` (1.0), and the scopes from `scp`.
    /// - Asks for `scp` or `roles`: any application of the tenant can get a token with neither.
    ///
    /// Applications have no scopes; what they may do stands in [`roles`](crate::Token::roles). A token is a person's if it
    /// has `scp`. It is an application's own if it has none and either `idtyp` is `app`, or, without `idtyp`, there are
    /// `roles` and `sub` equals `oid`. Anything else is [`Unknown`](crate::acts_for::ActsFor::Unknown). The issuer is that of one
    /// tenant; of version 1.0 it is `https://sts.windows.net/{tenant}/`.
    EntraId,
    /// Amazon Cognito, a user pool. The audience is the app client's id.
    ///
    /// - Accepts `typ: JWT` and no `typ`; asks for `token_use: access` instead, which ID tokens don't have. *Lost:*
    ///   nothing.
    /// - A token without `aud` must have one of the configured audiences as `client_id`. *Lost:* a token is bound to an
    ///   app client, not to an API: each API that trusts this client accepts it. Ask for scopes, whose names begin with
    ///   the resource server. Where there is an `aud` (resource binding), it counts, as always.
    ///
    /// A token is a person's if it has a `username`, and a client's own if it has none and `sub` is the client.
    /// [`groups`](crate::Token::groups) reads `cognito:groups`.
    Cognito,
    /// Keycloak, a realm.
    ///
    /// - Accepts `typ: JWT` and no `typ`; asks for the *claim* `typ` to be `Bearer` instead, which it isn't in ID and
    ///   refresh tokens. *Lost:* nothing.
    /// - Reads the client from `azp`.
    ///
    /// `aud` is `account` unless an audience mapper adds this API; `account` as audience would accept every client's
    /// tokens. Lightweight access tokens have no `sub` and `aud` and are refused.
    ///
    /// [`roles`](crate::Token::roles) are those of the realm. Those of one client are never mixed with them: ask for
    /// [`keycloak_client_roles`](crate::Token::keycloak_client_roles), or say
    /// `roles_claim(["resource_access", "orders-api", "roles"])`.
    ///
    /// The `sub` of a service account is a user's. A token is a client's own if it has both marks of a service account: a
    /// `client_id` (or `clientId`) equal to the client, and `preferred_username: service-account-…`. It is a person's if
    /// it has none of them and a `sid`. Anything else is [`Unknown`](crate::acts_for::ActsFor::Unknown).
    Keycloak,
    /// Zitadel, where JWT was chosen as the type of access tokens. The audience is the project's id.
    ///
    /// - Accepts `typ: JWT` and no `typ`. *Lost:* an ID token, whose `aud` has the project too, is known by what it
    ///   lacks, `jti`, or by `nonce`, `at_hash` and `c_hash`.
    ///
    /// There are no scopes in the token: [`Scoped`](crate::Scoped) refuses everybody. [`roles`](crate::Token::roles) reads
    /// the names in `urn:zitadel:iam:org:project:roles`; [`zitadel_project_roles`](crate::Token::zitadel_project_roles) those of one
    /// project. *Lost:* which organisation granted a role; where tenants are organisations, read it with
    /// [`claims`](crate::Token::claims).
    ///
    /// Machines have a `sub` like people's, so a token is either a client's own (`sub` is the client) or
    /// [`Unknown`](crate::acts_for::ActsFor::Unknown), never known to be a person's.
    Zitadel,
    /// Any OpenID Connect provider whose access tokens are JWTs, if nothing better is known of it.
    ///
    /// - Accepts `typ: JWT` and no `typ`. *Lost:* an ID token is refused by its audience, or if it has `nonce`, `at_hash`
    ///   or `c_hash`. The audience must be the API's identifier, never a client's id.
    /// - Accepts tokens without `jti`. *Lost:* as for Auth0.
    /// - Reads the client from `azp`, and the scopes from `scp`.
    ///
    /// A token whose `sub` is not the client may be a service account's, so it is
    /// [`Unknown`](crate::acts_for::ActsFor::Unknown).
    OpenIdConnect,
}

/// What a preset changes. Each provider has a file with its profile.
pub(super) struct Profile {
    /// Calls the builder's methods.
    relax: fn(JwtVerifierBuilder) -> JwtVerifierBuilder,
    /// Refuses tokens that are not access tokens by the provider's own marks, or that say nothing about any API.
    check: fn(&Facts) -> Result<(), AuthError>,
    acts_for: fn(&Facts) -> ActsFor,
    /// The path to the roles, if it is not `roles`.
    roles: Option<&'static [&'static str]>,
    /// The path to the groups, if it is not `groups`.
    groups: Option<&'static [&'static str]>,
    /// True if `client_id` replaces a missing `aud`.
    audience_in_client_id: bool,
}

impl Profile {
    const RFC9068: Self = Self {
        relax: |builder| builder,
        check: |_| Ok(()),
        acts_for: rfc9068,
        roles: None,
        groups: None,
        audience_in_client_id: false,
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
            Self::OpenIdConnect => &openid_connect::PROFILE,
        }
    }

    pub(super) fn relax(self, builder: JwtVerifierBuilder) -> JwtVerifierBuilder {
        (self.profile().relax)(builder)
    }

    pub(super) fn rules(self) -> ProviderRules {
        let path = |path: &[&str]| path.iter().copied().map(Into::into).collect();
        let Profile { acts_for, roles, groups, .. } = self.profile();
        ProviderRules { acts_for: *acts_for, roles: roles.map(path), groups: groups.map(path) }
    }

    /// Returns the client as the audience of a token that has no `aud`, if the provider issues such tokens.
    pub(super) fn audience_in_client_id(self, facts: &Facts) -> Option<&str> {
        let replaces = self.profile().audience_in_client_id && matches!(facts.audience, Audience::Absent);
        replaces.then(|| facts.client_id()).flatten()
    }

    pub(super) fn check(self, facts: &Facts) -> Result<(), AuthError> {
        (self.profile().check)(facts)
    }
}
