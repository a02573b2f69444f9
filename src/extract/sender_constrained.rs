//! [`SenderConstrained`]: evidence that the token is bound to a key or a certificate of the request's sender.
//!
//! *In*: the request's token. *Out*: the evidence, or 401.

use std::ops::Deref;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::optional_token;
use crate::{error::AuthError, layer::verified_token};

/// What the extractor `T` returns, for a token that is bound to a key or a certificate. The server has checked that the sender of
/// the request has it (RFC 9449, RFC 8705), so a stolen token alone doesn't get here.
///
/// Every other token is refused with 401, reason `constraint_required`, before `T` is asked. `T` is
/// [`Token`](crate::Token), [`Scoped`](crate::Scoped) or another extractor of this crate. `Option<SenderConstrained<T>>` is `None`
/// for such a token, and otherwise what `Option<T>` is.
///
/// ```
/// # tower_oauth::scopes! { pub Payments = "payments"; }
/// use tower_oauth::{Scoped, extract::SenderConstrained};
///
/// async fn pay(payer: SenderConstrained<Scoped<Payments>>) -> String {
///     format!("{:?} pays, with the key {:?}", payer.subject(), payer.confirmation())
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(pay));
/// ```
#[derive(Debug, Clone)]
pub struct SenderConstrained<T>(T);

impl<T> SenderConstrained<T> {
    /// Returns what the extractor returned, without the evidence.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for SenderConstrained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FromRequestParts<St, Rejection = AuthError>, St: Sync> FromRequestParts<St> for SenderConstrained<T> {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &St) -> Result<Self, AuthError> {
        verified_token(&parts.extensions, &parts.uri)?.require_sender_constraint()?;
        T::from_request_parts(parts, state).await.map(Self)
    }
}

impl<T: OptionalFromRequestParts<St, Rejection = AuthError>, St: Sync> OptionalFromRequestParts<St>
    for SenderConstrained<T>
{
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &St) -> Result<Option<Self>, AuthError> {
        match optional_token(parts)? {
            Some(token) if token.require_sender_constraint().is_ok() => {
                Ok(T::from_request_parts(parts, state).await?.map(Self))
            }
            _ => Ok(None),
        }
    }
}
