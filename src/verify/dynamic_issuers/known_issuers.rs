//! The issuers about which a decision is stored, in three bounded places.
//!
//! *In*: the decisions of the callback, and accepted tokens. *Out*: the verifier of an issuer, its refusal, or that it must be
//! decided about.
//!
//! An issuer becomes *established* when its verifier accepts a token. Until then it is one of the few *newcomers*. So no number
//! of unsigned or forged tokens evicts an established issuer. *Refused* issuers have a place of their own.
//!
//! moka bounds the places and evicts the entry that was not used for the longest time. It knows no time: a
//! [`Moment`] in each value and the verifier's [`Clock`] decide about ages, so that a test can drive them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::budget::NewcomerBudget;
use crate::{
    clock::{Clock, Moment},
    error::AuthError,
    sync::lock,
    verify::JwtVerifier,
};

pub(super) struct KnownIssuers {
    established: Cache<Arc<str>, Arc<KnownIssuer>>,
    newcomers: Cache<Arc<str>, Arc<KnownIssuer>>,
    refused: Cache<Arc<str>, Moment>,
    /// Held during each change of the places, so that no invalidation comes between a check and a change.
    changes: Mutex<IssuerChanges>,
    settings: DecisionSettings,
    clock: Arc<dyn Clock>,
}

/// The bounds and ages of decisions.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecisionSettings {
    pub(super) max_issuers: u32,
    pub(super) max_newcomers: u32,
    pub(super) approval_age: Duration,
    pub(super) refusal_age: Duration,
    pub(super) newcomers_at_once: u32,
    pub(super) newcomer_interval: Duration,
}

struct IssuerChanges {
    /// Number of calls of `invalidate`.
    invalidations: u64,
    budget: NewcomerBudget,
}

/// The entry of an issuer.
struct KnownIssuer {
    /// `None` after an invalidation.
    verifier: Option<Arc<JwtVerifier>>,
    approval: StoredApproval,
    /// The number of invalidations before the decision.
    invalidations: u64,
}

enum StoredApproval {
    /// For all requests, since the start of the callback.
    Since(Moment),
    /// Each request needs a decision of its own.
    ByHead,
    /// Invalidated. An established issuer keeps its place, and the next request needs a decision.
    Invalidated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IssuerPlace {
    Established,
    Newcomer,
}

/// An issuer that may be used now.
#[derive(Clone)]
pub(super) struct ApprovedIssuer {
    known: Arc<KnownIssuer>,
    pub(super) verifier: Arc<JwtVerifier>,
    pub(super) place: IssuerPlace,
}

pub(super) enum IssuerState {
    Approved(ApprovedIssuer),
    Refused,
    /// No decision is stored, or it is too old, or it depends on the request's head.
    Undecided,
}

/// What was known about an issuer before a decision.
pub(super) struct BeforeDecision {
    known: Option<Arc<KnownIssuer>>,
    pub(super) place: IssuerPlace,
    invalidations: u64,
    started: Moment,
}

impl KnownIssuers {
    pub(super) fn new(settings: DecisionSettings, clock: Arc<dyn Clock>) -> Self {
        let budget = NewcomerBudget::new(settings.newcomers_at_once, settings.newcomer_interval);
        Self {
            established: place_for(settings.max_issuers),
            newcomers: place_for(settings.max_newcomers),
            refused: place_for(MAX_REFUSED),
            changes: Mutex::new(IssuerChanges { invalidations: 0, budget }),
            settings,
            clock,
        }
    }

    /// Returns the stored decision about an issuer.
    pub(super) fn find(&self, issuer: &str) -> IssuerState {
        let now = Moment::now(&*self.clock);
        let Some((known, place)) = self.known(issuer) else {
            let refused = self.refused.get(issuer).is_some_and(|since| since.age(&now) < self.settings.refusal_age);
            return if refused { IssuerState::Refused } else { IssuerState::Undecided };
        };
        let fresh =
            matches!(&known.approval, StoredApproval::Since(since) if since.age(&now) < self.settings.approval_age);
        match known.verifier.clone().filter(|_| fresh) {
            Some(verifier) => IssuerState::Approved(ApprovedIssuer { known, verifier, place }),
            None => IssuerState::Undecided,
        }
    }

    /// True if the last decision about the issuer depended on the request's head.
    pub(super) fn decides_by_head(&self, issuer: &str) -> bool {
        self.known(issuer).is_some_and(|(known, _)| matches!(known.approval, StoredApproval::ByHead))
    }

    /// Returns the verifier of an established issuer whose decisions depend on the request's head.
    pub(super) fn established_by_head(&self, issuer: &str) -> Option<Arc<JwtVerifier>> {
        let known = self.established.get(issuer)?;
        matches!(known.approval, StoredApproval::ByHead).then(|| known.verifier.clone())?
    }

    pub(super) fn established_count(&self) -> u64 {
        self.established.entry_count()
    }

    pub(super) fn invalidations(&self) -> u64 {
        lock(&self.changes).invalidations
    }

    pub(super) fn before_decision(&self, issuer: &str) -> BeforeDecision {
        let changes = lock(&self.changes);
        let (known, place) = self.known(issuer).unzip();
        BeforeDecision {
            known,
            place: place.unwrap_or(IssuerPlace::Newcomer),
            invalidations: changes.invalidations,
            started: Moment::now(&*self.clock),
        }
    }

