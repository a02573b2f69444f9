//! Scopes: what a token may do, and what a handler asks for (RFC 6749 §3.3).
//!
//! *In*: scope names, at compile time ([`scopes!`](crate::scopes)) or at run time ([`Scopes`]).
//! *Out*: marker types for signatures, and the yes or no of a comparison.
//!
//! Names are compared byte for byte. Nothing here knows wildcards or prefixes: `orders:*` is a name like any other.
//! That one scope includes another is said to the [`ResourceServer`](crate::ResourceServer), see [`ScopeHierarchy`].
//!
//! ```
//! use tower_oauth::{AnyOf, RequiredScopes, Scope};
//!
//! tower_oauth::scopes! {
//!     /// Read any order.
//!     pub OrdersRead = "orders:read";
//!     /// Change any order.
//!     pub OrdersWrite = "orders:write";
//!     pub Admin = "admin";
//! }
//!
//! type Needed = (OrdersRead, AnyOf<(OrdersWrite, Admin)>);
//! assert!(Needed::satisfied(&|name| name == "orders:read" || name == "admin"));
//! assert!(!Needed::satisfied(&|name| name == "orders:read"));
//! assert_eq!(OrdersRead::NAME, "orders:read");
//! assert_eq!(SCOPES, ["orders:read", "orders:write", "admin"]);
//! ```

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use crate::error::{ConfigError, ConfigMistake};

/// A scope with a name known at compile time. Written by [`scopes!`](crate::scopes).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a scope",
    note = "declare it with `tower_oauth::scopes! {{ pub {Self} = \"its:name\"; }}`"
)]
pub trait Scope: 'static {
    /// The scope's name, as it stands in tokens.
    const NAME: &'static str;
}

/// What a handler can require: one scope, a tuple (all of them), or [`AnyOf`] a tuple. They nest.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be required of a token",
    note = "use a type made by `scopes!`, a tuple of up to eight of them (all of), or `AnyOf<(A, B)>` (any of)"
)]
pub trait RequiredScopes: 'static {
    /// Whether the scopes for which `granted` says yes are enough.
    fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool;
    /// Adds every name that takes part, for the challenge's `scope` (RFC 6750 §3).
    fn names(into: &mut Vec<&'static str>);
}

impl<S: Scope> RequiredScopes for S {
    fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
        granted(S::NAME)
    }

    fn names(into: &mut Vec<&'static str>) {
        into.push(S::NAME);
    }
}

/// Any one of a tuple's members is enough: `AnyOf<(OrdersWrite, Admin)>`.
#[derive(Debug)]
pub struct AnyOf<T>(PhantomData<fn() -> T>);

macro_rules! tuples {
    ($(($($member:ident),+))+) => {$(
        impl<$($member: RequiredScopes),+> RequiredScopes for ($($member,)+) {
            fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
                $($member::satisfied(granted))&&+
            }

            fn names(into: &mut Vec<&'static str>) {
                $($member::names(into);)+
            }
        }

        impl<$($member: RequiredScopes),+> RequiredScopes for AnyOf<($($member,)+)> {
            fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
                $($member::satisfied(granted))||+
            }

            fn names(into: &mut Vec<&'static str>) {
                $($member::names(into);)+
            }
        }
    )+};
}

tuples! {
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
    (A, B, C, D, E, F, G)
    (A, B, C, D, E, F, G, H)
}

/// Writes a documented marker type for each scope, and `SCOPES`, the list of all their names.
///
/// One invocation a module, because `SCOPES` belongs to the module. A name that RFC 6749 §3.3 doesn't allow does not
/// compile:
///
/// ```compile_fail,E0080
/// tower_oauth::scopes! { pub Broken = "orders read"; }
/// ```
#[macro_export]
macro_rules! scopes {
    ($($(#[$attribute:meta])* $visibility:vis $marker:ident = $name:literal;)+) => {
        $(
            $(#[$attribute])*
            #[doc = concat!("\n\nThe scope `", $name, "`.")]
            #[derive(Debug, Clone, Copy)]
            #[allow(clippy::exhaustive_structs)]
            $visibility struct $marker;

            impl $crate::Scope for $marker {
                const NAME: &'static str = $name;
            }

            // Outside the impl: an associated constant that nobody reads would not be checked.
            const _: () = assert!(
                $crate::is_scope_name($name),
                concat!("`", $name, "` is not a scope name (RFC 6749 §3.3: printable ASCII but no space, quote or backslash)")
            );
        )+

        /// The names of all scopes declared here.
        #[allow(dead_code, unreachable_pub)]
        pub const SCOPES: &[&str] = &[$($name),+];
    };
}

/// Whether `name` is a scope-token: `1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 §3.3).
#[must_use]
pub const fn is_scope_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        if !matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e) {
            return false;
        }
        rest = tail;
    }
    !bytes.is_empty()
}

