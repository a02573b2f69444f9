//! A small set of verifier ids.
//!
//! *In*: the ids of verifiers. *Out*: whether one set contains another.

use crate::claims::VerifierId;

/// A list of verifiers in the order in which they were added, without repetitions. Copying it allocates nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct VerifierIds {
    ids: [Option<VerifierId>; MAX_IDS],
    /// True if there were more verifiers. Nothing is then known about the set.
    overflown: bool,
}

impl VerifierIds {
    /// Returns the set with `id`.
    pub(super) fn with(mut self, id: VerifierId) -> Self {
        match self.ids.iter_mut().find(|known| known.is_none_or(|known| known == id)) {
            Some(place) => *place = Some(id),
            None => self.overflown = true,
        }
        self
    }

    pub(super) fn with_all(self, other: Self) -> Self {
        let all = other.ids.iter().flatten().fold(self, |all, id| all.with(*id));
        Self { overflown: all.overflown || other.overflown, ..all }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True if every verifier of `other` is known to be in this set.
    pub(super) fn contains_all(&self, other: &Self) -> bool {
        let complete = !self.overflown && !other.overflown;
        complete && other.ids.iter().flatten().all(|id| self.ids.contains(&Some(*id)))
    }
}

/// More verifiers than this behind one cache are unusual. Their verdicts are not cached.
const MAX_IDS: usize = 6;
