//! Scopes that include other scopes.
//!
//! *In*: pairs of scopes. *Out*: whether the scopes of a token grant a scope.

use std::collections::BTreeMap;

use super::{Scopes, check_name};
use crate::{config_error::MistakeCollector, scope::Scope};

/// Which scopes include others: a token with `orders:write` also grants `orders:read`. Inclusion is transitive.
#[derive(Debug, Clone, Default)]
pub struct ScopeHierarchy {
    /// For each included scope, every scope that includes it, directly or through others.
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

    /// Declares that the scope `W` includes the scope `N`.
    #[must_use]
    pub fn implies<W: Scope, N: Scope>(self) -> Self {
        self.implies_named(W::NAME, N::NAME)
    }

    /// Declares that `wider` includes `narrower`, for names that are known only at run time.
    ///
    /// [`ResourceServerBuilder::build`](crate::server::ResourceServerBuilder::build) reports a name that is not a
    /// scope-token (RFC 6749 §3.3).
    #[must_use]
    pub fn implies_named(mut self, wider: &str, narrower: &str) -> Self {
        for name in [wider, narrower] {
            self.mistakes.check(check_name("scope_hierarchy", name));
        }
        // Every scope from `narrower` down is included in every scope from `wider` up.
        let all_wider = self.with_wider(wider);
        for scope in self.with_narrower(narrower) {
            let its_wider = self.wider.entry(scope).or_default();
            for wider in &all_wider {
                if !its_wider.contains(wider) {
                    its_wider.push(wider.clone());
                }
            }
        }
        self
    }

    /// Returns `scope` and every scope that includes it.
    fn with_wider(&self, scope: &str) -> Vec<String> {
        let wider = self.wider.get(scope).into_iter().flatten().cloned();
        wider.chain([scope.to_owned()]).collect()
    }

    /// Returns `scope` and every scope that it includes.
    fn with_narrower(&self, scope: &str) -> Vec<String> {
        let included = self.wider.iter().filter(|(_, wider)| wider.iter().any(|wider| wider == scope));
        included.map(|(name, _)| name.clone()).chain([scope.to_owned()]).collect()
    }

    pub(crate) fn mistakes(&self) -> MistakeCollector {
        self.mistakes.clone()
    }

    /// True if no scope includes another.
    pub(crate) fn is_flat(&self) -> bool {
        self.wider.is_empty()
    }

    /// True if `granted` contains `name`, or a scope that includes it.
    pub(crate) fn grants(&self, granted: &Scopes<'_>, name: &str) -> bool {
        granted.contains(name)
            || self.wider.get(name).is_some_and(|wider| wider.iter().any(|scope| granted.contains(scope)))
    }

    /// True if a token with the scopes `granted` has all of `names`.
    pub(crate) fn grants_all(&self, granted: &[&str], names: &[&str]) -> bool {
        let granted = granted.join(" ");
        names.iter().all(|name| self.grants(&Scopes::unchecked(&granted), name))
    }
}
