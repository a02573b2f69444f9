//! Extractors for axum 0.8: what a handler requires in its signature.
//!
//! *In*: the [`Token`] that the layer put into the request's extensions. *Out*: the token, or evidence made
//! from it.
//!
//! | extractor | accepts | otherwise | as `Option` |
//! |---|---|---|---|
//! | [`Token`] | every verified token | 401 | `None` without credentials |
//! | [`Scoped<S>`](crate::Scoped) | a token with the scopes `S` | 403 | `None` without credentials or without the scopes |
//! | [`InRole<R>`](crate::InRole) | a token whose subject has the role `R` | 403 | `None` without credentials or without the role |
//! | [`UserToken`](crate::UserToken) | a token that acts for a user | 403 | `None` without credentials or for any other token |
//! | [`ClientToken`](crate::ClientToken) | a token that a client obtained for itself | 403 | `None` without credentials or for any other token |
//! | [`Claims<T>`](crate::Claims), [`SharedClaims<T>`] | a token whose claims deserialize into `T` | 401 | `None` without credentials; unsuitable claims are still 401 |
//! | [`SenderConstrained<T>`] | what `T` accepts, if the token is bound to a key or a certificate of the sender | 401 | `None` without credentials or for a token that is not bound |
//! | [`TokenLifetime`] | every verified token, behind a layer with [`token_lifetimes`](crate::OAuthLayer::token_lifetimes) | 401 | `None` without credentials |
//! | [`LateRefusals`] | every request, behind a layer with [`late_refusals`](crate::OAuthLayer::late_refusals) | | |
//!
//! An `Option` needs a layer with [`allow_anonymous`](crate::OAuthLayer::allow_anonymous): without it the layer refuses a
//! request that has no credentials. Credentials that are not valid are always refused by the layer.
//!
//! Extractors never read a header. On a route without the layer they respond with 500. The mistake is logged when the token is
//! looked for, so also if the handler takes a `Result` and responds in another way.
//!
//! Don't take axum's `Extension<Token>` or `Option<Extension<Token>>`. axum looks for the token itself, so nothing is logged
//! without the layer, and `Option<Extension<Token>>` is then `None` for every request: the route is open, as if it allowed
//! anonymous requests. `Option<Token>` responds with 500 there.
//!
//! ```
//! # tower_oauth::scopes! { pub OrdersRead = "orders:read"; pub OrdersWrite = "orders:write"; pub Admin = "admin"; }
//! use serde::Deserialize;
//! use tower_oauth::{AnyOf, Claims, Scoped, Token, UserToken};
//!
//! #[derive(Deserialize)]
//! struct Tenant {
//!     tenant: String,
//! }
//!
//! async fn list(_: Scoped<OrdersRead>, Claims(Tenant { tenant }): Claims<Tenant>) -> String {
//!     format!("the orders of {tenant}")
//! }
//! async fn change(_: Scoped<(OrdersRead, AnyOf<(OrdersWrite, Admin)>)>) {}
//! async fn mine(user: UserToken) -> String {
//!     user.subject().unwrap_or_default().to_owned()
//! }
//! async fn home(token: Option<Token>, admin: Option<Scoped<Admin>>) -> &'static str {
//!     match (token, admin) {
//!         (_, Some(_)) => "welcome, administrator",
//!         (Some(_), None) => "welcome back",
//!         (None, None) => "welcome",
//!     }
//! }
//! # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(list).post(change).put(mine).head(home));
//! ```

pub(crate) mod acting;
pub(crate) mod claims;
mod sender_constrained;

use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;

pub use self::{claims::SharedClaims, sender_constrained::SenderConstrained};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{late_refusals::LateRefusals, unrendered_response, verified_token},
    lifetime::TokenLifetime,
    log::MissingAt,
    role::{InRole, Role},
    scope::RequiredScopes,
    token::{Scoped, Token},
};

impl<St: Sync> FromRequestParts<St> for Token {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        verified_token(&parts.extensions, &parts.uri).cloned()
    }
}

impl<St: Sync> OptionalFromRequestParts<St> for Token {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, AuthError> {
        Ok(optional_token(parts)?.cloned())
    }
}

impl<S: RequiredScopes, St: Sync> FromRequestParts<St> for Scoped<S> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        verified_token(&parts.extensions, &parts.uri)?.require()
    }
}

impl<S: RequiredScopes, St: Sync> OptionalFromRequestParts<St> for Scoped<S> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, AuthError> {
        Ok(optional_token(parts)?.and_then(|token| token.require().ok()))
    }
}

impl<R: Role, St: Sync> FromRequestParts<St> for InRole<R> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        verified_token(&parts.extensions, &parts.uri)?.require_role()
    }
}

impl<R: Role, St: Sync> OptionalFromRequestParts<St> for InRole<R> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, AuthError> {
        Ok(optional_token(parts)?.and_then(|token| token.require_role().ok()))
    }
}

impl<St: Sync> FromRequestParts<St> for TokenLifetime {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        Self::find(&parts.extensions, MissingAt::Path(parts.uri.path()))
    }
}

impl<St: Sync> OptionalFromRequestParts<St> for TokenLifetime {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, AuthError> {
        match Self::find(&parts.extensions, MissingAt::Path(parts.uri.path())) {
            Ok(lifetime) => Ok(Some(lifetime)),
            Err(error) if error.kind() == AuthErrorKind::MissingCredentials => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<St: Sync> FromRequestParts<St> for LateRefusals {
    type Rejection = AuthError;

    /// Refuses only on a route without the layer. The checks of an anonymous request refuse one by one.
    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        let refusals = Self::find(&parts.extensions, MissingAt::Path(parts.uri.path()));
        refusals.missing_layer().map_or(Ok(refusals), Err)
    }
}

impl IntoResponse for AuthError {
    /// Returns a complete response. The layer replaces it by one with the server's parameters and the renderer's body.
    fn into_response(self) -> Response {
        unrendered_response(self)
    }
}

/// Returns the token, or `None` if the layer let the request pass without credentials.
fn optional_token(parts: &Parts) -> Result<Option<&Token>, AuthError> {
    match verified_token(&parts.extensions, &parts.uri) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.kind() == AuthErrorKind::MissingCredentials => Ok(None),
        Err(error) => Err(error),
    }
}
