//! The operations of an OpenAPI document (OpenAPI 3.0 to 3.2), as requests and requirements.
//!
//! *In*: the document as JSON. *Out*: for each operation a method, a path with placeholders filled in, and the alternatives
//! of scopes that the document states.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Map, Value};

/// An operation that a document describes.
#[derive(Debug)]
pub(super) struct Operation {
    /// Method and path template, such as `GET /orders/{id}`.
    pub(super) name: String,
    pub(super) method: Method,
    /// The path with its parameters filled in, and the required parameters of the query.
    pub(super) target: String,
    /// Required header fields and cookies.
    pub(super) headers: Vec<(String, String)>,
    pub(super) security: DocumentedSecurity,
}

/// What the document says about tokens for an operation.
#[derive(Debug, Default)]
pub(super) struct DocumentedSecurity {
    /// Each alternative for access tokens, with its scopes.
    pub(super) alternatives: Vec<BTreeSet<String>>,
    /// True if requests without any credentials are accepted.
    pub(super) optional: bool,
    /// True if there are alternatives for other credentials, such as an API key.
    pub(super) others: bool,
}

/// Returns the operations of a document.
pub(super) fn operations(document: &Value) -> Vec<Operation> {
    let reader = Reader { document };
    let mut operations = Vec::new();
    for (path, item) in members(document.get("paths")) {
        let item = reader.resolved(item);
        let named = METHODS.iter().filter_map(|name| Some((name.to_ascii_uppercase(), item.get(name)?)));
        let additional = members(item.get("additionalOperations")).map(|(name, operation)| (name.clone(), operation));
        for (method, operation) in named.chain(additional) {
            operations.extend(reader.operation(&method, path, item, operation));
        }
    }
    operations
}

struct Reader<'d> {
    document: &'d Value,
}

