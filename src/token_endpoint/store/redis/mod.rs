//! A store in Redis: for several instances of one issuer.
//!
//! *In*: the operations of a [`Store`]. *Out*: Lua scripts, each of which Redis runs atomically.
//!
//! Records are not read.

mod checks;
mod clients;
mod clocks;
mod connect;
mod connection;
mod keys;
mod lists;
mod script;
mod seen;
mod writes;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::connect::RedisStoreBuilder;
use self::{
    connection::Connection,
    keys::{EntryKind, Tag},
    script::{Limit, LuaScript, Reply, ScriptCall},
};
use super::{
    AddCode, EndSession, FindAccess, FindCode, FindSession, FoundAccess, FoundCode, FoundSession, InsertSeen, Issue,
    Issued, KeyPublished, ListKeys, ListSessions, ListedSession, Presented, PublishKey, PublishedKey, Record, Redeem,
    Redeemed, Refresh, Refreshed, RevokeAccess, SessionId, Store, StoreError, Timestamp, WithdrawKey, Written,
};
use crate::{redis_link::ServerKind, token_endpoint::client::secret::TokenHash};

/// A store in Redis (6.2 or newer) or Valkey: one server, or a cluster. Instances with the same prefix share it. Clones share a
/// connection, which is replaced when it is lost; meanwhile requests are refused with 503.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_oauth::{
///     keys::{Algorithm, PrivateKey},
///     token_endpoint::{ClientCredentialsGrant, Clients, RedisStore, TokenEndpoint},
/// };
///
/// # async fn example(clients: Clients) -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::builder("rediss://issuer:its%20password@redis.internal:6379/0")
///     .key_prefix("issuer")
///     .timeout(Duration::from_secs(1))
///     .connect()
///     .await?;
/// let key = PrivateKey::generate(Algorithm::ES256)?;
/// let endpoint = TokenEndpoint::builder("https://as.example.com", key, clients)
///     .grant(ClientCredentialsGrant::new())
///     .store(store)
///     .build()?;
/// # Ok(()) }
/// ```
///
/// # Durability
/// The store is as durable as Redis:
///
/// - With `appendonly yes` and `appendfsync always`, a crash of Redis or of its machine loses nothing that was answered.
/// - With `appendfsync everysec`, the default of Redis, a crash of the machine loses up to a second. Tokens of that second are
///   unknown, **and a code, refresh token or assertion that was used in it can be used once more.** A session that ended in it
///   is back.
/// - Without an append-only file, everything since the last snapshot is lost.
/// - A replica that takes over lacks the last writes, with any of these settings and with the same consequences. In a cluster,
///   that is what its master had executed in the milliseconds before it stopped, and everything that a master executes that the
///   others can't reach (Redis stops it after `cluster-node-timeout`).
///   With [`wait_for_replicas(1, …)`](RedisStoreBuilder::wait_for_replicas) and one replica for each master, no write is answered
///   before the replica has it in its memory. So if a master stops and its replica takes over, nothing that was answered is lost.
///   Still lost is what both lose, if the machines of both crash within what `appendfsync` loses; and with more replicas, Redis
///   may promote one that has not acknowledged the last writes, unless the number is that of all replicas.
/// - `maxmemory-policy` must be `noeviction`; otherwise Redis may drop sessions and the records of used codes and assertions.
///   [`connect`](RedisStoreBuilder::connect) refuses any other policy if `maxmemory` is set and `INFO` is allowed. When such a
///   Redis is full, nothing more is issued (503); issued tokens are still found and can be revoked.
///
/// # Time
/// A server that gets a write after its deadline does nothing. The store learns the difference of the clocks from replies. If the
/// clock of a server is set back, or another node of a cluster with another time takes over, writes may be executed too late by
/// that difference until the first reply.
///
/// # Stored data
/// Codes, tokens and assertions are stored as hashes only. Records are stored in plain text: client, subject, scopes, audiences
/// and times. When a session ends, its record is deleted at once. Redis deletes every key five minutes after its entry has
/// expired, so the clocks of the instances may differ by up to that. Clients of
/// [`StoredClients`](crate::token_endpoint::StoredClients) never expire; their ids are hashes in the keys, and plain text in the
/// records.
///
/// Keys are `prefix:{tag}kind`. All keys of a session have the same tag, so each step on it is atomic in a cluster. Sessions have
/// different tags, so a cluster spreads them over its nodes. What belongs to several sessions is written in further steps: the
/// lists by subject and client beside the session, and before the answer; for an owner with a limit, its lists after it. An
/// assertion is stored first, for its request only, and for good when the rest is done; if the outcome of the rest is unknown, the
/// same request is accepted once more.
///
/// The user of an ACL needs `~prefix:*`, `+eval +evalsha +script|load`, and for the data `+time +hset +hget +hmget +hgetall +hdel
/// +del +pexpire +pttl +zadd +zcard +zcount +zrange +zrangebylex +zrangebyscore +zrem +zscore`. It should have `+info`. In a
/// cluster, it also needs `+ping +cluster|slots +asking`, to wait for replicas `+wait`.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<RedisState>,
}

