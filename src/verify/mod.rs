//! Verification: is this token valid?
//!
//! *In*: a [`PresentedToken`], from the request. *Out*: a [`Verdict`]: a [`Token`], or why it was refused.
//!
//! There are three results, not two. A token that *could not be checked* is
//! [`AuthErrorKind::Unavailable`](crate::error::AuthErrorKind::Unavailable), which says nothing about the token.
//!
//! Scopes, roles and the binding to a key or certificate (`cnf`) are *not* checked here: see
//! [`ResourceServer`](crate::ResourceServer) and the extractors.

pub(crate) mod cached;
mod demand;
mod dynamic_issuers;
mod expected;
mod id_token;
pub(crate) mod introspection;
pub(crate) mod jwt;
pub(crate) mod jwt_or_opaque;
mod presented_token;
pub(crate) mod preset;
mod trusted_issuers;
mod verifier_ids;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

#[cfg(feature = "test-util")]
pub(crate) use self::jwt::{TokenTypes, check_signature};
use self::presented_token::Tracked;
#[cfg(feature = "token-endpoint")]
pub(crate) use self::trusted_issuers::unverified_token_issuer;
pub use self::{
    cached::{CacheKey, CachedBuilder},
    dynamic_issuers::{DynamicIssuers, DynamicIssuersBuilder, IssuerInquiry},
    introspection::{ClientAuthentication, IntrospectionVerifierBuilder},
    jwt::{Check, Cure, Explanation, JwtVerifierBuilder, OptionalClaim, SuitablePreset},
    jwt_or_opaque::JwtOrOpaqueBuilder,
    presented_token::{PresentedToken, TokenPermit},
    preset::UnknownPreset,
    trusted_issuers::TrustedIssuers,
};
pub(crate) use self::{jwt::JwtVerifier, preset::Preset};
pub use crate::credentials::BearerMethod;
use crate::{
    error::AuthError,
    token::{Branches, Token},
};

/// Verifies the token of a request.
///
/// [`JwtVerifier`] verifies JWT access tokens, [`IntrospectionVerifier`](crate::IntrospectionVerifier)
/// opaque ones. For any other kind of token, implement this trait:
///
/// ```
/// use tower_oauth::{verify::{PresentedToken, Verdict, Verify}, AuthError};
///
/// struct StaticTokens;
///
/// impl Verify for StaticTokens {
///     fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
///         // For real use, compare in constant time, or look up a hash.
///         if presented.token() == "correct-horse" {
///             Verdict::Now(presented.permit().token(&serde_json::json!({"sub": "ada", "scope": "orders:read"})))
///         } else {
///             Verdict::Now(Err(AuthError::invalid_token()))
///         }
///     }
/// }
/// # let _ = tower_oauth::OAuthLayer::new(StaticTokens);
/// ```
///
/// The defaults of the other methods are right for a verifier that reads nothing but the token. A verifier that wraps
/// another one must forward all six methods.
pub trait Verify: Send + Sync + 'static {
    /// Verifies the token. Returns [`Verdict::Later`] only if it must wait, for example for the network.
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict;

    /// Verifies the token if this verifier is responsible for it. `None` passes it on to another verifier, for
    /// [`JwtOrOpaque`](crate::JwtOrOpaque).
    ///
    /// Unverified content of the token, such as `iss`, may decide whether this verifier is responsible. A verdict is
    /// final: a token that is refused here is not passed on.
    ///
    /// Default: responsible for every token, except for a JWT that the first verifier of a
    /// [`JwtOrOpaque`](crate::JwtOrOpaque) is not responsible for.
    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        (!presented.must_be_recognized()).then(|| self.verify(presented))
    }

    /// Adds what the verdict depends on besides the token, such as an endpoint or a tenant in a header. For
    /// [`Cached`](crate::Cached).
    ///
    /// A verifier that passes tokens to another one calls that one's `cache_key`, too, and chooses it in the same way as
    /// in `verify`. The verifiers of this crate add themselves. So a verdict is found again only if the same verifier is
    /// chosen again; the verdict of a verifier that did not add itself is never cached.
    ///
    /// A verifier whose own verdict depends on [`PresentedToken::parts`] or [`PresentedToken::bearer_method`] reads them here
    /// too, and adds each value that it uses. For a missing value it also adds a part, such as an empty one. If nothing is
    /// added, verdicts of such a verifier are not cached.
    ///
    /// Default: adds nothing.
    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        let _ = (presented, key);
    }

    /// Returns whether a token that this verifier accepted earlier would still be accepted. Checks only what can be checked
    /// without the network. [`Cached`](crate::Cached) calls it on every hit, and checks the expiry itself.
    ///
    /// Default: true for tokens made with a [`TokenPermit`], false for those of a [`JwtVerifier`]. Only
    /// that verifier knows whether its issuer still publishes the key, so a wrapper must forward this method.
    fn is_still_valid(&self, token: &Token) -> bool {
        token.facts().origin.key_epoch == 0
    }

    /// Returns the identifiers of the issuers whose tokens it accepts, as the tokens have them in `iss`. A
    /// [`ProtectedResource`](crate::ProtectedResource) lists them as its authorization servers. Called at start-up only.
    ///
    /// Default: empty, which means that they are not known.
    fn issuers(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the audiences of which a token must have at least one. The identifier of a
    /// [`ProtectedResource`](crate::ProtectedResource) must be among them. Called at start-up only.
    ///
    /// Default: `None`, which means that they are not known.
    fn audiences(&self) -> Option<Vec<String>> {
        None
    }
}

