//! [`PresentedToken`]: the token of a request as a verifier sees it.
//!
//! *In*: the credentials and the head of a request. *Out*: what a verifier reads; for a cache, what it has read.

use std::{
    cell::{Cell, RefCell},
    fmt,
    sync::Arc,
};

use http::request::Parts;
use serde::Serialize;

use super::{demand::Demand, verifier_ids::VerifierIds};
use crate::{
    claims::{ClaimNames, TokenOrigin, VerifierId},
    credentials::{BearerMethod, Credentials},
    error::{AuthError, Reason},
    token::Token,
};

/// The token of a request, and the request's head. `Debug` hides the token.
pub struct PresentedToken<'r> {
    pub(super) credentials: Credentials<'r>,
    parts: &'r Parts,
    /// True if more than the token was read. A cached verdict may then depend on it.
    request_read: Cell<bool>,
    /// True if a permit to make a token was returned.
    permitted: Cell<bool>,
    /// True inside of a [`Cached`](crate::Cached).
    tracked: Cell<bool>,
    /// Inside of a `Cached`: the verifiers of this crate that were called.
    called: Cell<VerifierIds>,
    /// Inside of a `Cached`: the clients that wait for this verification.
    demand: RefCell<SharedDemand>,
    /// True while [`JwtOrOpaque`](crate::JwtOrOpaque) looks for another verifier that recognizes a JWT.
    only_recognized: Cell<bool>,
}

/// Who waits for the verdict.
#[derive(Default)]
enum SharedDemand {
    /// The request itself. If its client disconnects, the verification is dropped.
    #[default]
    Request,
    /// The requests that share the verification. `None` if no verifier asked for them.
    Shared(Option<Arc<Demand>>),
}

impl<'r> PresentedToken<'r> {
    pub(crate) fn new(credentials: Credentials<'r>, parts: &'r Parts) -> Self {
        Self::with_demand(credentials, parts, SharedDemand::Request)
    }

    fn with_demand(credentials: Credentials<'r>, parts: &'r Parts, demand: SharedDemand) -> Self {
        Self {
            credentials,
            parts,
            request_read: Cell::new(false),
            permitted: Cell::new(false),
            tracked: Cell::new(false),
            called: Cell::new(VerifierIds::default()),
            demand: RefCell::new(demand),
            only_recognized: Cell::new(false),
        }
    }

    /// Returns the token exactly as it was sent, with at most the server's maximum length. It has only the characters of RFC
    /// 6750 §2.1, unless it is from a header that the server accepts by name: then it is printable ASCII.
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

