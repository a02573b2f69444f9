//! The claims of a token, read once (RFC 7519 §4, RFC 9068 §2.2, RFC 7662 §2.2).
//!
//! *In*: a JSON object. *Out*: its standard members, typed, as places in the text that is kept anyway: reading them
//! allocates nothing, and the user's own type can be read from the same text later.
//!
//! A wrong type is an error, never "absent" (CVE-2026-25537), and a member that stands twice is refused. Nothing is
//! judged here: whether `exp` has passed is the verifier's business.

mod json;

use std::{
    any::Any,
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};

pub(crate) use self::json::{OneOrMany, OtherNames, Skip, Str, object, once};
use crate::{acts_for::ActorRule, error::ConfigMistake};

/// Which members hold the scopes and the client; the first that is there counts.
#[derive(Debug, Clone)]
pub(crate) struct ClaimNames {
    pub(crate) scopes: Vec<String>,
    pub(crate) client: Vec<String>,
    /// Absent for an issuer that does as RFC 9068 says.
    pub(crate) dialect: Option<Arc<Dialect>>,
}

/// Where an issuer says what RFC 9068 says elsewhere or not at all. Looked up only when somebody asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dialect {
    pub(crate) actor: ActorRule,
    /// The names of the members on the way to the list.
    pub(crate) roles: Option<Vec<Box<str>>>,
    pub(crate) groups: Option<Vec<Box<str>>>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { scopes: vec!["scope".to_owned()], client: vec!["client_id".to_owned()], dialect: None }
    }
}

/// Members that are never read as scopes or client.
const READ_AS_THEMSELVES: [&str; 10] = ["iss", "sub", "jti", "acr", "aud", "exp", "nbf", "iat", "auth_time", "cnf"];

impl ClaimNames {
    pub(crate) fn dialect_mut(&mut self) -> &mut Dialect {
        Arc::make_mut(self.dialect.get_or_insert_default())
    }

    /// Those of the builders' methods `read_…_from`.
    pub(crate) fn mistakes(&self, mistakes: &mut Vec<ConfigMistake>) {
        for (setting, members) in [("read_scopes_from", &self.scopes), ("read_client_from", &self.client)] {
            if members.iter().any(String::is_empty) {
                mistakes.push(ConfigMistake::new(setting, "the member's name is empty", "name a claim"));
            }
            if let Some(member) = members.iter().find(|member| READ_AS_THEMSELVES.contains(&member.as_str())) {
                let found = format!("{member:?} has a meaning of its own");
                mistakes.push(ConfigMistake::new(setting, found, "name the member that the issuer puts them into"));
            }
        }
        let roles = self.dialect.as_ref().and_then(|dialect| dialect.roles.as_ref());
        if roles.is_some_and(|path| path.is_empty() || path.iter().any(|name| name.is_empty())) {
            mistakes.push(ConfigMistake::new("read_roles_from", "a member's name is missing or empty", "name a claim"));
        }
    }
}

/// The facts, and the JSON text they stand in.
pub(crate) struct Facts {
    claims: String,
    pub(crate) issuer: Option<Text>,
    pub(crate) subject: Option<Text>,
    pub(crate) client_id: Option<Text>,
    pub(crate) jwt_id: Option<Text>,
    pub(crate) audience: Audience,
    pub(crate) scope: Option<Text>,
    pub(crate) acr: Option<Text>,
    pub(crate) expires_at: Option<NumericDate>,
    pub(crate) not_before: Option<NumericDate>,
    pub(crate) issued_at: Option<NumericDate>,
    pub(crate) auth_time: Option<NumericDate>,
    /// `cnf` is there: the token is bound to a key or certificate (RFC 7800).
    pub(crate) confirmation: bool,
    pub(crate) dialect: Option<Arc<Dialect>>,
    /// The claims as somebody's own type has seen them.
    pub(crate) memo: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Of the keys it was checked with; 0 where it was not checked with keys.
    pub(crate) key_epoch: u64,
}

/// A string: a place in the JSON text, or a copy where the text has escapes.
pub(crate) enum Text {
    Place { start: usize, end: usize },
    Copy(Box<str>),
}

/// `aud`: a string or an array of strings (RFC 7519 §4.1.3).
#[derive(Default)]
pub(crate) enum Audience {
    #[default]
    Absent,
    One(Text),
    Many(Vec<Text>),
}

impl Audience {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Text> {
        match self {
            Self::Absent => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        }
        .iter()
    }
}

impl Facts {
    pub(crate) fn parse(claims: String, names: &ClaimNames) -> Result<Self, ClaimsError> {
        let mut json = serde_json::Deserializer::from_str(&claims);
        let members = ReadMembers { text: &claims, names }.deserialize(&mut json).and_then(|members| {
            json.end()?;
            Ok(members)
        });
        let members = members.map_err(|error| ClaimsError { column: error.column() })?;
        Ok(Self {
            issuer: members.issuer,
            subject: members.subject,
            client_id: members.client.map(|(_, text)| text),
            jwt_id: members.jwt_id,
            audience: members.audience.unwrap_or_default(),
            scope: members.scope.map(|(_, text)| text),
            acr: members.acr,
            expires_at: members.expires_at,
            not_before: members.not_before,
            issued_at: members.issued_at,
            auth_time: members.auth_time,
            confirmation: members.confirmation.is_some(),
            dialect: names.dialect.clone(),
            memo: OnceLock::new(),
            key_epoch: 0,
            claims,
        })
    }

