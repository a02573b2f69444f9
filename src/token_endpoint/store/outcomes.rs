//! The answers of a store.
//!
//! *In*: what a store has found or done. *Out*: values that the token endpoint acts on.

use std::fmt;

use super::ids::{Record, SessionId, Timestamp};

/// The answer to [`Store::add_code`](super::Store::add_code), and to the other writes that have no further answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// It is done. If there was nothing to do, it counts as done.
    Done,
    /// The deadline had passed when the store got to the operation. Nothing was done.
    Late,
}

/// The answer to [`Store::redeem`](super::Store::redeem).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redeemed {
    /// The code is used now, the session has begun, and its tokens are stored.
    Done,
    /// The code was used before. The session has ended now, and with it everything that was issued from the code.
    Replayed,
    /// There is no such code, or it has expired. Nothing was done.
    Unknown,
    /// The value that must be new is known. Nothing was done.
    Seen,
    /// The deadline had passed when the store got to the operation. Nothing was done.
    Late,
}

/// The answer to [`Store::refresh`](super::Store::refresh).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refreshed {
    /// The successor is the session's refresh token now, if one was given. The access token is stored.
    Done,
    /// The presented token is the last one, its successor was not used, and the grace has not ended. The access token is
    /// stored. The successor is the one that was stored first.
    Again {
        /// [`Successor::salt`](super::Successor::salt) of the first use.
        salt: [u8; 32],
    },
    /// Another refresh token of the session was presented. The session has ended now.
    Reused,
    /// There is no such session, or its refresh token has expired. Nothing was done.
    Unknown,
    /// The value that must be new is known. Nothing was done.
    Seen,
    /// The deadline had passed when the store got to the operation. Nothing was done.
    Late,
}

impl fmt::Debug for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::Again { .. } => "Again",
            Self::Reused => "Reused",
            Self::Unknown => "Unknown",
            Self::Seen => "Seen",
            Self::Late => "Late",
        })
    }
}

/// The answer to [`Store::issue`](super::Store::issue) and [`Store::insert_seen`](super::Store::insert_seen).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Issued {
    /// It is stored.
    Done,
    /// The value that must be new is known. Nothing was done.
    Seen,
    /// The deadline had passed when the store got to the operation. Nothing was done.
    Late,
}

/// A code that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store makes it")]
pub struct FoundCode {
    /// What was stored with the code, or by the request that used it.
    pub record: Record,
    /// Whether the code was used.
    pub is_used: bool,
}

/// Which refresh token of a session was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum Presented {
    /// The one that is valid now.
    Current,
    /// The one before. Within the grace it gets the same successor again.
    Last,
    /// Any other text: an older one, or none of the session's.
    Other,
}

/// A session that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store makes it")]
pub struct FoundSession {
    /// What was stored with the session.
    pub record: Record,
    /// Which of its refresh tokens was presented.
    pub presented: Presented,
    /// When the session expires.
    pub expires_at: Timestamp,
}

/// An access token that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store makes it")]
pub struct FoundAccess {
    /// What was stored with the token.
    pub record: Record,
    /// What was stored with its session, if it belongs to one.
    pub session: Option<Record>,
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store makes it")]
pub struct ListedSession {
    /// The id.
    pub id: SessionId,
    /// What was stored with the session.
    pub record: Record,
    /// Whether the code was used. Until then, there is a code and no token.
    pub is_redeemed: bool,
    /// When the code or a refresh token was used last; when the code was stored, if it was not used.
    pub last_used_at: Timestamp,
}

/// The answer to [`Store::publish_key`](super::Store::publish_key).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPublished {
    /// The key is published.
    Done {
        /// When it was published first.
        since: Timestamp,
    },
    /// The key was withdrawn, and is not published.
    Withdrawn,
    /// The deadline had passed when the store got to the operation. Nothing was done.
    Late,
}

/// A published key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store makes it")]
pub struct PublishedKey {
    /// `kid`.
    pub key_id: String,
    /// The public key as a JWK.
    pub jwk: String,
    /// When it was published first.
    pub since: Timestamp,
}