/// Implements [`Verify`] for a pointer. It forwards every method, because the defaults of a wrapper would be wrong.
macro_rules! forward_verify {
    ($($pointer:ident)+) => {$(
        impl<V: Verify + ?Sized> Verify for $pointer<V> {
            fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
                (**self).verify(presented)
            }

            fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
                (**self).verify_if_responsible(presented)
            }

            fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
                (**self).cache_key(presented, key);
            }

            fn is_still_valid(&self, token: &Token) -> bool {
                (**self).is_still_valid(token)
            }

            fn issuers(&self) -> Vec<String> {
                (**self).issuers()
            }

            fn audiences(&self) -> Option<Vec<String>> {
                (**self).audiences()
            }
        }
    )+};
}

forward_verify!(Box Arc);

/// The result of a verifier, now or later.
#[must_use = "a token is accepted or refused only by its verdict"]
#[non_exhaustive]
pub enum Verdict {
    /// The result is known.
    Now(Result<Token, AuthError>),
    /// The result is known after a wait. The future borrows nothing from the request.
    Later(VerdictFuture),
}

impl Verdict {
    /// Returns a verdict whose result is the output of this future.
    pub fn later(verifying: impl Future<Output = Result<Token, AuthError>> + Send + 'static) -> Self {
        Self::Later(VerdictFuture { verifying: Box::pin(verifying), branches: Branches::default(), undecided: false })
    }

    /// Like [`later`](Self::later), for a verifier that knows only later whether it is responsible for the token. If it isn't,
    /// the error is [`AuthError::not_responsible`].
    fn undecided(verifying: impl Future<Output = Result<Token, AuthError>> + Send + 'static) -> Self {
        Self::Later(VerdictFuture { verifying: Box::pin(verifying), branches: Branches::default(), undecided: true })
    }

    /// Records in the token which of two verifiers made it.
    fn with_branch(self, second: bool) -> Self {
        match self {
            Self::Now(result) => Self::Now(result.map(|token| {
                let branches = token.branches().push(second);
                token.with_branches(branches)
            })),
            Self::Later(VerdictFuture { verifying, branches, undecided }) => {
                Self::Later(VerdictFuture { verifying, branches: branches.push(second), undecided })
            }
        }
    }

    /// Returns the result; waits for it if necessary.
    ///
    /// # Errors
    /// The token was refused, or could not be checked.
    pub async fn resolve(self) -> Result<Token, AuthError> {
        match self {
            Self::Now(result) => result,
            Self::Later(verifying) => verifying.await,
        }
    }
}

/// The future of [`Verdict::Later`].
#[must_use = "futures do nothing unless polled"]
pub struct VerdictFuture {
    verifying: Pin<Box<dyn Future<Output = Result<Token, AuthError>> + Send>>,
    /// Added to the token's choices.
    branches: Branches,
    /// True if the result may be that the verifier isn't responsible for the token.
    undecided: bool,
}

impl VerdictFuture {
    fn is_undecided(&self) -> bool {
        self.undecided
    }
}

impl Future for VerdictFuture {
    type Output = Result<Token, AuthError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.verifying.as_mut().poll(cx));
        Poll::Ready(result.map(|token| {
            let branches = token.branches().append(self.branches);
            token.with_branches(branches)
        }))
    }
}

impl fmt::Debug for VerdictFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerdictFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(result) => f.debug_tuple("Now").field(result).finish(),
            Self::Later(_) => f.debug_tuple("Later").finish_non_exhaustive(),
        }
    }
}