struct RedisState {
    connection: Connection,
    /// The beginning of all keys.
    prefix: String,
}

impl RedisStore {
    /// Returns a builder for a store at this URL: `redis://[[user]:password@]host[:port][/database]`, `rediss://…` for TLS, or
    /// `redis+unix:///path[?db=database&user=user&pass=password]`. In user and password, percent-encode everything
    /// but letters and digits.
    ///
    /// With TLS, the server's certificate is checked against the certificate authorities of the system, or those of the file
    /// that the environment variable `SSL_CERT_FILE` names. If the process has set no crypto provider for rustls, aws-lc
    /// becomes its default.
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(ServerKind::Server, vec![url.into()])
    }

    /// Returns a builder for a store in a Redis Cluster. The URLs are as for [`builder`](Self::builder), with the same user and
    /// password. They name some of the nodes, which name all others; name several, because one of them must be up at each start.
    ///
    /// If a master stops, requests that need it are refused with 503 until its replica is promoted; `cluster-node-timeout` sets
    /// how soon.
    pub fn builder_from_cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(ServerKind::Cluster, urls.into_iter().map(Into::into).collect())
    }

    fn new(connection: Connection, prefix: String) -> Self {
        Self { inner: Arc::new(RedisState { connection, prefix }) }
    }

    fn call(&self, script: &'static LuaScript, tag: Tag, now: Timestamp, limit: Limit) -> ScriptCall {
        ScriptCall::new(script, &self.inner.prefix, tag, now, limit)
    }

    /// A call with the three keys of a session.
    fn session_call(
        &self,
        script: &'static LuaScript,
        session: &SessionId,
        now: Timestamp,
        limit: Limit,
    ) -> ScriptCall {
        let call = self.call(script, Tag::session(session), now, limit);
        call.key(EntryKind::Session).key(EntryKind::Access).key(EntryKind::AccessExpiry)
    }

    async fn run(&self, call: ScriptCall) -> Result<Reply, StoreError> {
        self.inner.connection.run(&call).await
    }

    /// Writes a value that expires at once. The number chooses the slot.
    async fn probe(&self, number: u8) -> Result<(), StoreError> {
        let limit = Limit::Write(Instant::now() + PROBE);
        let call = self.call(&script::BEGIN_SEEN, Tag::check(number), Timestamp::default(), limit);
        let call = call.key(EntryKind::Seen(TokenHash::from([0; 32])));
        match self.run(call.arg("").number(0_u8).arg("")).await?.parts().as_slice() {
            [b"done"] => Ok(()),
            _ => Err(unreadable()),
        }
    }
}

impl Store for RedisStore {
    async fn add_code(&self, request: &AddCode) -> Result<Written, StoreError> {
        let AddCode { session, code, record, client, subject, expires_at, now, deadline } = request;
        let call = self.call(&script::ADD_CODE, Tag::session(session), *now, Limit::Write(*deadline));
        let call = call.key(EntryKind::Session).arg(code.as_bytes()).arg(record.as_str());
        let call = call.arg(client.as_bytes()).arg(subject.as_bytes()).time(*expires_at);
        let index = self.add_to_indexes(session, client, subject, *expires_at, *now);
        let (reply, ()) = tokio::try_join!(self.run(call), index)?;
        written(&reply)
    }

    async fn find_code(&self, request: &FindCode) -> Result<Option<FoundCode>, StoreError> {
        let call = self.call(&script::FIND_CODE, Tag::session(&request.session), request.now, Limit::Read);
        match self.run(call.key(EntryKind::Session).arg(request.code.as_bytes())).await?.parts().as_slice() {
            [state @ (b"used" | b"unused"), text] => {
                Ok(Some(FoundCode { record: record(text)?, is_used: *state == b"used" }))
            }
            [b"none"] => Ok(None),
            _ => Err(unreadable()),
        }
    }

    async fn redeem(&self, request: &Redeem) -> Result<Redeemed, StoreError> {
        let run = || self.redeem_code(request);
        self.with_seen(request.seen.as_ref(), request.now, request.deadline, run).await
    }

    async fn find_session(&self, request: &FindSession) -> Result<Option<FoundSession>, StoreError> {
        let call = self.call(&script::FIND_SESSION, Tag::session(&request.session), request.now, Limit::Read);
        match self.run(call.key(EntryKind::Session)).await?.parts().as_slice() {
            [b"found", text, expires_at, current, last] => {
                let presented = request.presented.as_bytes().as_slice();
                let presented = match presented {
                    hash if hash == *current => Presented::Current,
                    hash if hash == *last => Presented::Last,
                    _ => Presented::Other,
                };
                Ok(Some(FoundSession { record: record(text)?, presented, expires_at: time(expires_at)? }))
            }
            [b"none"] => Ok(None),
            _ => Err(unreadable()),
        }
    }

