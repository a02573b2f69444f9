//! Reads the file with the clients: an array of objects with the members of RFC 7591 §2 and a few further ones.
//!
//! | member | |
//! |---|---|
//! | `client_id` | Any string. |
//! | `client_secret` | Any string. |
//! | `token_endpoint_auth_method` | `client_secret_basic` (default) or `client_secret_post`: a client with a secret may send it in both ways, whichever is named; `private_key_jwt`; `none` for a public client. |
//! | `jwks` | The public keys for `private_key_jwt`. |
//! | `grant_types` | Any of `authorization_code`, `client_credentials` and `refresh_token`. Default: `authorization_code`. `[]` for an API that only introspects. |
//! | `redirect_uris` | The URIs to which a code may be sent. |
//! | `any_localhost_port` | `true`: redirect URIs that begin with `http://localhost` match any port. Default: `false`. |
//! | `accept_private_schemes` | Schemes without a dot that redirect URIs may have, such as `["cursor"]`. Default: none. |
//! | `accept_without_pkce` | `true`: authorization requests need no PKCE challenge. Only for clients with a secret or keys (RFC 9700 §2.1.1). Default: `false`. |
//! | `scope` | The scopes, separated by spaces. A token request without `scope` gets all of them. |
//! | `grant_less_than_asked` | `true`: requested scopes that the client may not have are dropped. Default: `false`, they are refused with `invalid_scope`. |
//! | `dpop_bound_access_tokens` | `true`: token requests without a DPoP proof are refused (RFC 9449 §5.2). Needs `DPOP=on`. Default: `false`. |
//! | `client_name` | Shown to the user. |
//! | `audiences` | An object from the URL of an API to `"jwt"` or `"opaque"`. The first is used if a request names none. |
//! | `introspect` | `true`: the client may introspect any token. Default: `false`. |
//!
//! Other members of RFC 7591 are ignored, unless ignoring them would be wrong, as for `jwks_uri`; then they are a mistake. A
//! member that RFC 7591 doesn't define is a mistake too, because its name is probably misspelt.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, fs,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};
use tower_oauth::{
    keys::KeySet,
    token_endpoint::{Client, ClientBuilder, ClientCredential, ClientSecret, TokenFormat},
};

use crate::mistakes::Mistakes;

/// The content of the file.
#[derive(Default)]
pub(crate) struct Registered {
    pub(crate) clients: Vec<Client>,
    /// The name of each client that users see, by `client_id`.
    pub(crate) names: HashMap<String, String>,
    /// The scopes of all clients.
    pub(crate) scopes: Vec<String>,
    /// The audiences of all clients, each with its first format.
    pub(crate) audiences: Vec<(String, TokenFormat)>,
    /// The positions of the members that need DPoP.
    pub(crate) bound: Vec<String>,
}

/// Reads the file. Adds each mistake with its position in the file. Never quotes a value that may be a secret.
pub(crate) fn read(path: &str, mistakes: &mut Mistakes) -> Registered {
    let mut registered = Registered::default();
    let text = match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            mistakes.add("CLIENTS", format_args!("{path}: it is not UTF-8"));
            return registered;
        }
        Err(error) => {
            mistakes.add("CLIENTS", format_args!("{path}: it cannot be read: {error}"));
            return registered;
        }
    };
    let entries: Vec<&RawValue> = match serde_json::from_str(&text) {
        Ok(entries) => entries,
        // serde_json's own message would quote the value.
        Err(error) if error.classify() == Category::Data => {
            mistakes.add("CLIENTS", format_args!("{path}: it is not an array of clients"));
            return registered;
        }
        Err(error) => {
            mistakes.add("CLIENTS", format_args!("{path}: {error}"));
            return registered;
        }
    };
    let mut ids = HashMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        ClientReader { path, index, mistakes: &mut *mistakes }.read(entry, &mut ids, &mut registered);
    }
    registered.scopes.sort_unstable();
    registered.scopes.dedup();
    registered
}

/// Reads audiences as the member of the file has them.
pub(crate) fn read_audiences(text: &str, mistakes: &mut Mistakes) -> Vec<(String, TokenFormat)> {
    let Ok(Members(members)) = serde_json::from_str(text) else {
        mistakes.add("CLIENT_DOCUMENT_AUDIENCES", "it is not an object from URLs to \"jwt\" or \"opaque\"");
        return Vec::new();
    };
    let formats = members.into_iter().map(|(audience, format)| (audience, serde_json::from_str(format.get()).ok()));
    let mut audiences = Vec::new();
    for (audience, format) in formats {
        match format {
            Some("jwt") => audiences.push((audience, TokenFormat::Jwt)),
            Some("opaque") => audiences.push((audience, TokenFormat::Opaque)),
            _ => mistakes
                .add("CLIENT_DOCUMENT_AUDIENCES", format_args!("{audience:?} is neither \"jwt\" nor \"opaque\"")),
        }
    }
    audiences
}

/// Reads one client of the file. Adds each mistake with the client's index.
struct ClientReader<'p> {
    path: &'p str,
    index: usize,
    mistakes: &'p mut Mistakes,
}

