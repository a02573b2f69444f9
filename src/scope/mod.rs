//! Scopes: what a token permits, and what a handler requires (RFC 6749 §3.3).
//!
//! *In*: scope names, at compile time ([`scopes!`](crate::scopes)) or at run time ([`Scopes`]).
//! *Out*: marker types for signatures, and whether a list contains a name.
//!
//! Names are compared byte for byte. There are no wildcards or prefixes: `orders:*` is a name like any other. With a
//! [`ScopeHierarchy`] of the [`ResourceServer`](crate::ResourceServer), one scope can include another.
//!
//! ```
//! use tower_oauth::{scope::{RequiredScopes, Scope}, AnyOf};
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
//! assert_eq!((OrdersRead::NAME, OrdersRead::DESCRIPTION), ("orders:read", "Read any order."));
//! assert_eq!(SCOPES, ["orders:read", "orders:write", "admin"]);
//! assert_eq!(DESCRIBED[1], ("orders:write", "Change any order."));
//! ```

mod alternatives;
pub(crate) mod any_of;
mod description;
mod hierarchy;

use std::{borrow::Cow, fmt};

pub(crate) use self::alternatives::least;
pub use self::hierarchy::ScopeHierarchy;
// For the expansion of `scopes!`.
#[doc(hidden)]
pub use self::description::{description_bytes, description_length};
use crate::config_error::{ConfigError, ConfigMistake, MistakeCollector};

/// A scope with a name known at compile time. [`scopes!`](crate::scopes) implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a scope",
    note = "declare it with `tower_oauth::scopes! {{ pub {Self} = \"its:name\"; }}`"
)]
pub trait Scope: 'static {
    /// The scope's name in tokens.
    const NAME: &'static str;
    /// What the scope permits, for the documentation of an API. Default: empty.
    const DESCRIPTION: &'static str = "";
}

/// What a handler can require: one scope, a tuple (all of them), or [`AnyOf`](crate::AnyOf) of a tuple. Tuples and
/// `AnyOf` can be nested.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be required of a token",
    note = "use a type made by `scopes!`, a tuple of up to eight of them (all of), or `AnyOf<(A, B)>` (any of)"
)]
pub trait RequiredScopes: 'static {
    /// Returns `true` if the scopes for which `granted` returns `true` meet the requirement.
    fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool;

    /// Returns lists of names, each of which meets the requirement, in the order in which they are written. For
    /// documentation, and for the challenge's `scope` (RFC 6750 §3), which names one of them.
    ///
    /// For a tuple and [`AnyOf`](crate::AnyOf), a list that contains all names of another one is left out, and there are at
    /// most 64 lists. Of more, those with the fewest names remain.
    ///
    /// ```
    /// # tower_oauth::scopes! { pub OrdersRead = "orders:read"; pub OrdersWrite = "orders:write"; pub Admin = "admin"; }
    /// use tower_oauth::{AnyOf, scope::RequiredScopes};
    ///
    /// type Needed = (OrdersRead, AnyOf<(OrdersWrite, Admin)>);
    /// assert_eq!(Needed::alternatives(), [["orders:read", "orders:write"], ["orders:read", "admin"]]);
    /// ```
    ///
    /// An implementation of your own returns at least one list:
    ///
    /// ```
    /// # tower_oauth::scopes! { pub OrdersRead = "orders:read"; }
    /// # use tower_oauth::scope::RequiredScopes;
    /// struct Change;
    ///
    /// impl RequiredScopes for Change {
    ///     fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
    ///         granted("orders:write") || granted("admin")
    ///     }
    ///
    ///     fn alternatives() -> Vec<Vec<&'static str>> {
    ///         vec![vec!["orders:write"], vec!["admin"]]
    ///     }
    /// }
    ///
    /// let both = <(OrdersRead, Change)>::alternatives();
    /// assert_eq!(both, [["orders:read", "orders:write"], ["orders:read", "admin"]]);
    /// ```
    #[must_use]
    fn alternatives() -> Vec<Vec<&'static str>>;

    /// Returns the alternatives that are compared for one token. Of too many, those remain that lack the fewest names.
    #[doc(hidden)]
    #[must_use]
    fn alternatives_for(granted: &dyn Fn(&str) -> bool) -> Vec<Vec<&'static str>> {
        let _ = granted;
        Self::alternatives()
    }
}

impl<S: Scope> RequiredScopes for S {
    fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
        granted(S::NAME)
    }

    fn alternatives() -> Vec<Vec<&'static str>> {
        vec![vec![S::NAME]]
    }
}

