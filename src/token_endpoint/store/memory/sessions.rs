//! The sessions of the store in memory, from the code on.
//!
//! *In*: requests, in the order in which they got the lock. *Out*: what was found or done.

use std::ops::Bound;

use super::{
    super::{
        AddCode, FindCode, FindSession, FoundCode, FoundSession, ListSessions, ListedSession, Presented, Record,
        Redeem, Redeemed, Refresh, Refreshed, Seen, SessionId, SessionIndex, StoreError, Successor, Timestamp,
    },
    places::Holder,
    state::{ExpiryKey, State},
};
use crate::token_endpoint::client::secret::TokenHash;

pub(super) struct SessionRow {
    code: TokenHash,
    pub(super) record: Record,
    client: TokenHash,
    subject: TokenHash,
    /// When the session, or the unused code, expires.
    pub(super) expires_at: Timestamp,
    number: u64,
    last_used_at: Timestamp,
    /// Number of stored access tokens.
    pub(super) tokens: usize,
    /// `None` as long as the code is unused.
    redeemed: Option<RedeemedSession>,
}

struct RedeemedSession {
    owner: TokenHash,
    refresh: Option<RefreshState>,
}

struct RefreshState {
    current: TokenHash,
    idle_until: Timestamp,
    last: Option<LastToken>,
}

struct LastToken {
    hash: TokenHash,
    salt: [u8; 32],
    used_at: Timestamp,
}

impl SessionRow {
    pub(super) fn holder(&self) -> Holder {
        Holder { client: self.client, subject: Some(self.subject) }
    }

    /// Returns the number of places: one for the row, and one for each token, of which the first one is reserved.
    fn places(&self) -> usize {
        1 + self.tokens.max(1)
    }

    /// Returns the refresh tokens, if the session can be refreshed.
    fn refresh(&self, now: Timestamp) -> Option<&RefreshState> {
        let refresh = self.redeemed.as_ref()?.refresh.as_ref()?;
        (now < self.expires_at && now < refresh.idle_until).then_some(refresh)
    }
}

impl RefreshState {
    fn presented(&self, presented: &TokenHash) -> Presented {
        if self.current.matches(presented) {
            Presented::Current
        } else if self.last.as_ref().is_some_and(|last| last.hash.matches(presented)) {
            Presented::Last
        } else {
            Presented::Other
        }
    }

    /// Returns what the presented token leads to. Changes nothing.
    fn decide(&self, request: &Refresh) -> Refreshed {
        match (self.presented(&request.presented), &self.last) {
            (Presented::Current, _) => Refreshed::Done,
            (Presented::Last, Some(last)) if request.now.abs_diff(last.used_at) < request.grace => {
                Refreshed::Again { salt: last.salt }
            }
            _ => Refreshed::Reused,
        }
    }

    fn rotate(&mut self, successor: &Successor, now: Timestamp) {
        self.last = Some(LastToken { hash: self.current, salt: successor.salt, used_at: now });
        self.current = successor.hash;
    }
}

impl State {
    pub(super) fn add_code(&mut self, request: &AddCode) -> Result<(), StoreError> {
        let AddCode { session: id, code, record, client, subject, expires_at, now, .. } = request;
        let number = self.next_number();
        let session = SessionRow {
            code: *code,
            record: record.clone(),
            client: *client,
            subject: *subject,
            expires_at: *expires_at,
            number,
            last_used_at: *now,
            tokens: 0,
            redeemed: None,
        };
        self.places.check(session.holder(), session.places())?;
        // A repeated call stores the same code.
        self.end_session(*id);
        self.places.take(session.holder(), session.places());
        self.by_client.insert((*client, *id));
        self.by_subject.insert((*subject, *id));
        self.set_expiry(*expires_at, number, ExpiryKey::Session(*id));
        self.sessions.insert(*id, session);
        Ok(())
    }

    pub(super) fn find_code(&self, request: &FindCode) -> Option<FoundCode> {
        let found = self.sessions.get(&request.session)?;
        let is_found = found.code.matches(&request.code) && request.now < found.expires_at;
        is_found.then(|| FoundCode { record: found.record.clone(), is_used: found.redeemed.is_some() })
    }

    pub(super) fn redeem(&mut self, request: &Redeem) -> Result<Redeemed, StoreError> {
        let Redeem { session: id, owner, token_limit, session_limit, seen, now, .. } = request;
        if self.is_seen(seen.as_ref(), *now) {
            return Ok(Redeemed::Seen);
        }
        let Some(found) = self.sessions.get(id).filter(|found| found.code.matches(&request.code)) else {
            return Ok(Redeemed::Unknown);
        };
        if *now >= found.expires_at {
            return Ok(Redeemed::Unknown);
        }
        if found.redeemed.is_some() {
            self.end_session(*id);
            return Ok(Redeemed::Replayed);
        }
        self.check_seen(seen.as_ref())?;
        self.add_seen(seen.as_ref());
        self.end_oldest(*owner, *session_limit, *now);
        self.start(request);
        self.add_session_access(*id, &request.access, token_limit.map(|limit| (*owner, limit)), *now);
        Ok(Redeemed::Done)
    }

