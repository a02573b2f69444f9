//! Extractors for axum 0.8: what a handler asks for in its signature.
//!
//! *In*: the [`Token`] that the layer put into the request. *Out*: it, or evidence made from it.
//!
//! They never read a header themselves. Without a layer on the route they answer 500 and log the mistake.
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
//! async fn home(token: Option<Token>) -> &'static str {
//!     if token.is_some() { "welcome back" } else { "welcome" }
//! }
//! # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(list).post(change).put(mine).head(home));
//! ```

use std::{ops::Deref, sync::Arc};

use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{
    acts_for::ActsFor,
    error::{AuthError, AuthErrorKind, Reason},
    layer::{admitted, unworded},
    role::{InRole, Role},
    scope::RequiredScopes,
    token::{Scoped, Token},
};

/// The token's claims, as the user's own type sees them.
///
/// A token whose claims don't fit is refused with 401 `invalid_token`.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "an extractor is taken apart in the handler's signature")]
pub struct Claims<T>(pub T);

/// As [`Claims`], but shared: behind a [`Cached`](crate::Cached) verifier the claims are read once for each token and not
/// once for each request. See [`Token::shared_claims`].
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "an extractor is taken apart in the handler's signature")]
pub struct SharedClaims<T>(pub Arc<T>);

/// A token that acts for a person: there is a `sub`, and it isn't the client (RFC 9700 §4.15), or what the issuer's
/// [`Preset`](crate::Preset) says instead.
///
/// A client's own token is refused with 403. As `Option<UserToken>` it is `None` for clients and the anonymous alike.
#[derive(Debug, Clone)]
pub struct UserToken(Token);

/// A token that a client got for itself: `sub` equals `client_id`, or there is no `sub`, or what the issuer's
/// [`Preset`](crate::Preset) says instead.
///
/// A person's token is refused with 403.
#[derive(Debug, Clone)]
pub struct ClientToken(Token);

macro_rules! wraps_token {
    ($($evidence:ident)+) => {$(
        impl Deref for $evidence {
            type Target = Token;

            fn deref(&self) -> &Token {
                &self.0
            }
        }

        impl $evidence {
            /// The token alone, without the evidence.
            #[must_use]
            pub fn into_token(self) -> Token {
                self.0
            }
        }
    )+};
}

wraps_token! { UserToken ClientToken }

impl<St: Sync> FromRequestParts<St> for Token {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        admitted(&parts.extensions).cloned()
    }
}

impl<St: Sync> OptionalFromRequestParts<St> for Token {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, AuthError> {
        match admitted(&parts.extensions) {
            Ok(token) => Ok(Some(token.clone())),
            Err(error) if error.kind() == AuthErrorKind::MissingCredentials => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<S: RequiredScopes, St: Sync> FromRequestParts<St> for Scoped<S> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        admitted(&parts.extensions)?.require()
    }
}

impl<R: Role, St: Sync> FromRequestParts<St> for InRole<R> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        admitted(&parts.extensions)?.require_role()
    }
}

impl<T: DeserializeOwned, St: Sync> FromRequestParts<St> for Claims<T> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        admitted(&parts.extensions)?.claims().map(Self)
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static, St: Sync> FromRequestParts<St> for SharedClaims<T> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        admitted(&parts.extensions)?.shared_claims().map(Self)
    }
}

impl<T> Clone for SharedClaims<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for SharedClaims<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<St: Sync> FromRequestParts<St> for UserToken {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        match admitted(&parts.extensions)? {
            token if token.acts_for() == ActsFor::User => Ok(Self(token.clone())),
            _ => Err(Reason::ActsForNoUser.into()),
        }
    }
}

impl<St: Sync> OptionalFromRequestParts<St> for UserToken {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &St) -> Result<Option<Self>, AuthError> {
        let token = <Token as OptionalFromRequestParts<St>>::from_request_parts(parts, state).await?;
        Ok(token.filter(|token| token.acts_for() == ActsFor::User).map(Self))
    }
}

impl<St: Sync> FromRequestParts<St> for ClientToken {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        match admitted(&parts.extensions)? {
            token if token.acts_for() == ActsFor::Client => Ok(Self(token.clone())),
            _ => Err(Reason::ActsForAUser.into()),
        }
    }
}

impl IntoResponse for AuthError {
    /// Complete by itself; a layer further out words it anew, with what its server knows.
    fn into_response(self) -> Response {
        unworded(self)
    }
}
