//! Token introspection (RFC 7662).
//!
//! *In*: a token's text, and a client that may introspect. *Out*: the token's facts, or `{"active":false}` and nothing else:
//! for a text that is not a token, for a token that expired or was revoked, and for one that the client may not see (§2.2).
//!
//! A refresh token is reported as inactive: an API must not accept it as an access token. `token_type_hint` is not read
//! (§2.1).

use http::{Response, StatusCode};
use serde::Serialize;

use super::{ClientRequest, ServerState};
use crate::token_endpoint::{
    client::secret::TokenHash,
    http::{
        error::{TokenError, TokenErrorKind},
        response::{ResponseBody, json},
    },
    store::AccessRecord,
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
    iss: &'t str,
    sub: &'t str,
    aud: &'t str,
    client_id: &'t str,
    token_type: &'static str,
    iat: u64,
    exp: u64,
    jti: &'t str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
}

impl ServerState {
    pub(crate) async fn introspect(&self, request: &ClientRequest) -> Result<Response<ResponseBody>, TokenError> {
        let ClientRequest { client, parameters } = request;
        // §2.1: an unauthenticated client could search for tokens (§4).
        if client.is_public() {
            let description = "A public client may not introspect tokens";
            return Err(TokenError::new(TokenErrorKind::InvalidClient, description));
        }
        let token = parameters.required("token")?;
        let Some(record) = self.active_token(token).await? else { return Ok(inactive()) };
        if !client.may_introspect(&record.client_id, &record.audience) {
            return Ok(inactive());
        }
        Ok(json(
            StatusCode::OK,
            &ActiveToken {
                active: true,
                iss: &self.issuer,
                sub: &record.subject,
                aud: &record.audience,
                client_id: &record.client_id,
                token_type: "Bearer",
                iat: record.issued_at,
                exp: record.expires_at,
                jti: &record.id,
                scope: &record.scope,
                auth_time: record.auth_time,
            },
        ))
    }

    /// Returns the access token with this text, if it is active and its client still has the secret that it was issued
    /// under.
    ///
    /// A JWT is looked up by its hash, as any other text, so a forged or re-encoded JWT isn't found.
    async fn active_token(&self, token: &str) -> Result<Option<AccessRecord>, TokenError> {
        let now = self.services.unix_seconds();
        let Some(record) = self.services.store.find_access(&TokenHash::of(token), now).await? else { return Ok(None) };
        let owner = self.services.find_client(&record.client_id).await?;
        Ok(owner.is_some_and(|owner| owner.credential_generation().to_string() == record.credential).then_some(record))
    }
}

fn inactive() -> Response<ResponseBody> {
    json(StatusCode::OK, &InactiveToken { active: false })
}
