//! The claims that show which kind of token a provider has issued.
//!
//! *In*: the facts of a token. *Out*: the claims that only some providers use.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    acts_for::ActsFor,
    claims::Facts,
    error::{AuthError, Reason},
};

/// Claims that only some providers use. Their types are checked by each use, because a claim of an unexpected type does not
/// make a token malformed.
#[derive(Deserialize)]
pub(super) struct ProviderClaims {
    pub(super) nonce: Option<Value>,
    pub(super) at_hash: Option<Value>,
    pub(super) c_hash: Option<Value>,
    pub(super) token_use: Option<Value>,
    pub(super) typ: Option<Value>,
    pub(super) scp: Option<Value>,
    pub(super) roles: Option<Value>,
    pub(super) gty: Option<Value>,
    pub(super) azp: Option<Value>,
    pub(super) uid: Option<Value>,
    pub(super) idtyp: Option<Value>,
    pub(super) oid: Option<Value>,
    pub(super) username: Option<Value>,
    pub(super) preferred_username: Option<Value>,
    pub(super) sid: Option<Value>,
    pub(super) session_id: Option<Value>,
    pub(super) role: Option<Value>,
    pub(super) firebase: Option<Value>,
    pub(super) sts: Option<Value>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Value>,
    pub(super) email: Option<Value>,
    #[serde(rename = "kubernetes.io")]
    pub(super) kubernetes: Option<Value>,
    pub(super) repository: Option<Value>,
    #[serde(rename = "authenticationType")]
    pub(super) authentication_type: Option<Value>,
    pub(super) permissions: Option<Value>,
    pub(super) client_id: Option<Value>,
    #[serde(rename = "clientId")]
    pub(super) legacy_client_id: Option<Value>,
    #[serde(rename = "clientHost")]
    pub(super) client_host: Option<Value>,
    #[serde(rename = "clientAddress")]
    pub(super) client_address: Option<Value>,
}

impl ProviderClaims {
    pub(super) fn of(facts: &Facts) -> Result<Self, AuthError> {
        serde_json::from_str(facts.claims()).map_err(|_| Reason::MalformedClaims.into())
    }
}

/// Returns an error unless the provider's claims show that the token is of the expected kind.
pub(super) fn require(is_of_kind: bool, expected: &'static str) -> Result<(), AuthError> {
    if is_of_kind {
        return Ok(());
    }
    Err(Reason::NotAnAccessToken.because("a token of another kind", expected, OTHER_KIND))
}

/// True if the claim has exactly this text.
pub(super) fn is(claim: Option<&Value>, text: &str) -> bool {
    claim.is_some_and(|claim| claim == text)
}

/// Requires exactly one of the two: the claim that only users' tokens have, or a subject that is the client.
pub(super) fn user_or_client(user_claim: Option<&Value>, is_client: bool) -> ActsFor {
    match (user_claim, is_client) {
        (Some(Value::String(_)), false) => ActsFor::User,
        (None, true) => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}

/// The rule for a provider whose tokens are all those of users.
pub(super) fn user_with_subject(facts: &Facts) -> ActsFor {
    if names(facts.subject()) { ActsFor::User } else { ActsFor::Unknown }
}

/// True for a name that is not blank.
pub(super) fn names(name: Option<&str>) -> bool {
    name.is_some_and(|name| !name.trim().is_empty())
}

/// True for a claim that is a string and not blank.
pub(super) fn has_text(claim: Option<&Value>) -> bool {
    names(claim.and_then(Value::as_str))
}

/// True if the name begins with the prefix, and is longer.
pub(super) fn has_prefix(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| !rest.trim().is_empty())
}

/// What to change if the token is of another kind than the preset accepts.
pub(super) const OTHER_KIND: &str =
    "send the token that the preset's documentation names, or use the preset of the issuer";
/// The end of the email of each service account.
pub(super) const GOOGLE_SERVICE_ACCOUNT: &str = ".gserviceaccount.com";
