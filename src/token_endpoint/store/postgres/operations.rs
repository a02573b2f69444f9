//! The operations of the store.
//!
//! *In*: requests. *Out*: one call for each, and the meaning of its rows.

use std::time::Instant;

use sqlx::postgres::PgRow;

use super::{
    PostgresStore,
    call::FunctionCall,
    connections::UNEXPECTED,
    queues::Owner,
    rows::{bytes, column, record, session_id, text, timestamp},
};
use crate::token_endpoint::store::{
    AddCode, EndSession, FindAccess, FindCode, FindSession, FoundAccess, FoundCode, FoundSession, InsertSeen, Issue,
    Issued, KeyPublished, ListKeys, ListSessions, ListedSession, NewAccess, Presented, PublishKey, PublishedKey,
    Record, Redeem, Redeemed, Refresh, Refreshed, RevokeAccess, Seen, SessionId, SessionIndex, Store, StoreError,
    Timestamp, WithdrawKey, Written,
};

impl Store for PostgresStore {
    async fn add_code(&self, request: &AddCode) -> Result<Written, StoreError> {
        let call = FunctionCall::new("add_code")
            .bytes(request.session.as_bytes())
            .hash(request.code)
            .record(&request.record)
            .hash(request.client)
            .hash(request.subject)
            .time(request.expires_at)
            .time(request.now)
            .deadline();
        written(self.write(call, None, request.now, request.deadline).await?)
    }

    async fn find_code(&self, request: &FindCode) -> Result<Option<FoundCode>, StoreError> {
        let call =
            FunctionCall::new("find_code").bytes(request.session.as_bytes()).hash(request.code).time(request.now);
        let row = self.read(call, request.now).await?.into_iter().next();
        row.map(|row| Ok(FoundCode { record: record(&row, 0)?, is_used: column(&row, 1)? })).transpose()
    }

    async fn redeem(&self, request: &Redeem) -> Result<Redeemed, StoreError> {
        let call = FunctionCall::new("redeem")
            .bytes(request.session.as_bytes())
            .hash(request.code)
            .record(&request.record)
            .hash(request.client)
            .hash(request.subject)
            .hash(request.owner)
            .time(request.expires_at)
            .bytes_or_null(request.refresh.as_ref().map(|refresh| refresh.hash.as_bytes().as_slice()))
            .number_or_null(request.refresh.map(|refresh| refresh.idle_until.as_secs()))
            .access(&request.access)
            .limit(request.token_limit)
            .limit(request.session_limit)
            .seen(request.seen.as_ref())
            .time(request.now)
            .deadline();
        let counts = request.token_limit.is_some() || request.session_limit.is_some();
        let owner = if counts { *request.owner.as_bytes() } else { alone(request.session) };
        let Some(row) = self.write(call, Some(owner), request.now, request.deadline).await? else {
            return Ok(Redeemed::Late);
        };
        match column(&row, 0)? {
            "done" => Ok(Redeemed::Done),
            "replayed" => Ok(Redeemed::Replayed),
            "unknown" => Ok(Redeemed::Unknown),
            "seen" => Ok(Redeemed::Seen),
            "late" => Ok(Redeemed::Late),
            _ => Err(StoreError::new(UNEXPECTED)),
        }
    }

    async fn find_session(&self, request: &FindSession) -> Result<Option<FoundSession>, StoreError> {
        let call = FunctionCall::new("find_session")
            .bytes(request.session.as_bytes())
            .hash(request.presented)
            .time(request.now);
        let Some(row) = self.read(call, request.now).await?.into_iter().next() else { return Ok(None) };
        let presented = match column(&row, 1)? {
            "current" => Presented::Current,
            "last" => Presented::Last,
            _ => Presented::Other,
        };
        Ok(Some(FoundSession { record: record(&row, 0)?, presented, expires_at: timestamp(&row, 2)? }))
    }

