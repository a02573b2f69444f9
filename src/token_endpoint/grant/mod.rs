//! Grants: the ways in which a client gets a token (RFC 6749 §1.3).
//!
//! *In*: a request whose client is authenticated and may use the grant. *Out*: [`Granted`]: the subject, scope and audience
//! of the token.
//!
//! Each grant has its own file. The token endpoint makes and stores the tokens.

mod authorization_code;
mod client_credentials;
pub(crate) mod pkce;
mod refresh_token;

use std::{any::TypeId, fmt, pin::Pin, time::SystemTime};

use http::HeaderMap;

use self::authorization_code::audience as approved_audience;
pub(crate) use self::authorization_code::invalid as invalid_grant;
pub use self::{
    authorization_code::AuthorizationCodeGrant, client_credentials::ClientCredentialsGrant,
    refresh_token::RefreshTokenGrant,
};
use crate::token_endpoint::{
    client::{Client, authenticate::ClientAssertion, secret::TokenHash},
    endpoints::{ClientRequest, ServerState, introspect::OwnToken},
    http::{
        error::{TokenError, TokenErrorKind},
        request::Parameters,
    },
    record::SessionRecord,
    services::Services,
    store::{SessionId, Timestamp},
    texts::{Handle, PresentedRefresh},
    token_content::TokenContent,
};

/// Decides on the requests of one `grant_type`. Implement it for a grant of your own:
///
/// ```
/// use tower_oauth::token_endpoint::{Grant, Granted, TokenError, TokenErrorKind, TokenRequest};
///
/// struct GiftCard;
///
/// impl Grant for GiftCard {
///     fn grant_type(&self) -> &str {
///         "urn:example:gift-card"
///     }
///
///     async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
///         // A real grant finds the gift card and marks it as used in one step.
///         match request.required("gift_card")? {
///             "2026-ada" => request.grant_to("ada"),
///             _ => Err(TokenError::new(TokenErrorKind::InvalidGrant, "The gift card is unknown")),
///         }
///     }
/// }
/// ```
///
/// A wrapper of another grant forwards every method, the provided ones included.
pub trait Grant: Send + Sync + 'static {
    /// Returns the value of `grant_type`. If it is not a registered name, it is an absolute URI (RFC 6749 §4.5).
    fn grant_type(&self) -> &str;

    /// Decides on a request. The client is authenticated, and registered for this grant.
    ///
    /// # Errors
    /// The request is refused, with an error code of RFC 6749 §5.2.
    fn decide(&self, request: &TokenRequest<'_>) -> impl Future<Output = Result<Granted, TokenError>> + Send;

    /// Returns the lifetimes of refresh tokens. The grant `refresh_token` must return them.
    fn refresh_token_settings(&self) -> Option<&RefreshTokenGrant> {
        None
    }

    /// Returns the URL of the authorization endpoint. The grant `authorization_code` must return it.
    fn authorization_endpoint(&self) -> Option<&str> {
        None
    }

    /// Returns whether this grant issues refresh tokens, so that the endpoint may offer the grant `refresh_token`. Default: only
    /// if it has an [authorization endpoint](Self::authorization_endpoint). A grant that calls [`Granted::with_refresh_token`]
    /// returns true.
    fn issues_refresh_tokens(&self) -> bool {
        self.authorization_endpoint().is_some()
    }
}

/// A request for a token, from an authenticated client.
pub struct TokenRequest<'r> {
    client: &'r Client,
    parameters: &'r Parameters,
    assertion: &'r ClientAssertion,
    headers: &'r HeaderMap,
    server: &'r ServerState,
}

impl<'r> TokenRequest<'r> {
    pub(crate) fn new(request: &'r ClientRequest, headers: &'r HeaderMap, server: &'r ServerState) -> Self {
        let ClientRequest { client, parameters, assertion } = request;
        Self { client, parameters, assertion, headers, server }
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &'r Client {
        self.client
    }

