//! JWTs and opaque tokens behind one layer.
//!
//! *In*: a [`PresentedToken`]. *Out*: the verdict of the verifier that is responsible for the token.
//!
//! The first verifier decides by the token's unverified issuer whether it is responsible. Its verdict is final: a JWT that it
//! refuses is not passed on. A JWT of another issuer, or a malformed one, is refused here too. Only tokens that don't have the
//! form of a JWT go to the second verifier.

use std::sync::Arc;

use super::{CacheKey, PresentedToken, Verdict, VerdictFuture, Verify};
use crate::{
    claims::VerifierId,
    confirmation::Binding,
    error::{AuthError, Reason},
    jws::has_jwt_form,
    token::Token,
    verify::trusted_issuers::unverified_token_issuer,
};

/// Verifies JWTs with `A`, and opaque tokens with `B`.
///
/// Everything that has the form of a JWT is verified by `A`, which refuses a JWT of an unknown issuer, unless
/// [`introspect_foreign_jwts`](JwtOrOpaqueBuilder::introspect_foreign_jwts) is set. So a JWT that can't be verified locally gets no
/// second chance at the introspection endpoint. If `B` is another verifier of JWTs, it verifies those of its own issuer.
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
    id: VerifierId,
    jwt: A,
    opaque: Arc<B>,
    require_both: bool,
    introspect_foreign_jwts: bool,
}

impl<A: Verify, B: Verify> JwtOrOpaque<A, B> {
    /// Verifies JWTs with `jwt`, and opaque tokens with `opaque`.
    #[must_use]
    pub fn new(jwt: A, opaque: B) -> Self {
        Self::builder(jwt, opaque).build()
    }

    /// Returns a builder for further settings.
    pub fn builder(jwt: A, opaque: B) -> JwtOrOpaqueBuilder<A, B> {
        JwtOrOpaqueBuilder { jwt, opaque, require_both: false, introspect_foreign_jwts: false }
    }

    /// True for a token that the second verifier verifies if the first one is not responsible for it. A JWT is verified there
    /// only by a verifier that recognizes it by its issuer.
    fn is_opaque(&self, presented: &PresentedToken<'_>) -> bool {
        let token = presented.token();
        // Without a readable `iss` it may be a malformed token of our own issuer.
        let foreign = || self.introspect_foreign_jwts && unverified_token_issuer(token).is_ok();
        !has_jwt_form(token) || (!presented.must_be_recognized() && foreign())
    }

    /// Returns the final verdict about a token that the first verifier is responsible for. If only its decision shows whether it
    /// is, `second` verifies a token that it is not responsible for.
    fn conclude(&self, presented: &PresentedToken<'_>, first: Verdict, second: SecondVerdict<B>) -> Verdict {
        match first {
            Verdict::Later(verifying) if verifying.is_undecided() => self.conclude_later(presented, verifying, second),
            first if self.require_both => self.verify_with_both(presented, first),
            first => first.with_branch(JWT),
        }
    }

    fn conclude_later(
        &self,
        presented: &PresentedToken<'_>,
        first: VerdictFuture,
        second: SecondVerdict<B>,
    ) -> Verdict {
        let (is_opaque, require_both) = (self.is_opaque(presented), self.require_both);
        let (opaque, presented) = (Arc::clone(&self.opaque), presented.to_owned());
        Verdict::undecided(async move {
            // In each case a statement of its own, because the presented token must not be held while waiting.
            match first.await {
                Err(error) if error.is_not_responsible() => {
                    let verdict = {
                        let presented = presented.as_presented();
                        if is_opaque { second(&opaque, &presented) } else { recognized(&*opaque, &presented) }
                    };
                    let Some(verdict) = verdict else { return Err(error) };
                    verdict.with_branch(OPAQUE).resolve().await
                }
                result if require_both => {
                    let binding = binding_of(result)?;
                    let verdict = opaque.verify(&presented.as_presented());
                    with_binding(binding, verdict).resolve().await
                }
                result => Verdict::Now(result).with_branch(JWT).resolve().await,
            }
        })
    }