    /// About how much memory they take.
    pub(crate) fn bytes(&self) -> usize {
        let copy = |text: &Text| match text {
            Text::Place { .. } => 0,
            Text::Copy(copy) => copy.len(),
        };
        let texts = [&self.issuer, &self.subject, &self.client_id, &self.jwt_id, &self.scope, &self.acr];
        let copies: usize = texts.into_iter().flatten().chain(self.audience.iter()).map(copy).sum();
        size_of::<Self>() + size_of::<Text>() * self.audience.iter().count() + self.claims.capacity() + copies
    }

    pub(crate) fn claims(&self) -> &str {
        &self.claims
    }

    pub(crate) fn text<'f>(&'f self, text: Option<&'f Text>) -> Option<&'f str> {
        match text? {
            Text::Place { start, end } => self.claims.get(*start..*end),
            Text::Copy(copy) => Some(copy),
        }
    }
}

/// `iss` of claims that nobody has checked: good enough to choose who checks them, and for nothing else.
pub(crate) fn unverified_issuer(claims: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        iss: String,
    }
    serde_json::from_slice::<Named>(claims).ok().map(|named| named.iss)
}

/// Where the claims are malformed; never what stands there.
#[derive(Debug)]
pub(crate) struct ClaimsError {
    column: usize,
}

impl fmt::Display for ClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed claims at column {}", self.column)
    }
}

impl std::error::Error for ClaimsError {}

/// Seconds since the epoch, whole or not (RFC 7519 §2). An `f64`: no sum of two can overflow or panic.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct NumericDate(pub(crate) f64);

impl NumericDate {
    pub(crate) fn of(time: SystemTime) -> Self {
        Self(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()))
    }

    pub(crate) fn to_system_time(self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(self.0).ok()?)
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self)
    }
}

#[derive(Default)]
struct Members {
    issuer: Option<Text>,
    subject: Option<Text>,
    client: Option<(usize, Text)>,
    jwt_id: Option<Text>,
    audience: Option<Audience>,
    scope: Option<(usize, Text)>,
    acr: Option<Text>,
    expires_at: Option<NumericDate>,
    not_before: Option<NumericDate>,
    issued_at: Option<NumericDate>,
    auth_time: Option<NumericDate>,
    confirmation: Option<Skip>,
}

struct ReadMembers<'c> {
    text: &'c str,
    names: &'c ClaimNames,
}

impl<'de> DeserializeSeed<'de> for ReadMembers<'de> {
    type Value = Members;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadMembers<'de> {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        let mut others = OtherNames::default();
        while let Some(Str(name)) = map.next_key()? {
            match &*name {
                "iss" => once(&mut members.issuer, self.place(&map.next_value()?))?,
                "sub" => once(&mut members.subject, self.place(&map.next_value()?))?,
                "jti" => once(&mut members.jwt_id, self.place(&map.next_value()?))?,
                "acr" => once(&mut members.acr, self.place(&map.next_value()?))?,
                "aud" => once(&mut members.audience, self.audience(map.next_value()?))?,
                "exp" => once(&mut members.expires_at, map.next_value()?)?,
                "nbf" => once(&mut members.not_before, map.next_value()?)?,
                "iat" => once(&mut members.issued_at, map.next_value()?)?,
                "auth_time" => once(&mut members.auth_time, map.next_value()?)?,
                "cnf" => once(&mut members.confirmation, map.next_value::<Skip>()?)?,
                other => {
                    self.named(other, &mut map, &mut members)?;
                    others.add(name)?;
                }
            }
        }
        Ok(members)
    }
}

impl<'de> ReadMembers<'de> {
    /// Members whose names are configured, and those nobody here asks for.
    fn named<A: MapAccess<'de>>(&self, name: &str, map: &mut A, members: &mut Members) -> Result<(), A::Error> {
        if let Some(rank) = self.names.scopes.iter().position(|known| known == name) {
            let text = self.scope(map.next_value()?)?;
            if members.scope.as_ref().is_none_or(|(best, _)| rank < *best) {
                members.scope = Some((rank, text));
            }
        } else if let Some(rank) = self.names.client.iter().position(|known| known == name) {
            let text = self.place(&map.next_value()?);
            if members.client.as_ref().is_none_or(|(best, _)| rank < *best) {
                members.client = Some((rank, text));
            }
        } else {
            map.next_value::<Skip>()?;
        }
        Ok(())
    }

    fn place(&self, text: &Str<'de>) -> Text {
        match &text.0 {
            Cow::Borrowed(text) => {
                let start = text.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
                Text::Place { start, end: start.wrapping_add(text.len()) }
            }
            Cow::Owned(text) => Text::Copy(text.as_str().into()),
        }
    }

    fn audience(&self, audience: OneOrMany<'de>) -> Audience {
        match audience {
            OneOrMany::One(one) => Audience::One(self.place(&one)),
            OneOrMany::Many(many) => Audience::Many(many.iter().map(|one| self.place(one)).collect()),
        }
    }

    /// A string of names (RFC 8693 §4.2), or an array with one name an element, as some servers write it.
    fn scope<E: serde::de::Error>(&self, scope: OneOrMany<'de>) -> Result<Text, E> {
        match scope {
            OneOrMany::One(list) => Ok(self.place(&list)),
            OneOrMany::Many(names) if names.iter().all(|name| crate::scope::is_scope_name(&name.0)) => {
                let names: Vec<&str> = names.iter().map(|name| &*name.0).collect();
                Ok(Text::Copy(names.join(" ").into()))
            }
            OneOrMany::Many(_) => Err(E::custom("an element is not a scope name")),
        }
    }
}
