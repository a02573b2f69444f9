//! The parser of the claims, in one pass.
//!
//! *In*: a JSON object, and the names of the configured claims. *Out*: the members that are used, or which one is malformed.
//!
//! Null counts as absent, except in `cnf`. A wrong type is an error, with two exceptions: `auth_time` and `acr`, which only some
//! operations use, count as absent, and so does a configured claim if a better-ranked one is present. Nothing else is checked.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};

use serde_json::value::RawValue;

use super::{Audience, ClaimNames, NumericDate, REGISTERED, Text};
use crate::{
    confirmation::Binding,
    json::{AnyValue, OneOrMany, OtherNames, Skip, Str, is_duplicate, once},
};

/// Parses the claims.
///
/// The first pass expects that no claim is null or has an unexpected type, and is fast. Only if it fails, a second one decides, and
/// finds the claim that is malformed.
pub(super) fn read_members(text: &str, names: &ClaimNames) -> Result<ParsedMembers, ClaimsError> {
    let (mut members, fault) = (ParsedMembers::default(), Cell::new(None));
    let fast = ReadMembers::<false> { text, names, members: &mut members, fault: &fault };
    if fast.read().is_ok() {
        return Ok(members);
    }
    members = ParsedMembers::default();
    let lenient = ReadMembers::<true> { text, names, members: &mut members, fault: &fault };
    match lenient.read() {
        Ok(()) => Ok(members),
        Err(error) => Err(ClaimsError::new(&error, fault.take(), names)),
    }
}

/// Which claim is malformed, and how. Contains no value, and only names that this crate or the application chose: the issuer can
/// give any text as a name.
#[derive(Debug)]
pub(crate) struct ClaimsError {
    claim: Option<Box<str>>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Duplicate { column: usize },
    WrongType { expected: &'static str },
    Syntax { column: usize },
}

/// The claim at which the parser stopped.
struct ClaimFault {
    claim: Box<str>,
    duplicate: bool,
}

impl ClaimsError {
    #[cold]
    fn new(error: &serde_json::Error, fault: Option<ClaimFault>, names: &ClaimNames) -> Self {
        let column = error.column();
        let duplicate = fault.as_ref().is_some_and(|fault| fault.duplicate);
        let claim = fault.map(|fault| fault.claim).filter(|claim| is_read(claim, names));
        let expected = claim.as_deref().filter(|_| error.is_data()).and_then(|claim| expected_type(claim, names));
        let problem = match expected {
            _ if duplicate => Problem::Duplicate { column },
            Some(expected) => Problem::WrongType { expected },
            None => Problem::Syntax { column },
        };
        Self { claim, problem }
    }

    /// Returns what the claim must be.
    pub(crate) fn expected(&self) -> &'static str {
        match self.problem {
            Problem::Duplicate { .. } => "each claim once",
            Problem::WrongType { expected } => expected,
            Problem::Syntax { .. } => "a JSON object",
        }
    }
}

impl fmt::Display for ClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.problem, self.claim.as_deref()) {
            (Problem::Duplicate { .. }, Some(claim)) => write!(f, "the claim {claim} is a duplicate"),
            (Problem::Duplicate { column }, None) => write!(f, "a claim is a duplicate (column {column})"),
            (Problem::WrongType { expected }, claim) => {
                write!(f, "the claim {} is not {expected}", claim.unwrap_or_default())
            }
            (Problem::Syntax { column }, Some(claim)) => {
                write!(f, "malformed claims at column {column}, in the claim {claim}")
            }
            (Problem::Syntax { column }, None) => write!(f, "malformed claims at column {column}"),
        }
    }
}

impl std::error::Error for ClaimsError {}

fn is_read(claim: &str, names: &ClaimNames) -> bool {
    REGISTERED.contains(&claim) || names.scopes.iter().chain(&names.client).any(|name| name == claim)
}