    /// Returns the time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.server.services.now()
    }

    /// Returns a parameter. An empty value counts as absent (RFC 6749 §3.2).
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::token_endpoint::TokenErrorKind::InvalidRequest): the parameter is repeated.
    pub fn parameter(&self, name: &str) -> Result<Option<&'r str>, TokenError> {
        self.parameters.get(name)
    }

    /// Returns a required parameter.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::token_endpoint::TokenErrorKind::InvalidRequest): the parameter is missing or repeated.
    pub fn required(&self, name: &str) -> Result<&'r str, TokenError> {
        self.parameters.required(name)
    }

    /// Returns the headers of the request. They may contain the client's secret.
    #[must_use]
    pub fn headers(&self) -> &'r HeaderMap {
        self.headers
    }

    /// Returns the access token with this text, if this endpoint issued it and it is active, for example the `subject_token` of a
    /// token exchange (RFC 8693 §2.1). The grant decides whether the client may use it: any client may have got it, for any API.
    ///
    /// # Errors
    /// The store or the client registry is unavailable.
    pub async fn active_token(&self, text: &str) -> Result<Option<OwnToken>, TokenError> {
        Ok(self.server.active_token(text).await?.map(OwnToken::from))
    }

    /// Grants the requested scopes and resource to `subject`, within what the client is registered for. A request without scopes
    /// gets the client's default scopes. For scopes that were requested or approved before this request, see
    /// [`grant_access_to`](Self::grant_access_to).
    ///
    /// # Errors
    /// [`InvalidScope`](crate::token_endpoint::TokenErrorKind::InvalidScope) or
    /// [`InvalidTarget`](crate::token_endpoint::TokenErrorKind::InvalidTarget): the request exceeds the registration.
    pub fn grant_to(&self, subject: impl Into<String>) -> Result<Granted, TokenError> {
        let scope = self.client.scopes(self.parameter("scope")?)?;
        let audience = self.client.audience(&self.resources())?.to_owned();
        Ok(Granted::new(subject.into(), scope, audience, Vec::new()))
    }

    /// Grants what a user approved for `subject` before this request: these scopes, and a token for one of these resources. With
    /// `resource`, the request chooses which one (RFC 8707 §2.2); otherwise it is the first. Without resources, it is the first
    /// audience of the client. The parameter `scope` is not read. As for a code, scopes that the client is not registered for are
    /// left out.
    ///
    /// A refresh token of [`with_refresh_token`](Granted::with_refresh_token) is for all of these scopes and resources.
    ///
    /// ```
    /// use tower_oauth::token_endpoint::{Granted, TokenError, TokenRequest};
    ///
    /// /// What the user approved on the page of the device authorization (RFC 8628 §3.3).
    /// struct Approval {
    ///     user: String,
    ///     scopes: Vec<String>,
    ///     resources: Vec<String>,
    /// }
    ///
    /// fn decide(request: &TokenRequest<'_>, approval: &Approval) -> Result<Granted, TokenError> {
    ///     let granted = request.grant_access_to(&approval.user, &approval.scopes, &approval.resources)?;
    ///     Ok(granted.with_refresh_token())
    /// }
    /// # let _ = decide;
    /// ```
    ///
    /// # Errors
    /// - [`InvalidScope`](crate::token_endpoint::TokenErrorKind::InvalidScope): the client is registered for scopes, but for none of
    ///   these.
    /// - [`InvalidTarget`](crate::token_endpoint::TokenErrorKind::InvalidTarget): the resource is not one of these, or the client is
    ///   not registered for it.
    pub fn grant_access_to<N: AsRef<str>, R: AsRef<str>>(
        &self,
        subject: impl Into<String>,
        scopes: impl IntoIterator<Item = N>,
        resources: impl IntoIterator<Item = R>,
    ) -> Result<Granted, TokenError> {
        let mut names: Vec<String> = Vec::new();
        for name in scopes {
            if self.client.may_have(name.as_ref()) && names.iter().all(|other| other != name.as_ref()) {
                names.push(name.as_ref().to_owned());
            }
        }
        // A response without `scope` means all requested scopes (RFC 6749 §5.1), so no token with none can be issued.
        if names.is_empty() && self.client.has_scopes() {
            return Err(TokenError::new(
                TokenErrorKind::InvalidScope,
                "No approved scope may be granted to the client",
            ));
        }
        let mut resources: Vec<String> = resources.into_iter().map(|resource| resource.as_ref().to_owned()).collect();
        if resources.is_empty() {
            resources.push(self.client.audience(&[])?.to_owned());
        }
        let audience = approved_audience(&resources, self.client, &self.resources())?;
        Ok(Granted::new(subject.into(), names.join(" "), audience, resources))
    }

    /// Returns the values of `resource` (RFC 8707 §2) and `audience`, its name in RFC 8693 §2.1.
    pub(crate) fn resources(&self) -> Vec<&'r str> {
        self.parameters.all("resource").chain(self.parameters.all("audience")).collect()
    }

    fn services(&self) -> &'r Services {
        &self.server.services
    }
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("client", &self.client)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// The decision of a grant: the content of an access token, and what the token endpoint does to issue it.
pub struct Granted {
    pub(crate) subject: String,
    pub(crate) scope: String,
    pub(crate) audience: String,
    /// The resources of a session that begins with this token. Empty: only `audience`.
    pub(crate) resources: Vec<String>,
    pub(crate) write: PlannedWrite,
    /// In a box, so that the futures of the crate's own grants stay small.
    pub(crate) content: Option<Box<TokenContent>>,
}

