//! Strict JSON, for claims and headers.
//!
//! *In*: JSON from another party. *Out*: values that borrow from it. A duplicate member is an error (RFC 7519 §4).

use std::{borrow::Cow, fmt, str::Utf8Error};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// Sets a member that may be present only once (RFC 7519 §4).
pub(crate) fn once<T, E: serde::de::Error>(member: &mut Option<T>, value: T) -> Result<(), E> {
    if member.replace(value).is_some() { Err(E::custom(DUPLICATE)) } else { Ok(()) }
}

/// True for the error of a duplicate member. The messages of serde for other errors begin with another text.
pub(crate) fn is_duplicate(error: &impl fmt::Display) -> bool {
    error.to_string().starts_with(DUPLICATE)
}

const DUPLICATE: &str = "duplicate member";

/// The names of the members that have no field of their own, to find duplicates. Names are compared after unescaping.
#[derive(Default)]
pub(crate) struct OtherNames<'de>(Vec<Cow<'de, str>>);

impl<'de> OtherNames<'de> {
    pub(crate) fn add<E: serde::de::Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        if self.0.contains(&name) {
            return Err(E::custom(DUPLICATE));
        }
        // A header is parsed before a signature is checked, so its cost is bounded here.
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

/// Returns the text of JSON from an issuer, without a byte order mark (RFC 8259 §8.1). Some servers write one.
pub(crate) fn issuer_text(json: &[u8]) -> Result<&str, Utf8Error> {
    str::from_utf8(json).map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Parses an object. serde alone would also accept an array of the members' values.
pub(crate) fn object<'de, T: Deserialize<'de>>(text: &'de str) -> serde_json::Result<T> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(serde::de::Error::custom("not an object"));
    }
    serde_json::from_str(text)
}

/// A string. It borrows from the JSON text unless the text has escapes.
pub(crate) struct Str<'de>(pub(crate) Cow<'de, str>);

impl<'de: 's, 's> Deserialize<'de> for Str<'s> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrVisitor;
        impl<'de> Visitor<'de> for StrVisitor {
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
        deserializer.deserialize_str(StrVisitor)
    }
}

/// A value that is not used. Unlike serde's `IgnoredAny`, it applies the nesting limit of `serde_json` and checks numbers.
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
        while let Some(Str(name)) = map.next_key()? {
            if name == NUMBER_MEMBER {
                map.next_value::<SkipNumber>()?;
            } else {
                map.next_value::<Self>()?;
            }
        }
        Ok(self)
    }
}

/// Name of the only member of an object that stands for a number. If any crate of the program turns on the feature
/// `arbitrary_precision` of `serde_json`, visitors of any value get fractions and huge numbers as such objects. It has no API for
/// that.
pub(crate) const NUMBER_MEMBER: &str = "$serde_json::private::Number";

/// The member [`NUMBER_MEMBER`]: the text of a number. Without that feature a number beyond the range of an `f64` is malformed,
/// so it is malformed with it too.
struct SkipNumber;

impl<'de> Deserialize<'de> for SkipNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Str(number) = Str::deserialize(deserializer)?;
        let finite = number.parse().is_ok_and(f64::is_finite);
        if finite { Ok(Self) } else { Err(serde::de::Error::custom("number out of range")) }
    }
}

/// A string or an array of strings.
pub(crate) enum OneOrMany<'de> {
    One(Str<'de>),
    Many(Vec<Str<'de>>),
}

impl<'de> Deserialize<'de> for OneOrMany<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;
        impl<'de> Visitor<'de> for OneOrManyVisitor {
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
        deserializer.deserialize_any(OneOrManyVisitor)
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
