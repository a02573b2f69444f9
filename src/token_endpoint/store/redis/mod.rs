//! A store in Redis: for several instances of one issuer.
//!
//! *In*: the operations of a [`Store`]. *Out*: one Lua script for each, which Redis runs atomically.
//!
//! Records are not validated; they are trusted as far as they parse.

mod connect;

use std::{fmt, sync::Arc};

use ::redis::{Script, ScriptInvocation};
use serde::{Serialize, de::DeserializeOwned};

use self::connect::Connection;
pub use self::connect::RedisStoreBuilder;
use super::{
    AccessRecord, CodeRecord, CodeTaken, Family, Issued, NewAccess, NewRefresh, Revoked, Rotated, Store, StoreError,
    Successor,
};
use crate::token_endpoint::client::secret::TokenHash;

/// A store in Redis (6.2 or newer) or Valkey. Instances with the same prefix share it. Clones share a connection, which is
/// replaced when it is lost; meanwhile requests are refused with 503.
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
/// - With `appendonly yes` and `appendfsync always`, a crash of Redis or of its machine loses nothing that was issued.
/// - With `appendfsync everysec`, the default of Redis, a crash of the machine loses up to a second. Tokens of that second are
///   unknown, **and a code or refresh token that was used in it can be used once more.**
/// - Without an append-only file, everything since the last snapshot is lost.
/// - A replica that takes over lacks the last writes, with any of these settings. Codes and tokens that these writes consumed
///   can be used once more. An instance that writes detects the change at once; one that only introspects continues to read
///   from its connection until that ends.
/// - `maxmemory-policy` must be `noeviction`; otherwise Redis may drop the records of used codes and tokens.
///   [`connect`](RedisStoreBuilder::connect) refuses any other policy if `maxmemory` is set and `INFO` is allowed. When such a
///   Redis is full, nothing more is issued (503); issued tokens are still found and can be revoked.
///
/// # Stored data
/// Codes, tokens and assertions are stored as SHA-256 hashes only. Their records are stored in plain text: client, subject,
/// scopes, audiences and times. Redis deletes every key five minutes after its entry has expired, so the clocks of the
/// instances may differ by up to that. For each approval, the last hundred used refresh tokens are kept, as by
/// [`MemoryStore`](super::MemoryStore).
///
/// All keys begin with `{prefix}:`. The braces put them into one slot of a cluster. This client follows no redirects: in
/// a cluster, name the node that has the slot, or a proxy. The user of an ACL needs `~{prefix}:*`, `+evalsha`,
/// `+script|load`, for the data `+get +set +del +pexpire +pttl +hset +hget +hmget +hdel +rpush +lpop +zadd +zcard +zrange +zrem
/// +zpopmin`, and should have `+info`.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<RedisState>,
}

struct RedisState {
    connection: Connection,
    /// The prefix of all keys.
    prefix: String,
    scripts: Scripts,
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
        RedisStoreBuilder::new(url.into())
    }

    fn new(connection: Connection, prefix: String) -> Self {
        Self { inner: Arc::new(RedisState { connection, prefix, scripts: Scripts::new() }) }
    }

    /// Returns the key of an entry. `prelude.lua` lists the kinds.
    fn key(&self, kind: char, name: &TokenHash) -> Vec<u8> {
        let mut key = format!("{}{kind}:", self.inner.prefix).into_bytes();
        key.extend_from_slice(name.as_bytes());
        key
    }

    /// Prepares a call of a script, with the arguments that every script gets.
    fn call<'a>(&'a self, choose: impl FnOnce(&'a Scripts) -> &'a Script, now: u64) -> ScriptInvocation<'a> {
        let mut call = choose(&self.inner.scripts).prepare_invoke();
        call.arg(&self.inner.prefix).arg(now);
        call
    }

    async fn run(&self, call: &ScriptInvocation<'_>) -> Result<ScriptReply, StoreError> {
        self.inner.connection.run(call).await.map(ScriptReply)
    }
}

impl Store for RedisStore {
    async fn add_code(&self, code: &TokenHash, record: &CodeRecord, now: u64) -> Result<(), StoreError> {
        let mut call = self.call(|scripts| &scripts.add_code, now);
        call.key(self.key('c', code)).arg(record.binding.as_bytes().as_slice());
        call.arg(json(&record.family)?).arg(record.expires_at);
        match self.run(&call).await?.parts().as_slice() {
            [b"done"] => Ok(()),
            _ => Err(unreadable()),
        }
    }

    async fn take_code(&self, code: &TokenHash, binding: &TokenHash, now: u64) -> Result<CodeTaken, StoreError> {
        let mut call = self.call(|scripts| &scripts.take_code, now);
        call.key(self.key('c', code)).arg(binding.as_bytes().as_slice());
        match self.run(&call).await?.parts().as_slice() {
            [b"first", family] => Ok(CodeTaken::First(parse(family)?)),
            [b"again"] => Ok(CodeTaken::Again),
            [b"unknown"] => Ok(CodeTaken::Unknown),
            _ => Err(unreadable()),
        }
    }

