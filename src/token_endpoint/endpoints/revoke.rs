//! Token revocation (RFC 7009).
//!
//! *In*: a token's text, and the client that it was issued to. *Out*: 200 after the token was revoked, and also for an
//! unknown or invalid token (§2.2), and for a token of another client, which stays as it is: a client can't find out which
//! tokens exist. `token_type_hint` is not read (§2.1).

use http::{Response, StatusCode};

use super::{ClientRequest, ServerState};
use crate::token_endpoint::{
    events::{Event, EventKind},
    http::{
        error::TokenError,
        response::{ResponseBody, json},
    },
    record::{self, OwnerRecord},
    store::{EndSession, FindAccess, FindSession, Partition, RevokeAccess, SessionId, StoreError, Written},
};

/// What a text in a revocation request is.
enum Revocable {
    /// A refresh token, with which its session ends.
    Session(SessionId, OwnerRecord),
    Access(Partition),
}

impl ServerState {
    pub(crate) async fn revoke(&self, request: &ClientRequest) -> Result<Response<ResponseBody>, TokenError> {
        let found = self.find_revocable(request).await?;
        self.use_up(&request.assertion).await?;
        if let Some(found) = found {
            if self.revoke_found(request, &found).await? == Written::Late {
                return Err(TokenError::late());
            }
            self.report_revoked(request, &found);
        }
        // Some clients expect JSON, although the specification ignores the body.
        Ok(json(StatusCode::OK, &serde_json::Map::new()))
    }

    /// Returns the token, if it is active and was issued to the client.
    async fn find_revocable(&self, request: &ClientRequest) -> Result<Option<Revocable>, TokenError> {
        let ClientRequest { client, parameters, .. } = request;
        let (text, services) = (parameters.required("token")?, &self.services);
        // Any refresh token of a session ends it, also one that was used.
        if let Some(refresh) = services.texts.read_refresh(text) {
            let session = refresh.session;
            let find = FindSession { session, presented: refresh.hash, now: services.timestamp() };
            if let Some(found) = services.store.find_session(&find).await? {
                let owner = record::read_owner(&found.record).filter(|owner| owner.client_id == client.id());
                return Ok(owner.map(|owner| Revocable::Session(session, owner)));
            }
        }
        let Some((partition, token)) = services.texts.read_access(text) else { return Ok(None) };
        let find = FindAccess { partition, token, now: services.timestamp() };
        let Some(found) = services.store.find_access(&find).await? else { return Ok(None) };
        let owner = record::read_owner(found.session.as_ref().unwrap_or(&found.record));
        // What was issued before a leaked secret was replaced is inactive already.
        let is_its_own = owner.is_some_and(|owner| owner.belongs_to(client));
        Ok(is_its_own.then_some(Revocable::Access(partition)))
    }

    async fn revoke_found(&self, request: &ClientRequest, found: &Revocable) -> Result<Written, StoreError> {
        let services = &self.services;
        let (now, deadline) = (services.timestamp(), services.deadline());
        match found {
            Revocable::Session(session, _) => {
                let end = EndSession { session: *session, now, deadline };
                services.store.end_session(&end).await
            }
            Revocable::Access(partition) => {
                let text = request.parameters.required("token").unwrap_or_default();
                let revoke =
                    RevokeAccess { partition: *partition, token: services.texts.access_hash(text), now, deadline };
                services.store.revoke_access(&revoke).await
            }
        }
    }

    fn report_revoked(&self, request: &ClientRequest, found: &Revocable) {
        match found {
            Revocable::Session(session, owner) => self.report(EventKind::SessionEnded, owner, *session),
            Revocable::Access(_) => {
                self.services.emit(&Event { client_id: Some(request.client.id()), ..Event::new(EventKind::Revoked) });
            }
        }
    }
}
