//! Presets: the settings for known providers whose access tokens are not quite those of RFC 9068.
//!
//! *In*: the provider. *Out*: calls of the methods of [`JwtVerifierBuilder`], a check of the claims that only the provider's
//! access tokens have, and the rule that decides whether a token acts for a user or for a client.
//!
//! A preset relaxes only what the provider's tokens lack. If it accepts `typ: JWT`, it also refuses ID tokens by their
//! claims. It does *not* set the audience, and never uses roles as scopes.
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
mod name;
mod okta;
mod openid_connect;
mod profile;
mod zitadel;

pub use self::name::UnknownPreset;
use self::profile::Profile;
use super::JwtVerifierBuilder;

/// A known provider, for [`JwtVerifierBuilder::preset`].
///
/// Each preset lists what it accepts beyond RFC 9068, the cost, and when a token acts for a user or for a client
/// ([`Token::acts_for`](crate::Token::acts_for)). In all other cases the token acts for
/// [`Unknown`](crate::acts_for::ActsFor::Unknown).
///
/// All presets require `iss`, `exp`, `sub`, `iat` and the client, and all but [`Cognito`](Self::Cognito) require `aud`. No
/// preset accepts a sender-constrained token (`cnf`).
///
/// These have no preset:
///
/// - **Google**: its access tokens are opaque, and can only be checked at its `tokeninfo` endpoint. Its ID tokens are JWTs,
///   but they identify a user to a client and don't grant access to an API.
/// - **Microsoft Graph** and **Okta's org server**: their tokens are only for their own APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// Auth0, with the default token profile. Also accepts tokens of the RFC 9068 profile.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: an ID token is refused only by its audience, or if it has `nonce`,
    ///   `at_hash` or `c_hash`. So the audience must be the API's identifier, never a client's id.
    /// - Accepts tokens without `jti`. The cost: a single token can't be identified, in a log or to refuse it.
    /// - Reads the client from `azp`.
    ///
    /// A token acts for a client if `sub` is the client's id followed by `@clients`. It acts for a user if `sub` does not end
    /// in `@clients`, is not the client, and `gty` is not `client-credentials`.
    ///
    /// `permissions`, which Auth0 adds for its RBAC, are not scopes. To use them as roles, call
    /// `roles_claim(["permissions"])`. The issuer ends in a slash.
    Auth0,
    /// Auth0, with the RFC 9068 token profile only. Relaxes nothing, so there is no cost.
    ///
    /// A token acts for a client or a user by the same rule as for [`Auth0`](Self::Auth0). By the rule of RFC 9068,
    /// a token with `@clients` in its `sub` would act for a user.
    Auth0Rfc9068,
    /// Okta, with a custom authorization server.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: an ID token is refused only because it lacks `cid`, or if it has
    ///   `nonce`, `at_hash` or `c_hash`.
    /// - Reads the client from `cid`, and the scopes from `scp`.
    ///
    /// A token acts for a user if it has `uid` and `sub` is not the client. It acts for a client if it has no `uid` and
    /// `sub` is the client.
    ///
    /// `sub` is the user's login name, which can be given to another user later; `uid` can't.
    Okta,
    /// Microsoft Entra ID, with tokens of version 1.0 or 2.0. The manifest of the API decides the version.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: an ID token is refused only because it lacks `azp` and `appid`, or
    ///   if it has `nonce`, `at_hash` or `c_hash`.
    /// - Accepts tokens without `jti`. The cost: as for [`Auth0`](Self::Auth0). `uti` identifies a token instead.
    /// - Reads the client from `azp` (2.0) or `appid` (1.0), and the scopes from `scp`.
    /// - Requires `scp` or `roles`, because every application of the tenant can get a token with neither of them.
    ///
    /// A token acts for a user if it has `scp`, and no `idtyp` or `idtyp: user`. It acts for a client if it has no `scp`,
    /// and either `idtyp` is `app`, or there is no `idtyp` but `roles`, and `sub` equals `oid`.
    ///
    /// An application that acts for itself has no scopes. Its permissions are in [`roles`](crate::Token::roles). The issuer
    /// is that of one tenant; for version 1.0 it is `https://sts.windows.net/{tenant}/`.
    EntraId,
    /// Amazon Cognito, with a user pool. The audience is the id of the app client.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires `token_use: access`, which ID tokens lack. No cost.
    /// - Accepts a token without `aud` if its `client_id` is a configured audience. The cost: the token is bound to an app
    ///   client, not to an API. Every API that trusts this app client accepts it, so require scopes, whose names begin with
    ///   the resource server. If there is an `aud` (resource binding), it must include a configured audience.
    ///
    /// A token acts for a user if it has `username` and `sub` is not the client. It acts for a client if it has no
    /// `username` and `sub` is the client.
    ///
    /// [`groups`](crate::Token::groups) reads `cognito:groups`.
    Cognito,
    /// Keycloak, with a realm.
    ///
    /// - Accepts `typ: JWT` or a missing `typ` in the header, and requires that the *claim* `typ` is `Bearer`, which it
    ///   isn't in ID tokens and refresh tokens. No cost.
    /// - Reads the client from `azp`.
    ///
    /// A token acts for a user if it has `sid` and no claim of a service account. It acts for a client if two claims show it:
    /// `client_id` (older versions: `clientId`) equals the client, and `preferred_username` is `service-account-` followed
    /// by the client. The `sub` of a service account is that of a user, so it can't decide this.
    ///
    /// Add an audience mapper for this API. Without it `aud` is `account`; if you configured that as the audience, the
    /// tokens of every client would be accepted. Lightweight access tokens lack `sub` and `aud` and are refused.
    ///
    /// [`roles`](crate::Token::roles) are those of the realm. They are never combined with the roles of a client: for those
    /// call [`keycloak_client_roles`](crate::Token::keycloak_client_roles), or
    /// `roles_claim(["resource_access", "orders-api", "roles"])` on the builder.
    Keycloak,
    /// Zitadel, with JWT as the access token type. The audience is the project's id.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: an ID token also has the project in `aud`. It is refused only
    ///   because it lacks `jti`, or if it has `nonce`, `at_hash` or `c_hash`.
    ///
    /// A token acts for a client if `sub` is the client. It never acts for a user, because a machine has a `sub` like that of
    /// a user; it acts for [`Unknown`](crate::acts_for::ActsFor::Unknown).
    ///
    /// The tokens have no scopes, so [`Scoped`](crate::Scoped) refuses all of them. [`roles`](crate::Token::roles) reads the
    /// names in `urn:zitadel:iam:org:project:roles`, and
    /// [`zitadel_project_roles`](crate::Token::zitadel_project_roles) those of one project. The cost: the names don't include
    /// the organization that granted the role. If tenants are organizations, read that with
    /// [`claims`](crate::Token::claims).
    Zitadel,
    /// Any other OpenID Connect provider whose access tokens are JWTs.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: an ID token is refused only by its audience, or if it has `nonce`,
    ///   `at_hash` or `c_hash`. So the audience must be the API's identifier, never a client's id.
    /// - Accepts tokens without `jti`. The cost: as for [`Auth0`](Self::Auth0).
    /// - Reads the client from `azp`, and the scopes from `scp`.
    ///
    /// A token acts for a client if `sub` is the client. It never acts for a user, because another `sub` may be that of a
    /// service account; it acts for [`Unknown`](crate::acts_for::ActsFor::Unknown).
    OpenIdConnect,
}
