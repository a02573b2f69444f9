//! What belongs to several sessions: the lists by subject and client, and those of owners with a limit.
//!
//! *In*: a session or a token that was added or has ended. *Out*: its places in the lists, and the ends of what is beyond a limit.
//!
//! The lists have other tags than the sessions, so they are written in further steps.

use super::{
    super::{
        ListSessions, ListedSession, NewAccess, Partition, SessionId, SessionIndex, StoreError, Timestamp, Written,
    },
    RedisStore,
    keys::{EntryKind, PARTS, Tag, part},
    record,
    script::{self, Limit, Reply, ScriptCall},
    time, unreadable, written,
};
use crate::token_endpoint::client::secret::TokenHash;

impl RedisStore {
    /// Adds a session to the lists of its subject and client.
    pub(super) async fn add_to_indexes(
        &self,
        session: &SessionId,
        client: &TokenHash,
        subject: &TokenHash,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let add = |index| async move {
            let call = self.call(&script::ADD_TO_INDEX, Tag::index(index, part(session)), now, Limit::FollowUp);
            let call = call.key(EntryKind::Ids).key(EntryKind::IdsExpiry).arg(session.as_bytes()).time(expires_at);
            self.run(call).await.map(drop)
        };
        tokio::try_join!(add(SessionIndex::Client(*client)), add(SessionIndex::Subject(*subject))).map(drop)
    }

    /// Removes a session that has ended from all lists: `ended` is what the script has returned.
    pub(super) async fn forget(&self, session: &SessionId, ended: &[&[u8]], now: Timestamp) -> Result<(), StoreError> {
        let [client, subject, owner, tokens @ ..] = ended else { return Err(unreadable()) };
        let remove = |hash: Option<TokenHash>, of: fn(TokenHash) -> SessionIndex| async move {
            let Some(hash) = hash else { return Ok(()) };
            let tag = Tag::index(of(hash), part(session));
            let call = self.call(&script::UNLIST, tag, now, Limit::FollowUp);
            self.run(call.key(EntryKind::Ids).key(EntryKind::IdsExpiry).arg(session.as_bytes())).await.map(drop)
        };
        let lists = async {
            let Some(owner) = hash(owner) else { return Ok(()) };
            let tokens = tokens.iter().map(|token| [token, session.as_bytes().as_slice()].concat());
            self.unlist(&owner, tokens.chain([session.as_bytes().to_vec()]).collect(), now).await
        };
        let (client, subject) = (hash(client), hash(subject));
        tokio::try_join!(remove(client, SessionIndex::Client), remove(subject, SessionIndex::Subject), lists).map(drop)
    }

    /// Removes members from the lists of an owner.
    async fn unlist(&self, owner: &TokenHash, members: Vec<Vec<u8>>, now: Timestamp) -> Result<(), StoreError> {
        let call = self.call(&script::UNLIST, Tag::owner(owner), now, Limit::FollowUp);
        let call = call.key(EntryKind::AccessOrder).key(EntryKind::AccessExpiry);
        let call = call.key(EntryKind::SessionOrder).key(EntryKind::SessionExpiry);
        self.run(members.into_iter().fold(call, ScriptCall::arg)).await.map(drop)
    }

    /// Adds an access token of a session to the list of its owner, and revokes the oldest ones beyond the limit.
    pub(super) async fn limit_tokens(
        &self,
        session: &SessionId,
        owner: &TokenHash,
        access: &NewAccess,
        limit: Option<u32>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(limit) = limit else { return Ok(()) };
        let call = self.call(&script::ENLIST, Tag::owner(owner), now, Limit::FollowUp);
        let call = call.key(EntryKind::Access).key(EntryKind::AccessOrder).key(EntryKind::AccessExpiry);
        let member = [access.hash.as_bytes().as_slice(), session.as_bytes()].concat();
        let reply = self.run(call.arg(member).time(access.expires_at).number(limit.max(1))).await?;
        self.revoke_beyond(owner, &reply.values().collect::<Vec<_>>(), now).await
    }

    /// Revokes the access tokens of sessions that are beyond the limit of their owner.
    pub(super) async fn revoke_beyond(
        &self,
        owner: &TokenHash,
        beyond: &[&[u8]],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for member in beyond {
            let token = member.get(..32).and_then(hash).ok_or_else(unreadable)?;
            let session = member.get(32..).and_then(id).ok_or_else(unreadable)?;
            self.revoke_one(&session.partition(), &token, now, Limit::FollowUp).await?;
        }
        if beyond.is_empty() {
            return Ok(());
        }
        // Also those that were gone already.
        self.unlist(owner, beyond.iter().map(|member| member.to_vec()).collect(), now).await
    }