impl Granted {
    /// Returns a decision for a token without a session.
    fn new(subject: String, scope: String, audience: String, resources: Vec<String>) -> Self {
        Self { subject, scope, audience, resources, write: PlannedWrite::Issue, content: None }
    }

    /// Adds claims, response parameters and fewer scopes, or sets the lifetime. What the application's hook sets for the same
    /// token counts more.
    ///
    /// With a refresh token, the scopes, the claims, the form of `scope` and `username` stay with the session: each later token has
    /// them. The lifetime and the response parameters are those of this token only.
    #[must_use]
    pub fn with_content(self, content: TokenContent) -> Self {
        Self { content: Some(Box::new(content)), ..self }
    }

    /// Begins a session with a refresh token, if the client is registered for `refresh_token` and the endpoint offers
    /// [`RefreshTokenGrant`]. Otherwise there is no refresh token. The session ends as one that a user approved on a page.
    ///
    /// The endpoint is built only if [`Grant::issues_refresh_tokens`] of some grant is true.
    #[must_use]
    pub fn with_refresh_token(self) -> Self {
        match self.write {
            PlannedWrite::Issue => Self { write: PlannedWrite::Begin, ..self },
            _ => self,
        }
    }

    /// Returns `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the granted scopes: names separated by spaces; may be empty.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Returns `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").finish_non_exhaustive()
    }
}

/// The one write that issues the tokens. Everything else was checked before.
pub(crate) enum PlannedWrite {
    /// An access token without a session.
    Issue,
    /// A new session, if the client may have refresh tokens. Becomes one of the others before anything is written.
    Begin,
    /// Uses a code.
    Redeem(Box<PlannedRedeem>),
    /// Uses a refresh token.
    Refresh(Box<PlannedRefresh>),
}

pub(crate) struct PlannedRedeem {
    pub(crate) session: SessionId,
    pub(crate) code: TokenHash,
    pub(crate) record: SessionRecord,
    pub(crate) handle: Handle,
    pub(crate) expires_at: Timestamp,
    pub(crate) code_origin: CodeOrigin,
}

/// Where the code of a session comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeOrigin {
    /// A user's approval, which the store has.
    Stored,
    /// This request, which adds it to the store and uses it.
    New,
}

pub(crate) struct PlannedRefresh {
    pub(crate) presented: PresentedRefresh,
    /// The text of the presented token.
    pub(crate) text: String,
    pub(crate) record: SessionRecord,
    pub(crate) expires_at: Timestamp,
}

/// [`Grant`] as a trait object.
pub(crate) trait ErasedGrant: Send + Sync {
    fn grant_type(&self) -> &str;
    fn decide<'a>(&'a self, request: &'a TokenRequest<'_>) -> GrantFuture<'a>;
    fn refresh_token_settings(&self) -> Option<&RefreshTokenGrant>;
    fn authorization_endpoint(&self) -> Option<&str>;
    fn issues_refresh_tokens(&self) -> bool;
    /// True for the grants of this crate, which have no effect before the write that issues the tokens.
    fn only_reads(&self) -> bool;
}

pub(crate) type GrantFuture<'a> = Pin<Box<dyn Future<Output = Result<Granted, TokenError>> + Send + 'a>>;

impl<G: Grant> ErasedGrant for G {
    fn grant_type(&self) -> &str {
        Grant::grant_type(self)
    }

    fn decide<'a>(&'a self, request: &'a TokenRequest<'_>) -> GrantFuture<'a> {
        Box::pin(Grant::decide(self, request))
    }

    fn refresh_token_settings(&self) -> Option<&RefreshTokenGrant> {
        Grant::refresh_token_settings(self)
    }

    fn authorization_endpoint(&self) -> Option<&str> {
        Grant::authorization_endpoint(self)
    }

    fn issues_refresh_tokens(&self) -> bool {
        Grant::issues_refresh_tokens(self)
    }

    fn only_reads(&self) -> bool {
        [
            TypeId::of::<ClientCredentialsGrant>(),
            TypeId::of::<AuthorizationCodeGrant>(),
            TypeId::of::<RefreshTokenGrant>(),
        ]
        .contains(&TypeId::of::<G>())
    }
}
