//! What an operator does with sessions: lists and ends them.
//!
//! *In*: a subject, a client or a session id. *Out*: sessions of the store, without anything that a token could be made from.
//!
//! Access tokens in JWT form are valid at an API until they expire, unless the API introspects them.

use std::{fmt, time::SystemTime};

use super::{
    TokenEndpoint,
    events::{Event, EventKind},
    record::{self, SessionRecord},
    store::{EndSession, ListSessions, ListedSession, SessionId, SessionIndex, StoreError, Timestamp, Written},
};

/// A session: a user's approval of a client, and everything that is issued from it.
#[derive(Clone)]
pub struct Session {
    id: SessionId,
    record: SessionRecord,
    last_used_at: Timestamp,
}

impl Session {
    /// Returns the id, for [`TokenEndpoint::end_session`].
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns `client_id`.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.record.owner.client_id
    }

    /// Returns `sub`: the user.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.record.owner.subject
    }

    /// Returns the scopes that the user approved.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.record.scope.split(' ').filter(|name| !name.is_empty())
    }

    /// Returns the APIs that the user approved.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.record.audiences.iter().map(String::as_str)
    }

    /// Returns when the user approved.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        Timestamp::from_secs(self.record.since).into()
    }

    /// Returns when the client got a token last.
    #[must_use]
    pub fn last_used_at(&self) -> SystemTime {
        self.last_used_at.into()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("client_id", &self.client_id()).finish_non_exhaustive()
    }
}

impl TokenEndpoint {
    /// Returns the sessions of a user, in the order of their ids: at most 100, those after `after`. Call it again with the last
    /// id until it returns no more.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn sessions_of_subject(
        &self,
        subject: &str,
        after: Option<SessionId>,
    ) -> Result<Vec<Session>, StoreError> {
        let index = SessionIndex::Subject(self.inner.services.texts.subject(subject));
        let mut after = after;
        loop {
            let listed = self.list(index, after).await?;
            let is_last = listed.len() < PAGE;
            after = listed.last().map(|last| last.id);
            let sessions: Vec<_> = listed.iter().filter_map(Session::from_listed).collect();
            // A page can have codes that were not used yet, and nothing else.
            if is_last || !sessions.is_empty() {
                return Ok(sessions);
            }
        }
    }

    /// Ends a session. Its refresh token and its access tokens are invalid from then on; an API that verifies JWTs itself accepts
    /// them until they expire. A session that has ended before is no error.
    ///
    /// # Errors
    /// The store is unavailable. The session may have ended.
    pub async fn end_session(&self, session: SessionId) -> Result<(), StoreError> {
        let services = &self.inner.services;
        let end = EndSession { session, now: services.timestamp(), deadline: services.deadline() };
        match services.store.end_session(&end).await? {
            Written::Done => {
                services.emit(&Event { session: Some(session), ..Event::new(EventKind::SessionEnded) });
                Ok(())
            }
            Written::Late => Err(StoreError::not_executed("the store got to the operation after its deadline")),
        }
    }

    /// Ends all sessions of a user, as [`end_session`](Self::end_session) does, and removes the user's unused codes. Returns how
    /// many sessions and codes there were.
    ///
    /// # Errors
    /// The store is unavailable. Some sessions may have ended.
    pub async fn end_sessions_of_subject(&self, subject: &str) -> Result<usize, StoreError> {
        self.end_all(SessionIndex::Subject(self.inner.services.texts.subject(subject))).await
    }

    /// Ends all sessions of a client, as [`end_session`](Self::end_session) does, and removes its unused codes. Tokens that the
    /// client got for itself stay valid. Returns how many sessions and codes there were.
    ///
    /// # Errors
    /// The store is unavailable. Some sessions may have ended.
    pub async fn end_sessions_of_client(&self, client_id: &str) -> Result<usize, StoreError> {
        self.end_all(SessionIndex::Client(self.inner.services.texts.client(client_id))).await
    }

    /// Checks that requests can be answered: that the store can read and write, and that the registry answers. For a health check.
    ///
    /// # Errors
    /// The store or the registry is unavailable.
    pub async fn is_ready(&self) -> Result<(), StoreError> {
        self.inner.services.store.check().await?;
        self.inner.services.check_registry().await
    }

    async fn end_all(&self, index: SessionIndex) -> Result<usize, StoreError> {
        let mut count = 0;
        loop {
            // Always the first page: the ones that ended are not in it any more.
            let listed = self.list(index, None).await?;
            if listed.is_empty() {
                return Ok(count);
            }
            for session in &listed {
                self.end_session(session.id).await?;
            }
            count += listed.len();
        }
    }

    async fn list(&self, index: SessionIndex, after: Option<SessionId>) -> Result<Vec<ListedSession>, StoreError> {
        let services = &self.inner.services;
        let list = ListSessions { index, after, limit: PAGE, now: services.timestamp() };
        services.store.list_sessions(&list).await
    }
}

impl Session {
    /// `None` for an unused code, and for a record that this version can't read.
    fn from_listed(listed: &ListedSession) -> Option<Self> {
        let record = record::read(&listed.record).filter(|_| listed.is_redeemed)?;
        Some(Self { id: listed.id, record, last_used_at: listed.last_used_at })
    }
}

/// Sessions in one answer of the store.
const PAGE: usize = 100;
