//! Is this token true? The one question, and who answers it.
//!
//! *In*: [`Presented`], what the request brought. *Out*: a [`Verdict`]: a [`Token`], or why not.
//!
//! There are three outcomes, not two: a token that *could not be judged* is
//! [`AuthErrorKind::Unavailable`](crate::AuthErrorKind::Unavailable) and says nothing against the token.

mod cached;
mod dynamic;
mod expected;
mod introspection;
mod issuers;
mod jwt;
mod mixed;
mod preset;

use std::{cell::Cell, fmt, pin::Pin, sync::Arc};

use http::request::Parts;
use serde::Serialize;

#[cfg(feature = "test-util")]
pub(crate) use self::jwt::check_signature;
pub use self::{
    cached::{CacheKey, Cached},
    dynamic::DynamicIssuers,
    introspection::{ClientAuthentication, IntrospectionVerifier, IntrospectionVerifierBuilder},
    issuers::Issuers,
    jwt::{Claim, JwtVerifier, JwtVerifierBuilder},
    mixed::Mixed,
    preset::Preset,
};
use crate::{
    claims::ClaimNames,
    credentials::{Carrier, Credentials},
    error::{AuthError, Reason},
    token::Token,
};

/// Judges what a request presented.
///
/// [`JwtVerifier`] does it for JWT access tokens. Your own, for tokens that no standard describes:
///
/// ```
/// use tower_oauth::{AuthError, Presented, Verdict, Verify};
///
/// struct StaticTokens;
///
/// impl Verify for StaticTokens {
///     fn verify(&self, presented: &Presented<'_>) -> Verdict {
///         // A real one compares in constant time, or looks up a hash.
///         if presented.token() == "correct-horse" {
///             Verdict::Now(presented.voucher().token(&serde_json::json!({"sub": "ada", "scope": "orders:read"})))
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
    fn verify(&self, presented: &Presented<'_>) -> Verdict;

    /// The verdict, if the token is this verifier's to judge; `None` hands it on, for [`Mixed`].
    ///
    /// Whose token it is may be read from what nobody has checked yet. A verdict is the last word: a token that is
    /// refused here is not handed on.
    fn verify_own(&self, presented: &Presented<'_>) -> Option<Verdict> {
        Some(self.verify(presented))
    }

    /// What the verdict depends on beside the token, for [`Cached`]: an endpoint, a tenant in a header.
    ///
    /// A verifier that looks at [`Presented::parts`] or [`Presented::carrier`] says here what it takes from there, and
    /// adds a part for what isn't there, too; the verdicts of one that looks there and adds nothing are not kept.
    fn cache_key(&self, presented: &Presented<'_>, key: &mut CacheKey) {
        let _ = (presented, key);
    }

    /// Whether a token that it accepted earlier would be accepted now, for [`Cached`], which asks on every hit: everything
    /// that can be checked again without the network. Expiry is [`Cached`]'s own business.
    ///
    /// The default is yes for tokens made with a [`Voucher`], and no for those that a [`JwtVerifier`] made: whether its key
    /// was withdrawn only that one knows, so who wraps it hands the question on.
    fn still_holds(&self, token: &Token) -> bool {
        token.facts().key_epoch == 0
    }
}

impl<V: Verify + ?Sized> Verify for Arc<V> {
    fn verify(&self, presented: &Presented<'_>) -> Verdict {
        (**self).verify(presented)
    }

    fn verify_own(&self, presented: &Presented<'_>) -> Option<Verdict> {
        (**self).verify_own(presented)
    }

    fn cache_key(&self, presented: &Presented<'_>, key: &mut CacheKey) {
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
    /// To be judged by a future that owns all it needs.
    Later(Pin<Box<dyn Future<Output = Result<Token, AuthError>> + Send>>),
}

impl Verdict {
    /// Promises a verdict.
    pub fn later(judging: impl Future<Output = Result<Token, AuthError>> + Send + 'static) -> Self {
        Self::Later(Box::pin(judging))
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
pub struct Presented<'r> {
    credentials: Credentials<'r>,
    parts: &'r Parts,
    /// Somebody looked at more than the token.
    looked_further: Cell<bool>,
}

impl<'r> Presented<'r> {
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
    pub fn carrier(&self) -> Carrier {
        self.looked_further.set(true);
        self.credentials.carrier()
    }

    /// The request's head. Don't read credentials from it again, and see [`Verify::cache_key`].
    #[must_use]
    pub fn parts(&self) -> &'r Parts {
        self.looked_further.set(true);
        self.parts
    }

    /// For a verdict that can't be asked for yet.
    fn to_owned(&self) -> Kept {
        let credentials = self.credentials.clone().into_owned();
        Kept { credentials, parts: self.parts().clone() }
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
    pub fn voucher(&self) -> Voucher {
        Voucher { only_for_a_check: () }
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// What a request brought, without the request.
struct Kept {
    credentials: Credentials<'static>,
    parts: Parts,
}

impl Kept {
    fn present(&self) -> Presented<'_> {
        Presented::new(self.credentials.clone(), &self.parts)
    }
}

/// The right to make a [`Token`] out of facts that have been checked. Comes with [`Presented`] only.
#[derive(Debug, Clone, Copy)]
pub struct Voucher {
    only_for_a_check: (),
}

impl Voucher {
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
