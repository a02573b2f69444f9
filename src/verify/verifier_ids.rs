//! A small set of verifier ids.
//!
//! *In*: the ids of verifiers. *Out*: whether one set contains another.

use crate::claims::VerifierId;

/// A list of verifiers in the order in which they were added, without repetitions. Copying it allocates nothing.
///
/// Plain numbers, because sets are compared on every hit of a cache. 0 is a free place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct VerifierIds([u64; MAX_IDS]);

impl VerifierIds {
    /// A set about which nothing is known.
    pub(super) const UNKNOWN: Self = Self([TOO_MANY; MAX_IDS]);

    /// Returns the set with `id`.
    pub(super) fn with(self, id: VerifierId) -> Self {
        self.with_number(id.number())
    }

    pub(super) fn with_all(self, other: Self) -> Self {
        other.numbers().fold(self, Self::with_number)
    }

    pub(super) fn is_empty(&self) -> bool {
        let [first, ..] = self.0;
        first == 0
    }

    /// True if every verifier of `other` is known to be in this set.
    pub(super) fn contains_all(&self, other: &Self) -> bool {
        self.is_complete() && other.is_complete() && other.numbers().all(|number| self.0.contains(&number))
    }

    fn with_number(mut self, number: u64) -> Self {
        match self.0.iter_mut().find(|known| **known == 0 || **known == number) {
            Some(place) => *place = number,
            None => self = Self::UNKNOWN,
        }
        self
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.into_iter().take_while(|number| *number != 0)
    }

    fn is_complete(&self) -> bool {
        !self.0.contains(&TOO_MANY)
    }
}

/// More verifiers than this behind one cache are unusual. Their verdicts are not cached.
const MAX_IDS: usize = 6;
/// In a set with more verifiers. Nothing is then known about it.
const TOO_MANY: u64 = u64::MAX;