    async fn refresh(&self, request: &Refresh) -> Result<Refreshed, StoreError> {
        let call = FunctionCall::new("refresh")
            .bytes(request.session.as_bytes())
            .hash(request.presented)
            .bytes_or_null(request.successor.as_ref().map(|successor| successor.hash.as_bytes().as_slice()))
            .bytes_or_null(request.successor.as_ref().map(|successor| successor.salt.as_slice()))
            .time(request.idle_until)
            .number(request.grace)
            .hash(request.owner)
            .access(&request.access)
            .limit(request.token_limit)
            .seen(request.seen.as_ref())
            .time(request.now)
            .deadline();
        let owner = if request.token_limit.is_some() { *request.owner.as_bytes() } else { alone(request.session) };
        let Some(row) = self.write(call, Some(owner), request.now, request.deadline).await? else {
            return Ok(Refreshed::Late);
        };
        match column(&row, 0)? {
            "done" => Ok(Refreshed::Done),
            "again" => Ok(Refreshed::Again { salt: bytes(&row, 1)? }),
            "reused" => Ok(Refreshed::Reused),
            "unknown" => Ok(Refreshed::Unknown),
            "seen" => Ok(Refreshed::Seen),
            "late" => Ok(Refreshed::Late),
            _ => Err(StoreError::new(UNEXPECTED)),
        }
    }

    async fn issue(&self, request: &Issue) -> Result<Issued, StoreError> {
        let call = FunctionCall::new("issue")
            .bytes(request.access.partition.as_bytes())
            .access(&request.access)
            .hash(request.owner)
            .limit(request.token_limit)
            .seen(request.seen.as_ref())
            .time(request.now)
            .deadline();
        let owner = request.token_limit.map(|_| *request.owner.as_bytes());
        issued(self.write(call, owner, request.now, request.deadline).await?)
    }

    async fn find_access(&self, request: &FindAccess) -> Result<Option<FoundAccess>, StoreError> {
        let call =
            FunctionCall::new("find_access").bytes(request.partition.as_bytes()).hash(request.token).time(request.now);
        let Some(row) = self.read(call, request.now).await?.into_iter().next() else { return Ok(None) };
        let has_session = column::<Option<Vec<u8>>>(&row, 1)?.is_some();
        let session = if has_session { Some(record(&row, 1)?) } else { None };
        Ok(Some(FoundAccess { record: record(&row, 0)?, session }))
    }

    async fn revoke_access(&self, request: &RevokeAccess) -> Result<Written, StoreError> {
        let call =
            FunctionCall::new("revoke_access").bytes(request.partition.as_bytes()).hash(request.token).deadline();
        written(self.write(call, None, request.now, request.deadline).await?)
    }

    async fn end_session(&self, request: &EndSession) -> Result<Written, StoreError> {
        let call = FunctionCall::new("end_session").bytes(request.session.as_bytes()).deadline();
        written(self.write(call, Some(alone(request.session)), request.now, request.deadline).await?)
    }

    async fn list_sessions(&self, request: &ListSessions) -> Result<Vec<ListedSession>, StoreError> {
        let call = match request.index {
            SessionIndex::Subject(hash) => FunctionCall::new("list_of_subject").hash(hash),
            SessionIndex::Client(hash) => FunctionCall::new("list_of_client").hash(hash),
        };
        let after = request.after.as_ref().map_or_else(Default::default, |id| id.as_bytes().as_slice());
        let limit = u64::try_from(request.limit.max(1)).unwrap_or(u64::MAX);
        let rows = self.read(call.bytes(after).number(limit).time(request.now), request.now).await?;
        let listed = |row: &PgRow| {
            Ok(ListedSession {
                id: session_id(row, 0)?,
                record: record(row, 1)?,
                is_redeemed: column(row, 2)?,
                last_used_at: timestamp(row, 3)?,
            })
        };
        rows.iter().map(listed).collect()
    }

    async fn insert_seen(&self, request: &InsertSeen) -> Result<Issued, StoreError> {
        let Seen { key, expires_at, .. } = request.seen;
        let call = FunctionCall::new("insert_seen").hash(key).time(expires_at).time(request.now).deadline();
        issued(self.write(call, None, request.now, request.deadline).await?)
    }

