//! The parser of the claims, in one pass.
//!
//! *In*: a JSON object, and the names of the configured claims. *Out*: the members that are used, or which one is malformed.
//!
//! Null counts as absent, except in `cnf`. A wrong type is an error, with two exceptions: `auth_time` and `acr`, which only some
//! operations use, count as absent, and so does a configured claim if a better-ranked one is present. Nothing else is checked.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};

use super::{Audience, ClaimNames, NumericDate, REGISTERED, Text};
use crate::json::{AnyValue, OneOrMany, OtherNames, Skip, Str, is_duplicate, once};

/// Parses the claims.
pub(super) fn read_members(text: &str, names: &ClaimNames) -> Result<ParsedMembers, ClaimsError> {
    let fault = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let members = ReadMembers { text, names, fault: &fault }.deserialize(&mut json).and_then(|members| {
        json.end()?;
        Ok(members)
    });
    members.map_err(|error| ClaimsError::new(&error, fault.take(), names))
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
    /// Present even if it is null.
    pub(super) confirmation: Option<Skip>,
    client: Option<Ranked>,
    scope: Option<Ranked>,
    nonce: Option<Option<Skip>>,
    at_hash: Option<Option<Skip>>,
    c_hash: Option<Option<Skip>>,
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

    /// Returns the first claim of an ID token that is present and not null.
    pub(super) fn id_token_claim(&self) -> Option<&'static str> {
        let marks = [("nonce", &self.nonce), ("at_hash", &self.at_hash), ("c_hash", &self.c_hash)];
        marks.into_iter().find(|(_, value)| matches!(value, Some(Some(Skip)))).map(|(name, _)| name)
    }
}

struct ReadMembers<'c> {
    text: &'c str,
    names: &'c ClaimNames,
    /// Set only if a claim is malformed.
    fault: &'c Cell<Option<ClaimFault>>,
}

impl<'de> DeserializeSeed<'de> for ReadMembers<'de> {
    type Value = ParsedMembers;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ParsedMembers, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadMembers<'de> {
    type Value = ParsedMembers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParsedMembers, A::Error> {
        let mut members = ParsedMembers::default();
        let mut others = OtherNames::unbounded();
        while let Some(Str(name)) = map.next_key()? {
            match self.read_member(&name, &mut map, &mut members) {
                Ok(Membership::Read) => {}
                Ok(Membership::Other) => {
                    let listed = others.add(name.clone());
                    listed.inspect_err(|error: &A::Error| self.note(&name, error))?;
                }
                Err(error) => {
                    self.note(&name, &error);
                    return Err(error);
                }
            }
        }
        self.check_types(&members)?;
        Ok(members)
    }
}

/// How the names of a member are compared, to find a duplicate.
enum Membership {
    /// The member has a field of its own.
    Read,
    /// The name must be added to the list of other names.
    Other,
}

impl<'de> ReadMembers<'de> {
    #[inline]
    fn read_member<A: MapAccess<'de>>(
        &self,
        name: &str,
        map: &mut A,
        members: &mut ParsedMembers,
    ) -> Result<Membership, A::Error> {
        match name {
            "iss" => once(&mut members.issuer, self.text(map.next_value()?))?,
            "sub" => once(&mut members.subject, self.text(map.next_value()?))?,
            "jti" => once(&mut members.jwt_id, self.text(map.next_value()?))?,
            "acr" => once(&mut members.acr, self.text_or_absent(map.next_value()?))?,
            "aud" => {
                once(&mut members.audience, map.next_value::<Option<_>>()?.map(|audience| self.audience(audience)))?;
            }
            "exp" => once(&mut members.expires_at, map.next_value()?)?,
            "nbf" => once(&mut members.not_before, map.next_value()?)?,
            "iat" => once(&mut members.issued_at, map.next_value()?)?,
            "auth_time" => once(&mut members.auth_time, date_or_absent(&map.next_value()?))?,
            "cnf" => once(&mut members.confirmation, map.next_value::<Skip>()?)?,
            "nonce" => once(&mut members.nonce, map.next_value()?)?,
            "at_hash" => once(&mut members.at_hash, map.next_value()?)?,
            "c_hash" => once(&mut members.c_hash, map.next_value()?)?,
            other => {
                self.read_configured(other, map, members)?;
                return Ok(Membership::Other);
            }
        }
        Ok(Membership::Read)
    }

    /// Stores which claim is malformed.
    #[cold]
    fn note(&self, claim: &str, error: &impl fmt::Display) {
        self.fault.set(Some(ClaimFault { claim: claim.into(), duplicate: is_duplicate(error) }));
    }

    /// Reads a member whose name is configured, and skips an unknown one.
    fn read_configured<A: MapAccess<'de>>(
        &self,
        name: &str,
        map: &mut A,
        members: &mut ParsedMembers,
    ) -> Result<(), A::Error> {
        if let Some(rank) = self.names.scopes.iter().position(|known| known == name) {
            let value = map.next_value()?;
            if !matches!(value, AnyValue::Null) {
                Ranked::keep_best(&mut members.scope, Ranked { rank, text: self.scope(value) });
            }
        } else if let Some(rank) = self.names.client.iter().position(|known| known == name) {
            let value = map.next_value()?;
            if !matches!(value, AnyValue::Null) {
                Ranked::keep_best(&mut members.client, Ranked { rank, text: self.text_or_absent(value) });
            }
        } else {
            map.next_value::<Skip>()?;
        }
        Ok(())
    }

    /// Checks the types of the configured claims that are used. Another one, of a lower rank, may have any type.
    fn check_types<E: serde::de::Error>(&self, members: &ParsedMembers) -> Result<(), E> {
        for (names, found) in [(&self.names.scopes, &members.scope), (&self.names.client, &members.client)] {
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
            (r#"{"c_hash":"c","at_hash":{"any":1}}"#, Some("at_hash")),
            (r#"{"nonce":null,"c_hash":false}"#, Some("c_hash")),
            (r#"{"nonce":null,"at_hash":null,"c_hash":null}"#, None),
            (r#"{"sub":"ada"}"#, None),
        ] {
            assert_eq!(parse(claims).ok().unwrap().id_token_claim, found, "{claims}");
        }
        assert!(parse(r#"{"nonce":null,"nonce":"n"}"#).is_err());
    }
}
