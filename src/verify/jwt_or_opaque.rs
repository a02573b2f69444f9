//! JWTs and opaque tokens behind one layer.
//!
//! *In*: a [`PresentedToken`]. *Out*: the verdict of the verifier that is responsible for the token.
//!
//! The first verifier decides by the token's unverified issuer whether it is responsible. Its verdict is final: a JWT that it
//! refuses is not passed on. All other tokens go to the second verifier.

use std::sync::Arc;

use super::{CacheKey, PresentedToken, Verdict, Verify};
use crate::{
    error::{AuthError, Reason},
    token::Token,
};

/// Verifies the tokens that `A` is responsible for with `A`, and all others with `B`.
///
/// ```
/// # fn example(jwt: tower_oauth::JwtVerifier, introspection: tower_oauth::IntrospectionVerifier) {
/// use std::time::Duration;
/// use tower_oauth::{Cached, JwtOrOpaque, OAuthLayer};
///
/// // For most routes: an introspection response may be 30 s old.
/// let usual = JwtOrOpaque::new(jwt.clone(), Cached::new(introspection.clone(), Duration::from_secs(30)));
/// // For routes that must not accept a revoked token: the issuer is called for each request, for JWTs too.
/// let critical = JwtOrOpaque::builder(jwt, introspection).require_both().build();
/// # let _ = (OAuthLayer::new(usual), OAuthLayer::new(critical));
/// # }
/// ```
///
/// `A` is a [`JwtVerifier`](crate::JwtVerifier), [`TrustedIssuers`](crate::verify::TrustedIssuers) or
/// [`DynamicIssuers`](crate::verify::DynamicIssuers), with or without a [`Cached`](crate::Cached) around it. They recognize
/// their tokens by the issuer.
#[derive(Debug)]
pub struct JwtOrOpaque<A, B> {
    jwt: A,
    opaque: Arc<B>,
    require_both: bool,
}

impl<A: Verify, B: Verify> JwtOrOpaque<A, B> {
    /// Verifies a token with `jwt` if that is responsible for it, and with `opaque` otherwise.
    #[must_use]
    pub fn new(jwt: A, opaque: B) -> Self {
        Self::builder(jwt, opaque).build()
    }

    /// Returns a builder for further settings.
    pub fn builder(jwt: A, opaque: B) -> JwtOrOpaqueBuilder<A, B> {
        JwtOrOpaqueBuilder { jwt, opaque, require_both: false }
    }

    /// Verifies a token with the second verifier too, if the first one accepts it.
    fn verify_with_both(&self, presented: &PresentedToken<'_>, first: Verdict) -> Verdict {
        match first {
            Verdict::Now(result) => match check_first(result) {
                Ok(()) => self.opaque.verify(presented),
                Err(error) => Verdict::Now(Err(error)),
            },
            Verdict::Later(verifying) => {
                let (opaque, presented) = (Arc::clone(&self.opaque), presented.to_owned());
                Verdict::later(async move {
                    check_first(verifying.await)?;
                    // A statement of its own, because the presented token must not be held while waiting.
                    let verdict = opaque.verify(&presented.as_presented());
                    verdict.resolve().await
                })
            }
        }
    }
}

/// Builder for [`JwtOrOpaque`].
#[derive(Debug)]
#[must_use]
pub struct JwtOrOpaqueBuilder<A, B> {
    jwt: A,
    opaque: B,
    require_both: bool,
}

impl<A: Verify, B: Verify> JwtOrOpaqueBuilder<A, B> {
    /// Verifies a JWT with the second verifier too, so that a revoked JWT is refused. The handler gets the token of the
    /// second verifier. A JWT that the first verifier refuses is still not passed on.
    ///
    /// The cost: a call of the issuer for every JWT. Some servers, such as npm's oidc-provider, can't introspect JWTs and
    /// respond with an error; such a token gets 503. A [`Cached`](crate::Cached) around this verifier never hits, because a
    /// combined verdict can't be checked again. Wrap the two verifiers instead.
    pub fn require_both(self) -> Self {
        Self { require_both: true, ..self }
    }

    /// Builds the verifier.
    #[must_use]
    pub fn build(self) -> JwtOrOpaque<A, B> {
        let Self { jwt, opaque, require_both } = self;
        JwtOrOpaque { jwt, opaque: Arc::new(opaque), require_both }
    }
}

impl<A: Verify, B: Verify> Verify for JwtOrOpaque<A, B> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        match self.jwt.verify_if_responsible(presented) {
            Some(verdict) if self.require_both => self.verify_with_both(presented, verdict),
            Some(verdict) => verdict,
            None => self.opaque.verify(presented),
        }
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        match self.jwt.verify_if_responsible(presented) {
            Some(verdict) if self.require_both => Some(self.verify_with_both(presented, verdict)),
            Some(verdict) => Some(verdict),
            None => self.opaque.verify_if_responsible(presented),
        }
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.jwt.cache_key(presented, key);
        self.opaque.cache_key(presented, key);
    }

    // Each verifier recognizes its own tokens. With `require_both`, a verdict combines both verifiers and contains nothing of
    // the first one's token, so it can't be checked again. Wrap the inner verifiers in `Cached` instead.
    fn is_still_valid(&self, token: &Token) -> bool {
        !self.require_both && (self.jwt.is_still_valid(token) || self.opaque.is_still_valid(token))
    }
}

/// Returns an error if the first verifier refused the token, or if the token is bound to a key.
///
/// The second verdict replaces the first one, so the server checks only the `cnf` of the second one. An issuer that doesn't
/// repeat `cnf` in its introspection response must not turn the token into a bearer token (RFC 9449 §7.2).
fn check_first(result: Result<Token, AuthError>) -> Result<(), AuthError> {
    if result?.facts().confirmation { Err(Reason::SenderConstrained.into()) } else { Ok(()) }
}
