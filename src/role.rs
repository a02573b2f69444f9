//! Roles, groups and entitlements: what a token says about its subject (RFC 9068 §2.2.3.1).
//!
//! *In*: the claims of a [`Token`], and role names at compile time ([`roles!`](crate::roles)) or at run time.
//! *Out*: lists of names, and [`InRole`], the evidence of a role.
//!
//! They are read from the kept claims when somebody asks, and each time anew. A list is taken from one place only: the
//! realm's roles and a client's roles of the same name are different permissions. Names are compared byte for byte.
//! Nothing here looks at scopes, and a role never counts as a scope.
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
//! /// As an extractor: 403 for everybody else.
//! async fn handler(accountant: InRole<Accountant>) -> &'static str {
//!     close_the_books(&accountant)
//! }
//!
//! /// In a handler, or without axum.
//! fn by_hand(token: &Token) -> Result<&'static str, AuthError> {
//!     Ok(close_the_books(&token.require_role()?))
//! }
//! # use tower_oauth::testing::TestToken;
//! # assert!(by_hand(&TestToken::user("ada").claim("roles", vec!["accountant"]).build()).is_ok());
//! # assert!(by_hand(&TestToken::user("ada").claim("roles", vec!["reader"]).build()).is_err());
//! # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(handler));
//! ```

use std::{fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::{
    claims::{Skip, Str, once},
    error::{AuthError, Reason},
    token::Token,
};

/// A role with a name known at compile time. Written by [`roles!`](crate::roles).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a role",
    note = "declare it with `tower_oauth::roles! {{ pub {Self} = \"its name\"; }}`"
)]
pub trait Role: 'static {
    /// The role's name, as it stands in tokens.
    const NAME: &'static str;
}

/// Writes a documented marker type for each role. An empty name does not compile:
///
/// ```compile_fail,E0080
/// tower_oauth::roles! { pub Nobody = ""; }
/// ```
#[macro_export]
macro_rules! roles {
    ($($(#[$attribute:meta])* $visibility:vis $marker:ident = $name:literal;)+) => {$(
        $(#[$attribute])*
        #[doc = concat!("\n\nThe role `", $name, "`.")]
        #[derive(Debug, Clone, Copy)]
        #[allow(clippy::exhaustive_structs)]
        $visibility struct $marker;

        impl $crate::Role for $marker {
            const NAME: &'static str = $name;
        }

        // Outside the impl: an associated constant that nobody reads would not be checked.
        const _: () = assert!(!$name.is_empty(), "the role's name is empty");
    )+};
}

/// A [`Token`] whose subject has been seen to have the role `R`. As an argument, it is the proof.
///
/// As an extractor it refuses other tokens with 403 `insufficient_scope`, without a `scope`: no scope would help. Two
/// arguments ask for two roles; for one of several, ask [`Token::has_role`].
pub struct InRole<R> {
    token: Token,
    role: PhantomData<fn() -> R>,
}

impl Token {
    /// The subject's roles: `roles` (RFC 9068 §2.2.3.1), or what
    /// [`read_roles_from`](crate::JwtVerifierBuilder::read_roles_from) or a [`Preset`](crate::Preset) named instead.
    ///
    /// Names are strings, or objects with a `value` (RFC 7643 §2.4). A list that is anything else holds nothing.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        match self.facts().dialect.as_ref().and_then(|dialect| dialect.roles.as_deref()) {
            Some(path) => self.names_at(path),
            None => self.names_at(&["roles"]),
        }
    }

    /// The subject's groups: `groups` (RFC 9068 §2.2.3.1), of Cognito `cognito:groups`. Of RFC 7643's objects the
    /// `value`, which is the group's identifier.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        match self.facts().dialect.as_ref().and_then(|dialect| dialect.groups.as_deref()) {
            Some(path) => self.names_at(path),
            None => self.names_at(&["groups"]),
        }
    }

    /// The subject's entitlements: `entitlements` (RFC 9068 §2.2.3.1).
    #[must_use]
    pub fn entitlements(&self) -> Vec<String> {
        self.names_at(&["entitlements"])
    }

    /// The subject's roles at one client of Keycloak: `resource_access`, the client, `roles`. Never those of another
    /// client or of the realm.
    #[must_use]
    pub fn client_roles(&self, client: &str) -> Vec<String> {
        self.names_at(&["resource_access", client, "roles"])
    }

    /// The subject's roles in one project of Zitadel: the names in `urn:zitadel:iam:org:project:{project}:roles`.
    ///
    /// Which organisation granted a role stands beside its name and is not looked at here.
    #[must_use]
    pub fn project_roles(&self, project: &str) -> Vec<String> {
        self.names_at(&[format!("{ZITADEL}{project}:roles")])
    }

    /// Whether `name` is among the [`roles`](Self::roles).
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        !name.is_empty() && self.roles().iter().any(|role| role == name)
    }

    /// Evidence that `R` is among the [`roles`](Self::roles).
    ///
    /// # Errors
    /// [`InsufficientScope`](crate::AuthErrorKind::InsufficientScope), which is 403; it names no scope.
    pub fn require_role<R: Role>(&self) -> Result<InRole<R>, AuthError> {
        if self.has_role(R::NAME) {
            Ok(InRole { token: self.clone(), role: PhantomData })
        } else {
            Err(Reason::Role.into())
        }
    }

    fn names_at(&self, path: &[impl AsRef<str>]) -> Vec<String> {
        let mut json = serde_json::Deserializer::from_str(self.facts().claims());
        NamesAt { path, keyed: false }.deserialize(&mut json).unwrap_or_default()
    }
}

