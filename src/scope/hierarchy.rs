//! Scopes that include other scopes.

use std::collections::BTreeMap;

use super::{Scopes, check_name};
use crate::{config_error::MistakeCollector, scope::Scope};

/// Which scopes include which others: `orders:write` ⇒ `orders:read`. Inclusion is transitive.
#[derive(Debug, Clone, Default)]
pub struct ScopeHierarchy {
    /// For each narrower scope, every scope that includes it.
    wider: BTreeMap<String, Vec<String>>,
    /// Reported by the `build` of the server that gets the hierarchy.
    mistakes: MistakeCollector,
}

impl ScopeHierarchy {
    /// Returns a hierarchy in which no scope includes another.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that holds `W` holds `N` as well.
    #[must_use]
    pub fn implies<W: Scope, N: Scope>(self) -> Self {
        self.implies_named(W::NAME, N::NAME)
    }

    /// A token that holds `wider` holds `narrower` as well, for names that are known only at run time.
    ///
    /// [`ResourceServerBuilder::build`](crate::server::ResourceServerBuilder::build) reports a name that is not a
    /// scope-token (RFC 6749 §3.3).
    #[must_use]
    pub fn implies_named(mut self, wider: &str, narrower: &str) -> Self {
        for name in [wider, narrower] {
            self.mistakes.check(check_name("scope_hierarchy", name));
        }
        let above = self.above(wider);
        let below: Vec<String> = self
            .wider
            .iter()
            .filter(|(_, above)| above.iter().any(|scope| scope == narrower))
            .map(|(below, _)| below.clone())
            .chain([narrower.to_owned()])
            .collect();
        for scope in below {
            let known = self.wider.entry(scope).or_default();
            for wider in &above {
                if !known.contains(wider) {
                    known.push(wider.clone());
                }
            }
        }
        self
    }

    fn above(&self, scope: &str) -> Vec<String> {
        let known = self.wider.get(scope).into_iter().flatten().cloned();
        known.chain([scope.to_owned()]).collect()
    }

    pub(crate) fn mistakes(&self) -> MistakeCollector {
        self.mistakes.clone()
    }

    /// True if no scope includes another.
    pub(crate) fn is_flat(&self) -> bool {
        self.wider.is_empty()
    }

    /// True if `granted` includes `name`, itself or through a wider scope.
    pub(crate) fn grants(&self, granted: &Scopes<'_>, name: &str) -> bool {
        granted.contains(name)
            || self.wider.get(name).is_some_and(|wider| wider.iter().any(|scope| granted.contains(scope)))
    }
}
