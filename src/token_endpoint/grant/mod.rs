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
mod token_request;

use std::{any::TypeId, fmt, pin::Pin};

pub(crate) use self::authorization_code::invalid as invalid_grant;
pub use self::{
    authorization_code::AuthorizationCodeGrant, client_credentials::ClientCredentialsGrant,
    refresh_token::RefreshTokenGrant, token_request::TokenRequest,
};
use crate::token_endpoint::{
    client::secret::TokenHash,
    http::error::TokenError,
    record::SessionRecord,
    store::{SessionId, Timestamp},
    texts::{Handle, PresentedRefresh, RefreshBinding},
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
    /// What the refresh token of the response is bound to.
    pub(crate) binding: RefreshBinding,
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