/// Returns the type of a claim that is read.
fn expected_type(claim: &str, names: &ClaimNames) -> Option<&'static str> {
    match claim {
        "iss" | "sub" | "jti" | "acr" => Some("a string"),
        "aud" => Some("a string or an array of strings"),
        "exp" | "nbf" | "iat" | "auth_time" => Some("a number"),
        other if names.scopes.iter().any(|name| name == other) => Some("a string or an array of scope names"),
        other if names.client.iter().any(|name| name == other) => Some("a string"),
        _ => None,
    }
}

/// The members that are used. The outer `Option` is `None` if the member is missing, the inner one if it is null.
#[derive(Default)]
#[expect(clippy::option_option, reason = "a second value is a duplicate, also if the first one is null")]
pub(super) struct ParsedMembers {
    pub(super) issuer: Option<Option<Text>>,
    pub(super) subject: Option<Option<Text>>,
    pub(super) jwt_id: Option<Option<Text>>,
    pub(super) audience: Option<Option<Audience>>,
    pub(super) expires_at: Option<Option<NumericDate>>,
    pub(super) not_before: Option<Option<NumericDate>>,
    pub(super) issued_at: Option<Option<NumericDate>>,
    /// The inner `Option` is `None` for a wrong type too: a rule that needs the claim then refuses the token.
    pub(super) acr: Option<Option<Text>>,
    pub(super) auth_time: Option<Option<NumericDate>>,
    /// Present even if it is null. Boxed, because few tokens have it.
    pub(super) confirmation: Option<Box<Binding>>,
    client: Option<Ranked>,
    scope: Option<Ranked>,
    /// The first claim of an ID token that is present and not null.
    pub(super) id_token_claim: Option<&'static str>,
}

/// The value of the configured claim with the best rank so far. `None` if it has a wrong type.
struct Ranked {
    rank: usize,
    text: Option<Text>,
}

impl Ranked {
    fn keep_best(best: &mut Option<Self>, found: Self) {
        if best.as_ref().is_none_or(|best| found.rank < best.rank) {
            *best = Some(found);
        }
    }
}

impl ParsedMembers {
    pub(super) fn take_client(&mut self) -> Option<Text> {
        self.client.take()?.text
    }

    pub(super) fn take_scope(&mut self) -> Option<Text> {
        self.scope.take()?.text
    }
}

/// With `LENIENT`, a claim may be null, and one that is not used may have any type.
struct ReadMembers<'c, 'm, const LENIENT: bool> {
    text: &'c str,
    names: &'c ClaimNames,
    members: &'m mut ParsedMembers,
    /// Set only if a claim is malformed.
    fault: &'m Cell<Option<ClaimFault>>,
}

impl<'de, const LENIENT: bool> DeserializeSeed<'de> for ReadMembers<'de, '_, LENIENT> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const LENIENT: bool> Visitor<'de> for ReadMembers<'de, '_, LENIENT> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut others = OtherNames::unbounded();
        while let Some(Str(name)) = map.next_key()? {
            if !LENIENT {
                if self.read_member(&name, &mut map)? == Membership::Other {
                    others.add(name)?;
                }
                continue;
            }
            let read = self.read_member(&name, &mut map).and_then(|membership| match membership {
                Membership::Read => Ok(()),
                Membership::Other => others.add(name.clone()),
            });
            read.inspect_err(|error| self.note(&name, error))?;
        }
        self.check_types()
    }
}

/// How the names of a member are compared, to find a duplicate.
#[derive(PartialEq, Eq)]
enum Membership {
    /// The member has a field of its own.
    Read,
    /// The name must be added to the list of other names.
    Other,
}