    /// Stores a decision, unless the issuer was invalidated since. Returns the verifier to use: an earlier one stays, because it
    /// has the keys.
    ///
    /// # Errors
    /// The issuer is refused, or it is a newcomer and the budget is empty.
    pub(super) fn store(
        &self,
        issuer: &Arc<str>,
        before: &BeforeDecision,
        answer: Option<JwtVerifier>,
        by_head: bool,
    ) -> Result<ApprovedIssuer, AuthError> {
        let mut changes = lock(&self.changes);
        let (current, place) = self.known(issuer).unzip();
        let place = place.unwrap_or(IssuerPlace::Newcomer);
        // The callback may have read data from before an invalidation. Then its decision is used for the requests that wait for
        // it, and not stored. The count covers all issuers; an unchanged entry shows that the invalidation was of another one.
        let unchanged = before.known.as_ref().zip(current.as_ref()).is_some_and(|(old, new)| Arc::ptr_eq(old, new));
        let valid = unchanged || before.invalidations == changes.invalidations;
        let kept = current.filter(|_| valid).and_then(|known| known.verifier.clone());
        let Some(answer) = answer else {
            match kept {
                _ if !valid => {}
                Some(kept) if by_head => drop(self.put(issuer, place, before, kept, StoredApproval::ByHead)),
                _ if by_head => {}
                _ => self.refuse(issuer, before.started),
            }
            return Err(AuthError::not_responsible());
        };
        if kept.is_none() && place == IssuerPlace::Newcomer {
            changes.budget.spend(Moment::now(&*self.clock)).map_err(AuthError::unavailable)?;
        }
        let verifier = kept.unwrap_or_else(|| {
            // Any client can cause the fetches of a newcomer's keys, so their failures are no warnings.
            answer.issuer().set_quiet(place == IssuerPlace::Newcomer);
            Arc::new(answer)
        });
        let approval = if by_head { StoredApproval::ByHead } else { StoredApproval::Since(before.started) };
        if valid {
            return Ok(self.put(issuer, place, before, verifier, approval));
        }
        let known =
            KnownIssuer { verifier: Some(Arc::clone(&verifier)), approval, invalidations: before.invalidations };
        Ok(ApprovedIssuer { known: Arc::new(known), verifier, place })
    }

    /// Makes the issuer established: its verifier accepted a token.
    pub(super) fn establish(&self, issuer: &Arc<str>, approved: &ApprovedIssuer) {
        if approved.place == IssuerPlace::Established {
            return;
        }
        let changes = lock(&self.changes);
        let known = match self.newcomers.get(issuer) {
            // A later decision may have replaced the entry. After an invalidation the verifier is another one.
            Some(known) => known,
            // Evicted meanwhile by other newcomers.
            None if approved.known.invalidations == changes.invalidations && !self.refused.contains_key(issuer) => {
                Arc::clone(&approved.known)
            }
            None => return,
        };
        let same = known.verifier.as_ref().is_some_and(|verifier| Arc::ptr_eq(verifier, &approved.verifier));
        if same && !self.established.contains_key(issuer) {
            approved.verifier.issuer().set_quiet(false);
            insert(&self.established, issuer, known);
            self.newcomers.invalidate(issuer);
        }
    }

    /// Removes the decision about an issuer, also one that is not made yet.
    pub(super) fn invalidate(&self, issuer: &str) {
        let mut changes = lock(&self.changes);
        changes.invalidations = changes.invalidations.wrapping_add(1);
        self.newcomers.invalidate(issuer);
        self.refused.invalidate(issuer);
        if self.established.contains_key(issuer) {
            let (approval, invalidations) = (StoredApproval::Invalidated, changes.invalidations);
            let known = KnownIssuer { verifier: None, approval, invalidations };
            insert(&self.established, &issuer.into(), Arc::new(known));
        }
    }

    fn known(&self, issuer: &str) -> Option<(Arc<KnownIssuer>, IssuerPlace)> {
        let established = self.established.get(issuer).map(|known| (known, IssuerPlace::Established));
        established.or_else(|| Some((self.newcomers.get(issuer)?, IssuerPlace::Newcomer)))
    }

    /// The caller holds `changes`.
    fn put(
        &self,
        issuer: &Arc<str>,
        place: IssuerPlace,
        before: &BeforeDecision,
        verifier: Arc<JwtVerifier>,
        approval: StoredApproval,
    ) -> ApprovedIssuer {
        let known =
            KnownIssuer { verifier: Some(Arc::clone(&verifier)), approval, invalidations: before.invalidations };
        let known = Arc::new(known);
        let entries = match place {
            IssuerPlace::Established => &self.established,
            IssuerPlace::Newcomer => &self.newcomers,
        };
        insert(entries, issuer, Arc::clone(&known));
        self.refused.invalidate(issuer);
        ApprovedIssuer { known, verifier, place }
    }

    /// The caller holds `changes`.
    fn refuse(&self, issuer: &Arc<str>, since: Moment) {
        self.established.invalidate(issuer);
        self.newcomers.invalidate(issuer);
        insert(&self.refused, issuer, since);
    }
}

/// Returns a place that evicts the entry that was not used for the longest time. moka's default policy would not admit a new
/// entry that is used less often than the old ones.
fn place_for<V: Clone + Send + Sync + 'static>(entries: u32) -> Cache<Arc<str>, V> {
    Cache::builder().max_capacity(entries.into()).eviction_policy(EvictionPolicy::lru()).build()
}

/// Inserts an entry and evicts at once what is above the capacity. moka would evict it some entries later.
fn insert<V: Clone + Send + Sync + 'static>(entries: &Cache<Arc<str>, V>, issuer: &Arc<str>, value: V) {
    entries.insert(Arc::clone(issuer), value);
    entries.run_pending_tasks();
}

const MAX_REFUSED: u32 = 1_000;
