//! [`Claims`] and [`SharedClaims`]: the token's claims as a type of the application.
//!
//! *In*: the request's token. *Out*: its claims, deserialized, or 401.

use std::{ops::Deref, sync::Arc};

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::optional_token;
use crate::{error::AuthError, layer::verified_token};

/// The token's claims, deserialized into a type of the application.
///
/// A token whose claims don't fit `T` is refused with 401 `invalid_token`.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "a handler destructures an extractor in its signature")]
pub struct Claims<T>(pub T);

/// Like [`Claims`](crate::Claims), but shared: behind a [`Cached`](crate::Cached) verifier the claims are deserialized once
/// per token, not once per request. See [`Token::shared_claims`](crate::Token::shared_claims).
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a handler destructures an extractor in its signature")]
pub struct SharedClaims<T>(pub Arc<T>);

impl<T: DeserializeOwned, St: Sync> FromRequestParts<St> for Claims<T> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        verified_token(&parts.extensions, &parts.uri)?.claims().map(Self)
    }
}

impl<T: DeserializeOwned, St: Sync> OptionalFromRequestParts<St> for Claims<T> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, AuthError> {
        optional_token(parts)?.map(|token| token.claims().map(Self)).transpose()
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static, St: Sync> FromRequestParts<St> for SharedClaims<T> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
        verified_token(&parts.extensions, &parts.uri)?.shared_claims().map(Self)
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static, St: Sync> OptionalFromRequestParts<St> for SharedClaims<T> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, AuthError> {
        optional_token(parts)?.map(|token| token.shared_claims().map(Self)).transpose()
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
