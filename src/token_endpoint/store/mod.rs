//! What is remembered between requests.
//!
//! *In*: hashes of codes and tokens, and what they stand for. *Out*: yes or no, decided at one moment.
//!
//! Every operation is atomic: two requests with one code get one [`CodeTaken::First`] between them, whatever the machines
//! that they reach. There is no way to read a code and delete it afterwards. What a store never sees is the text of a
//! secret, a code or a token.
//!
//! Times are whole seconds since 1970-01-01 by the endpoint's [`Clock`](crate::clock::Clock); they come with each call, so that a
//! store needs no clock. Something is alive as long as `now < expires_at`; what is over may be forgotten.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use std::{error::Error, fmt, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use self::redis::{RedisStore, RedisStoreBuilder};
use super::client::secret::TokenHash;

/// Remembers codes, tokens and who was given them.
///
/// `tower_oauth::testing::store_conformance` (feature `test-util`) has the tests that every store passes.
pub trait Store: Send + Sync + 'static {
    /// Remembers a code that nobody has used.
    ///
    /// # Errors
    /// It can't be remembered; then it must not be handed out.
    fn add_code(
        &self,
        code: &TokenHash,
        record: &CodeRecord,
        now: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Uses a code up. `binding` must be the one that it was remembered with: otherwise the code is [`CodeTaken::Unknown`],
    /// and stays as it is.
    ///
    /// Of all that come with the same code and the right binding, however many and wherever, exactly one gets
    /// [`CodeTaken::First`]; from then on its family is alive. Every other one revokes the family in the same step.
    ///
    /// # Errors
    /// It can't be said; the code may or may not be used up.
    fn take_code(
        &self,
        code: &TokenHash,
        binding: &TokenHash,
        now: u64,
    ) -> impl Future<Output = Result<CodeTaken, StoreError>> + Send;

    /// Remembers an access token, and the first refresh token of its family if there is one; neither, if the family is
    /// not alive. If the client and subject have `limit` living access tokens already, the oldest of them are revoked in the
    /// same step.
    ///
    /// # Errors
    /// They can't be remembered; then they must not be handed out.
    fn issue(
        &self,
        access: &NewAccess,
        refresh: Option<&NewRefresh>,
        limit: Option<u32>,
        now: u64,
    ) -> impl Future<Output = Result<Issued, StoreError>> + Send;

    /// The access token with this hash, if it is alive: neither expired nor revoked, nor its family.
    ///
    /// # Errors
    /// It can't be said.
    fn find_access(
        &self,
        token: &TokenHash,
        now: u64,
    ) -> impl Future<Output = Result<Option<AccessRecord>, StoreError>> + Send;

    /// The family of the refresh token with this hash, if both are alive, whether or not the token was used. For checks
    /// that must be passed before [`rotate`](Self::rotate), which decides.
    ///
    /// # Errors
    /// It can't be said.
    fn find_refresh(
        &self,
        token: &TokenHash,
        now: u64,
    ) -> impl Future<Output = Result<Option<Family>, StoreError>> + Send;

    /// Uses a refresh token of this client up and remembers its successor.
    ///
    /// Of all that come with the same token, exactly one gets [`Rotated::First`]. Any other one gets [`Rotated::Again`] for
    /// `grace` seconds, as long as the successor has not been used; otherwise the family is revoked in the same step. Another
    /// client's token is [`Rotated::Unknown`], and stays as it is.
    ///
    /// # Errors
    /// It can't be said; the token may or may not be used up.
    fn rotate(
        &self,
        token: &TokenHash,
        client_id: &str,
        successor: &Successor,
        grace: u64,
        now: u64,
    ) -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Revokes the token with this hash, if it is this client's (RFC 7009 §2.1): an access token alone, a refresh token with
    /// its whole family.
    ///
    /// # Errors
    /// It can't be said whether it was revoked.
    fn revoke(
        &self,
        token: &TokenHash,
        client_id: &str,
        now: u64,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Remembers `key` until `expires_at`. Whether it was new: of all that come with the same key, exactly one is told so.
    ///
    /// # Errors
    /// It can't be remembered; then whoever asks must be refused.
    fn insert_if_absent(
        &self,
        key: &TokenHash,
        expires_at: u64,
        now: u64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// What one approval gave: everything that came of one code. It lives and dies together.
///
/// Written as JSON, it is what the stores here keep. A member that is not known is an error: an instance of an older version
/// must not take a token for less bound than a newer one made it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a store reads it back")]
pub struct Family {
    /// Random.
    pub id: String,
    /// `client_id`.
    pub client_id: String,
    /// Names the client's secret at that time, without telling it.
    pub credential: String,
    /// `sub`: who approved.
    pub subject: String,
    /// The scopes that were approved, separated by spaces; may be empty.
    pub scope: String,
    /// The resources that were approved; at least one.
    pub audiences: Vec<String>,
    /// `auth_time`, if the host said it.
    pub auth_time: Option<u64>,
    /// When all of it ends.
    pub expires_at: u64,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// A code, but for its text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store reads it back")]
pub struct CodeRecord {
    /// The hash of what it is bound to: client, redirect URI and PKCE challenge.
    pub binding: TokenHash,
    /// What it gives.
    pub family: Family,
    /// Until when it can be used for the first time. That it was used is remembered as long as the family.
    pub expires_at: u64,
}

/// What became of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store decides it")]
pub enum CodeTaken {
    /// It is used up now, and this is what it gives.
    First(Family),
    /// It was used before; what it gave is revoked now.
    Again,
    /// There is no such code, it has expired, or the binding is another one.
    Unknown,
}

/// An access token, but for its text. It is kept as [`Family`] is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a store reads it back")]
pub struct AccessRecord {
    /// `jti`.
    pub id: String,
    /// [`Family::id`]; absent where no user approved.
    pub family: Option<String>,
    /// `client_id`.
    pub client_id: String,
    /// Names the client's secret at that time, without telling it.
    pub credential: String,
    /// `sub`: the client itself, or a user.
    pub subject: String,
    /// `scope`: names separated by spaces; may be empty.
    pub scope: String,
    /// `aud`.
    pub audience: String,
    /// `auth_time`, if the host said it.
    pub auth_time: Option<u64>,
    /// `iat`.
    pub issued_at: u64,
    /// `exp`.
    pub expires_at: u64,
}

impl fmt::Debug for AccessRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessRecord").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// An access token to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store's tests make one")]
pub struct NewAccess {
    /// The hash of its text.
    pub hash: TokenHash,
    /// All else.
    pub record: AccessRecord,
}

/// The first refresh token of a family; the access token's record says which.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store's tests make one")]
pub struct NewRefresh {
    /// The hash of its text.
    pub hash: TokenHash,
    /// Until when it can be used.
    pub expires_at: u64,
}

/// Whether tokens were remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store decides it")]
pub enum Issued {
    /// They were.
    Remembered,
    /// The family was revoked in the meantime, or has ended.
    FamilyDead,
}

/// A refresh token that takes another one's place.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store's tests make one")]
pub struct Successor {
    /// The hash of its text.
    pub hash: TokenHash,
    /// With the predecessor's text, which no store has, it makes the successor's text again.
    pub salt: [u8; 32],
    /// Until when it can be used.
    pub expires_at: u64,
}

impl fmt::Debug for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Successor")
            .field("hash", &self.hash)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What became of a refresh token.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store decides it")]
pub enum Rotated {
    /// It is used up now, and the successor is remembered.
    First(Family),
    /// It was used a moment ago: the successor of then is to be given again, by its salt.
    Again {
        /// Whose it is.
        family: Family,
        /// [`Successor::salt`] of then.
        salt: [u8; 32],
    },
    /// It was used before; the family is revoked now.
    Reused,
    /// There is no such token, it has expired or was revoked, or it is another client's.
    Unknown,
}

impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(family) => f.debug_tuple("First").field(family).finish(),
            Self::Again { family, .. } => f.debug_struct("Again").field("family", family).finish_non_exhaustive(),
            Self::Reused => f.write_str("Reused"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// What became of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store decides it")]
pub enum Revoked {
    /// There is no such token, or not any more: nothing else is to be done (RFC 7009 §2.2).
    Gone,
    /// It is another client's, and lives on.
    NotYours,
}

/// A store that can't answer. The request is answered with 503; nothing is handed out.
#[derive(Clone)]
pub struct StoreError {
    what: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// In a few words, which may be logged.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The future of a store behind a pointer.
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`Store`] behind a pointer.
macro_rules! erased {
    ($($name:ident($($argument:ident: $type:ty),+) -> $answer:ty;)+) => {
        pub(crate) trait ErasedStore: Send + Sync {
            $(fn $name<'a>(&'a self, $($argument: $type),+) -> StoreFuture<'a, $answer>;)+
        }

        impl<S: Store> ErasedStore for S {
            $(fn $name<'a>(&'a self, $($argument: $type),+) -> StoreFuture<'a, $answer> {
                Box::pin(Store::$name(self, $($argument),+))
            })+
        }
    };
}

erased! {
    add_code(code: &'a TokenHash, record: &'a CodeRecord, now: u64) -> ();
    take_code(code: &'a TokenHash, binding: &'a TokenHash, now: u64) -> CodeTaken;
    issue(access: &'a NewAccess, refresh: Option<&'a NewRefresh>, limit: Option<u32>, now: u64) -> Issued;
    find_access(token: &'a TokenHash, now: u64) -> Option<AccessRecord>;
    find_refresh(token: &'a TokenHash, now: u64) -> Option<Family>;
    rotate(token: &'a TokenHash, client_id: &'a str, successor: &'a Successor, grace: u64, now: u64) -> Rotated;
    revoke(token: &'a TokenHash, client_id: &'a str, now: u64) -> Revoked;
    insert_if_absent(key: &'a TokenHash, expires_at: u64, now: u64) -> bool;
}
