//! [`Token`]: the verified facts of a request's token, and [`Scoped`], the evidence of a scope.
//!
//! *In*: the claims of a verified token (a JWT's payload, an introspection response).
//! *Out*: the facts, the claims as a type of the application, and evidence of scopes.
//!
//! Only a verifier makes a `Token`: there is no public constructor. So a function that takes `&Scoped<OrdersWrite>` cannot
//! be called without that scope.
//!
//! ```
//! # tower_oauth::scopes! { pub OrdersWrite = "orders:write"; }
//! use tower_oauth::{AuthError, Scoped, Token};
//!
//! fn cancel(_proof: &Scoped<OrdersWrite>, order: u64) -> String {
//!     format!("order {order} is cancelled")
//! }
//!
//! fn handler(token: &Token) -> Result<String, AuthError> {
//!     Ok(cancel(&token.require::<OrdersWrite>()?, 7))
//! }
//! ```

use std::{any::Any, fmt, marker::PhantomData, ops::Deref, sync::Arc, time::SystemTime};

use serde::de::DeserializeOwned;

use crate::{
    acts_for::ActsFor,
    claims::{ClaimNames, Facts, NumericDate, TokenOrigin},
    confirmation::{Binding, Confirmation},
    error::{AuthError, Reason},
    scope::{self, RequiredScopes, ScopeHierarchy, Scopes},
};

/// The verified access token of a request: its facts, claims and scopes. Cheap to clone. `Debug` shows none of its content.
#[doc(alias("bearer", "access token"))]
#[derive(Clone)]
pub struct Token {
    facts: Arc<Facts>,
    hierarchy: Option<Arc<ScopeHierarchy>>,
    /// Which verifiers of nested [`JwtOrOpaque`](crate::JwtOrOpaque)s made the token.
    branches: Branches,
    /// True if the sender of the request proved what `cnf` demands. Only the server sets it, for one request.
    proven: bool,
}

/// A stack of choices between two verifiers, the outermost choice on top. Each choice is a bit below the highest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Branches(u32);

impl Default for Branches {
    fn default() -> Self {
        Self(1)
    }
}

impl Branches {
    /// Adds the choice of an outer verifier. With more than 31 choices, all of them are lost.
    pub(crate) fn push(self, second: bool) -> Self {
        if self.0 == 0 || self.0.leading_zeros() == 0 { Self(0) } else { Self(self.0 << 1 | u32::from(second)) }
    }

    /// Returns the outermost choice and the others.
    pub(crate) fn pop(self) -> Option<(bool, Self)> {
        (self.0 > 1).then_some((self.0 & 1 == 1, Self(self.0 >> 1)))
    }

    /// Adds all choices of `outer`.
    pub(crate) fn append(self, outer: Self) -> Self {
        match outer.pop() {
            Some((second, inner)) => self.append(inner).push(second),
            None => self,
        }
    }
}

impl Token {
    pub(crate) fn from_claims(origin: TokenOrigin, claims: String, names: &ClaimNames) -> Result<Self, AuthError> {
        let facts = Facts::parse(origin, claims, names).map_err(|error| {
            let change = "have the issuer send the claims as RFC 7519 defines them";
            Reason::MalformedClaims.because(error.to_string(), error.expected(), change).with_source(error)
        })?;
        Ok(Self { facts: Arc::new(facts), hierarchy: None, branches: Branches::default(), proven: false })
    }

    pub(crate) fn with_hierarchy(self, hierarchy: Option<&Arc<ScopeHierarchy>>) -> Self {
        Self { hierarchy: hierarchy.cloned(), ..self }
    }

    /// Returns the token of a request whose sender proved what `cnf` demands.
    pub(crate) fn with_proof_of_sender(self) -> Self {
        Self { proven: true, ..self }
    }

