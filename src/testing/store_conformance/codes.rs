//! A code is used once.

use std::sync::Arc;

use super::{
    super::store_requests::{after, new_hash},
    StartedSession, Suite, count,
};
use crate::token_endpoint::{FoundCode, Record, Redeem, Redeemed, Refreshed, SessionId, Store};

impl<S: Store> Suite<S> {
    pub(super) async fn codes(&self) {
        self.a_code_has_one_winner().await;
        self.a_code_is_found_until_it_expires().await;
        self.a_replayed_code_ends_its_session().await;
        self.a_session_may_have_no_refresh_token().await;
        self.records_are_found_as_they_were_stored().await;
    }

    async fn a_code_has_one_winner(&self) {
        let requests = self.requests();
        let code = requests.add_code();
        self.add_code(&code).await;
        let call = |store: Arc<S>, _| {
            let redeem = requests.redeem(&code);
            async move { (store.redeem(&redeem).await.expect("redeem"), redeem.access) }
        };
        let (redeemed, tokens): (Vec<_>, Vec<_>) = self.race(call).await.into_iter().unzip();
        // After the first replay the session has ended, and its code is unknown.
        let losers = count(&redeemed, &Redeemed::Replayed) + count(&redeemed, &Redeemed::Unknown);
        assert_eq!((count(&redeemed, &Redeemed::Done), losers), (1, 63), "of 64 calls that use one code, one wins");
        assert!(count(&redeemed, &Redeemed::Replayed) > 0, "a replay is detected");
        assert_eq!(self.count_active(&tokens, self.now).await, 0, "the replay ended the session");
    }

    async fn a_code_is_found_until_it_expires(&self) {
        let requests = self.requests();
        let (code, old) = (requests.add_code(), requests.add_code());
        let find = async |request| self.other().find_code(&request).await.expect("find_code");
        assert_eq!(find(requests.find_code(&code)).await, None, "an unknown code");
        assert_eq!(self.redeem(&requests.redeem(&code)).await, Redeemed::Unknown, "an unknown code");
        self.add_code(&code).await;
        self.add_code(&old).await;
        let mut wrong = requests.find_code(&code);
        wrong.code = new_hash();
        assert_eq!(find(wrong).await, None, "another code of the same session");
        let wrong = Redeem { code: new_hash(), ..requests.redeem(&code) };
        assert_eq!(self.redeem(&wrong).await, Redeemed::Unknown, "another code of the same session");
        assert!(!self.is_active(&wrong.access, self.now).await, "an unknown code stores nothing");

        let last = requests.clone().time(after(self.now, 59));
        let found = find(last.find_code(&code)).await;
        assert_eq!(found, Some(FoundCode { record: code.record.clone(), is_used: false }), "in its last second");
        let redeem = last.redeem(&code);
        assert_eq!(self.redeem(&redeem).await, Redeemed::Done, "in its last second");
        let wrong = Redeem { code: new_hash(), ..last.redeem(&code) };
        assert_eq!(self.redeem(&wrong).await, Redeemed::Unknown, "another code of a session ends nothing");
        let expired = requests.clone().time(after(self.now, 60));
        assert_eq!(find(expired.find_code(&old)).await, None, "an unused code has expired");
        assert_eq!(self.redeem(&expired.redeem(&old)).await, Redeemed::Unknown, "an unused code has expired");
        let used = Some(FoundCode { record: redeem.record.clone(), is_used: true });
        assert_eq!(find(expired.find_code(&code)).await, used, "a used code is found after its own time");
        let end = redeem.expires_at;
        assert_eq!(
            find(requests.clone().time(before(end)).find_code(&code)).await,
            used,
            "as long as its session lives"
        );
        assert_eq!(find(requests.clone().time(end).find_code(&code)).await, None, "its session has expired");
    }

    async fn a_replayed_code_ends_its_session(&self) {
        for seconds in [0, 59, 60, 1500] {
            let session = self.session().await;
            let now = after(self.now, seconds);
            let replay = session.requests.clone().time(now).redeem(&session.code);
            assert_eq!(self.redeem(&replay).await, Redeemed::Replayed, "{seconds} seconds later");
            assert!(!self.is_active(&replay.access, now).await, "a replay stores nothing");
            self.check_ended(&session, now).await;
        }
        let StartedSession { requests, code, redeem } = self.session().await;
        let late = requests.time(redeem.expires_at).redeem(&code);
        assert_eq!(self.redeem(&late).await, Redeemed::Unknown, "the session has expired");
    }

    async fn a_session_may_have_no_refresh_token(&self) {
        let requests = self.requests();
        let code = requests.add_code();
        self.add_code(&code).await;
        let find = async || {
            let request = requests.find_session(code.session, new_hash());
            self.other().find_session(&request).await.expect("find_session")
        };
        assert_eq!(find().await, None, "an unused code is no session");
        let refresh = requests.refresh(code.session, new_hash());
        assert_eq!(self.refresh(&refresh).await, Refreshed::Unknown, "an unused code is no session");
        let redeem = Redeem { refresh: None, ..requests.redeem(&code) };
        assert_eq!(self.redeem(&redeem).await, Redeemed::Done, "a refresh of an unused code uses nothing up");
        assert_eq!(find().await, None, "a session without a refresh token");
        assert_eq!(self.refresh(&refresh).await, Refreshed::Unknown, "a session without a refresh token");
        assert!(self.is_active(&redeem.access, self.now).await, "a refresh of such a session does not end it");
        assert!(!self.is_active(&refresh.access, self.now).await);
    }

    async fn records_are_found_as_they_were_stored(&self) {
        let long = "long ü ".repeat(15_000);
        let texts =
            ["", "a client: ü'\"", "\u{1}\t\r\n\u{7f}\u{2028}\u{1f511}", "{}:*?[a-z] $1 \\u0000 \\\"", "null", &long];
        for text in texts {
            let (requests, record) = (self.requests(), Record::from(text.to_owned()));
            let mut code = requests.add_code();
            code.record = record.clone();
            self.add_code(&code).await;
            let find = async || self.other().find_code(&requests.find_code(&code)).await.expect("find_code");
            assert_eq!(find().await, Some(FoundCode { record: record.clone(), is_used: false }));
            let mut redeem = Redeem { record: record.clone(), ..requests.redeem(&code) };
            redeem.access.record = record.clone();
            assert_eq!(self.redeem(&redeem).await, Redeemed::Done);
            assert_eq!(find().await, Some(FoundCode { record: record.clone(), is_used: true }));
            let found = self.store().find_access(&requests.find_access(&redeem.access)).await.expect("find_access");
            let found = found.expect("the access token is active");
            assert_eq!((&found.record, found.session.as_ref()), (&record, Some(&record)));
            let listed = self.store().list_sessions(&requests.list_by_client()).await.expect("list_sessions");
            assert_eq!(
                listed.iter().map(|listed| (listed.id, &listed.record)).collect::<Vec<(SessionId, _)>>(),
                [(code.session, &record)]
            );
        }
    }
}

fn before(time: crate::token_endpoint::Timestamp) -> crate::token_endpoint::Timestamp {
    time.saturating_sub(std::time::Duration::from_secs(1))
}
