//! Verification: is this token valid?
//!
//! *In*: a [`PresentedToken`], from the request. *Out*: a [`Verdict`]: a [`Token`], or why it was refused.
//!
//! There are three results, not two. A token that *could not be checked* is
//! [`AuthErrorKind::Unavailable`](crate::error::AuthErrorKind::Unavailable), which says nothing about the token.
//!
//! Scopes, roles and the binding to a key (`cnf`) are *not* checked here: see
//! [`ResourceServer`](crate::ResourceServer) and the extractors.

pub(crate) mod cached;
mod dynamic_issuers;
mod expected;
pub(crate) mod introspection;
pub(crate) mod jwt;
pub(crate) mod jwt_or_opaque;
pub(crate) mod preset;
mod trusted_issuers;
mod verifier_ids;

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::request::Parts;
use serde::Serialize;

#[cfg(feature = "test-util")]
pub(crate) use self::jwt::check_signature;
use self::verifier_ids::VerifierIds;
pub use self::{
    cached::{CacheKey, CachedBuilder},
    dynamic_issuers::{DynamicIssuers, DynamicIssuersBuilder},
    introspection::{ClientAuthentication, IntrospectionVerifierBuilder},
    jwt::{JwtVerifierBuilder, OptionalClaim},
    jwt_or_opaque::JwtOrOpaqueBuilder,
    trusted_issuers::TrustedIssuers,
};
pub(crate) use self::{jwt::JwtVerifier, preset::Preset};
pub use crate::credentials::BearerMethod;
use crate::{
    claims::{ClaimNames, TokenOrigin, VerifierId},
    credentials::Credentials,
    error::{AuthError, Reason},
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
/// another one must forward all four methods.
pub trait Verify: Send + Sync + 'static {
    /// Verifies the token. Returns [`Verdict::Later`] only if it must wait, for example for the network.
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict;

    /// Verifies the token if this verifier is responsible for it. `None` passes it on to another verifier, for
    /// [`JwtOrOpaque`](crate::JwtOrOpaque).
    ///
    /// Unverified content of the token, such as `iss`, may decide whether this verifier is responsible. A verdict is
    /// final: a token that is refused here is not passed on.
    ///
    /// Default: always responsible.
    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        Some(self.verify(presented))
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
    /// Default: true for tokens made with a [`TokenPermit`], false for those of the crate's verifiers. Only the verifier that
    /// made a token knows whether its issuer still publishes the key, so a wrapper must forward this method.
    fn is_still_valid(&self, token: &Token) -> bool {
        token.facts().origin.verifier.is_none()
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
        Self::Later(VerdictFuture { verifying: Box::pin(verifying), branches: Branches::default() })
    }

    /// Records in the token which of two verifiers made it.
    fn with_branch(self, second: bool) -> Self {
        match self {
            Self::Now(result) => Self::Now(result.map(|token| {
                let branches = token.branches().push(second);
                token.with_branches(branches)
            })),
            Self::Later(VerdictFuture { verifying, branches }) => {
                Self::Later(VerdictFuture { verifying, branches: branches.push(second) })
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

/// The token of a request, and the request's head. `Debug` hides the token.
pub struct PresentedToken<'r> {
    credentials: Credentials<'r>,
    parts: &'r Parts,
    /// True if more than the token was read. A cached verdict may then depend on it.
    request_read: Cell<bool>,
    /// The verifiers of this crate that were called.
    called: Cell<VerifierIds>,
}

impl<'r> PresentedToken<'r> {
    pub(crate) fn new(credentials: Credentials<'r>, parts: &'r Parts) -> Self {
        Self { credentials, parts, request_read: Cell::new(false), called: Cell::new(VerifierIds::default()) }
    }

    /// Returns the token exactly as it was sent. It has only the characters of RFC 6750 §2.1 and at most the server's
    /// maximum length.
    #[must_use]
    pub fn token(&self) -> &str {
        self.credentials.token()
    }

    /// Returns how the token was sent.
    #[must_use]
    pub fn bearer_method(&self) -> BearerMethod {
        self.request_read.set(true);
        self.credentials.bearer_method()
    }

    /// Returns the request's head. Don't read credentials from it again. See [`Verify::cache_key`] about cached verdicts.
    #[must_use]
    pub fn parts(&self) -> &'r Parts {
        self.request_read.set(true);
        self.parts
    }

    /// Copies the token and the head, for a verifier that runs later. Nothing is known about what that verifier will read,
    /// so the request counts as read.
    fn to_owned(&self) -> OwnedPresentedToken {
        let credentials = self.credentials.clone().into_owned();
        OwnedPresentedToken { credentials, parts: self.parts().clone() }
    }

    /// Returns what `verify` returns, and what it used. Calls can be nested; the outer call also reports what the inner one
    /// used.
    fn track<T>(&self, verify: impl FnOnce() -> T) -> (T, VerdictInputs) {
        let (read_before, called_before) = (self.request_read.take(), self.called.take());
        let result = verify();
        let inputs = VerdictInputs { request_read: self.request_read.get(), called: self.called.get() };
        self.request_read.set(read_before || inputs.request_read);
        self.called.set(called_before.with_all(inputs.called));
        (result, inputs)
    }

    /// Records that the verifier with this id is called.
    fn called(&self, id: VerifierId) {
        self.called.set(self.called.get().with(id));
    }

    /// Records that all these verifiers are called.
    fn called_all(&self, ids: VerifierIds) {
        self.called.set(self.called.get().with_all(ids));
    }

    /// Returns what `verify` returns, and records only `id` as called. For a verifier that chooses another one by nothing but
    /// the token, and whose own id stands for all of them.
    fn called_instead<T>(&self, id: VerifierId, verify: impl FnOnce() -> T) -> T {
        let before = self.called.get();
        let result = verify();
        self.called.set(before.with(id));
        result
    }

    /// Returns the permit to make a [`Token`].
    #[must_use]
    pub fn permit(&self) -> TokenPermit {
        TokenPermit { made_by_verification: () }
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedToken").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// What a verifier used to make a verdict, besides the token.
struct VerdictInputs {
    request_read: bool,
    called: VerifierIds,
}

/// A copy of a [`PresentedToken`] that doesn't borrow from the request.
struct OwnedPresentedToken {
    credentials: Credentials<'static>,
    parts: Parts,
}

impl OwnedPresentedToken {
    fn as_presented(&self) -> PresentedToken<'_> {
        PresentedToken::new(self.credentials.clone(), &self.parts)
    }
}

/// Permission to make a [`Token`] from claims that a verifier has checked.
///
/// Only [`PresentedToken::permit`] returns one. So code that has no request to verify can't make a token.
#[derive(Debug, Clone, Copy)]
pub struct TokenPermit {
    made_by_verification: (),
}

impl TokenPermit {
    /// Returns a token with these claims. They must serialize to an object with the members of RFC 9068 §2.2.
    ///
    /// # Errors
    /// The claims are not an object, or a standard member has a wrong type.
    pub fn token(self, claims: &impl Serialize) -> Result<Token, AuthError> {
        let () = self.made_by_verification;
        let claims = serde_json::to_string(claims).map_err(|_| Reason::MalformedClaims)?;
        Token::from_claims(TokenOrigin::default(), claims, &ClaimNames::default())
    }
}
