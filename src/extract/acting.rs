//! [`UserToken`] and [`ClientToken`]: evidence that a token acts for a user, or for the client itself.
//!
//! *In*: the request's token. *Out*: the evidence, or 403.

use std::ops::Deref;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::optional_token;
use crate::{
    acts_for::ActsFor,
    error::{AuthError, Reason},
    layer::verified_token,
    token::Token,
};

/// A token that acts for a user: it has a `sub` that is not the client (RFC 9700 §4.15). The issuer's
/// [`Preset`](crate::Preset) may have a different rule.
///
/// Any other token is refused with 403, also if it is unknown for whom it acts ([`ActsFor::Unknown`]). `Option<UserToken>`
/// is `None` for such a token, and for a request without credentials.
#[derive(Debug, Clone)]
pub struct UserToken(Token);

/// A token that a client obtained for itself: `sub` equals `client_id`, or there is no `sub`. The issuer's
/// [`Preset`](crate::Preset) may have a different rule.
///
/// Any other token is refused with 403, also if it is unknown for whom it acts ([`ActsFor::Unknown`]). `Option<ClientToken>`
/// is `None` for such a token, and for a request without credentials.
#[derive(Debug, Clone)]
pub struct ClientToken(Token);

macro_rules! acting_tokens {
    ($($evidence:ident: $acts_for:ident, $refused:ident;)+) => {$(
        impl $evidence {
            /// Returns the token without the evidence.
            #[must_use]
            pub fn into_token(self) -> Token {
                self.0
            }

            fn from_token(token: &Token) -> Option<Self> {
                (token.acts_for() == ActsFor::$acts_for).then(|| Self(token.clone()))
            }
        }

        impl TryFrom<Token> for $evidence {
            type Error = AuthError;

            /// Returns evidence for whom the token acts, or the refusal that the extractor returns: 403.
            fn try_from(token: Token) -> Result<Self, AuthError> {
                Self::from_token(&token).ok_or_else(|| Reason::$refused.into())
            }
        }

        impl Deref for $evidence {
            type Target = Token;

            fn deref(&self) -> &Token {
                &self.0
            }
        }

        impl<St: Sync> FromRequestParts<St> for $evidence {
            type Rejection = AuthError;

            async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, AuthError> {
                Self::from_token(verified_token(&parts.extensions, &parts.uri)?).ok_or_else(|| Reason::$refused.into())
            }
        }

        impl<St: Sync> OptionalFromRequestParts<St> for $evidence {
            type Rejection = AuthError;

            async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, AuthError> {
                Ok(optional_token(parts)?.and_then(Self::from_token))
            }
        }
    )+};
}

acting_tokens! {
    UserToken: User, NotActingForUser;
    ClientToken: Client, NotActingForClient;
}