/// Declares a documented marker type for each scope, `SCOPES`, the list of all their names, and `DESCRIBED`, the names with
/// their descriptions.
///
/// The description is the doc comment, with its lines joined by spaces. `Display` writes the name. Use the macro once per
/// module, because `SCOPES` and `DESCRIBED` belong to the module. A name that RFC 6749 §3.3 doesn't allow does not compile:
///
/// ```compile_fail,E0080
/// tower_oauth::scopes! { pub Broken = "orders read"; }
/// ```
#[macro_export]
macro_rules! scopes {
    // One line of the description: the text of a doc comment. Other attributes have none.
    (@line doc = $text:expr) => { $text };
    (@line $($attribute:tt)*) => { "" };

    ($($(#[$($attribute:tt)*])* $visibility:vis $marker:ident = $name:literal;)+) => {
        $(
            $(#[$($attribute)*])*
            #[doc = concat!("\n\nThe scope `", $name, "`.")]
            #[derive(Debug, Clone, Copy)]
            #[allow(clippy::exhaustive_structs)]
            $visibility struct $marker;

            impl $crate::scope::Scope for $marker {
                const NAME: &'static str = $name;
                const DESCRIPTION: &'static str = {
                    const LINES: &[&str] = &[$($crate::scopes!(@line $($attribute)*)),*];
                    const BYTES: [u8; $crate::scope::description_length(LINES)] =
                        $crate::scope::description_bytes(LINES);
                    match ::core::str::from_utf8(&BYTES) {
                        Ok(text) => text,
                        Err(_) => "",
                    }
                };
            }

            impl ::core::fmt::Display for $marker {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.write_str($name)
                }
            }

            // Outside of the impl, because an associated constant is evaluated only if it is used.
            const _: () = assert!(
                $crate::scope::is_scope_name($name),
                concat!("`", $name, "` is not a scope name (RFC 6749 §3.3: printable ASCII but no space, quote or backslash)")
            );
        )+

        /// The names of all scopes declared here.
        #[allow(dead_code, unreachable_pub)]
        pub const SCOPES: &[&str] = &[$($name),+];

        /// The names of all scopes declared here, each with its description.
        #[allow(dead_code, unreachable_pub)]
        pub const DESCRIBED: &[(&str, &str)] = &[$(($name, <$marker as $crate::scope::Scope>::DESCRIPTION)),+];
    };
}

/// Returns `true` if `name` is a scope-token: `1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 §3.3).
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

pub(crate) fn check_name<'n>(setting: &'static str, name: &'n str) -> Result<&'n str, ConfigMistake> {
    let change = "use printable ASCII without space, quote and backslash (RFC 6749 §3.3)";
    let legal = is_scope_name(name).then_some(name);
    legal.ok_or_else(|| ConfigMistake::new(setting, format!("{name:?} is not a scope name"), change))
}

/// A list of scopes in the form of a token's or challenge's `scope`: names separated by single spaces.
#[derive(Clone, PartialEq, Eq)]
pub struct Scopes<'a>(Cow<'a, str>);

impl Scopes<'static> {
    /// Returns a list of scopes whose names are known only at run time.
    ///
    /// # Errors
    /// Every mistake at once: the list is empty, or a name is not a scope-token (RFC 6749 §3.3).
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, ConfigError> {
        let (mut list, mut mistakes) = (Vec::new(), MistakeCollector::new());
        let mut empty = true;
        for name in names {
            empty = false;
            list.extend(mistakes.check(check_name("scope", name.as_ref())).map(str::to_owned));
        }
        if empty {
            mistakes.add("scope", "the list is empty", "name at least one scope");
        }
        mistakes.finish()?;
        Ok(Self(Cow::Owned(list.join(" "))))
    }
}

impl<'a> Scopes<'a> {
    /// Returns the scopes of a token. The text is only compared, never sent to a client.
    pub(crate) fn unchecked(list: &'a str) -> Self {
        Self(Cow::Borrowed(list))
    }

    /// Returns `true` if exactly this name is in the list. Only U+0020 separates names (RFC 6749 §3.3).
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && self.0.split(' ').any(|scope| scope == name)
    }

    /// Returns the names in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Returns `true` if the list has no name.
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
    /// Shows only the number of names, because they may be those of a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({})", self.iter().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6749 §3.3 b (MUST, accepts and refuses)
    #[test]
    fn scope_names_are_rfc_6749_scope_tokens() {
        assert!(is_scope_name("orders:read") && is_scope_name("!") && is_scope_name("#[]~"));
        for illegal in ["", " ", "a b", "a\"b", "a\\b", "a\tb", "\u{7f}", "ä", "a\n"] {
            assert!(!is_scope_name(illegal), "{illegal:?}");
        }
    }

    #[test]
    fn inclusion_is_transitive_in_any_order_of_declaration() {
        let pairs = [("a", "b"), ("b", "c"), ("c", "d")];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let hierarchy = order.iter().fold(ScopeHierarchy::new(), |hierarchy, &index| {
                let (wider, narrower) = pairs[index];
                hierarchy.implies_named(wider, narrower)
            });
            let granted = Scopes::unchecked("a");
            assert!(["a", "b", "c", "d"].iter().all(|name| hierarchy.grants(&granted, name)), "{order:?}");
            assert!(!hierarchy.grants(&Scopes::unchecked("d"), "a"));
        }
    }
}
