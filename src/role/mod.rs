//! Roles, groups and entitlements of a token's subject (RFC 9068 §2.2.3.1).
//!
//! *In*: the claims of a [`Token`](crate::Token), and role names at compile time ([`roles!`](crate::roles)) or at run time.
//! *Out*: lists of names, and [`InRole`], the evidence of a role.
//!
//! The lists are parsed from the claims on first use. A list comes from one claim only: in Keycloak, for example, a role
//! of the realm and a role of a client with the same name are different permissions. Names are compared byte for byte.
//! Scopes are not used here, and a role never counts as a scope.
//!
//! ```
//! use tower_oauth::{AuthError, InRole, Token};
//!
//! tower_oauth::roles! {
//!     /// May close the books.
//!     pub Accountant = "accountant";
//! }
//!
//! fn close_the_books(_proof: &InRole<Accountant>) -> &'static str {
//!     "closed"
//! }
//!
//! /// As an extractor: other subjects get 403.
//! async fn handler(accountant: InRole<Accountant>) -> &'static str {
//!     close_the_books(&accountant)
//! }
//!
//! /// By a call, in a handler or without axum.
//! fn check(token: &Token) -> Result<&'static str, AuthError> {
//!     Ok(close_the_books(&token.require_role()?))
//! }
//! # use tower_oauth::testing::TestToken;
//! # assert!(check(&TestToken::user("ada").claim("roles", vec!["accountant"]).build()).is_ok());
//! # assert!(check(&TestToken::user("ada").claim("roles", vec!["reader"]).build()).is_err());
//! # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(handler));
//! ```

pub(crate) mod in_role;
mod names;

#[cfg(feature = "axum")]
pub(crate) use self::in_role::InRole;
pub(crate) use self::names::ZITADEL_ROLES_PREFIX;

/// A role with a name known at compile time. [`roles!`](crate::roles) implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a role",
    note = "declare it with `tower_oauth::roles! {{ pub {Self} = \"its name\"; }}`"
)]
pub trait Role: 'static {
    /// The role's name in tokens.
    const NAME: &'static str;
}

/// Declares a documented marker type for each role. An empty name does not compile:
///
/// ```compile_fail,E0080
/// tower_oauth::roles! { pub Unnamed = ""; }
/// ```
#[macro_export]
macro_rules! roles {
    ($($(#[$attribute:meta])* $visibility:vis $marker:ident = $name:literal;)+) => {$(
        $(#[$attribute])*
        #[doc = concat!("\n\nThe role `", $name, "`.")]
        #[derive(Debug, Clone, Copy)]
        #[allow(clippy::exhaustive_structs)]
        $visibility struct $marker;

        impl $crate::role::Role for $marker {
            const NAME: &'static str = $name;
        }

        // Outside of the impl, because an associated constant is evaluated only if it is used.
        const _: () = assert!(!$name.is_empty(), "the role's name is empty");
    )+};
}
