//! Is this token true? The one question, and who answers it.
//!
//! *In*: [`PresentedToken`], what the request brought. *Out*: a [`Verdict`]: a [`Token`], or why not.
//!
//! There are three outcomes, not two: a token that *could not be judged* is
//! [`AuthErrorKind::Unavailable`](crate::error::AuthErrorKind::Unavailable) and says nothing against the token.

pub(crate) mod cached;
mod dynamic_issuers;
mod expected;
pub(crate) mod introspection;
pub(crate) mod jwt;
pub(crate) mod jwt_or_opaque;
pub(crate) mod preset;
mod trusted_issuers;

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::request::Parts;
use serde::Serialize;

#[cfg(feature = "test-util")]
pub(crate) use self::jwt::check_signature;
pub use self::{
    cached::CacheKey,
    dynamic_issuers::DynamicIssuers,
    introspection::{ClientAuthentication, IntrospectionVerifierBuilder},
    jwt::{JwtVerifierBuilder, OptionalClaim},
    trusted_issuers::TrustedIssuers,
};
pub(crate) use self::{jwt::JwtVerifier, preset::Preset};
pub use crate::credentials::BearerMethod;
use crate::{
    claims::ClaimNames,
    credentials::Credentials,
    error::{AuthError, Reason},
    token::Token,
};

/// Judges what a request presented.
///
/// [`JwtVerifier`] does it for JWT access tokens. Your own, for tokens that no standard describes:
///
/// ```
/// use tower_oauth::{verify::{PresentedToken, Verdict, Verify}, AuthError};
///
/// struct StaticTokens;
///
/// impl Verify for StaticTokens {
///     fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
///         // A real one compares in constant time, or looks up a hash.
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
/// The other methods have defaults that fit a verifier which looks at the token and nothing else.
pub trait Verify: Send + Sync + 'static {
    /// Judges at once where it can, and answers [`Verdict::Later`] only where it must wait for the network.
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict;

    /// The verdict, if the token is this verifier's to judge; `None` hands it on, for [`JwtOrOpaque`].
    ///
    /// Whose token it is may be read from what nobody has checked yet. A verdict is the last word: a token that is
    /// refused here is not handed on.
    fn verify_own(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        Some(self.verify(presented))
    }

    /// What the verdict depends on beside the token, for [`Cached`]: an endpoint, a tenant in a header.
    ///
    /// A verifier that looks at [`PresentedToken::parts`] or [`PresentedToken::bearer_method`] says here what it takes from there, and
    /// adds a part for what isn't there, too; the verdicts of one that looks there and adds nothing are not kept.
    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        let _ = (presented, key);
    }

    /// Whether a token that it accepted earlier would be accepted now, for [`Cached`], which asks on every hit: everything
    /// that can be checked again without the network. Expiry is [`Cached`]'s own business.
    ///
    /// The default is yes for tokens made with a [`TokenPermit`], and no for those that a [`JwtVerifier`] made: whether its key
    /// was withdrawn only that one knows, so who wraps it hands the question on.
    fn still_holds(&self, token: &Token) -> bool {
        token.facts().key_epoch == 0
    }
}

impl<V: Verify + ?Sized> Verify for Arc<V> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        (**self).verify(presented)
    }

    fn verify_own(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        (**self).verify_own(presented)
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        (**self).cache_key(presented, key);
    }

    fn still_holds(&self, token: &Token) -> bool {
        (**self).still_holds(token)
    }
}

/// A verdict, or the promise of one.
#[non_exhaustive]
pub enum Verdict {
    /// Judged, without waiting.
    Now(Result<Token, AuthError>),
    /// A future that owns all it needs will give the verdict.
    Later(VerdictFuture),
}

impl Verdict {
    /// Returns a verdict that a future will give.
    pub fn later(verifying: impl Future<Output = Result<Token, AuthError>> + Send + 'static) -> Self {
        Self::Later(VerdictFuture(Box::pin(verifying)))
    }

    /// Waits for the verdict, if that is necessary.
    pub async fn resolve(self) -> Result<Token, AuthError> {
        match self {
            Self::Now(verdict) => verdict,
            Self::Later(verifying) => verifying.await,
        }
    }
}

/// The future of [`Verdict::Later`].
pub struct VerdictFuture(Pin<Box<dyn Future<Output = Result<Token, AuthError>> + Send>>);

impl Future for VerdictFuture {
    type Output = Result<Token, AuthError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
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

/// What a request brought: its credentials, and the rest of its head.
pub struct PresentedToken<'r> {
    credentials: Credentials<'r>,
    parts: &'r Parts,
    /// Somebody looked at more than the token.
    looked_further: Cell<bool>,
}

impl<'r> PresentedToken<'r> {
    pub(crate) fn new(credentials: Credentials<'r>, parts: &'r Parts) -> Self {
        Self { credentials, parts, looked_further: Cell::new(false) }
    }

    /// The token as it came: at most the server's limit long, and of the characters of RFC 6750 §2.1.
    #[must_use]
    pub fn token(&self) -> &str {
        self.credentials.token()
    }

    /// The way it came.
    #[must_use]
    pub fn bearer_method(&self) -> BearerMethod {
        self.looked_further.set(true);
        self.credentials.bearer_method()
    }

    /// The request's head. Don't read credentials from it again, and see [`Verify::cache_key`].
    #[must_use]
    pub fn parts(&self) -> &'r Parts {
        self.looked_further.set(true);
        self.parts
    }

    /// For a verdict that can't be asked for yet.
    fn to_owned(&self) -> OwnedPresentedToken {
        let credentials = self.credentials.clone().into_owned();
        OwnedPresentedToken { credentials, parts: self.parts().clone() }
    }

    /// The answer, and whether more than the token was looked at for it. Who asked for it from further out learns it too.
    fn looked_further<T>(&self, ask: impl FnOnce() -> T) -> (T, bool) {
        let before = self.looked_further.take();
        let answer = ask();
        let now = self.looked_further.get();
        self.looked_further.set(before || now);
        (answer, now)
    }

    /// The right to make a [`Token`]; only a check gets one.
    #[must_use]
    pub fn permit(&self) -> TokenPermit {
        TokenPermit { only_for_a_check: () }
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedToken").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// What a request brought, without the request.
struct OwnedPresentedToken {
    credentials: Credentials<'static>,
    parts: Parts,
}

impl OwnedPresentedToken {
    fn present(&self) -> PresentedToken<'_> {
        PresentedToken::new(self.credentials.clone(), &self.parts)
    }
}

/// The right to make a [`Token`] out of facts that have been checked. Comes with [`PresentedToken`] only.
#[derive(Debug, Clone, Copy)]
pub struct TokenPermit {
    only_for_a_check: (),
}

impl TokenPermit {
    /// A token with these claims: an object with members as in RFC 9068 §2.2.
    ///
    /// # Errors
    /// The claims are no object, or a standard member has a wrong type.
    pub fn token(self, claims: &impl Serialize) -> Result<Token, AuthError> {
        let () = self.only_for_a_check;
        let claims = serde_json::to_string(claims).map_err(|_| Reason::MalformedClaims)?;
        Token::from_claims(claims, &ClaimNames::default())
    }
}
