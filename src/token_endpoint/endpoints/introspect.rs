//! Token introspection (RFC 7662).
//!
//! *In*: a token's text, and a client that may introspect. *Out*: the token's facts, or `{"active":false}` and nothing else:
//! for a text that is not a token, for a token that expired or was revoked, and for one that the client may not see (§2.2).
//!
//! A refresh token is reported as inactive: an API must not accept it as an access token. `token_type_hint` is not read
//! (§2.1).

use std::{fmt, time::SystemTime};

use http::{Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ClientRequest, ServerState,
    token_claims::{AccessTokenClaims, ScopeClaim, token_type},
};
use crate::{
    confirmation::Confirmation,
    token_endpoint::{
        client::registry::LookupPurpose,
        http::{
            error::{TokenError, TokenErrorKind},
            response::{ResponseBody, json},
        },
        record::{self, AccessRecord, OwnerRecord, SessionRecord},
        store::{FindAccess, Timestamp},
    },
};

/// The response for every other text.
#[derive(Serialize)]
struct InactiveToken {
    active: bool,
}

/// The response for an active token (§2.2).
#[derive(Serialize)]
struct ActiveToken<'t> {
    active: bool,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'t str>,
    #[serde(flatten)]
    claims: AccessTokenClaims<'t>,
}

/// An access token that is active.
pub(crate) struct FoundToken {
    pub(crate) record: AccessRecord,
    pub(crate) owner: OwnerRecord,
    auth_time: Option<u64>,
    acr: Option<String>,
}

/// An active access token of this endpoint, for a [`Grant`](crate::token_endpoint::Grant) that gets it in a parameter.
pub struct OwnToken {
    found: FoundToken,
}

impl OwnToken {
    /// Returns `sub`: the client itself, or a user.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.found.owner.subject
    }

    /// Returns the id of the client that the token was issued to.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.found.owner.client_id
    }

    /// Returns `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.found.record.audience
    }

    /// Returns the scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.found.record.scope.split(' ').filter(|name| !name.is_empty())
    }

    /// Returns `exp`.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        Timestamp::from_secs(self.found.record.expires_at).into()
    }

    /// Returns the key that the token is bound to: `cnf` (RFC 9449 §6). `None` for a bearer token. The grant decides whether the
    /// sender of the request must have the same key, which
    /// [`TokenRequest::confirmation`](crate::token_endpoint::TokenRequest::confirmation) returns.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.found.record.cnf.as_ref()
    }

    /// Returns a claim that the application added, such as `act`. `None` if it is absent or is not a `T`.
    #[must_use]
    pub fn claim<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let value = self.found.record.content.as_ref()?.claims.get(name)?;
        T::deserialize(value).ok()
    }
}

impl From<FoundToken> for OwnToken {
    fn from(found: FoundToken) -> Self {
        Self { found }
    }
}

impl fmt::Debug for OwnToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnToken").field("client_id", &self.client_id()).finish_non_exhaustive()
    }
}

impl FoundToken {
    pub(crate) fn claims<'t>(&'t self, issuer: &'t str) -> AccessTokenClaims<'t> {
        let Self { record, owner, auth_time, acr } = self;
        AccessTokenClaims {
            iss: issuer,
            sub: &owner.subject,
            aud: &record.audience,
            client_id: &owner.client_id,
            iat: record.issued_at,
            exp: record.expires_at,
            jti: &record.id,
            scope: ScopeClaim::new(&record.scope, record.content.as_ref()),
            auth_time: *auth_time,
            acr: acr.as_deref(),
            cnf: record.cnf,
            own: record.content.as_ref().map(|content| &content.claims),
        }
    }
}

impl ServerState {
    pub(crate) async fn introspect(&self, request: &ClientRequest) -> Result<Response<ResponseBody>, TokenError> {
        let ClientRequest { client, parameters, assertion } = request;
        // §2.1: an unauthenticated client could search for tokens (§4).
        if client.is_public() {
            let description = "A public client may not introspect tokens";
            return Err(TokenError::new(TokenErrorKind::InvalidClient, description));
        }
        let found = self.active_token(parameters.required("token")?).await?;
        // After the token was found, so that the client can repeat a request that failed with 503.
        self.use_up(assertion).await?;
        let found = found.filter(|found| client.may_introspect(&found.owner.client_id, &found.record.audience));
        let Some(found) = &found else { return Ok(inactive()) };
        let username = found.record.content.as_ref().and_then(|content| content.username.as_deref());
        let claims = found.claims(&self.issuer);
        let token_type = token_type(found.record.cnf.as_ref());
        Ok(json(StatusCode::OK, &ActiveToken { active: true, token_type, username, claims }))
    }

    /// Returns the access token with this text, if it is active and what was issued to its client is still valid.
    ///
    /// A JWT is looked up by its hash, as any other text, so a forged or re-encoded JWT isn't found.
    pub(crate) async fn active_token(&self, token: &str) -> Result<Option<FoundToken>, TokenError> {
        let services = &self.services;
        let Some((partition, token)) = services.texts.read_access(token) else { return Ok(None) };
        let find = FindAccess { partition, token, now: services.timestamp() };
        let Some(found) = services.store.find_access(&find).await? else { return Ok(None) };
        let session: Option<SessionRecord> = match found.session.as_ref().map(record::read) {
            Some(None) => return Ok(None),
            Some(session) => session,
            None => None,
        };
        let Some(record) = record::read::<AccessRecord>(&found.record) else { return Ok(None) };
        let (auth_time, acr) =
            session.as_ref().map_or((None, None), |session| (session.auth_time, session.acr.clone()));
        let owner = session.map(|session| session.owner).or_else(|| record.owner.clone());
        let Some(owner) = owner else { return Ok(None) };
        let client = services.find_client(&owner.client_id, LookupPurpose::Use).await?;
        let is_valid = client.is_some_and(|client| owner.belongs_to(&client));
        Ok(is_valid.then_some(FoundToken { record, owner, auth_time, acr }))
    }
}

fn inactive() -> Response<ResponseBody> {
    json(StatusCode::OK, &InactiveToken { active: false })
}
