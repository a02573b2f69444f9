//! Makes the tokens (RFC 6749 §5.1, RFC 9068 §2).
//!
//! *In*: what was granted to which client. *Out*: the answer with the token, which is remembered by then.

use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::token_endpoint::{
    ServerState,
    client::{
        Client, TokenFormat,
        secret::{TokenHash, draw},
    },
    grant::Granted,
    http::{
        error::{TokenError, TokenErrorKind},
        response::{ResponseBody, json},
    },
    store::{AccessRecord, Issued, NewAccess},
};

/// What was issued, for the host's own members of the answer.
#[derive(Debug)]
pub struct Issuance<'i> {
    record: &'i AccessRecord,
    grant_type: &'i str,
}

impl Issuance<'_> {
    /// `client_id`.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.record.client_id
    }

    /// The grant.
    #[must_use]
    pub fn grant_type(&self) -> &str {
        self.grant_type
    }

    /// `sub`: the client itself, or a user.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.record.subject
    }

    /// `scope`: names separated by spaces; may be empty.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.record.scope
    }

    /// `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.record.audience
    }

    /// `iat`.
    #[must_use]
    pub fn issued_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.record.issued_at)
    }
}

/// The host's own members of an answer.
pub(crate) type AddMembers = Box<dyn Fn(&Issuance<'_>) -> Result<Value, serde_json::Error> + Send + Sync>;

/// RFC 9068 §2.2.
#[derive(Serialize)]
struct AccessTokenClaims<'t> {
    iss: &'t str,
    sub: &'t str,
    aud: &'t str,
    client_id: &'t str,
    iat: u64,
    exp: u64,
    jti: &'t str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
}

/// RFC 6749 §5.1. `scope` is always told where there is one, so also where it must be (§3.3).
#[derive(Serialize)]
struct TokenResponse<'t> {
    access_token: &'t str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'t str>,
    #[serde(flatten)]
    own: Map<String, Value>,
}

impl ServerState {
    pub(crate) async fn issue(
        &self,
        client: &Client,
        granted: Granted,
        grant_type: &str,
    ) -> Result<Response<ResponseBody>, TokenError> {
        let time = self.authenticator.clock.now();
        let now = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let lifetime = client.lifetime.unwrap_or(self.lifetime).as_secs();
        let Granted { subject, scope, audience, family, refresh } = granted;
        // No token outlives what the user allowed.
        let end = family.as_ref().map_or(u64::MAX, |family| family.expires_at);
        let record = AccessRecord {
            id: draw().map_err(TokenError::unavailable)?,
            auth_time: family.as_ref().and_then(|family| family.auth_time),
            family: family.map(|family| family.id),
            client_id: client.id().to_owned(),
            credential: client.credential(),
            subject,
            scope,
            audience,
            issued_at: now,
            expires_at: end.min(now + lifetime),
        };
        let token = match client.format(&record.audience) {
            TokenFormat::Opaque => draw().map_err(TokenError::unavailable)?,
            TokenFormat::Jwt => self.signer.sign(&self.claims(&record), time)?,
        };
        // Remembered before it is told: what was told is never unknown.
        let access = NewAccess { hash: TokenHash::of(&token), record };
        match self.authenticator.store.issue(&access, refresh.new_token(), client.max_active_tokens, now).await? {
            Issued::Remembered => {}
            Issued::FamilyDead => {
                return Err(TokenError::new(TokenErrorKind::InvalidGrant, "The grant was revoked"));
            }
        }
        let record = &access.record;
        let own = self.own_members(&Issuance { record, grant_type })?;
        Ok(json(
            StatusCode::OK,
            &TokenResponse {
                access_token: &token,
                token_type: "Bearer",
                expires_in: record.expires_at.saturating_sub(now),
                scope: &record.scope,
                refresh_token: refresh.text(),
                own,
            },
        ))
    }

    fn claims<'t>(&'t self, record: &'t AccessRecord) -> AccessTokenClaims<'t> {
        AccessTokenClaims {
            iss: &self.issuer,
            sub: &record.subject,
            aud: &record.audience,
            client_id: &record.client_id,
            iat: record.issued_at,
            exp: record.expires_at,
            jti: &record.id,
            scope: &record.scope,
            auth_time: record.auth_time,
        }
    }

    fn own_members(&self, issuance: &Issuance<'_>) -> Result<Map<String, Value>, TokenError> {
        let Some(add) = &self.add_members else { return Ok(Map::new()) };
        match add(issuance).map_err(TokenError::unavailable)? {
            Value::Object(mut members) => {
                // What RFC 6749 defines is not the host's to say, and an absent value is no `null`.
                members.retain(|name, value| !DEFINED.contains(&name.as_str()) && !value.is_null());
                Ok(members)
            }
            _ => Ok(Map::new()),
        }
    }
}

const DEFINED: [&str; 9] = [
    "access_token",
    "token_type",
    "expires_in",
    "scope",
    "refresh_token",
    "issued_token_type",
    "error",
    "error_description",
    "error_uri",
];
