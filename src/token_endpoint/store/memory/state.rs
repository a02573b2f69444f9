//! What the store in memory contains: access tokens, `jti`s, and when each entry expires.
//!
//! *In*: requests, in the order in which they got the lock. *Out*: what was found or done.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        FindAccess, FoundAccess, InsertSeen, Issue, Issued, NewAccess, Partition, Record, RevokeAccess, Seen,
        SessionId, StoreError, Timestamp,
    },
    aging::Aging,
    clients::ClientRecords,
    fast_map::FastMap,
    places::{Holder, Places},
    published::PublishedKeys,
    sessions::SessionRow,
};
use crate::token_endpoint::client::secret::TokenHash;

pub(super) struct State {
    pub(super) sessions: FastMap<SessionId, SessionRow>,
    access: FastMap<TokenHash, Access>,
    seen: FastMap<TokenHash, SeenEntry>,
    pub(super) keys: PublishedKeys,
    pub(super) clients: ClientRecords,
    pub(super) places: Places,
    pub(super) by_subject: BTreeSet<(TokenHash, SessionId)>,
    pub(super) by_client: BTreeSet<(TokenHash, SessionId)>,
    pub(super) sessions_of_owners: Aging<SessionId>,
    /// Only the tokens of owners with a limit.
    tokens_of_owners: Aging<TokenHash>,
    /// The tokens of each session, the oldest first.
    tokens_of_sessions: BTreeMap<(SessionId, u64), TokenHash>,
    /// When each entry can be removed, with the number of the entry. Tokens with the same lifetime are added at one end.
    expiry: BTreeMap<(Timestamp, u64), ExpiryKey>,
    last_number: u64,
}

pub(super) enum ExpiryKey {
    Session(SessionId),
    Access(TokenHash),
    Seen(TokenHash),
}

struct Access {
    partition: Partition,
    record: Record,
    expires_at: Timestamp,
    number: u64,
    /// Set if the owner has a limit.
    counted: Option<TokenHash>,
    home: Home,
}

/// What an access token belongs to.
#[derive(Clone, Copy)]
enum Home {
    Session(SessionId),
    Client(TokenHash),
}

struct SeenEntry {
    client: TokenHash,
    expires_at: Timestamp,
    number: u64,
}

impl State {
    pub(super) fn new(places: Places) -> Self {
        Self {
            sessions: FastMap::default(),
            access: FastMap::default(),
            seen: FastMap::default(),
            keys: PublishedKeys::default(),
            clients: ClientRecords::default(),
            places,
            by_subject: BTreeSet::new(),
            by_client: BTreeSet::new(),
            sessions_of_owners: Aging::default(),
            tokens_of_owners: Aging::default(),
            tokens_of_sessions: BTreeMap::new(),
            expiry: BTreeMap::new(),
            last_number: 0,
        }
    }

    pub(super) fn issue(&mut self, request: &Issue) -> Result<Issued, StoreError> {
        let Issue { client, owner, access, token_limit, seen, now, .. } = request;
        if self.is_seen(seen.as_ref(), *now) {
            return Ok(Issued::Seen);
        }
        let (holder, limit) = (Holder { client: *client, subject: None }, token_limit.map(|limit| (*owner, limit)));
        let replaced = self.is_place_freed_by_limit(limit, *now);
        self.places.check(holder, usize::from(!replaced) + usize::from(seen.is_some()))?;
        self.revoke_oldest(limit, *now);
        self.add_seen(seen.as_ref());
        self.places.take(holder, 1);
        self.add_access(access, access.expires_at, limit.map(|(owner, _)| owner), Home::Client(*client));
        Ok(Issued::Done)
    }

    pub(super) fn insert_seen(&mut self, request: &InsertSeen) -> Result<Issued, StoreError> {
        let seen = Some(&request.seen);
        if self.is_seen(seen, request.now) {
            return Ok(Issued::Seen);
        }
        // A full share must not prevent a revocation, which frees places.
        self.places.check_extended(Holder { client: request.seen.client, subject: None }, 1)?;
        self.add_seen(seen);
        Ok(Issued::Done)
    }

    pub(super) fn find_access(&self, request: &FindAccess) -> Option<FoundAccess> {
        let found = self.access.get(&request.token)?;
        if found.partition != request.partition || found.expires_at <= request.now {
            return None;
        }
        let session = match found.home {
            // The token is removed together with its session.
            Home::Session(id) => Some(self.sessions.get(&id)?.record.clone()),
            Home::Client(_) => None,
        };
        Some(FoundAccess { record: found.record.clone(), session })
    }

    pub(super) fn revoke_access(&mut self, request: &RevokeAccess) {
        if self.access.get(&request.token).is_some_and(|found| found.partition == request.partition) {
            self.remove_access(&request.token);
        }
    }

