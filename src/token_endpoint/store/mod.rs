//! Stores keep codes, sessions and tokens between requests.
//!
//! *In*: hashes of codes and tokens, and the records that belong to them. *Out*: what was found, or the result of one atomic
//! operation.
//!
//! A *session* is a user's approval of a client, and everything that is issued from it. It is one row, from the code on. An
//! access token that a client gets for itself belongs to no session.
//!
//! The endpoint reads first: `find_code`, `find_session`. What was read does not change, so the endpoint finds every mistake in a
//! request before anything is used up. Then one write decides: `redeem`, `refresh`, `issue`.
//!
//! A store never gets the text of a secret, a code or a token. All hashes differ for each issuer, so two issuers can share a
//! store.

mod clients;
mod erased;
mod error;
mod ids;
mod memory;
mod outcomes;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod requests;

pub(crate) use self::clients::ErasedClientStore;
pub(crate) use self::erased::{ErasedStore, WatchedStore};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use self::redis::{RedisStore, RedisStoreBuilder};
pub use self::{
    clients::{ClientSaved, ClientStore, FindClient, ListClients, RemoveClient, SaveClient},
    error::StoreError,
    ids::{Partition, Record, SessionId, SessionIndex, Timestamp},
    memory::{MemoryStore, MemoryStoreBuilder},
    outcomes::{
        FoundAccess, FoundCode, FoundSession, Issued, KeyPublished, ListedSession, Presented, PublishedKey, Redeemed,
        Refreshed, Written,
    },
    requests::{
        AddCode, EndSession, FindAccess, FindCode, FindSession, FirstRefresh, InsertSeen, Issue, ListKeys,
        ListSessions, NewAccess, PublishKey, Redeem, Refresh, RevokeAccess, Seen, Successor, WithdrawKey,
    },
};

/// Stores authorization codes, sessions, tokens and public keys.
///
/// Every operation is atomic: of all requests with the same code, on any instance, one gets [`Redeemed::Done`].
/// `tower_oauth::testing::store_conformance` (feature `test-util`) has the tests that every store passes.
///
/// # Time
/// Each request has `now`, from the endpoint's [`Clock`](crate::clock::Clock), so a store needs no clock for what it keeps. An
/// entry is valid while `now < expires_at`; a store may delete it afterwards.
///
/// A write also has a `deadline`, a moment of this process. If it has passed when the store gets to the operation, by the clock
/// of the machine that executes it, the store does nothing and answers `Late`. So a request whose client has given up uses
/// nothing up. A store waits for the answer to a write that it has sent for some seconds longer than the deadline, because an
/// unknown outcome costs a user the session.
///
/// # Errors
/// An error of a write means that its outcome is unknown, unless it is
/// [`not_executed`](StoreError::not_executed). The endpoint answers 503 in both cases.
///
#[cfg_attr(feature = "test-util", doc = include_str!("small_store.md"))]
pub trait Store: Send + Sync + 'static {
    /// Stores an unused code.
    fn add_code(&self, request: &AddCode) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Returns the code with this hash. `None` if no code has it, it has expired unused, or its session has expired or ended.
    fn find_code(&self, request: &FindCode) -> impl Future<Output = Result<Option<FoundCode>, StoreError>> + Send;

    /// Uses a code, and starts its session with the first tokens.
    ///
    /// Of all calls with the same code, exactly one gets [`Redeemed::Done`]. Every other one ends the session in the same step.
    fn redeem(&self, request: &Redeem) -> impl Future<Output = Result<Redeemed, StoreError>> + Send;

    /// Returns the session, if its refresh token has not expired: with any refresh token, also one that was used or never
    /// existed. `None` for a session without a refresh token, and for an unused code.
    fn find_session(
        &self,
        request: &FindSession,
    ) -> impl Future<Output = Result<Option<FoundSession>, StoreError>> + Send;

    /// Uses a refresh token, and stores an access token.
    ///
    /// - The session's current token: its successor becomes the current one, and the presented one the last. Without a successor,
    ///   the token stays the current one.
    /// - The last token, within `grace` seconds of its use: the answer is [`Refreshed::Again`].
    /// - Any other token ends the session in the same step.
    fn refresh(&self, request: &Refresh) -> impl Future<Output = Result<Refreshed, StoreError>> + Send;

    /// Stores an access token that belongs to no session.
    fn issue(&self, request: &Issue) -> impl Future<Output = Result<Issued, StoreError>> + Send;

    /// Returns the access token, if neither it nor its session has expired or was revoked.
    fn find_access(&self, request: &FindAccess)
    -> impl Future<Output = Result<Option<FoundAccess>, StoreError>> + Send;

    /// Revokes an access token.
    fn revoke_access(&self, request: &RevokeAccess) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Ends a session, or removes an unused code. From then on nothing that belongs to it is found. The places that it needed are
    /// free.
    fn end_session(&self, request: &EndSession) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Lists sessions and unused codes that have not expired or ended.
    fn list_sessions(
        &self,
        request: &ListSessions,
    ) -> impl Future<Output = Result<Vec<ListedSession>, StoreError>> + Send;

    /// Stores a value. Of all calls with the same value, [`redeem`](Self::redeem), [`refresh`](Self::refresh) and
    /// [`issue`](Self::issue) included, exactly one gets `Done`.
    fn insert_seen(&self, request: &InsertSeen) -> impl Future<Output = Result<Issued, StoreError>> + Send;

    /// Publishes a key, or prolongs its publication.
    fn publish_key(&self, request: &PublishKey) -> impl Future<Output = Result<KeyPublished, StoreError>> + Send;

    /// Ends the publication of a key, also of one that is not published yet.
    fn withdraw_key(&self, request: &WithdrawKey) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Lists the published keys of an issuer.
    fn list_keys(&self, request: &ListKeys) -> impl Future<Output = Result<Vec<PublishedKey>, StoreError>> + Send;

    /// Checks that the store can read and write now.
    fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
