//! Token revocation (RFC 7009).
//!
//! *In*: a token's text, and the client that it was issued to. *Out*: 200 after the token was revoked, and also for an
//! unknown or invalid token (§2.2). `token_type_hint` is not read (§2.1).

use http::{Response, StatusCode};

use super::{ClientRequest, ServerState};
use crate::token_endpoint::{
    client::secret::TokenHash,
    http::{
        error::{TokenError, TokenErrorKind},
        response::{ResponseBody, json},
    },
    store::Revoked,
};

impl ServerState {
    pub(crate) async fn revoke(&self, request: &ClientRequest) -> Result<Response<ResponseBody>, TokenError> {
        let ClientRequest { client, parameters } = request;
        let token = TokenHash::of(parameters.required("token")?);
        let now = self.services.unix_seconds();
        match self.services.store.revoke(&token, client.id(), now).await? {
            // Some clients expect JSON, although the specification ignores the body.
            Revoked::Gone => Ok(json(StatusCode::OK, &serde_json::Map::new())),
            // §2.1: the request is refused, and nothing is revoked.
            Revoked::NotYours => {
                Err(TokenError::new(TokenErrorKind::InvalidGrant, "The token was issued to another client"))
            }
        }
    }
}