impl ClientReader<'_> {
    fn read(&mut self, entry: &RawValue, ids: &mut HashMap<String, usize>, registered: &mut Registered) {
        let Ok(Members(members)) = serde_json::from_str(entry.get()) else {
            return self.add("", "it is not an object");
        };
        for (index, (name, _)) in members.iter().enumerate() {
            let base = name.split('#').next().unwrap_or_default(); // RFC 7591 §2.2: a language tag may follow
            if !REGISTERED.contains(&base) && !OWN.contains(&&**name) {
                let own = OWN.join(", ");
                self.add(name, format_args!("there is no such member in RFC 7591 §2 nor in this program ({own})"));
            }
            if members.iter().take(index).any(|(other, _)| other == name) {
                self.add(name, "it occurs twice");
            }
        }
        let get = |name: &str| members.iter().find(|(own, _)| own == name).map(|(_, value)| *value);
        let id = self.id(get("client_id"), ids);
        let builder = self.credential(&id, &get);
        let builder = self.grants(builder, &get);
        let scopes = self.value("scope", get("scope"), "a string of scopes, separated by spaces");
        let scopes: String = scopes.unwrap_or_default();
        let scopes: Vec<String> = scopes.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let mut builder = builder.default_scopes(&scopes);
        if self.flag("grant_less_than_asked", &get) {
            builder = builder.grant_less_than_asked();
        }
        for (audience, format) in self.audiences(get("audiences")) {
            if registered.audiences.iter().all(|(other, _)| *other != audience) {
                registered.audiences.push((audience.clone(), format));
            }
            builder = builder.audience(audience, format);
        }
        if self.flag("introspect", &get) {
            builder = builder.introspects_any_token();
        }
        if self.flag(DPOP_BOUND, &get) {
            registered.bound.push(position(self.path, self.index, DPOP_BOUND));
            builder = builder.dpop_bound_access_tokens();
        }
        let name = self.value("client_name", get("client_name"), "a string");
        let (path, index) = (self.path, self.index);
        let client = self.mistakes.check(|setting| position(path, index, member_of(setting)), builder.build());
        if let Some(client) = client {
            registered.names.extend(name.map(|name| (client.id().to_owned(), name)));
            registered.scopes.extend(scopes);
            registered.clients.push(client);
        }
    }

    /// Returns the client id, which must be unique. Returns a placeholder if it is missing, so that the rest is checked too.
    fn id(&mut self, value: Option<&RawValue>, ids: &mut HashMap<String, usize>) -> String {
        if value.is_none() {
            self.add("client_id", "it is missing");
        }
        let Some(id) = self.value::<String>("client_id", value, "a string") else { return "?".to_owned() };
        match ids.entry(id.clone()) {
            Entry::Occupied(first) => {
                self.add("client_id", format_args!("{id:?} is also the client_id of [{}]", first.get()));
            }
            Entry::Vacant(entry) => {
                entry.insert(self.index);
            }
        }
        id
    }

    /// Returns a builder with the credential of the client, or with a placeholder if that is wrong.
    fn credential<'v>(&mut self, id: &str, get: &impl Fn(&str) -> Option<&'v RawValue>) -> ClientBuilder {
        const METHOD: &str = "token_endpoint_auth_method";
        let secret: Option<String> = self.value("client_secret", get("client_secret"), "a string");
        if get("jwks_uri").is_some() {
            self.add("jwks_uri", "this server does not fetch keys; give them in jwks");
        }
        if get("client_secret_expires_at").is_some_and(|at| at.get() != "0") {
            self.add("client_secret_expires_at", "secrets do not expire at this server; give 0, or omit it");
        }
        let method: Option<String> = self.value(METHOD, get(METHOD), "a string");
        match method.as_deref().unwrap_or("client_secret_basic") {
            "client_secret_basic" | "client_secret_post" if secret.is_some() || get("client_secret").is_some() => {}
            "client_secret_basic" | "client_secret_post" => {
                self.add(
                    "client_secret",
                    format_args!("it is missing; without one, {METHOD} is private_key_jwt or none"),
                );
            }
            "private_key_jwt" => {
                self.no_secret(secret.as_ref(), "private_key_jwt");
                if let Some(keys) = self.keys(get("jwks")) {
                    return Client::builder(id, keys);
                }
            }
            "none" => {
                self.no_secret(secret.as_ref(), "none, a public client");
                return Client::builder(id, ClientCredential::None);
            }
            _ => self.add(METHOD, "it is none of client_secret_basic, client_secret_post, private_key_jwt and none"),
        }
        Client::builder(id, ClientSecret::new(secret.unwrap_or_else(|| "-".to_owned())))
    }

    fn keys(&mut self, value: Option<&RawValue>) -> Option<KeySet> {
        let Some(jwks) = value else {
            self.add("jwks", "it is missing; private_key_jwt needs the client's public keys");
            return None;
        };
        let position = position(self.path, self.index, "jwks");
        self.mistakes.check(|_| &position, KeySet::from_json(jwks.get()))
    }

    /// Adds a mistake if a client without a secret has one.
    fn no_secret(&mut self, secret: Option<&String>, method: &str) {
        if secret.is_some() {
            self.add("client_secret", format_args!("it is not used: token_endpoint_auth_method is {method}"));
        }
    }

    /// Adds the grant types and redirect URIs.
    fn grants<'v>(&mut self, builder: ClientBuilder, get: &impl Fn(&str) -> Option<&'v RawValue>) -> ClientBuilder {
        const TEXTS: &str = "an array of strings";
        let grants: Option<Vec<String>> = self.value("grant_types", get("grant_types"), TEXTS);
        let grants = grants.unwrap_or_else(|| vec!["authorization_code".to_owned()]);
        for (index, grant) in grants.iter().enumerate() {
            if !GRANTS.contains(&&**grant) {
                self.add(&format!("grant_types[{index}]"), format_args!("{grant:?} is none of {}", GRANTS.join(", ")));
            }
        }
        let types: Option<Vec<String>> = self.value("response_types", get("response_types"), TEXTS);
        if types.is_some_and(|types| types.iter().any(|name| name != "code")) {
            self.add("response_types", "this server supports only code");
        }
        let uris: Vec<String> = self.value("redirect_uris", get("redirect_uris"), TEXTS).unwrap_or_default();
        let builder = uris.into_iter().fold(builder.grant_types(grants), ClientBuilder::redirect_uri);
        let schemes: Option<Vec<String>> = self.value(PRIVATE_SCHEMES, get(PRIVATE_SCHEMES), TEXTS);
        let builder = schemes.unwrap_or_default().into_iter().fold(builder, ClientBuilder::accept_private_scheme);
        let builder = if self.flag("accept_without_pkce", get) { builder.accept_without_pkce() } else { builder };
        if self.flag("any_localhost_port", get) { builder.any_localhost_port() } else { builder }
    }

    /// Returns a member that is true or false. Default: false.
    fn flag<'v>(&mut self, name: &str, get: &impl Fn(&str) -> Option<&'v RawValue>) -> bool {
        self.value(name, get(name), "true or false").unwrap_or(false)
    }

    /// Returns the audiences, in the order of the file.
    fn audiences(&mut self, value: Option<&RawValue>) -> Vec<(String, TokenFormat)> {
        let mut audiences: Vec<(String, TokenFormat)> = Vec::new();
        let Members(members) =
            self.value("audiences", value, "an object from URLs to \"jwt\" or \"opaque\"").unwrap_or_default();
        for (audience, format) in members {
            let member = format!("audiences[{audience:?}]");
            if audiences.iter().any(|(other, _)| *other == audience) {
                self.add(&member, "it occurs twice");
            }
            match serde_json::from_str::<String>(format.get()).as_deref() {
                Ok("jwt") => audiences.push((audience, TokenFormat::Jwt)),
                Ok("opaque") => audiences.push((audience, TokenFormat::Opaque)),
                _ => self.add(&member, "it is neither \"jwt\" nor \"opaque\""),
            }
        }
        audiences
    }

    /// Parses a member. Adds a mistake if it is not `what`.
    fn value<'v, T: Deserialize<'v>>(&mut self, name: &str, value: Option<&'v RawValue>, what: &str) -> Option<T> {
        let value = value.map(|value| serde_json::from_str(value.get()))?;
        value.map_err(|_| self.add(name, format_args!("it is not {what}"))).ok()
    }

    fn add(&mut self, member: &str, found: impl fmt::Display) {
        self.mistakes.add(position(self.path, self.index, member), found);
    }
}