    async fn refresh(&self, request: &Refresh) -> Result<Refreshed, StoreError> {
        let run = || self.use_refresh_token(request);
        self.with_seen(request.seen.as_ref(), request.now, request.deadline, run).await
    }

    async fn issue(&self, request: &Issue) -> Result<Issued, StoreError> {
        let run = || self.issue_alone(request);
        self.with_seen(request.seen.as_ref(), request.now, request.deadline, run).await
    }

    async fn find_access(&self, request: &FindAccess) -> Result<Option<FoundAccess>, StoreError> {
        let tag = Tag::partition(&request.partition);
        let call = self
            .call(&script::FIND_ACCESS, tag, request.now, Limit::Read)
            .key(EntryKind::Access)
            .key(EntryKind::Session);
        match self.run(call.arg(request.token.as_bytes())).await?.parts().as_slice() {
            [b"found", text] => Ok(Some(FoundAccess { record: record(text)?, session: None })),
            [b"found", text, session] => {
                Ok(Some(FoundAccess { record: record(text)?, session: Some(record(session)?) }))
            }
            [b"none"] => Ok(None),
            _ => Err(unreadable()),
        }
    }

    async fn revoke_access(&self, request: &RevokeAccess) -> Result<Written, StoreError> {
        let RevokeAccess { partition, token, now, deadline } = request;
        self.revoke_one(partition, token, *now, Limit::Write(*deadline)).await
    }

    async fn end_session(&self, request: &EndSession) -> Result<Written, StoreError> {
        self.end_one(&request.session, request.now, Limit::Write(request.deadline)).await
    }

    async fn list_sessions(&self, request: &ListSessions) -> Result<Vec<ListedSession>, StoreError> {
        self.read_list(request).await
    }

    async fn insert_seen(&self, request: &InsertSeen) -> Result<Issued, StoreError> {
        self.store_seen(&request.seen, request.now, request.deadline).await
    }

    async fn publish_key(&self, request: &PublishKey) -> Result<KeyPublished, StoreError> {
        let PublishKey { issuer, key_id, jwk, expires_at, now, deadline } = request;
        let call = self.call(&script::PUBLISH_KEY, Tag::of(issuer), *now, Limit::Write(*deadline));
        let call = call.key(EntryKind::PublicKeys).arg(key_id).arg(jwk).time(*expires_at);
        match self.run(call).await?.parts().as_slice() {
            [b"done", since] => Ok(KeyPublished::Done { since: time(since)? }),
            [b"withdrawn"] => Ok(KeyPublished::Withdrawn),
            [b"late"] => Ok(KeyPublished::Late),
            _ => Err(unreadable()),
        }
    }

    async fn withdraw_key(&self, request: &WithdrawKey) -> Result<Written, StoreError> {
        let WithdrawKey { issuer, key_id, expires_at, now, deadline } = request;
        let call = self.call(&script::WITHDRAW_KEY, Tag::of(issuer), *now, Limit::Write(*deadline));
        written(&self.run(call.key(EntryKind::PublicKeys).arg(key_id).time(*expires_at)).await?)
    }

    async fn list_keys(&self, request: &ListKeys) -> Result<Vec<PublishedKey>, StoreError> {
        let call = self.call(&script::LIST_KEYS, Tag::of(&request.issuer), request.now, Limit::Read);
        let reply = self.run(call.key(EntryKind::PublicKeys)).await?;
        let values: Vec<_> = reply.values().collect();
        let key = |parts: &[&[u8]]| match parts {
            [key_id, since, jwk] => {
                Ok(PublishedKey { key_id: string(key_id)?, jwk: string(jwk)?, since: time(since)? })
            }
            _ => Err(unreadable()),
        };
        let mut keys = values.chunks(3).map(key).collect::<Result<Vec<_>, _>>()?;
        keys.sort_by(|a, b| (a.since, &a.key_id).cmp(&(b.since, &b.key_id)));
        Ok(keys)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let (probe, masters) = tokio::join!(self.probe(0), self.inner.connection.ping());
        probe.and(masters)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}

fn written(reply: &Reply) -> Result<Written, StoreError> {
    match reply.parts().as_slice() {
        [b"done", ..] => Ok(Written::Done),
        [b"late"] => Ok(Written::Late),
        _ => Err(unreadable()),
    }
}

fn record(text: &[u8]) -> Result<Record, StoreError> {
    string(text).map(Record::from)
}

// Without the cause, because its text may quote the record.
fn string(text: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(text.to_vec()).map_err(|_| unreadable())
}

fn time(text: &[u8]) -> Result<Timestamp, StoreError> {
    string(text)?.parse().map(Timestamp::from_secs).map_err(|_| unreadable())
}

fn unreadable() -> StoreError {
    StoreError::new("Redis has data, or sent a reply, that the store did not write")
}

/// How long a check of the store may take.
const PROBE: Duration = Duration::from_secs(2);