    /// Verifies a token with the second verifier too, if the first one accepts it.
    fn verify_with_both(&self, presented: &PresentedToken<'_>, first: Verdict) -> Verdict {
        match first {
            Verdict::Now(result) => match binding_of(result) {
                Ok(binding) => {
                    let second = from_side(&*self.opaque, presented, |opaque| {
                        presented.only_recognized(false, || opaque.verify(presented))
                    });
                    with_binding(binding, second)
                }
                Err(error) => Verdict::Now(Err(error)),
            },
            Verdict::Later(verifying) => {
                let (opaque, presented) = (Arc::clone(&self.opaque), presented.to_owned());
                Verdict::later(async move {
                    let binding = binding_of(verifying.await)?;
                    // A statement of its own, because the presented token must not be held while waiting.
                    let verdict = opaque.verify(&presented.as_presented());
                    with_binding(binding, verdict).resolve().await
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
    introspect_foreign_jwts: bool,
}

impl<A: Verify, B: Verify> JwtOrOpaqueBuilder<A, B> {
    /// Verifies a JWT with the second verifier too, so that a revoked JWT is refused. The handler gets the token of the
    /// second verifier. A JWT that the first verifier refuses is still not passed on.
    ///
    /// The cost: a call of the issuer for every JWT. Some servers, such as npm's oidc-provider, can't introspect JWTs: all
    /// of them are refused with the reason `unsupported_token_type`. A [`Cached`](crate::Cached) around this verifier never hits, because a
    /// combined verdict can't be checked again. Wrap the two verifiers instead.
    pub fn require_both(self) -> Self {
        Self { require_both: true, ..self }
    }

    /// Verifies JWTs of issuers that the first verifier doesn't know with the second one. For an authorization server that
    /// also introspects the JWTs of other issuers.
    ///
    /// The cost: the second verifier alone decides about such a JWT, and any client can cause calls of its endpoint with them.
    /// A JWT whose `iss` can't be read strictly is still refused.
    pub fn introspect_foreign_jwts(self) -> Self {
        Self { introspect_foreign_jwts: true, ..self }
    }

    /// Builds the verifier.
    #[must_use]
    pub fn build(self) -> JwtOrOpaque<A, B> {
        let Self { jwt, opaque, require_both, introspect_foreign_jwts } = self;
        JwtOrOpaque { id: VerifierId::new(), jwt, opaque: Arc::new(opaque), require_both, introspect_foreign_jwts }
    }
}

impl<A: Verify, B: Verify> Verify for JwtOrOpaque<A, B> {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        presented.called(self.id);
        match from_side(&self.jwt, presented, |jwt| jwt.verify_if_responsible(presented)) {
            Some(verdict) => self.conclude(presented, verdict, |opaque, presented| Some(opaque.verify(presented))),
            None if self.is_opaque(presented) => {
                from_side(&*self.opaque, presented, |opaque| opaque.verify(presented)).with_branch(OPAQUE)
            }
            None => {
                if let Some(verdict) = recognized(&*self.opaque, presented) {
                    return verdict.with_branch(OPAQUE);
                }
                // The first verifier may decide otherwise this time, so this is a verdict like any other of it.
                let verdict = from_side(&self.jwt, presented, |jwt| jwt.verify(presented));
                self.conclude(presented, verdict, |_, _| None)
            }
        }
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        presented.called(self.id);
        if let Some(verdict) = from_side(&self.jwt, presented, |jwt| jwt.verify_if_responsible(presented)) {
            return Some(self.conclude(presented, verdict, B::verify_if_responsible));
        }
        let (opaque, is_opaque) = (&*self.opaque, self.is_opaque(presented));
        let verdict = if is_opaque {
            from_side(opaque, presented, |opaque| opaque.verify_if_responsible(presented))
        } else {
            recognized(opaque, presented)
        };
        verdict.map(|verdict| verdict.with_branch(OPAQUE))
    }

    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add_verifier(self.id);
        self.jwt.cache_key(presented, key);
        self.opaque.cache_key(presented, key);
    }

    // The verifier that made the token decides. With `require_both`, a verdict combines both verifiers and contains nothing of
    // the first one's token, so it can't be checked again. Wrap the inner verifiers in `Cached` instead.
    fn is_still_valid(&self, token: &Token) -> bool {
        let Some((branch, inner)) = token.branches().pop().filter(|_| !self.require_both) else { return false };
        let token = token.clone().with_branches(inner);
        if branch == OPAQUE { self.opaque.is_still_valid(&token) } else { self.jwt.is_still_valid(&token) }
    }

    fn issuers(&self) -> Vec<String> {
        union(self.jwt.issuers(), self.opaque.issuers())
    }

    fn audiences(&self) -> Option<Vec<String>> {
        // A verifier that names no audiences may accept any.
        let (jwt, opaque) = (self.jwt.audiences()?, self.opaque.audiences()?);
        if self.require_both {
            return Some(jwt.into_iter().filter(|audience| opaque.contains(audience)).collect());
        }
        Some(union(jwt, opaque))
    }
}

fn union(mut first: Vec<String>, second: Vec<String>) -> Vec<String> {
    for text in second {
        if !first.contains(&text) {
            first.push(text);
        }
    }
    first
}

/// Verifies a token that the first verifier is not responsible for. `None`: the second one isn't, either.
type SecondVerdict<B> = fn(&B, &PresentedToken<'_>) -> Option<Verdict>;

/// Verifies a JWT with the second verifier if it recognizes it by its issuer.
fn recognized(opaque: &impl Verify, presented: &PresentedToken<'_>) -> Option<Verdict> {
    from_side(opaque, presented, |opaque| presented.only_recognized(true, || opaque.verify_if_responsible(presented)))
}

/// Returns what `verify` returns. A cache sees only that some verifier reads the request and that some verifier adds to the
/// key. So a verdict of one that reads the request but adds nothing is marked here: it is never cached.
fn from_side<V: Verify, T>(side: &V, presented: &PresentedToken<'_>, verify: impl FnOnce(&V) -> T) -> T {
    let (result, request_read) = presented.track_reads(|| verify(side));
    if request_read && presented.is_tracked() {
        let mut key = CacheKey::new();
        let ((), request_in_key) = presented.track_reads(|| side.cache_key(presented, &mut key));
        if !request_in_key || !key.is_extended() {
            presented.called_unknown();
        }
    }
    result
}

/// The first and the second verifier, as branches of a token.
const JWT: bool = false;
const OPAQUE: bool = true;

/// Returns what the token is bound to, by the verdict of the first verifier. A binding that can't be proven refuses the token
/// before the second verifier is called.
fn binding_of(first: Result<Token, AuthError>) -> Result<Option<Box<Binding>>, AuthError> {
    match first?.facts().binding.clone() {
        Some(binding) if *binding == Binding::Unknown => Err(Reason::SenderConstrained.into()),
        binding => Ok(binding),
    }
}

/// Refuses a token that the first verifier found bound, and the second one not, or in another way.
///
/// The second verdict replaces the first one, so the server checks only the `cnf` of the second one. An issuer that doesn't
/// repeat `cnf` in its introspection response must not turn the token into a bearer token (RFC 9449 §7.2).
fn with_binding(first: Option<Box<Binding>>, second: Verdict) -> Verdict {
    let Some(first) = first else { return second };
    let check = move |result: Result<Token, AuthError>| {
        let token = result?;
        if token.facts().binding.as_ref() == Some(&first) {
            return Ok(token);
        }
        let change = "let the introspection endpoint return the cnf of the token";
        Err(Reason::SenderConstrained.because("another cnf in the response, or none", "the cnf of the JWT", change))
    };
    match second {
        Verdict::Now(result) => Verdict::Now(check(result)),
        Verdict::Later(verifying) => Verdict::later(async move { check(verifying.await) }),
    }
}
