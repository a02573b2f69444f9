//! What was stored is found after a restart.

use super::{StartedSession, Suite};
use crate::token_endpoint::{
    AddCode, FoundAccess, Issue, Issued, KeyPublished, PublishKey, Redeemed, Refresh, Refreshed, Store,
};

/// Entries that must be found after a restart.
pub(super) struct StoredEntries {
    code: (StartedSession, AddCode),
    refreshed: (StartedSession, Refresh),
    replayed: StartedSession,
    ended: StartedSession,
    issue: Issue,
    seen: StartedSession,
    key: PublishKey,
}

impl<S: Store> Suite<S> {
    pub(super) async fn store_entries(&self) -> StoredEntries {
        let mut seen = self.session().await;
        seen.requests = seen.requests.jwt_id("before the restart", "first");
        self.store().insert_seen(&seen.requests.insert_seen()).await.expect("insert_seen");
        let with_code = self.session().await;
        let code = with_code.requests.add_code();
        self.add_code(&code).await;
        let session = self.session().await;
        let refresh = session.refresh(session.first());
        assert_eq!(self.refresh(&refresh).await, Refreshed::Done);
        let ended = self.session().await;
        self.end_session(&ended).await;
        let issue = self.requests().issue();
        self.issue(&issue).await;
        let key = self.publish_key("before the restart");
        self.store().publish_key(&key).await.expect("publish_key");
        let replayed = self.session().await;
        StoredEntries { code: (with_code, code), refreshed: (session, refresh), replayed, ended, issue, seen, key }
    }
}

impl StoredEntries {
    pub(super) async fn find_again(self, store: &impl Store) {
        let (StartedSession { requests, .. }, code) = self.code;
        assert_eq!(store.redeem(&requests.redeem(&code)).await.expect("redeem"), Redeemed::Done, "a code survives");

        let (session, refresh) = self.refreshed;
        let found = store.find_access(&requests.find_access(&refresh.access)).await.expect("find_access");
        let record = session.redeem.record.clone();
        let expected = FoundAccess { record: refresh.access.record.clone(), session: Some(record) };
        assert_eq!(found, Some(expected), "an access token survives");
        let again = store.refresh(&session.refresh(session.first())).await.expect("refresh");
        let successor = refresh.successor.expect("the request has one");
        assert_eq!(again, Refreshed::Again { salt: successor.salt }, "the last refresh token survives");
        let next = store.refresh(&session.refresh(successor.hash)).await.expect("refresh");
        assert_eq!(next, Refreshed::Done, "a refresh token survives");
        let reused = store.refresh(&session.refresh(session.first())).await.expect("refresh");
        assert_eq!(reused, Refreshed::Reused, "reuse is detected");

        let StartedSession { requests, code, .. } = self.replayed;
        let listed = store.list_sessions(&requests.list_by_subject()).await.expect("list_sessions");
        assert_eq!(listed.len(), 1, "a session is listed");
        let replayed = store.redeem(&requests.redeem(&code)).await.expect("redeem");
        assert_eq!(replayed, Redeemed::Replayed, "a used code stays used");
        let ended = store.refresh(&self.ended.refresh(self.ended.first())).await.expect("refresh");
        assert_eq!(ended, Refreshed::Unknown, "an ended session stays ended");

        let found = store.find_access(&requests.find_access(&self.issue.access)).await.expect("find_access");
        assert!(found.is_some(), "an access token without a session survives");
        let seen = store.insert_seen(&self.seen.requests.insert_seen()).await.expect("insert_seen");
        assert_eq!(seen, Issued::Seen, "a known value stays known");
        let published = store.publish_key(&self.key).await.expect("publish_key");
        assert_eq!(published, KeyPublished::Done { since: self.key.now }, "a key stays published");
    }
}