    /// Stores the access token of a session. It replaces the session's oldest one if there is no room.
    pub(super) fn add_session_access(
        &mut self,
        id: SessionId,
        access: &NewAccess,
        limit: Option<(TokenHash, u32)>,
        now: Timestamp,
    ) {
        self.revoke_oldest(limit, now);
        let Some((holder, tokens)) = self.sessions.get(&id).map(|session| (session.holder(), session.tokens)) else {
            return;
        };
        // The place of the first token is reserved since the code was stored.
        if tokens > 0 && self.places.check(holder, 1).is_err() {
            self.remove_oldest_of_session(id);
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.tokens += 1;
        if session.tokens > 1 {
            self.places.take(holder, 1);
        }
        let expires_at = access.expires_at.min(session.expires_at);
        self.add_access(access, expires_at, limit.map(|(owner, _)| owner), Home::Session(id));
    }

    /// Removes an access token of a session; returns whether there was one.
    pub(super) fn remove_oldest_of_session(&mut self, id: SessionId) -> bool {
        let oldest = self.tokens_of_sessions.range((id, 0)..=(id, u64::MAX)).next();
        let Some((key, hash)) = oldest.map(|(key, hash)| (*key, *hash)) else { return false };
        self.tokens_of_sessions.remove(&key);
        self.remove_access(&hash);
        true
    }

    /// Returns whether the value is known, which must be new.
    pub(super) fn is_seen(&self, seen: Option<&Seen>, now: Timestamp) -> bool {
        seen.and_then(|seen| self.seen.get(&seen.key)).is_some_and(|found| now < found.expires_at)
    }

    /// Stores a value that is not known.
    pub(super) fn add_seen(&mut self, seen: Option<&Seen>) {
        let Some(Seen { key, client, expires_at, .. }) = seen else { return };
        // It may have expired.
        self.remove_seen(key);
        let number = self.next_number();
        self.places.take(Holder { client: *client, subject: None }, 1);
        self.expiry.insert((*expires_at, number), ExpiryKey::Seen(*key));
        self.seen.insert(*key, SeenEntry { client: *client, expires_at: *expires_at, number });
    }

    /// Removes expired entries in small batches, to bound the pause.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        for _ in 0..SWEPT_AT_ONCE {
            let Some(first) = self.expiry.first_entry().filter(|first| first.key().0 <= now) else { return };
            match first.remove() {
                ExpiryKey::Session(id) => self.end_session(id),
                ExpiryKey::Access(hash) => self.remove_access(&hash),
                ExpiryKey::Seen(key) => self.remove_seen(&key),
            }
        }
    }

    pub(super) fn set_expiry(&mut self, expires_at: Timestamp, number: u64, key: ExpiryKey) {
        self.expiry.insert((expires_at, number), key);
    }

    pub(super) fn remove_expiry(&mut self, expires_at: Timestamp, number: u64) {
        self.expiry.remove(&(expires_at, number));
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn add_access(&mut self, access: &NewAccess, expires_at: Timestamp, counted: Option<TokenHash>, home: Home) {
        let NewAccess { partition, hash, record, .. } = access;
        let number = self.next_number();
        if let Some(owner) = counted {
            self.tokens_of_owners.insert(owner, number, expires_at, *hash);
        }
        if let Home::Session(id) = home {
            self.tokens_of_sessions.insert((id, number), *hash);
        }
        self.expiry.insert((expires_at, number), ExpiryKey::Access(*hash));
        let entry = Access { partition: *partition, record: record.clone(), expires_at, number, counted, home };
        if let Some(replaced) = self.access.insert(*hash, entry) {
            self.clear_access(&replaced);
        }
    }

    fn remove_access(&mut self, hash: &TokenHash) {
        if let Some(removed) = self.access.remove(hash) {
            self.clear_access(&removed);
        }
    }

    /// Removes what refers to a token that was removed.
    fn clear_access(&mut self, removed: &Access) {
        self.expiry.remove(&(removed.expires_at, removed.number));
        if let Some(owner) = removed.counted {
            self.tokens_of_owners.remove(owner, removed.number);
        }
        match removed.home {
            Home::Client(client) => self.places.free(Holder { client, subject: None }, 1),
            Home::Session(id) => {
                self.tokens_of_sessions.remove(&(id, removed.number));
                let Some(session) = self.sessions.get_mut(&id) else { return };
                session.tokens = session.tokens.saturating_sub(1);
                // The last place stays reserved for the next token.
                if session.tokens > 0 {
                    self.places.free(session.holder(), 1);
                }
            }
        }
    }

    /// Revokes tokens of the owner, so that one more is within the limit.
    fn revoke_oldest(&mut self, limit: Option<(TokenHash, u32)>, now: Timestamp) {
        let Some((owner, limit)) = limit else { return };
        while let Some(hash) = self.tokens_of_owners.first_to_remove(owner, limit, now) {
            self.remove_access(&hash);
        }
    }

    /// Returns whether the limit of an owner revokes a token whose place is free then.
    fn is_place_freed_by_limit(&self, limit: Option<(TokenHash, u32)>, now: Timestamp) -> bool {
        let first = limit.and_then(|(owner, limit)| self.tokens_of_owners.first_to_remove(owner, limit, now));
        first.and_then(|hash| self.access.get(&hash)).is_some_and(|access| matches!(access.home, Home::Client(_)))
    }

    fn remove_seen(&mut self, key: &TokenHash) {
        let Some(removed) = self.seen.remove(key) else { return };
        self.expiry.remove(&(removed.expires_at, removed.number));
        self.places.free(Holder { client: removed.client, subject: None }, 1);
    }
}

/// Maximum number of expired entries that one operation removes.
const SWEPT_AT_ONCE: usize = 32;
