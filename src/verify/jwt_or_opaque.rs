//! Two kinds of tokens behind one layer: those that can be judged here, and those that somebody must be asked about.
//!
//! *In*: what a request presented. *Out*: the verdict of the one verifier whose token it is.
//!
//! A token of a known issuer is judged by the first verifier, and what that says is final: a JWT that fails there is not
//! sent on. Everything else goes to the second.

use std::sync::Arc;

use super::{CacheKey, PresentedToken, Verdict, Verify};
use crate::{
    error::{AuthError, Reason},
    token::Token,
};

/// Judges its own tokens with `A`, and what that says is final; the rest with `B`.
///
/// ```
/// # fn example(jwt: tower_oauth::JwtVerifier, introspection: tower_oauth::IntrospectionVerifier) {
/// use std::time::Duration;
/// use tower_oauth::{Cached, JwtOrOpaque, OAuthLayer};
///
/// // For most routes, an answer may be half a minute old.
/// let usual = JwtOrOpaque::new(jwt.clone(), Cached::new(introspection.clone(), Duration::from_secs(30)));
/// // Where it matters that a token was not revoked, the issuer is asked each time, about JWTs too.
/// let critical = JwtOrOpaque::new(jwt, introspection).always_ask();
/// # let _ = (OAuthLayer::new(usual), OAuthLayer::new(critical));
/// # }
/// ```
///
/// `A` is a [`JwtVerifier`](crate::JwtVerifier), [`TrustedIssuers`](crate::verify::TrustedIssuers) or
/// [`DynamicIssuers`](crate::verify::DynamicIssuers), which know their tokens by the issuer that is named in them; in a
/// [`Cached`](crate::Cached) or not.
#[derive(Debug)]
pub struct JwtOrOpaque<A, B> {
    own: A,
    rest: Arc<B>,
    always_ask: bool,
}

impl<A: Verify, B: Verify> JwtOrOpaque<A, B> {
    /// First `own`, if the token is its own; otherwise `rest`.
    #[must_use]
    pub fn new(own: A, rest: B) -> Self {
        Self { own, rest: Arc::new(rest), always_ask: false }
    }

    /// Asks about every token, for routes on which a revoked JWT must not pass: one that was accepted here is judged by the
    /// second verifier too, and the handler sees what that found. One that failed here is still not sent on.
    ///
    /// Some servers answer no question about JWTs, npm's oidc-provider among them. That is an error of theirs, and such a
    /// token gets 503.
    #[must_use]
    pub fn always_ask(self) -> Self {
        Self { always_ask: true, ..self }
    }

    fn ask_too(&self, presented: &PresentedToken<'_>, here: Verdict) -> Verdict {
        match here {
            Verdict::Now(verdict) => match good_here(verdict) {
                Ok(()) => self.rest.verify(presented),
                Err(error) => Verdict::Now(Err(error)),
            },
            Verdict::Later(here) => {
                let (rest, kept) = (Arc::clone(&self.rest), presented.to_owned());
                Verdict::later(async move {
                    good_here(here.await)?;
                    let verdict = rest.verify(&kept.present());
                    match verdict {
                        Verdict::Now(verdict) => verdict,
                        Verdict::Later(judging) => judging.await,
                    }
                })
            }
        }
    }
}

impl<A: Verify, B: Verify> Verify for JwtOrOpaque<A, B> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        match self.own.verify_own(presented) {
            Some(verdict) if self.always_ask => self.ask_too(presented, verdict),
            Some(verdict) => verdict,
            None => self.rest.verify(presented),
        }
    }

    fn verify_own(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        match self.own.verify_own(presented) {
            Some(verdict) if self.always_ask => Some(self.ask_too(presented, verdict)),
            Some(verdict) => Some(verdict),
            None => self.rest.verify_own(presented),
        }
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        self.own.cache_key(presented, key);
        self.rest.cache_key(presented, key);
    }

    /// Each of the two knows its own. A verdict of both holds for nobody: of the first one's token, which may have expired
    /// or lost its key, nothing is left in it. So a [`Cached`](crate::Cached) belongs inside.
    fn still_holds(&self, token: &Token) -> bool {
        !self.always_ask && (self.own.still_holds(token) || self.rest.still_holds(token))
    }
}

/// The second verdict takes the place of this one, and the server's check for a key that the token is bound to sees only
/// that: an issuer that doesn't repeat `cnf` in its answer must not make a bearer token of it (RFC 9449 §7.2).
fn good_here(verdict: Result<Token, AuthError>) -> Result<(), AuthError> {
    if verdict?.facts().confirmation { Err(Reason::SenderConstrained.into()) } else { Ok(()) }
}
