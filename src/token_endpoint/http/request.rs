//! The parameters of a request (RFC 6749 §3.2, Appendix B).
//!
//! *In*: the body of a POST: a form, or a JSON object if that is accepted. *Out*: [`Parameters`].
//!
//! The query of a POST is never read, because URLs are logged (RFC 6749 §2.3.1). The meaning of a parameter is not checked
//! here.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use memchr::memchr_iter;
use percent_encoding::percent_decode;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::error::{TokenError, TokenErrorKind};
use crate::{clock::Clock, json::Str};

/// The parameters of one request, decoded. Empty values count as absent (RFC 6749 §3.2).
#[derive(Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

/// The accepted types of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    Form,
    FormAndJson,
}

impl Parameters {
    /// Reads the body of a request.
    pub(crate) async fn from_body<B>(
        headers: &HeaderMap,
        body: B,
        bodies: Bodies,
        clock: &dyn Clock,
    ) -> Result<Self, TokenError>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let format = BodyFormat::of(headers, bodies)?;
        let body = tokio::select! {
            biased;
            body = read(body) => body?,
            // In a block, so that no timer is created for a body that is complete.
            () = async { clock.sleep(MAX_BODY_TIME).await } => {
                return Err(TokenError::new(TokenErrorKind::RequestTimeout, "The request body arrived too slowly"));
            }
        };
        let parameters = match format {
            BodyFormat::Form => Self::from_form(&body),
            BodyFormat::Json => Self::from_json(&body),
        }?;
        parameters.refuse_repeated()?;
        Ok(parameters)
    }

    /// Reads `application/x-www-form-urlencoded` in UTF-8 (Appendix B). An invalid escape is left as it is, as in
    /// browsers.
    ///
    /// # Errors
    /// There are more than [`MAX_PARAMETERS`] pairs, empty ones included, or the text is not UTF-8.
    pub(crate) fn from_form(body: &[u8]) -> Result<Self, TokenError> {
        // Counted before anything is allocated.
        if memchr_iter(b'&', body).count() >= MAX_PARAMETERS {
            return Err(invalid("There are too many parameters"));
        }
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            Some((decode(halves.next()?)?, decode(halves.next().unwrap_or_default())?))
        });
        decoded.collect::<Option<_>>().map(Self).ok_or_else(|| invalid("The form is not valid UTF-8"))
    }

    fn from_json(body: &[u8]) -> Result<Self, TokenError> {
        // Checked for the whole body, because the parser skips the text of values that it ignores.
        let text = str::from_utf8(body).map_err(|_| invalid("The JSON is not valid UTF-8"))?;
        serde_json::from_str(text).map_err(|_| invalid("The body is not a JSON object of strings"))
    }

    /// Refuses a repeated parameter that a specification defines (§3.2). An unknown parameter is ignored, also when repeated
    /// (erratum 5708).
    pub(crate) fn refuse_repeated(&self) -> Result<(), TokenError> {
        for name in SINGLE {
            if self.0.iter().filter(|(other, _)| other == name).nth(1).is_some() {
                return Err(invalid("A parameter is repeated"));
            }
        }
        Ok(())
    }

    /// Returns all names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()])
    }

    /// Returns an optional parameter, which must not be repeated.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, TokenError> {
        let mut values = self.0.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(invalid("A parameter is repeated"));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Returns a required parameter, which must not be repeated.
    pub(crate) fn required(&self, name: &str) -> Result<&str, TokenError> {
        self.get(name)?.ok_or_else(|| invalid("A required parameter is missing"))
    }

    /// Returns the values of a parameter that may be repeated.
    pub(crate) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(other, value)| other == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Parameters {
    /// Shows names only: the values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadObject;
        impl<'de> Visitor<'de> for ReadObject {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let (mut parameters, mut members) = (Vec::new(), 0);
                while let Some(Str(name)) = map.next_key()? {
                    members += 1;
                    let is_repeatable = REPEATABLE.contains(&&*name);
                    let value = map.next_value_seed(ReadValue { is_repeatable })?;
                    if members > MAX_PARAMETERS || parameters.len() + value.len() > MAX_PARAMETERS {
                        return Err(A::Error::custom("too many members"));
                    }
                    match value {
                        ParameterValue::Text(value) => parameters.push((name.into_owned(), value)),
                        ParameterValue::List(values) => {
                            parameters.extend(values.into_iter().map(|value| (name.clone().into_owned(), value)));
                        }
                        ParameterValue::Other if is_repeatable || SINGLE.contains(&&*name) => {
                            return Err(A::Error::custom("not a string"));
                        }
                        // An unknown parameter is ignored.
                        ParameterValue::Other => {}
                    }
                }
                Ok(Parameters(parameters))
            }
        }
        deserializer.deserialize_map(ReadObject)
    }
}

/// The value of a member of a JSON object.
enum ParameterValue {
    /// A string, or an empty text for `null`.
    Text(String),
    List(Vec<String>),
    /// Anything else. It is skipped without allocation.
    Other,
}

impl ParameterValue {
    /// Returns the number of parameters.
    fn len(&self) -> usize {
        match self {
            Self::Text(_) => 1,
            Self::List(values) => values.len(),
            Self::Other => 0,
        }
    }
}

/// Reads a [`ParameterValue`]: an array only if the parameter may be repeated.
struct ReadValue {
    is_repeatable: bool,
}