    /// Adds a session to the list of its owner, and ends the oldest ones beyond the limit.
    pub(super) async fn limit_sessions(
        &self,
        session: &SessionId,
        owner: &TokenHash,
        expires_at: Timestamp,
        limit: Option<u32>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(limit) = limit else { return Ok(()) };
        let call = self.call(&script::ENLIST, Tag::owner(owner), now, Limit::FollowUp);
        let call = call.key(EntryKind::Access).key(EntryKind::SessionOrder).key(EntryKind::SessionExpiry);
        let reply = self.run(call.arg(session.as_bytes()).time(expires_at).number(limit.max(1))).await?;
        let beyond: Vec<_> = reply.values().map(<[u8]>::to_vec).collect();
        for member in &beyond {
            self.end_one(&id(member).ok_or_else(unreadable)?, now, Limit::FollowUp).await?;
        }
        // Also those that were gone already.
        if beyond.is_empty() { Ok(()) } else { self.unlist(owner, beyond, now).await }
    }

    pub(super) async fn revoke_one(
        &self,
        partition: &Partition,
        token: &TokenHash,
        now: Timestamp,
        limit: Limit,
    ) -> Result<Written, StoreError> {
        let call = self.call(&script::REVOKE_ACCESS, Tag::partition(partition), now, limit);
        let call = call
            .key(EntryKind::Access)
            .key(EntryKind::AccessOrder)
            .key(EntryKind::AccessExpiry)
            .key(EntryKind::Session);
        let reply = self.run(call.arg(token.as_bytes())).await?;
        if let [b"done", owner] = reply.parts().as_slice()
            && let Some(owner) = hash(owner)
        {
            let member = [token.as_bytes().as_slice(), partition.as_bytes()].concat();
            self.unlist(&owner, vec![member], now).await?;
        }
        written(&reply)
    }

    pub(super) async fn end_one(
        &self,
        session: &SessionId,
        now: Timestamp,
        limit: Limit,
    ) -> Result<Written, StoreError> {
        let reply = self.run(self.session_call(&script::END_SESSION, session, now, limit)).await?;
        if let [b"done", ended @ ..] = reply.parts().as_slice() {
            self.forget(session, ended, now).await?;
        }
        written(&reply)
    }

    /// Reads a list: the ids of its parts one after another, and the rows of some ids at a time. Ids without a row stay in the
    /// list until they expire, because their row may be about to be written.
    pub(super) async fn read_list(&self, request: &ListSessions) -> Result<Vec<ListedSession>, StoreError> {
        let parts = if let SessionIndex::Client(_) = request.index { PARTS } else { 1 };
        let limit = request.limit.max(1);
        let mut after = request.after;
        let mut number = after.as_ref().map_or(0, part).min(parts - 1);
        let mut found = Vec::new();
        while found.len() < limit && number < parts {
            let ids = self.read_ids(request, number, after).await?;
            if ids.len() < usize::from(READ_AT_A_TIME) {
                number += 1;
            }
            after = ids.last().copied().or(after);
            found.extend(self.read_rows(ids, request.now).await?);
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn read_ids(
        &self,
        request: &ListSessions,
        number: u8,
        after: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let call = self.call(&script::READ_INDEX, Tag::index(request.index, number), request.now, Limit::Read);
        let after = after.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let reply = self.run(call.key(EntryKind::Ids).arg(after).number(READ_AT_A_TIME)).await?;
        reply.values().map(|bytes| id(bytes).ok_or_else(unreadable)).collect()
    }

    async fn read_rows(&self, ids: Vec<SessionId>, now: Timestamp) -> Result<Vec<ListedSession>, StoreError> {
        let mut rows = tokio::task::JoinSet::new();
        for (place, id) in ids.into_iter().enumerate() {
            let store = self.clone();
            rows.spawn(async move { (place, store.read_row(id, now).await) });
        }
        let mut found = Vec::new();
        while let Some(row) = rows.join_next().await {
            let (place, session) = row.map_err(|_| StoreError::new("a read of a session did not end"))?;
            found.extend(session?.map(|session| (place, session)));
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(found.into_iter().map(|(_, session)| session).collect())
    }

    async fn read_row(&self, id: SessionId, now: Timestamp) -> Result<Option<ListedSession>, StoreError> {
        let call = self.call(&script::READ_SESSION, Tag::session(&id), now, Limit::Read);
        let reply: Reply = self.run(call.key(EntryKind::Session)).await?;
        match reply.parts().as_slice() {
            [state @ (b"redeemed" | b"pending"), text, used_at] => Ok(Some(ListedSession {
                id,
                record: record(text)?,
                is_redeemed: *state == b"redeemed",
                last_used_at: time(used_at)?,
            })),
            [b"none"] => Ok(None),
            _ => Err(unreadable()),
        }
    }
}

fn hash(bytes: &[u8]) -> Option<TokenHash> {
    <[u8; 32]>::try_from(bytes).ok().map(TokenHash::from)
}

fn id(bytes: &[u8]) -> Option<SessionId> {
    <[u8; 16]>::try_from(bytes).ok().map(SessionId::from)
}

/// Number of ids that are read at a time, and of rows.
const READ_AT_A_TIME: u8 = 64;
