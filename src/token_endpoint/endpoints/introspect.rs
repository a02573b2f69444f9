//! Is this token alive? (RFC 7662)
//!
//! *In*: a text, and a client that may ask. *Out*: what the token says, or `{"active":false}` and nothing else: for a text
//! that is no token, for a token that is dead, and for one that is none of the client's business (§2.2).
//!
//! A refresh token is not active: it is no access token, and an API that takes one for an access token must not be told so.

use http::{Response, StatusCode};
use serde::Serialize;

use crate::{
    clock::unix_seconds,
    token_endpoint::{
        ServerState,
        client::{Client, secret::TokenHash},
        http::{
            error::{TokenError, TokenErrorKind},
            request::Parameters,
            response::{ResponseBody, json},
        },
        store::AccessRecord,
    },
};

#[derive(Serialize)]
struct Inactive {
    active: bool,
}

/// §2.2.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the RFC's name")]
struct Active<'t> {
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
    pub(crate) async fn introspect(
        &self,
        client: &Client,
        parameters: &Parameters,
    ) -> Result<Response<ResponseBody>, TokenError> {
        // §2.1: who can't prove who it is could try out texts (§4).
        if client.is_public() {
            return Err(TokenError::new(TokenErrorKind::InvalidClient, "A public client may not introspect"));
        }
        let token = parameters.required("token")?;
        let Some(record) = self.living(token).await? else { return Ok(inactive()) };
        if !client.may_introspect(&record.client_id, &record.audience) {
            return Ok(inactive());
        }
        Ok(json(
            StatusCode::OK,
            &Active {
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

    /// The access token with this text, if it is alive, and its client still has the secret that it had.
    ///
    /// A JWT is looked up like any other text: one that was bent or forged has another hash than what was issued.
    async fn living(&self, token: &str) -> Result<Option<AccessRecord>, TokenError> {
        let now = unix_seconds(&*self.authenticator.clock);
        let Some(record) = self.authenticator.store.find_access(&TokenHash::of(token), now).await? else {
            return Ok(None);
        };
        let owner = self.authenticator.find(&record.client_id).await?;
        Ok(owner.is_some_and(|owner| owner.credential() == record.credential).then_some(record))
    }
}

fn inactive() -> Response<ResponseBody> {
    json(StatusCode::OK, &Inactive { active: false })
}