    async fn issue(
        &self,
        access: &NewAccess,
        refresh: Option<&NewRefresh>,
        limit: Option<u32>,
        now: u64,
    ) -> Result<Issued, StoreError> {
        let NewAccess { hash, record } = access;
        let owner = TokenHash::of_all(&[&record.client_id, &record.subject]);
        let mut call = self.call(|scripts| &scripts.issue, now);
        call.key(self.key('a', hash)).key(self.key('n', &owner));
        call.arg(json(record)?).arg(limit.map_or(0, |limit| limit.max(1))).arg(hash.as_bytes().as_slice());
        if let Some(refresh) = refresh {
            call.key(self.key('r', &refresh.hash)).arg(refresh.expires_at);
        }
        match self.run(&call).await?.parts().as_slice() {
            [b"issued"] => Ok(Issued::Stored),
            [b"family ended"] => Ok(Issued::FamilyRevoked),
            _ => Err(unreadable()),
        }
    }

    async fn find_access(&self, token: &TokenHash, now: u64) -> Result<Option<AccessRecord>, StoreError> {
        let mut call = self.call(|scripts| &scripts.find_access, now);
        call.key(self.key('a', token));
        self.run(&call).await?.found()
    }

    async fn find_refresh(&self, token: &TokenHash, now: u64) -> Result<Option<Family>, StoreError> {
        let mut call = self.call(|scripts| &scripts.find_refresh, now);
        call.key(self.key('r', token));
        self.run(&call).await?.found()
    }

    async fn rotate(
        &self,
        token: &TokenHash,
        client_id: &str,
        successor: &Successor,
        grace: u64,
        now: u64,
    ) -> Result<Rotated, StoreError> {
        let mut call = self.call(|scripts| &scripts.rotate, now);
        call.key(self.key('r', token)).key(self.key('r', &successor.hash));
        call.arg(client_id).arg(token.as_bytes().as_slice());
        call.arg(successor.hash.as_bytes().as_slice()).arg(successor.salt.as_slice());
        call.arg(successor.expires_at).arg(grace);
        match self.run(&call).await?.parts().as_slice() {
            [b"first", family] => Ok(Rotated::First(parse(family)?)),
            [b"again", family, salt] => {
                let salt = <[u8; 32]>::try_from(*salt).map_err(|_| unreadable())?;
                Ok(Rotated::Again { family: parse(family)?, salt })
            }
            [b"reused"] => Ok(Rotated::Reused),
            [b"unknown"] => Ok(Rotated::Unknown),
            _ => Err(unreadable()),
        }
    }

    async fn revoke(&self, token: &TokenHash, client_id: &str, now: u64) -> Result<Revoked, StoreError> {
        let mut call = self.call(|scripts| &scripts.revoke, now);
        call.key(self.key('a', token)).key(self.key('r', token)).arg(client_id);
        match self.run(&call).await?.parts().as_slice() {
            [b"gone"] => Ok(Revoked::Gone),
            [b"not yours"] => Ok(Revoked::NotYours),
            _ => Err(unreadable()),
        }
    }

    async fn insert_if_absent(&self, key: &TokenHash, expires_at: u64, now: u64) -> Result<bool, StoreError> {
        let mut call = self.call(|scripts| &scripts.insert_if_absent, now);
        call.key(self.key('s', key)).arg(expires_at);
        match self.run(&call).await?.parts().as_slice() {
            [b"new"] => Ok(true),
            [b"known"] => Ok(false),
            _ => Err(unreadable()),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}

struct Scripts {
    add_code: Script,
    take_code: Script,
    issue: Script,
    find_access: Script,
    find_refresh: Script,
    rotate: Script,
    revoke: Script,
    insert_if_absent: Script,
}

/// A Lua script from a file, after the common beginning.
macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("prelude.lua"), include_str!($file)))
    };
}

impl Scripts {
    fn new() -> Self {
        Self {
            add_code: script!("add_code.lua"),
            take_code: script!("take_code.lua"),
            issue: script!("issue.lua"),
            find_access: script!("find_access.lua"),
            find_refresh: script!("find_refresh.lua"),
            rotate: script!("rotate.lua"),
            revoke: script!("revoke.lua"),
            insert_if_absent: script!("insert_if_absent.lua"),
        }
    }
}

/// The reply of a script: the outcome, and its values.
struct ScriptReply(Vec<Vec<u8>>);

impl ScriptReply {
    fn parts(&self) -> Vec<&[u8]> {
        self.0.iter().map(Vec::as_slice).collect()
    }

    fn found<T: DeserializeOwned>(&self) -> Result<Option<T>, StoreError> {
        match self.parts().as_slice() {
            [b"found", text] => parse(text).map(Some),
            [b"none"] => Ok(None),
            _ => Err(unreadable()),
        }
    }
}

fn json(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|_| StoreError::new("a record could not be serialized"))
}

// Without the cause, because its text may quote the record.
fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(text).map_err(|_| unreadable())
}

fn unreadable() -> StoreError {
    StoreError::new("Redis has data, or sent a reply, that the store did not write")
}
