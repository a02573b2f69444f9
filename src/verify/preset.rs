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

use serde::Deserialize;
use serde_json::Value;

use super::{Claim, JwtVerifierBuilder};
use crate::{
    acts_for::{ActorRule, holds_any},
    claims::{Audience, Dialect, Facts},
    error::{AuthError, Reason},
};

/// An issuer whose access tokens are JWTs, but not quite those of RFC 9068. For [`JwtVerifierBuilder::preset`].
///
/// Each says what it accepts beyond RFC 9068, what is lost by that, and by what it tells a person's token from a client's
/// ([`Token::acts_for`](crate::Token::acts_for)); whatever isn't told is [`Unknown`](crate::ActsFor::Unknown). `iss`,
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
    /// no scopes; `read_roles_from(["permissions"])` makes them the roles. The issuer's identifier ends in a slash.
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
    /// `roles` and `sub` equals `oid`. Anything else is [`Unknown`](crate::ActsFor::Unknown). The issuer is that of one
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
    /// [`client_roles`](crate::Token::client_roles), or say
    /// `read_roles_from(["resource_access", "orders-api", "roles"])`.
    ///
    /// The `sub` of a service account is a user's. A token is a client's own if it has both marks of a service account: a
    /// `client_id` (or `clientId`) equal to the client, and `preferred_username: service-account-…`. It is a person's if
    /// it has none of them and a `sid`. Anything else is [`Unknown`](crate::ActsFor::Unknown).
    Keycloak,
    /// Zitadel, where JWT was chosen as the type of access tokens. The audience is the project's id.
    ///
    /// - Accepts `typ: JWT` and no `typ`. *Lost:* an ID token, whose `aud` has the project too, is known by what it
    ///   lacks, `jti`, or by `nonce`, `at_hash` and `c_hash`.
    ///
    /// There are no scopes in the token: [`Scoped`](crate::Scoped) refuses everybody. [`roles`](crate::Token::roles) reads
    /// the names in `urn:zitadel:iam:org:project:roles`; [`project_roles`](crate::Token::project_roles) those of one
    /// project. *Lost:* which organisation granted a role; where tenants are organisations, read it with
    /// [`claims`](crate::Token::claims).
    ///
    /// Machines have a `sub` like people's, so a token is either a client's own (`sub` is the client) or
    /// [`Unknown`](crate::ActsFor::Unknown), never known to be a person's.
    Zitadel,
    /// Any OpenID Connect provider whose access tokens are JWTs, if nothing better is known of it.
    ///
    /// - Accepts `typ: JWT` and no `typ`. *Lost:* an ID token is refused by its audience, or if it has `nonce`, `at_hash`
    ///   or `c_hash`. The audience must be the API's identifier, never a client's id.
    /// - Accepts tokens without `jti`. *Lost:* as for Auth0.
    /// - Reads the client from `azp`, and the scopes from `scp`.
    ///
    /// A token whose `sub` is not the client may be a service account's, so it is
    /// [`Unknown`](crate::ActsFor::Unknown).
    OpenIdConnect,
}

/// What tells the kinds of tokens of an issuer apart.
#[derive(Deserialize)]
struct Marks {
    nonce: Option<Value>,
    at_hash: Option<Value>,
    c_hash: Option<Value>,
    token_use: Option<Value>,
    typ: Option<Value>,
    scp: Option<Value>,
    roles: Option<Value>,
}

impl Preset {
    /// Says to the builder what can be said with its methods.
    pub(super) fn relax(self, builder: JwtVerifierBuilder) -> JwtVerifierBuilder {
        match self {
            Self::Auth0 => builder.accept_plain_jwt_type().accept_without(Claim::JwtId).read_client_from("azp"),
            Self::Auth0Rfc9068 => builder,
            Self::Okta => builder.accept_plain_jwt_type().read_client_from("cid").read_scopes_from("scp"),
            Self::EntraId => builder
                .accept_plain_jwt_type()
                .accept_without(Claim::JwtId)
                .read_client_from("azp")
                .read_client_from("appid")
                .read_scopes_from("scp"),
            Self::Keycloak => builder.accept_plain_jwt_type().read_client_from("azp"),
            Self::Cognito | Self::Zitadel => builder.accept_plain_jwt_type(),
            Self::OpenIdConnect => builder
                .accept_plain_jwt_type()
                .accept_without(Claim::JwtId)
                .read_client_from("azp")
                .read_scopes_from("scp"),
        }
    }

    /// How its tokens tell what no standard member tells.
    pub(super) fn dialect(self) -> Dialect {
        let path = |path: &[&str]| Some(path.iter().copied().map(Into::into).collect());
        let actor = match self {
            Self::Auth0 | Self::Auth0Rfc9068 => ActorRule::Auth0,
            Self::Okta => ActorRule::Okta,
            Self::EntraId => ActorRule::EntraId,
            Self::Cognito => ActorRule::Cognito,
            Self::Keycloak => ActorRule::Keycloak,
            Self::Zitadel | Self::OpenIdConnect => ActorRule::SubjectMayBeMachine,
        };
        let roles = match self {
            Self::Keycloak => path(&["realm_access", "roles"]),
            Self::Zitadel => path(&["urn:zitadel:iam:org:project:roles"]),
            _ => None,
        };
        let groups = if self == Self::Cognito { path(&["cognito:groups"]) } else { None };
        Dialect { actor, roles, groups }
    }

    /// Whether `client_id` stands in for an `aud` that isn't there.
    pub(super) fn audience_in_client_id(self) -> bool {
        self == Self::Cognito
    }

    /// Refuses what is no access token by the issuer's own marks, and what says nothing about any API.
    pub(super) fn check(self, facts: &Facts) -> Result<(), AuthError> {
        if self == Self::Auth0Rfc9068 {
            return Ok(());
        }
        let marks: Marks = serde_json::from_str(facts.claims()).map_err(|_| Reason::MalformedClaims)?;
        let says = |mark: &Option<Value>, value| mark.as_ref().is_some_and(|mark| mark == value);
        let access = match self {
            Self::Cognito => says(&marks.token_use, "access"),
            // Keycloak before 25 put the nonce into access tokens as well.
            Self::Keycloak => says(&marks.typ, "Bearer"),
            // OpenID Connect Core §2, §3.3.2.11.
            _ => marks.nonce.is_none() && marks.at_hash.is_none() && marks.c_hash.is_none(),
        };
        if !access {
            return Err(Reason::NotAnAccessToken.into());
        }
        if self == Self::EntraId && !holds_any(marks.scp.as_ref()) && !holds_any(marks.roles.as_ref()) {
            return Err(Reason::MissingClaim("scp or roles").into());
        }
        Ok(())
    }
}

/// The audience of a token that has none at all: its client.
pub(super) fn client_as_audience(facts: &Facts) -> Option<&str> {
    matches!(facts.audience, Audience::Absent).then(|| facts.text(facts.client_id.as_ref())).flatten()
}
