//! [`Token`]: what a check found true about a request, and [`Scoped`], the evidence of a permission.
//!
//! *In*: the claims of a token that has been checked (a JWT's payload, an introspection answer).
//! *Out*: the standard facts, the user's own claims, and yes or no to a scope.
//!
//! A `Token` comes from a check only: there is no public constructor. So a function that takes `&Scoped<OrdersWrite>`
//! cannot be called without the permission.
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
    acts_for::{ActorRule, ActsFor},
    claims::{ClaimNames, Facts, NumericDate},
    error::{AuthError, Reason},
    scope::{RequiredScopes, ScopeHierarchy, Scopes},
};

/// Verified facts about the request's token. Cheap to clone; `Debug` shows none of them.
#[derive(Clone)]
pub struct Token {
    facts: Arc<Facts>,
    hierarchy: Option<Arc<ScopeHierarchy>>,
}

impl Token {
    pub(crate) fn from_claims(claims: String, names: &ClaimNames) -> Result<Self, AuthError> {
        Self::checked_with(0, claims, names)
    }

    /// With the epoch of the keys that its signature was checked with.
    pub(crate) fn checked_with(key_epoch: u64, claims: String, names: &ClaimNames) -> Result<Self, AuthError> {
        let mut facts =
            Facts::parse(claims, names).map_err(|error| AuthError::from(Reason::MalformedClaims).with_source(error))?;
        facts.key_epoch = key_epoch;
        Ok(Self { facts: Arc::new(facts), hierarchy: None })
    }

    pub(crate) fn with_hierarchy(self, hierarchy: Option<&Arc<ScopeHierarchy>>) -> Self {
        Self { hierarchy: hierarchy.cloned(), ..self }
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// `iss`: who issued it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.facts.text(self.facts.issuer.as_ref())
    }

    /// `sub`: in whose name it acts. See [`acts_for`](Self::acts_for) before you take it for a person.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.facts.text(self.facts.subject.as_ref())
    }

    /// `client_id`: which client it was issued to (RFC 8693 §4.3).
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.facts.text(self.facts.client_id.as_ref())
    }

    /// `aud`: for which resources it is meant; ours is among them.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.facts.audience.iter().filter_map(|text| self.facts.text(Some(text)))
    }

    /// `jti`: its identifier.
    #[must_use]
    pub fn jwt_id(&self) -> Option<&str> {
        self.facts.text(self.facts.jwt_id.as_ref())
    }

    /// `scope`, as granted (RFC 6749 §3.3). To decide something, ask [`allows`](Self::allows) or
    /// [`require`](Self::require), which know the server's [`ScopeHierarchy`].
    #[must_use]
    pub fn scopes(&self) -> Scopes<'_> {
        Scopes::unchecked(self.facts.text(self.facts.scope.as_ref()).unwrap_or_default())
    }

    /// `exp`: from when on it must not be accepted.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.facts.expires_at.and_then(NumericDate::to_system_time)
    }

    /// `iat`: when it was issued.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.facts.issued_at.and_then(NumericDate::to_system_time)
    }

    /// `auth_time`: when the person authenticated (RFC 9470 §6).
    #[must_use]
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.facts.auth_time.and_then(NumericDate::to_system_time)
    }

    /// `acr`: how the person authenticated (RFC 9470 §6).
    #[must_use]
    pub fn authentication_context(&self) -> Option<&str> {
        self.facts.text(self.facts.acr.as_ref())
    }

    /// Whether it acts for a person or for the client itself: by RFC 9068's rule, or by that of the issuer's
    /// [`Preset`](crate::Preset).
    #[must_use]
    pub fn acts_for(&self) -> ActsFor {
        self.facts.dialect.as_ref().map_or(ActorRule::Rfc9068, |dialect| dialect.actor).judge(&self.facts)
    }

    /// All claims, as the user's own type sees them.
    ///
    /// # Errors
    /// The claims don't fit `T`: [`InvalidToken`](crate::AuthErrorKind::InvalidToken), because the token lacks what this
    /// resource needs. The cause stays in the error's `source` for the log.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, AuthError> {
        serde_json::from_str(self.facts.claims()).map_err(|error| {
            // serde_json's message may quote a claim's value, so only the place is kept.
            let place = std::io::Error::other(format!("claims, column {}", error.column()));
            AuthError::from(Reason::UnsuitableClaims).with_source(place)
        })
    }

    /// As [`claims`](Self::claims), but read once for a token, however many requests present it while
    /// [`Cached`](crate::Cached) keeps it. The first type that is asked for is kept with the token; a second one is read
    /// each time.
    ///
    /// # Errors
    /// As for [`claims`](Self::claims).
    pub fn shared_claims<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, AuthError> {
        if let Some(known) = self.facts.memo.get().and_then(|known| Arc::clone(known).downcast().ok()) {
            return Ok(known);
        }
        let claims = Arc::new(self.claims::<T>()?);
        self.facts.memo.get_or_init(|| Arc::clone(&claims) as Arc<dyn Any + Send + Sync>);
        Ok(claims)
    }

    /// Whether the token grants the scope `name`, itself or through a wider one.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        match &self.hierarchy {
            Some(hierarchy) => hierarchy.grants(&self.scopes(), name),
            None => self.scopes().contains(name),
        }
    }

    /// Evidence that the token grants `S`: one scope, all of a tuple, [`AnyOf`](crate::AnyOf) a tuple.
    ///
    /// # Errors
    /// [`InsufficientScope`](crate::AuthErrorKind::InsufficientScope), naming all that `S` needs.
    pub fn require<S: RequiredScopes>(&self) -> Result<Scoped<S>, AuthError> {
        if S::satisfied(&|name| self.allows(name)) {
            Ok(Scoped { token: self.clone(), scopes: PhantomData })
        } else {
            Err(AuthError::insufficient_scope(Scopes::of::<S>()))
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

/// A [`Token`] that has been seen to grant `S`. As an argument, it is the proof.
pub struct Scoped<S> {
    token: Token,
    scopes: PhantomData<fn() -> S>,
}

impl<S> Scoped<S> {
    /// The token alone, without the evidence.
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