impl<'de> DeserializeSeed<'de> for ReadValue {
    type Value = ParameterValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ParameterValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadValue {
    type Value = ParameterValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Text(String::new()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<ParameterValue, A::Error> {
        if !self.is_repeatable {
            while values.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(ParameterValue::Other);
        }
        let mut texts = Vec::new();
        while let Some(Str(text)) = values.next_element()? {
            texts.push(text.into_owned());
            if texts.len() > MAX_PARAMETERS {
                return Err(A::Error::custom("too many values"));
            }
        }
        Ok(ParameterValue::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ParameterValue, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(ParameterValue::Other)
    }
}

enum BodyFormat {
    Form,
    Json,
}

impl BodyFormat {
    fn of(headers: &HeaderMap, bodies: Bodies) -> Result<Self, TokenError> {
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(value), None) = (types.next(), types.next()) else {
            return Err(invalid(WANTS_FORM));
        };
        let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            Ok(Self::Form)
        } else if bodies == Bodies::FormAndJson && media_type.eq_ignore_ascii_case(b"application/json") {
            Ok(Self::Json)
        } else {
            Err(invalid(WANTS_FORM))
        }
    }
}

/// Decodes one name or value of a form; `None` if it is not UTF-8.
pub(crate) fn decode(text: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    for (number, part) in text.split(|byte| *byte == b'+').enumerate() {
        if number > 0 {
            decoded.push(b' ');
        }
        decoded.extend(percent_decode(part));
    }
    String::from_utf8(decoded).ok()
}

/// Reads a whole body, up to the limit of its size.
async fn read<B>(body: B) -> Result<Bytes, TokenError>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| {
        invalid(if error.is::<LengthLimitError>() {
            "The request body is too large"
        } else {
            "The request body is incomplete"
        })
    })?;
    Ok(body.to_bytes())
}

fn invalid(description: &'static str) -> TokenError {
    TokenError::new(TokenErrorKind::InvalidRequest, description)
}

const MAX_BODY_BYTES: usize = 64 * 1024;
/// Maximum time until the whole body has arrived.
const MAX_BODY_TIME: Duration = Duration::from_secs(10);
/// Maximum number of parameters of one request.
const MAX_PARAMETERS: usize = 100;
const WANTS_FORM: &str = "The content type must be application/x-www-form-urlencoded";
/// Parameters that may be repeated: `resource` (RFC 8707 §2), and `audience`, its name in RFC 8693 §2.1.
const REPEATABLE: [&str; 2] = ["resource", "audience"];
/// Registered parameters that must not be repeated.
const SINGLE: [&str; 16] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "token",
    "token_type_hint",
    "username",
    "password",
    "assertion",
    "state",
];

#[cfg(test)]
mod tests {
    use super::Parameters;

    /// RFC 6749 §3.2 b (MUST, accepts)
    #[test]
    fn decodes_a_form_as_browsers_encode_it() {
        let form = Parameters::from_form(b"a=1+2%2B3&b=%C3%A4&c&=d&&e=x=y&f=%zz%4").unwrap();
        let get = |name| form.get(name).unwrap();
        assert_eq!(get("a"), Some("1 2+3"));
        assert_eq!(get("b"), Some("ä"));
        assert_eq!(get("c"), None, "an empty value counts as absent");
        assert_eq!(get("e"), Some("x=y"));
        assert_eq!(get("f"), Some("%zz%4"));
        for bad in [
            &b"a=%FF"[..],
            b"%ff=a",
            b"a=\xff",
            b"a=%C3&b=%A4",
            b"%C3=%A4",
            b"a=\xc3&\xa4",
            b"a=%ED%A0%80",
            b"a=%C0%AF",
        ] {
            assert!(Parameters::from_form(bad).is_err(), "not UTF-8: {bad:?}");
        }
        let replacement = Parameters::from_form(b"a=%EF%BF%BD&b=\xef\xbf\xbd").unwrap();
        assert_eq!(
            (replacement.get("a").unwrap(), replacement.get("b").unwrap()),
            (Some("\u{fffd}"), Some("\u{fffd}"))
        );
        assert!(Parameters::from_form(b"a=1&a=2").unwrap().get("a").is_err());
    }

    #[test]
    fn reads_the_same_parameters_from_a_json_object() {
        let json = br#"{"scope": "a b", "resource": ["r1", "r2"], "client_id": null, "extra": {"x": 1}}"#;
        let json = Parameters::from_json(json).unwrap();
        assert_eq!(json.get("scope").unwrap(), Some("a b"));
        assert_eq!(json.get("client_id").unwrap(), None);
        assert_eq!(json.all("resource").collect::<Vec<_>>(), ["r1", "r2"]);
        for bad in
            [r#"{"scope": 1}"#, r#"{"scope": ["a"]}"#, r#"{"resource": [1]}"#, "[]", "", "{} x", "{\"a\":\"\u{1}\"}"]
        {
            assert!(Parameters::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Parameters::from_json(b"{\"scope\":\"\xff\"}").is_err());
        let twice = Parameters::from_json(br#"{"scope":"a","sc\u006fpe":"b"}"#).unwrap();
        assert!(twice.refuse_repeated().is_err(), "a repetition is found however the name is escaped");
    }
}