impl<'de, const LENIENT: bool> ReadMembers<'de, '_, LENIENT> {
    /// Reads the whole text.
    fn read(self) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_str(self.text);
        self.deserialize(&mut json)?;
        json.end()
    }

    /// Few tokens have the claim, so it is kept out of the loop.
    #[cold]
    #[inline(never)]
    fn read_confirmation<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let binding = Binding::parse(map.next_value::<&RawValue>()?.get());
        once(&mut self.members.confirmation, Box::new(binding))
    }

    #[inline]
    fn read_member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<Membership, A::Error> {
        match name {
            "iss" => {
                let value = self.text(Self::next(map)?);
                once(&mut self.members.issuer, value)?;
            }
            "sub" => {
                let value = self.text(Self::next(map)?);
                once(&mut self.members.subject, value)?;
            }
            "jti" => {
                let value = self.text(Self::next(map)?);
                once(&mut self.members.jwt_id, value)?;
            }
            "acr" => {
                let value = self.next_text_or_absent(map)?;
                once(&mut self.members.acr, value)?;
            }
            "aud" => {
                let value = Self::next(map)?.map(|audience| self.audience(audience));
                once(&mut self.members.audience, value)?;
            }
            "exp" => once(&mut self.members.expires_at, Self::next(map)?)?,
            "nbf" => once(&mut self.members.not_before, Self::next(map)?)?,
            "iat" => once(&mut self.members.issued_at, Self::next(map)?)?,
            "auth_time" => once(&mut self.members.auth_time, date_or_absent(&map.next_value()?))?,
            "cnf" => self.read_confirmation(map)?,
            "nonce" => return self.read_mark("nonce", map),
            "at_hash" => return self.read_mark("at_hash", map),
            "c_hash" => return self.read_mark("c_hash", map),
            other => {
                self.read_configured(other, map)?;
                return Ok(Membership::Other);
            }
        }
        Ok(Membership::Read)
    }

    /// Reads a claim that only ID tokens have.
    fn read_mark<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<Membership, A::Error> {
        if map.next_value::<Option<Skip>>()?.is_some() {
            self.members.id_token_claim.get_or_insert(name);
        }
        Ok(Membership::Other)
    }

    /// Stores which claim is malformed.
    #[cold]
    fn note(&self, claim: &str, error: &impl fmt::Display) {
        self.fault.set(Some(ClaimFault { claim: claim.into(), duplicate: is_duplicate(error) }));
    }

    /// Reads a member whose name is configured, and skips an unknown one.
    fn read_configured<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        if let Some(rank) = self.names.scopes.iter().position(|known| known == name) {
            let value = map.next_value()?;
            if !matches!(value, AnyValue::Null) {
                let text = self.scope(value);
                Ranked::keep_best(&mut self.members.scope, Ranked { rank, text });
            }
        } else if let Some(rank) = self.names.client.iter().position(|known| known == name) {
            if !LENIENT {
                let text = Some(self.locate(&map.next_value()?));
                Ranked::keep_best(&mut self.members.client, Ranked { rank, text });
                return Ok(());
            }
            let value = map.next_value()?;
            if !matches!(value, AnyValue::Null) {
                let text = self.text_or_absent(value);
                Ranked::keep_best(&mut self.members.client, Ranked { rank, text });
            }
        } else {
            map.next_value::<Skip>()?;
        }
        Ok(())
    }

    /// Checks the types of the configured claims that are used. Another one, of a lower rank, may have any type.
    fn check_types<E: serde::de::Error>(&self) -> Result<(), E> {
        for (names, found) in [(&self.names.scopes, &self.members.scope), (&self.names.client, &self.members.client)] {
            if let Some(Ranked { rank, text: None }) = found {
                let error = E::custom("wrong type");
                self.note(names.get(*rank).map_or("", String::as_str), &error);
                return Err(error);
            }
        }
        Ok(())
    }

    fn text(&self, text: Option<Str<'de>>) -> Option<Text> {
        text.map(|text| self.locate(&text))
    }

    /// Reads a value that may be null only in the lenient pass.
    fn next<T: Deserialize<'de>, A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
        if LENIENT { map.next_value() } else { map.next_value().map(Some) }
    }

    fn next_text_or_absent<A: MapAccess<'de>>(&self, map: &mut A) -> Result<Option<Text>, A::Error> {
        if LENIENT { Ok(self.text_or_absent(map.next_value()?)) } else { Ok(Some(self.locate(&map.next_value()?))) }
    }

    fn text_or_absent(&self, value: AnyValue<'de>) -> Option<Text> {
        if let AnyValue::Text(text) = value { Some(self.locate(&text)) } else { None }
    }

    /// Returns the range of the string in the JSON text, or a copy if the text has escapes.
    fn locate(&self, text: &Str<'de>) -> Text {
        match &text.0 {
            Cow::Borrowed(text) => {
                // Serde borrows the string from `self.text`, so the difference of the addresses is its offset.
                let start = text.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
                Text::Range { start, end: start.wrapping_add(text.len()) }
            }
            Cow::Owned(text) => Text::Copy(text.as_str().into()),
        }
    }

    fn audience(&self, audience: OneOrMany<'de>) -> Audience {
        match audience {
            OneOrMany::One(one) => Audience::One(self.locate(&one)),
            // A token for no API is as one that names none.
            OneOrMany::Many(many) if many.is_empty() => Audience::Absent,
            OneOrMany::Many(many) => Audience::Many(many.iter().map(|one| self.locate(one)).collect()),
        }
    }

    /// Reads a string of names (RFC 8693 §4.2), or an array with one name per element, as some servers write it. `None` for
    /// anything else.
    fn scope(&self, scope: AnyValue<'de>) -> Option<Text> {
        match scope {
            AnyValue::Text(list) => Some(self.locate(&list)),
            AnyValue::Texts(names) if names.iter().all(|name| crate::scope::is_scope_name(&name.0)) => {
                let names: Vec<&str> = names.iter().map(|name| &*name.0).collect();
                Some(Text::Copy(names.join(" ").into()))
            }
            _ => None,
        }
    }
}