fn position(path: &str, index: usize, member: &str) -> String {
    let dot = if member.is_empty() { "" } else { "." };
    format!("CLIENTS: {path}[{index}]{dot}{member}")
}

/// Returns the member of the file for one of the crate's settings.
fn member_of(setting: &'static str) -> &'static str {
    match setting {
        "audience" => "audiences",
        "redirect_uri" => "redirect_uris",
        "introspects" => "introspect",
        "accept_private_scheme" => PRIVATE_SCHEMES,
        other => other,
    }
}

/// The members of an object, in their order.
#[derive(Default)]
struct Members<'v>(Vec<(String, &'v RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

const GRANTS: [&str; 3] = ["authorization_code", "client_credentials", "refresh_token"];
/// Members that only this program defines.
const OWN: [&str; 6] =
    ["audiences", "introspect", "any_localhost_port", PRIVATE_SCHEMES, "grant_less_than_asked", "accept_without_pkce"];
const PRIVATE_SCHEMES: &str = "accept_private_schemes";
/// RFC 9449 §5.2.
const DPOP_BOUND: &str = "dpop_bound_access_tokens";
/// Members that RFC 7591 §2 and §3.2.1, RFC 7592 §3 and RFC 9449 §5.2 define.
const REGISTERED: [&str; 22] = [
    DPOP_BOUND,
    "redirect_uris",
    "token_endpoint_auth_method",
    "grant_types",
    "response_types",
    "client_name",
    "client_uri",
    "logo_uri",
    "scope",
    "contacts",
    "tos_uri",
    "policy_uri",
    "jwks_uri",
    "jwks",
    "software_id",
    "software_version",
    "client_id",
    "client_secret",
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
];
