//! The clients of issuers.
//!
//! *In*: records of clients. *Out*: those that are stored now.
//!
//! The clients of an issuer are in parts, each of which is on one node of a cluster. A part has the records and their order, so
//! that each step on a client is atomic. These keys never expire.

use super::{
    super::{
        ClientSaved, ClientStore, FindClient, ListClients, Record, RemoveClient, SaveClient, StoreError, Timestamp,
    },
    RedisStore,
    keys::{EntryKind, PARTS, Tag, client_part},
    record,
    script::{self, Limit, LuaScript, Reply, ScriptCall},
    unreadable,
};
use crate::token_endpoint::client::secret::TokenHash;

impl ClientStore for RedisStore {
    async fn find_client(&self, request: &FindClient) -> Result<Option<Record>, StoreError> {
        let tag = Tag::clients(&request.issuer, client_part(&request.client));
        let call = self.call(&script::FIND_CLIENT, tag, NO_TIME, Limit::Read).key(EntryKind::Clients);
        match self.run(call.arg(request.client.as_bytes())).await?.parts().as_slice() {
            [b"found", text] => Ok(Some(record(text)?)),
            [b"none"] => Ok(None),
            _ => Err(unreadable()),
        }
    }

    async fn save_client(&self, request: &SaveClient) -> Result<ClientSaved, StoreError> {
        let SaveClient { issuer, client, record, expected, deadline } = request;
        let call = self.client_call(&script::SAVE_CLIENT, issuer, client_part(client), Limit::Write(*deadline));
        let call = call.arg(client.as_bytes()).arg(record.as_str());
        saved(&self.run(with_expected(call, expected.as_ref())).await?)
    }

    async fn remove_client(&self, request: &RemoveClient) -> Result<ClientSaved, StoreError> {
        let RemoveClient { issuer, client, expected, deadline } = request;
        let call = self.client_call(&script::REMOVE_CLIENT, issuer, client_part(client), Limit::Write(*deadline));
        saved(&self.run(with_expected(call.arg(client.as_bytes()), expected.as_ref())).await?)
    }

    async fn list_clients(&self, request: &ListClients) -> Result<Vec<Record>, StoreError> {
        let ListClients { issuer, after, limit } = request;
        let limit = (*limit).max(1);
        let mut found: Vec<Record> = Vec::new();
        for part in after.as_ref().map_or(0, client_part)..PARTS {
            let missing = limit.saturating_sub(found.len());
            if missing == 0 {
                break;
            }
            let call = self.client_call(&script::LIST_CLIENTS, issuer, part, Limit::Read);
            let call = call.arg(after.as_ref().map_or(&[][..], |after| after.as_bytes()));
            let reply = self.run(call.number(u64::try_from(missing).unwrap_or(u64::MAX))).await?;
            for text in reply.values() {
                found.push(record(text)?);
            }
        }
        Ok(found)
    }
}

impl RedisStore {
    /// A call with the two keys of a part.
    fn client_call(&self, script: &'static LuaScript, issuer: &TokenHash, part: u8, limit: Limit) -> ScriptCall {
        let call = self.call(script, Tag::clients(issuer, part), NO_TIME, limit);
        call.key(EntryKind::Clients).key(EntryKind::ClientOrder)
    }
}

fn with_expected(call: ScriptCall, expected: Option<&Record>) -> ScriptCall {
    call.number(u8::from(expected.is_some())).arg(expected.map_or("", Record::as_str))
}

fn saved(reply: &Reply) -> Result<ClientSaved, StoreError> {
    match reply.parts().as_slice() {
        [b"done"] => Ok(ClientSaved::Done),
        [b"conflict"] => Ok(ClientSaved::Conflict),
        [b"late"] => Ok(ClientSaved::Late),
        _ => Err(unreadable()),
    }
}

/// No script for clients reads the time.
const NO_TIME: Timestamp = Timestamp::from_secs(0);
