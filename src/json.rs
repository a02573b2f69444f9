//! JSON as claims and headers are read: strictly, once, without copies.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// Fills a member that may stand once only (RFC 7519 §4).
pub(crate) fn once<T, E: serde::de::Error>(member: &mut Option<T>, value: T) -> Result<(), E> {
    if member.replace(value).is_some() { Err(E::custom("a member stands twice")) } else { Ok(()) }
}

/// The names of the members that have no place of their own, to find one that stands twice, however it is escaped.
#[derive(Default)]
pub(crate) struct OtherNames<'de>(Vec<Cow<'de, str>>);

impl<'de> OtherNames<'de> {
    pub(crate) fn add<E: serde::de::Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        if self.0.contains(&name) {
            return Err(E::custom("a member stands twice"));
        }
        // A header is read before any signature is checked: what it can cost is bounded here.
        if self.0.len() >= 128 {
            return Err(E::custom("too many members"));
        }
        if self.0.is_empty() {
            self.0.reserve(16);
        }
        self.0.push(name);
        Ok(())
    }
}

/// A struct out of an object; serde alone would take an array of its members, too.
pub(crate) fn object<'de, T: Deserialize<'de>>(text: &'de str) -> serde_json::Result<T> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(serde::de::Error::custom("not an object"));
    }
    serde_json::from_str(text)
}

/// A string, borrowed from the text unless it has escapes.
pub(crate) struct Str<'de>(pub(crate) Cow<'de, str>);

impl<'de: 's, 's> Deserialize<'de> for Str<'s> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadStr;
        impl<'de> Visitor<'de> for ReadStr {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(ReadStr)
    }
}

/// A value nobody asks for. Unlike `IgnoredAny` it keeps `serde_json`'s limit on nesting, and it checks numbers.
pub(crate) struct Skip;

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Str<'de>, Self>()?.is_some() {}
        Ok(self)
    }
}

/// A string or an array of strings.
pub(crate) enum OneOrMany<'de> {
    One(Str<'de>),
    Many(Vec<Str<'de>>),
}

impl<'de> Deserialize<'de> for OneOrMany<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadOneOrMany;
        impl<'de> Visitor<'de> for ReadOneOrMany {
            type Value = OneOrMany<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Str(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Str(Cow::Owned(text.to_owned()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = seq.next_element()? {
                    many.push(one);
                }
                Ok(OneOrMany::Many(many))
            }
        }
        deserializer.deserialize_any(ReadOneOrMany)
    }
}

impl OneOrMany<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        }
        .iter()
        .map(|one| &*one.0)
    }
}