    /// Returns the token without the mark, as a verifier makes it.
    pub(crate) fn without_proof_of_sender(self) -> Self {
        Self { proven: false, ..self }
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// True if both are the result of one verification.
    pub(crate) fn has_facts_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.facts, &other.facts)
    }

    pub(crate) fn branches(&self) -> Branches {
        self.branches
    }

    pub(crate) fn with_branches(self, branches: Branches) -> Self {
        Self { branches, ..self }
    }

    /// Returns `iss`: the issuer.
    #[doc(alias = "iss")]
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.facts.text(self.facts.issuer.as_ref())
    }

    /// Returns `sub`: the subject that the token acts for. It may be a client; see [`acts_for`](Self::acts_for).
    #[doc(alias = "sub")]
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.facts.subject()
    }

    /// Returns `client_id`: the client that the token was issued to (RFC 8693 §4.3).
    #[doc(alias = "azp")]
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.facts.client_id()
    }

    /// Returns `aud`: the intended audiences, including this API.
    #[doc(alias = "aud")]
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.facts.audience.iter().filter_map(|text| self.facts.text(Some(text)))
    }

    /// Returns `jti`: the token's identifier.
    #[doc(alias = "jti")]
    #[must_use]
    pub fn jwt_id(&self) -> Option<&str> {
        self.facts.text(self.facts.jwt_id.as_ref())
    }

    /// Returns `scope`: the granted scopes (RFC 6749 §3.3). To make a decision, use [`allows`](Self::allows) or
    /// [`require`](Self::require), which apply the server's [`ScopeHierarchy`](crate::scope::ScopeHierarchy).
    #[must_use]
    pub fn scopes(&self) -> Scopes<'_> {
        Scopes::unchecked(self.facts.text(self.facts.scope.as_ref()).unwrap_or_default())
    }

    /// Returns `exp`: the expiry time.
    #[doc(alias = "exp")]
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.facts.expires_at.and_then(NumericDate::to_system_time)
    }

    /// Returns `iat`: the time of issue.
    #[doc(alias = "iat")]
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.facts.issued_at.and_then(NumericDate::to_system_time)
    }

    /// Returns `auth_time`: when the user authenticated (RFC 9470 §6).
    #[doc(alias = "auth_time")]
    #[must_use]
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.facts.auth_time.and_then(NumericDate::to_system_time)
    }

    /// Returns `acr`: the authentication context class, which says how the user authenticated (RFC 9470 §6).
    #[doc(alias = "acr")]
    #[must_use]
    pub fn authentication_context(&self) -> Option<&str> {
        self.facts.text(self.facts.acr.as_ref())
    }

    /// Returns for whom the token acts, a user or the client itself: by the rule of RFC 9068, of the issuer's
    /// [`Preset`](crate::Preset), or of [`acting_rule`](crate::verify::JwtVerifierBuilder::acting_rule). The first call
    /// computes the result; clones share it.
    #[must_use]
    pub fn acts_for(&self) -> ActsFor {
        self.facts.acts_for()
    }

    /// Returns `cnf`: the key or the certificate that the token is bound to, and that the sender of this request proved to have
    /// (RFC 9449 §6, RFC 8705 §3). `None` for a token that is not bound, and before the server has checked the proof.
    #[doc(alias = "cnf")]
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        match self.facts.binding.as_deref() {
            Some(Binding::Known(confirmation)) if self.proven => Some(confirmation),
            _ => None,
        }
    }

    /// Checks that the sender of the request proved to have the key or the certificate that the token is bound to.
    ///
    /// # Errors
    /// The token is not bound: [`InvalidToken`](crate::error::AuthErrorKind::InvalidToken), reason `constraint_required`.
    pub fn require_sender_constraint(&self) -> Result<(), AuthError> {
        if self.confirmation().is_some() {
            return Ok(());
        }
        let change = "let the client ask for a token that is bound to its key or certificate";
        Err(Reason::ConstraintRequired.because("a token without cnf", "a token with cnf", change))
    }

    /// Deserializes all claims into a type of the application.
    ///
    /// # Errors
    /// The claims don't fit `T`: [`InvalidToken`](crate::error::AuthErrorKind::InvalidToken), because the token lacks what
    /// this resource needs. The error's `source` has the position, for logs.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, AuthError> {
        serde_json::from_str(self.facts.claims()).map_err(|error| {
            // serde_json's message may quote a claim's value, so only the position is kept.
            let position = std::io::Error::other(format!("claims, column {}", error.column()));
            AuthError::from(Reason::UnsuitableClaims).with_source(position)
        })
    }

    /// Like [`claims`](Self::claims), but the result is shared: behind [`Cached`](crate::Cached) the claims are deserialized
    /// once per token, not once per request. This holds for the first type only; any other type is deserialized on each call.
    ///
    /// # Errors
    /// Those of [`claims`](Self::claims).
    pub fn shared_claims<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, AuthError> {
        if let Some(shared) = self.facts.shared.get().and_then(|shared| Arc::clone(shared).downcast().ok()) {
            return Ok(shared);
        }
        let claims = Arc::new(self.claims::<T>()?);
        self.facts.shared.get_or_init(|| Arc::clone(&claims) as Arc<dyn Any + Send + Sync>);
        Ok(claims)
    }

    /// Returns `true` if the token grants the scope `name`, directly or through a scope that includes it.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        match &self.hierarchy {
            Some(hierarchy) => hierarchy.grants(&self.scopes(), name),
            None => self.scopes().contains(name),
        }
    }

    /// Returns evidence that the token grants `S`: one scope, all of a tuple, or [`AnyOf`](crate::AnyOf) of a tuple.
    ///
    /// # Errors
    /// [`InsufficientScope`](crate::error::AuthErrorKind::InsufficientScope), with the scopes that the request needs: of
    /// the [alternatives](RequiredScopes::alternatives) of `S`, the one of which the token lacks the fewest scopes, as a
    /// whole. Of several such alternatives, it is the first that is written, unless that one includes another by the
    /// server's [`ScopeHierarchy`]. For a requirement with more than 64 alternatives, another one may lack fewer.
    pub fn require<S: RequiredScopes>(&self) -> Result<Scoped<S>, AuthError> {
        if S::satisfied(&|name| self.allows(name)) {
            Ok(Scoped { token: self.clone(), scopes: PhantomData })
        } else {
            Err(self.lacks_scopes(&S::alternatives_for(&|name| self.allows(name))))
        }
    }

    /// Returns the refusal of a token that meets none of the alternatives.
    pub(crate) fn lacks_scopes(&self, alternatives: &[Vec<&str>]) -> AuthError {
        let least = scope::least(alternatives, &|name| self.allows(name), self.hierarchy.as_deref());
        AuthError::insufficient_scope(least)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

/// A [`Token`] that was verified to grant the scopes `S`. A function argument of this type proves that the check was made.
pub struct Scoped<S> {
    token: Token,
    scopes: PhantomData<fn() -> S>,
}

impl<S> Scoped<S> {
    /// Returns the token without the evidence.
    #[must_use]
    pub fn into_token(self) -> Token {
        self.token
    }
}

impl<S> Deref for Scoped<S> {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.token
    }
}

impl<S> Clone for Scoped<S> {
    fn clone(&self) -> Self {
        Self { token: self.token.clone(), scopes: PhantomData }
    }
}

impl<S> fmt::Debug for Scoped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").finish_non_exhaustive()
    }
}