    /// Returns the request's head. Don't read credentials from it again. See
    /// [`Verify::cache_key`](super::Verify::cache_key) about cached verdicts.
    #[must_use]
    pub fn parts(&self) -> &'r Parts {
        self.request_read.set(true);
        self.parts
    }

    /// Copies the token and the head, for a verifier that runs later. Nothing is known about what that verifier will read and
    /// call, so its verdict is never cached.
    pub(super) fn to_owned(&self) -> OwnedPresentedToken {
        self.called_unknown();
        let credentials = self.credentials.clone().into_owned();
        OwnedPresentedToken { credentials, parts: Arc::new(self.parts().clone()), demand: self.demand() }
    }

    /// Returns what `read` returns, and whether it read more than the token. Calls can be nested; the outer call also
    /// reports what the inner one read.
    pub(super) fn track_reads<T>(&self, read: impl FnOnce() -> T) -> (T, bool) {
        let read_before = self.request_read.take();
        let result = read();
        let request_read = self.request_read.get();
        self.request_read.set(read_before || request_read);
        (result, request_read)
    }

    /// Returns what `verify` returns, what it used, and the requests that wait for it if a verifier asked for them. Calls can be
    /// nested; the outer call also reports what the inner one used.
    pub(super) fn track<T>(&self, verify: impl FnOnce() -> T) -> Tracked<T> {
        let (tracked_before, called_before) = (self.tracked.replace(true), self.called.take());
        let outer = self.demand.replace(SharedDemand::Shared(None));
        let permitted_before = self.permitted.take();
        let (result, request_read) = self.track_reads(verify);
        let permitted = self.permitted.get();
        self.permitted.set(permitted_before || permitted);
        let demand = match self.demand.replace(outer) {
            SharedDemand::Shared(demand) => demand,
            SharedDemand::Request => None,
        };
        let called = self.called.get();
        self.tracked.set(tracked_before);
        self.called.set(called_before.with_all(called));
        Tracked { result, request_read, called, permitted, demand }
    }

    /// Returns the requests that wait for this verification, or `None` if it belongs to this request only.
    pub(super) fn demand(&self) -> Option<Arc<Demand>> {
        match &mut *self.demand.borrow_mut() {
            SharedDemand::Request => None,
            SharedDemand::Shared(demand) => Some(Arc::clone(demand.get_or_insert_default())),
        }
    }

    /// Returns what `verify` returns. If `only`, a verifier is responsible for the token during the call only if it
    /// recognizes it.
    pub(super) fn only_recognized<T>(&self, only: bool, verify: impl FnOnce() -> T) -> T {
        let before = self.only_recognized.replace(only);
        let result = verify();
        self.only_recognized.set(before);
        result
    }

    pub(super) fn must_be_recognized(&self) -> bool {
        self.only_recognized.get()
    }

    /// Records that the verifier with this id is called.
    pub(crate) fn called(&self, id: VerifierId) {
        if self.is_tracked() {
            self.called.set(self.called.get().with(id));
        }
    }

    /// Records that all these verifiers are called.
    pub(super) fn called_all(&self, ids: VerifierIds) {
        if self.is_tracked() {
            self.called.set(self.called.get().with_all(ids));
        }
    }

    /// Records that a verifier is called about which the cache knows nothing.
    pub(super) fn called_unknown(&self) {
        if self.is_tracked() {
            self.called.set(VerifierIds::UNKNOWN);
        }
    }

    /// True inside of a [`Cached`](crate::Cached).
    pub(super) fn is_tracked(&self) -> bool {
        self.tracked.get()
    }

    /// Returns what `verify` returns, and records only `id` as called. For a verifier that chooses another one by nothing but
    /// the token, and whose own id stands for all of them.
    pub(super) fn called_instead<T>(&self, id: VerifierId, verify: impl FnOnce() -> T) -> T {
        let before = self.called.get();
        let result = verify();
        if self.is_tracked() {
            self.called.set(before.with(id));
        }
        result
    }

    /// Returns the permit to make a [`Token`].
    #[must_use]
    pub fn permit(&self) -> TokenPermit {
        self.permitted.set(true);
        TokenPermit { made_by_verification: () }
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedToken").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// The result of a call of a verifier, and what the call used besides the token.
pub(super) struct Tracked<T> {
    pub(super) result: T,
    pub(super) request_read: bool,
    pub(super) called: VerifierIds,
    /// True if a verifier of the application may have made a token.
    pub(super) permitted: bool,
    /// The requests that wait for the result, if the verifier asked for them.
    pub(super) demand: Option<Arc<Demand>>,
}

impl<T> Tracked<Option<T>> {
    pub(super) fn transpose(self) -> Option<Tracked<T>> {
        let Self { result, request_read, called, permitted, demand } = self;
        Some(Tracked { result: result?, request_read, called, permitted, demand })
    }
}

/// A copy of a [`PresentedToken`] that doesn't borrow from the request.
pub(super) struct OwnedPresentedToken {
    credentials: Credentials<'static>,
    pub(super) parts: Arc<Parts>,
    demand: Option<Arc<Demand>>,
}

impl OwnedPresentedToken {
    pub(super) fn as_presented(&self) -> PresentedToken<'_> {
        let demand = self.demand.clone().map_or(SharedDemand::Request, |demand| SharedDemand::Shared(Some(demand)));
        PresentedToken::with_demand(self.credentials.clone(), &self.parts, demand)
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
