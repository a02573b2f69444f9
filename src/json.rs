//! Strict JSON, for claims and headers.
//!
//! *In*: JSON from another party. *Out*: values that borrow from it. A duplicate member is an error (RFC 7519 §4).

use std::{borrow::Cow, collections::HashSet, fmt, str::Utf8Error};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// Sets a member that may be present only once (RFC 7519 §4).
pub(crate) fn once<T, E: serde::de::Error>(member: &mut Option<T>, value: T) -> Result<(), E> {
    if member.replace(value).is_some() { Err(duplicate()) } else { Ok(()) }
}

/// Returns the error for a duplicate member.
#[cold]
fn duplicate<E: serde::de::Error>() -> E {
    E::custom(DUPLICATE)
}

/// True for the error of a duplicate member. The messages of serde for other errors begin with another text.
pub(crate) fn is_duplicate(error: &impl fmt::Display) -> bool {
    error.to_string().starts_with(DUPLICATE)
}

const DUPLICATE: &str = "duplicate member";

/// The names of the members that have no field of their own, to find duplicates. Names are compared after unescaping.
pub(crate) struct OtherNames<'de> {
    /// Compared one by one, which is faster than hashing for so few names.
    few: Vec<Cow<'de, str>>,
    /// The names after the first [`FEW_NAMES`]. Its hash function has a random key, so the cost of `n` names is bounded by `n`.
    more: Option<HashSet<Cow<'de, str>>>,
    max_names: usize,
}

impl<'de> OtherNames<'de> {
    pub(crate) fn unbounded() -> Self {
        Self::at_most(usize::MAX)
    }

    /// `max_names` is at least [`FEW_NAMES`].
    pub(crate) fn at_most(max_names: usize) -> Self {
        Self { few: Vec::new(), more: None, max_names }
    }

    pub(crate) fn add<E: serde::de::Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        if self.few.contains(&name) {
            return Err(duplicate());
        }
        if self.few.len() >= FEW_NAMES {
            return self.add_to_many(name);
        }
        if self.few.is_empty() {
            self.few.reserve(16);
        }
        self.few.push(name);
        Ok(())
    }

    #[cold]
    fn add_to_many<E: serde::de::Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        let more = self.more.get_or_insert_default();
        if more.contains(&name) {
            return Err(duplicate());
        }
        if self.few.len() + more.len() >= self.max_names {
            return Err(E::custom("too many members"));
        }
        more.insert(name);
        Ok(())
    }
}

const FEW_NAMES: usize = 64;

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
                map.next_value::<FiniteNumber>()?;
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
struct FiniteNumber(f64);

impl<'de> Deserialize<'de> for FiniteNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Str(number) = Str::deserialize(deserializer)?;
        let finite = number.parse().ok().filter(|number: &f64| number.is_finite());
        finite.map(Self).ok_or_else(|| serde::de::Error::custom("number out of range"))
    }
}

/// A value of any type, for a member that may have another type than expected. Reading it fails only at malformed JSON.
pub(crate) enum AnyValue<'de> {
    Null,
    Text(Str<'de>),
    Number(f64),
    /// An array of strings.
    Texts(Vec<Str<'de>>),
    Other,
}

impl<'de: 's, 's> Deserialize<'de> for AnyValue<'s> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValueVisitor)
    }
}

struct AnyValueVisitor;

impl<'de> Visitor<'de> for AnyValueVisitor {
    type Value = AnyValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(AnyValue::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(AnyValue::Other)
    }

    #[expect(clippy::cast_precision_loss, reason = "serde reads an f64 from an integer in the same way")]
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(AnyValue::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "serde reads an f64 from an integer in the same way")]
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(AnyValue::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(AnyValue::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(AnyValue::Text(Str(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(AnyValue::Text(Str(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(element) = seq.next_element()? {
            let AnyValue::Text(text) = element else {
                while seq.next_element::<Skip>()?.is_some() {}
                return Ok(AnyValue::Other);
            };
            texts.push(text);
        }
        Ok(AnyValue::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut value = AnyValue::Other;
        while let Some(Str(name)) = map.next_key()? {
            if name == NUMBER_MEMBER {
                value = AnyValue::Number(map.next_value::<FiniteNumber>()?.0);
            } else {
                map.next_value::<Skip>()?;
            }
        }
        Ok(value)
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

#[cfg(test)]
mod tests {
    use super::*;

    type Added = Result<(), serde_json::Error>;

    /// RFC 7519 §4 a (MUST, refuses)
    #[test]
    fn compares_a_name_with_few_others_however_many_there_are() {
        let mut names = OtherNames::unbounded();
        for number in 0..50_000 {
            let added: Added = names.add(Cow::Owned(number.to_string()));
            added.unwrap();
        }
        assert_eq!(names.few.len(), FEW_NAMES, "only these are compared one by one");
        for duplicate in ["0", "63", "64", "49999"] {
            let added: Added = names.add(Cow::Borrowed(duplicate));
            assert!(is_duplicate(&added.unwrap_err()), "{duplicate}");
        }
    }

    #[test]
    fn refuses_more_names_than_the_bound() {
        for bound in [FEW_NAMES, FEW_NAMES + 2] {
            let mut names = OtherNames::at_most(bound);
            let added = (0..=bound).map(|number| -> Added { names.add(Cow::Owned(number.to_string())) });
            assert_eq!(added.map(|added| added.is_ok()).filter(|added| *added).count(), bound);
        }
    }
}
