//! Stores keep codes and tokens between requests.
//!
//! *In*: hashes of codes and tokens, and the records that belong to them. *Out*: the result of one atomic operation.
//!
//! Every operation is atomic: of all requests with the same code, on any instance, one gets [`CodeTaken::First`]. There is
//! no operation that reads a code and one that deletes it later. A store never gets the text of a secret, a code or a token.
//!
//! Times are whole seconds since 1970-01-01 (UTC). The caller passes them, from the endpoint's
//! [`Clock`](crate::clock::Clock), so a store needs no clock. An entry is valid while `now < expires_at`; a store may delete it
//! afterwards. Whether the client may use a token is not checked here.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use std::{error::Error, fmt, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::memory::{MemoryStore, MemoryStoreBuilder};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use self::redis::{RedisStore, RedisStoreBuilder};
use super::client::secret::TokenHash;

/// Stores authorization codes, tokens and their grants.
///
/// `tower_oauth::testing::store_conformance` (feature `test-util`) has the tests that every store passes.
pub trait Store: Send + Sync + 'static {
    /// Stores an unused code.
    ///
    /// # Errors
    /// The code was not stored; the caller must not issue it.
    fn add_code(
        &self,
        code: &TokenHash,
        record: &CodeRecord,
        now: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Consumes a code. `binding` must be the one that the code was stored with; otherwise the result is
    /// [`CodeTaken::Unknown`], and the code stays as it is.
    ///
    /// Of all calls with the same code and the right binding, on any instance, exactly one gets [`CodeTaken::First`]; from then
    /// on the family is active. Every other one revokes the family in the same step.
    ///
    /// # Errors
    /// The outcome is unknown; the code may have been consumed.
    fn take_code(
        &self,
        code: &TokenHash,
        binding: &TokenHash,
        now: u64,
    ) -> impl Future<Output = Result<CodeTaken, StoreError>> + Send;

    /// Stores an access token, and the first refresh token of its family if there is one. Stores neither if the family is not
    /// active. If the client has `limit` active access tokens for the subject already, the oldest of them are revoked in the
    /// same step.
    ///
    /// # Errors
    /// The outcome is unknown; the caller must not issue the tokens.
    fn issue(
        &self,
        access: &NewAccess,
        refresh: Option<&NewRefresh>,
        limit: Option<u32>,
        now: u64,
    ) -> impl Future<Output = Result<Issued, StoreError>> + Send;

    /// Returns the access token with this hash, if it is active: neither the token nor its family has expired or was revoked.
    ///
    /// # Errors
    /// The store is unavailable.
    fn find_access(
        &self,
        token: &TokenHash,
        now: u64,
    ) -> impl Future<Output = Result<Option<AccessRecord>, StoreError>> + Send;

    /// Returns the family of the refresh token with this hash, also if the token was used. Returns `None` if the token or its
    /// family has expired or was revoked. With the family, the caller checks the request before it calls
    /// [`rotate`](Self::rotate), which decides.
    ///
    /// # Errors
    /// The store is unavailable.
    fn find_refresh(
        &self,
        token: &TokenHash,
        now: u64,
    ) -> impl Future<Output = Result<Option<Family>, StoreError>> + Send;

    /// Consumes a refresh token of this client, and stores its successor.
    ///
    /// Of all calls with the same token, exactly one gets [`Rotated::First`]. Every other one gets [`Rotated::Again`] within
    /// `grace` seconds and while the successor is unused; after that, it revokes the family in the same step. A token of
    /// another client is [`Rotated::Unknown`], and stays as it is.
    ///
    /// # Errors
    /// The outcome is unknown; the token may have been consumed.
    fn rotate(
        &self,
        token: &TokenHash,
        client_id: &str,
        successor: &Successor,
        grace: u64,
        now: u64,
    ) -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Revokes the token with this hash, if it was issued to this client (RFC 7009 §2.1): only the access token, or the whole
    /// family of a refresh token.
    ///
    /// # Errors
    /// The outcome is unknown; the token may have been revoked.
    fn revoke(
        &self,
        token: &TokenHash,
        client_id: &str,
        now: u64,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Stores `key` until `expires_at`. Returns whether it was new: of all calls with the same key, exactly one gets `true`.
    ///
    /// # Errors
    /// The outcome is unknown; the caller must refuse the request.
    fn insert_if_absent(
        &self,
        key: &TokenHash,
        expires_at: u64,
        now: u64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Everything that was issued from one approval of a user. All of it expires and is revoked together.
///
/// The stores in this crate keep it as JSON. An unknown member is an error: an older instance must not accept a token as less
/// restricted than a newer instance issued it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a store reads it back")]
pub struct Family {
    /// A random id.
    pub id: String,
    /// `client_id`.
    pub client_id: String,
    /// Generation and kind of the client's credential at that time.
    pub credential: String,
    /// `sub`: the user that approved.
    pub subject: String,
    /// The scopes that were approved, separated by spaces; may be empty.
    pub scope: String,
    /// The resources that were approved; at least one.
    pub audiences: Vec<String>,
    /// `auth_time`, if the application set it.
    pub auth_time: Option<u64>,
    /// When everything in the family expires.
    pub expires_at: u64,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// A code, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store reads it back")]
pub struct CodeRecord {
    /// The hash of client and PKCE challenge, to which the code is bound.
    pub binding: TokenHash,
    /// The family that the code starts.
    pub family: Family,
    /// When the unused code expires. A used code is kept until the family expires, to detect a replay.
    pub expires_at: u64,
}

/// The result of [`Store::take_code`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store decides it")]
pub enum CodeTaken {
    /// The code is consumed now, and starts this family.
    First(Family),
    /// The code was used before; its family is revoked now.
    Again,
    /// There is no such code, it has expired, or it has another binding.
    Unknown,
}

/// An access token, without its text. It is stored as [`Family`] is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a store reads it back")]
pub struct AccessRecord {
    /// `jti`.
    pub id: String,
    /// [`Family::id`]; `None` if no user was involved.
    pub family: Option<String>,
    /// `client_id`.
    pub client_id: String,
    /// Generation and kind of the client's credential at that time.
    pub credential: String,
    /// `sub`: the client itself, or a user.
    pub subject: String,
    /// `scope`: names separated by spaces; may be empty.
    pub scope: String,
    /// `aud`.
    pub audience: String,
    /// `auth_time`, if the application set it.
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

/// An access token to store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store's tests make one")]
pub struct NewAccess {
    /// The hash of the token.
    pub hash: TokenHash,
    /// Everything else.
    pub record: AccessRecord,
}

/// The first refresh token of the family that the access token's record names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store's tests make one")]
pub struct NewRefresh {
    /// The hash of the token.
    pub hash: TokenHash,
    /// When the token expires.
    pub expires_at: u64,
}

/// The result of [`Store::issue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store decides it")]
pub enum Issued {
    /// The tokens were stored.
    Stored,
    /// Nothing was stored: the family was revoked in the meantime, or has expired.
    FamilyRevoked,
}

/// A refresh token that replaces another one.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store's tests make one")]
pub struct Successor {
    /// The hash of the token.
    pub hash: TokenHash,
    /// Random bytes. The successor's text is derived from them and the predecessor's text, which no store has.
    pub salt: [u8; 32],
    /// When the token expires.
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

/// The result of [`Store::rotate`].
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store decides it")]
pub enum Rotated {
    /// The token is consumed now, and the successor is stored.
    First(Family),
    /// The token was used within the grace period. The caller derives the same successor again, with its salt.
    Again {
        /// The family of the token.
        family: Family,
        /// [`Successor::salt`] of the first use.
        salt: [u8; 32],
    },
    /// The token was used before; its family is revoked now.
    Reused,
    /// There is no such token, it has expired or was revoked, or it was issued to another client.
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

/// The result of [`Store::revoke`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store decides it")]
pub enum Revoked {
    /// The token is not active any more. It was revoked now, or was inactive or unknown before (RFC 7009 §2.2).
    Gone,
    /// The token was issued to another client, and stays as it is.
    NotYours,
}

/// A failure of a store. The request is refused with 503, and nothing is issued.
#[derive(Clone)]
pub struct StoreError {
    what: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// Returns an error with a short text, which is logged.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    /// Adds the cause.
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

/// The future of an operation of [`ErasedStore`].
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Defines `ErasedStore`: [`Store`] as a trait object.
macro_rules! erased {
    ($($name:ident($($argument:ident: $type:ty),+) -> $result:ty;)+) => {
        pub(crate) trait ErasedStore: Send + Sync {
            $(fn $name<'a>(&'a self, $($argument: $type),+) -> StoreFuture<'a, $result>;)+
        }

        impl<S: Store> ErasedStore for S {
            $(fn $name<'a>(&'a self, $($argument: $type),+) -> StoreFuture<'a, $result> {
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
