//! A client as a text that a store doesn't read.
//!
//! *In*: a [`Client`]. *Out*: a [`Record`] with every setting, and the client that an instance of any version reads from it.
//!
//! A secret is written as its hash, and keys are written as a JWK set. Unknown members are read as in every record, and are written
//! again.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

use super::{Client, ClientCredential, ClientSecret, ExcessScopes, Introspects, LocalhostPort, Pkce, TokenFormat};
use crate::{
    keys::KeySet,
    token_endpoint::{
        record::{self, StoredRecord},
        store::{Record, StoreError},
    },
};

/// The members of a record: one for each field of [`Client`]. A missing one does not compile.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Client")]
struct ClientMembers {
    id: String,
    #[serde(with = "CredentialText")]
    credential: ClientCredential,
    #[serde(
        default,
        serialize_with = "write_previous",
        deserialize_with = "read_previous",
        skip_serializing_if = "Option::is_none"
    )]
    previous_secret: Option<ClientSecret>,
    #[serde(default)]
    generation: u32,
    #[serde(default)]
    grant_types: Vec<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default = "fixed_port", with = "PortName")]
    localhost_port: LocalhostPort,
    #[serde(default = "required", with = "PkceName")]
    pkce: Pkce,
    #[serde(default)]
    default_scopes: Vec<String>,
    #[serde(default)]
    optional_scopes: Vec<String>,
    #[serde(default = "refuse", with = "ExcessName")]
    excess: ExcessScopes,
    #[serde(default, serialize_with = "write_audiences", deserialize_with = "read_audiences")]
    audiences: Vec<(String, TokenFormat)>,
    #[serde(default)]
    audience_scopes: Vec<(String, Vec<String>)>,
    /// In seconds.
    #[serde(
        default,
        serialize_with = "write_lifetime",
        deserialize_with = "read_lifetime",
        skip_serializing_if = "Option::is_none"
    )]
    lifetime: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_active_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_sessions: Option<u32>,
    #[serde(default = "own_tokens", with = "IntrospectsName")]
    introspects: Introspects,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dpop_bound_access_tokens: bool,
    #[serde(
        default,
        rename = "tls_client_certificate_bound_access_tokens",
        skip_serializing_if = "std::ops::Not::not"
    )]
    certificate_bound: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// All other members.
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ClientCredential", rename_all = "snake_case")]
enum CredentialText {
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    Secret(ClientSecret),
    #[serde(serialize_with = "write_keys", deserialize_with = "read_keys")]
    Keys(KeySet),
    None,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LocalhostPort", rename_all = "snake_case")]
enum PortName {
    Fixed,
    Any,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Pkce", rename_all = "snake_case")]
enum PkceName {
    Required,
    Optional,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ExcessScopes", rename_all = "snake_case")]
enum ExcessName {
    Refuse,
    Drop,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Introspects", rename_all = "snake_case")]
enum IntrospectsName {
    Audiences(Vec<String>),
    Any,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TokenFormat", rename_all = "snake_case")]
enum FormatName {
    Jwt,
    Opaque,
}

#[derive(Serialize, Deserialize)]
struct AudienceMember {
    audience: String,
    #[serde(with = "FormatName")]
    format: TokenFormat,
}

/// A client that is written.
struct ClientToWrite<'c>(&'c Client);

/// A client that was read.
struct ClientRead(Client);

impl Serialize for ClientToWrite<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ClientMembers::serialize(self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ClientRead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ClientMembers::deserialize(deserializer).map(Self)
    }
}

impl StoredRecord for ClientRead {
    const UNDERSTOOD: &[&str] = &[DPOP_BOUND, CERTIFICATE_BOUND];
}

/// Writes a client.
pub(super) fn write(client: &Client) -> Result<Record, StoreError> {
    // An older version would issue bearer tokens.
    let must: &[&str] = match (client.dpop_bound_access_tokens, client.certificate_bound) {
        (true, true) => &[DPOP_BOUND, CERTIFICATE_BOUND],
        (true, false) => &[DPOP_BOUND],
        (false, true) => &[CERTIFICATE_BOUND],
        (false, false) => &[],
    };
    record::write_with(&ClientToWrite(client), must)
}

/// Reads a client. `None` if this version can't read it, or must understand what it doesn't know.
pub(super) fn read(record: &Record) -> Option<Client> {
    let ClientRead(mut client) = record::read(record)?;
    // They belong to every record, and each version writes its own.
    client.unknown.retain(|name, _| !record::HEAD.contains(&name.as_str()));
    Some(client)
}

fn fixed_port() -> LocalhostPort {
    LocalhostPort::Fixed
}

fn required() -> Pkce {
    Pkce::Required
}

fn refuse() -> ExcessScopes {
    ExcessScopes::Refuse
}

fn own_tokens() -> Introspects {
    Introspects::Audiences(Vec::new())
}

fn write_secret<S: Serializer>(secret: &ClientSecret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&secret.hash())
}

fn read_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClientSecret, D::Error> {
    ClientSecret::from_record(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[expect(clippy::ref_option, reason = "serde passes the field")]
fn write_previous<S: Serializer>(secret: &Option<ClientSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(ClientSecret::hash).serialize(serializer)
}

fn read_previous<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ClientSecret>, D::Error> {
    let hash = Option::<String>::deserialize(deserializer)?;
    hash.map(|hash| ClientSecret::from_record(&hash)).transpose().map_err(D::Error::custom)
}

fn write_keys<S: Serializer>(keys: &KeySet, serializer: S) -> Result<S::Ok, S::Error> {
    keys.to_json().serialize(serializer)
}

fn read_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeySet, D::Error> {
    KeySet::from_json(Value::deserialize(deserializer)?.to_string()).map_err(D::Error::custom)
}

fn write_audiences<S: Serializer>(audiences: &[(String, TokenFormat)], serializer: S) -> Result<S::Ok, S::Error> {
    let member = |(audience, format): &(String, _)| AudienceMember { audience: audience.clone(), format: *format };
    serializer.collect_seq(audiences.iter().map(member))
}

fn read_audiences<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, TokenFormat)>, D::Error> {
    let members = Vec::<AudienceMember>::deserialize(deserializer)?;
    Ok(members.into_iter().map(|AudienceMember { audience, format }| (audience, format)).collect())
}

#[expect(clippy::ref_option, reason = "serde passes the field")]
fn write_lifetime<S: Serializer>(lifetime: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    lifetime.map(|lifetime| lifetime.as_secs()).serialize(serializer)
}

fn read_lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
}

const DPOP_BOUND: &str = "dpop_bound_access_tokens";
const CERTIFICATE_BOUND: &str = "tls_client_certificate_bound_access_tokens";
