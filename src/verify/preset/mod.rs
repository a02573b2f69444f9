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
mod authentik;
mod better_auth;
mod claims;
mod clerk;
mod cloudflare_access;
mod cognito;
mod entra_id;
mod firebase;
mod fusionauth;
mod github_actions;
mod google_iap;
mod google_service_account;
mod keycloak;
mod kubernetes;
mod name;
mod okta;
mod openid_connect;
mod profile;
mod supabase;
mod workos;
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
/// [`acting_rule`](JwtVerifierBuilder::acting_rule) replaces that rule. No preset decides by a guess.
///
/// All presets require `iss`, `exp` and `iat`; each lists the other claims that it doesn't require. No preset accepts a
/// sender-constrained token (`cnf`).
///
/// [`guide::providers`](crate::guide::providers) has a table of all presets, examples, and what to do for providers without
/// one. These have none, because their tokens are not for your API:
///
/// - **Google's access tokens** are opaque, and can only be checked at its `tokeninfo` endpoint. The ID token of a person
///   identifies the person to a client and doesn't grant access to an API.
/// - **Microsoft Graph** and **Okta's org server**: their tokens are only for their own APIs.
///
/// ```
/// use tower_oauth::Preset;
///
/// assert_eq!("EntraId".parse(), Ok(Preset::EntraId));
/// assert_eq!(Preset::EntraId.to_string(), "entra-id");
/// ```
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
    /// Microsoft Entra ID, with tokens of version 1.0 or 2.0, and Azure AD B2C. The manifest of the API decides the version.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: an ID token is refused only because it lacks `azp`, `appid` and
    ///   `scp`, or if it has `at_hash` or `c_hash`.
    /// - Accepts `nonce` beside `azp`, since B2C's access tokens have it. The cost: none, since ID tokens lack `azp`.
    /// - Accepts tokens without `jti`. The cost: as for [`Auth0`](Self::Auth0). `uti` identifies a token instead.
    /// - Reads the client from `azp` (2.0) or `appid` (1.0), and the scopes from `scp`.
    /// - Requires `scp` or `roles`, because every application of the tenant can get a token with neither of them.
    ///
    /// A token acts for a user if it has `scp`, and no `idtyp` or `idtyp: user`. It acts for a client if it has no `scp`,
    /// and either `idtyp` is `app`, or there is no `idtyp` but `roles`, and `sub` equals `oid`.
    ///
    /// An application that acts for itself has no scopes. Its permissions are in [`roles`](crate::Token::roles). The issuer
    /// is that of one tenant; for version 1.0 it is `https://sts.windows.net/{tenant}/`, and for B2C
    /// `https://{name}.b2clogin.com/{tenant}/v2.0/`, whose metadata is at another address: set `jwks_uri`.
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
    /// a user; it acts for [`Unknown`](crate::acts_for::ActsFor::Unknown). If your instance has no machine users, call
    /// `acting_rule(ActingRule::users())`.
    ///
    /// The tokens have no scopes, so [`Scoped`](crate::Scoped) refuses all of them. [`roles`](crate::Token::roles) reads the
    /// names in `urn:zitadel:iam:org:project:roles`, and
    /// [`zitadel_project_roles`](crate::Token::zitadel_project_roles) those of one project. The cost: the names don't include
    /// the organization that granted the role. If tenants are organizations, read that with
    /// [`claims`](crate::Token::claims).
    Zitadel,
    /// Supabase Auth, with a project. Its issuer is `https://{project}.supabase.co/auth/v1`, and the audience is `authenticated`.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires `session_id` and `role`, which ID tokens lack. No cost.
    /// - Accepts tokens without `jti` and without a client. The cost: a single token can't be identified, and neither can the
    ///   application that sends it.
    /// - The audience is the same in each project. The cost: it doesn't bind the token to this API, only to the project.
    ///
    /// A token acts for a user, unless `role` is `anon`, `service_role` or `supabase_admin`. An anonymous sign-in is a user too:
    /// its token has `is_anonymous: true`.
    ///
    /// [`roles`](crate::Token::roles) reads `role`. A project with the legacy secret signs with HS256: move it to signing keys,
    /// or use [`builder_from_secret`](crate::JwtVerifier::builder_from_secret) with this preset. No API key (`anon`,
    /// `service_role`) is accepted.
    Supabase,
    /// Firebase Authentication or Google Identity Platform, with a project. Clients send the ID token, by design. Its issuer is
    /// `https://securetoken.google.com/{project}`, and the audience is the project's id. Set the issuer's `jwks_uri` to
    /// `https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com`.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires the object `firebase`. The cost: the token is the ID token of every
    ///   application of the project, so it is bound to the project, not to an API.
    /// - Accepts tokens without `jti` and without a client. The cost: as for [`Supabase`](Self::Supabase).
    ///
    /// Each token acts for a user, since Firebase has no accounts for machines. The claim `firebase` names the provider that the
    /// user signed in with; it may be `anonymous`.
    Firebase,
    /// Clerk, with an instance: tokens of sessions, of OAuth applications and of machines. Its issuer is the Frontend API URL, and
    /// the keys are at `{issuer}/.well-known/jwks.json`. The audiences are the origins of the web applications, such as
    /// `https://app.example.com`, and the ids of the OAuth applications.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires `sid`, `azp`, `client_id` or a machine as `sub`. The cost: an ID
    ///   token is refused only if it has none of these, or `nonce`, `at_hash` or `c_hash`.
    /// - Accepts a token without `aud` if `azp` (the origin) is a configured audience, or, where there is neither `azp` nor `sid`,
    ///   `client_id`. The cost: the token is bound to an application, not to an API. A native application sends no origin, so its
    ///   session token is refused: give it a JWT template with an `aud` and a `client_id`, because such a token has no `sid`.
    /// - Accepts tokens without `jti` and without a client. The cost: as for [`Supabase`](Self::Supabase).
    /// - Refuses a session whose status `sts` is not `active`, because the user has not completed the login.
    ///
    /// A token acts for a user if `sub` begins with `user_`. It acts for a client if `sub` begins with `mch_` (a machine) and there
    /// is no `sid`. A machine chooses its own `aud`, so check its `sub`. The claim `act` names an administrator who impersonates the
    /// user.
    Clerk,
    /// WorkOS AuthKit, with an environment. Its issuer is `https://api.workos.com`, or a URL below it with the client id, or the
    /// AuthKit domain. Set `jwks_uri` to `https://api.workos.com/sso/jwks/{client id}`. The audience is the client id.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires `sid` or a client as `sub`, which ID tokens lack. No cost.
    /// - Accepts a token without `aud`. If it has a `client_id`, that must be a configured audience. The cost: every session token
    ///   of the environment is accepted, whatever application it was issued to.
    /// - Accepts tokens without `jti` and without a client. The cost: as for [`Supabase`](Self::Supabase).
    ///
    /// A token acts for a user if `sub` begins with `user_` and it has `sid`. It acts for a client if `sub` begins with `client_` and
    /// it has no `sid` (a machine-to-machine application). The claim `act` names an administrator who impersonates the user.
    ///
    /// `permissions` are not scopes. To use them as roles, call `roles_claim(["permissions"])`.
    WorkOs,
    /// better-auth, with its JWT plugin or its OAuth provider. Issuer and audience of the JWT plugin are the base URL; the keys are
    /// at `{base URL}/api/auth/jwks`, so set `jwks_uri`. The issuer of the OAuth provider's access tokens is
    /// `{base URL}/api/auth`, unless the plugin's settings name one, and their audience is the requested resource.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: as for [`Clerk`](Self::Clerk).
    /// - Accepts tokens without `jti` and without a client, and without `sub` if there is a client. The cost: as for
    ///   [`Supabase`](Self::Supabase).
    /// - Reads the client from `azp`.
    ///
    /// A token acts for a client if it has `azp` and no `sub`, or if `sub` is the client. Any other token acts for a user: the plugin
    /// issues them for sessions. The server can also sign claims of its own (`signJWT`); give those another audience.
    BetterAuth,
    /// Cloudflare Access, with an application. Its issuer is `https://{team}.cloudflareaccess.com`, and the audience is the
    /// application's AUD tag. Set `jwks_uri` to `{issuer}/cdn-cgi/access/certs`. The token is in the header
    /// `Cf-Access-Jwt-Assertion` ([`accept_header`](crate::server::ResourceServerBuilder::accept_header)), from browsers also in the
    /// cookie `CF_Authorization`.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires `type: app`. No cost.
    /// - Accepts tokens without `jti` and without a client, and with an empty `sub` if there is a `common_name`. The cost: as for
    ///   [`Supabase`](Self::Supabase).
    /// - Reads the client from `common_name`.
    ///
    /// A token acts for a user if it has a `sub` and no `common_name`. It acts for a client if `sub` is empty or missing and it has
    /// `common_name`: the client id of a service token, or the name in a client certificate.
    CloudflareAccess,
    /// Google Identity-Aware Proxy. Its issuer is `https://cloud.google.com/iap`. Set `jwks_uri` to
    /// `https://www.gstatic.com/iap/verify/public_key-jwk`. The audience is that of the backend, such as
    /// `/projects/1/global/backendServices/2`. The token is in the header `x-goog-iap-jwt-assertion`
    /// ([`accept_header`](crate::server::ResourceServerBuilder::accept_header)).
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. No cost: the issuer issues only this kind of token.
    /// - Accepts tokens without `jti` and without a client. The cost: as for [`Supabase`](Self::Supabase).
    ///
    /// A token whose `sub` begins with `accounts.google.com:` acts for a client if its `email` ends in `.gserviceaccount.com`, and for
    /// a user if it has another `email`. A token whose `sub` begins with `securetoken.google.com/` (Identity Platform) acts for a user.
    GoogleIap,
    /// Google service accounts that call a service of your own, on Cloud Run or elsewhere. The caller sends an ID token, by design.
    /// Its issuer is `https://accounts.google.com`, and the audience is the URL of the called service.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires that `azp` equals `sub`, so a person's ID token is refused.
    /// - Accepts tokens without `jti`. The cost: as for [`Auth0`](Self::Auth0).
    /// - Reads the client from `azp`.
    ///
    /// Each token acts for a client. **The cost: a service account of any project of Google can get a token for your audience.** So
    /// compare `sub` or `email` with a list, as [`guide::providers`](crate::guide::providers) shows.
    GoogleServiceAccount,
    /// Kubernetes, with projected tokens of service accounts. Issuer and keys are those that
    /// `kubectl get --raw /.well-known/openid-configuration` prints. The audience is the one in the pod's projected volume.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires a `sub` of a service account and the object `kubernetes.io`. No cost.
    /// - Accepts tokens without `jti` (before version 1.30) and without a client. The cost: as for [`Supabase`](Self::Supabase).
    ///
    /// Each token acts for a client, the service account. **The cost: every pod of the cluster can get a token for your audience.**
    /// So compare `sub` with a list, as [`guide::providers`](crate::guide::providers) shows.
    Kubernetes,
    /// GitHub Actions. Its issuer is `https://token.actions.githubusercontent.com`, and the audience is the one that the workflow
    /// requests.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires `repository`. No cost.
    /// - Accepts tokens without a client. The cost: the workflow is named by other claims only, such as `job_workflow_ref`.
    ///
    /// Each token acts for a client, the workflow. **The cost: a workflow of any repository of GitHub can get a token for your
    /// audience.** So compare `repository_owner_id` and `repository` with a list, as [`guide::providers`](crate::guide::providers)
    /// shows.
    GitHubActions,
    /// FusionAuth, with a tenant. Its issuer is the one of the tenant's settings, and the audience is the application's id (for
    /// client credentials: the id of the target entity).
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: an ID token has the same audience. It is refused only because it has
    ///   `at_hash`, `c_hash` or `nonce`.
    /// - Accepts tokens without a client. The cost: as for [`GitHubActions`](Self::GitHubActions).
    /// - Reads the client from `applicationId`, which is absent if the user is not registered for the application. So check the
    ///   roles, or that there is a client.
    ///
    /// A token acts for a user if it has `authenticationType`. It acts for a client if it has neither this nor `applicationId` nor
    /// `auth_time`, but `permissions`, or a scope that begins with `target-entity:`.
    FusionAuth,
    /// authentik, with an application. Its issuer is `https://{host}/application/o/{slug}/` with the slash at the end, and the
    /// audience is the client id.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`, and requires `azp` and `uid`, which ID tokens lack. The cost: the audience is a client,
    ///   so the token is bound to an application, not to an API.
    /// - Accepts tokens without `jti`. The cost: as for [`Auth0`](Self::Auth0). `uid` identifies a token instead.
    /// - Reads the client from `azp`.
    ///
    /// A token acts for a user if it has `sid`, which only a login has. It acts for a client if it has no `sid` and
    /// `preferred_username` is `ak-…-client_credentials` (request the scope `profile`).
    ///
    /// [`roles`](crate::Token::roles) reads `groups`. Give the provider a signing key: without one it signs with the client secret.
    Authentik,
    /// Any other OpenID Connect provider whose access tokens are JWTs.
    ///
    /// - Accepts `typ: JWT` or a missing `typ`. The cost: an ID token is refused only by its audience, or if it has `nonce`,
    ///   `at_hash` or `c_hash`. So the audience must be the API's identifier, never a client's id.
    /// - Accepts tokens without `jti`. The cost: as for [`Auth0`](Self::Auth0).
    /// - Reads the client from `azp`, and the scopes from `scp`.
    ///
    /// A token acts for a client if `sub` is the client. It never acts for a user, because another `sub` may be that of a
    /// service account; it acts for [`Unknown`](crate::acts_for::ActsFor::Unknown). If you know how the issuer distinguishes
    /// them, or that it has no service accounts, set an [`ActingRule`](crate::acts_for::ActingRule) with
    /// [`acting_rule`](JwtVerifierBuilder::acting_rule).
    OpenIdConnect,
}