    async fn publish_key(&self, request: &PublishKey) -> Result<KeyPublished, StoreError> {
        let call = FunctionCall::new("publish_key")
            .hash(request.issuer)
            .bytes(request.key_id.as_bytes())
            .bytes(request.jwk.as_bytes())
            .time(request.expires_at)
            .time(request.now)
            .deadline();
        let Some(row) = self.write(call, None, request.now, request.deadline).await? else {
            return Ok(KeyPublished::Late);
        };
        match column(&row, 0)? {
            "done" => Ok(KeyPublished::Done { since: timestamp(&row, 1)? }),
            "withdrawn" => Ok(KeyPublished::Withdrawn),
            "late" => Ok(KeyPublished::Late),
            _ => Err(StoreError::new(UNEXPECTED)),
        }
    }

    async fn withdraw_key(&self, request: &WithdrawKey) -> Result<Written, StoreError> {
        let call = FunctionCall::new("withdraw_key")
            .hash(request.issuer)
            .bytes(request.key_id.as_bytes())
            .time(request.expires_at)
            .time(request.now)
            .deadline();
        written(self.write(call, None, request.now, request.deadline).await?)
    }

    async fn list_keys(&self, request: &ListKeys) -> Result<Vec<PublishedKey>, StoreError> {
        let rows =
            self.read(FunctionCall::new("list_keys").hash(request.issuer).time(request.now), request.now).await?;
        let listed =
            |row: &PgRow| Ok(PublishedKey { key_id: text(row, 0)?, jwk: text(row, 1)?, since: timestamp(row, 2)? });
        rows.iter().map(listed).collect()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.0.row(FunctionCall::new("check_writing")).await.map(drop)
    }
}

impl PostgresStore {
    async fn read(&self, call: FunctionCall, now: Timestamp) -> Result<Vec<PgRow>, StoreError> {
        self.0.cleaning.saw(now.as_secs());
        self.0.connections.read(call).await
    }

    async fn write(
        &self,
        call: FunctionCall,
        owner: Option<Owner>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Option<PgRow>, StoreError> {
        self.0.cleaning.saw(now.as_secs());
        self.0.connections.write(call, owner, deadline).await
    }
}

impl FunctionCall {
    fn record(self, record: &Record) -> Self {
        self.bytes(record.as_str().as_bytes())
    }

    fn time(self, time: Timestamp) -> Self {
        self.number(time.as_secs())
    }

    /// Adds a limit. One of 0 counts as 1.
    fn limit(self, limit: Option<u32>) -> Self {
        self.number_or_null(limit.map(|limit| u64::from(limit.max(1))))
    }

    fn access(self, access: &NewAccess) -> Self {
        self.hash(access.hash).record(&access.record).time(access.expires_at)
    }

    fn seen(self, seen: Option<&Seen>) -> Self {
        self.bytes_or_null(seen.map(|seen| seen.key.as_bytes().as_slice()))
            .number_or_null(seen.map(|seen| seen.expires_at.as_secs()))
    }
}

/// Returns the owner of requests that lock one session only.
fn alone(session: SessionId) -> Owner {
    let mut owner = Owner::default();
    owner.iter_mut().zip(session.as_bytes()).for_each(|(to, from)| *to = *from);
    owner
}

fn written(row: Option<PgRow>) -> Result<Written, StoreError> {
    let Some(row) = row else { return Ok(Written::Late) };
    match column(&row, 0)? {
        "done" => Ok(Written::Done),
        "late" => Ok(Written::Late),
        _ => Err(StoreError::new(UNEXPECTED)),
    }
}

fn issued(row: Option<PgRow>) -> Result<Issued, StoreError> {
    let Some(row) = row else { return Ok(Issued::Late) };
    match column(&row, 0)? {
        "done" => Ok(Issued::Done),
        "seen" => Ok(Issued::Seen),
        "late" => Ok(Issued::Late),
        _ => Err(StoreError::new(UNEXPECTED)),
    }
}
