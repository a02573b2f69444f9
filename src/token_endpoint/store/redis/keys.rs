//! The names of the keys in Redis.
//!
//! *In*: what an entry belongs to. *Out*: the tag that puts all keys of one script into one slot of a cluster, and the keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::super::{Partition, SessionId, SessionIndex};
use crate::{redis_link::slot, token_endpoint::client::secret::TokenHash};

/// What the keys of one script have in common: the part in braces, by which a cluster chooses the node.
#[derive(Debug, Clone)]
pub(super) struct Tag(String);

/// The last part of a key: what it has.
#[derive(Debug, Clone, Copy)]
pub(super) enum EntryKind {
    /// The row of a session.
    Session,
    /// Access tokens by hash.
    Access,
    /// The access tokens of an owner, from the oldest to the newest.
    AccessOrder,
    /// Access tokens by expiry.
    AccessExpiry,
    /// The sessions of an owner, from the oldest to the newest.
    SessionOrder,
    /// The sessions of an owner by expiry.
    SessionExpiry,
    /// The ids of the sessions of a subject or client.
    Ids,
    /// The same ids by expiry.
    IdsExpiry,
    /// The public keys of an issuer.
    PublicKeys,
    /// A value that is accepted once.
    Seen(TokenHash),
    /// The records of some clients of an issuer, by the hash of the id.
    Clients,
    /// The hashes of these ids, in their order.
    ClientOrder,
}

impl Tag {
    pub(super) fn partition(partition: &Partition) -> Self {
        Self(URL_SAFE_NO_PAD.encode(partition.as_bytes()))
    }

    pub(super) fn session(session: &SessionId) -> Self {
        Self::partition(&session.partition())
    }

    /// The partition of an owner's own access tokens. Its lists of tokens and sessions are beside them.
    pub(super) fn owner(owner: &TokenHash) -> Self {
        Self::partition(&owner_partition(owner))
    }

    /// The index of a subject is one part. That of a client has a part for each value of the first six bits of the ids, in the
    /// order of the ids, because a client may have millions of sessions.
    pub(super) fn index(index: SessionIndex, part: u8) -> Self {
        match index {
            SessionIndex::Subject(hash) => Self(encode(&hash)),
            SessionIndex::Client(hash) => Self(format!("{}.{part}", encode(&hash))),
        }
    }

    /// The shard of a value, or the issuer, with this hash.
    pub(super) fn of(hash: &TokenHash) -> Self {
        Self(encode(hash))
    }

    /// A part of the clients of an issuer.
    pub(super) fn clients(issuer: &TokenHash, part: u8) -> Self {
        Self(format!("{}.{part}", encode(issuer)))
    }

    /// A tag for a check of the server.
    pub(super) fn check(number: u8) -> Self {
        Self(format!("check.{number}"))
    }

    pub(super) fn key(&self, prefix: &str, kind: EntryKind) -> Vec<u8> {
        let kind = match kind {
            EntryKind::Session => "s",
            EntryKind::Access => "a",
            EntryKind::AccessOrder => "ao",
            EntryKind::AccessExpiry => "ax",
            EntryKind::SessionOrder => "so",
            EntryKind::SessionExpiry => "sx",
            EntryKind::Ids => "i",
            EntryKind::IdsExpiry => "ix",
            EntryKind::PublicKeys => "k",
            EntryKind::Clients => "c",
            EntryKind::ClientOrder => "co",
            EntryKind::Seen(value) => return format!("{prefix}{{{}}}j:{}", self.0, encode(&value)).into_bytes(),
        };
        format!("{prefix}{{{}}}{kind}", self.0).into_bytes()
    }

    /// The slot of the keys in a cluster.
    pub(super) fn slot(&self) -> u16 {
        slot(&self.0)
    }
}

/// The part of a client's index that has this session.
pub(super) fn part(session: &SessionId) -> u8 {
    let [first, ..] = session.as_bytes();
    first >> 2
}

/// The part of an issuer's clients that has this client: the parts are in the order of the hashes.
pub(super) fn client_part(client: &TokenHash) -> u8 {
    let [first, ..] = client.as_bytes();
    first >> 2
}

/// The partition of the access tokens that belong to no session, if their client has a limit.
pub(super) fn owner_partition(owner: &TokenHash) -> Partition {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(owner.as_bytes()).for_each(|(byte, of_owner)| *byte = *of_owner);
    Partition::from(bytes)
}

fn encode(hash: &TokenHash) -> String {
    URL_SAFE_NO_PAD.encode(hash.as_bytes())
}

/// Parts of the index of a client, and of the clients of an issuer.
pub(super) const PARTS: u8 = 64;