impl<'d> Reader<'d> {
    fn operation(&self, method: &str, path: &str, item: &'d Value, operation: &'d Value) -> Option<Operation> {
        let parameters = self.parameters(item, operation);
        let required = |place: &'static str| {
            let wanted = move |parameter: &&&Value| parameter["in"] == place && parameter["required"] == true;
            parameters.iter().filter(wanted).map(|parameter| (text(parameter, "name"), self.example(parameter)))
        };
        let mut target = path.to_owned();
        for (name, value) in required("path") {
            target = target.replace(&format!("{{{name}}}"), &encoded(&value));
        }
        let query: Vec<_> =
            required("query").map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value))).collect();
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let cookies = required("cookie").map(|(name, value)| ("cookie".to_owned(), format!("{name}={value}")));
        Some(Operation {
            name: format!("{method} {path}"),
            method: Method::from_bytes(method.as_bytes()).ok()?,
            target: without_placeholders(&target),
            headers: required("header").chain(cookies).collect(),
            security: self.security(operation),
        })
    }

    /// Returns the parameters of an operation. Those of the path item come last; an operation may replace them.
    fn parameters(&self, item: &'d Value, operation: &'d Value) -> Vec<&'d Value> {
        let lists = [operation, item].into_iter().filter_map(|object| object.get("parameters")?.as_array());
        let mut parameters: Vec<&Value> = Vec::new();
        for parameter in lists.flatten().map(|parameter| self.resolved(parameter)) {
            if !parameters.iter().any(|other| ["name", "in"].iter().all(|member| other[member] == parameter[member])) {
                parameters.push(parameter);
            }
        }
        parameters
    }

    /// Returns a value for a parameter: its example, or one of its type.
    fn example(&self, parameter: &'d Value) -> String {
        let named = members(parameter.get("examples")).find_map(|(_, example)| self.resolved(example).get("value"));
        let content = members(parameter.get("content")).next().map(|(_, media_type)| media_type);
        let schema = parameter.get("schema").or_else(|| content?.get("schema"));
        let example = parameter.get("example").or(named).map(shown);
        example.or_else(|| self.of_schema(schema?, MAX_DEPTH)).unwrap_or_else(|| PLACEHOLDER.to_owned())
    }

    fn of_schema(&self, schema: &'d Value, depth: u8) -> Option<String> {
        let schema = self.resolved(schema);
        let first = |member: &str| schema.get(member).and_then(|list| list.get(0));
        let stated = ["example", "default", "const"].iter().find_map(|member| schema.get(member));
        if let Some(value) = first("examples").or(stated).or_else(|| first("enum")) {
            return Some(shown(value));
        }
        let inner =
            first("allOf").or_else(|| first("oneOf")).or_else(|| first("anyOf")).or_else(|| schema.get("items"));
        if let Some(inner) = inner.filter(|_| depth > 0) {
            return self.of_schema(inner, depth - 1);
        }
        let is = |name: &str| {
            schema["type"] == name || schema["type"].as_array().is_some_and(|types| types.contains(&name.into()))
        };
        if is("boolean") {
            return Some("true".to_owned());
        }
        if is("integer") || is("number") {
            return Some(schema.get("minimum").map_or_else(|| PLACEHOLDER.to_owned(), shown));
        }
        let format = schema["format"].as_str()?;
        FORMATS.iter().find(|(name, _)| *name == format).map(|(_, value)| (*value).to_owned())
    }

    /// Returns what an operation requires. Its own `security` replaces the document's.
    fn security(&self, operation: &Value) -> DocumentedSecurity {
        let mut security = DocumentedSecurity::default();
        let stated = operation.get("security").or_else(|| self.document.get("security"));
        for requirement in stated.and_then(Value::as_array).into_iter().flatten() {
            let schemes: Vec<_> = members(Some(requirement)).collect();
            if schemes.is_empty() {
                security.optional = true;
            } else if schemes.iter().all(|(scheme, _)| self.takes_access_tokens(scheme)) {
                let scopes = schemes.iter().filter_map(|(_, scopes)| scopes.as_array()).flatten();
                security.alternatives.push(scopes.filter_map(Value::as_str).map(str::to_owned).collect());
            } else {
                security.others = true;
            }
        }
        security
    }

    /// True for a scheme of access tokens, and for one that the document does not declare.
    fn takes_access_tokens(&self, scheme: &str) -> bool {
        let declared = self.document.pointer("/components/securitySchemes").and_then(|schemes| schemes.get(scheme));
        declared.map(|declared| self.resolved(declared)).is_none_or(|declared| match declared["type"].as_str() {
            Some("oauth2" | "openIdConnect") => true,
            Some("http") => declared["scheme"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("bearer")),
            _ => false,
        })
    }

    /// Follows references inside of the document.
    fn resolved(&self, value: &'d Value) -> &'d Value {
        let mut value = value;
        for _ in 0..MAX_DEPTH {
            let reference = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
            match reference.and_then(|pointer| self.document.pointer(pointer)) {
                Some(target) => value = target,
                None => break,
            }
        }
        value
    }
}

fn members(object: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn text(object: &Value, member: &str) -> String {
    object[member].as_str().unwrap_or_default().to_owned()
}

/// Returns a value in the form in which it stands in a path.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.first().map_or_else(String::new, shown),
        other => other.to_string(),
    }
}

/// Fills in the parameters of a path that the document does not describe.
fn without_placeholders(target: &str) -> String {
    let mut filled = String::new();
    let mut rest = target;
    while let Some((before, (_, after))) =
        rest.split_once('{').and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
    {
        filled.push_str(before);
        filled.push_str(PLACEHOLDER);
        rest = after;
    }
    filled + rest
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A text that is also a number.
const PLACEHOLDER: &str = "1";
/// Values for strings of a format.
const FORMATS: [(&str, &str); 7] = [
    ("uuid", "00000000-0000-4000-8000-000000000000"),
    ("date", "2000-01-01"),
    ("date-time", "2000-01-01T00:00:00Z"),
    ("email", "ada@example.com"),
    ("ipv4", "192.0.2.1"),
    ("ipv6", "2001:db8::1"),
    ("uri", "https://example.com/"),
];
/// How many references or nested schemas are followed.
const MAX_DEPTH: u8 = 8;
const METHODS: [&str; 9] = ["get", "put", "post", "delete", "options", "head", "patch", "trace", "query"];