impl<R> InRole<R> {
    /// The token alone, without the evidence.
    #[must_use]
    pub fn into_token(self) -> Token {
        self.token
    }
}

impl<R> Deref for InRole<R> {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.token
    }
}

impl<R> Clone for InRole<R> {
    fn clone(&self) -> Self {
        Self { token: self.token.clone(), role: PhantomData }
    }
}

impl<R> fmt::Debug for InRole<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InRole").finish_non_exhaustive()
    }
}

/// Zitadel's members of roles begin so. They alone are objects whose members' names are the roles; elsewhere
/// `{"admin": false}` would grant what it denies.
const ZITADEL: &str = "urn:zitadel:iam:org:project:";

/// Reads the list that stands at a path of members' names. A member that stands twice on the way is an error.
struct NamesAt<'p, N> {
    path: &'p [N],
    keyed: bool,
}

impl<'de, N: AsRef<str>> DeserializeSeed<'de> for NamesAt<'_, N> {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, N: AsRef<str>> Visitor<'de> for NamesAt<'_, N> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        if !self.path.is_empty() {
            return Err(A::Error::custom("a list on the way to the names"));
        }
        let mut names = Vec::new();
        while let Some(Name(name)) = seq.next_element()? {
            names.push(name);
        }
        Ok(names)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        match self.path {
            [] if self.keyed => {
                let mut names = Vec::new();
                while let Some((Str(name), Granted)) = map.next_entry::<Str<'de>, Granted>()? {
                    names.push(name.into_owned());
                }
                Ok(names)
            }
            [] => Err(A::Error::custom("an object is no list")),
            [next, rest @ ..] => {
                let next = next.as_ref();
                let mut found = None;
                while let Some(Str(name)) = map.next_key()? {
                    if name == next {
                        let keyed = next.starts_with(ZITADEL);
                        once(&mut found, map.next_value_seed(NamesAt { path: rest, keyed })?)?;
                    } else {
                        map.next_value::<Skip>()?;
                    }
                }
                Ok(found.unwrap_or_default())
            }
        }
    }
}

/// A string, or an object with one `value` (RFC 7643 §2.4).
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadName;
        impl<'de> Visitor<'de> for ReadName {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or an object with a value")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Name, A::Error> {
                let mut value = None;
                while let Some(Str(name)) = map.next_key()? {
                    if name == "value" {
                        once(&mut value, map.next_value::<String>()?)?;
                    } else {
                        map.next_value::<Skip>()?;
                    }
                }
                value.map(Name).ok_or_else(|| A::Error::missing_field("value"))
            }
        }
        deserializer.deserialize_any(ReadName)
    }
}

/// What Zitadel writes beside a role: the organisations that granted it, at least one.
struct Granted;

impl<'de> Deserialize<'de> for Granted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadGranted;
        impl<'de> Visitor<'de> for ReadGranted {
            type Value = Granted;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the organisations that granted the role")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Granted, A::Error> {
                let mut granted = Err(A::Error::custom("no organisation granted the role"));
                while map.next_entry::<Str<'de>, Skip>()?.is_some() {
                    granted = Ok(Granted);
                }
                granted
            }
        }
        deserializer.deserialize_any(ReadGranted)
    }
}
