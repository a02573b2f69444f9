//! A client gives a token back (RFC 7009).
//!
//! *In*: a text, and the client that it was issued to. *Out*: 200, also for a text that is no token or not any more (§2.2);
//! by then it is revoked. `token_type_hint` is not needed and not looked at (§2.1).

use http::{Response, StatusCode};

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
        store::Revoked,
    },
};

impl ServerState {
    pub(crate) async fn revoke(
        &self,
        client: &Client,
        parameters: &Parameters,
    ) -> Result<Response<ResponseBody>, TokenError> {
        let token = parameters.required("token")?;
        let now = unix_seconds(&*self.authenticator.clock);
        match self.authenticator.store.revoke(&TokenHash::of(token), client.id(), now).await? {
            // There are clients that want JSON.
            Revoked::Gone => Ok(json(StatusCode::OK, &serde_json::Map::new())),
            // §2.1: the client is told, and nothing is revoked.
            Revoked::NotYours => {
                Err(TokenError::new(TokenErrorKind::InvalidGrant, "The token was issued to another client"))
            }
        }
    }
}