/// A list of scopes, as a token or a challenge carries it: separated by single spaces.
#[derive(Clone, PartialEq, Eq)]
pub struct Scopes<'a>(Cow<'a, str>);

impl Scopes<'static> {
    /// A list of names known at run time only.
    ///
    /// # Errors
    /// Every name that is not a scope-token (RFC 6749 §3.3), and an empty list.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, ConfigError> {
        let (mut list, mut mistakes) = (Vec::new(), Vec::new());
        for name in names {
            let name = name.as_ref();
            if is_scope_name(name) {
                list.push(name.to_owned());
            } else {
                mistakes.push(ConfigMistake::new(
                    "scope",
                    format!("{name:?} is not a scope name"),
                    "use printable ASCII without space, quote and backslash (RFC 6749 §3.3)",
                ));
            }
        }
        if list.is_empty() && mistakes.is_empty() {
            mistakes.push(ConfigMistake::new("scope", "the list is empty", "name at least one scope"));
        }
        ConfigError::unless_empty(mistakes)?;
        Ok(Self(Cow::Owned(list.join(" "))))
    }

    /// The names of a requirement, each once.
    pub(crate) fn of<S: RequiredScopes>() -> Self {
        let mut names = Vec::new();
        S::names(&mut names);
        let mut once: Vec<&str> = Vec::new();
        for name in names {
            // `scopes!` lets no other names through; a trait implemented by hand may.
            if is_scope_name(name) && !once.contains(&name) {
                once.push(name);
            }
        }
        Self(Cow::Owned(once.join(" ")))
    }
}

impl<'a> Scopes<'a> {
    /// What a token says; its text is compared, never echoed.
    pub(crate) fn unchecked(list: &'a str) -> Self {
        Self(Cow::Borrowed(list))
    }

    /// Whether exactly this name is in the list. Only U+0020 separates (RFC 6749 §3.3).
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && self.0.split(' ').any(|scope| scope == name)
    }

    /// The names, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl fmt::Display for Scopes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scopes<'_> {
    /// Says how many: the names may be a token's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({})", self.iter().count())
    }
}

/// Which scopes include which others: `orders:write` ⇒ `orders:read`. Inclusion is transitive.
#[derive(Debug, Clone, Default)]
pub struct ScopeHierarchy {
    /// For each narrower scope, every scope that includes it.
    wider: BTreeMap<String, Vec<String>>,
}

impl ScopeHierarchy {
    /// No scope includes another.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that holds `W` holds `N` as well.
    #[must_use]
    pub fn implies<W: Scope, N: Scope>(self) -> Self {
        self.add(W::NAME, N::NAME)
    }

    /// The same for names known at run time only.
    ///
    /// # Errors
    /// A name that is not a scope-token (RFC 6749 §3.3).
    pub fn implies_named(self, wider: &str, narrower: &str) -> Result<Self, ConfigError> {
        Scopes::new([wider, narrower])?;
        Ok(self.add(wider, narrower))
    }

    fn add(mut self, wider: &str, narrower: &str) -> Self {
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

    /// Whether no scope includes another.
    pub(crate) fn is_flat(&self) -> bool {
        self.wider.is_empty()
    }

    /// Whether `granted` includes `name`, itself or through a wider scope.
    pub(crate) fn grants(&self, granted: &Scopes<'_>, name: &str) -> bool {
        granted.contains(name)
            || self.wider.get(name).is_some_and(|wider| wider.iter().any(|scope| granted.contains(scope)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_names_are_rfc_6749_scope_tokens() {
        assert!(is_scope_name("orders:read") && is_scope_name("!") && is_scope_name("#[]~"));
        for bad in ["", " ", "a b", "a\"b", "a\\b", "a\tb", "\u{7f}", "ä", "a\n"] {
            assert!(!is_scope_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn inclusion_is_transitive_in_whichever_order_it_was_said() {
        let pairs = [("a", "b"), ("b", "c"), ("c", "d")];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let hierarchy = order.iter().fold(ScopeHierarchy::new(), |hierarchy, &index| {
                let (wider, narrower) = pairs[index];
                hierarchy.implies_named(wider, narrower).unwrap()
            });
            let granted = Scopes::unchecked("a");
            assert!(["a", "b", "c", "d"].iter().all(|name| hierarchy.grants(&granted, name)), "{order:?}");
            assert!(!hierarchy.grants(&Scopes::unchecked("d"), "a"));
        }
    }
}
