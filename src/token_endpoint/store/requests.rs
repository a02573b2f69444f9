//! The requests of the token endpoint to a store.
//!
//! *In*: what the endpoint has decided. *Out*: the values that a store reads. Each field has a getter of the same name.

use std::{fmt, time::Instant};

use super::ids::{Partition, Record, SessionId, SessionIndex, Timestamp};
use crate::token_endpoint::client::secret::TokenHash;

/// Defines a struct whose fields are set in this crate only, and a getter for each field.
macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:tt $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $(pub(crate) $field: $type,)+
        }

        impl $name {
            $(requests!(@getter $(#[$field_doc])* $field: $kind $type);)+
        }
    )+};
    (@getter $(#[$doc:meta])* $field:ident: copy $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(&self) -> $type {
            self.$field
        }
    };
    (@getter $(#[$doc:meta])* $field:ident: borrow $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(&self) -> &$type {
            &self.$field
        }
    };
}

pub(super) use requests;

requests! {
    /// Stores an unused code. There is no session with this id yet.
    AddCode {
        /// The session that the code will start.
        session: copy SessionId,
        /// The hash of the code.
        code: copy TokenHash,
        /// What the user has approved.
        record: borrow Record,
        /// The hash of the client's id.
        client: copy TokenHash,
        /// The hash of the subject.
        subject: copy TokenHash,
        /// When the unused code expires.
        expires_at: copy Timestamp,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Looks up a code.
    FindCode {
        /// The session of the code.
        session: copy SessionId,
        /// The hash of the code.
        code: copy TokenHash,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
    }

    /// Uses a code: starts the session, and stores its first tokens.
    Redeem {
        /// The session of the code.
        session: copy SessionId,
        /// The hash of the code.
        code: copy TokenHash,
        /// What the endpoint keeps about the session from now on.
        record: borrow Record,
        /// The hash of the client's id.
        client: copy TokenHash,
        /// The hash of the subject.
        subject: copy TokenHash,
        /// The hash of client and subject together.
        owner: copy TokenHash,
        /// When the session expires, with everything that belongs to it.
        expires_at: copy Timestamp,
        /// The hash of the first refresh token and when it expires unless it is used; `None` if the client gets none.
        refresh: copy Option<FirstRefresh>,
        /// The first access token. Its partition is that of the session.
        access: borrow NewAccess,
        /// Maximum number of active access tokens of the owner. The oldest ones beyond it are revoked.
        token_limit: copy Option<u32>,
        /// Maximum number of sessions of the owner, this one included. The oldest ones beyond it end.
        session_limit: copy Option<u32>,
        /// What must be new, or nothing is done.
        seen: copy Option<Seen>,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Looks up a session by a refresh token.
    FindSession {
        /// The session.
        session: copy SessionId,
        /// The hash of the presented refresh token.
        presented: copy TokenHash,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
    }

    /// Uses a refresh token: stores its successor, if there is one, and an access token.
    Refresh {
        /// The session of the refresh token.
        session: copy SessionId,
        /// The hash of the presented refresh token.
        presented: copy TokenHash,
        /// The successor of the refresh token; `None` if the token can be used again.
        successor: copy Option<Successor>,
        /// When the refresh token of the session expires unless it is used.
        idle_until: copy Timestamp,
        /// For how many seconds the last refresh token gets the same successor again.
        grace: copy u64,
        /// The hash of the client's id.
        client: copy TokenHash,
        /// The hash of client and subject together.
        owner: copy TokenHash,
        /// The access token. Its partition is that of the session.
        access: borrow NewAccess,
        /// Maximum number of active access tokens of the owner. The oldest ones beyond it are revoked.
        token_limit: copy Option<u32>,
        /// What must be new, or nothing is done.
        seen: copy Option<Seen>,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Stores an access token that belongs to no session.
    Issue {
        /// The hash of the client's id.
        client: copy TokenHash,
        /// The hash of client and subject together.
        owner: copy TokenHash,
        /// The access token. If there is a limit, its partition is made from the owner.
        access: borrow NewAccess,
        /// Maximum number of active access tokens of the owner. The oldest ones beyond it are revoked.
        token_limit: copy Option<u32>,
        /// What must be new, or nothing is done.
        seen: copy Option<Seen>,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Looks up an access token.
    FindAccess {
        /// Where the token is.
        partition: copy Partition,
        /// The hash of the token.
        token: copy TokenHash,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
    }

    /// Revokes an access token. The session that it may belong to goes on.
    RevokeAccess {
        /// Where the token is.
        partition: copy Partition,
        /// The hash of the token.
        token: copy TokenHash,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Ends a session: its code, its refresh token and its access tokens are invalid from then on.
    EndSession {
        /// The session.
        session: copy SessionId,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Lists sessions and unused codes, in the order of their ids.
    ListSessions {
        /// Whose sessions are listed.
        index: copy SessionIndex,
        /// Only sessions with a greater id.
        after: copy Option<SessionId>,
        /// Maximum number of sessions in the answer; at least 1.
        limit: copy usize,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
    }

    /// Stores a value that is accepted once.
    InsertSeen {
        /// What must be new.
        seen: copy Seen,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Publishes a key that verifies tokens, or prolongs its publication.
    PublishKey {
        /// The hash of the issuer. Keys of other issuers are never listed with this one.
        issuer: copy TokenHash,
        /// `kid`.
        key_id: borrow String,
        /// The public key as a JWK.
        jwk: borrow String,
        /// When the publication ends, unless it is prolonged.
        expires_at: copy Timestamp,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Ends the publication of a key. Until `expires_at`, it can't be published again.
    WithdrawKey {
        /// The hash of the issuer.
        issuer: copy TokenHash,
        /// `kid`.
        key_id: borrow String,
        /// Until when the key can't be published again.
        expires_at: copy Timestamp,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
        /// After this moment, the store must not execute the operation.
        deadline: copy Instant,
    }

    /// Lists the published keys of an issuer.
    ListKeys {
        /// The hash of the issuer.
        issuer: copy TokenHash,
        /// The time by the endpoint's clock.
        now: copy Timestamp,
    }

    /// An access token to store.
    NewAccess {
        /// Where the token is.
        partition: copy Partition,
        /// The hash of the token.
        hash: copy TokenHash,
        /// What the endpoint keeps about the token.
        record: borrow Record,
        /// When the token expires.
        expires_at: copy Timestamp,
    }
}

/// A value that is accepted once, such as the `jti` of a client's assertion (RFC 7523 §3) or of a DPoP proof (RFC 9449 §11.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    pub(crate) key: TokenHash,
    pub(crate) client: TokenHash,
    pub(crate) shard: TokenHash,
    pub(crate) attempt: TokenHash,
    pub(crate) expires_at: Timestamp,
}

impl Seen {
    /// The hash of the value.
    #[must_use]
    pub fn key(&self) -> TokenHash {
        self.key
    }

    /// The hash of the id of the client that has sent the value.
    #[must_use]
    pub fn client(&self) -> TokenHash {
        self.client
    }

    /// Where a store with several nodes keeps the value. All requests with the same value have the same one. The value of an
    /// assertion belongs to its client; a proof can be sent by any client.
    #[must_use]
    pub fn shard(&self) -> TokenHash {
        self.shard
    }

    /// The hash of the whole request that has sent the value. A store that can't store the value in the same step as the rest of
    /// a write stores it first. Until that write is done, it accepts the value again from the same request, which the client
    /// repeats after a 503.
    #[must_use]
    pub fn attempt(&self) -> TokenHash {
        self.attempt
    }

    /// Until when the value is known.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// The first refresh token of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FirstRefresh {
    pub(crate) hash: TokenHash,
    pub(crate) idle_until: Timestamp,
}

impl FirstRefresh {
    /// The hash of the token.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        self.hash
    }

    /// When the token expires, unless it is used.
    #[must_use]
    pub fn idle_until(&self) -> Timestamp {
        self.idle_until
    }
}

/// A refresh token that replaces another one.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Successor {
    pub(crate) hash: TokenHash,
    pub(crate) salt: [u8; 32],
}

impl Successor {
    /// The hash of the token.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        self.hash
    }

    /// Random bytes. The token's text is derived from them and its predecessor's text, which no store has.
    #[must_use]
    pub fn salt(&self) -> [u8; 32] {
        self.salt
    }
}

impl fmt::Debug for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Successor").field("hash", &self.hash).finish_non_exhaustive()
    }
}
