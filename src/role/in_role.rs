//! [`InRole`], the evidence of a role.
//!
//! *In*: a [`Token`](crate::Token). *Out*: the evidence, or the refusal of a subject without the role.

use std::{fmt, marker::PhantomData, ops::Deref};

use super::Role;
use crate::{
    error::{AuthError, Reason},
    token::Token,
};

/// A [`Token`](crate::Token) whose subject was verified to have the role `R`. A function argument of this type proves that
/// the check was made.
///
/// As an extractor it refuses other tokens with 403 `insufficient_scope`. The challenge has no `scope`, because no scope
/// would help. To require two roles, take two arguments. To require one of several, use
/// [`Token::has_role`](crate::Token::has_role).
#[doc(alias = "groups")]
pub struct InRole<R> {
    token: Token,
    role: PhantomData<fn() -> R>,
}

impl Token {
    /// Returns evidence that `R` is among the [`roles`](Self::roles).
    ///
    /// # Errors
    /// [`InsufficientScope`](crate::error::AuthErrorKind::InsufficientScope), which is 403, without a scope in the
    /// challenge.
    pub fn require_role<R: Role>(&self) -> Result<InRole<R>, AuthError> {
        if self.has_role(R::NAME) {
            Ok(InRole { token: self.clone(), role: PhantomData })
        } else {
            Err(Reason::Role.into())
        }
    }
}

impl<R> InRole<R> {
    /// Returns the token without the evidence.
    #[must_use]
    pub fn into_token(self) -> Token {
        self.token
    }
}

impl<R> Deref for InRole<R> {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.token
    }
}

impl<R> Clone for InRole<R> {
    fn clone(&self) -> Self {
        Self { token: self.token.clone(), role: PhantomData }
    }
}

impl<R> fmt::Debug for InRole<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InRole").finish_non_exhaustive()
    }
}
