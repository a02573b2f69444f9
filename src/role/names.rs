//! The lists of names in a token: roles, groups and entitlements (RFC 9068 §2.2.3.1).
//!
//! *In*: the claims, and the path of member names to the list. *Out*: the names; none if the claim has another form.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::{
    json::{NUMBER_MEMBER, Skip, Str, once},
    token::Token,
};

impl Token {
    /// Returns the subject's roles: `roles` (RFC 9068 §2.2.3.1), or the claim that
    /// [`roles_claim`](crate::verify::JwtVerifierBuilder::roles_claim) or a [`Preset`](crate::Preset) names.
    ///
    /// A name is a string, or an object with a `value` (RFC 7643 §2.4). A claim that is a string is one name. An
    /// empty string and a claim of another form count as an empty list. The first call parses the claims; clones of the token share
    /// the result.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        let path = self.facts().rules.as_ref().and_then(|rules| rules.roles.as_deref());
        self.facts().derived.roles.get_or_init(|| self.names_at_or(path, "roles"))
    }

    /// Returns the subject's groups: `groups` (RFC 9068 §2.2.3.1), or `cognito:groups` with
    /// [`Preset::Cognito`](crate::Preset::Cognito). For an object of RFC 7643 it returns the `value`, which is
    /// the group's identifier. The first call parses the claims; clones of the token share the result.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        let path = self.facts().rules.as_ref().and_then(|rules| rules.groups.as_deref());
        self.facts().derived.groups.get_or_init(|| self.names_at_or(path, "groups"))
    }

    /// Returns the subject's entitlements: `entitlements` (RFC 9068 §2.2.3.1). The first call parses the claims; clones
    /// of the token share the result.
    #[must_use]
    pub fn entitlements(&self) -> &[String] {
        self.facts().derived.entitlements.get_or_init(|| self.names_at_or(None, "entitlements"))
    }

    /// Returns `true` if `name` is among the [`roles`](Self::roles).
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        !name.is_empty() && self.roles().iter().any(|role| role == name)
    }

    fn names_at_or(&self, path: Option<&[Box<str>]>, default: &str) -> Box<[String]> {
        match path {
            Some(path) => self.names_at(path),
            None => self.names_at(&[default]),
        }
        .into()
    }

    pub(crate) fn names_at(&self, path: &[impl AsRef<str>]) -> Vec<String> {
        let mut json = serde_json::Deserializer::from_str(self.facts().claims());
        NamesAt { path, keyed: false }.deserialize(&mut json).unwrap_or_default()
    }
}

/// Prefix of Zitadel's role claims. Only these claims are objects whose member names are the roles. If every object were read
/// like that, `{"admin": false}` would grant the role that it denies.
pub(crate) const ZITADEL_ROLES_PREFIX: &str = "urn:zitadel:iam:org:project:";

/// Reads the list at a path of member names. A repeated member on the path is an error.
struct NamesAt<'p, N> {
    path: &'p [N],
    /// True if the value at the end of the path is an object whose member names are the list (Zitadel).
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

    /// A string is one name, and an empty string none.
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Vec<String>, E> {
        if self.keyed || !self.path.is_empty() {
            return Err(E::custom("a string in place of an object"));
        }
        Ok(if name.is_empty() { Vec::new() } else { vec![name.to_owned()] })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        if !self.path.is_empty() {
            return Err(A::Error::custom("a list on the path to the names"));
        }
        let mut names = Vec::new();
        while let Some(RoleName(name)) = seq.next_element()? {
            names.push(name);
        }
        Ok(names)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        match self.path {
            [] if self.keyed => {
                let mut names = Vec::new();
                while let Some((Str(name), GrantingOrganisations)) =
                    map.next_entry::<Str<'de>, GrantingOrganisations>()?
                {
                    names.push(name.into_owned());
                }
                Ok(names)
            }
            [] => Err(A::Error::custom("an object is not a list")),
            [next, rest @ ..] => {
                let next = next.as_ref();
                let mut found = None;
                while let Some(Str(name)) = map.next_key()? {
                    if name == next {
                        let keyed = next.starts_with(ZITADEL_ROLES_PREFIX);
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
struct RoleName(String);

impl<'de> Deserialize<'de> for RoleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RoleNameVisitor;
        impl<'de> Visitor<'de> for RoleNameVisitor {
            type Value = RoleName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or an object with a value")
            }

            fn visit_str<E>(self, name: &str) -> Result<RoleName, E> {
                Ok(RoleName(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RoleName, A::Error> {
                let mut value = None;
                while let Some(Str(name)) = map.next_key()? {
                    if name == "value" {
                        once(&mut value, map.next_value::<String>()?)?;
                    } else {
                        map.next_value::<Skip>()?;
                    }
                }
                value.map(RoleName).ok_or_else(|| A::Error::missing_field("value"))
            }
        }
        deserializer.deserialize_any(RoleNameVisitor)
    }
}

/// The value of a role in Zitadel: the organisations that granted it, at least one.
struct GrantingOrganisations;

impl<'de> Deserialize<'de> for GrantingOrganisations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrganisationsVisitor;
        impl<'de> Visitor<'de> for OrganisationsVisitor {
            type Value = GrantingOrganisations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the organisations that granted the role")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GrantingOrganisations, A::Error> {
                let mut granted = Err(A::Error::custom("no organisation granted the role"));
                while let Some((Str(name), Skip)) = map.next_entry()? {
                    // A number is no organisation.
                    if name != NUMBER_MEMBER {
                        granted = Ok(GrantingOrganisations);
                    }
                }
                granted
            }
        }
        deserializer.deserialize_any(OrganisationsVisitor)
    }
}
