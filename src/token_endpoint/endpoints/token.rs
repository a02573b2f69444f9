//! The token endpoint (RFC 6749 §3.2, §5.1; RFC 9068 §2).
//!
//! *In*: a request whose client is authenticated. *Out*: the response with the tokens, which are stored before it is sent.
//!
//! What a grant requires is checked in `grant`.

use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{ClientRequest, ServerState};
use crate::token_endpoint::{
    client::{
        Client, TokenFormat,
        secret::{TokenHash, random_text},
    },
    grant::{Granted, TokenRequest},
    http::{
        error::{TokenError, TokenErrorKind},
        response::{ResponseBody, json},
    },
    store::{AccessRecord, Issued, NewAccess},
};

/// The tokens that were issued, for
/// [`extra_response_parameters`](crate::token_endpoint::TokenEndpointBuilder::extra_response_parameters).
#[derive(Debug)]
pub struct Issuance<'i> {
    record: &'i AccessRecord,
    grant_type: &'i str,
}

impl Issuance<'_> {
    /// Returns `client_id`.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.record.client_id
    }

    /// Returns the `grant_type` of the request.
    #[must_use]
    pub fn grant_type(&self) -> &str {
        self.grant_type
    }

    /// Returns `sub`: the client itself, or a user.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.record.subject
    }

    /// Returns `scope`: names separated by spaces; may be empty.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.record.scope
    }

    /// Returns `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.record.audience
    }

    /// Returns `iat`.
    #[must_use]
    pub fn issued_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.record.issued_at)
    }
}

/// Makes the application's own parameters of a response.
pub(crate) type ExtraParameters = Box<dyn Fn(&Issuance<'_>) -> Result<Value, serde_json::Error> + Send + Sync>;

/// The claims of a JWT (RFC 9068 §2.2).
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

/// The response (RFC 6749 §5.1). It contains `scope` whenever the token has scopes, so also if §3.3 requires it.
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
    extra: Map<String, Value>,
}

impl ServerState {
    pub(crate) async fn token(&self, request: &ClientRequest) -> Result<Response<ResponseBody>, TokenError> {
        let ClientRequest { client, parameters } = request;
        let missing = || TokenError::new(TokenErrorKind::InvalidRequest, "The grant_type is missing");
        let grant_type = parameters.get("grant_type")?.ok_or_else(missing)?;
        let offered = self.grants.iter().find(|grant| grant.grant_type() == grant_type);
        let unsupported = || TokenError::new(TokenErrorKind::UnsupportedGrantType, "The grant type is not supported");
        let grant = offered.ok_or_else(unsupported)?;
        if !client.may_use(grant_type) {
            let description = "The client is not registered for this grant type";
            return Err(TokenError::new(TokenErrorKind::UnauthorizedClient, description));
        }
        let granted = grant.decide(&TokenRequest::new(client, parameters, self)).await?;
        self.issue(client, granted, grant_type).await
    }

    async fn issue(
        &self,
        client: &Client,
        granted: Granted,
        grant_type: &str,
    ) -> Result<Response<ResponseBody>, TokenError> {
        let (time, now) = (self.services.now(), self.services.unix_seconds());
        let lifetime = client.lifetime.unwrap_or(self.lifetime).as_secs();
        let Granted { subject, scope: granted, audience, family, refresh } = granted;
        let scope = client.scope_at(&audience, &granted);
        if scope.is_empty() && !granted.is_empty() {
            let description = "No granted scope belongs to the requested resource";
            return Err(TokenError::new(TokenErrorKind::InvalidScope, description));
        }
        // No token outlives the user's approval.
        let family_end = family.as_ref().map_or(u64::MAX, |family| family.expires_at);
        let record = AccessRecord {
            id: random_text().map_err(TokenError::unavailable)?,
            auth_time: family.as_ref().and_then(|family| family.auth_time),
            family: family.map(|family| family.id),
            client_id: client.id().to_owned(),
            credential: client.credential_generation().to_string(),
            subject,
            scope,
            audience,
            issued_at: now,
            expires_at: family_end.min(now + lifetime),
        };
        let token = match client.format(&record.audience) {
            TokenFormat::Opaque => random_text().map_err(TokenError::unavailable)?,
            TokenFormat::Jwt => self.signer.sign(&self.claims(&record), time)?,
        };
        // Store before responding, so that every token a client holds is known.
        let access = NewAccess { hash: TokenHash::of(&token), record };
        match self.services.store.issue(&access, refresh.new_token(), client.max_active_tokens, now).await? {
            Issued::Stored => {}
            Issued::FamilyRevoked => {
                return Err(TokenError::new(TokenErrorKind::InvalidGrant, "The grant was revoked"));
            }
        }
        let record = &access.record;
        let extra = self.extra_parameters(&Issuance { record, grant_type })?;
        Ok(json(
            StatusCode::OK,
            &TokenResponse {
                access_token: &token,
                token_type: "Bearer",
                expires_in: record.expires_at.saturating_sub(now),
                scope: &record.scope,
                refresh_token: refresh.text(),
                extra,
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

    fn extra_parameters(&self, issuance: &Issuance<'_>) -> Result<Map<String, Value>, TokenError> {
        let Some(make) = &self.extra_parameters else { return Ok(Map::new()) };
        match make(issuance).map_err(TokenError::unavailable)? {
            Value::Object(mut parameters) => {
                // A `null` is an absent value of the application's type.
                parameters.retain(|name, value| !DEFINED.contains(&name.as_str()) && !value.is_null());
                Ok(parameters)
            }
            _ => Ok(Map::new()),
        }
    }
}

/// Parameters that specifications define. The application can't set them.
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
