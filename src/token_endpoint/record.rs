//! What the endpoint keeps about sessions and access tokens, as texts that a store doesn't read.
//!
//! *In*: what was approved or issued. *Out*: a [`Record`], and what an instance of any version reads from it.
//!
//! A record is a JSON object. A member that this version doesn't know is ignored. But a name in `must` that this version doesn't
//! know restricts the token in a way that it can't enforce: then the token is inactive, or the grant is invalid. `crit` of
//! RFC 7515 §4.1.11 is the model.
//!
//! | name in `must` | record | meaning |
//! |---|---|---|
//! | `cnf` | access token | it is bound to what the member `cnf` says |
//! | `dpop_bound_access_tokens` | client | its tokens are bound to a key |
//! | `tls_client_certificate_bound_access_tokens` | client | its tokens are bound to a certificate |

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::Error as _};
use serde_json::Value;

use super::{
    client::Client,
    store::{Record, StoreError},
    token_content::ContentRecord,
};
use crate::confirmation::{Binding, Confirmation};

/// What a user has approved. It is stored with the code, and with the session without its handle.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) owner: OwnerRecord,
    /// The scopes, separated by spaces; may be empty.
    pub(crate) scope: String,
    /// The resources; at least one.
    pub(crate) audiences: Vec<String>,
    /// When the user approved.
    pub(crate) since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acr: Option<String>,
    /// The PKCE challenge, if the authorization request had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) challenge: Option<String>,
    /// `redirect_uri` of the authorization request, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redirect_uri: Option<String>,
    /// The handle of the session's refresh tokens, until the code is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handle: Option<String>,
    /// What a grant of the application adds to each token of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<ContentRecord>,
}

/// Whom a session or an access token belongs to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnerRecord<S = String> {
    pub(crate) client_id: S,
    /// [`Client::credential_generation`] at that time.
    #[serde(default)]
    pub(crate) generation: u64,
    /// `sub`: the client itself, or a user.
    pub(crate) subject: S,
}

/// An access token, without its text. It is written from borrowed texts.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AccessRecord<S = String, C = ContentRecord> {
    /// `jti`.
    pub(crate) id: S,
    /// `None` if the token belongs to a session, whose record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<OwnerRecord<S>>,
    /// The scopes, separated by spaces; may be empty.
    pub(crate) scope: S,
    /// `aud`.
    pub(crate) audience: S,
    /// `iat`.
    pub(crate) issued_at: u64,
    /// `exp`.
    pub(crate) expires_at: u64,
    /// What the token is bound to.
    #[serde(default, deserialize_with = "read_confirmation", skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation>,
    /// What the application adds to the token.
    #[serde(default = "no_content", skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<C>,
}

/// A record that is read.
pub(crate) trait StoredRecord: DeserializeOwned {
    /// The names in `must` that this version understands.
    const UNDERSTOOD: &[&str];
}

impl StoredRecord for SessionRecord {
    const UNDERSTOOD: &[&str] = &[];
}

impl StoredRecord for AccessRecord {
    const UNDERSTOOD: &[&str] = &[BOUND];
}

fn no_content<C>() -> Option<C> {
    None
}

/// What every record begins with.
#[derive(Serialize)]
struct NewRecord<'c, T> {
    /// The version that wrote the record. Only for people who look into a store.
    v: u32,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    must: &'c [&'c str],
    #[serde(flatten)]
    content: &'c T,
}

/// The members that are read before all others.
#[derive(Deserialize)]
struct Head {
    /// Members, or values of members, that a reader must understand.
    #[serde(default)]
    must: Vec<String>,
}

impl<'c, S: From<&'c str>> OwnerRecord<S> {
    pub(crate) fn new(client: &'c Client, subject: S) -> Self {
        Self { client_id: client.id().into(), generation: client.credential_generation(), subject }
    }
}

impl OwnerRecord {
    /// True if what was issued to this owner is still valid: the client is the same, no leaked secret was replaced since, and it
    /// has the same kind of credential.
    pub(crate) fn belongs_to(&self, client: &Client) -> bool {
        self.client_id == client.id() && self.generation == client.credential_generation()
    }
}

/// Reads a confirmation. One with a member that this version doesn't know is an error, so that the record can't be read.
fn read_confirmation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Confirmation>, D::Error> {
    match Binding::parse(&Value::deserialize(deserializer)?.to_string()) {
        Binding::Known(confirmation) => Ok(Some(confirmation)),
        Binding::Unknown => Err(D::Error::custom("the confirmation can't be proven")),
    }
}

/// Writes a record that every version understands.
pub(crate) fn write(content: &impl Serialize) -> Result<Record, StoreError> {
    write_with(content, &[])
}

/// Writes a record with names that a reader must understand.
pub(crate) fn write_with(content: &impl Serialize, must: &[&str]) -> Result<Record, StoreError> {
    let failed = || StoreError::not_executed("a record could not be written");
    let mut text = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut text, &NewRecord { v: VERSION, must, content })
        .map_err(|error| failed().with_source(error))?;
    let text = String::from_utf8(text).map_err(|error| failed().with_source(error))?;
    Ok(Record::from(text))
}

/// Reads whom a record belongs to, also if this version must understand what it doesn't know: its client may revoke it.
pub(crate) fn read_owner(record: &Record) -> Option<OwnerRecord> {
    #[derive(Deserialize)]
    struct Owned {
        owner: OwnerRecord,
    }
    serde_json::from_str(record.as_str()).ok().map(|Owned { owner }| owner)
}

/// Reads a record. `None` if this version can't read it, or must understand what it doesn't know.
pub(crate) fn read<T: StoredRecord>(record: &Record) -> Option<T> {
    // Twice, because a flattened member has no numbers with serde_json's arbitrary_precision.
    let head: Head = serde_json::from_str(record.as_str()).ok()?;
    if !head.must.iter().all(|name| T::UNDERSTOOD.contains(&name.as_str())) {
        return None;
    }
    serde_json::from_str(record.as_str()).ok()
}

const VERSION: u32 = 1;
/// The members that every record has, and that this module writes.
pub(crate) const HEAD: [&str; 2] = ["v", "must"];
/// Most records are smaller.
const USUAL_BYTES: usize = 512;
/// The name in `must` of a bound access token.
pub(crate) const BOUND: &str = "cnf";