fn date_or_absent(value: &AnyValue<'_>) -> Option<NumericDate> {
    if let AnyValue::Number(seconds) = value { Some(NumericDate(*seconds)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{Facts, TokenOrigin};

    fn parse(claims: &str) -> Result<Facts, ClaimsError> {
        Facts::parse(TokenOrigin::default(), claims.to_owned(), &ClaimNames::default())
    }

    #[test]
    fn an_error_names_the_claim_and_no_value() {
        for (claims, text) in [
            (r#"{"iss":"i","sub":1234}"#, "the claim sub is not a string"),
            (r#"{"aud":{"secret":1}}"#, "the claim aud is not a string or an array of strings"),
            (r#"{"aud":["secret",1]}"#, "the claim aud is not a string or an array of strings"),
            (r#"{"exp":"secret"}"#, "the claim exp is not a number"),
            (r#"{"scope":7}"#, "the claim scope is not a string or an array of scope names"),
            (r#"{"scope":["a b"]}"#, "the claim scope is not a string or an array of scope names"),
            (r#"{"client_id":["secret"]}"#, "the claim client_id is not a string"),
            (r#"{"sub":"secret","sub":"secret"}"#, "the claim sub is a duplicate"),
            (r#"{"cnf":{},"cnf":"secret"}"#, "the claim cnf is a duplicate"),
            (r#"{"secret":1,"secret":1}"#, "a claim is a duplicate (column 23)"),
            (r#"{"sub":secret}"#, "malformed claims at column 8, in the claim sub"),
            (r#"["secret"]"#, "malformed claims at column 0"),
        ] {
            let error = parse(claims).err().unwrap();
            assert_eq!(error.to_string(), text, "{claims}");
        }
    }

    #[test]
    fn names_the_first_claim_of_an_id_token_that_is_not_null() {
        for (claims, found) in [
            (r#"{"nonce":"n"}"#, Some("nonce")),
            (r#"{"c_hash":"c","at_hash":{"any":1}}"#, Some("c_hash")),
            (r#"{"nonce":null,"c_hash":false}"#, Some("c_hash")),
            (r#"{"nonce":null,"at_hash":null,"c_hash":null}"#, None),
            (r#"{"sub":"ada"}"#, None),
        ] {
            assert_eq!(parse(claims).ok().unwrap().id_token_claim, found, "{claims}");
        }
        assert!(parse(r#"{"nonce":null,"nonce":"n"}"#).is_err());
    }
}