    pub(super) fn find_session(&self, request: &FindSession) -> Option<FoundSession> {
        let found = self.sessions.get(&request.session)?;
        let presented = found.refresh(request.now)?.presented(&request.presented);
        Some(FoundSession { record: found.record.clone(), presented, expires_at: found.expires_at })
    }

    pub(super) fn refresh(&mut self, request: &Refresh) -> Result<Refreshed, StoreError> {
        let Refresh { session: id, owner, token_limit, seen, now, .. } = request;
        if self.is_seen(seen.as_ref(), *now) {
            return Ok(Refreshed::Seen);
        }
        let Some(found) = self.sessions.get(id).and_then(|session| session.refresh(*now)) else {
            return Ok(Refreshed::Unknown);
        };
        let decided = found.decide(request);
        if decided == Refreshed::Reused {
            self.end_session(*id);
            return Ok(decided);
        }
        self.check_seen(seen.as_ref())?;
        self.add_seen(seen.as_ref());
        self.use_refresh(request, decided);
        self.add_session_access(*id, &request.access, token_limit.map(|limit| (*owner, limit)), *now);
        Ok(decided)
    }

    pub(super) fn end_session(&mut self, id: SessionId) {
        let Some(ended) = self.sessions.remove(&id) else { return };
        self.remove_expiry(ended.expires_at, ended.number);
        self.by_client.remove(&(ended.client, id));
        self.by_subject.remove(&(ended.subject, id));
        if let Some(redeemed) = &ended.redeemed {
            self.sessions_of_owners.remove(redeemed.owner, ended.number);
        }
        self.places.free(ended.holder(), ended.places());
        while self.remove_oldest_of_session(id) {}
    }

    pub(super) fn list_sessions(&self, request: &ListSessions) -> Vec<ListedSession> {
        let (index, hash) = match request.index {
            SessionIndex::Subject(hash) => (&self.by_subject, hash),
            SessionIndex::Client(hash) => (&self.by_client, hash),
        };
        let first = request
            .after
            .map_or_else(|| Bound::Included((hash, SessionId::from([0; 16]))), |after| Bound::Excluded((hash, after)));
        let ids = index.range((first, Bound::Included((hash, SessionId::from([u8::MAX; 16]))))).map(|(_, id)| *id);
        let listed = ids.filter_map(|id| {
            let found = self.sessions.get(&id).filter(|found| request.now < found.expires_at)?;
            let SessionRow { record, last_used_at, .. } = found;
            let is_redeemed = found.redeemed.is_some();
            Some(ListedSession { id, record: record.clone(), is_redeemed, last_used_at: *last_used_at })
        });
        listed.take(request.limit).collect()
    }

    /// Checks the room for the `jti` of a client that redeems a code or refreshes a session.
    fn check_seen(&self, seen: Option<&Seen>) -> Result<(), StoreError> {
        let Some(seen) = seen else { return Ok(()) };
        self.places.check_extended(Holder { client: seen.client, subject: None }, 1)
    }

    /// Ends sessions of the owner, so that one more is within the limit.
    fn end_oldest(&mut self, owner: TokenHash, limit: Option<u32>, now: Timestamp) {
        let Some(limit) = limit else { return };
        while let Some(id) = self.sessions_of_owners.first_to_remove(owner, limit, now) {
            self.end_session(id);
        }
    }

    /// Turns the row of an unused code into that of a session.
    fn start(&mut self, request: &Redeem) {
        let Redeem { session: id, owner, record, expires_at, now, .. } = request;
        // Sessions are numbered in the order of their start.
        let number = self.next_number();
        let Some(session) = self.sessions.get_mut(id) else { return };
        let refresh =
            request.refresh.map(|first| RefreshState { current: first.hash, idle_until: first.idle_until, last: None });
        let code = (session.expires_at, session.number);
        session.record = record.clone();
        session.expires_at = *expires_at;
        session.number = number;
        session.last_used_at = *now;
        session.redeemed = Some(RedeemedSession { owner: *owner, refresh });
        self.remove_expiry(code.0, code.1);
        self.set_expiry(*expires_at, number, ExpiryKey::Session(*id));
        self.sessions_of_owners.insert(*owner, number, *expires_at, *id);
    }

    /// Sets what a refresh changes in the row.
    fn use_refresh(&mut self, request: &Refresh, decided: Refreshed) {
        let Some(session) = self.sessions.get_mut(&request.session) else { return };
        session.last_used_at = request.now;
        let Some(refresh) = session.redeemed.as_mut().and_then(|redeemed| redeemed.refresh.as_mut()) else { return };
        refresh.idle_until = request.idle_until;
        if let (Refreshed::Done, Some(successor)) = (decided, &request.successor) {
            refresh.rotate(successor, request.now);
        }
    }
}
